//! How a push gets its place, from top to bottom.
//!
//! 1. It claims in the ring (`push.rs`, `ring.rs`). If there is room, nothing of this file runs.
//! 2. The ring is full. A thread that must not wait for the consumer (`threads/members.rs`) claims
//!    in the bypass, or is refused.
//! 3. Any other waits, if its caller has patience. First it tries for a while, awake
//!    (`sleep/backoff.rs`).
//! 4. Then it *registers*, so that pops look for sleepers. Before each sleep it announces the
//!    sleep, looks once more whether there is room (`sleep/mod.rs` says why no wake is lost),
//!    whether the consumer is in this process (`threads/fork.rs`), and whether its wait would close
//!    a cycle of waits (`cycles.rs`): then it takes what a member may take, or is refused.
//!
//! `push_or_sleep` sleeps at most once a call. It spends no time awake, because others may need
//! what its caller holds, and takes no nap first (W2), because the nap would be its one sleep.
//! Between two calls the thread has no edge in the graph of waits. G3 holds all the same: it speaks
//! of threads that sleep, and each has published its edge and looked before that very sleep.

use core::ops::Range;

use super::Core;
use crate::ring::NotClaimed;

#[cfg(feature = "std")]
use {
    crate::cycles::{Answer, Wait},
    crate::long_wait::Watch,
    crate::sleep::{
        AroundSleep, Deadline, Naps, OVERDUE_AFTER, Patience, heavy_barrier, is_over, sleep_briefly,
    },
    std::time::Instant,
};

/// Indices that were claimed, each with the right to publish an item there, once (R1).
#[derive(Debug, PartialEq, Eq)]
#[must_use = "what is claimed and never published keeps its slot"]
pub(crate) struct Claim {
    pub(super) indices: Range<u64>,
    /// `None` in the ring. In the bypass, what the entries carry: the tail index at which the ring
    /// was seen full.
    pub(super) after: Option<u64>,
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// There was none, or none in time.
    Full,
    /// To wait for one would never end.
    #[cfg_attr(not(feature = "std"), allow(dead_code, reason = "nothing waits"))]
    WouldDeadlock,
    Closed,
}

impl From<NotClaimed> for Refusal {
    #[inline]
    fn from(refused: NotClaimed) -> Self {
        match refused {
            NotClaimed::Full { .. } => Self::Full,
            NotClaimed::Closed => Self::Closed,
        }
    }
}

impl Core<'_> {
    /// Claims places, `most` or as many as there is room for; in the bypass where the ring is full
    /// and the thread is a member. Never waits.
    #[cfg(feature = "alloc")]
    pub(super) fn reserve(&self, most: u64) -> Result<Claim, Refusal> {
        self.reserve_either(most, || self.members.is_member())
    }

    #[cfg(feature = "alloc")]
    fn reserve_either(
        &self,
        most: u64,
        may_bypass: impl FnOnce() -> bool,
    ) -> Result<Claim, Refusal> {
        let ring = self.lane();
        match ring.claim(most.min(ring.capacity())) {
            Ok(indices) => Ok(Claim { indices, after: None }),
            Err(NotClaimed::Full { tail }) if may_bypass() => self.reserve_bypass(tail, most),
            Err(refused) => Err(refused.into()),
        }
    }

    /// Claims in the bypass where the thread is a member, after the ring was seen full at `tail`.
    pub(super) fn reserve_bypass_if_member(&self, tail: u64, most: u64) -> Result<Claim, Refusal> {
        if self.members.is_member() { self.reserve_bypass(tail, most) } else { Err(Refusal::Full) }
    }

    /// Claims in the bypass, after the ring was seen full at the tail index `after`: B1, B2.
    fn reserve_bypass(&self, after: u64, most: u64) -> Result<Claim, Refusal> {
        debug_assert!(after <= self.lane().claimed(), "B1: a tail that never was");
        let bypass = self.bypass_lane();
        // At least one, so that a bypass without slots says that it is full.
        let indices = bypass.claim(most.min(bypass.capacity()).max(1))?;
        Ok(Claim { indices, after: Some(after) })
    }
}

#[cfg(feature = "std")]
impl Core<'_> {
    /// Hands back what was `tried`, or, if the ring was full, waits for a place as long as the
    /// patience lasts, but not where that could never end. Publish before the second is dropped.
    #[cold]
    pub(super) fn wait_if_full(
        &self,
        tried: Result<Claim, Refusal>,
        most: u64,
        patience: Patience,
        around: Option<AroundSleep<'_>>,
    ) -> Result<(Claim, Option<Registered<'_>>), Refusal> {
        if tried != Err(Refusal::Full) {
            return Ok((tried?, None));
        }
        if self.members.is_member_or_joining() {
            return Err(Refusal::WouldDeadlock);
        }
        let Patience::Until(deadline) = patience else {
            return Err(Refusal::Full);
        };
        if around.is_none() {
            let tried = self.reserve_awake(most, deadline);
            if tried != Err(Refusal::Full) {
                return Ok((tried?, None));
            }
        }
        if is_over(deadline) {
            return Err(Refusal::Full);
        }
        self.rare.waiters.register();
        // Also if `around` panics; and after the edge was withdrawn, G2.
        let registered = Registered { core: self };
        let mut wait = Wait::for_room(&self.members, deadline.is_some());
        let claim = self.reserve_asleep(most, deadline, &mut wait, around)?;
        Ok((claim, Some(registered)))
    }

    /// Tries until it is time to sleep, and returns `Full` then.
    fn reserve_awake(&self, most: u64, deadline: Deadline) -> Result<Claim, Refusal> {
        let mut backoff = self.last_waits.producers.before_push();
        while !is_over(deadline) && backoff.pause() {
            let tried = self.reserve(most);
            if tried != Err(Refusal::Full) {
                return tried;
            }
        }
        Err(Refusal::Full)
    }

    /// Sleeps and tries again, while registered.
    fn reserve_asleep(
        &self,
        most: u64,
        deadline: Deadline,
        wait: &mut Wait<'_>,
        mut around: Option<AroundSleep<'_>>,
    ) -> Result<Claim, Refusal> {
        let (waiters, head) = (&self.rare.waiters, &self.head);
        let (last_wait, capacity) = (&*self.last_waits.producers, self.lane().capacity());
        // No nap first for a thread that sleeps only once. None for a thread that may be on a cycle
        // either: until the nap is over, the next one that looks would not find its edge. In a
        // model naps do not end.
        let naps_first = around.is_none() && !wait.may_be_on_cycle() && !cfg!(bywash_loom);
        let mut is_nap = naps_first;
        let (mut was_notified, mut has_napped) = (false, false);
        let mut answer = Answer::AskAgain;
        let mut naps = Naps::new();
        let mut watch = Watch::begin();
        let (began, mut overdue) = (Instant::now(), None);
        loop {
            // W9. A model has no clock: there, in a ring of two, who was woken in vain is overdue.
            let has_waited_long = || match cfg!(bywash_loom) {
                true => was_notified && capacity == 2,
                false => began.elapsed() >= OVERDUE_AFTER,
            };
            if overdue.is_none() && has_waited_long() {
                overdue = Some(waiters.overdue());
            }
            watch.look(|since| {
                // The hook may push into another queue.
                wait.withdraw();
                self.long_wait(since)
            });
            let announced = waiters.prepare_wait(overdue.is_some());
            // W2: the barrier is expensive. So first a nap, and a producer that is woken meanwhile
            // does without.
            let may_sleep_unbounded = !is_nap && heavy_barrier();
            // G1: while there is no room, there is nothing to try.
            if !self.must_wait() {
                wait.withdraw();
                let tried = self.reserve(most);
                if tried != Err(Refusal::Full) {
                    return tried;
                }
            }
            // W10: the push that has filled the ring may have been stopped before it did.
            self.parker.end_linger();
            // Without a barrier, a nap takes much longer than any store is on its way.
            if (may_sleep_unbounded || has_napped) && self.must_wait() {
                wait.settle();
            }
            if is_over(deadline) {
                return Err(Refusal::Full);
            }
            // F3, F4: here, and not before the loop, as a signal handler may fork during a sleep.
            if self.members.consumer_is_gone() {
                return Err(Refusal::WouldDeadlock);
            }
            // A wait without a deadline looks before each sleep, G3. With one, what counts is
            // whether it closed a cycle when it began.
            if deadline.is_none() || answer == Answer::AskAgain {
                answer = wait.look(|| self.must_wait());
            }
            let end = match answer {
                Answer::Never => return self.reserve_as_member(most),
                Answer::AskAgain if cfg!(bywash_loom) => {
                    sleep_briefly();
                    continue;
                }
                Answer::AskAgain => naps.next_end(deadline),
                Answer::Ends => deadline,
            };
            let mut sleep = || {
                let sleep = || announced.wait(end, may_sleep_unbounded);
                was_notified = last_wait.time(capacity, || head.index(), sleep);
            };
            if let Some(around) = &mut around {
                around(&mut sleep);
                wait.withdraw();
                return self.reserve(most);
            }
            sleep();
            is_nap = naps_first && was_notified;
            has_napped |= !was_notified;
            // Slots are freed meanwhile. With many others it may take some tries to get one, which
            // cost less than to sleep again.
            if was_notified {
                wait.withdraw();
                let tried = self.reserve_awake(most, deadline);
                if tried != Err(Refusal::Full) {
                    return tried;
                }
            }
        }
    }

    /// Reserves where waiting for the consumer could never end.
    fn reserve_as_member(&self, most: u64) -> Result<Claim, Refusal> {
        match self.reserve_either(most, || true) {
            Err(Refusal::Full) => Err(Refusal::WouldDeadlock),
            result => result,
        }
    }

    /// Whether there is no room, and the queue is open. Notes it for the graph of waits, G2.
    fn must_wait(&self) -> bool {
        let full_at = self.lane().full_at().filter(|_| !self.is_closed());
        if let Some(head) = full_at {
            self.members.note_full(head);
        }
        full_at.is_some()
    }

    /// Waits until `is_taken`, for the timeout at most, and not where the consumer cannot come:
    /// while the calling thread waits, or because it is not in this process.
    pub(super) fn wait_until_taken(
        &self,
        is_taken: &dyn Fn() -> bool,
        timeout: core::time::Duration,
    ) -> bool {
        let patience = Patience::new(timeout);
        loop {
            if is_taken() {
                return true;
            }
            let members = &self.members;
            if patience.is_over() || members.is_member() || members.consumer_is_gone() {
                return false;
            }
            sleep_briefly();
        }
    }
}

/// A producer that is registered: pops look for it. When dropped, it passes the wake on if there is
/// room. What it has claimed is published before, as another that runs at once would stand before a
/// slot that is not.
#[cfg(feature = "std")]
pub(super) struct Registered<'a> {
    core: &'a Core<'a>,
}

#[cfg(feature = "std")]
impl Drop for Registered<'_> {
    fn drop(&mut self) {
        self.core.rare.waiters.deregister(|| !self.core.must_wait());
    }
}

#[cfg(all(test, feature = "std", not(any(bywash_loom, bywash_steps))))]
mod tests {
    use std::thread;

    use super::*;
    use crate::PushTimeoutError;
    use crate::lanes::Entry;
    use crate::shared::{Places, Shared};
    use crate::slots::Inline;

    type Queue = Shared<Places<Inline<u8, 1>, Inline<Entry<u8>, 0>>>;

    fn push(queue: &Queue, patience: Patience) -> Result<(), Refusal> {
        queue.push(2, || patience, |refusal, _| refusal)
    }

    #[test]
    fn a_push_is_overdue_that_waits_for_long_until_it_is_in_or_has_given_up() {
        let queue = Queue::new(Inline::new(), Inline::new());
        let waiters = &queue.rare.waiters;
        queue.try_push(1).unwrap();
        assert_eq!(push(&queue, Patience::new(2 * OVERDUE_AFTER)), Err(Refusal::Full));
        assert!(!waiters.has_overdue());
        thread::scope(|scope| {
            let pushing = scope.spawn(|| push(&queue, Patience::Until(None)));
            while !waiters.has_overdue() {
                thread::yield_now();
            }
            // SAFETY: it is the only one.
            let item = unsafe { queue.reader() }.try_pop();
            assert_eq!((item, pushing.join().unwrap()), (Ok(1), Ok(())));
        });
        assert!(!waiters.has_overdue());
    }

    /// C7: not even where the ring is full of pushes that were stopped. A consumer that finds
    /// nothing wakes those who wait for room, so they must not wake it: neither would ever sleep.
    #[test]
    fn a_push_that_waits_wakes_a_consumer_that_lingers_and_no_other() {
        let queue = Queue::new(Inline::new(), Inline::new());
        let (parker, mut sleeps) = (&queue.parker, 0);
        let mut push = || queue.push_or_sleep(2, None, &mut |_| sleeps += 1);
        drop(queue.ring().claim(1));
        let key = parker.prepare_wait();
        assert_eq!(push(), Err(PushTimeoutError::Timeout(2)));
        assert_eq!(parker.prepare_wait(), key);
        let key = parker.prepare_linger();
        assert_eq!(push(), Err(PushTimeoutError::Timeout(2)));
        assert_ne!(parker.prepare_linger(), key);
        assert_eq!(sleeps, 2);
    }
}
