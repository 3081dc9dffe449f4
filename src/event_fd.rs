//! A consumer in an event loop: a file descriptor that becomes readable with a push.
//!
//! To arm it is to announce sleep and look once more, as a pop does before it sleeps
//! (`wait/mod.rs`, W1), and then to return. The push that finds the announcement writes to the
//! descriptor, instead of waking a sleeper. So a push makes one system call at most, and none while
//! the consumer is busy.

use core::sync::atomic::{AtomicI32, Ordering};
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use crate::bypass::Entry;
use crate::ring::Slots;
use crate::shared::Shared;
use crate::wait::heavy_barrier;
use crate::{Consumer, Queue};

/// An `eventfd`, once somebody has asked for it. It lives as long as its queue, so that no push
/// writes to another's.
#[derive(Debug)]
pub(crate) struct EventFd(AtomicI32);

const NONE: i32 = -1;

impl EventFd {
    pub(crate) const fn new() -> Self {
        Self(AtomicI32::new(NONE))
    }

    /// Makes it readable. For signal handlers too: with room in its counter, which is cleared each
    /// time it is armed, the system call does not fail, so `errno` stays as it is.
    pub(crate) fn signal(&self) {
        let fd = self.0.load(Ordering::Relaxed);
        if fd != NONE {
            // SAFETY: eight bytes are read.
            unsafe { libc::write(fd, (&raw const ONE).cast(), size_of_val(&ONE)) };
        }
    }

    fn is_there(&self) -> bool {
        self.0.load(Ordering::Relaxed) != NONE
    }

    /// Makes it unreadable, if it is there.
    fn clear(&self) {
        let mut count = 0u64;
        // SAFETY: eight bytes are written. It does not block; where there is nothing to read or no
        // descriptor, that is just as well.
        unsafe {
            libc::read(self.0.load(Ordering::Relaxed), (&raw mut count).cast(), size_of_val(&count))
        };
    }

    /// The same one under a new number.
    fn get(&self) -> io::Result<OwnedFd> {
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

impl<T, S: Slots<Item = T>, B: Slots<Item = Entry<T>>> Shared<S, B> {
    /// See [`Consumer::arm`].
    ///
    /// # Safety
    ///
    /// The caller is the only consumer.
    unsafe fn arm(&self) -> bool {
        self.parker.event_fd.clear();
        let announced = self.parker.arm();
        // W1.
        let sure = self.lanes().is_empty() || heavy_barrier();
        // SAFETY: the caller's.
        let is_armed =
            sure && self.parker.event_fd.is_there() && !unsafe { self.lanes().has_news() };
        if is_armed {
            // W7: as before a long sleep.
            self.beside.waiters.nudge(i32::MAX);
        } else {
            self.parker.retract(announced);
        }
        is_armed
    }
}

/// For event loops, with the feature `eventfd`, on Linux.
impl<T, Q: Queue<Item = T>> Consumer<T, Q> {
    /// A file descriptor for an event loop: it becomes readable once something is pushed, or the
    /// queue is closed, after the consumer was [armed](Self::arm). To be registered with `poll`,
    /// `epoll`, `mio` or tokio's `AsyncFd`, and not to be read or written.
    ///
    /// It is an `eventfd`, made by the first call; all calls return the same one under new numbers.
    /// Pushes that find the consumer not armed have nothing to do with it; one that finds it armed
    /// writes to it once, in a signal handler too.
    ///
    /// Never waits. Not for signal handlers. In a forked child it is shared with the parent.
    ///
    /// # Errors
    ///
    /// Where the system has no more descriptors or memory.
    pub fn event_fd(&mut self) -> std::io::Result<std::os::fd::OwnedFd> {
        self.queue.shared().parker.event_fd.get()
    }

    /// Makes the next push, or the closing, write to the [event descriptor](Self::event_fd), which
    /// is cleared. Call it after [`try_pop`](Self::try_pop) said `Empty`, and wait for the
    /// descriptor only if it returns `true`.
    ///
    /// Never waits. Not for signal handlers. A pop that sleeps disarms it. A push that was stopped
    /// halfway may write late, so the descriptor may be readable once with nothing to pop.
    ///
    /// # Returns
    ///
    /// `false` where there is something to pop, or the queue is closed and empty, or nobody has
    /// asked for the descriptor yet: do not wait, pop. Without `membarrier` (a kernel before 4.14,
    /// or a sandbox) it is also `false` while a push is half done.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::os::fd::AsRawFd;
    ///
    /// let (producer, mut consumer) = bywash::bounded(4);
    /// let descriptor = consumer.event_fd()?;
    /// std::thread::spawn(move || (0..100).for_each(|i| producer.push(i).unwrap()));
    /// let mut sum = 0;
    /// loop {
    ///     match consumer.try_pop() {
    ///         Ok(item) => sum += item,
    ///         Err(error) if error.is_closed() => break,
    ///         Err(_) if consumer.arm() => {
    ///             let mut poll = libc::pollfd { fd: descriptor.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    ///             // SAFETY: there is one entry.
    ///             unsafe { libc::poll(&mut poll, 1, -1) };
    ///         }
    ///         Err(_) => {}
    ///     }
    /// }
    /// assert_eq!(sum, 4950);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn arm(&mut self) -> bool {
        self.bind_where_it_is();
        // SAFETY: a queue has one consumer at a time, and it is borrowed for this.
        unsafe { self.queue.shared().arm() }
    }
}
