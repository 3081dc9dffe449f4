//! What the handles share: the two lanes, and with `std` where to sleep and who is who.

use crossbeam_utils::CachePadded;

use crate::bypass::{Entry, Lanes};
use crate::lost::Lost;
use crate::ring::{Head, Refused, Ring, Slots, Tail};
use crate::sync::const_fn;
use crate::{TryPopError, TryPushError};

#[cfg(feature = "alloc")]
use {
    crate::sync::{AtomicU64, Ordering},
    alloc::{collections::VecDeque, vec::Vec},
};

#[cfg(feature = "std")]
use {
    crate::context::Context,
    crate::queue::without_timeout,
    crate::wait::{Deadline, Parker, Spin, Waiters, doze, heavy_barrier, is_over},
    crate::{PopTimeoutError, PushError, PushTimeoutError},
    core::time::Duration,
    std::time::Instant,
};

/// The state of a queue with its ring in `S` and its bypass in `B`. In memory: a line that
/// producers write, one that the consumer writes, one that is mostly read, one that is mostly read
/// by the consumer.
#[repr(C)]
#[allow(missing_debug_implementations, reason = "no user can name it")]
pub struct Shared<S: Slots, B: Slots<Item = Entry<S::Item>>> {
    tail: CachePadded<Tail>,
    head: CachePadded<Head>,
    slots: S,
    #[cfg(feature = "std")]
    pub(crate) parker: Parker,
    #[cfg(feature = "std")]
    context: Context,
    #[cfg(feature = "alloc")]
    producers: AtomicU64,
    pub(crate) beside: CachePadded<Beside<B>>,
}

pub(crate) struct Beside<B> {
    lost: Lost,
    tail: Tail,
    head: Head,
    slots: B,
    #[cfg(feature = "std")]
    pub(crate) waiters: Waiters,
}

impl<S: Slots, B: Slots<Item = Entry<S::Item>>> Shared<S, B> {
    const_fn! {
        /// The capacity of `ring` must not be 0.
        pub(crate) fn new(ring: S, bypass: B) -> Self {
            Self {
                tail: CachePadded::new(Tail::new()),
                head: CachePadded::new(Head::new()),
                slots: ring,
                #[cfg(feature = "std")]
                parker: Parker::new(),
                #[cfg(feature = "std")]
                context: Context::new(),
                #[cfg(feature = "alloc")]
                producers: AtomicU64::new(0),
                beside: CachePadded::new(Beside {
                    lost: Lost::new(),
                    tail: Tail::new(),
                    head: Head::new(),
                    slots: bypass,
                    #[cfg(feature = "std")]
                    waiters: Waiters::new(),
                }),
            }
        }
    }

    #[inline]
    pub(crate) fn lanes(&self) -> Lanes<'_, S, B> {
        let Beside { tail, head, slots, .. } = &*self.beside;
        Lanes {
            ring: Ring { tail: &self.tail, head: &self.head, slots: &self.slots },
            bypass: Ring { tail, head, slots },
        }
    }
}

/// Producers that have an end each; those of a static queue have not.
#[cfg(feature = "alloc")]
impl<T, S: Slots<Item = T>, B: Slots<Item = Entry<T>>> Shared<S, B> {
    pub(crate) fn add_producer(&self) {
        self.producers.fetch_add(1, Ordering::Relaxed);
    }

    /// Closes the queue with the last one.
    pub(crate) fn remove_producer(&self) {
        // [last:P] AcqRel, with itself: the last one closes after everything that the others did.
        if self.producers.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.close();
        }
    }
}

impl<T, S: Slots<Item = T>, B: Slots<Item = Entry<T>>> Shared<S, B> {
    /// See [`Producer::try_push`](crate::Producer::try_push).
    #[inline]
    pub(crate) fn try_push(&self, item: T) -> Result<(), TryPushError<T>> {
        match self.lanes().ring.claim(1) {
            Ok(indices) => {
                // SAFETY: just claimed.
                unsafe { self.publish(indices.start, item) };
                Ok(())
            }
            #[cfg(feature = "std")]
            Err(Refused::Full { tail }) if self.context.may_be_inside() => {
                self.push_inside(item, tail)
            }
            Err(Refused::Full { .. }) => Err(TryPushError::Full(item)),
            Err(Refused::Closed) => Err(TryPushError::Closed(item)),
        }
    }

    /// See [`Producer::try_push_within`](crate::Producer::try_push_within).
    pub(crate) fn try_push_within(&self, item: T, limit: usize) -> Result<(), TryPushError<T>> {
        match self.lanes().ring.claim_within(limit as u64) {
            Ok(index) => {
                // SAFETY: just claimed.
                unsafe { self.publish(index, item) };
                Ok(())
            }
            Err(Refused::Full { .. }) => Err(TryPushError::Full(item)),
            Err(Refused::Closed) => Err(TryPushError::Closed(item)),
        }
    }

    /// Puts `item` where it was claimed, and wakes the consumer.
    ///
    /// # Safety
    ///
    /// As [`Ring::publish`].
    #[inline]
    unsafe fn publish(&self, index: u64, item: T) {
        // SAFETY: the caller's.
        unsafe { self.lanes().ring.publish(index, item) };
        #[cfg(feature = "std")]
        self.parker.wake();
    }

    /// See [`Producer::try_push_or_count`](crate::Producer::try_push_or_count).
    pub(crate) fn try_push_or_count(&self, item: T) -> Result<(), TryPushError<T>> {
        let result = self.try_push(item);
        if let Err(TryPushError::Full(_)) = result {
            self.beside.lost.add(self.lanes().ring.claimed());
        }
        result
    }

    /// See [`Consumer::take_lost`](crate::Consumer::take_lost).
    ///
    /// # Safety
    ///
    /// The caller is the only consumer.
    pub(crate) unsafe fn take_lost(&self) -> u64 {
        // SAFETY: the caller's.
        self.beside.lost.take(|tail| unsafe { self.lanes().is_past(tail) })
    }

    /// Pushes into the bypass if the caller must not wait for the consumer, after the ring was seen
    /// full at `tail`.
    #[cfg(feature = "std")]
    #[cold]
    #[inline(never)]
    fn push_inside(&self, item: T, tail: u64) -> Result<(), TryPushError<T>> {
        if !self.context.is_inside() {
            return Err(TryPushError::Full(item));
        }
        self.lanes().push_beside(item, tail)?;
        self.parker.wake();
        Ok(())
    }

    /// See [`Producer::try_push_many`](crate::Producer::try_push_many).
    #[cfg(feature = "alloc")]
    pub(crate) fn try_push_many(&self, items: &mut VecDeque<T>) -> Result<usize, TryPushError<()>> {
        let count = items.len();
        let mut result = Ok(());
        // More than once where there is room beside the ring, or in it by now.
        while !items.is_empty() && result.is_ok() {
            result = self.lanes().push_many(items, || self.is_inside());
        }
        let pushed = count - items.len();
        #[cfg(feature = "std")]
        if pushed != 0 {
            self.parker.wake();
        }
        match result {
            Err(Refused::Full { .. }) if pushed == 0 => Err(TryPushError::Full(())),
            Err(Refused::Closed) if pushed == 0 => Err(TryPushError::Closed(())),
            _ => Ok(pushed),
        }
    }

    /// See [`Consumer::try_pop_many`](crate::Consumer::try_pop_many).
    ///
    /// # Safety
    ///
    /// The caller is the only consumer.
    #[cfg(feature = "alloc")]
    pub(crate) unsafe fn try_pop_many(
        &self,
        most: usize,
        buffer: &mut Vec<T>,
    ) -> Result<usize, TryPopError> {
        if most == 0 {
            return Ok(0);
        }
        // SAFETY: the caller's.
        let count = unsafe { self.lanes().try_pop_many(most, buffer) };
        match count {
            #[cfg(feature = "std")]
            Ok(_) => self.beside.waiters.room(),
            Err(TryPopError::Empty) => self.found_nothing(),
            _ => {}
        }
        count
    }

    /// Takes the item that is next in order, or what `slow` brings where that is not plain to see.
    ///
    /// An item is moved once, into the result, as to move a large one again costs more than all the
    /// rest.
    ///
    /// # Safety
    ///
    /// The caller is the only consumer.
    #[inline]
    unsafe fn pop_or<E>(&self, slow: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        let lanes = self.lanes();
        let Some(front) = lanes.front() else {
            return slow();
        };
        // SAFETY: the caller is the consumer; `front` said so.
        let item = unsafe { lanes.ring.take_front(front) };
        #[cfg(feature = "std")]
        self.beside.waiters.room();
        item
    }

    /// Pops where it is not plain to see what is next.
    ///
    /// # Safety
    ///
    /// The caller is the only consumer.
    unsafe fn try_pop_slow(&self) -> Result<T, TryPopError> {
        // SAFETY: the caller's.
        let result = unsafe { self.lanes().try_pop_slow() };
        #[cfg(feature = "std")]
        if result.is_ok() {
            self.beside.waiters.room();
        }
        result
    }

    /// Pops, for a consumer that comes back when nothing is left.
    ///
    /// # Safety
    ///
    /// The caller is the only consumer.
    #[inline]
    unsafe fn try_pop_again(&self) -> Result<T, TryPopError> {
        // SAFETY: the caller's.
        let slow = || unsafe { self.try_pop_slow() };
        // SAFETY: the caller's.
        unsafe { self.pop_or(slow) }
    }

    /// Before the consumer is told that nothing is left, W7.
    fn found_nothing(&self) {
        #[cfg(feature = "std")]
        self.beside.waiters.nudge(1);
    }

    /// See [`Consumer::try_pop`](crate::Consumer::try_pop).
    ///
    /// # Safety
    ///
    /// The caller is the only consumer.
    #[inline]
    pub(crate) unsafe fn try_pop(&self) -> Result<T, TryPopError> {
        let slow = || {
            // SAFETY: the caller's.
            let result = unsafe { self.try_pop_slow() };
            if let Err(TryPopError::Empty) = result {
                self.found_nothing();
            }
            result
        };
        // SAFETY: the caller's.
        unsafe { self.pop_or(slow) }
    }

    /// Refuses pushes from now on, and wakes everybody.
    pub(crate) fn close(&self) {
        self.lanes().close();
        #[cfg(feature = "std")]
        {
            self.parker.wake();
            self.beside.waiters.wake_all();
        }
    }

    /// Pops and drops what is left, all of it, whatever the destructors do. The first of their
    /// panics goes on from here when all is done, unless the thread panics already.
    ///
    /// # Safety
    ///
    /// The caller is the only consumer.
    #[cfg(feature = "std")]
    pub(crate) unsafe fn clear(&self) {
        use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

        let mut panic = None;
        // SAFETY: the caller's.
        while let Ok(item) = unsafe { self.try_pop_again() } {
            if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(item))) {
                // The first one counts. The others are not dropped: a payload's destructor may
                // panic too.
                match panic {
                    None => panic = Some(payload),
                    Some(_) => core::mem::forget(payload),
                }
            }
        }
        match panic {
            Some(payload) if std::thread::panicking() => core::mem::forget(payload),
            Some(payload) => resume_unwind(payload),
            None => {}
        }
    }

    /// Pops and drops what is left, all of it, even where a destructor panics. Where a second one
    /// does, the process aborts, because without `std` a panic cannot be caught.
    ///
    /// # Safety
    ///
    /// The caller is the only consumer.
    #[cfg(not(feature = "std"))]
    pub(crate) unsafe fn clear(&self) {
        struct Rest<'a, T, S: Slots<Item = T>, B: Slots<Item = Entry<T>>>(&'a Shared<S, B>);

        impl<T, S: Slots<Item = T>, B: Slots<Item = Entry<T>>> Drop for Rest<'_, T, S, B> {
            fn drop(&mut self) {
                // SAFETY: the caller of `clear` is the only consumer.
                while let Ok(item) = unsafe { self.0.try_pop_again() } {
                    drop(item);
                }
            }
        }

        // The first panic unwinds out of the outer one, and the inner one goes on.
        let _rest = Rest(self);
        drop(Rest(self));
    }

    /// Takes `close` back, for the next consumer.
    pub(crate) fn reopen(&self) {
        self.lanes().reopen();
    }

    /// Whether the caller must not wait for the consumer. Without `std` it is not known who anybody
    /// is.
    #[cfg(feature = "alloc")]
    pub(crate) fn is_inside(&self) -> bool {
        #[cfg(feature = "std")]
        return self.context.is_inside();
        #[cfg(not(feature = "std"))]
        false
    }

    pub(crate) fn capacity(&self) -> usize {
        self.lanes().capacity()
    }

    pub(crate) fn len(&self) -> usize {
        self.lanes().len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lanes().is_empty()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.lanes().is_full()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.lanes().is_closed()
    }

    pub(crate) fn bypassed(&self) -> u64 {
        self.lanes().bypassed()
    }
}

/// Waiting.
#[cfg(feature = "std")]
impl<T, S: Slots<Item = T>, B: Slots<Item = Entry<T>>> Shared<S, B> {
    pub(crate) fn context(&self) -> &Context {
        &self.context
    }

    /// Pushes, and waits for room until the deadline that `deadline` returns, but not where that
    /// would never end.
    #[inline]
    pub(crate) fn push(
        &self,
        item: T,
        deadline: impl FnOnce() -> Deadline,
    ) -> Result<(), PushTimeoutError<T>> {
        match self.try_push(item) {
            Ok(()) => Ok(()),
            Err(TryPushError::Closed(item)) => Err(PushTimeoutError::Closed(item)),
            Err(TryPushError::Full(item)) => self.push_slow(item, deadline()),
        }
    }

    /// See [`Producer::try_push_and_wait`](crate::Producer::try_push_and_wait).
    pub(crate) fn try_push_and_wait(
        &self,
        item: T,
        timeout: Duration,
    ) -> Result<bool, TryPushError<T>> {
        let ring = self.lanes().ring;
        let index = match ring.claim(1) {
            Ok(indices) => indices.start,
            Err(Refused::Full { tail }) => return self.push_inside(item, tail).map(|()| false),
            Err(Refused::Closed) => return Err(TryPushError::Closed(item)),
        };
        // SAFETY: just claimed.
        unsafe { self.publish(index, item) };
        let deadline = Instant::now().checked_add(timeout);
        loop {
            if ring.is_taken(index) {
                return Ok(true);
            }
            if is_over(deadline) || self.is_inside() {
                return Ok(false);
            }
            doze();
        }
    }

    /// See [`Producer::push_many`](crate::Producer::push_many).
    pub(crate) fn push_many(&self, items: &mut VecDeque<T>) -> Result<(), PushError<()>> {
        loop {
            match self.try_push_many(items) {
                Ok(_) | Err(TryPushError::Full(())) => {}
                Err(TryPushError::Closed(())) => return Err(PushError::Closed(())),
            }
            let Some(item) = items.pop_front() else {
                return Ok(());
            };
            match without_timeout(self.push(item, || None)) {
                Ok(()) => {}
                // There is room for it where it was.
                Err(PushError::Closed(item)) => {
                    items.push_front(item);
                    return Err(PushError::Closed(()));
                }
                Err(PushError::WouldDeadlock(item)) => {
                    items.push_front(item);
                    return Err(PushError::WouldDeadlock(()));
                }
            }
        }
    }

    #[cold]
    fn push_slow(&self, item: T, deadline: Deadline) -> Result<(), PushTimeoutError<T>> {
        if self.context.is_inside_for_sure() {
            return Err(PushTimeoutError::WouldDeadlock(item));
        }
        let item = match self.push_awake(item, deadline, Spin::before_sleep(self.capacity())) {
            Err(PushTimeoutError::Timeout(item)) if !is_over(deadline) => item,
            result => return result,
        };
        self.beside.waiters.register();
        let result = self.push_asleep(item, deadline);
        self.beside.waiters.leave(|| !self.lanes().is_full() || self.lanes().is_closed());
        result
    }

    /// Tries for as long as sleep is not worth it, with `Timeout` at the end.
    fn push_awake(
        &self,
        mut item: T,
        deadline: Deadline,
        mut spin: Spin,
    ) -> Result<(), PushTimeoutError<T>> {
        while !is_over(deadline) && spin.turn() {
            match self.push_now(item) {
                Err(PushTimeoutError::Timeout(back)) => item = back,
                result => return result,
            }
        }
        Err(PushTimeoutError::Timeout(item))
    }

    /// Sleeps and tries again; between `register` and `leave`.
    fn push_asleep(&self, mut item: T, deadline: Deadline) -> Result<(), PushTimeoutError<T>> {
        let mut woken = true;
        loop {
            let announced = self.beside.waiters.announce();
            // The barrier is dear. So first a nap, and whoever is woken meanwhile does without.
            let sure = !woken && heavy_barrier();
            match self.push_now(item) {
                Err(PushTimeoutError::Timeout(back)) => item = back,
                result => return result,
            }
            if is_over(deadline) {
                return Err(PushTimeoutError::Timeout(item));
            }
            woken = self.beside.waiters.sleep(announced, deadline, sure);
            // Slots are freed meanwhile. With many others it may take some tries to get one, which
            // cost less than to sleep again.
            if woken {
                match self.push_awake(item, deadline, Spin::after_sleep()) {
                    Err(PushTimeoutError::Timeout(back)) => item = back,
                    result => return result,
                }
            }
        }
    }

    /// As `try_push`, with `Timeout` where it is full.
    fn push_now(&self, item: T) -> Result<(), PushTimeoutError<T>> {
        self.try_push(item).map_err(|error| match error {
            TryPushError::Full(item) => PushTimeoutError::Timeout(item),
            TryPushError::Closed(item) => PushTimeoutError::Closed(item),
        })
    }

    /// Wakes the consumer, to look whether there is news for it beside items.
    #[cfg(not(loom))]
    pub(crate) fn wake(&self) {
        self.parker.wake();
    }

    /// Pops, and waits for an item until the deadline that `deadline` returns, or, with `Timeout`,
    /// until `has_news`.
    ///
    /// # Safety
    ///
    /// The caller is the only consumer.
    #[inline]
    pub(crate) unsafe fn pop<E>(
        &self,
        deadline: impl FnOnce() -> Deadline,
        has_news: impl Fn() -> bool,
        error: impl FnOnce(PopTimeoutError) -> E,
    ) -> Result<T, E> {
        // SAFETY: the caller's.
        let slow = || unsafe { self.pop_slow(deadline, has_news) }.map_err(error);
        // SAFETY: the caller's.
        unsafe { self.pop_or(slow) }
    }

    #[cold]
    unsafe fn pop_slow(
        &self,
        deadline: impl FnOnce() -> Deadline,
        has_news: impl Fn() -> bool,
    ) -> Result<T, PopTimeoutError> {
        // SAFETY: the caller's.
        let mut tried = unsafe { self.try_pop_slow() };
        let deadline = deadline();
        let mut spin = Spin::before_sleep(self.capacity());
        let mut has_slept = false;
        loop {
            match tried {
                Ok(item) => return Ok(item),
                Err(TryPopError::Closed) => return Err(PopTimeoutError::Closed),
                Err(TryPopError::Empty) if is_over(deadline) || has_news() => {
                    self.found_nothing();
                    return Err(PopTimeoutError::Timeout);
                }
                Err(TryPopError::Empty) => {}
            }
            tried = if spin.turn() {
                // SAFETY: the caller's.
                unsafe { self.try_pop_again() }
            } else {
                // SAFETY: the caller's.
                let tried = unsafe { self.try_pop_or_sleep(deadline, &has_news, has_slept) };
                has_slept = true;
                tried
            };
        }
    }

    /// Announces sleep, looks again, sleeps if there is still nothing, and looks once more.
    ///
    /// # Safety
    ///
    /// The caller is the only consumer.
    unsafe fn try_pop_or_sleep(
        &self,
        deadline: Deadline,
        has_news: impl Fn() -> bool,
        has_slept: bool,
    ) -> Result<T, TryPopError> {
        let announced = self.parker.announce();
        // W1: whoever claims from now on sees the announcement. For those who have claimed and not
        // published, the barrier.
        let mut sure = self.lanes().is_empty() || heavy_barrier();
        // SAFETY: the caller's.
        let mut result = unsafe { self.try_pop_again() };
        let is_empty = matches!(result, Err(TryPopError::Empty));
        if is_empty {
            // W7: first one, and a nap; then all.
            let has_woken = self.beside.waiters.nudge(if has_slept { i32::MAX } else { 1 });
            sure &= has_slept || !has_woken;
            if !has_news() {
                self.parker.sleep(announced, deadline, sure);
            }
        }
        self.parker.retract(announced);
        if is_empty {
            // What woke it came before the deadline, even where that is over by now.
            // SAFETY: the caller's.
            result = unsafe { self.try_pop_again() };
        }
        result
    }
}

impl<S: Slots, B: Slots<Item = Entry<S::Item>>> Drop for Shared<S, B> {
    /// Drops what is left: items that were published after the consumer had gone.
    fn drop(&mut self) {
        // SAFETY: nobody else has the queue any more.
        unsafe { self.clear() }
    }
}
