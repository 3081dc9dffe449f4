//! What several threads wait for, each for a condition of its own.

use std::time::Instant;

use super::system::Futex;
use super::{Deadline, LONGEST_SLEEP};
use crate::sync::Ordering;

/// A condition variable that has no lock, and so none that a fork can leave locked, F5.
#[derive(Debug)]
pub(crate) struct Changes {
    /// How many there were.
    count: Futex,
}

impl Default for Changes {
    fn default() -> Self {
        Self { count: Futex::new() }
    }
}

impl Changes {
    /// What to sleep on if, after this, the condition does not hold.
    pub(crate) fn key(&self) -> u64 {
        // Acquire; pairs with the Release in `notify_all`: who reads that count sees the change.
        self.count.value().load(Ordering::Acquire)
    }

    /// Sleeps until something changes after `key`, or past the deadline; for `LONGEST_SLEEP` at
    /// most, as W8 has it.
    pub(crate) fn wait(&self, key: u64, deadline: Deadline) {
        let now = Instant::now();
        let left = deadline.map_or(LONGEST_SLEEP, |end| end.saturating_duration_since(now));
        self.count.wait(key, Some(left.min(LONGEST_SLEEP)));
    }

    /// Wakes all, after something has changed.
    pub(crate) fn notify_all(&self) {
        self.count.value().fetch_add(1, Ordering::Release);
        self.count.wake(i32::MAX);
    }
}
