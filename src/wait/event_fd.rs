//! The file descriptor of a consumer in an event loop.

use core::sync::atomic::{AtomicI32, Ordering};
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

/// An `eventfd`, once the consumer has asked for it. It lives as long as its queue, so that no push
/// writes to another's.
#[derive(Debug)]
pub(crate) struct EventFd(AtomicI32);

const NONE: i32 = -1;

impl EventFd {
    pub(super) const fn new() -> Self {
        Self(AtomicI32::new(NONE))
    }

    /// Makes it readable. For signal handlers too: with room in its counter, which is cleared each
    /// time it is armed, the system call does not fail, so `errno` stays as it is.
    pub(super) fn signal(&self) {
        let fd = self.0.load(Ordering::Relaxed);
        if fd != NONE {
            // SAFETY: eight bytes are read.
            unsafe { libc::write(fd, (&raw const ONE).cast(), size_of_val(&ONE)) };
        }
    }

    pub(crate) fn is_there(&self) -> bool {
        self.0.load(Ordering::Relaxed) != NONE
    }

    /// Makes it unreadable, if it is there.
    pub(super) fn clear(&self) {
        let mut count = 0u64;
        // SAFETY: eight bytes are written. It does not block; where there is nothing to read or no
        // descriptor, that is just as well.
        unsafe {
            libc::read(self.0.load(Ordering::Relaxed), (&raw mut count).cast(), size_of_val(&count))
        };
    }

    /// The same one under a new number.
    pub(crate) fn get(&self) -> io::Result<OwnedFd> {
        if self.0.load(Ordering::Relaxed) == NONE {
            // SAFETY: it takes no addresses.
            let fd = unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) };
            if fd == NONE {
                return Err(io::Error::last_os_error());
            }
            self.0.store(fd, Ordering::Relaxed);
        }
        // SAFETY: it is open for as long as this is.
        unsafe { BorrowedFd::borrow_raw(self.0.load(Ordering::Relaxed)) }.try_clone_to_owned()
    }
}

static ONE: u64 = 1;

impl Drop for EventFd {
    fn drop(&mut self) {
        let fd = *self.0.get_mut();
        if fd != NONE {
            // SAFETY: it is this one's, and nobody else has the queue any more.
            unsafe { libc::close(fd) };
        }
    }
}
