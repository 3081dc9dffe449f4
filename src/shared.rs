//! What the handles share: the two lanes, and with `std` where to sleep and who is who.

use crate::bypass::{Entry, Lanes};
use crate::ring::Slots;
use crate::sync::const_fn;
use crate::{TryPopError, TryPushError};

#[cfg(feature = "std")]
use crate::{
    PopTimeoutError, PushTimeoutError,
    context::Context,
    wait::{Deadline, Parker, Waiters, heavy_barrier, is_over},
};
#[cfg(feature = "std")]
use crossbeam_utils::{Backoff, CachePadded};

/// The state of a queue with its ring in `S` and its bypass in `B`.
#[allow(missing_debug_implementations, reason = "no user can name it")]
#[repr(C)]
pub struct Shared<S: Slots, B: Slots<Item = Entry<S::Item>>> {
    lanes: Lanes<S, B>,
    #[cfg(feature = "std")]
    context: Context,
    #[cfg(feature = "std")]
    parker: CachePadded<Parker>,
    #[cfg(feature = "std")]
    waiters: CachePadded<Waiters>,
}

impl<S: Slots, B: Slots<Item = Entry<S::Item>>> Shared<S, B> {
    const_fn! {
        /// The capacity of `ring` must not be 0.
        pub(crate) fn new(ring: S, bypass: B) -> Self {
            Self {
                lanes: Lanes::new(ring, bypass),
                #[cfg(feature = "std")]
                context: Context::new(),
                #[cfg(feature = "std")]
                parker: CachePadded::new(Parker::new()),
                #[cfg(feature = "std")]
                waiters: CachePadded::new(Waiters::new()),
            }
        }
    }
}

impl<T, S: Slots<Item = T>, B: Slots<Item = Entry<T>>> Shared<S, B> {
    /// See [`Producer::try_push`](crate::Producer::try_push).
    #[inline]
    pub(crate) fn try_push(&self, item: T) -> Result<(), TryPushError<T>> {
        self.lanes.try_push(item, || self.is_inside())?;
        #[cfg(feature = "std")]
        self.parker.wake();
        Ok(())
    }

    /// See [`Consumer::try_pop`](crate::Consumer::try_pop).
    ///
    /// # Safety
    ///
    /// The caller is the only consumer.
    #[inline]
    pub(crate) unsafe fn try_pop(&self) -> Result<T, TryPopError> {
        // SAFETY: the caller's.
        let item = unsafe { self.lanes.try_pop() }?;
        #[cfg(feature = "std")]
        self.waiters.room();
        Ok(item)
    }

    /// Refuses pushes from now on, and wakes everybody.
    pub(crate) fn close(&self) {
        self.lanes.close();
        #[cfg(feature = "std")]
        {
            self.parker.wake();
            self.waiters.wake_all();
        }
    }

    /// Pops and drops what is left, all of it, whatever the destructors do. The first of their panics goes on from here
    /// when all is done, unless the thread panics already.
    ///
    /// # Safety
    ///
    /// The caller is the only consumer.
    #[cfg(feature = "std")]
    pub(crate) unsafe fn clear(&self) {
        use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

        let mut panic = None;
        // SAFETY: the caller's.
        while let Ok(item) = unsafe { self.try_pop() } {
            if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(item))) {
                // A payload may have a destructor that panics.
                core::mem::forget(panic.replace(payload));
            }
        }
        match panic {
            Some(payload) if std::thread::panicking() => core::mem::forget(payload),
            Some(payload) => resume_unwind(payload),
            None => {}
        }
    }

    /// Pops and drops what is left, all of it, even where a destructor panics. Where a second one does, the process
    /// aborts, because without `std` a panic cannot be caught.
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
                while let Ok(item) = unsafe { self.0.try_pop() } {
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
        self.lanes.reopen();
    }

    /// Whether the caller must not wait for the consumer. Without `std` it is not known who anybody is.
    #[inline]
    pub(crate) fn is_inside(&self) -> bool {
        #[cfg(feature = "std")]
        return self.context.is_inside();
        #[cfg(not(feature = "std"))]
        false
    }

    pub(crate) fn capacity(&self) -> usize {
        self.lanes.capacity()
    }

    pub(crate) fn len(&self) -> usize {
        self.lanes.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lanes.is_empty()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.lanes.is_full()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.lanes.is_closed()
    }

    pub(crate) fn bypassed(&self) -> u64 {
        self.lanes.bypassed()
    }
}

/// Waiting.
#[cfg(feature = "std")]
impl<T, S: Slots<Item = T>, B: Slots<Item = Entry<T>>> Shared<S, B> {
    pub(crate) fn context(&self) -> &Context {
        &self.context
    }

    /// Pushes, and waits for room until the deadline that `deadline` returns, but not where that would never end.
    #[inline]
    pub(crate) fn push(&self, item: T, deadline: impl FnOnce() -> Deadline) -> Result<(), PushTimeoutError<T>> {
        match self.try_push(item) {
            Ok(()) => Ok(()),
            Err(TryPushError::Closed(item)) => Err(PushTimeoutError::Closed(item)),
            Err(TryPushError::Full(item)) if self.is_inside() => Err(PushTimeoutError::WouldDeadlock(item)),
            Err(TryPushError::Full(item)) => self.push_slow(item, deadline()),
        }
    }

    #[cold]
    fn push_slow(&self, mut item: T, deadline: Deadline) -> Result<(), PushTimeoutError<T>> {
        let backoff = Backoff::new();
        while !backoff.is_completed() {
            if is_over(deadline) {
                return Err(PushTimeoutError::Timeout(item));
            }
            backoff.snooze();
            match self.try_push(item) {
                Ok(()) => return Ok(()),
                Err(TryPushError::Closed(item)) => return Err(PushTimeoutError::Closed(item)),
                Err(TryPushError::Full(back)) => item = back,
            }
        }
        self.waiters.register();
        let result = self.push_asleep(item, deadline);
        self.waiters.leave(|| !self.lanes.is_full() || self.lanes.is_closed());
        result
    }

    /// Sleeps and tries again; between `register` and `leave`.
    fn push_asleep(&self, mut item: T, deadline: Deadline) -> Result<(), PushTimeoutError<T>> {
        let mut woken = true;
        loop {
            let announced = self.waiters.announce();
            // The barrier is dear. So first a nap, and whoever is woken meanwhile does without.
            let sure = !woken && heavy_barrier();
            match self.try_push(item) {
                Ok(()) => return Ok(()),
                Err(TryPushError::Closed(item)) => return Err(PushTimeoutError::Closed(item)),
                Err(TryPushError::Full(back)) => item = back,
            }
            if is_over(deadline) {
                return Err(PushTimeoutError::Timeout(item));
            }
            woken = self.waiters.sleep(announced, deadline, sure);
        }
    }

    /// Pops, and waits for an item until the deadline that `deadline` returns.
    ///
    /// # Safety
    ///
    /// The caller is the only consumer.
    #[inline]
    pub(crate) unsafe fn pop(&self, deadline: impl FnOnce() -> Deadline) -> Result<T, PopTimeoutError> {
        // SAFETY: the caller's.
        match unsafe { self.try_pop() } {
            Ok(item) => Ok(item),
            Err(TryPopError::Closed) => Err(PopTimeoutError::Closed),
            // SAFETY: the caller's.
            Err(TryPopError::Empty) => unsafe { self.pop_slow(deadline()) },
        }
    }

    #[cold]
    unsafe fn pop_slow(&self, deadline: Deadline) -> Result<T, PopTimeoutError> {
        let backoff = Backoff::new();
        loop {
            if is_over(deadline) {
                return Err(PopTimeoutError::Timeout);
            }
            let tried = if backoff.is_completed() {
                // SAFETY: the caller's.
                unsafe { self.try_pop_or_sleep(deadline) }
            } else {
                backoff.snooze();
                // SAFETY: the caller's.
                unsafe { self.try_pop() }
            };
            match tried {
                Ok(item) => return Ok(item),
                Err(TryPopError::Closed) => return Err(PopTimeoutError::Closed),
                Err(TryPopError::Empty) => {}
            }
        }
    }

    /// Announces sleep, looks again, and sleeps if there is still nothing.
    unsafe fn try_pop_or_sleep(&self, deadline: Deadline) -> Result<T, TryPopError> {
        let announced = self.parker.announce();
        // Whoever claims from now on sees the announcement. For those who have claimed and not published, the barrier.
        let sure = self.lanes.is_empty() || heavy_barrier();
        // SAFETY: the caller's.
        let result = unsafe { self.try_pop() };
        if let Err(TryPopError::Empty) = result {
            // There is room for those who sleep, and whoever was woken before them may have been stopped.
            self.waiters.nudge();
            self.parker.sleep(announced, deadline, sure);
        }
        self.parker.retract(announced);
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
