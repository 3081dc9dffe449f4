//! Threads that go to sleep.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// A thread that shows whether it sleeps.
pub(crate) struct Sleeper {
    id: Arc<AtomicU32>,
    thread: JoinHandle<()>,
}

impl Sleeper {
    pub(crate) fn spawn(body: impl FnOnce() + Send + 'static) -> Self {
        let id = Arc::new(AtomicU32::new(0));
        let its = id.clone();
        let thread = thread::spawn(move || {
            // SAFETY: it has no preconditions.
            its.store(unsafe { libc::gettid() } as u32, Ordering::SeqCst);
            body();
        });
        Self { id, thread }
    }

    /// Waits until the thread is asleep each time in three looks, a nap apart.
    pub(crate) fn wait_until_asleep(&self) {
        while self.id.load(Ordering::SeqCst) == 0 {
            thread::yield_now();
        }
        let path = format!("/proc/self/task/{}/stat", self.id.load(Ordering::SeqCst));
        let sleeps = || {
            std::fs::read_to_string(&path).unwrap().rsplit(") ").next().unwrap().starts_with('S')
        };
        let mut seen = 0;
        while seen < 3 {
            thread::sleep(Duration::from_micros(700));
            seen = if sleeps() { seen + 1 } else { 0 };
        }
    }

    pub(crate) fn join(self) {
        self.thread.join().unwrap();
    }
}
