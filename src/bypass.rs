//! The bypass: a second, small ring beside the ring, for pushes that must not wait, and one order
//! over both.
//!
//! While the ring is full, a push on the consumer's thread, or on one that the consumer depends on,
//! goes into the bypass. Who that is is not decided here. Since a consumer may move while its old
//! thread is inside such a push, several contexts may push into the bypass at once; so it is a ring
//! of the same kind.
//!
//! # Order
//!
//! An entry of the bypass carries `after`: the `claims` at which the ring was seen full. It stands
//! after the ring's indices below `after`, and before those from `after` on.
//!
//! * **B1** *Ring, then bypass.* If a push into the ring returned before one into the bypass began,
//!   its index is below the `after` that the latter read.
//! * **B2** *Bypass, then ring.* If a push into the bypass returned before one into the ring began,
//!   the latter claims an index not below that `after`.
//! * Within each lane the index decides. Two entries may carry an `after` that falls: the one with
//!   the smaller read it before the other claimed. The ring's indices between the two were claimed
//!   after that read, by pushes that run beside both; so any place among them will do for the
//!   second entry, and the one behind the first is as good as any.
//! * **B3** *Look again.* Only what was published is seen, so whichever item the consumer has
//!   found, another that stands before it may have been published meanwhile, by a push that
//!   returned before the found one began. But then it is visible since the stamp of the found one
//!   was read, with Acquire. So the consumer looks again at everything, until two looks in a row
//!   find the same: nothing that stands before it has finished. On the fast path, with the ring's
//!   head published, the only thing to look at is whether the bypass is empty, and it is looked at
//!   after the stamp: `claims` of the bypass must still be what it was when the slow path last left
//!   nothing in there, `quiet`.
//!
//! # Closing
//!
//! The ring is closed first and the bypass second; they open the other way round. A push into the
//! bypass that saw the ring full and open may still be refused by the bypass; and once both are
//! closed and empty nothing can come any more.

use crate::TryPopError;
use crate::ring::{Front, Ring, Slots};

#[cfg(feature = "std")]
use crate::TryPushError;
#[cfg(feature = "alloc")]
use {
    crate::ring::Refused,
    alloc::{collections::VecDeque, vec::Vec},
};

/// An item that went beside the ring.
#[allow(missing_debug_implementations, reason = "no user can name it")]
pub struct Entry<T> {
    /// How many indices of the ring had been claimed when it was seen full.
    after: u64,
    item: T,
}

/// The ring and the bypass beside it, in one order.
pub(crate) struct Lanes<'a, S, B> {
    pub(crate) ring: Ring<'a, S>,
    pub(crate) bypass: Ring<'a, B>,
}

impl<S, B> Clone for Lanes<'_, S, B> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S, B> Copy for Lanes<'_, S, B> {}

/// The tail index of the ring and of the bypass, at one moment.
#[cfg(all(feature = "std", not(loom)))]
#[derive(Clone, Copy)]
pub(crate) struct Tails {
    ring: u64,
    bypass: u64,
}

/// Where the consumer found the item that is next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Ring(u64),
    Bypass(u64),
}

impl<'a, T, S: Slots<Item = T>, B: Slots<Item = Entry<T>>> Lanes<'a, S, B> {
    /// Pushes into the bypass, after the ring was seen full at this very tail: B1, B2.
    #[cfg(feature = "std")]
    pub(crate) fn push_beside(self, item: T, after: u64) -> Result<(), TryPushError<T>> {
        match self.bypass.claim(1) {
            Ok(indices) => {
                // SAFETY: just claimed.
                unsafe { self.bypass.publish(indices.start, Entry { after, item }) };
                Ok(())
            }
            Err(Refused::Full { .. }) => Err(TryPushError::Full(item)),
            Err(Refused::Closed) => Err(TryPushError::Closed(item)),
        }
    }

    /// Pushes the first of `items`, as many as fit, or, where the ring is full and `may_bypass`
    /// says so, into the bypass.
    #[cfg(feature = "alloc")]
    pub(crate) fn push_many(
        self,
        items: &mut VecDeque<T>,
        may_bypass: impl FnOnce() -> bool,
    ) -> Result<(), Refused> {
        match self.ring.push_many(items, |item| item) {
            // B1, B2: this very `tail`.
            Err(Refused::Full { tail: after }) if may_bypass() => {
                self.bypass.push_many(items, |item| Entry { after, item })
            }
            result => result,
        }
    }

    /// Takes those items that lie in a row at the head of the ring and are next in order, `most` at
    /// most, or one from elsewhere.
    ///
    /// # Panics
    ///
    /// Where `buffer` becomes too large; nothing was taken then.
    ///
    /// # Safety
    ///
    /// The caller is the only consumer.
    #[cfg(feature = "alloc")]
    pub(crate) unsafe fn try_pop_many(
        self,
        most: usize,
        buffer: &mut Vec<T>,
    ) -> Result<usize, TryPopError> {
        // B3: the bypass is looked at after the last of the stamps.
        // SAFETY: the caller is the consumer; the capacity of the ring is not 0.
        match unsafe { self.ring.take_run(most as u64, || self.bypass.tail_word(), buffer) } {
            0 => {
                buffer.reserve(1);
                // SAFETY: the caller's.
                buffer.push(unsafe { self.try_pop_slow() }?);
                Ok(1)
            }
            count => Ok(count),
        }
    }

    /// Where the item lies that is next in order, if that is the head of the ring and plain to see.
    #[inline]
    pub(crate) fn front(self) -> Option<Front<'a, T>> {
        // B3, for the usual case.
        // SAFETY: the capacity of the ring is not 0.
        unsafe { self.ring.front(|| self.bypass.tail_word()) }
    }

    /// Takes the item that is next in order, of those whose push has finished. It looks until two
    /// looks in a row agree, B3.
    ///
    /// # Safety
    ///
    /// The caller is the only consumer.
    #[cold]
    #[inline(never)]
    pub(crate) unsafe fn try_pop_slow(self) -> Result<T, TryPopError> {
        let mut last = None;
        loop {
            // SAFETY: the caller's.
            let next = unsafe { self.look() };
            if next == last {
                break;
            }
            last = next;
        }
        let result = match last {
            // SAFETY: the caller is the consumer; `look` said so.
            Some(Place::Ring(index)) => Ok(unsafe { self.ring.take(index) }),
            // SAFETY: the caller is the consumer; `look` said so.
            Some(Place::Bypass(index)) => Ok(unsafe { self.bypass.take(index) }.item),
            None if self.is_finished() => Err(TryPopError::Closed),
            None => Err(TryPopError::Empty),
        };
        self.ring.settle(self.bypass.tail_word_if_empty());
        result
    }

    /// Whether a pop would not say `Empty`.
    ///
    /// # Safety
    ///
    /// The caller is the only consumer.
    #[cfg(all(feature = "eventfd", target_os = "linux", not(any(loom, bywash_portable))))]
    pub(crate) unsafe fn has_news(self) -> bool {
        // SAFETY: the caller's.
        unsafe { self.look() }.is_some() || self.is_finished()
    }

    /// Whether nothing is to be popped that was pushed before the ring's `claims` were `tail`.
    ///
    /// # Safety
    ///
    /// The caller is the only consumer.
    pub(crate) unsafe fn is_past(self, tail: u64) -> bool {
        // SAFETY: the caller's.
        match unsafe { self.look() } {
            Some(Place::Ring(index)) => index >= tail,
            // SAFETY: the caller is the consumer; `look` said so.
            Some(Place::Bypass(index)) => unsafe {
                self.bypass.peek(index, |entry| entry.after > tail)
            },
            None => true,
        }
    }

    /// What is pushed from now on lies at or above these.
    #[cfg(all(feature = "std", not(loom)))]
    pub(crate) fn tails(self) -> Tails {
        Tails { ring: self.ring.claimed(), bypass: self.bypass.claimed() }
    }

    /// Whether nothing that is published lies below `tails`.
    ///
    /// # Safety
    ///
    /// The caller is the only consumer.
    #[cfg(all(feature = "std", not(loom)))]
    pub(crate) unsafe fn all_popped_below(self, tails: Tails) -> bool {
        self.ring.find().is_none_or(|index| index >= tails.ring)
            && self.bypass.find().is_none_or(|index| index >= tails.bypass)
    }

    /// Whether both are closed and empty, and so for good.
    fn is_finished(self) -> bool {
        self.ring.is_finished() && self.bypass.is_finished()
    }

    /// The first published item of each lane, and of the two the one that stands before the other.
    ///
    /// # Safety
    ///
    /// The caller is the only consumer.
    unsafe fn look(self) -> Option<Place> {
        let ring = self.ring.find();
        let Some(beside) = self.bypass.find() else {
            return ring.map(Place::Ring);
        };
        match ring {
            // SAFETY: the caller is the consumer; `find` said so.
            Some(index) if index < unsafe { self.bypass.peek(beside, |entry| entry.after) } => {
                Some(Place::Ring(index))
            }
            _ => Some(Place::Bypass(beside)),
        }
    }

    /// Refuses every push from now on.
    pub(crate) fn close(self) {
        self.ring.close();
        self.bypass.close();
    }

    /// Takes `close` back.
    pub(crate) fn reopen(self) {
        self.bypass.reopen();
        self.ring.reopen();
    }

    pub(crate) fn capacity(self) -> usize {
        self.ring.capacity() as usize
    }

    pub(crate) fn len(self) -> usize {
        (self.ring.len() + self.bypass.len()) as usize
    }

    pub(crate) fn is_full(self) -> bool {
        self.ring.is_full()
    }

    pub(crate) fn is_closed(self) -> bool {
        self.ring.is_closed()
    }

    /// Whether nothing is claimed that was not released.
    pub(crate) fn is_empty(self) -> bool {
        self.ring.is_empty() && self.bypass.is_empty()
    }

    pub(crate) fn bypassed(self) -> u64 {
        self.bypass.claimed()
    }
}
