//! The calls that wait for so long at most. A timeout of zero tries once, and asks no clock: some
//! targets have none.

use core::time::Duration;

use super::{Shared, SharedConsumer};
use crate::lanes::Entry;
use crate::ring::Slots;
use crate::wait::deadline_after;
use crate::{PopTimeoutError, PushTimeoutError};

impl<T, S: Slots<Item = T>, B: Slots<Item = Entry<T>>> Shared<S, B> {
    /// See [`Producer::push_timeout`](crate::Producer::push_timeout).
    #[inline]
    pub(crate) fn push_timeout(
        &self,
        item: T,
        timeout: Duration,
    ) -> Result<(), PushTimeoutError<T>> {
        if !timeout.is_zero() {
            return self.push(item, || deadline_after(timeout));
        }
        self.push_now(item).map_err(|error| match error {
            PushTimeoutError::Timeout(item) if self.node.members.must_not_wait() => {
                PushTimeoutError::WouldDeadlock(item)
            }
            error => error,
        })
    }

    /// See [`Producer::push_timeout_or_count`](crate::Producer::push_timeout_or_count).
    pub(crate) fn push_timeout_or_count(
        &self,
        item: T,
        timeout: Duration,
    ) -> Result<(), PushTimeoutError<T>> {
        let result = self.push_timeout(item, timeout);
        if let Err(PushTimeoutError::Timeout(_) | PushTimeoutError::WouldDeadlock(_)) = result {
            self.count_lost();
        }
        result
    }
}

impl<T, S: Slots<Item = T>, B: Slots<Item = Entry<T>>> SharedConsumer<'_, S, B> {
    /// See [`Consumer::pop_timeout`](crate::Consumer::pop_timeout).
    #[inline]
    pub(crate) fn pop_timeout(self, timeout: Duration) -> Result<T, PopTimeoutError> {
        if !timeout.is_zero() {
            return self.pop(|| deadline_after(timeout), |_| false, |error| error);
        }
        self.pop_or(|mut consumer| {
            consumer.try_pop_slow().map_err(|error| consumer.found_nothing(error))
        })
    }
}
