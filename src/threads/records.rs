//! What each thread shows to others: its number, where it lives, the domains that it is in, and
//! what it waits for.
//!
//! * **E1** *Records are never freed* (`pool.rs`), and all that is in them is atomic. A thread with
//!   a number has one, which it gives back at its end. The number says where the record is and how
//!   often it was given out, so no number comes back. (A number has 50 bits for that.) Who looks
//!   for a thread by its number finds its record, or none. A thread gives back while its
//!   thread-locals are being destroyed, and may still push after that. So on Linux nobody gets the
//!   record before the thread is gone, but that of one that has gone earlier; on other systems the
//!   thread has no number any more.
//! * **E2** *A generation for each edge.* The lowest bit of `word` says whether an edge is
//!   published, and the upper ones grow with each publication. The fields are written while it is
//!   not, each with Release. So a reader that finds the same word before and after it has read the
//!   fields, with a fence in between, has read the fields of one edge: if one were of a later edge,
//!   it would have seen the word change.
//! * **E3** *One writer.* Only its own thread writes to a record, at any instruction: a push that a
//!   signal handler makes on top of one that waits is a mistake of the program, but it takes away
//!   no more than the edge beneath it, until the thread looks again.
//! * **E4** *Domains lie with the thread.* The entries of a thread say in which domains it is, and
//!   how often. A thread that waits does not change them. So who finds the same word before and
//!   after it has read them, has read them all at one moment.

use alloc::boxed::Box;
use core::iter;
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicI32};

use crate::cycles::Post;
use crate::threads::fork::thread_exists;
use crate::threads::pool::{FIRST, Links, Pool, Pooled};
// The others order nothing, and are no part of the models.
use crate::sync::{AtomicPtr, AtomicU64, Ordering, const_fn, fence};
use core::sync::atomic::{AtomicPtr as CorePtr, AtomicU64 as CoreU64};

/// As many as a look has bits for. More threads than that cannot have a number at the same time.
const CHUNKS: usize = 8;

pub(crate) const LIMIT: usize = Pool::<Record, CHUNKS>::LIMIT;

/// The numbers of a record differ by this. It is larger than any index.
const STEP: u64 = LIMIT.next_power_of_two() as u64;

#[cfg(not(bywash_loom))]
static RECORDS: Pool<Record, CHUNKS> = Pool::new([const { Record::new() }; FIRST as usize]);
#[cfg(bywash_loom)]
loom::lazy_static! {
    static ref RECORDS: Pool<Record, CHUNKS> = Pool::new(core::array::from_fn(|_| Record::new()));
}

/// What a thread shows.
pub(crate) struct Record {
    links: Links,
    /// The number of its thread, or of the last one, or 0 if there was none yet.
    number: CoreU64,
    /// The last number that was given out with it, if there was one.
    last_number: CoreU64,
    /// The process in which the thread is, F1.
    process: CoreU64,
    /// The thread's id in the system, or 0 if that is not known.
    system_id: AtomicI32,
    /// The thread has ended, or is about to.
    has_ended: AtomicBool,
    domains: Entries,
    /// A generation, and in the lowest bits [`WAITS`] and [`SETTLED`].
    word: AtomicU64,
    target: AtomicPtr<Post>,
    queue: CoreU64,
    kind: CoreU64,
}

/// An edge is published.
const WAITS: u64 = 1;
/// From the time that this was set, each pop is announced in the post.
const SETTLED: u64 = 2;
const GENERATION: u64 = 4;

/// What a thread waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// For room in a ring.
    Room,
    /// For a listener, without a deadline.
    Listener,
    /// For a listener, with a deadline.
    ListenerInTime,
}

/// The fields of an edge.
#[derive(Clone, Copy)]
pub(crate) struct Edge {
    pub(crate) post: &'static Post,
    /// The number that the post had for the queue.
    pub(crate) queue: u64,
    pub(crate) kind: Kind,
}

/// An edge as another thread has read it.
pub(crate) struct SeenEdge {
    pub(crate) edge: Edge,
    /// Changes with each publication.
    pub(crate) word: u64,
}

impl SeenEdge {
    pub(crate) fn is_settled(&self) -> bool {
        self.word & SETTLED != 0
    }
}

impl Pooled for Record {
    fn new() -> Self {
        Self::new()
    }

    fn links(&self) -> &Links {
        &self.links
    }
}

/// Gives a record to a thread of this process, and a number with it. `None` if too many threads
/// have one. May allocate.
pub(crate) fn claim(process: u64, system_id: i32) -> Option<&'static Record> {
    let is_ready = |record: &Record| match record.system_id() {
        0 => true,
        thread => !thread_exists(thread),
    };
    let record = RECORDS.claim(is_ready)?;
    record.withdraw();
    record.domains.clear();
    let last = record.last_number.load(Ordering::Relaxed).max(u64::from(record.links.index()));
    let number = last + STEP;
    record.last_number.store(number, Ordering::Relaxed);
    record.lives_in(process, system_id);
    // Release; pairs with the Acquire in `of`
    record.number.store(number, Ordering::Release);
    // After that, or the thread before would look as if it were gone without an end, F2. Release;
    // pairs with the Acquire in `has_ended`
    record.has_ended.store(false, Ordering::Release);
    Some(record)
}

/// The record of the thread of that number, unless it has ended.
pub(crate) fn of(number: u64) -> Option<&'static Record> {
    let record = at((number % STEP) as usize)?;
    (number != 0 && record.number() == number).then_some(record)
}

/// The record of that index, whether a thread has it or not.
pub(crate) fn at(index: usize) -> Option<&'static Record> {
    RECORDS.get(index as u32)
}

pub(crate) fn all() -> impl Iterator<Item = &'static Record> {
    RECORDS.iter()
}

impl Record {
    const_fn! {
        fn new() -> Self {
            Self {
                links: Links::new(),
                number: CoreU64::new(0),
                last_number: CoreU64::new(0),
                process: CoreU64::new(0),
                system_id: AtomicI32::new(0),
                has_ended: AtomicBool::new(false),
                domains: Entries::new(),
                word: AtomicU64::new(0),
                target: AtomicPtr::new(ptr::null_mut()),
                queue: CoreU64::new(0),
                kind: CoreU64::new(0),
            }
        }
    }

    pub(crate) fn number(&self) -> u64 {
        // Acquire; pairs with the Release in `claim`
        self.number.load(Ordering::Acquire)
    }

    pub(crate) fn index(&self) -> usize {
        self.links.index() as usize
    }

    pub(crate) fn process(&self) -> u64 {
        self.process.load(Ordering::Relaxed)
    }

    pub(crate) fn system_id(&self) -> i32 {
        self.system_id.load(Ordering::Relaxed)
    }

    /// Notes where its thread is: after a fork, it is in the child as well.
    pub(crate) fn lives_in(&self, process: u64, system_id: i32) {
        self.system_id.store(system_id, Ordering::Relaxed);
        self.process.store(process, Ordering::Relaxed);
    }

    /// Whether its thread has given it back.
    pub(crate) fn has_ended(&self) -> bool {
        // Acquire; pairs with the Release in `claim`
        self.has_ended.load(Ordering::Acquire)
    }

    /// At the end of its thread.
    pub(crate) fn give_back(&self) {
        self.has_ended.store(true, Ordering::Relaxed);
        RECORDS.give_back(self);
    }

    /// Publishes an edge, in place of the one before. Returns its generation.
    pub(crate) fn publish(&self, edge: Edge, is_settled: bool) -> u64 {
        self.withdraw();
        // [fields:S] Release; pairs with [edge:F]
        self.target.store(ptr::from_ref(edge.post).cast_mut(), Ordering::Release);
        self.queue.store(edge.queue, Ordering::Release);
        self.kind.store(edge.kind as u64, Ordering::Release);
        let generation = self.word.load(Ordering::Relaxed) + GENERATION;
        let settled = if is_settled { SETTLED } else { 0 };
        // [edge:S] Release; pairs with [edge:L]
        self.word.store(generation | WAITS | settled, Ordering::Release);
        generation
    }

    /// Withdraws the edge, if there is one.
    pub(crate) fn withdraw(&self) {
        let word = self.word.load(Ordering::Relaxed);
        if word & WAITS != 0 {
            // [edge:S] Release; pairs with [edge:L]
            self.word.store(word & !(WAITS | SETTLED), Ordering::Release);
        }
    }

    /// Whether the edge of this generation is published.
    pub(crate) fn has_published(&self, generation: u64) -> bool {
        self.word.load(Ordering::Relaxed) & !SETTLED == generation | WAITS
    }

    /// Says of the edge that from now on each pop of its queue is announced.
    pub(crate) fn settle(&self) {
        let word = self.word.load(Ordering::Relaxed);
        // [edge:S] Release; pairs with [edge:L]
        self.word.store(word | SETTLED, Ordering::Release);
    }

    /// The edge that its thread has published, if it lives in this process.
    pub(crate) fn edge(&self, process: u64) -> Option<SeenEdge> {
        // [edge:L] Acquire; pairs with [edge:S]
        let word = self.word.load(Ordering::Acquire);
        if word & WAITS == 0 || self.process() != process {
            return None;
        }
        let target = self.target.load(Ordering::Relaxed).cast_const();
        let queue = self.queue.load(Ordering::Relaxed);
        let kind = match self.kind.load(Ordering::Relaxed) {
            kind if kind == Kind::Room as u64 => Kind::Room,
            kind if kind == Kind::Listener as u64 => Kind::Listener,
            _ => Kind::ListenerInTime,
        };
        // [edge:F] Acquire; pairs with [fields:S], [edge:S]
        fence(Ordering::Acquire);
        if self.word.load(Ordering::Relaxed) != word {
            return None;
        }
        // SAFETY: E2: a post, and those are never freed.
        let post = unsafe { target.as_ref() }?;
        Some(SeenEdge { edge: Edge { post, queue, kind }, word })
    }

    /// Whether its thread is in that domain. For signal handlers too, of its own thread.
    pub(crate) fn is_in(&self, domain: u64) -> bool {
        self.domains.entry(domain).is_some()
    }

    /// Enters a domain once more. May allocate, so not for signal handlers.
    pub(crate) fn enter(&self, domain: u64) {
        loop {
            if let Some(entry) = self.domains.entry(domain) {
                entry.count.fetch_add(1, Ordering::Relaxed);
                return;
            }
            if let Some(entry) = self.domains.iter().find(|entry| entry.is_free()) {
                entry.domain.store(domain, Ordering::Relaxed);
                // Release: a handler that finds the count finds the domain.
                entry.count.store(1, Ordering::Release);
                return;
            }
            // An allocator hook may enter meanwhile, so look again.
            self.domains.grow();
        }
    }

    /// Leaves a domain once.
    pub(crate) fn leave(&self, domain: u64) {
        if let Some(entry) = self.domains.entry(domain) {
            entry.count.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// In which domains a thread is. It grows, and is used again by the next thread.
struct Entries {
    first: [Entry; 4],
    more: CorePtr<Entries>,
}

/// A domain, and how often the thread has entered it; free with a count of 0. Where the domain is
/// 0, the thread has used neither this one nor those behind it.
struct Entry {
    domain: CoreU64,
    count: CoreU64,
}

impl Entry {
    fn is_free(&self) -> bool {
        self.count.load(Ordering::Acquire) == 0
    }
}

impl Entries {
    const fn new() -> Self {
        let first = [const { Entry { domain: CoreU64::new(0), count: CoreU64::new(0) } }; 4];
        Self { first, more: CorePtr::new(ptr::null_mut()) }
    }

    fn iter(&self) -> impl Iterator<Item = &Entry> {
        let next = |entries: &&Self| {
            // SAFETY: null, or from `Box::into_raw` and never freed.
            unsafe { entries.more.load(Ordering::Acquire).as_ref() }
        };
        iter::successors(Some(self), next).flat_map(|entries| &entries.first)
    }

    fn entry(&self, domain: u64) -> Option<&Entry> {
        self.iter()
            .take_while(|entry| entry.domain.load(Ordering::Relaxed) != 0)
            .find(|entry| !entry.is_free() && entry.domain.load(Ordering::Relaxed) == domain)
    }

    /// For the next thread.
    fn clear(&self) {
        for entry in self.iter() {
            entry.count.store(0, Ordering::Relaxed);
            entry.domain.store(0, Ordering::Relaxed);
        }
    }

    /// Adds room for more.
    fn grow(&self) {
        let new = Box::into_raw(Box::new(Self::new()));
        let mut last = &self.more;
        // Release; pairs with the Acquire in `iter`. Another one may be there by now: an allocator
        // hook's.
        while let Err(next) =
            last.compare_exchange(ptr::null_mut(), new, Ordering::Release, Ordering::Acquire)
        {
            // SAFETY: from `Box::into_raw` and never freed.
            last = unsafe { &(*next).more };
        }
    }
}
