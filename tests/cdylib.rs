//! A queue in a library that is loaded at run time. Handlers push into it on a thread that is older
//! than the library. There, the first use of a thread-local of the library would allocate it, in
//! the handler.
#![cfg(all(feature = "std", target_os = "linux", target_env = "gnu", not(bywash_loom)))]

mod support;

use std::cell::Cell;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::thread::JoinHandleExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicI64, AtomicPtr, AtomicU32, Ordering};
use std::thread;

std::thread_local! {
    static IN_HANDLER: Cell<bool> = const { Cell::new(false) };
}
static ALLOCATIONS: AtomicU32 = AtomicU32::new(0);

unsafe extern "C" {
    fn __libc_malloc(size: usize) -> *mut c_void;
}

/// Replaces the C library's `malloc` in the whole process, and counts the allocations in handlers.
#[unsafe(no_mangle)]
extern "C" fn malloc(size: usize) -> *mut c_void {
    ALLOCATIONS.fetch_add(IN_HANDLER.get().into(), Ordering::Relaxed);
    // SAFETY: this function is the C library's own `malloc`.
    unsafe { __libc_malloc(size) }
}

/// The function that the handler calls, and what it returned.
static TASK: AtomicPtr<c_void> = AtomicPtr::new(std::ptr::null_mut());
static ANSWER: AtomicI64 = AtomicI64::new(NONE);
const NONE: i64 = -1;

extern "C" fn handle(_signal: c_int) {
    IN_HANDLER.set(true);
    // SAFETY: only `ask` stores here: a function of this type, or one that ignores its argument.
    let task: extern "C" fn(u32) -> u8 =
        unsafe { std::mem::transmute(TASK.load(Ordering::Acquire)) };
    ANSWER.store(task(7).into(), Ordering::Release);
    IN_HANDLER.set(false);
}

/// Makes a handler on `thread` call `task`. Returns the lowest byte of what it returned, and how
/// often it allocated.
fn ask(thread: libc::pthread_t, task: *mut c_void) -> (i64, u32) {
    TASK.store(task, Ordering::Release);
    ANSWER.store(NONE, Ordering::Release);
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    // SAFETY: the thread has not been joined.
    assert_eq!(unsafe { libc::pthread_kill(thread, libc::SIGUSR1) }, 0);
    while ANSWER.load(Ordering::Acquire) == NONE {
        thread::yield_now();
    }
    (ANSWER.load(Ordering::Acquire), ALLOCATIONS.load(Ordering::Relaxed) - before)
}

/// Builds the library as a package of its own, with the same versions of dependencies as this one.
fn build() -> PathBuf {
    let package = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cdylib");
    let source = Path::new(env!("CARGO_MANIFEST_DIR"));
    std::fs::create_dir_all(&package).unwrap();
    let manifest = format!(
        "[package]\nname = \"loaded\"\nedition = \"2024\"\n[workspace]\n\
         [lib]\npath = {:?}\ncrate-type = [\"cdylib\"]\n[dependencies]\nbywash.path = {source:?}\n",
        source.join("tests/cdylib/lib.rs"),
    );
    std::fs::write(package.join("Cargo.toml"), manifest).unwrap();
    // Without a lock file, any versions at hand will do.
    let _ = std::fs::copy(source.join("Cargo.lock"), package.join("Cargo.lock"));
    // For another system, where this test was built, so that the standard library is there already.
    let triple = std::env::var_os("CARGO_BUILD_TARGET");
    let shared = triple.as_ref().and_then(|_| std::env::var_os("CARGO_TARGET_DIR"));
    let mut target = shared.map_or_else(|| package.join("target"), PathBuf::from);
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .args(["build", "--offline", "--quiet", "--target-dir"])
        .arg(&target)
        .current_dir(&package);
    assert!(cargo.status().unwrap().success(), "{cargo:?}");
    target.extend(triple);
    target.join("debug/libloaded.so")
}

/// Loads the library and resolves every symbol at once, so that no handler has to look one up.
fn load(path: &Path) -> *mut c_void {
    let path = CString::new(path.as_os_str().as_bytes()).unwrap();
    // SAFETY: the path is a valid string; loading the library runs no code of its own.
    let library = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW) };
    assert!(!library.is_null(), "{path:?} was not loaded");
    library
}

fn symbol(library: *mut c_void, name: &CStr) -> *mut c_void {
    // SAFETY: the library was loaded, and is never unloaded.
    let symbol = unsafe { libc::dlsym(library, name.as_ptr().cast::<c_char>()) };
    assert!(!symbol.is_null(), "no {name:?}");
    symbol
}

static LIBRARY: AtomicPtr<c_void> = AtomicPtr::new(std::ptr::null_mut());
static OLD_THREAD: std::sync::OnceLock<libc::pthread_t> = std::sync::OnceLock::new();

/// While the consumer lives, a handler on the old thread, outside the domain, finds room twice and
/// then gets `Full`. On the consumer's own thread, which is inside, the push takes the bypass.
extern "C" fn push_from_handlers() {
    let library = LIBRARY.load(Ordering::Acquire);
    let (push, is_inside) = (symbol(library, c"queue_push"), symbol(library, c"queue_is_inside"));
    let old = *OLD_THREAD.get().unwrap();
    // SAFETY: the calling thread lives.
    let own = unsafe { libc::pthread_self() };
    let answers =
        [(old, is_inside, 0), (old, push, 0), (old, push, 0), (old, push, 1), (old, is_inside, 0)];
    let answers_here = [(own, is_inside, 1), (own, push, 0), (own, push, 1), (old, push, 1)];
    for (thread, task, answer) in answers.into_iter().chain(answers_here) {
        let (answered, allocations) = ask(thread, task);
        assert_eq!(answered, answer);
        // The portable implementation identifies threads by a thread-local, and promises less.
        assert!(
            allocations == 0 || cfg!(bywash_portable),
            "{allocations} allocations in a handler"
        );
    }
}

#[test]
fn handlers_on_a_thread_older_than_the_library_push_without_allocating() {
    support::watch();
    let path = build();
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let old = thread::spawn(move || stopped.recv().unwrap_err());
    OLD_THREAD.set(old.as_pthread_t()).unwrap();
    // SAFETY: the handler does only what handlers may do.
    unsafe { libc::signal(libc::SIGUSR1, handle as *const () as libc::sighandler_t) };

    let library = load(&path);
    LIBRARY.store(library, Ordering::Release);
    // SAFETY: its type is that of the function in the library.
    let consume: extern "C" fn(extern "C" fn()) -> u32 =
        unsafe { std::mem::transmute(symbol(library, c"queue_consume")) };
    assert_eq!(consume(push_from_handlers), 3 * 7);

    assert_eq!(ask(old.as_pthread_t(), symbol(library, c"queue_push")).0, 2, "closed");
    // Shows that the counter works: the first use of a thread-local of the library allocates there.
    // (On aarch64 it was seen to find room that is there already.)
    let (answer, allocations) = ask(old.as_pthread_t(), symbol(library, c"touch_thread_local"));
    let allocates = !cfg!(any(bywash_portable, target_arch = "aarch64"));
    assert_eq!((answer, allocations), (1, u32::from(allocates)));
    drop(stop);
    old.join().unwrap();
}
