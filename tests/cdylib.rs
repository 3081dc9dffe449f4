//! A queue in a library that is loaded at run time, and unloaded. Handlers push into it on a thread
//! that is older than the library. There, the first use of a thread-local of the library would
//! allocate it, in the handler.
#![cfg(all(feature = "std", target_os = "linux", target_env = "gnu", not(bywash_loom)))]

#[path = "support/children.rs"]
mod children;
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
    build_from("cdylib", "tests/cdylib/lib.rs")
}

fn build_from(package: &str, library: &str) -> PathBuf {
    let package = Path::new(env!("CARGO_TARGET_TMPDIR")).join(package);
    let source = Path::new(env!("CARGO_MANIFEST_DIR"));
    std::fs::create_dir_all(&package).unwrap();
    let manifest = format!(
        "[package]\nname = \"loaded\"\nedition = \"2024\"\n[workspace]\n\
         [lib]\npath = {:?}\ncrate-type = [\"cdylib\"]\n[dependencies]\nbywash.path = {source:?}\n",
        source.join(library),
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

/// The same library as one of its own, which other tests do not load.
fn build_as(name: &str) -> PathBuf {
    let built = build();
    let path = built.with_file_name(name);
    std::fs::copy(built, &path).unwrap();
    path
}

/// Loads the library and resolves every symbol at once, so that no handler has to look one up.
fn load(path: &Path) -> *mut c_void {
    let path = CString::new(path.as_os_str().as_bytes()).unwrap();
    // SAFETY: the path is a valid string, and the constructors of these libraries do no harm.
    let library = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW) };
    assert!(!library.is_null(), "{path:?} was not loaded");
    library
}

fn symbol(library: *mut c_void, name: &CStr) -> *mut c_void {
    // SAFETY: the library is loaded.
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

/// The thread-specific keys of a process are few. (And `fork` runs the handlers of
/// `pthread_atfork`: those of libraries that are gone must be gone, too.)
#[test]
fn a_library_that_binds_and_is_unloaded_leaves_no_key() {
    support::watch();
    let path = build_as("unloaded.so");
    // The other tests load libraries that keep their keys.
    children::in_child(|| {
        let before = free_key();
        for round in 0..1200 {
            let library = load(&path);
            // SAFETY: its type is that of the function in the library.
            let bind: extern "C" fn() -> bool =
                unsafe { std::mem::transmute(symbol(library, c"bind")) };
            // A thread that has bound and lives keeps the library loaded.
            let panicked = thread::spawn(move || bind()).join().unwrap();
            assert!(!panicked, "in round {round}");
            unload(library, &path);
        }
        assert_eq!(free_key(), before, "keys are missing");
        children::in_child(|| {});
    });
}

/// The other threads of a process that exits go on, and so do handlers.
#[test]
fn a_thread_is_still_the_consumer_while_the_process_exits() {
    support::watch();
    static IS_INSIDE: AtomicPtr<c_void> = AtomicPtr::new(std::ptr::null_mut());
    extern "C" fn end() {
        // SAFETY: its type is that of the function in the library.
        let is_inside: extern "C" fn() -> bool =
            unsafe { std::mem::transmute(IS_INSIDE.load(Ordering::Relaxed)) };
        // SAFETY: it has no preconditions.
        unsafe { libc::_exit(i32::from(!is_inside())) }
    }
    extern "C" fn exit() {
        // SAFETY: this child has no other thread.
        unsafe { libc::exit(1) }
    }
    let path = build_as("exiting.so");
    children::in_child(|| {
        let library = load(&path);
        IS_INSIDE.store(symbol(library, c"queue_is_inside"), Ordering::Relaxed);
        // Before the library registers anything, so after whatever that does.
        // SAFETY: the function is never unloaded.
        assert_eq!(unsafe { libc::atexit(end) }, 0);
        // SAFETY: its type is that of the function in the library.
        let consume: extern "C" fn(extern "C" fn()) -> u32 =
            unsafe { std::mem::transmute(symbol(library, c"queue_consume")) };
        consume(exit);
    });
}

/// Makes a key and deletes it. The C library gives out the first that is free.
fn free_key() -> libc::pthread_key_t {
    let mut key = 0;
    // SAFETY: the address is valid.
    assert_eq!(unsafe { libc::pthread_key_create(&mut key, None) }, 0, "no key left");
    // SAFETY: it was created, and is not used.
    unsafe { libc::pthread_key_delete(key) };
    key
}

/// Unloads the library, which has no other users, and sees that it is gone.
fn unload(library: *mut c_void, path: &Path) {
    // SAFETY: it was loaded, and nobody calls it any more.
    assert_eq!(unsafe { libc::dlclose(library) }, 0);
    let path = CString::new(path.as_os_str().as_bytes()).unwrap();
    // SAFETY: the path is a valid string.
    let library = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_NOLOAD) };
    assert!(library.is_null(), "still loaded");
}

/// The new thread must not need the loader's lock before `spawn` returns.
#[test]
fn a_constructor_of_a_library_starts_a_listener() {
    support::watch();
    let path = build_from("constructor", "tests/cdylib/constructor.rs");
    children::in_child(|| {
        let library = load(&path);
        // SAFETY: its type is that of the function in the library.
        let push: extern "C" fn(u32) -> bool =
            unsafe { std::mem::transmute(symbol(library, c"log_push")) };
        // SAFETY: as above.
        let flush: extern "C" fn() -> u32 =
            unsafe { std::mem::transmute(symbol(library, c"log_flush")) };
        assert_eq!(flush(), 1 + 2);
        assert!(push(4));
        assert_eq!(flush(), 1 + 2 + 4);
    });
}
