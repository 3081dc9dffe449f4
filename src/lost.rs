//! How many items were refused and given up, and where in the stream they would have stood.

use crate::sync::{AtomicU64, Ordering, const_fn};

/// Refused pushes that nobody was told of yet.
///
/// A run of them is told where its first would have stood: a refusal at the tail `t` comes after
/// the item of index `t-1`. Those that follow before the consumer gets there count for the same
/// place. `after` is set before `count` is raised, and cleared before `count` is taken; where a
/// refusal comes between, it may be told with the run before or after its own. So the place is
/// exact to a lap of the ring, and the sum is exact.
pub(crate) struct Lost {
    count: AtomicU64,
    /// One more than the tail at which the first was refused; 0 for none.
    after: AtomicU64,
}

impl Lost {
    const_fn! {
        pub(crate) fn new() -> Self {
            Self { count: AtomicU64::new(0), after: AtomicU64::new(0) }
        }
    }

    /// Counts one that was refused at this `tail`. For signal handlers too.
    pub(crate) fn add(&self, tail: u64) {
        let _ = self.after.compare_exchange(0, tail + 1, Ordering::Relaxed, Ordering::Relaxed);
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    /// How many there are, wherever their place is.
    #[cfg(feature = "std")]
    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Takes the count, once nothing is to be popped that stands before the tail of the first, says
    /// `is_over`.
    pub(crate) fn take(&self, is_over: impl FnOnce(u64) -> bool) -> u64 {
        if self.count.load(Ordering::Relaxed) == 0
            || !is_over(self.after.load(Ordering::Relaxed).saturating_sub(1))
        {
            return 0;
        }
        self.after.store(0, Ordering::Relaxed);
        self.count.swap(0, Ordering::Relaxed)
    }
}
