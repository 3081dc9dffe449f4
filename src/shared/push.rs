//! Puts items into places. An item stays with the caller until there is a place for it.

use core::iter;

#[cfg(feature = "alloc")]
use alloc::collections::VecDeque;

use super::reserve::Claim;
use super::{Places, Refusal, Shared};
use crate::TryPushError;
use crate::lanes::Entry;
use crate::ring::{NotClaimed, Slots};

#[cfg(feature = "std")]
use {
    crate::sleep::{AroundSleep, Deadline, Patience},
    crate::{PushError, PushTimeoutError},
    core::time::Duration,
};

impl<T, S: Slots<Item = T>, B: Slots<Item = Entry<T>>> Shared<Places<S, B>> {
    /// See [`Producer::try_push`](crate::Producer::try_push).
    #[inline]
    pub(crate) fn try_push(&self, item: T) -> Result<(), TryPushError<T>> {
        match self.ring().claim(1) {
            Ok(claimed) => {
                self.publish_in_ring(claimed.start, item);
                Ok(())
            }
            Err(NotClaimed::Full { tail }) if self.members.may_be_member() => {
                self.push_bypass(tail, item)
            }
            Err(refused) => Err(Refusal::from(refused).try_push(item)),
        }
    }

    /// Pushes into the bypass where the thread is a member, after the ring was seen full at `tail`.
    #[cold]
    #[inline(never)]
    fn push_bypass(&self, tail: u64, item: T) -> Result<(), TryPushError<T>> {
        match self.core().reserve_bypass_if_member(tail, 1) {
            Ok(claim) => self.publish_one(claim, item),
            Err(refusal) => return Err(refusal.try_push(item)),
        }
        Ok(())
    }

    /// See [`Producer::try_push_within`](crate::Producer::try_push_within).
    pub(crate) fn try_push_within(&self, item: T, limit: usize) -> Result<(), TryPushError<T>> {
        match self.ring().claim_within(limit as u64) {
            Ok(claimed) => self.publish_in_ring(claimed.start, item),
            Err(refused) => return Err(Refusal::from(refused).try_push(item)),
        }
        Ok(())
    }

    /// See [`Producer::try_push_or_count`](crate::Producer::try_push_or_count).
    pub(crate) fn try_push_or_count(&self, item: T) -> Result<(), TryPushError<T>> {
        let result = self.try_push(item);
        if let Err(TryPushError::Full(_)) = result {
            self.core().count_lost();
        }
        result
    }

    /// See [`Producer::try_push_many`](crate::Producer::try_push_many).
    #[cfg(feature = "alloc")]
    pub(crate) fn try_push_many(&self, items: &mut VecDeque<T>) -> Result<usize, TryPushError<()>> {
        let count = items.len();
        // More than once where there is room in the bypass, or in the ring by now.
        while !items.is_empty() {
            match self.core().reserve(items.len() as u64) {
                Ok(claim) => self.publish_first(claim, items),
                Err(refusal) if items.len() == count => return Err(refusal.try_push(())),
                Err(_) => break,
            }
        }
        Ok(count - items.len())
    }

    /// Publishes `item` at an index of the ring that is claimed, and wakes the consumer.
    #[inline]
    fn publish_in_ring(&self, index: u64, item: T) {
        // SAFETY: it is claimed.
        unsafe { self.ring().publish(index, item) };
        self.notify_consumer();
    }

    fn publish_one(&self, claim: Claim, item: T) {
        self.publish(claim, iter::once(item));
    }

    /// Publishes the first of `items`, as many as were claimed.
    #[cfg(feature = "alloc")]
    fn publish_first(&self, claim: Claim, items: &mut VecDeque<T>) {
        let count = (claim.indices.end - claim.indices.start) as usize;
        self.publish(claim, items.drain(..count));
    }

    /// Publishes an item for each index that was claimed, and wakes the consumer.
    fn publish(&self, Claim { indices, after }: Claim, items: impl Iterator<Item = T>) {
        for (index, item) in indices.zip(items) {
            match after {
                // SAFETY: it is claimed, and published once.
                None => unsafe { self.ring().publish(index, item) },
                // SAFETY: as above.
                Some(after) => unsafe { self.bypass().publish(index, Entry { after, item }) },
            }
        }
        self.notify_consumer();
    }
}

#[cfg(feature = "std")]
impl<T, S: Slots<Item = T>, B: Slots<Item = Entry<T>>> Shared<Places<S, B>> {
    /// Pushes, and waits for room as long as the patience lasts, but not where waiting could never
    /// end.
    #[inline]
    pub(crate) fn push<E>(
        &self,
        item: T,
        patience: impl FnOnce() -> Patience,
        error: fn(Refusal, T) -> E,
    ) -> Result<(), E> {
        match self.ring().claim(1) {
            Ok(claimed) => {
                self.publish_in_ring(claimed.start, item);
                Ok(())
            }
            Err(NotClaimed::Full { tail }) => self.push_slow(tail, item, patience(), error),
            Err(NotClaimed::Closed) => Err(error(Refusal::Closed, item)),
        }
    }

    #[cold]
    fn push_slow<E>(
        &self,
        tail: u64,
        item: T,
        patience: Patience,
        error: fn(Refusal, T) -> E,
    ) -> Result<(), E> {
        let core = self.core();
        match core.wait_if_full(core.reserve_bypass_if_member(tail, 1), 1, patience, None) {
            Ok((claim, _registered)) => self.publish_one(claim, item),
            Err(refusal) => return Err(error(refusal, item)),
        }
        Ok(())
    }

    /// See [`Producer::push_timeout_or_count`](crate::Producer::push_timeout_or_count).
    pub(crate) fn push_timeout_or_count(
        &self,
        item: T,
        timeout: Duration,
    ) -> Result<(), PushTimeoutError<T>> {
        let result = self.push(item, || Patience::new(timeout), Refusal::push_timeout);
        if let Err(PushTimeoutError::Timeout(_) | PushTimeoutError::WouldDeadlock(_)) = result {
            self.core().count_lost();
        }
        result
    }

    /// See [`Producer::push_or_sleep`](crate::Producer::push_or_sleep).
    pub(crate) fn push_or_sleep(
        &self,
        item: T,
        deadline: Deadline,
        around: AroundSleep<'_>,
    ) -> Result<(), PushTimeoutError<T>> {
        let core = self.core();
        match core.wait_if_full(core.reserve(1), 1, Patience::Until(deadline), Some(around)) {
            Ok((claim, _registered)) => self.publish_one(claim, item),
            Err(refusal) => return Err(refusal.push_timeout(item)),
        }
        Ok(())
    }

    /// See [`Producer::push_many`](crate::Producer::push_many).
    pub(crate) fn push_many(&self, items: &mut VecDeque<T>) -> Result<(), PushError<()>> {
        while !items.is_empty() {
            let (core, most) = (self.core(), items.len() as u64);
            match core.wait_if_full(core.reserve(most), most, Patience::Until(None), None) {
                Ok((claim, _registered)) => self.publish_first(claim, items),
                Err(refusal) => return Err(refusal.push(())),
            }
        }
        Ok(())
    }

    /// See [`Producer::try_push_and_wait`](crate::Producer::try_push_and_wait).
    pub(crate) fn try_push_and_wait(
        &self,
        item: T,
        timeout: Duration,
    ) -> Result<bool, TryPushError<T>> {
        let claim = match self.core().reserve(1) {
            Ok(claim) => claim,
            Err(refusal) => return Err(refusal.try_push(item)),
        };
        let (index, is_in_ring) = (claim.indices.start, claim.after.is_none());
        self.publish_one(claim, item);
        self.parker.end_linger_now();
        let is_taken = || self.ring().is_taken(index);
        Ok(is_in_ring && self.core().wait_until_taken(&is_taken, timeout))
    }
}
