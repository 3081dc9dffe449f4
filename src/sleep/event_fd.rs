//! The file descriptor of a consumer in an event loop.
//!
//! It belongs to the process that made it. A forked child has a copy of its number, behind which is
//! the descriptor that its parent polls, or whatever the child has opened since under that number.
//! So the number is kept together with the count of forks (`threads/fork.rs`, F7) in one word, and
//! where that is not this process's, no system call is made on it: the child has none until it
//! asks.
//!
//! A signal handler may fork between that look and the system call, and return in the child, where
//! the call that it interrupted goes on. If that is [`clear`](EventFd::clear), it puts back what it
//! has read. If it is a push, the parent's descriptor is readable once with nothing to pop, as
//! after a push that was stopped. If it is [`duplicate`](EventFd::duplicate), it is as if the fork
//! had come after it. (If the handler has also closed descriptors and opened files in the child,
//! the call has one of these, as any other would that a handler interrupts to do so.)
//!
//! Nobody counts `_Fork` and bare `clone`, nor does the count change before the handlers of
//! `pthread_atfork` run: there a child has its parent's descriptor in common with it.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use crate::threads::fork;
use crate::sync::{AtomicU64, Ordering};

/// An `eventfd`, once the consumer has asked for it. It lives as long as its queue, so that no push
/// writes to another's.
///
/// The low half of the word is its number plus one, or 0 if there is none; the high half is the
/// count of forks. All accesses are Relaxed: a push that is to write to it finds an announcement
/// that came after it, `[announce:R]`.
#[derive(Debug)]
pub(crate) struct EventFd(AtomicU64);

impl EventFd {
    pub(super) const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Its number, if this process has made it.
    fn own(&self) -> Option<libc::c_int> {
        let forks = fork::count();
        let word = self.0.load(Ordering::Relaxed);
        let is_own = word >> 32 == u64::from(forks);
        (is_own && word as u32 != 0).then(|| (word as u32 - 1) as libc::c_int)
    }

    /// Makes it readable. For signal handlers too: with room in its counter, which is cleared each
    /// time it is armed, the system call does not fail, so `errno` stays as it is.
    pub(super) fn make_readable(&self) {
        if let Some(fd) = self.own() {
            write(fd);
        }
    }

    pub(crate) fn is_there(&self) -> bool {
        self.own().is_some()
    }

    /// Makes it unreadable, if it is there.
    pub(super) fn clear(&self) {
        let Some(fd) = self.own() else { return };
        let mut count = 0u64;
        // SAFETY: eight bytes are written. It does not block; where there is nothing to read, that
        // is just as well.
        let read = unsafe { libc::read(fd, (&raw mut count).cast(), size_of_val(&count)) };
        if read > 0 && self.own().is_none() {
            // A handler has forked: this is the child, and that was for the parent.
            write(fd);
        }
    }

    /// Makes it. Not where this process has one.
    pub(super) fn make(&self) -> io::Result<()> {
        // First: what is made after a fork does not count as made before it, nor the other way
        // round, or a child might take its parent's for its own.
        let forks = fork::count();
        // SAFETY: it takes no addresses.
        let fd = unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) };
        let Ok(fd) = u32::try_from(fd) else { return Err(io::Error::last_os_error()) };
        self.0.store(u64::from(forks) << 32 | u64::from(fd + 1), Ordering::Relaxed);
        Ok(())
    }

    /// The same one under a new number; `None` if this process has none.
    pub(super) fn duplicate(&self) -> Option<io::Result<OwnedFd>> {
        let fd = self.own()?;
        // SAFETY: it is open for as long as this is.
        Some(unsafe { BorrowedFd::borrow_raw(fd) }.try_clone_to_owned())
    }
}

fn write(fd: libc::c_int) {
    static ONE: u64 = 1;
    // SAFETY: eight bytes are read.
    unsafe { libc::write(fd, (&raw const ONE).cast(), size_of_val(&ONE)) };
}

impl Drop for EventFd {
    fn drop(&mut self) {
        if let Some(fd) = self.own() {
            // SAFETY: it is this one's, and nobody else has the queue any more.
            unsafe { libc::close(fd) };
        }
    }
}
