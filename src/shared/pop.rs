//! Takes items out of places: `lanes.rs` says which is the next.
//!
//! A pop that waits tries, spends some time awake (`sleep/backoff.rs`), announces that it sleeps,
//! tries once more, and sleeps. See `sleep/mod.rs` for why no wake is lost. `pop_or_sleep` is one
//! turn of that, for those who have something to do around each sleep: it spends no time awake.

use core::hint;

use crate::TryPopError;
use crate::lanes::{Entry, Reader};
use crate::ring::Slots;
use crate::sync::IS_ONE_CORE;

#[cfg(feature = "alloc")]
use alloc::vec::Vec;
#[cfg(feature = "std")]
use {
    crate::PopTimeoutError,
    crate::shared::Shared,
    crate::sleep::{
        AroundSleep, Deadline, LONGEST_SLEEP, Patience, deadline_after, heavy_barrier, is_over,
    },
    core::time::Duration,
};

impl<T, S: Slots<Item = T>, B: Slots<Item = Entry<T>>> Reader<'_, S, B> {
    /// See [`Consumer::try_pop`](crate::Consumer::try_pop).
    #[inline]
    pub(crate) fn try_pop(self) -> Result<T, TryPopError> {
        self.pop_or(|mut reader| match reader.popped_unless_empty() {
            Some(popped) => reader.try_pop_slow(popped),
            // Here, and not in a function that writes the whole result: that takes twice as long.
            None => Err(TryPopError::Empty),
        })
    }

    /// `None` where both lanes are plainly empty. Otherwise how many items were popped since the
    /// last poll.
    #[cold]
    #[inline(never)]
    fn popped_unless_empty(&mut self) -> Option<u64> {
        let popped = self.ring().note_poll();
        if self.is_plainly_empty() {
            self.shared().pass_wake_on();
            return None;
        }
        Some(popped)
    }

    /// Pops the next item off the fast path, of a queue of which so many items were popped since
    /// the last poll: close behind a push, it pauses first, once.
    #[cold]
    fn try_pop_slow(&mut self, popped: u64) -> Result<T, TryPopError> {
        /// Fewer items since the last poll are no stream: a thread may wait for an answer to each.
        const SEVERAL: u64 = 2;
        /// 0.1 to 0.3 µs, in which producers finish several items; less if there is not as much
        /// room.
        const MOST_PAUSES: u64 = 6;

        if popped >= SEVERAL && !IS_ONE_CORE && !cfg!(any(bywash_loom, bywash_steps)) {
            let pauses = MOST_PAUSES.min(self.shared().ring().capacity() / 2);
            (0..pauses).for_each(|_| hint::spin_loop());
        }
        let result = self.try_pop_again();
        if let Err(TryPopError::Empty) = result {
            self.shared().pass_wake_on();
        }
        result
    }

    /// Pops the next item on the fast path, or returns what `slow` returns.
    #[inline]
    fn pop_or<E>(mut self, slow: impl FnOnce(Self) -> Result<T, E>) -> Result<T, E> {
        let bypass = self.shared().bypass();
        let mut ring = self.ring();
        // B3, for the fast path.
        let Some(ready) = ring.ready_slot(|| bypass.tail_word()) else {
            return slow(self);
        };
        let item = ready.take();
        self.shared().room_was_made();
        item
    }

    /// Pops the next item, without what `try_pop` does for a poll that finds nothing.
    #[inline]
    fn try_pop_again(&mut self) -> Result<T, TryPopError> {
        self.reborrow().pop_or(|mut reader| reader.pop_next())
    }

    /// Pops the next item off the fast path.
    fn pop_next(&mut self) -> Result<T, TryPopError> {
        let result = self.take_next();
        if result.is_ok() {
            self.shared().room_was_made();
        }
        result
    }

    /// See [`Consumer::try_pop_many`](crate::Consumer::try_pop_many).
    #[cfg(feature = "alloc")]
    pub(crate) fn try_pop_many(
        mut self,
        buffer: &mut Vec<T>,
        limit: usize,
    ) -> Result<usize, TryPopError> {
        if limit == 0 {
            return Ok(0);
        }
        let count = self.take_many(buffer, limit);
        match count {
            Ok(_) => self.shared().room_was_made(),
            Err(TryPopError::Empty) => self.shared().pass_wake_on(),
            Err(TryPopError::Closed) => {}
        }
        count
    }

    /// See [`Consumer::take_lost`](crate::Consumer::take_lost).
    pub(crate) fn take_lost(mut self) -> u64 {
        self.shared().rare.lost.take(|tail| self.all_before_popped(tail))
    }

    /// See [`Consumer::recover`](crate::Consumer::recover).
    pub(crate) fn recover(mut self) -> usize {
        let count = self.give_up_claims();
        self.shared().parker.reset();
        self.shared().rare.waiters.reset();
        self.shared().members.renew();
        count as usize
    }

    /// How many are lost and not taken yet, wherever their place is.
    #[cfg(feature = "std")]
    pub(crate) fn lost(&self) -> u64 {
        self.shared().rare.lost.counts().1
    }

    /// As `take_lost`, wherever their place is.
    #[cfg(feature = "std")]
    pub(crate) fn take_all_lost(self) -> u64 {
        self.shared().rare.lost.take(|_| true)
    }

    /// Pops and drops what is left, all of it, until `is_done`, whatever the destructors do. The
    /// first of their panics goes on from here when all is done, unless the thread panics already.
    #[cfg(feature = "std")]
    pub(crate) fn drop_remaining(mut self, mut is_done: impl FnMut() -> bool) {
        use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

        let mut panic = None;
        loop {
            let Ok(item) = self.try_pop_again() else {
                if is_done() {
                    break;
                }
                continue;
            };
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

    /// Pops and drops what is left, all of it, until `is_done`, even where a destructor panics.
    /// Where a second one does, the process aborts, because without `std` a panic cannot be caught.
    #[cfg(not(feature = "std"))]
    pub(crate) fn drop_remaining(mut self, mut is_done: impl FnMut() -> bool) {
        /// Calls it when dropped: goes on where a destructor has panicked.
        struct Finally<F: FnMut()>(F);

        impl<F: FnMut()> Drop for Finally<F> {
            fn drop(&mut self) {
                self.0();
            }
        }

        let mut is_finished = false;
        let mut drop_all = Finally(|| {
            while !is_finished {
                match self.try_pop_again() {
                    Ok(item) => drop(item),
                    Err(_) => is_finished = is_done(),
                }
            }
        });
        (drop_all.0)();
    }
}

#[cfg(feature = "std")]
impl<T, S: Slots<Item = T>, B: Slots<Item = Entry<T>>> Reader<'_, S, B> {
    /// Pops, and waits for an item as long as the patience lasts, or, with `Timeout`, until
    /// `has_news`. Before each sleep that is called with `true`, after the announcement, and may
    /// run anything then: a push already wakes the consumer.
    #[inline]
    pub(crate) fn pop<E>(
        self,
        patience: impl FnOnce() -> Patience,
        has_news: impl FnMut(bool) -> bool,
        error: impl FnOnce(PopTimeoutError) -> E,
    ) -> Result<T, E> {
        self.pop_or(|mut reader| reader.pop_slow(patience, has_news).map_err(error))
    }

    #[cold]
    fn pop_slow(
        &mut self,
        patience: impl FnOnce() -> Patience,
        mut has_news: impl FnMut(bool) -> bool,
    ) -> Result<T, PopTimeoutError> {
        let mut tried = self.pop_next();
        let Patience::Until(deadline) = patience() else {
            return tried.map_err(|error| self.found_nothing(error));
        };
        let (core, last_wait) = (self.shared().core(), &self.shared().last_waits.consumer);
        let mut backoff = last_wait.before_pop(core.popped(), core.capacity());
        let mut has_slept = false;
        loop {
            match tried {
                Ok(item) => return Ok(item),
                Err(TryPopError::Empty) if !is_over(deadline) && !has_news(false) => {}
                Err(error) => return Err(self.found_nothing(error)),
            }
            let linger = self.linger();
            tried = if linger.is_none() && !has_slept && backoff.pause() {
                self.try_pop_again()
            } else {
                let tried = self.try_pop_or_sleep(deadline, linger, &mut has_news, has_slept, None);
                has_slept |= linger.is_none();
                tried
            };
        }
    }

    /// See [`Consumer::pop_or_sleep`](crate::Consumer::pop_or_sleep).
    pub(crate) fn pop_or_sleep(
        self,
        deadline: Deadline,
        around: AroundSleep<'_>,
    ) -> Result<T, PopTimeoutError> {
        self.pop_or(|mut reader| {
            let mut tried = reader.pop_next();
            if matches!(tried, Err(TryPopError::Empty)) && !is_over(deadline) {
                let longest = deadline_after(LONGEST_SLEEP);
                let end = deadline.into_iter().chain(longest).min();
                let linger = reader.linger();
                tried = reader.try_pop_or_sleep(end, linger, |_| false, false, Some(around));
            }
            tried.map_err(|error| reader.found_nothing(error))
        })
    }

    /// The error of a pop that gives up.
    fn found_nothing(&mut self, error: TryPopError) -> PopTimeoutError {
        match error {
            TryPopError::Closed => PopTimeoutError::Closed,
            TryPopError::Empty => {
                self.shared().pass_wake_on();
                PopTimeoutError::Timeout
            }
        }
    }

    /// How long to linger, if something was popped since the last time.
    fn linger(&self) -> Option<Duration> {
        let Shared { rare, head, .. } = self.shared();
        rare.linger.begin(head.index())
    }

    /// Announces sleep, looks again, sleeps if there is still nothing, and looks once more. Where
    /// it is to `linger`, for so long at most.
    fn try_pop_or_sleep(
        &mut self,
        deadline: Deadline,
        linger: Option<Duration>,
        mut has_news: impl FnMut(bool) -> bool,
        has_slept: bool,
        around: Option<AroundSleep<'_>>,
    ) -> Result<T, TryPopError> {
        let (parker, waiters) = (&self.shared().parker, &self.shared().rare.waiters);
        let end = deadline.into_iter().chain(linger.and_then(deadline_after)).min();
        // W10: what is pushed below the end of a linger need not see the announcement.
        let (key, mut may_sleep_unbounded) = match linger {
            Some(_) => (parker.prepare_linger(), true),
            None => (parker.prepare_wait(), self.sees_each_push()),
        };
        let may_sleep = linger.is_none() || !self.shared().ends_linger();
        let mut result = self.try_pop_again();
        let is_empty = matches!(result, Err(TryPopError::Empty));
        if is_empty {
            // W7: first one, and a nap; then all.
            let has_woken = waiters.notify_many(if has_slept { i32::MAX } else { 1 });
            may_sleep_unbounded &= has_slept || !has_woken;
            if may_sleep && !has_news(true) {
                let last_wait = &self.shared().last_waits.consumer;
                let sleep = || parker.wait(key, end, may_sleep_unbounded);
                // Nothing is popped meanwhile.
                let mut sleep = || last_wait.time(0, || 0, sleep);
                match around {
                    Some(around) => around(&mut sleep),
                    None => sleep(),
                }
            }
        }
        parker.cancel_wait(key);
        if is_empty {
            // What woke it came before the deadline, even if that is over by now.
            result = self.try_pop_again();
        }
        result
    }

    /// After the announcement: whether each push that the next look does not find will see the
    /// announcement, W1. A push that claims from now on sees it. For those that have claimed and
    /// not published, it takes the barrier.
    fn sees_each_push(&self) -> bool {
        self.shared().core().is_empty() || heavy_barrier()
    }
}

cfg_event_fd! {
    impl<T, S: Slots<Item = T>, B: Slots<Item = Entry<T>>> Reader<'_, S, B> {
        /// See [`Consumer::arm`](crate::Consumer::arm).
        pub(crate) fn arm(mut self) -> bool {
            let parker = &self.shared().parker;
            let key = parker.arm();
            let is_armed = self.sees_each_push()
                && parker.has_event_fd()
                && !self.has_news();
            if is_armed {
                // W7: as before a long sleep.
                self.shared().rare.waiters.notify_many(i32::MAX);
            } else {
                parker.cancel_wait(key);
            }
            is_armed
        }
    }
}
