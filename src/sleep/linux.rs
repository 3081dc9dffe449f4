//! Linux: a futex to sleep on and to wake, and `membarrier` for the sleeper's half of a fence.
//!
//! `libc::syscall` sets `errno` when a call fails. A wake, which signal handlers may call, restores
//! it: it fails where a sandbox forbids it.

use core::ptr;
use core::sync::atomic::AtomicU32;
use core::time::Duration;
use std::io;

use crate::errno::keep_errno;
use crate::sync::{AtomicU64, Ordering};

/// A word that can be slept on until it changes.
#[derive(Debug)]
pub(crate) struct Futex {
    word: AtomicU64,
}

impl Futex {
    pub(crate) const fn new() -> Self {
        Self { word: AtomicU64::new(0) }
    }

    #[inline]
    pub(crate) fn value(&self) -> &AtomicU64 {
        &self.word
    }

    /// The address of the low half of the word, which changes, and which the kernel compares.
    fn address(&self) -> *mut u32 {
        let low = if cfg!(target_endian = "big") { 1 } else { 0 };
        self.word.as_ptr().cast::<u32>().wrapping_add(low)
    }

    /// Sleeps while the word is `seen`, for `timeout` at most. May return early for no reason.
    pub(crate) fn wait(&self, seen: u64, timeout: Option<Duration>) {
        // This system call takes two `long`s on 32 bits too, whatever libc's `timespec` is. The
        // cut, at 34 years, is longer than anybody waits.
        let timeout = timeout.map(|timeout| {
            [timeout.as_secs().min(1 << 30) as libc::c_long, timeout.subsec_nanos() as libc::c_long]
        });
        let timeout = timeout.as_ref().map_or(ptr::null(), ptr::from_ref);
        let operation = libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG;
        // SAFETY: both addresses are valid for the call. Whatever it returns, the caller looks
        // again.
        let result = unsafe {
            libc::syscall(libc::SYS_futex, self.address(), operation, seen as u32, timeout)
        };
        if result != 0 && is_forbidden(&io::Error::last_os_error()) {
            // The caller looks and comes back at once: without a nap it would spin.
            sleep_briefly();
        }
    }

    /// As `wait`, where the look before may have missed something: not for long.
    pub(crate) fn nap(&self, seen: u64, timeout: Option<Duration>) {
        const NAP: Duration = Duration::from_millis(1);
        self.wait(seen, Some(timeout.map_or(NAP, |timeout| timeout.min(NAP))));
    }

    /// Wakes up to `count` sleepers, and leaves `errno` alone.
    pub(crate) fn wake(&self, count: i32) {
        let operation = libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG;
        // SAFETY: the address is valid for the call.
        keep_errno(|| unsafe { libc::syscall(libc::SYS_futex, self.address(), operation, count) });
    }
}

/// Whether a futex failed to wait because a sandbox does not allow it.
fn is_forbidden(error: &io::Error) -> bool {
    !matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EINTR | libc::ETIMEDOUT))
}

/// Orders what this thread did before with what it does after, as seen by a thread that issues a
/// [`heavy_barrier`].
#[inline]
pub(crate) fn light_barrier() {
    core::sync::atomic::compiler_fence(Ordering::SeqCst);
}

/// A sequentially consistent fence in every running thread of the process. Returns `false` if the
/// system has none, or none yet.
///
/// A process registers for it. If it has several threads, that takes some 10 ms, and nothing wakes
/// the thread meanwhile. So the first callers do without, and take a nap each (W3). The next one,
/// in a process that has waited often or for long, is held up once. Miri has none.
pub(crate) fn heavy_barrier() -> bool {
    if cfg!(miri) {
        return false;
    }
    const EXPEDITED: libc::c_int = 1 << 3;
    const REGISTER_EXPEDITED: libc::c_int = 1 << 4;
    const CALLERS_WITHOUT: u32 = 16;
    static REFUSED: AtomicU32 = AtomicU32::new(0);
    // SAFETY: the system call takes no addresses.
    let membarrier =
        |command: libc::c_int| unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) } == 0;
    membarrier(EXPEDITED)
        || REFUSED.fetch_add(1, Ordering::Relaxed) >= CALLERS_WITHOUT
            && membarrier(REGISTER_EXPEDITED)
            && membarrier(EXPEDITED)
}

/// Sleeps for so long, and what the system adds. For signal handlers too: it is one system call,
/// which returns its error and leaves `errno` alone.
pub(crate) fn sleep_for(duration: Duration) {
    // On 32 bits the fields may have either width.
    #[allow(clippy::useless_conversion)]
    let time = libc::timespec {
        tv_sec: duration.as_secs() as _,
        tv_nsec: (duration.subsec_nanos() as i32).into(),
    };
    // SAFETY: the address is valid for the call, and the null one asks for nothing.
    unsafe { libc::clock_nanosleep(libc::CLOCK_MONOTONIC, 0, &time, ptr::null_mut()) };
}

/// Sleeps for a moment. For signal handlers too.
pub(crate) fn sleep_briefly() {
    sleep_for(Duration::from_micros(100));
}
