//! What handlers can read on Windows, in place of thread-specific data and the thread pointer: an
//! index of `TlsAlloc`, which is a load from the thread's own memory, and the thread's id. Windows
//! gives out both, and neither takes a lock or memory (I2, I3). A thread-local of Rust's may: with
//! the GNU toolchain, the first access on a thread allocates.

use core::ptr;
use core::sync::atomic::{AtomicUsize, Ordering};

use crate::threads::records::Record;
use crate::windows::{
    GetCurrentThreadId, TLS_OUT_OF_INDEXES, TlsAlloc, TlsFree, TlsGetValue, TlsSetValue,
    keep_last_error,
};

/// The index, plus one; 0 until there is one. Whoever reads it with Acquire sees that it was
/// allocated.
static INDEX: AtomicUsize = AtomicUsize::new(0);

/// The record of the calling thread.
pub(crate) fn record() -> Option<&'static Record> {
    let index = INDEX.load(Ordering::Acquire);
    if index == 0 {
        return None;
    }
    // SAFETY: indexes are never freed once they are in `INDEX`. To read one clears the last error.
    let record = keep_last_error(|| unsafe { TlsGetValue((index - 1) as u32) });
    // SAFETY: `set` puts only records there, and records are never freed.
    unsafe { record.cast::<Record>().as_ref() }
}

pub(crate) fn set(record: Option<&'static Record>) {
    let record = record.map_or(ptr::null(), ptr::from_ref).cast();
    // SAFETY: indexes are never freed once they are in `INDEX`.
    let is_set = unsafe { TlsSetValue(index(), record) };
    assert_ne!(is_set, 0, "bywash: no memory for thread-specific data");
}

fn index() -> u32 {
    if INDEX.load(Ordering::Acquire) == 0 {
        // SAFETY: it has no conditions.
        let index = unsafe { TlsAlloc() };
        assert_ne!(index, TLS_OUT_OF_INDEXES, "bywash: no thread-specific index left");
        let new = index as usize + 1;
        if INDEX.compare_exchange(0, new, Ordering::AcqRel, Ordering::Acquire).is_err() {
            // SAFETY: just allocated, and seen by nobody.
            unsafe { TlsFree(index) };
        }
    }
    (INDEX.load(Ordering::Acquire) - 1) as u32
}

/// A number that no two threads have at the same time. A thread may have that of one that has
/// ended.
#[inline]
pub(crate) fn token() -> usize {
    // SAFETY: it has no conditions, and sets no error.
    unsafe { GetCurrentThreadId() as usize }
}
