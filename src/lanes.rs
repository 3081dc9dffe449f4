//! The two lanes of a queue, ring and bypass, and the one order over both.
//!
//! While the ring is full, a push on the consumer's thread or in its domain goes into the bypass.
//! `domain.rs` says which threads these are. A consumer may move to another thread while its old
//! thread is inside such a push, so several threads may push into the bypass at once. So the bypass
//! is a ring of the same kind.
//!
//! # Order
//!
//! An entry of the bypass carries `after`: the tail index of the ring at which the ring was seen
//! full. The entry comes after the ring's indices below `after`, and before those from `after` on.
//!
//! * **B1** *Ring, then bypass.* If a push into the ring returned before a push into the bypass
//!   began, its index is below the `after` that the second push read.
//! * **B2** *Bypass, then ring.* If a push into the bypass returned before a push into the ring
//!   began, the second push claims an index not below that `after`.
//! * Within each lane the index decides. Of two entries of the bypass, the one with the larger
//!   index may carry the smaller `after`: it read its `after` before the other one claimed. The
//!   ring's indices between the two were claimed after that read, by pushes that run beside both.
//!   So any place among those indices will do for the second entry, and the place right behind the
//!   first entry is as good as any.
//! * **B3** *Look again.* The consumer sees only what is published. When it has found an item, an
//!   earlier one may have been published meanwhile, by a push that returned before the push of the
//!   found item began. But that push is visible once the stamp of the found item was read with
//!   Acquire. So the consumer looks again at everything, until two looks in a row find the same
//!   item: then no earlier push has finished. On the fast path, the item at the head of the ring is
//!   published, and the consumer only has to look whether the bypass is empty, after it has read
//!   the stamp: the tail word of the bypass must still be `bypass_tail_when_empty`, the word at
//!   which the slow path last left the bypass empty. A consumer that polls, and mostly finds
//!   nothing, looks at the two tails first: if the ring is open and its tail is at the head, and
//!   the tail word of the bypass is `bypass_tail_when_empty`, then both were empty when the first
//!   of the two tails was read, whichever that was, as tail indices only grow.
//!
//! # How large a bypass is never full
//!
//! **B4** *Let the handling of an item from outside push at most `k` items, and that of an own item
//! none. Then a bypass of `k * (capacity + 1)` slots refuses no push.*
//!
//! Own items are those that were pushed by members: on the consumer's thread or in its domain. The
//! others, from outside, are in the ring. (A push from outside that would close a cycle of waits,
//! `cycles.rs`, takes a slot of the bypass on top.) The consumer handles an item at a time: it
//! pops, and what the members push for that item returns before the next pop, whether into ring or
//! bypass.
//!
//! Look at the moment when the bypass is tried for an item `y` that is being handled. If the bypass
//! is empty, there is room. Otherwise let `e` be the oldest entry in it, and `t` its `after`.
//!
//! 1. When `e` was pushed, `t <= head + capacity` (R4). So at most `capacity` of the ring's indices
//!    below `t` held an item that had not been popped. No others will: those from `t` on are not
//!    below it.
//! 2. From then on until now, the consumer popped from the ring only below `t`: `e` was published
//!    before the pop, so an item from `t` on would have come after it, and `e` is still here. It
//!    may have popped out of turn, past stopped producers, but each index once (R3). So it popped
//!    at most `capacity` items from the ring.
//! 3. Every other entry is younger than `e`, as the entries are popped by index, none of which is
//!    unpublished at a pop. It was pushed for the item that `e` was pushed for, or for one that was
//!    popped after `e` was pushed. Items popped from the bypass were own ones, for which nothing is
//!    pushed. So all entries were pushed for the item of `e` and for those of (2).
//!
//! These are `capacity + 1` items, with `y` among them, and at most `k` pushes each. So this push
//! is one of at most `k * (capacity + 1)` that are in the bypass after it: there is a slot. And no
//! slot in use is without an entry, because the entries are popped in a row.
//!
//! It takes no less: in a ring that others fill again after each pop, the first item's pushes go
//! into the bypass, then those of the `capacity` items that were behind it, and only then comes the
//! first entry out. A stopped producer changes nothing: it keeps the ring full with fewer items in
//! it.
//!
//! If the consumer pops up to `m` items at once and handles them then, up to `m - 1` of those
//! popped before `e` was pushed are handled after it: `k * (capacity + m)`.
//!
//! # Closing
//!
//! `close` closes the ring first and the bypass second; `reopen` goes the other way round. A push
//! into the bypass that saw the ring full and open may still be refused by the bypass. Once both
//! lanes are closed and empty, nothing can come any more.
//!
//! **B5** *Pushers close the ring alone* (`close_ring`), in one step: a pusher of a static queue
//! that is stopped in the middle cannot close half a queue that the next consumer has reopened. The
//! consumer closes the bypass when it finds the ring closed and empty, and then looks at the bypass
//! once more.

use core::hint;

use crate::TryPopError;
use crate::ring::{ReadySlot, Ring, RingConsumer, Slots};
use crate::sync::IS_ONE_CORE;

#[cfg(feature = "alloc")]
use {
    crate::ring::Refused,
    alloc::{collections::VecDeque, vec::Vec},
};

/// An item in the bypass.
#[allow(missing_debug_implementations, reason = "no user can name it")]
pub struct Entry<T> {
    /// The tail index of the ring when the ring was seen full.
    after: u64,
    item: T,
}

/// Ring and bypass, as producers and onlookers see them.
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

impl<T, S: Slots<Item = T>, B: Slots<Item = Entry<T>>> Lanes<'_, S, B> {
    /// Pushes into the bypass, after the ring was seen full at the tail index `after`: B1, B2.
    #[cfg(feature = "std")]
    pub(crate) fn push_bypass(self, item: T, after: u64) -> Result<(), (Refused, T)> {
        debug_assert!(after <= self.ring.claimed(), "B1: a tail that never was");
        match self.bypass.claim(1) {
            Ok(claim) => {
                claim.publish(Entry { after, item });
                Ok(())
            }
            Err(refused) => Err((refused, item)),
        }
    }

    /// Pushes the first of `items`, as many as fit; into the bypass where the ring is full and
    /// `may_bypass` says so.
    #[cfg(feature = "alloc")]
    pub(crate) fn push_many(
        self,
        items: &mut VecDeque<T>,
        may_bypass: impl FnOnce() -> bool,
    ) -> Result<(), Refused> {
        match self.ring.push_many(items, |item| item) {
            // B1, B2: at this very tail.
            Err(Refused::Full { tail: after }) if may_bypass() => {
                self.bypass.push_many(items, |item| Entry { after, item })
            }
            result => result,
        }
    }

    /// Refuses every push from now on.
    pub(crate) fn close(self) {
        self.ring.close();
        self.bypass.close();
    }

    /// Refuses every push from now on, as soon as those have ended that saw the ring full: B5.
    pub(crate) fn close_ring(self) {
        self.ring.close();
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

    /// Whether no slot is in use.
    pub(crate) fn is_empty(self) -> bool {
        self.ring.is_empty() && self.bypass.is_empty()
    }

    /// How many items have left the ring. Those popped ahead of a stopped push do not count yet.
    #[cfg(feature = "std")]
    pub(crate) fn popped(self) -> u64 {
        self.ring.head.index()
    }

    /// How many items have gone through the bypass.
    pub(crate) fn bypassed(self) -> u64 {
        self.bypass.claimed()
    }
}

/// Where the next item in order is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Position {
    Ring(u64),
    Bypass(u64),
}

/// The tail indices of both lanes at one moment.
#[cfg(feature = "std")]
#[derive(Clone, Copy)]
pub(crate) struct Tails {
    ring: u64,
    bypass: u64,
}

/// Ring and bypass, as their consumer sees them.
pub(crate) struct LanesConsumer<'a, S, B> {
    ring: RingConsumer<'a, S>,
    bypass: RingConsumer<'a, B>,
}

impl<'a, T, S: Slots<Item = T>, B: Slots<Item = Entry<T>>> LanesConsumer<'a, S, B> {
    /// # Safety
    ///
    /// As [`RingConsumer::new`], for both lanes.
    #[inline]
    pub(crate) unsafe fn new(lanes: Lanes<'a, S, B>) -> Self {
        // SAFETY: the caller guarantees it.
        let ring = unsafe { RingConsumer::new(lanes.ring) };
        // SAFETY: the caller guarantees it.
        let bypass = unsafe { RingConsumer::new(lanes.bypass) };
        Self { ring, bypass }
    }

    /// The slot at the head of the ring, if its item is published and plainly the next in order.
    #[inline]
    pub(crate) fn ready_slot(&mut self) -> Option<ReadySlot<'_, T>> {
        let bypass = self.bypass.ring();
        // B3, for the fast path.
        self.ring.ready_slot(|| bypass.tail_word())
    }

    /// As `try_pop_slow`, but looks first whether both lanes are plainly empty, B3; and pauses
    /// close behind a push, once.
    #[cold]
    #[inline(never)]
    pub(crate) fn poll_slow(&mut self) -> Result<T, TryPopError> {
        /// Fewer items since the last poll are no stream: a thread may wait for an answer to each.
        const SEVERAL: u64 = 2;
        /// 0.1 to 0.3 µs, in which producers finish several items; less if there is not as much
        /// room.
        const MOST_PAUSES: u64 = 6;

        let bypass = self.bypass.ring();
        let popped = self.ring.popped_since_poll();
        if self.ring.is_plainly_empty(|| bypass.tail_word()) {
            return Err(TryPopError::Empty);
        }
        if popped >= SEVERAL && !IS_ONE_CORE && !cfg!(any(bywash_loom, bywash_steps)) {
            let pauses = MOST_PAUSES.min(self.ring.ring().capacity() / 2);
            (0..pauses).for_each(|_| hint::spin_loop());
            if let Some(ready) = self.ready_slot() {
                return ready.take();
            }
        }
        self.try_pop_slow()
    }

    /// Takes the next item in order, of those whose push has finished.
    #[cold]
    #[inline(never)]
    pub(crate) fn try_pop_slow(&mut self) -> Result<T, TryPopError> {
        let item = match self.settled_position() {
            Some(Position::Ring(index)) => self.ring.take(index),
            Some(Position::Bypass(index)) => self.bypass.take(index).map(|entry| entry.item),
            None => None,
        };
        if item.is_none() && !cfg!(bywash_loom) {
            self.ring.popped_since_poll();
        }
        let result = match item {
            Some(item) => Ok(item),
            None if self.is_finished() => Err(TryPopError::Closed),
            None => Err(TryPopError::Empty),
        };
        self.ring.update_fast_path(self.bypass.tail_word_if_empty());
        result
    }

    /// Takes the items that lie in a row at the head of the ring and are next in order, `most` at
    /// most; or one from elsewhere.
    ///
    /// # Panics
    ///
    /// Where `buffer` becomes too large. Nothing was taken then.
    #[cfg(feature = "alloc")]
    pub(crate) fn try_pop_many(
        &mut self,
        most: usize,
        buffer: &mut Vec<T>,
    ) -> Result<usize, TryPopError> {
        let bypass = self.bypass.ring();
        // B3: the tail word of the bypass is read after the last of the stamps.
        match self.ring.take_run(most as u64, || bypass.tail_word(), buffer) {
            0 => {
                buffer.reserve(1);
                buffer.push(self.try_pop_slow()?);
                Ok(1)
            }
            count => Ok(count),
        }
    }

    /// Calls `visitor` with each item that is published and not taken.
    pub(crate) fn visit(&self, mut visitor: impl FnMut(&T)) {
        self.ring.visit(&mut visitor);
        self.bypass.visit(|entry| visitor(&entry.item));
    }

    /// Looks until two looks in a row find the same, B3.
    fn settled_position(&mut self) -> Option<Position> {
        let mut last = None;
        loop {
            let next = self.next_position();
            if next == last {
                return next;
            }
            last = next;
        }
    }

    /// The first published item of each lane, and of these two the earlier one.
    fn next_position(&mut self) -> Option<Position> {
        let ring = self.ring.first_published();
        let Some(bypass) = self.bypass.first_published() else {
            return ring.map(Position::Ring);
        };
        let after = self.after(bypass);
        Some(match ring {
            Some(index) if index < after => Position::Ring(index),
            _ => Position::Bypass(bypass),
        })
    }

    /// The `after` of the entry at this index of the bypass, which is published and not taken.
    fn after(&self, bypass_index: u64) -> u64 {
        let after = self.bypass.peek(bypass_index, |entry| entry.after);
        debug_assert!(after.is_some(), "R3: the entry was found, and nobody else takes it");
        after.unwrap_or(0)
    }

    /// Whether no published item is left that was pushed before the tail index of the ring was
    /// `tail`.
    pub(crate) fn all_before_popped(&mut self, tail: u64) -> bool {
        match self.next_position() {
            Some(Position::Ring(index)) => index >= tail,
            Some(Position::Bypass(index)) => self.after(index) > tail,
            None => true,
        }
    }

    /// What is pushed from now on lies at or above these.
    #[cfg(feature = "std")]
    pub(crate) fn tails(&self) -> Tails {
        Tails { ring: self.ring.ring().claimed(), bypass: self.bypass.ring().claimed() }
    }

    /// Whether nothing that is published lies below `tails`.
    #[cfg(feature = "std")]
    pub(crate) fn all_popped_below(&mut self, tails: Tails) -> bool {
        self.ring.first_published().is_none_or(|index| index >= tails.ring)
            && self.bypass.first_published().is_none_or(|index| index >= tails.bypass)
    }

    /// Gives up what is claimed and not published, in both lanes, R7; and closes the bypass, too,
    /// where a thread was stopped between closing the two. Returns how many claims there were.
    pub(crate) fn give_up_claims(&mut self) -> u64 {
        if self.ring.ring().is_closed() {
            self.bypass.ring().close();
        }
        let count = self.ring.give_up_claims() + self.bypass.give_up_claims();
        self.ring.update_fast_path(self.bypass.tail_word_if_empty());
        count
    }

    /// Whether both lanes are closed and empty, and so for good.
    fn is_finished(&self) -> bool {
        if !self.ring.is_finished() {
            return false;
        }
        self.bypass.ring().close(); // B5.
        self.bypass.is_finished()
    }
}

cfg_event_fd! {
    impl<T, S: Slots<Item = T>, B: Slots<Item = Entry<T>>> LanesConsumer<'_, S, B> {
        /// Whether a pop would return an item or say `Closed`.
        pub(crate) fn has_news(&mut self) -> bool {
            self.next_position().is_some() || self.is_finished()
        }
    }
}
