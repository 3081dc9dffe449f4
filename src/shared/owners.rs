//! Who has a queue on the heap: its last producer closes it, and what is published after its
//! consumer has gone is dropped.
//!
//! # Orderings
//!
//! | label | site | operation and ordering | pairs with | publishes | model that fails if weakened |
//! |---|---|---|---|---|---|
//! | [last:P] | dropping a producer | subtraction (of 0 for one that does not count), AcqRel | itself, [gone:C] | what the other producers have pushed; that the consumer has gone | `closed_tells_what_came_before` |
//! | [gone:C] | dropping the consumer | OR, AcqRel | [last:P] | what the consumer did | argued: under loom each pop ends in a fence |
//! | [looks:A] | asking for a look at late items | addition, AcqRel | itself, [looks:C] | what the asking producer has pushed | `an_item_that_holds_a_producer_is_dropped_once_while_the_consumer_goes` |
//! | [looks:C] | ending the look | exchange, AcqRel | [looks:A] | what was dropped | `an_item_that_holds_a_producer_is_dropped_once_while_the_consumer_goes` |
//!
//! The count of producers is Relaxed where it grows, as in `Arc`: a producer is cloned from another
//! one.

use alloc::boxed::Box;

use super::{Places, Shared};
use crate::lanes::Entry;
use crate::ring::Slots;
use crate::sync::Ordering;

/// The bit of `Shared::producers` that says that the consumer has gone.
const CONSUMER_GONE: u64 = 1 << 63;

impl<S: Slots, B: Slots<Item = Entry<S::Item>>> Shared<Places<S, B>> {
    /// Counts a producer, if it counts.
    pub(crate) fn add_producer(&self, counts: bool) {
        self.producers.fetch_add(counts.into(), Ordering::Relaxed);
    }

    /// Closes the queue with the last producer that counts; drops late items where the consumer has
    /// gone.
    pub(crate) fn remove_producer(&self, counts: bool) {
        // [last:P] AcqRel, with itself: the last producer closes after all that the others did.
        // With [gone:C]: what the consumer did, if it has gone; otherwise what this one published.
        let before = self.producers.fetch_sub(counts.into(), Ordering::AcqRel);
        if before & CONSUMER_GONE != 0 {
            self.drop_late_items();
        } else if counts && before == 1 {
            self.core().close();
        }
    }

    /// Whether the consumer was dropped.
    pub(crate) fn has_lost_consumer(&self) -> bool {
        self.producers.load(Ordering::Relaxed) & CONSUMER_GONE != 0
    }

    /// Leaves the queue, which is closed, without a consumer.
    pub(crate) fn remove_consumer(&self) {
        // [gone:C] AcqRel, with [last:P]. No model fails without: under loom each pop ends in a
        // fence.
        self.producers.fetch_or(CONSUMER_GONE, Ordering::AcqRel);
        self.drop_late_items();
    }

    /// Drops the items that were published after the consumer had looked for the last time. Each
    /// may hold a producer of this queue, and would keep the queue and itself.
    ///
    /// The push itself must not drop them, as it may be in a signal handler. So the consumer looks
    /// once more, and then each producer that is dropped does: that comes after its own pushes. Of
    /// several, one looks at a time, again for each that has asked meanwhile.
    #[cold]
    fn drop_late_items(&self) {
        let looks = &self.rare.looks;
        // [looks:A] AcqRel, with itself and [looks:C].
        if looks.fetch_add(1, Ordering::AcqRel) != 0 {
            return;
        }
        let mut asked = 1;
        // SAFETY: the consumer has gone, and the one who counts from 0 is in its place. What it
        // and earlier ones did happened before: [gone:C], [looks:C].
        unsafe { self.reader() }.drop_remaining(|| {
            // [looks:C] AcqRel, with [looks:A]: what those published who have asked.
            match looks.compare_exchange(asked, 0, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => true,
                Err(now) => {
                    asked = now;
                    false
                }
            }
        });
    }

    pub(crate) fn set_name(&mut self, name: Option<Box<str>>) {
        self.rare.name = name;
    }
}
