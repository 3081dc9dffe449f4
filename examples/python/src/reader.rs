//! The consumer, which Python's threads take in turns.

use std::cell::UnsafeCell;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU64, Ordering};

use bywash::Consumer;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

use crate::Item;

/// Counts this process and those that it was forked from: see [`watch_forks`].
static PROCESS: AtomicU64 = AtomicU64::new(1);

/// Has forks counted, in the child.
pub(crate) fn watch_forks(py: Python<'_>) -> PyResult<()> {
    #[pyfunction]
    fn count_fork() {
        PROCESS.fetch_add(1, Ordering::Relaxed);
    }

    let os = py.import("os")?;
    // Not on Windows.
    if os.hasattr("register_at_fork")? {
        let kwargs = pyo3::types::PyDict::new(py);
        kwargs.set_item("after_in_child", pyo3::wrap_pyfunction!(count_fork, py)?)?;
        os.call_method("register_at_fork", (), Some(&kwargs))?;
    }
    Ok(())
}

/// The consumer, for one thread at a time. A thread takes it and gives it back while it has the
/// GIL, which orders all accesses here.
pub(crate) struct Reader {
    /// In which process a thread has taken it, or 0.
    taken_in: AtomicU64,
    /// In which process it was taken last, or 0.
    last_taken_in: AtomicU64,
    consumer: UnsafeCell<Consumer<Item>>,
}

// SAFETY: only a `Taken` reaches the consumer, and there is one at a time.
unsafe impl Sync for Reader {}

impl Reader {
    pub(crate) fn new(consumer: Consumer<Item>) -> Self {
        let [taken_in, last_taken_in] = [const { AtomicU64::new(0) }; 2];
        Self { taken_in, last_taken_in, consumer: UnsafeCell::new(consumer) }
    }

    /// Takes it, if no thread has it. (A thread of the parent of this process is not here, and a
    /// sleep, the only thing that a fork can find it in, leaves the consumer whole.)
    pub(crate) fn try_take(&self) -> Option<Taken<'_>> {
        let process = PROCESS.load(Ordering::Relaxed);
        let has_it = self.taken_in.swap(process, Ordering::Relaxed) != process;
        // Not made before, as its drop would give back what another thread has.
        has_it.then(|| Taken { reader: self })
    }

    pub(crate) fn take(&self) -> PyResult<Taken<'_>> {
        let taken = self.try_take().ok_or_else(|| {
            PyRuntimeError::new_err(
                "another thread waits in get: a bywash.Queue has one reader at a time",
            )
        })?;
        self.last_taken_in.store(PROCESS.load(Ordering::Relaxed), Ordering::Relaxed);
        Ok(taken)
    }

    /// Whether the thread that reads is not in this process.
    pub(crate) fn stayed_in_parent(&self) -> bool {
        let last = self.last_taken_in.load(Ordering::Relaxed);
        last != 0 && last != PROCESS.load(Ordering::Relaxed)
    }
}

/// The consumer, until it is dropped.
pub(crate) struct Taken<'a> {
    reader: &'a Reader,
}

impl Deref for Taken<'_> {
    type Target = Consumer<Item>;

    fn deref(&self) -> &Self::Target {
        // SAFETY: there is one `Taken` at a time, and this borrows it.
        unsafe { &*self.reader.consumer.get() }
    }
}

impl DerefMut for Taken<'_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        // SAFETY: as above, and this borrows it alone.
        unsafe { &mut *self.reader.consumer.get() }
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.reader.taken_in.store(0, Ordering::Relaxed);
    }
}
