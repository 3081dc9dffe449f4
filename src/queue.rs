//! The two ends of a queue.

use core::cell::Cell;
use core::fmt;
use core::marker::PhantomData;
use core::panic::{RefUnwindSafe, UnwindSafe};

use crate::TryPopError;
use crate::bypass::Entry;
#[cfg(all(feature = "std", not(loom)))]
use crate::bypass::Tails;
use crate::ring::Slots;
use crate::shared::Shared;

#[cfg(feature = "std")]
use {
    crate::{Domain, PopError, PopTimeoutError, PushError, PushTimeoutError, context},
    core::iter::FusedIterator,
    std::time::{Duration, Instant},
};
#[cfg(feature = "alloc")]
use {
    crate::{TryPushError, slots::Boxed, sync::Arc},
    alloc::{collections::VecDeque, vec::Vec},
};

/// The queue that a [`Consumer`] reads; there is seldom a need to name it. [`Heap`], or
/// [`Claimed`](crate::Claimed) from a [`StaticQueue`](crate::StaticQueue). Nothing else is one.
pub trait Queue: sealed::Sealed {}

pub(crate) mod sealed {
    use super::{Entry, Shared, Slots};
    #[cfg(all(feature = "std", not(loom)))]
    use std::boxed::Box;

    pub trait Sealed {
        type Item;
        type Ring: Slots<Item = Self::Item>;
        type Bypass: Slots<Item = Entry<Self::Item>>;

        fn shared(&self) -> &Shared<Self::Ring, Self::Bypass>;

        /// The same queue for a [`Listener`](crate::Listener), which has its consumer elsewhere.
        #[cfg(all(feature = "std", not(loom)))]
        fn remote(&self) -> Box<dyn crate::listener::Remote>
        where
            Self: 'static,
            Self::Item: Send;
    }
}

/// A queue on the heap, which a [`Consumer`] reads; there is no need to name it.
#[cfg(feature = "alloc")]
pub struct Heap<T> {
    shared: Arc<HeapShared<T>>,
}

#[cfg(feature = "alloc")]
type HeapShared<T> = Shared<Boxed<T>, Boxed<Entry<T>>>;

#[cfg(feature = "alloc")]
impl<T> Queue for Heap<T> {}

#[cfg(feature = "alloc")]
impl<T> sealed::Sealed for Heap<T> {
    type Item = T;
    type Ring = Boxed<T>;
    type Bypass = Boxed<Entry<T>>;

    #[inline]
    fn shared(&self) -> &HeapShared<T> {
        &self.shared
    }

    #[cfg(all(feature = "std", not(loom)))]
    fn remote(&self) -> Box<dyn crate::listener::Remote>
    where
        Self: 'static,
        T: Send,
    {
        Box::new(self.shared.clone())
    }
}

#[cfg(feature = "alloc")]
impl<T> fmt::Debug for Heap<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Heap").finish_non_exhaustive()
    }
}

/// Builds a queue. The capacities are not 0 and not too large, says the caller.
#[cfg(feature = "alloc")]
#[track_caller]
pub(crate) fn build<T>(capacity: usize, bypass: usize) -> (Producer<T>, Consumer<T>) {
    let shared = Arc::new(Shared::new(Boxed::new(capacity), Boxed::new(bypass)));
    (Producer::new(shared.clone()), Consumer::new(Heap { shared }))
}

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
#[cfg(feature = "alloc")]
pub struct Producer<T> {
    shared: Arc<HeapShared<T>>,
}

#[cfg(feature = "alloc")]
impl<T> Producer<T> {
    fn new(shared: Arc<HeapShared<T>>) -> Self {
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
    /// room or closes.
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
    /// thread, and in its [`Domain`], it does not wait.
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

    /// Whether this is a thread on which [`push`](Self::push) never waits: the consumer's, or one
    /// inside its [`Domain`](crate::Domain). May be asked anywhere that
    /// [`try_push`](Self::try_push) may be called.
    ///
    /// ```
    /// let (producer, mut consumer) = bywash::bounded::<u8>(1);
    /// assert!(!producer.is_consumer_thread());
    /// consumer.bind();
    /// assert!(producer.is_consumer_thread());
    /// ```
    #[cfg(feature = "std")]
    pub fn is_consumer_thread(&self) -> bool {
        self.shared.is_inside()
    }

    /// How many items the ring holds at most, as asked for. The bypass comes on top.
    pub fn capacity(&self) -> usize {
        self.shared.capacity()
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
        self.shared.len()
    }

    /// Whether nothing is in the queue at the moment, not even half pushed.
    pub fn is_empty(&self) -> bool {
        self.shared.is_empty()
    }

    /// Whether every slot of the ring is in use at the moment.
    pub fn is_full(&self) -> bool {
        self.shared.is_full()
    }

    /// Whether the consumer has closed the queue or is gone.
    pub fn is_closed(&self) -> bool {
        self.shared.is_closed()
    }

    /// How many items have gone through the bypass so far.
    pub fn bypassed(&self) -> u64 {
        self.shared.bypassed()
    }
}

#[cfg(feature = "alloc")]
impl<T> Clone for Producer<T> {
    fn clone(&self) -> Self {
        Self::new(self.shared.clone())
    }
}

#[cfg(feature = "alloc")]
impl<T> Drop for Producer<T> {
    fn drop(&mut self) {
        self.shared.remove_producer();
    }
}

#[cfg(feature = "alloc")]
impl<T> fmt::Debug for Producer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        debug(f, "Producer", &self.shared)
    }
}

// However a call on a queue ends, the queue is whole: no user code runs in the middle of one.
#[cfg(feature = "alloc")]
impl<T> UnwindSafe for Producer<T> {}
#[cfg(feature = "alloc")]
impl<T> RefUnwindSafe for Producer<T> {}

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
pub struct Consumer<T, #[cfg(feature = "alloc")] Q = Heap<T>, #[cfg(not(feature = "alloc"))] Q>
where
    Q: Queue<Item = T>,
{
    pub(crate) queue: Q,
    /// The number of the thread that the queue is bound to, or one that no thread has.
    #[cfg(feature = "std")]
    bound: usize,
    _not_sync: PhantomData<Cell<T>>,
}

impl<T, Q: Queue<Item = T>> Consumer<T, Q> {
    pub(crate) fn new(queue: Q) -> Self {
        Self {
            queue,
            #[cfg(feature = "std")]
            bound: usize::MAX,
            _not_sync: PhantomData,
        }
    }

    /// As [`pop`](Self::pop), and `None` as soon as `has_news`, of which somebody tells it by
    /// `Shared::wake`.
    #[cfg(all(feature = "std", not(loom)))]
    pub(crate) fn pop_unless(
        &mut self,
        has_news: impl Fn() -> bool,
    ) -> Result<Option<T>, PopError> {
        self.bind_where_it_is();
        // SAFETY: a queue has one consumer at a time, and it is borrowed for this.
        match unsafe { self.queue.shared().pop(|| None, has_news, |error| error) } {
            Ok(item) => Ok(Some(item)),
            Err(PopTimeoutError::Timeout) => Ok(None),
            Err(PopTimeoutError::Closed) => Err(PopError),
        }
    }

    /// What is pushed from now on lies at or above these.
    #[cfg(all(feature = "std", not(loom)))]
    pub(crate) fn tails(&self) -> Tails {
        self.queue.shared().lanes().tails()
    }

    /// Whether nothing that is published lies below `tails`.
    #[cfg(all(feature = "std", not(loom)))]
    pub(crate) fn all_popped_below(&mut self, tails: Tails) -> bool {
        // SAFETY: a queue has one consumer at a time, and it is borrowed for this.
        unsafe { self.queue.shared().lanes().all_popped_below(tails) }
    }

    #[cfg(all(feature = "std", not(loom)))]
    pub(crate) fn remote(&self) -> Box<dyn crate::listener::Remote>
    where
        T: Send,
        Q: 'static,
    {
        self.queue.remote()
    }

    #[inline]
    pub(crate) fn bind_where_it_is(&mut self) {
        #[cfg(feature = "std")]
        if self.bound != context::own_number() {
            self.bound = self.queue.shared().context().bind();
        }
    }

    /// Makes the calling thread the consumer's thread, as a pop does.
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
        self.bind_where_it_is();
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
        self.queue.shared().context().domain()
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
        self.bind_where_it_is();
        // SAFETY: a queue has one consumer at a time, and it is borrowed for this.
        unsafe { self.queue.shared().try_pop() }
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
        self.bind_where_it_is();
        // SAFETY: a queue has one consumer at a time, and it is borrowed for this.
        unsafe { self.queue.shared().pop(|| None, || false, |_| PopError) }
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
        self.bind_where_it_is();
        // SAFETY: a queue has one consumer at a time, and it is borrowed for this.
        unsafe {
            self.queue.shared().pop(|| Instant::now().checked_add(timeout), || false, |error| error)
        }
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
        self.bind_where_it_is();
        // SAFETY: a queue has one consumer at a time, and it is borrowed for this.
        unsafe { self.queue.shared().pop(|| Some(deadline), || false, |error| error) }
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
        self.bind_where_it_is();
        // SAFETY: a queue has one consumer at a time, and it is borrowed for this.
        unsafe { self.queue.shared().try_pop_many(limit, buffer) }
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
        // SAFETY: a queue has one consumer at a time, and it is borrowed for this.
        unsafe { self.queue.shared().take_lost() }
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
        self.queue.shared().capacity()
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
        self.queue.shared().len()
    }

    /// Whether nothing is in the queue at the moment, not even half pushed.
    pub fn is_empty(&self) -> bool {
        self.queue.shared().is_empty()
    }

    /// Whether the queue was closed, from either end. There may be items left.
    pub fn is_closed(&self) -> bool {
        self.queue.shared().is_closed()
    }

    /// How many items have gone through the bypass so far.
    pub fn bypassed(&self) -> u64 {
        self.queue.shared().bypassed()
    }
}

impl<T, Q: Queue<Item = T>> Drop for Consumer<T, Q> {
    fn drop(&mut self) {
        self.close();
        // SAFETY: a queue has one consumer at a time, and this is it.
        unsafe { self.queue.shared().clear() }
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

/// What all ends of a queue say of it.
pub(crate) fn debug<S: Slots, B: Slots<Item = Entry<S::Item>>>(
    f: &mut fmt::Formatter<'_>,
    name: &str,
    queue: &Shared<S, B>,
) -> fmt::Result {
    f.debug_struct(name)
        .field("capacity", &queue.capacity())
        .field("len", &queue.len())
        .field("closed", &queue.is_closed())
        .finish_non_exhaustive()
}

/// `Debug` for what iterates over a queue, whatever its items are.
macro_rules! debug_iterators {
    ($($(#[$meta:meta])* $name:ident<$($lifetime:lifetime)?>,)+) => {$(
        $(#[$meta])*
        impl<T, Q: Queue<Item = T>> fmt::Debug for $name<$($lifetime,)? T, Q> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                debug(f, stringify!($name), self.consumer.queue.shared())
            }
        }
    )+};
}

debug_iterators! {
    TryIter<'_>,
    Drain<'_>,
    #[cfg(feature = "std")]
    Iter<'_>,
    #[cfg(feature = "std")]
    IntoIter<>,
}

/// The result of a push that has no deadline.
#[cfg(feature = "std")]
#[inline]
pub(crate) fn without_timeout<T>(
    result: Result<(), PushTimeoutError<T>>,
) -> Result<(), PushError<T>> {
    result.map_err(|error| match error {
        PushTimeoutError::Closed(item) => PushError::Closed(item),
        // Without a deadline there is no timeout.
        PushTimeoutError::WouldDeadlock(item) | PushTimeoutError::Timeout(item) => {
            PushError::WouldDeadlock(item)
        }
    })
}

/// Pops and waits, until the queue is closed and drained. From [`Consumer::iter`].
#[cfg(feature = "std")]
pub struct Iter<'a, T, Q: Queue<Item = T> = Heap<T>> {
    consumer: &'a mut Consumer<T, Q>,
}

#[cfg(feature = "std")]
impl<T, Q: Queue<Item = T>> Iterator for Iter<'_, T, Q> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.consumer.pop().ok()
    }
}

#[cfg(feature = "std")]
impl<T, Q: Queue<Item = T>> FusedIterator for Iter<'_, T, Q> {}

/// Pops until there is nothing to pop. From [`Consumer::try_iter`].
pub struct TryIter<'a, T, #[cfg(feature = "alloc")] Q = Heap<T>, #[cfg(not(feature = "alloc"))] Q>
where
    Q: Queue<Item = T>,
{
    consumer: &'a mut Consumer<T, Q>,
}

impl<T, Q: Queue<Item = T>> Iterator for TryIter<'_, T, Q> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.consumer.try_pop().ok()
    }
}

/// Pops as many items as were in the queue. From [`Consumer::drain`].
pub struct Drain<'a, T, #[cfg(feature = "alloc")] Q = Heap<T>, #[cfg(not(feature = "alloc"))] Q>
where
    Q: Queue<Item = T>,
{
    consumer: &'a mut Consumer<T, Q>,
    left: usize,
}

impl<T, Q: Queue<Item = T>> Iterator for Drain<'_, T, Q> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.left = self.left.checked_sub(1)?;
        self.consumer.try_pop().ok()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.left))
    }
}

/// Pops and waits, until the queue is closed and drained. From [`Consumer::into_iter`].
#[cfg(feature = "std")]
pub struct IntoIter<T, Q: Queue<Item = T> = Heap<T>> {
    consumer: Consumer<T, Q>,
}

#[cfg(feature = "std")]
impl<T, Q: Queue<Item = T>> Iterator for IntoIter<T, Q> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.consumer.pop().ok()
    }
}

#[cfg(feature = "std")]
impl<T, Q: Queue<Item = T>> FusedIterator for IntoIter<T, Q> {}

#[cfg(feature = "std")]
impl<T, Q: Queue<Item = T>> IntoIterator for Consumer<T, Q> {
    type Item = T;
    type IntoIter = IntoIter<T, Q>;

    fn into_iter(self) -> IntoIter<T, Q> {
        IntoIter { consumer: self }
    }
}

#[cfg(feature = "std")]
impl<'a, T, Q: Queue<Item = T>> IntoIterator for &'a mut Consumer<T, Q> {
    type Item = T;
    type IntoIter = Iter<'a, T, Q>;

    fn into_iter(self) -> Iter<'a, T, Q> {
        self.iter()
    }
}
