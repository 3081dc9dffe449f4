//! The signals that a listener's thread leaves to the program's other threads.
//!
//! A signal for the process goes to any thread that does not block it. A program that blocks
//! SIGTERM in `main`, and waits for it there, would be ended by the one thread that does not block
//! it. So the listener's thread does, from its first instruction on: it inherits the mask.

#[cfg(all(unix, not(miri)))]
pub(crate) use unix::with_signals_blocked;

/// Elsewhere there are no such signals.
#[cfg(not(all(unix, not(miri))))]
pub(crate) fn with_signals_blocked<R>(spawn: impl FnOnce() -> R) -> R {
    spawn()
}

#[cfg(all(unix, not(miri)))]
mod unix {
    use core::mem::MaybeUninit;
    use core::ptr;

    /// Those that ask a program to end, and those that tell it of children, jobs and users. Not
    /// those that answer to what the thread itself does: faults, SIGPIPE, SIGTTIN, SIGTTOU. Not
    /// SIGPROF, which a profiler sends to every thread.
    const SIGNALS: [libc::c_int; 9] = [
        libc::SIGHUP,
        libc::SIGINT,
        libc::SIGQUIT,
        libc::SIGTERM,
        libc::SIGCHLD,
        libc::SIGCONT,
        libc::SIGTSTP,
        libc::SIGUSR1,
        libc::SIGUSR2,
    ];

    /// Puts a mask back when dropped.
    struct Restore(libc::sigset_t);

    impl Drop for Restore {
        fn drop(&mut self) {
            // SAFETY: the set is valid.
            unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &self.0, ptr::null_mut()) };
        }
    }

    /// Calls `spawn` while the calling thread blocks the signals, so that a thread which is started
    /// there blocks them.
    pub(crate) fn with_signals_blocked<R>(spawn: impl FnOnce() -> R) -> R {
        let mut set = MaybeUninit::uninit();
        // SAFETY: the address is valid.
        unsafe { libc::sigemptyset(set.as_mut_ptr()) };
        // SAFETY: just initialised.
        let mut set: libc::sigset_t = unsafe { set.assume_init() };
        for signal in SIGNALS {
            // SAFETY: the set is valid, and so is the signal.
            unsafe { libc::sigaddset(&mut set, signal) };
        }
        let mut before = set;
        // SAFETY: the sets are valid.
        let error = unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &set, &mut before) };
        debug_assert_eq!(error, 0, "the arguments are valid");
        let _restore = Restore(before);
        spawn()
    }
}
