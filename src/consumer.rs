//! The end that items are popped from.

use core::fmt;
use core::marker::PhantomData;
use core::panic::{RefUnwindSafe, UnwindSafe};

use crate::lanes::Reader;
use crate::queue::{Heap, Queue};
use crate::{TryIter, TryPopError};

#[cfg(feature = "alloc")]
use alloc::vec::Vec;
#[cfg(feature = "std")]
use {
    crate::lanes::Tails,
    crate::sleep::Patience,
    crate::threads::identity,
    crate::threads::members::NO_THREAD,
    crate::{Domain, Iter, PopError, PopTimeoutError},
    std::time::{Duration, Instant},
};

/// The end of a queue that items are popped from. There is one. It may be sent to another thread.
///
/// The thread that last popped or called [`bind`](Self::bind) is the consumer's thread: there, a
/// push never waits. **Moving the consumer does not change it.** If the new owner pushes into the
/// full queue before it pops or binds, its `push` waits for itself and hangs. So call `bind` first
/// on a thread that is going to pop.
///
/// When the consumer is dropped, also while unwinding, the queue is closed: every waiting and later
/// push gets its item back, and the items that are left are dropped at once. (An item whose push
/// had begun and not finished by then is dropped by the next producer that is dropped after it. In
/// a [`StaticQueue`](crate::StaticQueue) it stays for the next consumer.) If the destructor of an
/// item panics, the panic goes on when the rest has been dropped. Without the feature `std`, a
/// second panic aborts the process.
///
/// Call none of its methods in a signal handler. A consumer that is pushed into its own queue is
/// never dropped: the queue is neither drained nor closed, and leaks.
///
/// It is `Send` if its items are, and neither `Sync` nor `Clone`.
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
    /// The number of the thread that it is bound to, or `NO_THREAD`.
    #[cfg(feature = "std")]
    bound_to: u64,
    _not_sync: PhantomData<dyn OneThreadPopsAtATime + Send + Unpin>,
}

/// The name that the compiler gives as the reason why a consumer cannot be shared.
trait OneThreadPopsAtATime {}

impl<T, Q: Queue<Item = T>> Consumer<T, Q> {
    pub(crate) fn new(queue: Q) -> Self {
        // It is the earlier consumer's that lingered.
        #[cfg(feature = "std")]
        queue.shared().core().linger(Duration::ZERO, 1);
        Self {
            queue,
            #[cfg(feature = "std")]
            bound_to: NO_THREAD,
            _not_sync: PhantomData,
        }
    }

    /// The queue, for a call that does not bind the consumer.
    #[inline]
    fn unbound(&mut self) -> Reader<'_, Q::Ring, Q::Bypass> {
        // SAFETY: a queue has one `Consumer` at a time, which is borrowed while the result lives.
        // When it moves to another thread, or a static queue's is given back and claimed again,
        // what it did happens before.
        unsafe { self.queue.shared().reader() }
    }

    /// The queue, with the consumer bound to the calling thread.
    #[inline]
    pub(crate) fn bound(&mut self) -> Reader<'_, Q::Ring, Q::Bypass> {
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
    /// If the system has no thread-specific key left, on the first use in a process.
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
    /// Never waits, and runs no code of the items'. May allocate, if the thread has never been
    /// bound: to avoid that in a child, [bind](Self::bind) in the parent before it forks. Called
    /// again, or on an empty queue, it finds nothing to give up; it works on a closed queue, too.
    /// Not for signal handlers.
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

    /// Leaves the consumer without a thread, until the next pop or [`bind`](Self::bind). Until
    /// then, a push on the thread that it had waits for room, as on any other thread.
    ///
    /// It is for executors with several workers, where a task that awaits may go on in another
    /// thread. Meanwhile its worker runs other tasks, which can wait, and which must neither fill
    /// the bypass nor get `WouldDeadlock`. So a task calls it before it awaits, at least after each
    /// pop that found nothing. A thread that is in the consumer's [`Domain`] stays in it.
    ///
    /// In a [forked](crate::forks) child, pushes wait for an unbound consumer, too.
    ///
    /// Never waits. Not for signal handlers.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let (producer, mut consumer) = bywash::bounded(1);
    /// consumer.bind();
    /// producer.push("in the ring").unwrap();
    /// producer.push("in the bypass").unwrap();
    /// consumer.unbind();
    /// let error = producer.push_timeout("waits for room", Duration::ZERO).unwrap_err();
    /// assert!(error.is_timeout());
    /// ```
    #[cfg(feature = "std")]
    pub fn unbind(&mut self) {
        self.bound_to = NO_THREAD;
        self.queue.shared().members.unbind();
    }

    /// Asks for fewer wake-ups, for items that may be late: when all is popped, a pop that waits
    /// *lingers*. It sleeps for `time`, and no push wakes it, until `items` slots of the ring are in
    /// use. A `time` of zero takes that back; without this call, the next push wakes it.
    ///
    /// An item lies for `time` at most before a thread that lingers wakes for it. If none has come
    /// in that time, the pop sleeps on until a push wakes it, at once. So as long as items come more
    /// often than that, and fewer than `items` at a time, no push makes a system call; and while
    /// none come, nothing wakes.
    ///
    /// These end a linger, and are not late: [closing](crate::Producer::close), the drop of the last
    /// producer, [`Listener::flush`](crate::Listener::flush) and [`stop`](crate::Listener::stop),
    /// [`try_push_and_wait`](crate::Producer::try_push_and_wait),
    /// [`wake_consumer`](crate::Producer::wake_consumer), a push that fills the ring, and one that
    /// waits for room. So `items` above the capacity are the capacity; 0 are 1.
    ///
    /// It holds for this consumer, wherever it moves, and for every call that waits. One that has
    /// popped nothing since the last linger does not linger again, so a `pop_timeout` that is much
    /// shorter than `time` does so seldom. A consumer that waits for its [event
    /// descriptor](crate::event_loops) does not linger. Where waits are
    /// [naps](crate::systems#how-late-a-thread-wakes), it saves little.
    ///
    /// Never waits. Not for signal handlers.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let (log, mut lines) = bywash::bounded(1000);
    /// lines.linger(Duration::from_millis(10), 64);
    /// let writer = std::thread::spawn(move || {
    ///     lines.bind();
    ///     lines.iter().for_each(|line: &str| println!("{line}"));
    /// });
    /// log.push("This may come out 10 ms later.").unwrap();
    /// log.push("This does not.").unwrap();
    /// log.wake_consumer();
    /// drop(log); // Nor does this wait.
    /// writer.join().unwrap();
    /// ```
    #[cfg(feature = "std")]
    pub fn linger(&mut self, time: Duration, items: usize) {
        self.queue.shared().core().linger(time, items);
    }

    /// The consumer's domain, which the threads that the consumer depends on enter.
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
    ///     producer.push("in the bypass").unwrap();
    /// });
    /// helper.join().unwrap();
    /// assert!(consumer.iter().eq(["in the ring", "in the bypass"]));
    /// ```
    #[cfg(feature = "std")]
    #[must_use = "a thread joins the domain with `enter`"]
    pub fn domain(&self) -> Domain {
        self.queue.shared().members.domain()
    }

    /// Pops the next item if there is one. Never waits, not even for a producer that is stopped in
    /// the middle of a push: that one hides its own item and no other.
    ///
    /// While a producer is stopped in the middle of a push, the slots of items that were popped
    /// ahead of its own cannot be used again.
    ///
    /// If a push has begun and its item is not ready yet, a call may pause for a fraction of a
    /// microsecond, so that this push and others can finish: to look again at once would only delay
    /// them. The pause is at most six calls of [`spin_loop`](core::hint::spin_loop). A call makes
    /// it only if at least two items have been popped since an earlier call found the next item not
    /// ready.
    ///
    /// # Errors
    ///
    /// [`Empty`](TryPopError::Empty), or [`Closed`](TryPopError::Closed) if nothing can come any
    /// more.
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

    /// Pops the next item, and sleeps until there is one. Any push wakes it, even one from a signal
    /// handler on the sleeping thread itself.
    ///
    /// # Errors
    ///
    /// [`PopError`] if the queue is closed and all that was pushed has been popped. It first waits
    /// for pushes that began before the queue was closed and have not finished.
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
        self.bound().pop(|| Patience::Until(None), |_| false, |_| PopError)
    }

    /// Pops the next item, and sleeps until there is one, but not much longer than `timeout`. A
    /// timeout of zero tries once, and asks no clock.
    ///
    /// # Errors
    ///
    /// [`Timeout`](PopTimeoutError::Timeout) if no item came in time,
    /// [`Closed`](PopTimeoutError::Closed) if none can come any more.
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
        self.bound().pop(|| Patience::new(timeout), |_| false, |error| error)
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
        self.bound().pop(|| Patience::Until(Some(deadline)), |_| false, |error| error)
    }

    /// Pops the next item, or else sleeps once, inside of `sleep`, and tries again: a
    /// [`pop_deadline`](Self::pop_deadline) for language runtimes. See
    /// [`Producer::push_or_sleep`](crate::Producer::push_or_sleep), which is the same for a push.
    ///
    /// Only the sleep is inside of `sleep`. So in a process that was forked meanwhile by another
    /// thread, the consumer is whole.
    ///
    /// # Errors
    ///
    /// As [`pop_deadline`](Self::pop_deadline), but [`Timeout`](PopTimeoutError::Timeout) may come
    /// early.
    ///
    /// # Panics
    ///
    /// If `sleep` panics.
    ///
    /// # Examples
    ///
    /// ```
    /// use bywash::PopTimeoutError;
    ///
    /// let (producer, mut consumer) = bywash::bounded(1);
    /// let thread = std::thread::spawn(move || producer.push('a').unwrap());
    /// let item = loop {
    ///     match consumer.pop_or_sleep(None, |sleep| sleep()) {
    ///         Err(PopTimeoutError::Timeout) => {} // Look at signals here.
    ///         result => break result,
    ///     }
    /// };
    /// assert_eq!(item, Ok('a'));
    /// # thread.join().unwrap();
    /// ```
    #[cfg(feature = "std")]
    pub fn pop_or_sleep(
        &mut self,
        deadline: Option<Instant>,
        mut sleep: impl FnMut(&mut (dyn FnMut() + Send)),
    ) -> Result<T, PopTimeoutError> {
        self.bound().pop_or_sleep(deadline, &mut sleep)
    }

    /// Pops the next items, `limit` at most, appends them to `buffer`, and frees their slots at
    /// once. Never waits.
    ///
    /// It is [`try_pop`](Self::try_pop) for many items. It may return fewer items than there are,
    /// if they do not lie in a row: those behind an unfinished push, or in the bypass.
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
    /// If `buffer` would become larger than a `Vec` can be. Nothing is lost then.
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
        self.bound().try_pop_many(buffer, limit)
    }

    /// As [`try_pop_many`](Self::try_pop_many), and sleeps until there is an item.
    ///
    /// # Errors
    ///
    /// [`PopError`] if the queue is closed and all that was pushed has been popped.
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

    /// How many pushes were [refused and counted](crate::Producer::try_push_or_count) before the
    /// item that is popped next, and were not reported yet. Never waits.
    ///
    /// Ask after each pop, and write the number there. The place is exact to a lap of the ring:
    /// refusals in a row are reported together, where the first of them would have been. The sum is
    /// exact in the end. Call it in a `while let` loop: a `for` loop borrows the consumer.
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
    #[must_use = "what was lost is told once"]
    pub fn take_lost(&mut self) -> u64 {
        self.unbound().take_lost()
    }

    /// Calls `visitor` with each item in the queue, in no particular order, and pops none: for the
    /// garbage collector of a [language runtime](crate::embedding), which must know what the items
    /// refer to.
    ///
    /// It visits exactly the items whose push has finished; one whose push is under way may be
    /// visited or not. Never waits. If `visitor` panics, the queue is as it was. Not for signal
    /// handlers.
    ///
    /// # Examples
    ///
    /// ```
    /// let (producer, mut consumer) = bywash::bounded(2);
    /// consumer.bind();
    /// (1..=3).for_each(|i| producer.push(i).unwrap()); // The third is in the bypass.
    /// let mut sum = 0;
    /// consumer.visit(|i| sum += i);
    /// assert_eq!((sum, consumer.len() + consumer.bypass_len()), (6, 3));
    /// ```
    pub fn visit(&mut self, visitor: impl FnMut(&T)) {
        self.unbound().visit(visitor);
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
        self.queue.shared().core().close();
    }

    /// An iterator that pops, and waits for items, until the queue is closed and drained: until the
    /// last producer [that counts](crate::Producer::downgrade) is dropped, or the queue is closed.
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

    /// An iterator that pops until there is nothing to pop. It never waits, and does not end while
    /// producers keep up.
    ///
    /// ```
    /// let (producer, mut consumer) = bywash::bounded(4);
    /// (0..3).for_each(|i| producer.push(i).unwrap());
    /// assert!(consumer.try_iter().eq(0..3));
    /// ```
    pub fn try_iter(&mut self) -> TryIter<'_, T, Q> {
        TryIter { consumer: self }
    }

    /// How many items the ring holds at most, as asked for. The bypass comes on top.
    pub fn capacity(&self) -> usize {
        self.queue.shared().core().capacity()
    }

    /// How many slots of the ring are in use at the moment, [`capacity`](Self::capacity) at most.
    /// It counts items whose push has claimed a slot and has not finished. For those in the bypass
    /// there is [`bypass_len`](Self::bypass_len).
    ///
    /// An item that was popped ahead of an unfinished push counts until that push has finished and
    /// its item is popped, because the slot is in use until then.
    ///
    /// ```
    /// let (producer, consumer) = bywash::bounded(2);
    /// producer.push('a').unwrap();
    /// assert_eq!((consumer.capacity(), consumer.len(), consumer.bypassed()), (2, 1, 0));
    /// drop(producer);
    /// assert!(consumer.is_closed() && !consumer.is_empty());
    /// ```
    pub fn len(&self) -> usize {
        self.queue.shared().core().len()
    }

    /// How many slots of the bypass are in use at the moment, as [`len`](Self::len) counts them.
    pub fn bypass_len(&self) -> usize {
        self.queue.shared().core().bypass_len()
    }

    /// Whether nothing is in the queue at the moment, not even an unfinished push.
    pub fn is_empty(&self) -> bool {
        self.queue.shared().core().is_empty()
    }

    /// Whether every slot of the ring is in use at the moment.
    ///
    /// ```
    /// let (producer, mut consumer) = bywash::bounded(1);
    /// producer.push('a').unwrap();
    /// assert!(consumer.is_full());
    /// consumer.pop().unwrap();
    /// assert!(!consumer.is_full());
    /// ```
    pub fn is_full(&self) -> bool {
        self.queue.shared().core().is_full()
    }

    /// Whether the queue was closed, from either end. Items may be left in it.
    pub fn is_closed(&self) -> bool {
        self.queue.shared().core().is_closed()
    }

    /// How many items have gone through the bypass so far.
    pub fn bypassed(&self) -> u64 {
        self.queue.shared().core().bypassed()
    }
}

/// For listeners.
#[cfg(feature = "std")]
impl<T, Q: Queue<Item = T>> Consumer<T, Q> {
    /// As [`pop`](Self::pop), and `None` as soon as `has_news`, after a notification of its parker.
    /// It is told whether the consumer is about to sleep.
    pub(crate) fn pop_unless(
        &mut self,
        has_news: impl FnMut(bool) -> bool,
    ) -> Result<Option<T>, PopError> {
        match self.bound().pop(|| Patience::Until(None), has_news, |error| error) {
            Ok(item) => Ok(Some(item)),
            Err(PopTimeoutError::Timeout) => Ok(None),
            Err(PopTimeoutError::Closed) => Err(PopError),
        }
    }

    /// Makes a thread the consumer's that will call [`bind`](Self::bind) first of all.
    pub(crate) fn bind_to(&mut self, thread: u64) {
        self.bound_to = NO_THREAD;
        self.queue.shared().members.bind_to(thread, 0);
    }

    /// What is pushed from now on lies at or above these.
    pub(crate) fn tails(&mut self) -> Tails {
        self.unbound().tails()
    }

    /// Whether nothing that is published lies below `tails`.
    pub(crate) fn all_popped_below(&mut self, tails: Tails) -> bool {
        self.unbound().all_popped_below(tails)
    }

    /// How many are lost and not taken yet, wherever their place is.
    pub(crate) fn lost(&mut self) -> u64 {
        self.unbound().lost()
    }

    /// Of a closed queue, which is not popped any more: how many items are left, those included
    /// whose push has not finished.
    #[cfg(not(bywash_loom))]
    pub(crate) fn count_left(&mut self) -> u64 {
        self.unbound().count_left()
    }

    /// As [`take_lost`](Self::take_lost), wherever their place is.
    pub(crate) fn take_all_lost(&mut self) -> u64 {
        self.unbound().take_all_lost()
    }

    #[cfg(not(bywash_loom))]
    pub(crate) fn handle(&self) -> crate::shared::Handle
    where
        T: Send,
        Q: 'static,
    {
        self.queue.handle()
    }
}

impl<T, Q: Queue<Item = T>> Drop for Consumer<T, Q> {
    fn drop(&mut self) {
        self.close();
        self.unbound().drop_remaining(|| true);
    }
}

impl<T, Q: Queue<Item = T>> fmt::Debug for Consumer<T, Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.queue.shared().core().debug(f, "Consumer")
    }
}

// As for `Producer`.
impl<T, Q: Queue<Item = T>> UnwindSafe for Consumer<T, Q> {}
impl<T, Q: Queue<Item = T>> RefUnwindSafe for Consumer<T, Q> {}
