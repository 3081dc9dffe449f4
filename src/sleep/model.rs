//! Under loom: a condition variable in place of the futex, and fences in place of both barriers.

use core::time::Duration;

use loom::sync::{Condvar, Mutex};

use crate::sync::{AtomicU64, Ordering, fence};

/// A word that can be slept on until it changes.
#[derive(Debug)]
pub(crate) struct Futex {
    word: AtomicU64,
    // In place of the kernel's lock of the wait queue.
    queue: Mutex<()>,
    changed: Condvar,
}

impl Futex {
    pub(crate) fn new() -> Self {
        Self { word: AtomicU64::new(0), queue: Mutex::new(()), changed: Condvar::new() }
    }

    pub(crate) fn value(&self) -> &AtomicU64 {
        &self.word
    }

    /// Sleeps while the word is `seen`. Time does not pass in a model.
    pub(crate) fn wait(&self, seen: u64, _timeout: Option<Duration>) {
        let queue = self.queue.lock().unwrap();
        if self.word.load(Ordering::Relaxed) == seen {
            drop(self.changed.wait(queue).unwrap());
        }
    }

    pub(crate) fn nap(&self, seen: u64, timeout: Option<Duration>) {
        self.wait(seen, timeout);
    }

    pub(crate) fn wake(&self, count: i32) {
        drop(self.queue.lock().unwrap());
        match count {
            1 => self.changed.notify_one(),
            _ => self.changed.notify_all(),
        }
    }
}

pub(crate) fn light_barrier() {
    fence(Ordering::SeqCst);
}

pub(crate) fn heavy_barrier() -> bool {
    fence(Ordering::SeqCst);
    true
}

pub(crate) fn sleep_briefly() {
    loom::thread::yield_now();
}
