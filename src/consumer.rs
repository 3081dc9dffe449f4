//! The end that items are popped from.

use core::cell::Cell;
use core::fmt;
use core::marker::PhantomData;
use core::panic::{RefUnwindSafe, UnwindSafe};

use crate::queue::{Heap, Queue, debug};
use crate::shared::SharedConsumer;
use crate::{Drain, TryIter, TryPopError};

#[cfg(feature = "alloc")]
use alloc::vec::Vec;
#[cfg(feature = "std")]
use {
    crate::lanes::Tails,
    crate::shared::Control,
    crate::{Domain, Iter, PopError, PopTimeoutError, identity},
    std::time::{Duration, Instant},
};

/// The end of a queue that items are popped from. There is one; it may be sent to another thread.
///
/// The thread of the latest pop, or of the latest [`bind`](Self::bind), is the consumer's thread:
/// there a push never waits. **Moving the consumer does not change it.** Until the new thread pops
/// or binds, a `push` of that very thread into the full queue would wait for ever. So `bind` is the
/// first thing that a consumer's thread does.
///
/// When the consumer is dropped, the queue is closed: every waiting and later push gets its item
/// back, and what is left is dropped at once, also while unwinding. (An item whose push had begun
/// and not finished by then is dropped with the last handle; in a
/// [`StaticQueue`](crate::StaticQueue) it is left for the next consumer.) A panic in an item's
/// destructor goes on when the rest has been dropped. Without the feature `std`, a second one
/// aborts the process.
///
/// No method of it is for signal handlers. A consumer that is pushed into its own queue is never
/// dropped, and the queue is never drained nor closed: it leaks.
///
/// It can be sent if its items can, and neither cloned nor shared.
///
/// ```
/// let (producer, mut consumer) = bywash::bounded(4);
/// let writer = std::thread::spawn(move || {
///     consumer.bind();
///     consumer.into_iter().collect::<Vec<_>>()
/// });
/// producer.push("hello").unwrap();
/// drop(producer);
/// assert_eq!(writer.join().unwrap(), ["hello"]);
/// ```
pub struct Consumer<T, Q: Queue<Item = T> = Heap<T>> {
    pub(crate) queue: Q,
    /// The number of the thread that it is bound to, or one that no thread has.
    #[cfg(feature = "std")]
    bound_to: usize,
    _not_sync: PhantomData<Cell<T>>,
}

impl<T, Q: Queue<Item = T>> Consumer<T, Q> {
    pub(crate) fn new(queue: Q) -> Self {
        Self {
            queue,
            #[cfg(feature = "std")]
            bound_to: usize::MAX,
            _not_sync: PhantomData,
        }
    }

    /// What is behind it, for a call that does not bind it.
    #[inline]
    fn unbound(&mut self) -> SharedConsumer<'_, Q::Ring, Q::Bypass> {
        // SAFETY: a queue has one `Consumer` at a time, which is borrowed while the result lives.
        // When it moves to another thread, or a static queue's is given back and claimed again,
        // what it did happens before.
        unsafe { self.queue.shared().consumer() }
    }

    /// What is behind it, bound to the calling thread.
    #[inline]
    pub(crate) fn bound(&mut self) -> SharedConsumer<'_, Q::Ring, Q::Bypass> {
        #[cfg(feature = "std")]
        if self.bound_to != identity::own_number() {
            self.bound_to = self.queue.shared().members.bind();
        }
        self.unbound()
    }

    /// Makes the calling thread the consumer's thread, as a pop does.
    ///
    /// In a forked child it says that the thread is one of the child's: see
    /// [`recover`](Self::recover).
    ///
    /// # Panics
    ///
    /// Where the system has no thread-specific key left, on the first use in a process.
    ///
    /// # Examples
    ///
    /// ```
    /// let (producer, mut consumer) = bywash::bounded(4);
    /// let writer = std::thread::spawn(move || {
    ///     consumer.bind();
    ///     consumer.iter().sum::<u32>()
    /// });
    /// (1..=4).for_each(|i| producer.push(i).unwrap());
    /// drop(producer);
    /// assert_eq!(writer.join().unwrap(), 10);
    /// ```
    #[cfg(feature = "std")]
    pub fn bind(&mut self) {
        self.bound_to = self.queue.shared().members.bind();
    }

    /// Gives up what others have begun and will never finish, and makes the calling thread the
    /// consumer's: the way back after a fork, after a thread was cancelled in a push or pop, or
    /// after a signal handler was left by a jump.
    ///
    /// A push first claims a place and then publishes its item there. If its thread does not go on
    /// in between, because it stayed in the parent of this process or has ended, the place stays
    /// claimed, and in time the ring is full. This gives up all such places, in ring and bypass.
    /// Those who slept, or were about to, are forgotten. If the queue was being closed, it is
    /// closed. What is published stays, and is popped in order. From here on the queue has all its
    /// room again.
    ///
    /// An item that was written and not published is never dropped: nobody can tell whether it was
    /// written. Nor is an item that a stopped pop had taken out for good, before it returned.
    /// Producers of threads that are gone are never dropped, so the last one does not close the
    /// queue: [close](Self::close) it. A consumer that was armed for an event loop is not any more.
    ///
    /// Never waits, allocates nothing, runs no code of the items'. Called again, or on an empty
    /// queue, it finds nothing to give up; it works on a closed queue, too. Not for signal
    /// handlers.
    ///
    /// # Returns
    ///
    /// How many places were given up: pushes that had not returned.
    ///
    /// # Safety
    ///
    /// No thread of this process is inside a push or pop of this queue, or will go on in one that
    /// it is inside of: not the calling thread either, beneath a signal handler or destructor. What
    /// such a push or pop worked on is not used any more: the `VecDeque` of a `try_push_many`, the
    /// `Vec` of a `try_pop_many`.
    ///
    /// # Panics
    ///
    /// As [`bind`](Self::bind).
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(unix)] {
    /// let (producer, mut consumer) = bywash::bounded(4);
    /// producer.push(1).unwrap();
    /// // SAFETY: this process has one thread.
    /// if unsafe { libc::fork() } == 0 {
    ///     // SAFETY: the child has this thread alone, which is inside no push or pop.
    ///     let given_up = unsafe { consumer.recover() };
    ///     // What the parent had pushed is in the child's copy as well.
    ///     let is_as_said = (given_up, consumer.try_pop()) == (0, Ok(1));
    ///     // SAFETY: it has no preconditions.
    ///     unsafe { libc::_exit(i32::from(!is_as_said)) };
    /// }
    /// let mut status = -1;
    /// // SAFETY: the address is valid.
    /// unsafe { libc::wait(&mut status) };
    /// assert_eq!(status, 0);
    /// # }
    /// ```
    pub unsafe fn recover(&mut self) -> usize {
        #[cfg(feature = "std")]
        self.bind();
        self.unbound().recover()
    }

    /// The consumer's domain, for the threads that the consumer depends on.
    ///
    /// ```
    /// use std::thread;
    ///
    /// let (producer, mut consumer) = bywash::bounded(1);
    /// consumer.bind();
    /// producer.push("in the ring").unwrap();
    /// let domain = consumer.domain();
    /// // The consumer waits for a helper, so the helper must not wait for the consumer.
    /// let helper = thread::spawn(move || {
    ///     let _guard = domain.enter();
    ///     producer.push("beside it").unwrap();
    /// });
    /// helper.join().unwrap();
    /// assert!(consumer.iter().eq(["in the ring", "beside it"]));
    /// ```
    #[cfg(feature = "std")]
    pub fn domain(&self) -> Domain {
        self.queue.shared().members.domain()
    }

    /// Pops the next item if there is one. Never waits, not for a producer that was stopped in the
    /// middle of a push either: that one hides its own item, and no other.
    ///
    /// While a producer is stopped so, the slots of items that were popped ahead of its own cannot
    /// be used again.
    ///
    /// # Errors
    ///
    /// [`Empty`](TryPopError::Empty), or [`Closed`](TryPopError::Closed) where nothing will come
    /// any more.
    ///
    /// # Examples
    ///
    /// ```
    /// use bywash::TryPopError;
    ///
    /// let (producer, mut consumer) = bywash::bounded(4);
    /// assert_eq!(consumer.try_pop(), Err(TryPopError::Empty));
    /// producer.try_push('a').unwrap();
    /// drop(producer);
    /// assert_eq!(consumer.try_pop(), Ok('a'));
    /// assert_eq!(consumer.try_pop(), Err(TryPopError::Closed));
    /// ```
    #[inline]
    pub fn try_pop(&mut self) -> Result<T, TryPopError> {
        self.bound().try_pop()
    }

    /// Pops the next item, and sleeps until there is one. Any push wakes it, one from a signal
    /// handler on the sleeping thread itself included.
    ///
    /// # Errors
    ///
    /// [`PopError`] where the queue is closed and all that was pushed has been popped. A push that
    /// began before the queue was closed, and has not finished, is waited for.
    ///
    /// # Examples
    ///
    /// ```
    /// use bywash::PopError;
    ///
    /// let (producer, mut consumer) = bywash::bounded(4);
    /// std::thread::spawn(move || producer.push('a'));
    /// assert_eq!(consumer.pop(), Ok('a'));
    /// assert_eq!(consumer.pop(), Err(PopError));
    /// ```
    #[cfg(feature = "std")]
    #[inline]
    pub fn pop(&mut self) -> Result<T, PopError> {
        self.bound().pop(|| None, || false, |_| PopError)
    }

    /// Pops the next item, and sleeps until there is one, but not much longer than `timeout`. A
    /// timeout of zero tries once.
    ///
    /// # Errors
    ///
    /// [`Timeout`](PopTimeoutError::Timeout) where no item came in time,
    /// [`Closed`](PopTimeoutError::Closed) where none will.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use bywash::PopTimeoutError;
    ///
    /// let (_producer, mut consumer) = bywash::bounded::<u8>(4);
    /// assert_eq!(consumer.pop_timeout(Duration::from_millis(5)), Err(PopTimeoutError::Timeout));
    /// ```
    #[cfg(feature = "std")]
    #[inline]
    pub fn pop_timeout(&mut self, timeout: Duration) -> Result<T, PopTimeoutError> {
        self.bound().pop(|| Instant::now().checked_add(timeout), || false, |error| error)
    }

    /// Pops the next item, and sleeps until there is one, but not much past `deadline`. A deadline
    /// in the past tries once.
    ///
    /// # Errors
    ///
    /// As [`pop_timeout`](Self::pop_timeout).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Instant;
    /// use bywash::PopTimeoutError;
    ///
    /// let (producer, mut consumer) = bywash::bounded(4);
    /// producer.push('a').unwrap();
    /// assert_eq!(consumer.pop_deadline(Instant::now()), Ok('a'));
    /// assert_eq!(consumer.pop_deadline(Instant::now()), Err(PopTimeoutError::Timeout));
    /// ```
    #[cfg(feature = "std")]
    #[inline]
    pub fn pop_deadline(&mut self, deadline: Instant) -> Result<T, PopTimeoutError> {
        self.bound().pop(|| Some(deadline), || false, |error| error)
    }

    /// Pops the items that are next, `limit` at most, to the end of `buffer`, and frees their room
    /// at once. Never waits.
    ///
    /// It is what [`try_pop`](Self::try_pop) is for one. It may return fewer than there are, where
    /// they do not lie in a row: behind a half pushed item, or in the bypass.
    ///
    /// # Returns
    ///
    /// How many were popped: at least one, unless `limit` is 0.
    ///
    /// # Errors
    ///
    /// As [`try_pop`](Self::try_pop).
    ///
    /// # Panics
    ///
    /// Where `buffer` would become larger than a `Vec` can be. Nothing is lost.
    ///
    /// # Examples
    ///
    /// ```
    /// let (producer, mut consumer) = bywash::bounded(4);
    /// producer.try_push_many(&mut (0..4).collect()).unwrap();
    /// let mut batch = Vec::new();
    /// assert_eq!(consumer.try_pop_many(&mut batch, 3), Ok(3));
    /// assert_eq!(batch, [0, 1, 2]);
    /// ```
    #[cfg(feature = "alloc")]
    pub fn try_pop_many(
        &mut self,
        buffer: &mut Vec<T>,
        limit: usize,
    ) -> Result<usize, TryPopError> {
        self.bound().try_pop_many(limit, buffer)
    }

    /// As [`try_pop_many`](Self::try_pop_many), and sleeps until there is an item.
    ///
    /// # Errors
    ///
    /// The queue is closed, and everything that was pushed has been popped.
    ///
    /// # Panics
    ///
    /// As [`try_pop_many`](Self::try_pop_many).
    ///
    /// # Examples
    ///
    /// ```
    /// let (producer, mut consumer) = bywash::bounded(4);
    /// std::thread::spawn(move || (0..100).for_each(|i| producer.push(i).unwrap()));
    /// let mut batch = Vec::new();
    /// while consumer.pop_many(&mut batch, 16).is_ok() {}
    /// assert!(batch.into_iter().eq(0..100));
    /// ```
    #[cfg(feature = "std")]
    pub fn pop_many(&mut self, buffer: &mut Vec<T>, limit: usize) -> Result<usize, PopError> {
        match self.try_pop_many(buffer, limit) {
            Ok(count) => Ok(count),
            Err(TryPopError::Closed) => Err(PopError),
            Err(TryPopError::Empty) => {
                buffer.reserve(1);
                buffer.push(self.pop()?);
                Ok(1 + self.try_pop_many(buffer, limit - 1).unwrap_or(0))
            }
        }
    }

    /// How many pushes were [refused and counted](Producer::try_push_or_count) before the item that
    /// is popped next, and have not been told of yet. Never waits.
    ///
    /// Ask after each pop, and write the number there: it is the place, to a lap of the ring at
    /// most. Those of a run of refusals are told together, where the first would have stood. In the
    /// end the sum is exact.
    ///
    /// # Examples
    ///
    /// ```
    /// let (producer, mut consumer) = bywash::bounded(2);
    /// (0..5).for_each(|i| _ = producer.try_push_or_count(i));
    /// let mut lines = Vec::new();
    /// while let Ok(item) = consumer.try_pop() {
    ///     lines.push(format!("item {item}"));
    ///     match consumer.take_lost() {
    ///         0 => {}
    ///         lost => lines.push(format!("{lost} lost here")),
    ///     }
    /// }
    /// assert_eq!(lines, ["item 0", "item 1", "3 lost here"]);
    /// ```
    pub fn take_lost(&mut self) -> u64 {
        self.unbound().take_lost()
    }

    /// Refuses every push from now on, and wakes the producers that wait. What is in the queue can
    /// still be popped.
    ///
    /// ```
    /// let (producer, mut consumer) = bywash::bounded(4);
    /// producer.push('a').unwrap();
    /// consumer.close();
    /// assert!(producer.push('b').unwrap_err().is_closed());
    /// assert_eq!(consumer.try_pop(), Ok('a'));
    /// assert!(consumer.try_pop().unwrap_err().is_closed());
    /// ```
    pub fn close(&mut self) {
        self.queue.shared().close();
    }

    /// Pops and waits, until the queue is closed and drained.
    ///
    /// ```
    /// let (producer, mut consumer) = bywash::bounded(4);
    /// std::thread::spawn(move || (0..100).for_each(|i| producer.push(i).unwrap()));
    /// assert!(consumer.iter().eq(0..100));
    /// ```
    #[cfg(feature = "std")]
    pub fn iter(&mut self) -> Iter<'_, T, Q> {
        Iter { consumer: self }
    }

    /// Pops until there is nothing to pop. Never waits, and does not end while producers keep up.
    ///
    /// ```
    /// let (producer, mut consumer) = bywash::bounded(4);
    /// (0..3).for_each(|i| producer.push(i).unwrap());
    /// assert!(consumer.try_iter().eq(0..3));
    /// ```
    pub fn try_iter(&mut self) -> TryIter<'_, T, Q> {
        TryIter { consumer: self }
    }

    /// Pops as many items as are in the queue now, so it ends while producers push on. Never waits.
    ///
    /// What is not taken from the iterator stays in the queue.
    ///
    /// ```
    /// let (producer, mut consumer) = bywash::bounded(4);
    /// producer.push(1).unwrap();
    /// producer.push(2).unwrap();
    /// for item in consumer.drain() {
    ///     producer.push(item + 10).unwrap();
    /// }
    /// assert!(consumer.try_iter().eq([11, 12]));
    /// ```
    pub fn drain(&mut self) -> Drain<'_, T, Q> {
        let left = self.len();
        Drain { consumer: self, left }
    }

    /// How many items the ring holds at most, as asked for. The bypass comes on top.
    pub fn capacity(&self) -> usize {
        self.queue.shared().lanes().capacity()
    }

    /// How many items are in the queue at the moment, those in the bypass and those half pushed
    /// included.
    ///
    /// An item that was popped ahead of a half pushed one counts until that one is popped, as its
    /// slot is in use.
    ///
    /// ```
    /// let (producer, consumer) = bywash::bounded(2);
    /// producer.push('a').unwrap();
    /// assert_eq!((consumer.capacity(), consumer.len(), consumer.bypassed()), (2, 1, 0));
    /// drop(producer);
    /// assert!(consumer.is_closed() && !consumer.is_empty());
    /// ```
    pub fn len(&self) -> usize {
        self.queue.shared().lanes().len()
    }

    /// Whether nothing is in the queue at the moment, not even half pushed.
    pub fn is_empty(&self) -> bool {
        self.queue.shared().lanes().is_empty()
    }

    /// Whether the queue was closed, from either end. There may be items left.
    pub fn is_closed(&self) -> bool {
        self.queue.shared().lanes().ring.is_closed()
    }

    /// How many items have gone through the bypass so far.
    pub fn bypassed(&self) -> u64 {
        self.queue.shared().lanes().bypassed()
    }
}

/// For listeners.
#[cfg(feature = "std")]
impl<T, Q: Queue<Item = T>> Consumer<T, Q> {
    /// As [`pop`](Self::pop), and `None` as soon as `has_news`, after `Control::notify_consumer`.
    pub(crate) fn pop_unless(
        &mut self,
        has_news: impl Fn() -> bool,
    ) -> Result<Option<T>, PopError> {
        match self.bound().pop(|| None, has_news, |error| error) {
            Ok(item) => Ok(Some(item)),
            Err(PopTimeoutError::Timeout) => Ok(None),
            Err(PopTimeoutError::Closed) => Err(PopError),
        }
    }

    /// What is pushed from now on lies at or above these.
    pub(crate) fn tails(&mut self) -> Tails {
        self.unbound().tails()
    }

    /// Whether nothing that is published lies below `tails`.
    pub(crate) fn all_popped_below(&mut self, tails: Tails) -> bool {
        self.unbound().all_popped_below(tails)
    }

    pub(crate) fn control(&self) -> Box<dyn Control>
    where
        T: Send,
        Q: 'static,
    {
        self.queue.control()
    }
}

impl<T, Q: Queue<Item = T>> Drop for Consumer<T, Q> {
    fn drop(&mut self) {
        self.close();
        self.unbound().drop_remaining();
    }
}

impl<T, Q: Queue<Item = T>> fmt::Debug for Consumer<T, Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        debug(f, "Consumer", self.queue.shared())
    }
}

// As for `Producer`.
impl<T, Q: Queue<Item = T>> UnwindSafe for Consumer<T, Q> {}
impl<T, Q: Queue<Item = T>> RefUnwindSafe for Consumer<T, Q> {}
