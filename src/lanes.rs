//! The two lanes of a queue, ring and bypass, and the one order over both.
//!
//! While the ring is full, a push on the consumer's thread or in its domain goes into the bypass.
//! `threads/members.rs` says which threads these are. A consumer may move to another thread while
//! its old thread is inside such a push, so several threads may push into the bypass at once. So
//! the bypass is a ring of the same kind.
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
//!   nothing, looks at the two tails first: is the ring open and its tail at the head, and is the
//!   tail word of the bypass `bypass_tail_when_empty`? Tail indices only grow, so then both lanes
//!   were empty at the first of the two reads.
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
//! **B5** *To close is to close the ring*, in one step: whoever is stopped in the middle cannot
//! close half a queue that the next consumer has opened again. A push into the bypass that saw the
//! ring full and open may still succeed. When the consumer finds the ring closed and empty, it
//! closes the bypass, and then looks at the bypass once more. Once both lanes are closed and empty,
//! nothing can come any more. The next consumer of a static queue opens the bypass before the ring,
//! so that no push meets an open ring and a closed bypass. It leaves both as they are if a pusher
//! has closed the ring for it (STAYS_CLOSED in `ring.rs`).

use crate::TryPopError;
use crate::ring::{RingConsumer, Slots};
use crate::shared::{Places, Shared};

#[cfg(feature = "alloc")]
use alloc::vec::Vec;

/// An item in the bypass.
#[allow(missing_debug_implementations, reason = "no user can name it")]
pub struct Entry<T> {
    /// The tail index of the ring when the ring was seen full.
    pub(crate) after: u64,
    pub(crate) item: T,
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

/// A queue as its consumer sees it: both lanes, in one order. There is one of a queue at a time.
///
/// It is one word, so that a pop on the fast path keeps it in a register.
pub(crate) struct Reader<'a, S, B> {
    shared: &'a Shared<Places<S, B>>,
}

impl<'a, T, S: Slots<Item = T>, B: Slots<Item = Entry<T>>> Reader<'a, S, B> {
    /// # Safety
    ///
    /// As [`Shared::reader`].
    #[inline]
    pub(crate) unsafe fn new(shared: &'a Shared<Places<S, B>>) -> Self {
        Self { shared }
    }

    /// The same, for as long as it is borrowed.
    #[inline]
    pub(crate) fn reborrow(&mut self) -> Reader<'_, S, B> {
        Reader { shared: self.shared }
    }

    #[inline]
    pub(crate) fn shared(&self) -> &'a Shared<Places<S, B>> {
        self.shared
    }

    #[inline]
    pub(crate) fn ring(&mut self) -> RingConsumer<'_, S> {
        // SAFETY: this is the consumer, which is borrowed. The bypass is another ring.
        unsafe { RingConsumer::new(self.shared.ring()) }
    }

    #[inline]
    fn bypass(&mut self) -> RingConsumer<'_, B> {
        // SAFETY: as above.
        unsafe { RingConsumer::new(self.shared.bypass()) }
    }

    /// Whether both lanes are plainly empty, B3. May say no where they are.
    pub(crate) fn is_plainly_empty(&mut self) -> bool {
        let bypass = self.shared.bypass();
        self.ring().is_plainly_empty(|| bypass.tail_word())
    }

    /// Takes the next item in order, of those whose push has finished.
    #[cold]
    #[inline(never)]
    pub(crate) fn take_next(&mut self) -> Result<T, TryPopError> {
        let item = match self.settled_position() {
            Some(Position::Ring(index)) => self.ring().take(index),
            Some(Position::Bypass(index)) => self.bypass().take(index).map(|entry| entry.item),
            None => None,
        };
        if item.is_none() && !cfg!(bywash_loom) {
            self.ring().note_poll();
        }
        let result = match item {
            Some(item) => Ok(item),
            None if self.is_finished() => Err(TryPopError::Closed),
            None => Err(TryPopError::Empty),
        };
        self.update_fast_path();
        result
    }

    /// Takes the items that lie in a row at the head of the ring and are next in order, `limit` at
    /// most; or one from elsewhere.
    ///
    /// # Panics
    ///
    /// Where `buffer` becomes too large. Nothing was taken then.
    #[cfg(feature = "alloc")]
    pub(crate) fn take_many(
        &mut self,
        buffer: &mut Vec<T>,
        limit: usize,
    ) -> Result<usize, TryPopError> {
        let bypass = self.shared.bypass();
        // B3: the tail word of the bypass is read after the last of the stamps.
        match self.ring().take_run(limit as u64, || bypass.tail_word(), buffer) {
            0 => {
                buffer.reserve(1);
                buffer.push(self.take_next()?);
                Ok(1)
            }
            count => Ok(count),
        }
    }

    /// Calls `visitor` with each item that is published and not taken.
    pub(crate) fn visit(mut self, mut visitor: impl FnMut(&T)) {
        self.ring().visit(&mut visitor);
        self.bypass().visit(|entry| visitor(&entry.item));
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
        let ring = self.ring().first_published();
        let Some(bypass) = self.bypass().first_published() else {
            return ring.map(Position::Ring);
        };
        let after = self.after(bypass);
        Some(match ring {
            Some(index) if index < after => Position::Ring(index),
            _ => Position::Bypass(bypass),
        })
    }

    /// The `after` of the entry at this index of the bypass, which is published and not taken.
    fn after(&mut self, bypass_index: u64) -> u64 {
        let after = self.bypass().peek(bypass_index, |entry| entry.after);
        after.expect("R3: the entry was found, and nobody else takes it")
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
    pub(crate) fn tails(self) -> Tails {
        Tails { ring: self.shared.ring().claimed(), bypass: self.shared.bypass().claimed() }
    }

    /// Whether nothing that is published lies below `tails`.
    #[cfg(feature = "std")]
    pub(crate) fn all_popped_below(mut self, tails: Tails) -> bool {
        self.ring().first_published().is_none_or(|index| index >= tails.ring)
            && self.bypass().first_published().is_none_or(|index| index >= tails.bypass)
    }

    /// Of a closed queue, which is not popped any more: how many items are left, those included
    /// whose push has not finished. The bypass is closed here, so there will be no more, B5.
    #[cfg(feature = "std")]
    pub(crate) fn count_left(mut self) -> u64 {
        self.shared.bypass().close(false);
        self.ring().left() + self.bypass().left()
    }

    /// Gives up what is claimed and not published, in both lanes, R7. Returns how many claims there
    /// were.
    pub(crate) fn give_up_claims(&mut self) -> u64 {
        let count = self.ring().give_up_claims() + self.bypass().give_up_claims();
        self.update_fast_path();
        count
    }

    fn update_fast_path(&mut self) {
        let tail_word = self.bypass().tail_word_if_empty();
        self.ring().update_fast_path(tail_word);
    }

    /// Whether both lanes are closed and empty, and so for good.
    pub(crate) fn is_finished(&mut self) -> bool {
        if !self.ring().is_finished() {
            return false;
        }
        self.shared.bypass().close(false); // B5.
        self.bypass().is_finished()
    }
}

cfg_event_fd! {
    impl<T, S: Slots<Item = T>, B: Slots<Item = Entry<T>>> Reader<'_, S, B> {
        /// Whether a pop would return an item or say `Closed`.
        pub(crate) fn has_news(&mut self) -> bool {
            self.next_position().is_some() || self.is_finished()
        }
    }
}
