//! The places in which threads publish what they wait for; `cycles.rs` reads them.
//!
//! * **E1** *Records are never freed.* A record is claimed for one wait, and used again for others.
//!   There are as many as there are threads with a number, so a push that waits finds one without
//!   allocating: `identity::register`, which is normal code, adds what is missing. A thread that
//!   ends needs none any more.
//! * **E2** *A generation for each edge.* The generation of a record is odd while an edge is
//!   published, and grows with each publication and each withdrawal. The fields are written while
//!   it is even, each with Release. So a reader that finds the same odd generation before and after
//!   it has read the fields, with a fence before the second look, has read the fields of one edge:
//!   if one were of a later edge, it would have seen the generation change.
//!
//! After a fork, the records of threads that stayed in the parent are still there. They say which
//! process they belong to, and a reader ignores those of another.

use core::ffi::c_void;
use core::ptr;

use crate::sync::{AtomicPtr, AtomicU64, Ordering, const_fn};

/// The place of one edge.
pub(crate) struct Record {
    next: *const Record,
    /// The number of the thread that waits, or 0 while the record is free.
    thread: AtomicU64,
    generation: AtomicU64,
    process: AtomicU64,
    target: AtomicPtr<c_void>,
    capacity: AtomicU64,
    /// What a look notes here.
    pub(crate) mark: Mark,
}

/// What a look notes of an edge. Only the thread that looks reads and writes it.
pub(crate) struct Mark {
    /// The number of the look.
    pub(crate) look: AtomicU64,
    pub(crate) generation: AtomicU64,
    pub(crate) head: AtomicU64,
    /// The edge that it was reached by, or null.
    pub(crate) from: AtomicPtr<Record>,
    pub(crate) to_visit_next: AtomicPtr<Record>,
}

/// The fields of an edge.
#[derive(Clone, Copy)]
pub(crate) struct Fields {
    pub(crate) thread: u64,
    pub(crate) target: *const c_void,
    pub(crate) capacity: u64,
}

impl Record {
    fn new() -> Self {
        Self {
            next: ptr::null(),
            thread: AtomicU64::new(0),
            generation: AtomicU64::new(0),
            process: AtomicU64::new(0),
            target: AtomicPtr::new(ptr::null_mut()),
            capacity: AtomicU64::new(0),
            mark: Mark {
                look: AtomicU64::new(0),
                generation: AtomicU64::new(0),
                head: AtomicU64::new(0),
                from: AtomicPtr::new(ptr::null_mut()),
                to_visit_next: AtomicPtr::new(ptr::null_mut()),
            },
        }
    }

    /// The generation, if an edge of this process is published.
    pub(crate) fn published(&self, process: u64) -> Option<u64> {
        // [edge:L] Acquire; pairs with [edge:S]
        let generation = self.generation.load(Ordering::Acquire);
        let is_published = generation % 2 == 1 && self.process.load(Ordering::Relaxed) == process;
        is_published.then_some(generation)
    }

    /// The fields, to be believed if the generation is the same before and after, E2.
    pub(crate) fn fields(&self) -> Fields {
        Fields {
            thread: self.thread.load(Ordering::Relaxed),
            target: self.target.load(Ordering::Relaxed),
            capacity: self.capacity.load(Ordering::Relaxed),
        }
    }

    fn claim(&self, thread: u64) -> bool {
        let (success, failure) = (Ordering::AcqRel, Ordering::Relaxed);
        self.thread.load(Ordering::Relaxed) == 0
            && self.thread.compare_exchange(0, thread, success, failure).is_ok()
    }
}

/// All records.
struct Records {
    first: AtomicPtr<Record>,
    count: AtomicU64,
    /// How many threads have a number.
    threads: AtomicU64,
}

// SAFETY: a record is atomic, but for `next`, which is written before the record is shared.
unsafe impl Sync for Records {}
// SAFETY: as for `Sync`.
unsafe impl Send for Records {}

#[cfg(not(bywash_loom))]
static RECORDS: Records = Records::new();
#[cfg(bywash_loom)]
loom::lazy_static! {
    static ref RECORDS: Records = Records::new();
}

impl Records {
    const_fn! {
        fn new() -> Self {
            Self {
                first: AtomicPtr::new(ptr::null_mut()),
                count: AtomicU64::new(0),
                threads: AtomicU64::new(0),
            }
        }
    }

    fn add(&self) {
        let new = Box::into_raw(Box::new(Record::new()));
        let mut first = self.first.load(Ordering::Relaxed);
        loop {
            // SAFETY: nobody else sees it before it is in the list.
            unsafe { (*new).next = first };
            let (success, failure) = (Ordering::Release, Ordering::Relaxed);
            match self.first.compare_exchange(first, new, success, failure) {
                Ok(_) => break,
                Err(now) => first = now,
            }
        }
        self.count.fetch_add(1, Ordering::Relaxed);
    }
}

pub(crate) fn records() -> impl Iterator<Item = &'static Record> {
    let mut next = RECORDS.first.load(Ordering::Acquire).cast_const();
    core::iter::from_fn(move || {
        // SAFETY: null or a record, and records are never freed, E1.
        let record = unsafe { next.as_ref() }?;
        next = record.next;
        Some(record)
    })
}

/// Before a thread gets a number: takes care that there is a record for it, E1. May allocate.
pub(crate) fn add_thread() {
    let threads = RECORDS.threads.fetch_add(1, Ordering::Relaxed) + 1;
    while RECORDS.count.load(Ordering::Relaxed) < threads {
        RECORDS.add();
    }
}

/// When a thread that has a number ends.
#[cfg(not(bywash_loom))]
pub(crate) fn remove_thread() {
    RECORDS.threads.fetch_sub(1, Ordering::Relaxed);
}

/// A published edge, until it is dropped.
pub(crate) struct Edge {
    record: &'static Record,
}

impl Edge {
    /// Publishes an edge of the calling thread. `None` if there is no record, for a thread that
    /// got its number while its thread-locals were being destroyed.
    pub(crate) fn publish(fields: Fields, process: u64) -> Option<Self> {
        let record = records().find(|record| record.claim(fields.thread))?;
        // [fields:S] Release; pairs with [look:F]
        record.process.store(process, Ordering::Release);
        record.target.store(fields.target.cast_mut(), Ordering::Release);
        record.capacity.store(fields.capacity, Ordering::Release);
        let edge = Self { record };
        edge.advance();
        Some(edge)
    }

    /// Whether it was published in this process.
    pub(crate) fn is_of(&self, process: u64) -> bool {
        self.record.published(process).is_some()
    }

    fn advance(&self) {
        let generation = self.record.generation.load(Ordering::Relaxed);
        // [edge:S] Release; pairs with [edge:L]
        self.record.generation.store(generation + 1, Ordering::Release);
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        self.advance();
        // Release; pairs with the Acquire of the next claim.
        self.record.thread.store(0, Ordering::Release);
    }
}
