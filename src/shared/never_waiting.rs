//! The calls that never wait.

#[cfg(feature = "alloc")]
use alloc::{collections::VecDeque, vec::Vec};

use super::{Shared, SharedConsumer};
use crate::lanes::Entry;
use crate::ring::{Claim, Refused, Slots};
use crate::{TryPopError, TryPushError};

impl Refused {
    /// The error of a push that was refused, with its item.
    pub(super) fn with<T>(self, item: T) -> TryPushError<T> {
        match self {
            Self::Full { .. } => TryPushError::Full(item),
            Self::Closed => TryPushError::Closed(item),
        }
    }
}

impl<T, S: Slots<Item = T>, B: Slots<Item = Entry<T>>> Shared<S, B> {
    /// See [`Producer::try_push`](crate::Producer::try_push).
    #[inline]
    pub(crate) fn try_push(&self, item: T) -> Result<(), TryPushError<T>> {
        match self.lanes().ring.claim(1) {
            Ok(claim) => {
                self.publish(claim, item);
                Ok(())
            }
            Err(Refused::Full { tail }) if self.node.members.may_be_member() => {
                self.try_push_bypass(item, tail)
            }
            Err(refused) => Err(refused.with(item)),
        }
    }

    /// See [`Producer::try_push_within`](crate::Producer::try_push_within).
    pub(crate) fn try_push_within(&self, item: T, limit: usize) -> Result<(), TryPushError<T>> {
        match self.lanes().ring.claim_within(limit as u64) {
            Ok(claim) => {
                self.publish(claim, item);
                Ok(())
            }
            Err(refused) => Err(refused.with(item)),
        }
    }

    /// See [`Producer::try_push_or_count`](crate::Producer::try_push_or_count).
    pub(crate) fn try_push_or_count(&self, item: T) -> Result<(), TryPushError<T>> {
        let result = self.try_push(item);
        if let Err(TryPushError::Full(_)) = result {
            self.count_lost();
        }
        result
    }

    /// Counts an item as lost that was refused just now.
    pub(super) fn count_lost(&self) {
        self.rare.lost.add(self.lanes().ring.claimed());
    }

    /// See [`Producer::try_push_many`](crate::Producer::try_push_many).
    #[cfg(feature = "alloc")]
    pub(crate) fn try_push_many(&self, items: &mut VecDeque<T>) -> Result<usize, TryPushError<()>> {
        let count = items.len();
        let mut result = Ok(());
        // More than once where there is room in the bypass, or in the ring by now.
        while !items.is_empty() && result.is_ok() {
            result = self.lanes().push_many(items, || self.node.members.is_member());
        }
        let pushed = count - items.len();
        if pushed != 0 {
            self.parker.notify();
        }
        match result {
            Err(refused) if pushed == 0 => Err(refused.with(())),
            _ => Ok(pushed),
        }
    }

    /// Publishes `item`, and wakes the consumer.
    #[inline]
    pub(super) fn publish(&self, claim: Claim<'_, S>, item: T) {
        claim.publish(item);
        self.parker.notify();
    }

    /// Pushes into the bypass if the calling thread must not wait for the consumer, after the ring
    /// was seen full at `tail`.
    #[cfg(feature = "std")]
    #[cold]
    #[inline(never)]
    pub(super) fn try_push_bypass(&self, item: T, tail: u64) -> Result<(), TryPushError<T>> {
        if !self.node.members.is_member() {
            return Err(TryPushError::Full(item));
        }
        self.push_bypass(item, tail).map_err(|(refused, item)| refused.with(item))
    }

    /// Pushes into the bypass after the ring was seen full at `tail`, and wakes the consumer.
    #[cfg(feature = "std")]
    pub(super) fn push_bypass(&self, item: T, tail: u64) -> Result<(), (Refused, T)> {
        self.lanes().push_bypass(item, tail)?;
        self.parker.notify();
        Ok(())
    }

    /// There are no members without `std`.
    #[cfg(not(feature = "std"))]
    fn try_push_bypass(&self, item: T, _tail: u64) -> Result<(), TryPushError<T>> {
        Err(TryPushError::Full(item))
    }
}

impl<T, S: Slots<Item = T>, B: Slots<Item = Entry<T>>> SharedConsumer<'_, S, B> {
    /// See [`Consumer::try_pop`](crate::Consumer::try_pop).
    #[inline]
    pub(crate) fn try_pop(self) -> Result<T, TryPopError> {
        self.pop_or(|mut consumer| {
            let result = consumer.poll_slow();
            if let Err(TryPopError::Empty) = result {
                consumer.pass_wake_on();
            }
            result
        })
    }

    /// Pops the next item off the fast path, and knows sooner if there is none.
    fn poll_slow(&mut self) -> Result<T, TryPopError> {
        let result = self.lanes().poll_slow();
        if result.is_ok() {
            self.shared.room_was_made();
        }
        result
    }

    /// Pops the next item, for a consumer that comes back when nothing is left.
    #[inline]
    pub(super) fn try_pop_again(&mut self) -> Result<T, TryPopError> {
        self.reborrow().pop_or(|mut consumer| consumer.try_pop_slow())
    }

    /// Pops the next item on the fast path, or returns what `slow` returns.
    #[inline]
    pub(super) fn pop_or<E>(mut self, slow: impl FnOnce(Self) -> Result<T, E>) -> Result<T, E> {
        let mut lanes = self.lanes();
        let Some(ready) = lanes.ready_slot() else {
            return slow(self);
        };
        let item = ready.take();
        self.shared.room_was_made();
        item
    }

    /// Pops the next item off the fast path.
    pub(super) fn try_pop_slow(&mut self) -> Result<T, TryPopError> {
        let result = self.lanes().try_pop_slow();
        if result.is_ok() {
            self.shared.room_was_made();
        }
        result
    }

    /// Before the consumer learns that nothing is left, W7.
    pub(super) fn pass_wake_on(&self) {
        self.shared.rare.waiters.notify_many(1);
    }

    /// See [`Consumer::try_pop_many`](crate::Consumer::try_pop_many).
    #[cfg(feature = "alloc")]
    pub(crate) fn try_pop_many(
        mut self,
        most: usize,
        buffer: &mut Vec<T>,
    ) -> Result<usize, TryPopError> {
        if most == 0 {
            return Ok(0);
        }
        let count = self.lanes().try_pop_many(most, buffer);
        match count {
            Ok(_) => self.shared.room_was_made(),
            Err(TryPopError::Empty) => self.pass_wake_on(),
            Err(TryPopError::Closed) => {}
        }
        count
    }

    /// See [`Consumer::visit`](crate::Consumer::visit).
    pub(crate) fn visit(mut self, visitor: impl FnMut(&T)) {
        self.lanes().visit(visitor);
    }

    /// See [`Consumer::take_lost`](crate::Consumer::take_lost).
    pub(crate) fn take_lost(mut self) -> u64 {
        self.shared.rare.lost.take(|tail| self.lanes().all_before_popped(tail))
    }

    /// See [`Consumer::recover`](crate::Consumer::recover).
    pub(crate) fn recover(mut self) -> usize {
        let count = self.lanes().give_up_claims();
        self.shared.parker.reset();
        self.shared.rare.waiters.reset();
        self.shared.node.members.renew();
        count as usize
    }

    /// How many are lost and not taken yet, wherever their place is.
    #[cfg(feature = "std")]
    pub(crate) fn lost(&self) -> u64 {
        self.shared.rare.lost.counts().1
    }

    /// As `take_lost`, wherever their place is.
    #[cfg(feature = "std")]
    pub(crate) fn take_all_lost(self) -> u64 {
        self.shared.rare.lost.take(|_| true)
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

    /// What is pushed from now on lies at or above these.
    #[cfg(feature = "std")]
    pub(crate) fn tails(mut self) -> crate::lanes::Tails {
        self.lanes().tails()
    }

    /// Whether nothing that is published lies below `tails`.
    #[cfg(feature = "std")]
    pub(crate) fn all_popped_below(mut self, tails: crate::lanes::Tails) -> bool {
        self.lanes().all_popped_below(tails)
    }
}
