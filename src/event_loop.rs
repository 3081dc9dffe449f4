//! A consumer in an event loop: a file descriptor that becomes readable with a push.
//!
//! To arm the consumer is to announce sleep and look once more, as a pop does before it sleeps
//! (`sleep/mod.rs`, W1), and then to return. A push that finds the announcement writes to the
//! descriptor instead of waking a sleeper. So a push makes one system call at most, and none while
//! the consumer is busy.
//!
//! The write of an earlier push may come late, and arming again may clear it. That is safe because
//! `read` and `write` take the same lock in the kernel: if the consumer clears what a push has
//! written, it reads the word as that push left it, and announces anew.

use crate::{Consumer, Queue};

/// For event loops, with the feature `eventfd`, on Linux.
///
/// The loop calls [`bind`](Self::bind) when it begins, because what else runs on its thread may
/// push, too. In a task that moves between threads, see [event loops](crate::event_loops).
impl<T, Q: Queue<Item = T>> Consumer<T, Q> {
    /// A file descriptor for an event loop. After the consumer was [armed](Self::arm), it becomes
    /// readable once something is pushed or the queue is closed. Register it with `poll`, `epoll`,
    /// `mio` or tokio's `AsyncFd`, and neither read nor write it.
    ///
    /// It is an `eventfd`. The first call makes it; all calls return the same one under new
    /// numbers. A push that finds the consumer armed writes to it once, in a signal handler too.
    /// Other pushes have nothing to do with it.
    ///
    /// A forked child never touches its parent's descriptor: its first call makes one of its own.
    /// (A child of `_Fork` or a bare `clone`, which run no handlers of `pthread_atfork`, has its
    /// parent's in common with it. Do not arm it there: that could take away the parent's signal.)
    ///
    /// Never waits. May allocate. Do not call it in a signal handler.
    ///
    /// # Errors
    ///
    /// If the system has no more descriptors or memory. The consumer goes on, and may ask again.
    pub fn event_fd(&mut self) -> std::io::Result<std::os::fd::OwnedFd> {
        self.queue.shared().parker.event_fd()
    }

    /// Clears the [event descriptor](Self::event_fd), and makes the next push or closing write to
    /// it. Call it after [`try_pop`](Self::try_pop) returned `Empty`, and wait for the descriptor
    /// only if it returns `true`.
    ///
    /// Never waits. Do not call it in a signal handler. A pop that sleeps disarms the consumer. A
    /// push that was stopped halfway may write late, and so may its copy in a child that a signal
    /// handler has forked meanwhile. So the descriptor may be readable once with nothing to pop.
    ///
    /// # Returns
    ///
    /// `false` if there is something to pop, or the queue is closed and empty, or
    /// [`event_fd`](Self::event_fd) was never called in this process: do not wait, pop. Without
    /// `membarrier` (on a kernel before 4.14, in a sandbox, or the first few times in a process) it
    /// is also `false` while a push has claimed a slot and has not finished.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::os::fd::AsRawFd;
    ///
    /// let (producer, mut consumer) = bywash::bounded(4);
    /// consumer.bind();
    /// let descriptor = consumer.event_fd()?;
    /// std::thread::spawn(move || (0..100).for_each(|i| producer.push(i).unwrap()));
    /// let mut sum = 0;
    /// loop {
    ///     match consumer.try_pop() {
    ///         Ok(item) => sum += item,
    ///         Err(error) if error.is_closed() => break,
    ///         Err(_) if consumer.arm() => {
    ///             let fd = descriptor.as_raw_fd();
    ///             let mut poll = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
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
