//! A queue that needs no allocator.

use core::fmt;
use core::panic::{RefUnwindSafe, UnwindSafe};

use crate::lanes::Entry;
use crate::queue::{Queue, sealed};
use crate::shared::{Places, Shared};
use crate::slots::Inline;
use crate::sync::{AtomicBool, Ordering};
use crate::{Consumer, Counts, TryPushError};

#[cfg(feature = "alloc")]
use alloc::collections::VecDeque;

#[cfg(feature = "std")]
use {
    crate::shared::Refusal,
    crate::sleep::Patience,
    crate::{PushError, PushTimeoutError},
    std::time::{Duration, Instant},
};

/// A queue for a `static`: with a ring for `N` items and a bypass for `BYPASS` items, both in line
/// and without an allocator.
///
/// Any code that can see it pushes into it directly: before there is a consumer, and from any
/// signal handler. [`consumer`](Self::consumer) claims a consumer from it, one at a time. It has no
/// last producer, so it does not close by itself: a loop over it ends when a pusher calls
/// [`close`](Self::close), or the consumer [does](Consumer::close).
///
/// ```
/// use bywash::StaticQueue;
///
/// static LOG: StaticQueue<&str, 256, 16> = StaticQueue::new();
///
/// LOG.try_push("from anywhere").unwrap();
/// let mut consumer = LOG.consumer().unwrap();
/// assert_eq!(consumer.try_pop(), Ok("from anywhere"));
/// assert!(LOG.consumer().is_none());
/// ```
///
/// A capacity of 0 does not compile:
///
/// ```compile_fail,E0080
/// static LOG: bywash::StaticQueue<u8, 0, 0> = bywash::StaticQueue::new();
/// ```
///
/// `BYPASS` slots are for what is pushed on the consumer's thread, or in its domain, while the ring
/// is full. The 16 of the examples are for a thread that a few handlers interrupt meanwhile. A
/// consumer that pushes an item for each one that it pops needs `N` + 1, by the rule of
/// [`Builder::bypass`](crate::Builder::bypass). Where nothing is pushed there, take 0. Without the
/// feature `std`, threads cannot be told apart, and so the bypass is not used.
pub struct StaticQueue<T, const N: usize, const BYPASS: usize> {
    shared: Shared<Places<Inline<T, N>, Inline<Entry<T>, BYPASS>>>,
    claimed: AtomicBool,
}

// So that the compiler names it, and not what is in it, where an item may not be sent.
// SAFETY: so are its parts, see `parts`.
unsafe impl<T: Send, const N: usize, const BYPASS: usize> Sync for StaticQueue<T, N, BYPASS> {}

#[expect(dead_code, reason = "it is compiled")]
fn parts<T: Send, const N: usize, const BYPASS: usize>(
    StaticQueue { shared, claimed }: &StaticQueue<T, N, BYPASS>,
) -> [&(dyn Sync + '_); 2] {
    [shared, claimed]
}

/// Fails where it is compiled with 0, so that a queue which is no `static` does not compile either.
/// For one that is, an assertion says where it is.
const fn not_empty<const N: usize>() {
    const { assert!(N != 0, "bywash: the capacity of a queue, N, must not be 0: use 1 or more") };
}

/// The consumer of a [`StaticQueue`].
pub type StaticConsumer<'a, T, const N: usize, const BYPASS: usize> =
    Consumer<T, Claimed<'a, T, N, BYPASS>>;

impl<T, const N: usize, const BYPASS: usize> StaticQueue<T, N, BYPASS> {
    /// An empty queue. It is all zeros, so a `static` queue takes no space in the program's file.
    #[allow(clippy::new_without_default, reason = "it is for statics, which need a const function")]
    #[track_caller]
    pub const fn new() -> Self {
        assert!(N != 0, "bywash: the capacity of a queue, N, must not be 0: use 1 or more");
        not_empty::<N>();
        Self { shared: Shared::new(Inline::new(), Inline::new()), claimed: AtomicBool::new(false) }
    }

    /// Claims the consumer, or returns `None` if it is claimed already.
    ///
    /// When the consumer is dropped, the queue is closed and emptied, and waiting pushes get their
    /// items back, as with any queue. The next claim opens it again. (A push that has not noticed
    /// the closing by then waits for the next consumer.) A queue that was closed by
    /// [`close`](Self::close), and has had no consumer since, stays closed: this consumer pops what
    /// is left, and the next one opens the queue again.
    ///
    /// Never waits. Do not call it in a signal handler.
    ///
    /// ```
    /// use bywash::StaticQueue;
    ///
    /// static LOG: StaticQueue<&str, 4, 0> = StaticQueue::new();
    ///
    /// let consumer = LOG.consumer().unwrap();
    /// drop(consumer);
    /// assert!(LOG.try_push("to nobody").unwrap_err().is_closed());
    /// let mut next = LOG.consumer().unwrap();
    /// LOG.try_push("to the next one").unwrap();
    /// assert!(next.try_iter().eq(["to the next one"]));
    /// ```
    #[must_use = "dropping the consumer closes the queue"]
    pub fn consumer(&self) -> Option<StaticConsumer<'_, T, N, BYPASS>> {
        // Acquire; pairs with the Release where the consumer is given back.
        if self.claimed.swap(true, Ordering::Acquire) {
            return None;
        }
        Some(self.opened())
    }

    /// The consumer, which is claimed, of the queue, which is opened, unless a pusher has closed
    /// it.
    fn opened(&self) -> StaticConsumer<'_, T, N, BYPASS> {
        self.shared.core().reopen();
        Consumer::new(Claimed { queue: self })
    }

    /// Claims the consumer although there is one, which will never be used again. It is for a
    /// forked child, if a thread of the parent had the consumer, and for a consumer whose thread
    /// was cancelled.
    ///
    /// It opens the queue, as [`consumer`](Self::consumer) does. The queue stays closed only if
    /// [`close`](Self::close) closed it and no consumer was dropped after that. What is in the
    /// queue stays. Call [`recover`](Consumer::recover) next: it gives up what was begun.
    ///
    /// Never waits. Not for signal handlers.
    ///
    /// # Safety
    ///
    /// The earlier consumer, if there is one, and what was borrowed from it, are not used any more,
    /// nor dropped.
    ///
    /// ```
    /// use bywash::StaticQueue;
    ///
    /// static LOG: StaticQueue<&str, 4, 0> = StaticQueue::new();
    ///
    /// std::mem::forget(LOG.consumer());
    /// LOG.try_push("to nobody yet").unwrap();
    /// assert!(LOG.consumer().is_none());
    /// // SAFETY: it was forgotten.
    /// let mut consumer = unsafe { LOG.reclaim_consumer() };
    /// // SAFETY: there is one thread, and it is not inside a push or pop.
    /// assert_eq!(unsafe { consumer.recover() }, 0);
    /// assert!(consumer.try_iter().eq(["to nobody yet"]));
    /// ```
    pub unsafe fn reclaim_consumer(&self) -> StaticConsumer<'_, T, N, BYPASS> {
        self.claimed.store(true, Ordering::Relaxed);
        self.shared.members.unbind();
        self.opened()
    }

    /// Pushes `item` if there is room. May be called anywhere, in a signal handler too, as
    /// [`Producer::try_push`](crate::Producer::try_push) may. A refused item is handed back, and
    /// the caller drops it: in a handler, use items whose destructor does nothing.
    ///
    /// # Errors
    ///
    /// [`Full`](TryPushError::Full) if there is no room, [`Closed`](TryPushError::Closed) from the
    /// time that the consumer was closed or dropped until the next one is claimed.
    ///
    /// # Examples
    ///
    /// ```
    /// use bywash::{StaticQueue, TryPushError};
    ///
    /// static LOG: StaticQueue<&str, 1, 0> = StaticQueue::new();
    ///
    /// assert_eq!(LOG.try_push("there is room"), Ok(()));
    /// assert_eq!(LOG.try_push("and now none"), Err(TryPushError::Full("and now none")));
    /// ```
    #[inline]
    pub fn try_push(&self, item: T) -> Result<(), TryPushError<T>> {
        self.shared.try_push(item)
    }

    /// Pushes `item`, and waits for room, unless the wait could never end, as
    /// [`Producer::push`](crate::Producer::push) does. Before the first consumer is claimed, it
    /// waits, too. Do not call it in a signal handler or an allocator hook.
    ///
    /// # Errors
    ///
    /// [`WouldDeadlock`](PushError::WouldDeadlock) where [`Producer::push`](crate::Producer::push)
    /// returns it, [`Closed`](PushError::Closed) from the time that the consumer was closed or
    /// dropped until the next one is claimed.
    ///
    /// # Examples
    ///
    /// ```
    /// use bywash::StaticQueue;
    ///
    /// static LOG: StaticQueue<u32, 4, 0> = StaticQueue::new();
    ///
    /// let mut consumer = LOG.consumer().unwrap();
    /// std::thread::spawn(|| (0..100).for_each(|i| LOG.push(i).unwrap()));
    /// assert!(consumer.iter().take(100).eq(0..100));
    /// ```
    #[cfg(feature = "std")]
    #[inline]
    pub fn push(&self, item: T) -> Result<(), PushError<T>> {
        self.shared.push(item, || Patience::Until(None), Refusal::push)
    }

    /// As [`push`](Self::push), but waits not much longer than `timeout`. A timeout of zero tries
    /// once, and asks no clock.
    ///
    /// # Errors
    ///
    /// As [`push`](Self::push), and [`Timeout`](PushTimeoutError::Timeout) if there was no room in
    /// time.
    #[cfg(feature = "std")]
    #[inline]
    pub fn push_timeout(&self, item: T, timeout: Duration) -> Result<(), PushTimeoutError<T>> {
        self.shared.push(item, || Patience::new(timeout), Refusal::push_timeout)
    }

    /// As [`push_timeout`](Self::push_timeout), and counts `item` as lost if there was no room in
    /// time, as [`Producer::push_timeout_or_count`](crate::Producer::push_timeout_or_count) does.
    ///
    /// # Errors
    ///
    /// As [`push_timeout`](Self::push_timeout).
    #[cfg(feature = "std")]
    pub fn push_timeout_or_count(
        &self,
        item: T,
        timeout: Duration,
    ) -> Result<(), PushTimeoutError<T>> {
        self.shared.push_timeout_or_count(item, timeout)
    }

    /// As [`push`](Self::push), but waits not much past `deadline`. A deadline in the past tries
    /// once.
    ///
    /// # Errors
    ///
    /// As [`push_timeout`](Self::push_timeout).
    #[cfg(feature = "std")]
    #[inline]
    pub fn push_deadline(&self, item: T, deadline: Instant) -> Result<(), PushTimeoutError<T>> {
        self.shared.push(item, || Patience::Until(Some(deadline)), Refusal::push_timeout)
    }

    /// Pushes the first of `items`, as many as there is room for, as
    /// [`Producer::try_push_many`](crate::Producer::try_push_many) does. May be called anywhere.
    ///
    /// # Errors
    ///
    /// As [`try_push`](Self::try_push). Both leave `items` as they were.
    #[cfg(feature = "alloc")]
    pub fn try_push_many(&self, items: &mut VecDeque<T>) -> Result<usize, TryPushError<()>> {
        self.shared.try_push_many(items)
    }

    /// Pushes all of `items`, and waits for room, as
    /// [`Producer::push_many`](crate::Producer::push_many) does. Do not call it in a signal handler
    /// or an allocator hook.
    ///
    /// # Errors
    ///
    /// As [`push`](Self::push). What was not pushed stays in `items`, in order.
    #[cfg(feature = "std")]
    pub fn push_many(&self, items: &mut VecDeque<T>) -> Result<(), PushError<()>> {
        self.shared.push_many(items)
    }

    /// Pushes `item` if fewer than `limit` items are in the ring, as
    /// [`Producer::try_push_within`](crate::Producer::try_push_within) does. May be called
    /// anywhere.
    ///
    /// # Errors
    ///
    /// As [`try_push`](Self::try_push), and [`Full`](TryPushError::Full) if `limit` or more items
    /// are in the ring.
    pub fn try_push_within(&self, item: T, limit: usize) -> Result<(), TryPushError<T>> {
        self.shared.try_push_within(item, limit)
    }

    /// As [`try_push`](Self::try_push), and counts `item` as lost if there is no room, as
    /// [`Producer::try_push_or_count`](crate::Producer::try_push_or_count) does. May be called
    /// anywhere.
    ///
    /// # Errors
    ///
    /// As [`try_push`](Self::try_push). Only items that are refused with
    /// [`Full`](TryPushError::Full) are counted.
    pub fn try_push_or_count(&self, item: T) -> Result<(), TryPushError<T>> {
        self.shared.try_push_or_count(item)
    }

    /// As [`try_push`](Self::try_push), and then waits until the item was popped, as
    /// [`Producer::try_push_and_wait`](crate::Producer::try_push_and_wait) does. May be called
    /// anywhere, except in allocator hooks.
    ///
    /// # Errors
    ///
    /// As [`try_push`](Self::try_push), at once.
    #[cfg(feature = "std")]
    pub fn try_push_and_wait(&self, item: T, timeout: Duration) -> Result<bool, TryPushError<T>> {
        self.shared.try_push_and_wait(item, timeout)
    }

    /// Wakes a consumer that [lingers](Consumer::linger), as
    /// [`Producer::wake_consumer`](crate::Producer::wake_consumer) does. May be called anywhere.
    #[cfg(feature = "std")]
    pub fn wake_consumer(&self) {
        self.shared.parker.end_linger_now();
    }

    /// Refuses every push from now on, and wakes all who wait: the consumer, which pops what is
    /// left and then is told [`Closed`](crate::TryPopError::Closed), and the pushers, which get
    /// their items back.
    ///
    /// It is meant for one consumer: the one that there is, or, where there is none, the next to be
    /// claimed, so that a shutdown is not lost on a thread that has yet to claim it. The consumer
    /// after that one opens the queue again.
    ///
    /// A push that has begun before may still succeed, and its item is popped. Closing once more
    /// does nothing.
    ///
    /// Never waits, and may be called anywhere, in signal handlers too. It makes three system calls
    /// at most, and leaves `errno` alone.
    ///
    /// ```
    /// use bywash::StaticQueue;
    ///
    /// static LOG: StaticQueue<&str, 4, 0> = StaticQueue::new();
    ///
    /// let writer = std::thread::spawn(|| {
    ///     let mut consumer = LOG.consumer().unwrap();
    ///     consumer.iter().collect::<Vec<_>>()
    /// });
    /// LOG.push("the last line").unwrap();
    /// LOG.close();
    /// assert_eq!(writer.join().unwrap(), ["the last line"]);
    /// assert!(LOG.push("nobody is there").unwrap_err().is_closed());
    /// let mut next = LOG.consumer().unwrap();
    /// LOG.push("to the next one").unwrap();
    /// assert!(next.try_iter().eq(["to the next one"]));
    /// ```
    pub fn close(&self) {
        self.shared.core().close_for_next();
    }

    /// Whether this is the consumer's thread, as
    /// [`Producer::is_consumer_thread`](crate::Producer::is_consumer_thread) tells it.
    #[cfg(feature = "std")]
    pub fn is_consumer_thread(&self) -> bool {
        self.shared.members.is_consumer()
    }

    /// Whether this thread must not wait for the consumer, as
    /// [`Producer::must_not_wait`](crate::Producer::must_not_wait) tells it.
    #[cfg(feature = "std")]
    pub fn must_not_wait(&self) -> bool {
        self.shared.members.is_member()
    }

    /// How many items the ring holds at most: `N`.
    pub fn capacity(&self) -> usize {
        self.shared.core().capacity()
    }

    /// How many slots of the ring are in use at the moment, as
    /// [`Producer::len`](crate::Producer::len) counts them.
    pub fn len(&self) -> usize {
        self.shared.core().len()
    }

    /// How many slots of the bypass are in use at the moment.
    pub fn bypass_len(&self) -> usize {
        self.shared.core().bypass_len()
    }

    /// Whether nothing is in the queue at the moment, not even an unfinished push.
    pub fn is_empty(&self) -> bool {
        self.shared.core().is_empty()
    }

    /// Whether every slot of the ring is in use at the moment.
    pub fn is_full(&self) -> bool {
        self.shared.core().is_full()
    }

    /// Whether the queue is closed: it was closed from either end, or its consumer was dropped, and
    /// no consumer that was claimed since has opened it again.
    pub fn is_closed(&self) -> bool {
        self.shared.core().is_closed()
    }

    /// Whether this is a forked child and the consumer's thread stayed in the parent, or the system
    /// ended that thread: as
    /// [`Producer::is_consumer_gone`](crate::Producer::is_consumer_gone) tells it.
    #[cfg(feature = "std")]
    pub fn is_consumer_gone(&self) -> bool {
        self.shared.members.consumer_is_gone()
    }

    /// What the queue has counted, whichever consumer it had, as
    /// [`Producer::counts`](crate::Producer::counts) tells it.
    pub fn counts(&self) -> Counts {
        self.shared.core().counts()
    }

    /// How many items have gone through the bypass so far.
    pub fn bypassed(&self) -> u64 {
        self.shared.core().bypassed()
    }
}

impl<T, const N: usize, const BYPASS: usize> fmt::Debug for StaticQueue<T, N, BYPASS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shared.core().debug(f, "StaticQueue")
    }
}

impl<T, const N: usize, const BYPASS: usize> Drop for StaticQueue<T, N, BYPASS> {
    /// Drops what is left: what was published when there was no consumer.
    fn drop(&mut self) {
        // SAFETY: nobody else has the queue any more.
        unsafe { self.shared.reader() }.drop_remaining(|| true);
    }
}

// As for `Producer`.
impl<T, const N: usize, const BYPASS: usize> UnwindSafe for StaticQueue<T, N, BYPASS> {}
impl<T, const N: usize, const BYPASS: usize> RefUnwindSafe for StaticQueue<T, N, BYPASS> {}

/// A [`StaticQueue`] whose consumer has been claimed; there is no need to name it.
pub struct Claimed<'a, T, const N: usize, const BYPASS: usize> {
    queue: &'a StaticQueue<T, N, BYPASS>,
}

impl<T, const N: usize, const BYPASS: usize> Queue for Claimed<'_, T, N, BYPASS> {
    type Item = T;
}

impl<T, const N: usize, const BYPASS: usize> sealed::Sealed for Claimed<'_, T, N, BYPASS> {
    type Content = T;
    type Ring = Inline<T, N>;
    type Bypass = Inline<Entry<T>, BYPASS>;

    #[inline]
    fn shared(&self) -> &Shared<Places<Inline<T, N>, Inline<Entry<T>, BYPASS>>> {
        &self.queue.shared
    }

    #[cfg(feature = "std")]
    fn handle(&self) -> crate::shared::Handle
    where
        Self: 'static,
        T: Send,
    {
        crate::shared::Handle::Static(&self.queue.shared)
    }
}

impl<T, const N: usize, const BYPASS: usize> fmt::Debug for Claimed<'_, T, N, BYPASS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.queue.shared.core().debug(f, "Claimed")
    }
}

impl<T, const N: usize, const BYPASS: usize> Drop for Claimed<'_, T, N, BYPASS> {
    fn drop(&mut self) {
        self.queue.shared.members.unbind();
        self.queue.shared.core().let_reopen();
        // Release; pairs with the Acquire of the next claim.
        self.queue.claimed.store(false, Ordering::Release);
    }
}
