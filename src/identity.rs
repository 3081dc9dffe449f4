//! Who is the calling thread? A push that finds the ring full asks, maybe in a signal handler.
//!
//! * **I1** Every thread that was ever bound or entered a domain has a number of its own. Normal
//!   code gives it out, once, and never again (on 32 bits: not before 2^32 such threads). So a
//!   thread that comes later at the same address has another number, and a guard that was forgotten
//!   names no other thread.
//! * **I2** A handler reads the number with `pthread_getspecific`, which neither allocates nor
//!   locks, also where this crate is in a library that was loaded at run time. (POSIX does not list
//!   it for handlers; glibc, musl and the BSDs read an array.) In such a library, a thread-local is
//!   allocated when a thread first accesses it, which may be inside the handler. The key has no
//!   destructor, which an unloaded library would leave behind. So at the very end of a thread,
//!   while its specific data is being destroyed, the number may be gone already. Before a push
//!   waits, it asks the thread-local too.
//! * **I3** A token is cheaper to read than the number, and tells apart all threads that live at
//!   the same time: the thread pointer. Only a thread with the right token has to read its number.
//! * **I4** A pop compares the number on every call, so it reads a thread-local; no handler does.
//! * **I5** To become a member of a queue a thread may have to allocate, and an allocator hook may
//!   push meanwhile. That push could wait for the consumer that this thread is about to become, or
//!   that waits for this thread. So a thread that is *joining* waits for no consumer: its `push` is
//!   refused.
//!
//! Numbers are Relaxed: a thread compares its own number with what it, or a thread before it in
//! happens-before, has written. The key is published with Release and read with Acquire.

use core::cell::Cell;
use core::sync::atomic::{AtomicUsize, Ordering};

use crate::edges;

#[cfg(not(bywash_loom))]
std::thread_local! {
    static NUMBER: Cell<usize> = const { Cell::new(0) };
}
#[cfg(not(bywash_loom))]
std::thread_local! {
    static HAS_NUMBER: HasNumber = const { HasNumber };
}
#[cfg(not(bywash_loom))]
std::thread_local! {
    static IS_JOINING: Cell<bool> = const { Cell::new(false) };
}
#[cfg(bywash_loom)]
loom::thread_local! {
    static NUMBER: Cell<usize> = Cell::new(0);
    static IS_JOINING: Cell<bool> = Cell::new(false);
}

/// Of a thread with a number. Dropped at its end.
#[cfg(not(bywash_loom))]
struct HasNumber;

#[cfg(not(bywash_loom))]
impl Drop for HasNumber {
    fn drop(&mut self) {
        edges::remove_thread();
    }
}

/// The number of the calling thread, or 0 if it has none. Not for signal handlers, I2.
#[inline]
pub(crate) fn own_number() -> usize {
    NUMBER.with(Cell::get)
}

/// The number of the calling thread, which is given to it here if it has none. I1: no other thread
/// has had that number or will have it.
///
/// # Panics
///
/// Where the system has no thread-specific key left, or no memory for one.
pub(crate) fn register() -> usize {
    static LAST: AtomicUsize = AtomicUsize::new(0);
    if NUMBER.with(Cell::get) == 0 {
        edges::add_thread();
        // A thread whose thread-locals are being destroyed keeps its record.
        #[cfg(not(bywash_loom))]
        let _ = HAS_NUMBER.try_with(|_| ());
        let number = next(&LAST);
        handler::set(number);
        NUMBER.with(|own| own.set(number));
    }
    NUMBER.with(Cell::get)
}

/// The number after `last`, which is never 0.
fn next(last: &AtomicUsize) -> usize {
    let number = || last.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
    match number() {
        // On 32 bits they begin again, I1.
        0 => number(),
        number => number,
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

/// Whether the calling thread is about to become a member of a queue, I5. Not for signal handlers.
pub(crate) fn is_joining() -> bool {
    IS_JOINING.with(Cell::get)
}

pub(crate) use handler::{number, token};

/// What signal handlers can read.
#[cfg(all(unix, not(bywash_loom), not(bywash_portable)))]
mod handler {
    use core::ptr;
    use core::sync::atomic::{AtomicUsize, Ordering};

    /// The thread-specific key, plus one; 0 until there is one. Whoever reads the key with Acquire
    /// sees that it was created.
    static KEY: AtomicUsize = AtomicUsize::new(0);

    /// The number of the calling thread, or 0 where it has none.
    pub(crate) fn number() -> usize {
        let key = KEY.load(Ordering::Acquire);
        if key == 0 {
            return 0;
        }
        // SAFETY: keys are never deleted once they are in `KEY`.
        unsafe { libc::pthread_getspecific((key - 1) as libc::pthread_key_t) }.addr()
    }

    pub(crate) fn set(number: usize) {
        // SAFETY: keys are never deleted once they are in `KEY`.
        let error = unsafe { libc::pthread_setspecific(key(), ptr::without_provenance(number)) };
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
            }
        }
        (KEY.load(Ordering::Acquire) - 1) as libc::pthread_key_t
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
    pub(crate) use super::own_number as number;

    pub(crate) fn set(_number: usize) {}

    /// No other way to tell threads apart.
    pub(crate) fn token() -> usize {
        0
    }
}

#[cfg(all(test, not(bywash_loom)))]
mod tests {
    use super::*;

    /// I1: on 32 bits that happens.
    #[test]
    fn after_the_last_number_they_begin_again_at_one() {
        let last = AtomicUsize::new(usize::MAX - 1);
        assert_eq!([(); 3].map(|()| next(&last)), [usize::MAX, 1, 2]);
    }

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
