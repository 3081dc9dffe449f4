//! The end that items are pushed into.

use alloc::collections::VecDeque;
use core::fmt;
use core::panic::{RefUnwindSafe, UnwindSafe};

use crate::TryPushError;
use crate::queue::{HeapShared, debug};
use crate::sync::Arc;

#[cfg(feature = "std")]
use {
    crate::error::without_timeout,
    crate::{PushError, PushTimeoutError},
    std::time::{Duration, Instant},
};

/// The end of a queue that items are pushed into. Clone it for more producers, on any threads.
///
/// When the last one is dropped, the consumer drains what is left and is told
/// [`Closed`](TryPopError::Closed).
///
/// Dropping and cloning are not for signal handlers; a handler uses a producer that outlives it, as
/// one in a `static`.
///
/// A producer inside an item keeps its queue open for as long as the item is in the queue.
///
/// ```
/// use std::thread;
///
/// let (producer, mut consumer) = bywash::bounded(4);
/// for i in 0..3 {
///     let producer = producer.clone();
///     thread::spawn(move || producer.push(i).unwrap());
/// }
/// drop(producer);
/// assert_eq!(consumer.iter().sum::<i32>(), 3);
/// ```
pub struct Producer<T> {
    shared: Arc<HeapShared<T>>,
}

impl<T> Producer<T> {
    pub(crate) fn new(shared: Arc<HeapShared<T>>) -> Self {
        shared.add_producer();
        Self { shared }
    }

    /// Pushes `item` if there is room.
    ///
    /// It may be called anywhere: from a signal handler, a destructor, an allocator or panic hook,
    /// and on top of any method of the same queue that it interrupted. It takes no lock, waits for
    /// nobody, does not allocate, free or panic, runs no code of the item's, and leaves `errno`
    /// alone. Its only system call is the one that wakes a sleeping consumer. A refused item is
    /// handed back, and dropped by the caller: in a handler, use items whose destructor does
    /// nothing.
    ///
    /// On the consumer's thread, or inside its [`Domain`](crate::Domain), an item for which the
    /// ring has no room goes into the bypass.
    ///
    /// # Errors
    ///
    /// [`Full`](TryPushError::Full) without room, [`Closed`](TryPushError::Closed) without a
    /// consumer. The item is in the error.
    ///
    /// # Examples
    ///
    /// ```
    /// use bywash::TryPushError;
    ///
    /// let (producer, consumer) = bywash::bounded(1);
    /// assert_eq!(producer.try_push('a'), Ok(()));
    /// assert_eq!(producer.try_push('b'), Err(TryPushError::Full('b')));
    /// drop(consumer);
    /// assert_eq!(producer.try_push('c'), Err(TryPushError::Closed('c')));
    /// ```
    #[inline]
    pub fn try_push(&self, item: T) -> Result<(), TryPushError<T>> {
        self.shared.try_push(item)
    }

    /// Pushes `item`, and waits for room, unless waiting here could never end.
    ///
    /// On the consumer's thread, or inside its [`Domain`](crate::Domain), it never waits: with ring
    /// and bypass full it hands the item back at once. Elsewhere it sleeps until the consumer makes
    /// room or closes. In a forked child it does not sleep for a consumer whose thread is the
    /// parent's, and hands the item back, too.
    ///
    /// It is not for signal handlers, which may have interrupted what they would wait for: there,
    /// use [`try_push`](Self::try_push). A thread that owns a [`Consumer`] and has not popped from
    /// it yet calls [`Consumer::bind`] first, or waits here for itself.
    ///
    /// # Errors
    ///
    /// [`WouldDeadlock`](PushError::WouldDeadlock) where waiting would never end,
    /// [`Closed`](PushError::Closed) without a consumer. The item is in the error.
    ///
    /// # Examples
    ///
    /// ```
    /// use bywash::{Builder, PushError};
    ///
    /// let (producer, mut consumer) = Builder::new(1).bypass(1).build();
    /// consumer.bind();
    /// assert_eq!(producer.push("in the ring"), Ok(()));
    /// assert_eq!(producer.push("beside it"), Ok(()));
    /// assert_eq!(producer.push("no room"), Err(PushError::WouldDeadlock("no room")));
    /// ```
    #[cfg(feature = "std")]
    #[inline]
    pub fn push(&self, item: T) -> Result<(), PushError<T>> {
        without_timeout(self.shared.push(item, || None))
    }

    /// Pushes `item`, and waits for room, but not much longer than `timeout`, and not where waiting
    /// could never end.
    ///
    /// As [`push`](Self::push) otherwise. A timeout of zero tries once.
    ///
    /// # Errors
    ///
    /// As [`push`](Self::push), and [`Timeout`](PushTimeoutError::Timeout) where there was no room
    /// in time.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use bywash::PushTimeoutError;
    ///
    /// let (producer, consumer) = bywash::bounded(1);
    /// producer.push(1).unwrap();
    /// assert_eq!(producer.push_timeout(2, Duration::from_millis(5)), Err(PushTimeoutError::Timeout(2)));
    /// # drop(consumer);
    /// ```
    #[cfg(feature = "std")]
    #[inline]
    pub fn push_timeout(&self, item: T, timeout: Duration) -> Result<(), PushTimeoutError<T>> {
        self.shared.push(item, || Instant::now().checked_add(timeout))
    }

    /// Pushes `item`, and waits for room, but not much past `deadline`, and not where waiting could
    /// never end.
    ///
    /// As [`push_timeout`](Self::push_timeout) otherwise. A deadline in the past tries once.
    ///
    /// # Errors
    ///
    /// As [`push_timeout`](Self::push_timeout).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Instant;
    ///
    /// let (producer, consumer) = bywash::bounded(1);
    /// producer.push_deadline(1, Instant::now()).unwrap();
    /// assert!(producer.push_deadline(2, Instant::now()).unwrap_err().is_timeout());
    /// # drop(consumer);
    /// ```
    #[cfg(feature = "std")]
    #[inline]
    pub fn push_deadline(&self, item: T, deadline: Instant) -> Result<(), PushTimeoutError<T>> {
        self.shared.push(item, || Some(deadline))
    }

    /// Pushes the first of `items`, as many as there is room for, with one claim for all. What does
    /// not fit stays in `items`.
    ///
    /// The items come out in a row, but for what consumer and producers do at the same time:
    /// others' items may stand between two claims. As [`try_push`](Self::try_push), it never waits
    /// and may be called anywhere, from a signal handler too (if the handler has a `VecDeque` that
    /// nobody else touches): it neither allocates nor frees, and runs no code of the items. It
    /// takes the bypass on the same terms.
    ///
    /// # Returns
    ///
    /// How many were pushed: at least one, unless `items` is empty.
    ///
    /// # Errors
    ///
    /// [`Full`](TryPushError::Full) where there was no room for even one,
    /// [`Closed`](TryPushError::Closed) once the queue is closed. Both leave `items` as they were.
    ///
    /// # Examples
    ///
    /// ```
    /// use bywash::TryPushError;
    ///
    /// let (producer, mut consumer) = bywash::bounded(3);
    /// let mut lines = ["one", "two", "three", "four"].into();
    /// assert_eq!(producer.try_push_many(&mut lines), Ok(3));
    /// assert_eq!(producer.try_push_many(&mut lines), Err(TryPushError::Full(())));
    /// assert_eq!(lines, ["four"]);
    /// assert!(consumer.try_iter().eq(["one", "two", "three"]));
    /// ```
    pub fn try_push_many(&self, items: &mut VecDeque<T>) -> Result<usize, TryPushError<()>> {
        self.shared.try_push_many(items)
    }

    /// Pushes all of `items`, many at a time as [`try_push_many`](Self::try_push_many) does, and
    /// waits for room as [`push`](Self::push) does. Not for signal handlers.
    ///
    /// # Errors
    ///
    /// [`WouldDeadlock`](PushError::WouldDeadlock) where waiting could never end,
    /// [`Closed`](PushError::Closed) once the queue is closed. What was not pushed stays in
    /// `items`, in order.
    ///
    /// # Examples
    ///
    /// ```
    /// let (producer, mut consumer) = bywash::bounded(4);
    /// std::thread::spawn(move || producer.push_many(&mut (0..100).collect()).unwrap());
    /// assert!(consumer.iter().eq(0..100));
    /// ```
    #[cfg(feature = "std")]
    pub fn push_many(&self, items: &mut VecDeque<T>) -> Result<(), PushError<()>> {
        self.shared.push_many(items)
    }

    /// Pushes `item` if fewer than `limit` items are in the ring, as a [`try_push`](Self::try_push)
    /// that leaves the rest of the room to others: so that a flood of debug lines cannot take the
    /// place of the error that explains the crash.
    ///
    /// Exact, in order, and to be called anywhere, in signal handlers too; it never waits. It never
    /// takes the bypass. A limit above the capacity is the capacity. It looks at the consumer's
    /// counter on every call, so under contention it costs more than `try_push`. Items half pushed
    /// count.
    ///
    /// # Errors
    ///
    /// [`Full`](TryPushError::Full) where `limit` or more are in, [`Closed`](TryPushError::Closed)
    /// once the queue is closed.
    ///
    /// # Examples
    ///
    /// ```
    /// let (producer, mut consumer) = bywash::bounded(4);
    /// let debug = |line| producer.try_push_within(line, 2);
    /// assert!(debug("a").is_ok());
    /// assert!(debug("b").is_ok());
    /// assert!(debug("c").unwrap_err().is_full());
    /// producer.try_push("the error").unwrap();
    /// assert!(consumer.try_iter().eq(["a", "b", "the error"]));
    /// ```
    pub fn try_push_within(&self, item: T, limit: usize) -> Result<(), TryPushError<T>> {
        self.shared.try_push_within(item, limit)
    }

    /// As [`try_push`](Self::try_push), and counts `item` as lost if there is no room, for
    /// [`Consumer::take_lost`](Consumer::take_lost) to tell where. To be called anywhere, in signal
    /// handlers too.
    ///
    /// For pushes that are not tried again. `try_push` itself counts nothing.
    ///
    /// # Errors
    ///
    /// As [`try_push`](Self::try_push). Only what is [`Full`](TryPushError::Full) is counted.
    pub fn try_push_or_count(&self, item: T) -> Result<(), TryPushError<T>> {
        self.shared.try_push_or_count(item)
    }

    /// As [`try_push`](Self::try_push), and then waits until the consumer has popped the item, but
    /// not much longer than `timeout`. For the handler of a signal that ends the program: what it
    /// reports should be out before.
    ///
    /// It waits for the consumer, which another thread must have; but it takes no lock, allocates
    /// nothing, calls nothing that a handler may not, and leaves `errno` alone. It also works on
    /// top of an interrupted push: what that one has claimed is not waited for. On the consumer's
    /// thread, in its [`Domain`], and in a forked child whose parent has that thread, it does not
    /// wait.
    ///
    /// That the item was popped does not say that it was written; give the consumer a moment, or
    /// let it tell you. What is dropped with the consumer counts as popped; but where the consumer
    /// goes in the very middle of the push, the whole timeout passes. So choose one that you can
    /// wait for. A thread that popped last is the consumer's until another has bound itself.
    ///
    /// # Returns
    ///
    /// Whether it was popped in time.
    ///
    /// # Errors
    ///
    /// As [`try_push`](Self::try_push), at once.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let (producer, mut consumer) = bywash::bounded(4);
    /// let thread = std::thread::spawn(move || consumer.pop());
    /// assert_eq!(producer.try_push_and_wait("segmentation fault", Duration::from_secs(10)), Ok(true));
    /// assert_eq!(thread.join().unwrap(), Ok("segmentation fault"));
    /// ```
    #[cfg(feature = "std")]
    pub fn try_push_and_wait(&self, item: T, timeout: Duration) -> Result<bool, TryPushError<T>> {
        self.shared.try_push_and_wait(item, timeout)
    }

    /// Whether this is the consumer's thread: the one of its latest pop or
    /// [`bind`](crate::Consumer::bind). Never waits, and a signal handler may call it.
    ///
    /// ```
    /// let (producer, mut consumer) = bywash::bounded::<u8>(1);
    /// assert!(!producer.is_consumer_thread());
    /// consumer.bind();
    /// assert!(producer.is_consumer_thread());
    /// ```
    #[cfg(feature = "std")]
    pub fn is_consumer_thread(&self) -> bool {
        self.shared.members.is_consumer()
    }

    /// Whether this thread must not wait for the consumer, so that [`push`](Self::push) never waits
    /// here: it is the consumer's thread, or in its [`Domain`](crate::Domain). Never waits, and a
    /// signal handler may call it.
    ///
    /// ```
    /// let (producer, consumer) = bywash::bounded::<u8>(1);
    /// let domain = consumer.domain();
    /// assert!(!producer.must_not_wait());
    /// let _guard = domain.enter();
    /// assert!(producer.must_not_wait() && !producer.is_consumer_thread());
    /// ```
    #[cfg(feature = "std")]
    pub fn must_not_wait(&self) -> bool {
        self.shared.members.is_member()
    }

    /// How many items the ring holds at most, as asked for. The bypass comes on top.
    pub fn capacity(&self) -> usize {
        self.shared.lanes().capacity()
    }

    /// How many items are in the queue at the moment, those in the bypass and those half pushed
    /// included.
    ///
    /// An item that was popped ahead of a half pushed one counts until that one is popped, as its
    /// slot is in use.
    ///
    /// ```
    /// let (producer, mut consumer) = bywash::bounded(1);
    /// assert!(producer.is_empty());
    /// consumer.bind();
    /// producer.push("in the ring").unwrap();
    /// producer.push("beside it").unwrap();
    /// assert_eq!((producer.capacity(), producer.len(), producer.bypassed()), (1, 2, 1));
    /// assert!(producer.is_full());
    /// drop(consumer);
    /// assert!(producer.is_closed());
    /// ```
    pub fn len(&self) -> usize {
        self.shared.lanes().len()
    }

    /// Whether nothing is in the queue at the moment, not even half pushed.
    pub fn is_empty(&self) -> bool {
        self.shared.lanes().is_empty()
    }

    /// Whether every slot of the ring is in use at the moment.
    pub fn is_full(&self) -> bool {
        self.shared.lanes().ring.is_full()
    }

    /// Whether the consumer has closed the queue or is gone.
    pub fn is_closed(&self) -> bool {
        self.shared.lanes().ring.is_closed()
    }

    /// How many items have gone through the bypass so far.
    pub fn bypassed(&self) -> u64 {
        self.shared.lanes().bypassed()
    }
}

impl<T> Clone for Producer<T> {
    fn clone(&self) -> Self {
        Self::new(self.shared.clone())
    }
}

impl<T> Drop for Producer<T> {
    fn drop(&mut self) {
        self.shared.remove_producer();
    }
}

impl<T> fmt::Debug for Producer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        debug(f, "Producer", &self.shared)
    }
}

// However a call on a queue ends, the queue is whole: no user code runs in the middle of one.
impl<T> UnwindSafe for Producer<T> {}
impl<T> RefUnwindSafe for Producer<T> {}
