//! A timer for each thread, whose signal interrupts that thread alone, and a handler that logs.

pub(crate) use system::{Timer, install};

#[cfg(target_os = "linux")]
mod system {
    use std::io::{Error, Result};
    use std::{mem, ptr};

    use crate::logger;
    use crate::record::{Body, Kind};

    const SIGNAL: libc::c_int = libc::SIGUSR1;

    /// Nothing in here allocates, locks or waits, and nothing changes `errno`.
    extern "C" fn on_signal(_: libc::c_int) {
        logger::log(Kind::Signal, Body::Signal);
    }

    /// Installs the handler. Neither the calling thread nor a thread that it starts runs it before
    /// it has a [`Timer`].
    pub(crate) fn install() -> Result<()> {
        mask(libc::SIG_BLOCK)?;
        // SAFETY: all zeros is a valid value.
        let mut action: libc::sigaction = unsafe { mem::zeroed() };
        action.sa_sigaction = on_signal as extern "C" fn(libc::c_int) as libc::sighandler_t;
        action.sa_flags = libc::SA_RESTART;
        // SAFETY: the handler does only what handlers may do.
        check(unsafe { libc::sigaction(SIGNAL, &action, ptr::null_mut()) })
    }

    fn mask(how: libc::c_int) -> Result<()> {
        // SAFETY: all zeros is a valid value.
        let mut set: libc::sigset_t = unsafe { mem::zeroed() };
        // SAFETY: the address is valid.
        unsafe { libc::sigemptyset(&mut set) };
        // SAFETY: the address is valid.
        unsafe { libc::sigaddset(&mut set, SIGNAL) };
        // SAFETY: the addresses are valid.
        match unsafe { libc::pthread_sigmask(how, &set, ptr::null_mut()) } {
            0 => Ok(()),
            error => Err(Error::from_raw_os_error(error)),
        }
    }

    fn check(result: libc::c_int) -> Result<()> {
        if result == 0 { Ok(()) } else { Err(Error::last_os_error()) }
    }

    /// Sends signals to the thread that made it, until it is dropped.
    pub(crate) struct Timer(libc::timer_t);

    impl Timer {
        /// A rate of 0 means no signals.
        pub(crate) fn start(per_second: f64) -> Result<Option<Self>> {
            if per_second == 0.0 {
                return Ok(None);
            }
            // SAFETY: all zeros is a valid value.
            let mut event: libc::sigevent = unsafe { mem::zeroed() };
            event.sigev_notify = libc::SIGEV_THREAD_ID;
            event.sigev_signo = SIGNAL;
            // SAFETY: it has no preconditions.
            event.sigev_notify_thread_id =
                unsafe { libc::syscall(libc::SYS_gettid) } as libc::c_int;
            let mut timer = ptr::null_mut();
            // SAFETY: the addresses are valid.
            check(unsafe { libc::timer_create(libc::CLOCK_MONOTONIC, &mut event, &mut timer) })?;
            let timer = Self(timer);
            let period = (1e9 / per_second) as i64;
            let period = libc::timespec {
                tv_sec: (period / 1_000_000_000) as _,
                tv_nsec: (period % 1_000_000_000) as _,
            };
            let times = libc::itimerspec { it_interval: period, it_value: period };
            // SAFETY: the timer exists, and the address is valid.
            check(unsafe { libc::timer_settime(timer.0, 0, &times, ptr::null_mut()) })?;
            mask(libc::SIG_UNBLOCK)?;
            Ok(Some(timer))
        }
    }

    impl Drop for Timer {
        fn drop(&mut self) {
            // First of all, so that no signal comes after the timer is gone.
            mask(libc::SIG_BLOCK).expect("the arguments are valid");
            // SAFETY: the timer exists.
            unsafe { libc::timer_delete(self.0) };
        }
    }
}

/// Other systems have no timers for single threads: the program runs without signals.
#[cfg(not(target_os = "linux"))]
mod system {
    use std::io::Result;

    pub(crate) fn install() -> Result<()> {
        Ok(())
    }

    pub(crate) struct Timer;

    impl Timer {
        pub(crate) fn start(_per_second: f64) -> Result<Option<Self>> {
            Ok(None)
        }
    }
}
