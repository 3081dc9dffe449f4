//! What to do before sleeping.

use core::hint;
use core::time::Duration;
use std::thread;
use std::time::Instant;

use super::Deadline;

/// The time before a thread sleeps, or sleeps again: it spins, then it yields.
///
/// A thread that comes back at once finds one item, or room for one. Then both sides fetch the same
/// cache lines from each other for every item. So where the queue has room for a batch, time for a
/// batch passes first: there is no spinning.
///
/// Yielding goes on for a few times as long as it takes to fall asleep and be woken, not longer:
/// beyond that, other threads need the core, and yields only go round between them. On a core that
/// other work keeps busy, one yield lasts a time slice, while a sleeper is woken soon.
pub(crate) struct Backoff {
    pauses: u32,
    yields_end: Deadline,
}

impl Backoff {
    /// A queue of this capacity has room for a batch.
    const BATCH: usize = 256;
    const PAUSES: u32 = 16;
    const YIELDS: Duration = Duration::from_micros(100);

    pub(crate) fn before_sleep(capacity: usize) -> Self {
        let pauses = if capacity < Self::BATCH { 1 } else { Self::PAUSES + 1 };
        Self { pauses, yields_end: None }
    }

    /// For a thread that was woken, and may get what it waits for at once.
    pub(crate) fn after_sleep() -> Self {
        Self { pauses: 1, yields_end: None }
    }

    /// Spends a moment, or returns `false` once it is time to sleep. In a model there is no time to
    /// spend.
    pub(crate) fn pause(&mut self) -> bool {
        if cfg!(any(loom, bywash_steps)) {
            return false;
        }
        if self.pauses <= Self::PAUSES {
            (0..self.pauses).for_each(|_| hint::spin_loop());
            self.pauses *= 2;
            return true;
        }
        let now = Instant::now();
        let end = *self.yields_end.get_or_insert(now + Self::YIELDS);
        if now >= end {
            return false;
        }
        thread::yield_now();
        true
    }
}
