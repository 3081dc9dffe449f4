//! Any system: a sleeper looks again and again. To wake it is to change the word.
//!
//! Each nap lasts a quarter of the time that was slept before it, while the word stayed the same.
//! So a wake is late by a quarter of the wait, and by `LONGEST_NAP` at most; and a thread that
//! waits for long wakes some 30 times a second.
//!
//! Every system that we know has a better way to sleep and to wake, but few of these may be used in
//! a signal handler.

use core::sync::atomic;
use core::time::Duration;
use std::thread;
use std::time::Instant;

use crate::sync::{AtomicU64, Ordering};

const SHORTEST_NAP: Duration = Duration::from_micros(20);
const LONGEST_NAP: Duration = Duration::from_millis(32);

/// A word that can be slept on until it changes.
#[derive(Debug)]
pub(crate) struct Futex {
    word: AtomicU64,
    /// The value that was slept on last, and for how long, in nanoseconds. All who sleep on it add
    /// to that: each looks less often, and all of them as often as one.
    slept_on: atomic::AtomicU64,
    slept_for: atomic::AtomicU64,
}

impl Futex {
    pub(crate) const fn new() -> Self {
        let (slept_on, slept_for) = (atomic::AtomicU64::new(0), atomic::AtomicU64::new(0));
        Self { word: AtomicU64::new(0), slept_on, slept_for }
    }

    #[inline]
    pub(crate) fn value(&self) -> &AtomicU64 {
        &self.word
    }

    /// Sleeps while the word is `seen`, for `timeout` at most.
    pub(crate) fn wait(&self, seen: u64, timeout: Option<Duration>) {
        let end = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        while self.word.load(Ordering::Acquire) == seen {
            let left = end.map(|end| end.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return;
            }
            self.nap(seen, left);
        }
    }

    /// Sleeps once, if the word is `seen`.
    pub(crate) fn nap(&self, seen: u64, timeout: Option<Duration>) {
        if self.word.load(Ordering::Acquire) == seen {
            let nap = self.next_nap(seen);
            thread::sleep(timeout.map_or(nap, |timeout| timeout.min(nap)));
        }
    }

    fn next_nap(&self, seen: u64) -> Duration {
        let is_longer = self.slept_on.swap(seen, Ordering::Relaxed) == seen;
        let slept = if is_longer { self.slept_for.load(Ordering::Relaxed) } else { 0 };
        let nap = Duration::from_nanos(slept / 4).clamp(SHORTEST_NAP, LONGEST_NAP);
        self.slept_for.store(slept.saturating_add(nap.as_nanos() as u64), Ordering::Relaxed);
        nap
    }

    /// Does nothing: sleepers look by themselves.
    pub(crate) fn wake(&self, _count: i32) {}
}

/// Keeps the compiler, and only the compiler, from reordering what comes before and after.
#[inline]
pub(crate) fn light_barrier() {
    core::sync::atomic::compiler_fence(Ordering::SeqCst);
}

/// There is none: a thread that needs it must look again after a nap.
pub(crate) fn heavy_barrier() -> bool {
    false
}

/// Lets others run. For signal handlers too, where it is one system call that does not fail.
pub(crate) fn sleep_briefly() {
    std::thread::yield_now();
}
