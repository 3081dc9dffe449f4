//! Who is the calling thread? A push that finds the ring full asks, maybe in a signal handler.
//!
//! * **I1** Every thread that was ever bound or entered a domain has a number of its own, and a
//!   record (`records.rs`). Normal code gives it out, once, and never again. So a thread that comes
//!   later at the same address has another number, and a guard that was forgotten names no other
//!   thread. A thread gives its record back at its end (E1). If too many threads have one, a thread
//!   gets none.
//! * **I2** A handler finds its record with `pthread_getspecific`, which neither allocates nor
//!   locks, also where this crate is in a library that was loaded at run time. (POSIX does not list
//!   it for handlers; glibc, musl and the BSDs read an array.) In such a library, a thread-local is
//!   allocated when a thread first accesses it, which may be inside the handler. The key has no
//!   destructor, which an unloaded library would leave behind. So at the very end of a thread,
//!   while its specific data is being destroyed, a handler may not find the record any more. Before
//!   a push waits, it asks the thread-local too. (If a thread was ended by the system and then
//!   joined, glibc gives its memory, and this data with it, to the next thread: that is taken for
//!   the one before, in calls that never wait, until it binds or enters itself.)
//! * **I3** A token is cheaper to read than the record, and tells apart all threads that live at
//!   the same time: the thread pointer. Only a thread with the right token has to look for its
//!   record.
//! * **I4** A pop compares the number on every call, so it reads a thread-local; no handler does.
//! * **I5** To become a member of a queue a thread may have to allocate, and an allocator hook may
//!   push meanwhile. That push could wait for the consumer that this thread is about to become, or
//!   that waits for this thread. So a thread that is *joining* waits for no consumer: its `push` is
//!   refused. The same goes for a thread that gets no number: one that came when there were none
//!   left, and, on other systems than Linux, one that has given its record back, at its very end.
//! * **I6** Whatever may allocate comes before the number is set, and then the thread looks again:
//!   an allocator hook may have bound or entered meanwhile, and that number stays.
//! * **I7** A library that is unloaded gives the key back: a process has few. A function of a
//!   library that is registered with `atexit` is called when the library is unloaded, and also when
//!   the process exits, where other threads and their handlers go on and need their numbers. The
//!   order tells which it is. To unload a library, glibc calls the functions in its `.fini_array`,
//!   the last of which calls those of `atexit`. To exit, it calls those of `atexit` first. So the
//!   key is deleted if the `.fini_array` has come first. (That is also so at the exit of a program
//!   that is linked with a library that binds before `main`. From then on no thread has a number
//!   there, and none has a wrong one: `KEY` is 0, and who has read it earlier finds nothing under
//!   the key, even if somebody has created it anew, as only the thread itself sets its value.)
//!   musl never unloads, and other systems keep the key.
//!
//! Numbers are Relaxed: a thread compares its own number with what it, or a thread before it in
//! happens-before, has written. The key is published with Release and read with Acquire.

use core::cell::Cell;

use crate::threads::fork::{process, system_id};
use crate::threads::records::{self, Record};

#[cfg(not(bywash_loom))]
std::thread_local! {
    static NUMBER: Cell<u64> = const { Cell::new(0) };
}
#[cfg(not(bywash_loom))]
std::thread_local! {
    static HAS_NUMBER: HasNumber = const { HasNumber };
}
#[cfg(not(bywash_loom))]
std::thread_local! {
    static IS_JOINING: Cell<bool> = const { Cell::new(false) };
}
#[cfg(not(bywash_loom))]
std::thread_local! {
    static GETS_NO_NUMBER: Cell<bool> = const { Cell::new(false) };
}
#[cfg(bywash_loom)]
loom::thread_local! {
    static NUMBER: Cell<u64> = Cell::new(0);
    static IS_JOINING: Cell<bool> = Cell::new(false);
    static GETS_NO_NUMBER: Cell<bool> = Cell::new(false);
}

/// Of a thread with a number. Dropped at its end.
#[cfg(not(bywash_loom))]
struct HasNumber;

#[cfg(not(bywash_loom))]
impl Drop for HasNumber {
    fn drop(&mut self) {
        if let Some(record) = records::of(own_number()) {
            // Elsewhere nobody could tell whether the thread is gone.
            if cfg!(not(target_os = "linux")) {
                GETS_NO_NUMBER.set(true);
                handler::set(None);
                NUMBER.set(0);
            }
            record.give_back();
        }
    }
}

/// The number of the calling thread, or 0 if it has none. Not for signal handlers, I2.
#[inline]
pub(crate) fn own_number() -> u64 {
    NUMBER.with(Cell::get)
}

/// The number of the calling thread, which is given to it here if it has none. I1: no other thread
/// has had that number or will have it. 0 if it gets none. May allocate.
///
/// # Panics
///
/// Where the system has no thread-specific key left, or no memory for one.
pub(crate) fn register() -> u64 {
    if let Some(record) = records::of(own_number()) {
        if record.process() != process() {
            record.lives_in(process(), system_id());
        }
    } else if !is_at_its_end() {
        take(records::claim(process(), system_id()));
    }
    own_number()
}

/// Whether the calling thread gets no number any more. Otherwise its end is noted from here on.
fn is_at_its_end() -> bool {
    #[cfg(not(bywash_loom))]
    if HAS_NUMBER.try_with(|_| ()).is_err() {
        GETS_NO_NUMBER.set(true);
    }
    GETS_NO_NUMBER.with(Cell::get)
}

/// Makes `record` the calling thread's own, unless that has one by now: to come here it had to
/// allocate, and so it does here, and an allocator hook may have bound or entered.
fn take(record: Option<&'static Record>) {
    let Some(record) = record else {
        return GETS_NO_NUMBER.with(|gets_none| gets_none.set(true));
    };
    if own_number() == 0 {
        handler::set(Some(record));
    }
    match records::of(own_number()) {
        None => NUMBER.with(|own| own.set(record.number())),
        Some(own) => {
            handler::set(Some(own));
            record.give_back();
        }
    }
}

/// A number for a thread that is about to be started, and that will [`adopt`] it. 0 if there is
/// none.
#[cfg(not(bywash_loom))]
pub(crate) fn reserve() -> u64 {
    records::claim(process(), 0).map_or(0, Record::number)
}

/// Gives the calling thread the number that was reserved for it, if it has none. Returns which it
/// has.
#[cfg(not(bywash_loom))]
pub(crate) fn adopt(number: u64) -> u64 {
    joining(|| {
        if let Some(record) = records::of(number) {
            let is_at_its_end = is_at_its_end();
            debug_assert!(!is_at_its_end, "a thread begins with this");
            record.lives_in(process(), system_id());
            take(Some(record));
        }
        register()
    })
}

/// Takes a number back that no thread has adopted.
#[cfg(not(bywash_loom))]
pub(crate) fn release(number: u64) {
    if let Some(record) = records::of(number) {
        record.give_back();
    }
}

/// Calls `join`, which makes the calling thread a member of a queue, I5.
pub(crate) fn joining<R>(join: impl FnOnce() -> R) -> R {
    struct Restore(bool);

    impl Drop for Restore {
        fn drop(&mut self) {
            IS_JOINING.with(|is_joining| is_joining.set(self.0));
        }
    }

    let _restore = Restore(IS_JOINING.with(|is_joining| is_joining.replace(true)));
    join()
}

/// Whether the calling thread is about to become a member of a queue, or cannot become one, I5. Not
/// for signal handlers.
pub(crate) fn is_joining() -> bool {
    IS_JOINING.with(Cell::get) || GETS_NO_NUMBER.with(Cell::get)
}

/// In a forked child, whose only thread is the calling one: it is here now. For signal handlers
/// too.
#[cfg(all(unix, not(bywash_loom)))]
pub(crate) fn is_in_child() {
    if let Some(record) = handler::record() {
        record.lives_in(process(), system_id());
    }
}

/// The number of the calling thread, or 0 if it has none. For signal handlers too.
pub(crate) fn number() -> u64 {
    handler::record().map_or(0, Record::number)
}

pub(crate) use handler::token;

/// What signal handlers can read.
#[cfg(all(unix, not(bywash_loom), not(bywash_portable)))]
mod handler {
    use core::ptr;
    use core::sync::atomic::{AtomicUsize, Ordering};

    use crate::threads::records::Record;

    /// The thread-specific key, plus one; 0 until there is one. Whoever reads the key with Acquire
    /// sees that it was created.
    static KEY: AtomicUsize = AtomicUsize::new(0);

    /// The record of the calling thread.
    pub(crate) fn record() -> Option<&'static Record> {
        let key = KEY.load(Ordering::Acquire);
        if key == 0 {
            return None;
        }
        // SAFETY: it was created. I7: if it is deleted meanwhile, the value is null.
        let record = unsafe { libc::pthread_getspecific((key - 1) as libc::pthread_key_t) };
        // SAFETY: `set` puts only records there, and records are never freed.
        unsafe { record.cast::<Record>().as_ref() }
    }

    /// May allocate, if `record` is the thread's first.
    pub(crate) fn set(record: Option<&'static Record>) {
        if record.is_none() && KEY.load(Ordering::Acquire) == 0 {
            return;
        }
        let record = record.map_or(ptr::null(), ptr::from_ref).cast();
        // SAFETY: it was created, and is deleted when nobody can call this any more, I7.
        let error = unsafe { libc::pthread_setspecific(key(), record) };
        assert_eq!(error, 0, "bywash: no memory for thread-specific data");
    }

    fn key() -> libc::pthread_key_t {
        if KEY.load(Ordering::Acquire) == 0 {
            let mut key = 0;
            // SAFETY: the address is valid, and there is no destructor.
            let error = unsafe { libc::pthread_key_create(&mut key, None) };
            assert_eq!(error, 0, "bywash: no thread-specific key left");
            let new = key as usize + 1;
            if KEY.compare_exchange(0, new, Ordering::AcqRel, Ordering::Acquire).is_err() {
                // SAFETY: just created, and seen by nobody.
                unsafe { libc::pthread_key_delete(key) };
            } else {
                #[cfg(target_os = "linux")]
                unloading::watch();
            }
        }
        (KEY.load(Ordering::Acquire) - 1) as libc::pthread_key_t
    }

    /// Gives the key back when the library that this crate is in is unloaded, I7.
    #[cfg(target_os = "linux")]
    mod unloading {
        use core::sync::atomic::{AtomicBool, Ordering};

        use super::KEY;

        static HAS_BEGUN: AtomicBool = AtomicBool::new(false);

        #[used]
        #[unsafe(link_section = ".fini_array")]
        static FINI: extern "C" fn() = begin;

        extern "C" fn begin() {
            HAS_BEGUN.store(true, Ordering::Relaxed);
        }

        pub(super) fn watch() {
            // If it fails for lack of memory, the key stays.
            // SAFETY: the C library forgets the function when it has unloaded this one.
            unsafe { libc::atexit(end) };
        }

        extern "C" fn end() {
            // Otherwise the process exits.
            if HAS_BEGUN.load(Ordering::Relaxed) {
                let key = KEY.swap(0, Ordering::AcqRel);
                // SAFETY: `watch` was called for this key, and nobody finds it any more.
                unsafe { libc::pthread_key_delete((key - 1) as libc::pthread_key_t) };
            }
        }
    }

    /// A number that no two threads have at the same time. A thread may have that of one that
    /// has ended.
    #[inline]
    pub(crate) fn token() -> usize {
        #[cfg(all(target_arch = "x86_64", target_os = "linux", not(miri)))]
        {
            let token;
            // SAFETY: the ABI of thread-local storage has the thread pointer at its own
            // address.
            unsafe {
                core::arch::asm!("mov {}, fs:[0]", out(reg) token, options(nostack, preserves_flags, readonly))
            };
            token
        }
        #[cfg(all(target_arch = "aarch64", target_os = "linux", not(miri)))]
        {
            let token;
            // SAFETY: the thread pointer may always be read.
            unsafe {
                core::arch::asm!("mrs {}, tpidr_el0", out(reg) token, options(nostack, preserves_flags, nomem))
            };
            token
        }
        #[cfg(not(all(
            any(target_arch = "x86_64", target_arch = "aarch64"),
            target_os = "linux",
            not(miri)
        )))]
        {
            // SAFETY: it has no preconditions.
            unsafe { libc::pthread_self() as usize }
        }
    }
}

#[cfg(all(windows, not(bywash_loom), not(bywash_portable)))]
#[path = "identity_windows.rs"]
mod handler;

/// Where it is not known what a handler may read, it reads the thread-local.
#[cfg(any(not(any(unix, windows)), bywash_loom, bywash_portable))]
mod handler {
    use crate::threads::records::{self, Record};

    pub(crate) fn record() -> Option<&'static Record> {
        records::of(super::own_number())
    }

    pub(crate) fn set(_record: Option<&'static Record>) {}

    /// No other way to tell threads apart.
    pub(crate) fn token() -> usize {
        0
    }
}

#[cfg(all(test, not(bywash_loom)))]
mod tests {
    use super::*;

    /// I3: by assembly on some systems.
    #[test]
    fn a_token_is_the_threads_own_while_it_lives() {
        let own = token();
        let others = [(); 3].map(|()| std::thread::spawn(|| [token(); 2]).join().unwrap());
        assert!(others.iter().all(|[a, b]| a == b) && token() == own);
        let other = std::thread::scope(|scope| scope.spawn(token).join().unwrap());
        // The portable one tells nothing.
        assert_eq!(other == own, cfg!(bywash_portable));
    }
}
