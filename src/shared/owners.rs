//! Who has a queue on the heap: its last producer closes it, and what is published after its
//! consumer was dropped is dropped, too.
//!
//! # Orderings
//!
//! | label | site | operation and ordering | pairs with | publishes | model that fails if weakened |
//! |---|---|---|---|---|---|
//! | [last:P] | dropping a producer | subtraction (of 0 for one that does not count), AcqRel | itself, [dropped:C] | what the other producers have pushed; that the consumer was dropped | `closed_tells_what_came_before` |
//! | [dropped:C] | dropping the consumer | OR, AcqRel | [last:P] | what the consumer did | argued: under loom each pop ends in a fence |
//! | [sweep:A] | asking for a sweep of late items | addition, AcqRel | itself, [sweep:C] | what the asking producer has pushed | `an_item_that_holds_a_producer_is_dropped_once_while_the_consumer_goes` |
//! | [sweep:C] | ending the sweep | exchange, AcqRel | [sweep:A] | what was dropped | `an_item_that_holds_a_producer_is_dropped_once_while_the_consumer_goes` |
//!
//! The count of producers is Relaxed where it grows, as in `Arc`: a producer is cloned from another
//! one.

use alloc::boxed::Box;

use super::{Places, Shared};
use crate::lanes::Entry;
use crate::ring::Slots;
use crate::sync::Ordering;

/// The bit of `Shared::producers` that says that the consumer was dropped.
const CONSUMER_DROPPED: u64 = 1 << 63;

impl<S: Slots, B: Slots<Item = Entry<S::Item>>> Shared<Places<S, B>> {
    /// Counts a producer, if it counts.
    pub(crate) fn add_producer(&self, counts: bool) {
        self.producers.fetch_add(counts.into(), Ordering::Relaxed);
    }

    /// Closes the queue with the last producer that counts; drops late items where the consumer
    /// was dropped.
    pub(crate) fn remove_producer(&self, counts: bool) {
        // [last:P] AcqRel, with itself: the last producer closes after all that the others did.
        // With [dropped:C]: what the consumer did before; otherwise what this one published.
        let before = self.producers.fetch_sub(counts.into(), Ordering::AcqRel);
        if before & CONSUMER_DROPPED != 0 {
            self.drop_late_items();
        } else if counts && before == 1 {
            self.core().close();
        }
    }

    /// Whether the consumer was dropped.
    pub(crate) fn is_consumer_dropped(&self) -> bool {
        self.producers.load(Ordering::Relaxed) & CONSUMER_DROPPED != 0
    }

    /// Leaves the queue, which is closed, without a consumer.
    pub(crate) fn remove_consumer(&self) {
        // [dropped:C] AcqRel, with [last:P]. No model fails without: under loom each pop ends in a
        // fence.
        self.producers.fetch_or(CONSUMER_DROPPED, Ordering::AcqRel);
        self.drop_late_items();
    }

    /// Drops the items that were published after the consumer had popped for the last time. Each
    /// may hold a producer of this queue, and would keep the queue and itself.
    ///
    /// The push itself must not drop them, as it may be in a signal handler. So the consumer sweeps
    /// once more, and then each producer that is dropped does: that comes after its own pushes. Of
    /// several, one sweeps at a time, again for each that has asked meanwhile.
    #[cold]
    fn drop_late_items(&self) {
        let sweeps = &self.rare.sweeps;
        // [sweep:A] AcqRel, with itself and [sweep:C].
        if sweeps.fetch_add(1, Ordering::AcqRel) != 0 {
            return;
        }
        let mut asked = 1;
        // SAFETY: the consumer was dropped, and the one who counts from 0 is in its place. What it
        // and earlier ones did happened before: [dropped:C], [sweep:C].
        unsafe { self.reader() }.drop_remaining(|| {
            // [sweep:C] AcqRel, with [sweep:A]: what those published who have asked.
            match sweeps.compare_exchange(asked, 0, Ordering::AcqRel, Ordering::Acquire) {
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
