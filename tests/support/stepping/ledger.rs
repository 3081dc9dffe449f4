//! Counts what each source pushes. Each source numbers its items, and a reader checks that none is
//! missing, doubled or out of order.
//!
//! Everything here may run in handlers and hooks.

use std::cell::Cell;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use bywash::Producer;

pub(crate) const THREADS: usize = 5;

/// The kind of code that pushes. On each thread, one of each kind runs at a time.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    Thread,
    Handler,
    /// In a handler that interrupted a handler.
    Nested,
    Allocator,
    PanicHook,
}

const KINDS: usize = 5;
const NAMES: [&str; KINDS] =
    ["threads", "handlers", "nested handlers", "the allocator", "panic hooks"];

#[derive(Debug)]
pub(crate) struct Item {
    source: usize,
    number: u64,
    check: u64,
}

impl Item {
    fn new(source: usize, number: u64) -> Self {
        Self { source, number, check: !number ^ source as u64 }
    }

    /// The item that tells the consumer to end.
    pub(crate) fn last() -> Self {
        Self::new(usize::MAX, 0)
    }

    pub(crate) fn is_last(&self) -> bool {
        self.source == usize::MAX
    }
}

struct Source {
    accepted: AtomicU64,
    refused: AtomicU64,
}

static SOURCES: [Source; THREADS * KINDS] =
    [const { Source { accepted: AtomicU64::new(0), refused: AtomicU64::new(0) } }; THREADS * KINDS];

/// The producer that handlers and hooks use.
static PRODUCER: AtomicPtr<Producer<Item>> = AtomicPtr::new(ptr::null_mut());

thread_local! {
    static THREAD: Cell<Option<usize>> = const { Cell::new(None) };
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

/// Begins anew, with `producer` for the handlers and hooks of threads that have entered.
pub(crate) fn open(producer: Producer<Item>) {
    for source in &SOURCES {
        source.accepted.store(0, Ordering::Relaxed);
        source.refused.store(0, Ordering::Relaxed);
    }
    PRODUCER.store(Box::into_raw(Box::new(producer)), Ordering::SeqCst);
}

/// Drops the producer. All threads have left.
pub(crate) fn close() {
    let producer = PRODUCER.swap(ptr::null_mut(), Ordering::SeqCst);
    // SAFETY: from `Box::into_raw` in `open`, and nothing uses it any more.
    drop(unsafe { Box::from_raw(producer) });
}

/// Makes the calling thread the one with this number.
pub(crate) fn enter(thread: usize) {
    THREAD.set(Some(thread));
}

/// Runs `body` as a handler of a signal.
pub(crate) fn in_handler(body: impl FnOnce(Kind)) {
    let depth = DEPTH.get();
    DEPTH.set(depth + 1);
    body(if depth == 0 { Kind::Handler } else { Kind::Nested });
    DEPTH.set(depth);
}

pub(crate) fn is_in_handler() -> bool {
    DEPTH.get() != 0
}

/// Pushes the next item of this thread and kind with `try_push`, if there is a queue.
pub(crate) fn push(kind: Kind) {
    // SAFETY: null, or valid until all threads have left.
    if let Some(producer) = unsafe { PRODUCER.load(Ordering::Relaxed).as_ref() } {
        push_by(kind, |item| producer.try_push(item).is_ok());
    }
}

/// Pushes the next item of this thread and kind with `push`, which returns whether it was accepted.
pub(crate) fn push_by(kind: Kind, push: impl FnOnce(Item) -> bool) {
    let Some(thread) = THREAD.get() else { return };
    let number = thread * KINDS + kind as usize;
    let source = &SOURCES[number];
    let accepted = source.accepted.load(Ordering::Relaxed);
    if push(Item::new(number, accepted)) {
        source.accepted.store(accepted + 1, Ordering::Relaxed);
    } else {
        source.refused.fetch_add(1, Ordering::Relaxed);
    }
}

/// How many items of each source were read.
#[derive(Clone, Default)]
pub(crate) struct Reader {
    read: [u64; THREADS * KINDS],
}

impl Reader {
    pub(crate) fn read(&mut self, item: &Item) {
        assert_eq!(item.check, !item.number ^ item.source as u64, "torn: {item:?}");
        let next = &mut self.read[item.source];
        assert_eq!(item.number, *next, "of source {}", item.source);
        *next += 1;
    }

    /// Checks that all accepted items were read, and no others, except for up to `more` of a
    /// source, which may not have been counted yet.
    pub(crate) fn check(&self, more: u64) {
        for (number, (source, &read)) in SOURCES.iter().zip(&self.read).enumerate() {
            let accepted = source.accepted.load(Ordering::SeqCst);
            assert!(
                (accepted..=accepted + more).contains(&read),
                "{read} of {accepted} of source {number}"
            );
        }
    }

    /// How many items of each kind there were.
    pub(crate) fn summary(&self) -> String {
        let mut text = String::from("pushed");
        for (kind, name) in NAMES.iter().enumerate() {
            let of_kind = || SOURCES.iter().skip(kind).step_by(KINDS);
            let accepted: u64 =
                of_kind().map(|source| source.accepted.load(Ordering::Relaxed)).sum();
            let refused: u64 = of_kind().map(|source| source.refused.load(Ordering::Relaxed)).sum();
            if accepted + refused != 0 {
                text += &format!(" {accepted} by {name} ({refused} refused)");
            }
        }
        text
    }
}

/// Prints what is known of each source and thread, for the case that nothing moves any more.
pub(crate) fn print_state() {
    for (number, source) in SOURCES.iter().enumerate() {
        eprintln!(
            "source {number}: accepted {source}",
            source = source.accepted.load(Ordering::Relaxed)
        );
    }
    for thread in std::fs::read_dir("/proc/self/task").unwrap() {
        let path = thread.unwrap().path();
        let read = |name| std::fs::read_to_string(path.join(name)).unwrap_or_default();
        eprintln!("{}: {} {}", path.display(), read("stat").trim(), read("syscall").trim());
    }
}
