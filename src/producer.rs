//! The end that items are pushed into.

use alloc::collections::VecDeque;
use core::fmt;
use core::panic::{RefUnwindSafe, UnwindSafe};

use crate::queue::{Heap, HeapShared};
use crate::sync::Arc;
use crate::{Consumer, Counts, TryPushError};

#[cfg(feature = "std")]
use {
    crate::shared::Refusal,
    crate::sleep::Patience,
    crate::{PushError, PushTimeoutError},
    std::time::{Duration, Instant},
};

/// The end of a queue that items are pushed into. Clone it to have more producers, on any threads.
///
/// When the last one is dropped, the consumer pops what is left and then gets
/// [`Closed`](crate::TryPopError::Closed).
///
/// Do not drop or clone a producer in a signal handler: use one that outlives the handler, such as
/// one in a `static`.
///
/// A producer inside an item keeps its queue open while the item is in the queue. So does one that
/// the consumer's own thread holds, to log what it does: such a consumer never gets `Closed`. Give
/// it a producer that does not count, by [`downgrade`](Self::downgrade).
///
/// After the consumer has gone, dropping a producer also drops what it had begun to push before and
/// finished only then. A panic in such an item's destructor goes on from there.
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
    /// Whether the queue stays open for it.
    counts: bool,
}

// SAFETY: so are its parts, see `parts` in `queue.rs`.
unsafe impl<T: Send> Send for Producer<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Producer<T> {}

impl<T> Producer<T> {
    pub(crate) fn new(shared: Arc<HeapShared<T>>) -> Self {
        Self::new_counting(shared, true)
    }

    fn new_counting(shared: Arc<HeapShared<T>>, counts: bool) -> Self {
        shared.add_producer(counts);
        Self { shared, counts }
    }

    /// A producer of the same queue that does not count: the queue is closed when the last of the
    /// others is dropped, as if this one were not there. From then on its pushes are refused, also
    /// while the consumer pops what is left.
    ///
    /// It is for the consumer's own thread, and for what that thread owns, which would otherwise
    /// wait for its own producer to be dropped. Clones of it do not count either. It pushes as any
    /// other does.
    ///
    /// Never waits. As cloning, not for signal handlers.
    ///
    /// # Examples
    ///
    /// ```
    /// let (log, mut lines) = bywash::bounded(100);
    /// let own = log.downgrade();
    /// let writer = std::thread::spawn(move || {
    ///     lines.bind();
    ///     for line in &mut lines {
    ///         if line == "a long line" {
    ///             let _ = own.push("the writer has cut a line");
    ///         }
    ///         println!("{line}");
    ///     }
    /// });
    /// log.push("a long line").unwrap();
    /// drop(log);
    /// writer.join().unwrap(); // The loop ends, although the thread has a producer.
    /// ```
    #[must_use = "it is this new producer that does not count"]
    pub fn downgrade(&self) -> Self {
        Self::new_counting(self.shared.clone(), false)
    }

    /// Pushes `item` if there is room.
    ///
    /// Call it anywhere: in a signal handler, a destructor, an allocator or panic hook, also when
    /// these have interrupted another method of the same queue. It takes no lock, waits for nobody,
    /// does not allocate, free or panic, does not run code of the item, and leaves `errno` alone.
    /// Its only system call is the one that wakes a sleeping consumer. A refused item is handed
    /// back, and the caller drops it: in a handler, use items whose destructor does nothing.
    ///
    /// On the consumer's thread, or inside its [`Domain`](crate::Domain), the item goes into the
    /// bypass if the ring is full.
    ///
    /// # Errors
    ///
    /// [`Full`](TryPushError::Full) if there is no room, [`Closed`](TryPushError::Closed) if the
    /// queue is closed. The item is in the error.
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

    /// Pushes `item`, and waits for room, unless the wait could never end.
    ///
    /// On the consumer's thread, or inside its [`Domain`](crate::Domain), it never waits: if ring
    /// and bypass are full, it hands the item back at once. Elsewhere it sleeps until the consumer
    /// makes room or the queue is closed. In a forked child it does not sleep for a consumer whose
    /// thread stayed in the parent: it hands the item back at once. The same goes, on Linux, for a
    /// consumer whose thread was ended by the system without unwinding. If the thread has ended in
    /// the ordinary way and its consumer lives on, it **waits** for the next thread that binds it:
    /// see [whether a push waits](crate::forks#whether-a-push-waits).
    ///
    /// It also never closes a cycle of waits across queues. If the consumer of this queue, or a
    /// thread in its domain, waits itself in a push without a deadline into another full queue,
    /// this push waits for that queue's consumer as well, and so on. If that leads back to the
    /// calling thread, the item takes the bypass of this queue, and if that is full, it is handed
    /// back at once. A thread that is nobody's consumer and in no domain is never in a cycle.
    ///
    /// Do not call it in a signal handler or an allocator hook, which may have interrupted the very
    /// code that it would wait for: call [`try_push`](Self::try_push) there.
    ///
    /// **A thread that owns the [`Consumer`](crate::Consumer), and has neither popped nor called
    /// [`bind`](crate::Consumer::bind), waits here for itself and hangs.** So call `bind` first.
    /// [`set_long_wait_hook`](crate::set_long_wait_hook) finds out.
    ///
    /// The queue allocates nothing for it, [not even for a thread's first
    /// push](crate#what-may-be-called-from-where), and it may run in the destructor of a thread-local.
    ///
    /// Whether other pushes can starve one that waits:
    /// [fairness](crate::in_production#what-a-waiting-push-can-rely-on).
    ///
    /// # Errors
    ///
    /// [`WouldDeadlock`](PushError::WouldDeadlock) if the wait would never end. On the consumer's
    /// thread, in its domain and in a cycle, that is if ring and bypass are full; where the
    /// consumer's thread stayed in the parent, or was ended by the system, if the ring is full.
    /// [`Closed`](PushError::Closed) if the queue is closed. The item is in the error.
    ///
    /// # Examples
    ///
    /// ```
    /// use bywash::{Builder, PushError};
    ///
    /// let (producer, mut consumer) = Builder::new(1).bypass(1).build();
    /// consumer.bind();
    /// assert_eq!(producer.push("in the ring"), Ok(()));
    /// assert_eq!(producer.push("in the bypass"), Ok(()));
    /// assert_eq!(producer.push("no room"), Err(PushError::WouldDeadlock("no room")));
    /// ```
    #[cfg(feature = "std")]
    #[inline]
    pub fn push(&self, item: T) -> Result<(), PushError<T>> {
        self.shared.push(item, || Patience::Until(None), Refusal::push)
    }

    /// Pushes `item`, and waits for room, but not much longer than `timeout`, and not if the wait
    /// could never end.
    ///
    /// Otherwise it is as [`push`](Self::push). A timeout of zero tries once, and asks no clock.
    ///
    /// # Errors
    ///
    /// As [`push`](Self::push), and [`Timeout`](PushTimeoutError::Timeout) if there was no room in
    /// time.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use bywash::PushTimeoutError;
    ///
    /// let (producer, consumer) = bywash::bounded(1);
    /// producer.push(1).unwrap();
    /// let result = producer.push_timeout(2, Duration::from_millis(5));
    /// assert_eq!(result, Err(PushTimeoutError::Timeout(2)));
    /// # drop(consumer);
    /// ```
    #[cfg(feature = "std")]
    #[inline]
    pub fn push_timeout(&self, item: T, timeout: Duration) -> Result<(), PushTimeoutError<T>> {
        self.shared.push(item, || Patience::new(timeout), Refusal::push_timeout)
    }

    /// As [`push_timeout`](Self::push_timeout), and counts `item` as lost if there was no room in
    /// time, or, at once, if the wait could never end: what most loggers want.
    /// [`Consumer::take_lost`](crate::Consumer::take_lost) and a listener's
    /// [`on_lost`](crate::Handler::on_lost) tell the count, and where it belongs.
    ///
    /// If the consumer is stuck, each of these calls takes its whole timeout. Where one is enough,
    /// wait only while nothing is [unreported](crate::Counts::unreported). Do not call it in a
    /// signal handler or an allocator hook: there is
    /// [`try_push_or_count`](Self::try_push_or_count).
    ///
    /// # Errors
    ///
    /// As [`push_timeout`](Self::push_timeout). What is refused because the queue is closed is not
    /// counted.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let (log, mut lines) = bywash::bounded(1);
    /// for line in ["a", "b", "c"] {
    ///     let is_stuck = log.counts().unreported != 0;
    ///     let patience = Duration::from_millis(if is_stuck { 0 } else { 20 });
    ///     let _ = log.push_timeout_or_count(line, patience); // Only "b" waits.
    /// }
    /// assert_eq!((lines.try_pop(), lines.take_lost()), (Ok("a"), 2));
    /// ```
    #[cfg(feature = "std")]
    pub fn push_timeout_or_count(
        &self,
        item: T,
        timeout: Duration,
    ) -> Result<(), PushTimeoutError<T>> {
        self.shared.push_timeout_or_count(item, timeout)
    }

    /// Pushes `item`, and waits for room, but not much past `deadline`, and not if the wait could
    /// never end.
    ///
    /// Otherwise it is as [`push_timeout`](Self::push_timeout). A deadline in the past tries once.
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
        self.shared.push(item, || Patience::Until(Some(deadline)), Refusal::push_timeout)
    }

    /// Pushes `item`, or else sleeps once, inside of `sleep`, and tries again: a
    /// [`push_deadline`](Self::push_deadline) for language runtimes, see
    /// [Embedding](crate::embedding). Without a deadline it is a [`push`](Self::push) as far as
    /// cycles of waits are concerned.
    ///
    /// If it has to wait, it calls `sleep` with a function that sleeps, and `sleep` calls that
    /// function. Before, `sleep` lets go of what other threads need to make room, such as a
    /// runtime's global lock; afterwards, it takes that again. Whatever else this call does, the
    /// pushes themselves included, it does outside of `sleep`, and without spinning or yielding.
    ///
    /// The function returns when there may be room, when the queue is closed, at the deadline,
    /// after a second at most, and, on Linux, when a signal handler has run on this thread. So
    /// [`Timeout`](PushTimeoutError::Timeout) says only that there is no room now: look whether
    /// something has happened that ends the wait, and call this again.
    ///
    /// # Errors
    ///
    /// As [`push_deadline`](Self::push_deadline), but `Timeout` may come early.
    ///
    /// # Panics
    ///
    /// If `sleep` panics. The item is dropped then.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::Mutex;
    /// use bywash::PushTimeoutError;
    ///
    /// static LOCK: Mutex<()> = Mutex::new(()); // Who runs has it.
    ///
    /// let (producer, mut consumer) = bywash::bounded(1);
    /// producer.push(0).unwrap();
    /// let thread = std::thread::spawn(move || {
    ///     let mut guard = Some(LOCK.lock().unwrap());
    ///     let mut item = 1;
    ///     loop {
    ///         let pushed = producer.push_or_sleep(item, None, |sleep| {
    ///             guard = None;
    ///             sleep();
    ///             guard = Some(LOCK.lock().unwrap());
    ///         });
    ///         match pushed {
    ///             Ok(()) => break,
    ///             Err(PushTimeoutError::Timeout(back)) => item = back, // Look at signals here.
    ///             Err(error) => panic!("{error}"),
    ///         }
    ///     }
    /// });
    /// for item in 0..2 {
    ///     while { let _guard = LOCK.lock().unwrap(); consumer.try_pop() } != Ok(item) {}
    /// }
    /// thread.join().unwrap();
    /// ```
    #[cfg(feature = "std")]
    pub fn push_or_sleep(
        &self,
        item: T,
        deadline: Option<Instant>,
        mut sleep: impl FnMut(&mut (dyn FnMut() + Send)),
    ) -> Result<(), PushTimeoutError<T>> {
        self.shared.push_or_sleep(item, deadline, &mut sleep)
    }

    /// Pushes the first of `items`, as many as there is room for, with one claim for all of them.
    /// The rest stays in `items`.
    ///
    /// The items come out in a row, unless the consumer or other producers are busy at the same
    /// time: then it may take several claims, and others' items may come between those. As
    /// [`try_push`](Self::try_push), it never waits, and may be called anywhere. In a signal
    /// handler, the `VecDeque` must be the handler's own. It neither allocates nor frees, and does
    /// not run code of the items. It uses the bypass as `try_push` does.
    ///
    /// # Returns
    ///
    /// How many were pushed: at least one, unless `items` is empty.
    ///
    /// # Errors
    ///
    /// [`Full`](TryPushError::Full) if there was no room for even one,
    /// [`Closed`](TryPushError::Closed) if the queue is closed. Both leave `items` as they were.
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
    /// waits for room as [`push`](Self::push) does. Do not call it in a signal handler or an
    /// allocator hook.
    ///
    /// # Errors
    ///
    /// As [`push`](Self::push). What was not pushed stays in `items`, in order.
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

    /// Pushes `item` if fewer than `limit` items are in the ring. It is a
    /// [`try_push`](Self::try_push) that leaves the rest of the room to others: so a flood of debug
    /// lines cannot take the room of the error that explains the crash.
    ///
    /// The limit is exact, and the order holds. It never waits, never uses the bypass, and may be
    /// called anywhere, in signal handlers too. A limit above the capacity is the capacity. Items
    /// count from the moment that their push has claimed a slot. Each call reads the consumer's
    /// counter, so under contention it costs more than `try_push`.
    ///
    /// # Errors
    ///
    /// [`Full`](TryPushError::Full) if `limit` or more items are in the ring,
    /// [`Closed`](TryPushError::Closed) if the queue is closed.
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

    /// As [`try_push`](Self::try_push), and counts `item` as lost if there is no room.
    /// [`Consumer::take_lost`](crate::Consumer::take_lost) tells the count, and where it belongs.
    /// May be called anywhere, in signal handlers too.
    ///
    /// Use it for pushes that are not tried again. `try_push` itself counts nothing.
    ///
    /// # Errors
    ///
    /// As [`try_push`](Self::try_push). Only items that are refused with
    /// [`Full`](TryPushError::Full) are counted.
    pub fn try_push_or_count(&self, item: T) -> Result<(), TryPushError<T>> {
        self.shared.try_push_or_count(item)
    }

    /// As [`try_push`](Self::try_push), and then waits until the consumer has popped the item, but
    /// not much longer than `timeout`. It is for the handler of a signal that ends the program,
    /// whose report should be out before the end.
    ///
    /// It waits for the consumer, which another thread must have. It takes no lock, allocates
    /// nothing, calls nothing that a handler may not call, and leaves `errno` alone. It also works
    /// when it has interrupted a push: it does not wait for the slot that this push has claimed. On
    /// the consumer's thread, in its [`Domain`](crate::Domain), and if the consumer's thread is not
    /// in this process (it stayed in the parent of a fork, or was ended by the system), it does not
    /// wait. Do not call it in an [allocator hook](crate::signal_handlers#allocator-hooks).
    ///
    /// A popped item need not be written yet: give the consumer a moment, or let it tell you. An
    /// item that is dropped with the consumer counts as popped. But if the consumer is dropped in
    /// the very middle of the push, the whole timeout passes. So choose a timeout that you can
    /// afford. The thread that popped last remains the consumer's until another one binds.
    ///
    /// # Returns
    ///
    /// `true` if the item was popped in time. `false` if the timeout has passed, or if this did not
    /// wait, as said above: [`must_not_wait`](Self::must_not_wait) and
    /// [`is_consumer_gone`](Self::is_consumer_gone) tell which. The item is in the queue either way.
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
    /// let was_popped = producer.try_push_and_wait("segmentation fault", Duration::from_secs(10));
    /// assert_eq!(was_popped, Ok(true));
    /// assert_eq!(thread.join().unwrap(), Ok("segmentation fault"));
    /// ```
    #[cfg(feature = "std")]
    pub fn try_push_and_wait(&self, item: T, timeout: Duration) -> Result<bool, TryPushError<T>> {
        self.shared.try_push_and_wait(item, timeout)
    }

    /// Wakes a consumer that [lingers](crate::Consumer::linger), so that it pops what was pushed
    /// before, by this thread and by those that this thread has heard from. Does nothing if it does
    /// not linger.
    ///
    /// Never waits, and may be called anywhere, in signal handlers too. It makes one system call at
    /// most, and leaves `errno` alone.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let (log, mut lines) = bywash::bounded(1000);
    /// lines.linger(Duration::from_secs(3600), 1000);
    /// let writer = std::thread::spawn(move || (lines.pop(), lines.pop()));
    /// log.push("debug: it is late").unwrap();
    /// log.push("error: it is very late").unwrap();
    /// log.wake_consumer();
    /// assert_eq!(writer.join().unwrap().1, Ok("error: it is very late"));
    /// ```
    #[cfg(feature = "std")]
    pub fn wake_consumer(&self) {
        self.shared.parker.end_linger_now();
    }

    /// Refuses every push from now on, whichever producer's, and wakes all who wait: the consumer,
    /// which pops what is left and then gets [`Closed`](crate::TryPopError::Closed), and the
    /// producers, which get their items back. Nothing opens the queue again.
    ///
    /// A push that began before may still succeed, and its item is popped. Closing again does
    /// nothing.
    ///
    /// Never waits, and may be called anywhere, in signal handlers too. It makes three system calls
    /// at most, and leaves `errno` alone.
    ///
    /// # Examples
    ///
    /// ```
    /// use bywash::PushError;
    ///
    /// let (producer, mut consumer) = bywash::bounded(4);
    /// let other = producer.clone();
    /// producer.push("last words").unwrap();
    /// producer.close();
    /// assert_eq!(other.push("too late"), Err(PushError::Closed("too late")));
    /// assert_eq!(consumer.pop(), Ok("last words"));
    /// assert!(consumer.pop().is_err());
    /// ```
    pub fn close(&self) {
        self.shared.core().close();
    }

    /// Returns a consumer in place of the present one, which will never be used again. It is for a
    /// forked child, if a thread of the parent has the consumer, and for a consumer (a
    /// [`Listener`](crate::Listener)'s, too) whose thread was ended by the system.
    ///
    /// What is in the queue stays. Call [`recover`](crate::Consumer::recover) next, for what was
    /// begun. A queue that was closed stays closed.
    ///
    /// Never waits. Not for signal handlers.
    ///
    /// # Returns
    ///
    /// `None` if the consumer was dropped: nobody can take its place then.
    ///
    /// # Safety
    ///
    /// The earlier consumer, and what was borrowed from it, are not used any more, nor dropped.
    ///
    /// # Examples
    ///
    /// ```
    /// let (producer, consumer) = bywash::bounded(4);
    /// producer.push(1).unwrap();
    /// std::mem::forget(consumer);
    /// // SAFETY: it was forgotten.
    /// let mut consumer = unsafe { producer.reclaim_consumer() }.unwrap();
    /// // SAFETY: there is one thread, and it is not inside a push or pop.
    /// assert_eq!(unsafe { consumer.recover() }, 0);
    /// assert_eq!(consumer.pop(), Ok(1));
    /// drop(consumer);
    /// // SAFETY: it was dropped, and is not used.
    /// assert!(unsafe { producer.reclaim_consumer() }.is_none());
    /// ```
    pub unsafe fn reclaim_consumer(&self) -> Option<Consumer<T>> {
        if self.shared.is_consumer_dropped() {
            return None;
        }
        self.shared.members.unbind();
        Some(Consumer::new(Heap { shared: self.shared.clone() }))
    }

    /// Whether this is the consumer's thread: the one that last popped or called
    /// [`bind`](crate::Consumer::bind). Never waits. A signal handler may call it.
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

    /// Whether this thread must not wait for the consumer: it is the consumer's thread, or in its
    /// [`Domain`](crate::Domain). [`push`](Self::push) never waits here then. Never waits. A signal
    /// handler may call it.
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
        self.shared.core().capacity()
    }

    /// How many slots of the ring are in use at the moment, [`capacity`](Self::capacity) at most.
    /// It counts items whose push has claimed a slot and has not finished. For those in the bypass
    /// there is [`bypass_len`](Self::bypass_len).
    ///
    /// An item that was popped ahead of an unfinished push counts until that push has finished and
    /// its item is popped, because the slot is in use until then.
    ///
    /// ```
    /// let (producer, mut consumer) = bywash::bounded(1);
    /// assert!(producer.is_empty());
    /// consumer.bind();
    /// producer.push("in the ring").unwrap();
    /// producer.push("in the bypass").unwrap();
    /// assert_eq!((producer.len(), producer.bypass_len()), (1, 1));
    /// assert!(producer.is_full());
    /// drop(consumer);
    /// assert!(producer.is_closed());
    /// ```
    pub fn len(&self) -> usize {
        self.shared.core().len()
    }

    /// How many slots of the bypass are in use at the moment, as [`len`](Self::len) counts them.
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

    /// Whether the queue was closed, from either end, or its consumer is gone.
    pub fn is_closed(&self) -> bool {
        self.shared.core().is_closed()
    }

    /// Whether this is a forked child and the consumer's thread stayed in the parent, or the system
    /// ended that thread: what is pushed here is accepted while there is room, and nobody handles
    /// it. It says nothing of a listener that was stopped: [`is_closed`](Self::is_closed) does.
    ///
    /// A program that becomes a daemon after its logger was started finds out with this: count what
    /// it would have logged, or write it elsewhere. `false` as soon as a thread of this process has
    /// [bound](crate::Consumer::bind) the consumer, and while the consumer has no thread.
    ///
    /// Never waits. A signal handler may call it. It asks the system for the process, which is one
    /// system call.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(unix)] {
    /// let (log, mut lines) = bywash::bounded(10);
    /// let writer = std::thread::spawn(move || {
    ///     lines.bind();
    ///     lines.iter().for_each(|line: &str| println!("{line}"));
    /// });
    /// log.push("in the parent").unwrap();
    /// # while !log.is_empty() {}
    /// assert!(!log.is_consumer_gone());
    /// // SAFETY: the child does what may be done after a fork, and ends.
    /// if unsafe { libc::fork() } == 0 {
    ///     let is_gone = log.is_consumer_gone();
    ///     // SAFETY: it has no preconditions.
    ///     unsafe { libc::_exit(i32::from(!is_gone)) };
    /// }
    /// # let mut status = -1;
    /// # // SAFETY: the address is valid.
    /// # unsafe { libc::wait(&mut status) };
    /// # assert_eq!(status, 0);
    /// # drop(log);
    /// # writer.join().unwrap();
    /// # }
    /// ```
    #[cfg(feature = "std")]
    pub fn is_consumer_gone(&self) -> bool {
        self.shared.members.consumer_is_gone()
    }

    /// What the queue has counted: what was lost, and how full it was. Never waits. A signal
    /// handler may call it.
    pub fn counts(&self) -> Counts {
        self.shared.core().counts()
    }

    /// How many items have gone through the bypass so far.
    pub fn bypassed(&self) -> u64 {
        self.shared.core().bypassed()
    }
}

impl<T> Clone for Producer<T> {
    fn clone(&self) -> Self {
        Self::new_counting(self.shared.clone(), self.counts)
    }
}

impl<T> Drop for Producer<T> {
    fn drop(&mut self) {
        self.shared.remove_producer(self.counts);
    }
}

impl<T> fmt::Debug for Producer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shared.core().debug(f, "Producer")
    }
}

// A panic leaves a queue whole: no user code runs in the middle of a call.
impl<T> UnwindSafe for Producer<T> {}
impl<T> RefUnwindSafe for Producer<T> {}
