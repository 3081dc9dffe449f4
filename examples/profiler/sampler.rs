//! Takes the samples: a queue, a handler that pushes into it, and a timer whose signal calls the
//! handler.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use bywash::StaticQueue;
pub(crate) use system::{command, start, stop};

pub(crate) struct Sample {
    pub(crate) phase: usize,
    pub(crate) address: usize,
}

pub(crate) static SAMPLES: StaticQueue<Sample, 1024, 16> = StaticQueue::new();

thread_local! {
    /// What the thread does. A handler may read it, because its initialiser is constant and it has
    /// no destructor; but not in a library loaded at run time.
    static PHASE: AtomicUsize = const { AtomicUsize::new(0) };
}

/// Sets what the calling thread does from here on.
pub(crate) fn enter(phase: usize) {
    PHASE.with(|current| current.store(phase, Relaxed));
}

/// Runs in the handler. It does not allocate, lock or wait, and leaves `errno` alone.
#[cfg(unix)]
fn take(address: usize) {
    let sample = Sample { phase: PHASE.with(|phase| phase.load(Relaxed)), address };
    let _ = SAMPLES.try_push_or_count(sample);
}

#[cfg(unix)]
mod system {
    use std::ffi::{CStr, c_int, c_void};
    use std::io::{Error, Result};
    use std::{mem, ptr};

    extern "C" fn on_signal(_signal: c_int, _info: *mut libc::siginfo_t, context: *mut c_void) {
        // SAFETY: with `SA_SIGINFO` the kernel passes a valid `ucontext_t`.
        let context = unsafe { &*context.cast::<libc::ucontext_t>() };
        super::take(interrupted(context));
    }

    #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
    fn interrupted(context: &libc::ucontext_t) -> usize {
        context.uc_mcontext.gregs[libc::REG_RIP as usize] as usize
    }

    #[cfg(all(target_os = "linux", target_arch = "aarch64"))]
    fn interrupted(context: &libc::ucontext_t) -> usize {
        context.uc_mcontext.pc as usize
    }

    #[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))))]
    fn interrupted(_context: &libc::ucontext_t) -> usize {
        0
    }

    /// Starts the timer: a signal for each millisecond of processor time, on a thread that uses it.
    pub(crate) fn start() -> Result<()> {
        set(1000, on_signal as *const () as libc::sighandler_t)
    }

    /// Stops the timer. A signal that is still on its way is ignored.
    pub(crate) fn stop() -> Result<()> {
        set(0, libc::SIG_IGN)
    }

    fn set(microseconds: libc::suseconds_t, handler: libc::sighandler_t) -> Result<()> {
        unsafe extern "C" {
            fn setitimer(
                which: c_int,
                new: *const libc::itimerval,
                old: *mut libc::itimerval,
            ) -> c_int;
        }
        let check = |result| if result == 0 { Ok(()) } else { Err(Error::last_os_error()) };
        // SAFETY: all zeros is a valid value.
        let mut action: libc::sigaction = unsafe { mem::zeroed() };
        action.sa_sigaction = handler;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
        // SAFETY: the address is valid, and the handler does only what handlers may do.
        check(unsafe { libc::sigaction(libc::SIGPROF, &action, ptr::null_mut()) })?;
        let period = libc::timeval { tv_sec: 0, tv_usec: microseconds };
        let times = libc::itimerval { it_interval: period, it_value: period };
        // SAFETY: the address is valid.
        check(unsafe { setitimer(libc::ITIMER_PROF, &times, ptr::null_mut()) })
    }

    /// The command that prints the function and the line of an address.
    pub(crate) fn command(address: usize) -> Option<String> {
        // SAFETY: all zeros is a valid value.
        let mut found: libc::Dl_info = unsafe { mem::zeroed() };
        // SAFETY: `dladdr` takes any address, and `found` is valid.
        if unsafe { libc::dladdr(address as *const c_void, &mut found) } == 0 {
            return None;
        }
        // SAFETY: `dladdr` succeeded, so the name is valid.
        let file = unsafe { CStr::from_ptr(found.dli_fname) }.to_string_lossy();
        Some(format!("addr2line -Cfpie {file} {:#x}", address - found.dli_fbase as usize))
    }
}

#[cfg(not(unix))]
mod system {
    pub(crate) use start as stop;

    pub(crate) fn start() -> std::io::Result<()> {
        Err(std::io::ErrorKind::Unsupported.into())
    }

    pub(crate) fn command(_address: usize) -> Option<String> {
        None
    }
}
