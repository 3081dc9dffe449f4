//! How many items were refused and given up, and where in the stream they would have been.

use crate::sync::{AtomicU64, Ordering, const_fn};

/// Refused pushes that were not reported yet.
///
/// Refusals in a row are reported together, where the first of them would have been: a refusal at
/// the tail `t` comes after the item of index `t-1`. Refusals that follow before the consumer gets
/// there count for the same place. `add` sets `after` before it raises `count`, and `take` clears
/// `after` before it reads `count`. If an `add` comes between the two steps of a `take`, its
/// refusal may be reported with the ones before it or with the ones after. So the place is exact to
/// a lap of the ring, and the sum is exact.
///
/// All accesses are Relaxed: nothing else is read on the strength of them. The sum is exact because
/// `count` changes only by atomic additions, and only the consumer writes `taken`.
pub(crate) struct Lost {
    /// How many there ever were.
    count: AtomicU64,
    /// How many of them were reported.
    taken: AtomicU64,
    /// One more than the tail at which the first was refused; 0 if there is none.
    after: AtomicU64,
}

impl Lost {
    const_fn! {
        pub(crate) fn new() -> Self {
            Self { count: AtomicU64::new(0), taken: AtomicU64::new(0), after: AtomicU64::new(0) }
        }
    }

    /// Counts an item that was refused at this `tail`. For signal handlers too.
    pub(crate) fn add(&self, tail: u64) {
        let _ = self.after.compare_exchange(0, tail + 1, Ordering::Relaxed, Ordering::Relaxed);
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    /// How many there ever were, and how many of them were not taken yet.
    pub(crate) fn counts(&self) -> (u64, u64) {
        // In this order: the count is never behind what was taken of it.
        let taken = self.taken.load(Ordering::Relaxed);
        let count = self.count.load(Ordering::Relaxed);
        (count, count.saturating_sub(taken))
    }

    /// Takes those that were not taken yet, if all items that were pushed before the tail of the
    /// first refusal are popped, which `is_over` tells. Returns how many.
    pub(crate) fn take(&self, is_over: impl FnOnce(u64) -> bool) -> u64 {
        if self.counts().1 == 0 || !is_over(self.after.load(Ordering::Relaxed).saturating_sub(1)) {
            return 0;
        }
        self.after.store(0, Ordering::Relaxed);
        let (count, left) = self.counts();
        self.taken.store(count, Ordering::Relaxed);
        left
    }
}
