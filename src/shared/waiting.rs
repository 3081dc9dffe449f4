//! The calls that wait: a push for room, a pop for an item.
//!
//! Both try, spend some time (`Backoff`), announce that they sleep, try once more, and sleep. See
//! `wait/mod.rs` for why no wake is lost.
//!
//! `push_or_sleep` and `pop_or_sleep` are one turn of that, for those who have something to do around
//! each sleep. They spend no time awake, because others may need what the caller holds, and take no
//! nap before the sleep (W2), because that would be the turn. Between two turns the thread has no
//! edge in the graph of waits. G3 holds all the same: it speaks of threads that sleep, and each has
//! published its edge and looked before that very sleep.

use super::{Shared, SharedConsumer};
use crate::cycles::{Answer, Wait};
use crate::error::without_timeout;
use crate::lanes::Entry;
use crate::long_wait::Watch;
use crate::ring::{Refused, Slots};
use crate::wait::{
    Deadline, LONGEST_SLEEP, LONGEST_WAIT_FOR_TURN, Naps, deadline_after, heavy_barrier, is_over,
    sleep_briefly,
};
use crate::{PopTimeoutError, PushError, PushTimeoutError, TryPopError, TryPushError};
use alloc::collections::VecDeque;
use core::time::Duration;
use std::time::Instant;

/// Calls its argument, which sleeps: see
/// [`Producer::push_or_sleep`](crate::Producer::push_or_sleep).
pub(crate) type AroundSleep<'a> = &'a mut dyn FnMut(&mut (dyn FnMut() + Send));

impl<T, S: Slots<Item = T>, B: Slots<Item = Entry<T>>> Shared<S, B> {
    /// Pushes, and waits for room until the deadline that `deadline` returns, but not where waiting
    /// could never end.
    #[inline]
    pub(crate) fn push(
        &self,
        item: T,
        deadline: impl FnOnce() -> Deadline,
    ) -> Result<(), PushTimeoutError<T>> {
        match self.try_push(item) {
            Ok(()) => Ok(()),
            Err(TryPushError::Closed(item)) => Err(PushTimeoutError::Closed(item)),
            Err(TryPushError::Full(item)) => self.push_slow(item, deadline(), None),
        }
    }

    /// See [`Producer::push_or_sleep`](crate::Producer::push_or_sleep).
    pub(crate) fn push_or_sleep(
        &self,
        item: T,
        deadline: Deadline,
        around: AroundSleep<'_>,
    ) -> Result<(), PushTimeoutError<T>> {
        match self.push_now(item) {
            Err(PushTimeoutError::Timeout(item)) => self.push_slow(item, deadline, Some(around)),
            result => result,
        }
    }

    /// See [`Producer::push_many`](crate::Producer::push_many).
    pub(crate) fn push_many(&self, items: &mut VecDeque<T>) -> Result<(), PushError<()>> {
        loop {
            if let Err(TryPushError::Closed(())) = self.try_push_many(items) {
                return Err(PushError::Closed(()));
            }
            let Some(item) = items.pop_front() else {
                return Ok(());
            };
            let (item, error) = match without_timeout(self.push(item, || None)) {
                Ok(()) => continue,
                Err(PushError::Closed(item)) => (item, PushError::Closed(())),
                Err(PushError::WouldDeadlock(item)) => (item, PushError::WouldDeadlock(())),
            };
            // There is room for it where it was.
            items.push_front(item);
            return Err(error);
        }
    }

    /// See [`Producer::try_push_and_wait`](crate::Producer::try_push_and_wait).
    pub(crate) fn try_push_and_wait(
        &self,
        item: T,
        timeout: Duration,
    ) -> Result<bool, TryPushError<T>> {
        let ring = self.lanes().ring;
        let claim = match ring.claim(1) {
            Ok(claim) => claim,
            Err(Refused::Full { tail }) => {
                return self.try_push_bypass(item, tail).map(|()| false);
            }
            Err(refused) => return Err(refused.with(item)),
        };
        let index = claim.next_index();
        self.publish(claim, item);
        let deadline = if timeout.is_zero() { None } else { deadline_after(timeout) };
        loop {
            if ring.is_taken(index) {
                return Ok(true);
            }
            let members = &self.node.members;
            let is_over = timeout.is_zero() || is_over(deadline);
            if is_over || members.is_member() || members.consumer_is_gone() {
                return Ok(false);
            }
            sleep_briefly();
        }
    }

    #[cold]
    fn push_slow(
        &self,
        mut item: T,
        deadline: Deadline,
        around: Option<AroundSleep<'_>>,
    ) -> Result<(), PushTimeoutError<T>> {
        if self.node.members.must_not_wait() {
            return Err(PushTimeoutError::WouldDeadlock(item));
        }
        // W9
        if around.is_none() && !self.rare.waiters.has_overdue() {
            match self.push_awake(item, deadline) {
                Err(PushTimeoutError::Timeout(back)) => item = back,
                result => return result,
            }
        }
        if is_over(deadline) {
            return Err(PushTimeoutError::Timeout(item));
        }
        let waiters = &self.rare.waiters;
        waiters.register();
        // Also if `around` panics; and after the edge was withdrawn, G2.
        let _deregister = OnDrop(|| waiters.deregister(|| !self.must_wait()));
        let mut wait = Wait::for_room(&self.node, deadline.is_some());
        self.push_asleep(item, deadline, &mut wait, around)
    }

    /// Whether there is no room, and the queue is open. Notes it for the graph of waits, G2.
    fn must_wait(&self) -> bool {
        let ring = self.lanes().ring;
        let full_at = ring.full_at().filter(|_| !ring.is_closed());
        if let Some(head) = full_at {
            self.node.members.note_full(head);
        }
        full_at.is_some()
    }

    /// Tries until it is time to sleep, and returns `Timeout` then.
    fn push_awake(&self, mut item: T, deadline: Deadline) -> Result<(), PushTimeoutError<T>> {
        let mut backoff = self.last_waits.producers.before_push();
        while !is_over(deadline) && backoff.pause() {
            match self.push_now(item) {
                Err(PushTimeoutError::Timeout(back)) => item = back,
                result => return result,
            }
        }
        Err(PushTimeoutError::Timeout(item))
    }

    /// Sleeps and tries again, while registered.
    fn push_asleep(
        &self,
        mut item: T,
        deadline: Deadline,
        wait: &mut Wait<'_>,
        mut around: Option<AroundSleep<'_>>,
    ) -> Result<(), PushTimeoutError<T>> {
        let (waiters, last_wait) = (&self.rare.waiters, &*self.last_waits.producers);
        // Who sleeps once does not nap first; nor a thread that may be on a cycle, which the next
        // one that looks would not find before the nap is over. In a model naps do not end.
        let naps_first = around.is_none() && !wait.may_be_on_cycle() && !cfg!(bywash_loom);
        let mut was_notified = naps_first;
        let mut has_napped = false;
        let mut answer = Answer::AskAgain;
        let mut naps = Naps::new();
        let mut watch = Watch::begin();
        let (since, mut overdue) = (Instant::now(), None);
        loop {
            if overdue.is_none() && since.elapsed() >= LONGEST_WAIT_FOR_TURN {
                overdue = Some(waiters.overdue());
            }
            watch.look(|since| {
                // The hook may push into another queue.
                wait.withdraw();
                self.long_wait(since)
            });
            let key = waiters.prepare_wait();
            // W2: the barrier is expensive. So first a nap, and a producer that is woken meanwhile
            // does without.
            let may_sleep_unbounded = (!was_notified || !naps_first) && heavy_barrier();
            // G1: while there is no room, there is nothing to try.
            if !self.must_wait() {
                wait.withdraw();
                match self.push_now(item) {
                    Err(PushTimeoutError::Timeout(back)) => item = back,
                    result => return result,
                }
            }
            // Without a barrier, a nap takes much longer than any store is on its way.
            if (may_sleep_unbounded || has_napped) && self.must_wait() {
                wait.settle();
            }
            if is_over(deadline) {
                return Err(PushTimeoutError::Timeout(item));
            }
            // F3, F4: here, and not before the loop, as a signal handler may fork during a sleep.
            if self.node.members.consumer_is_gone() {
                return Err(PushTimeoutError::WouldDeadlock(item));
            }
            // A wait without a deadline looks before each sleep, G3. With one, what counts is
            // whether it closed a cycle when it began.
            if deadline.is_none() || answer == Answer::AskAgain {
                answer = wait.look(|| self.must_wait());
            }
            let end = match answer {
                Answer::Never => return self.push_without_waiting(item),
                Answer::AskAgain if cfg!(bywash_loom) => {
                    sleep_briefly();
                    continue;
                }
                Answer::AskAgain => naps.next_end(deadline),
                Answer::Ends => deadline,
            };
            let mut sleep = || {
                let sleep = || waiters.wait(key, end, may_sleep_unbounded);
                was_notified = last_wait.time(sleep);
            };
            if let Some(around) = &mut around {
                around(&mut sleep);
                wait.withdraw();
                return self.push_now(item);
            }
            sleep();
            has_napped |= !was_notified;
            // Slots are freed meanwhile. With many others it may take some tries to get one, which
            // cost less than to sleep again. But it is an overdue push's turn, W9.
            if was_notified && (overdue.is_some() || !waiters.has_overdue()) {
                wait.withdraw();
                match self.push_awake(item, deadline) {
                    Err(PushTimeoutError::Timeout(back)) => item = back,
                    result => return result,
                }
            }
        }
    }

    /// Pushes as a member does, where waiting for the consumer could never end.
    fn push_without_waiting(&self, item: T) -> Result<(), PushTimeoutError<T>> {
        let (refused, item) = match self.lanes().ring.claim(1) {
            Ok(claim) => {
                self.publish(claim, item);
                return Ok(());
            }
            Err(Refused::Full { tail }) => match self.push_bypass(item, tail) {
                Ok(()) => return Ok(()),
                Err(refused) => refused,
            },
            Err(refused) => (refused, item),
        };
        Err(match refused {
            Refused::Full { .. } => PushTimeoutError::WouldDeadlock(item),
            Refused::Closed => PushTimeoutError::Closed(item),
        })
    }

    /// As `try_push`, with `Timeout` where it is full.
    pub(super) fn push_now(&self, item: T) -> Result<(), PushTimeoutError<T>> {
        self.try_push(item).map_err(|error| match error {
            TryPushError::Full(item) => PushTimeoutError::Timeout(item),
            TryPushError::Closed(item) => PushTimeoutError::Closed(item),
        })
    }
}

/// Calls it when dropped.
struct OnDrop<F: Fn()>(F);

impl<F: Fn()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

impl<T, S: Slots<Item = T>, B: Slots<Item = Entry<T>>> SharedConsumer<'_, S, B> {
    /// Pops, and waits for an item until the deadline that `deadline` returns, or, with `Timeout`,
    /// until `has_news`, which is told whether the consumer is about to sleep, and may then run what
    /// it likes: a push wakes the consumer already.
    #[inline]
    pub(crate) fn pop<E>(
        self,
        deadline: impl FnOnce() -> Deadline,
        has_news: impl FnMut(bool) -> bool,
        error: impl FnOnce(PopTimeoutError) -> E,
    ) -> Result<T, E> {
        self.pop_or(|mut consumer| consumer.pop_slow(deadline, has_news).map_err(error))
    }

    #[cold]
    fn pop_slow(
        &mut self,
        deadline: impl FnOnce() -> Deadline,
        mut has_news: impl FnMut(bool) -> bool,
    ) -> Result<T, PopTimeoutError> {
        let mut tried = self.try_pop_slow();
        let deadline = deadline();
        let lanes = self.shared.lanes();
        let last_wait = &self.shared.last_waits.consumer;
        let mut backoff = last_wait.before_pop(lanes.popped(), lanes.capacity());
        let mut has_slept = false;
        loop {
            match tried {
                Ok(item) => return Ok(item),
                Err(TryPopError::Closed) => return Err(PopTimeoutError::Closed),
                Err(TryPopError::Empty) if is_over(deadline) || has_news(false) => {
                    self.pass_wake_on();
                    return Err(PopTimeoutError::Timeout);
                }
                Err(TryPopError::Empty) => {}
            }
            tried = if !has_slept && backoff.pause() {
                self.try_pop_again()
            } else {
                let tried = self.try_pop_or_sleep(deadline, &mut has_news, has_slept, None);
                has_slept = true;
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
        self.pop_or(|mut consumer| {
            let mut tried = consumer.try_pop_slow();
            if matches!(tried, Err(TryPopError::Empty)) && !is_over(deadline) {
                let longest = deadline_after(LONGEST_SLEEP);
                let end = deadline.into_iter().chain(longest).min();
                tried = consumer.try_pop_or_sleep(end, |_| false, false, Some(around));
            }
            tried.map_err(|error| consumer.found_nothing(error))
        })
    }

    /// The error of a pop that gives up.
    pub(super) fn found_nothing(&mut self, error: TryPopError) -> PopTimeoutError {
        match error {
            TryPopError::Closed => PopTimeoutError::Closed,
            TryPopError::Empty => {
                self.pass_wake_on();
                PopTimeoutError::Timeout
            }
        }
    }

    /// Announces sleep, looks again, sleeps if there is still nothing, and looks once more.
    fn try_pop_or_sleep(
        &mut self,
        deadline: Deadline,
        mut has_news: impl FnMut(bool) -> bool,
        has_slept: bool,
        around: Option<AroundSleep<'_>>,
    ) -> Result<T, TryPopError> {
        let (parker, waiters) = (&self.shared.parker, &self.shared.rare.waiters);
        let last_wait = &self.shared.last_waits.consumer;
        let key = parker.prepare_wait();
        let mut may_sleep_unbounded = self.sees_each_push();
        let mut result = self.try_pop_again();
        let is_empty = matches!(result, Err(TryPopError::Empty));
        if is_empty {
            // W7: first one, and a nap; then all.
            let has_woken = waiters.notify_many(if has_slept { i32::MAX } else { 1 });
            may_sleep_unbounded &= has_slept || !has_woken;
            if !has_news(true) {
                let sleep = || parker.wait(key, deadline, may_sleep_unbounded);
                let mut sleep = || last_wait.time(sleep);
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
        self.shared.lanes().is_empty() || heavy_barrier()
    }
}

cfg_event_fd! {
    impl<T, S: Slots<Item = T>, B: Slots<Item = Entry<T>>> SharedConsumer<'_, S, B> {
        /// See [`Consumer::arm`](crate::Consumer::arm).
        pub(crate) fn arm(mut self) -> bool {
            let parker = &self.shared.parker;
            let key = parker.arm();
            let is_armed = self.sees_each_push()
                && parker.has_event_fd()
                && !self.lanes().has_news();
            if is_armed {
                // W7: as before a long sleep.
                self.shared.rare.waiters.notify_many(i32::MAX);
            } else {
                parker.cancel_wait(key);
            }
            is_armed
        }
    }
}

#[cfg(all(test, not(any(bywash_loom, bywash_steps))))]
mod tests {
    use std::thread;

    use super::*;
    use crate::slots::Inline;

    type Queue = Shared<Inline<u8, 1>, Inline<Entry<u8>, 0>>;

    #[test]
    fn a_push_is_overdue_that_waits_for_long_until_it_is_in_or_has_given_up() {
        let queue = Queue::new(Inline::new(), Inline::new());
        let waiters = &queue.rare.waiters;
        queue.try_push(1).unwrap();
        assert!(queue.push(2, || deadline_after(2 * LONGEST_WAIT_FOR_TURN)).is_err());
        assert!(!waiters.has_overdue());
        thread::scope(|scope| {
            let pushing = scope.spawn(|| queue.push(2, || None));
            while !waiters.has_overdue() {
                thread::yield_now();
            }
            // SAFETY: it is the only one.
            let item = unsafe { queue.consumer() }.try_pop();
            assert_eq!((item, pushing.join().unwrap()), (Ok(1), Ok(())));
        });
        assert!(!waiters.has_overdue());
    }
}
