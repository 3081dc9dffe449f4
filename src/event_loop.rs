//! A consumer in an event loop: a file descriptor that becomes readable with a push.
//!
//! To arm the consumer is to announce sleep and look once more, as a pop does before it sleeps
//! (`wait/mod.rs`, W1), and then to return. The push that finds the announcement writes to the
//! descriptor instead of waking a sleeper. So a push makes one system call at most, and none while
//! the consumer is busy.

use crate::{Consumer, Queue};

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
        self.queue.shared().parker.event_fd().get()
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
    #[must_use = "wait for the descriptor only where it is armed"]
    pub fn arm(&mut self) -> bool {
        self.bound().arm()
    }
}
