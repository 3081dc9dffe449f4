//! Any system: a sleeper looks again and again, in naps that grow to a millisecond. To wake it is
//! to change the word.
//!
//! Every system that we know has a better way to sleep and to wake, but few of these may be used in
//! a signal handler.

use core::time::Duration;
use std::thread;
use std::time::Instant;

use crate::sync::{AtomicU64, Ordering};

const SHORTEST_NAP: Duration = Duration::from_micros(20);
const LONGEST_NAP: Duration = Duration::from_millis(1);

/// A word that can be slept on until it changes.
#[derive(Debug)]
pub(crate) struct Futex {
    word: AtomicU64,
}

impl Futex {
    pub(crate) const fn new() -> Self {
        Self { word: AtomicU64::new(0) }
    }

    #[inline]
    pub(crate) fn value(&self) -> &AtomicU64 {
        &self.word
    }

    /// Sleeps while the word is `seen`, for `timeout` at most.
    pub(crate) fn wait(&self, seen: u64, timeout: Option<Duration>) {
        let end = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let mut nap = SHORTEST_NAP;
        while self.word.load(Ordering::Acquire) == seen {
            let left = end.map_or(nap, |end| end.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return;
            }
            thread::sleep(nap.min(left));
            nap = (nap * 2).min(LONGEST_NAP);
        }
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

/// Sleeps for so long, and what the system adds.
pub(crate) fn sleep_for(duration: Duration) {
    thread::sleep(duration);
}
