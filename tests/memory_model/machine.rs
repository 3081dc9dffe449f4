//! What a machine keeps in order.
//!
//! On each, there is one memory, and what one thread sees there every other can see ("multi-copy
//! atomic"). What differs is which operations of one thread wait for which earlier ones.
//!
//! * [`X86`](Machine::X86): a store waits in the thread's store buffer while later loads are
//!   performed; all else is in order, and a locked instruction or a fence empties the buffer first.
//!   From P. Sewell et al., "x86-TSO: a rigorous and usable programmer's model for x86
//!   multiprocessors" (CACM 2010).
//! * [`Arm`](Machine::Arm): ARMv8. Anything may be performed ahead of anything, except for the rows
//!   of [`Machine::orders`]. From C. Pulte et al., "Simplifying ARM concurrency" (POPL 2018), whose
//!   operational model (Flat) and axioms (Arm's `aarch64.cat`) agree.
//! * [`Language`](Machine::Language): `Arm` without what Rust does not ask of it. A sequentially
//!   consistent access is in order with another one, but a Release store that is not may come after
//!   a later load. No machine is like this; it is there to tell what the code may rely on from what
//!   it happens to get. (It is not all of the language's freedom: it has dependencies and one
//!   memory.)
//!
//! | in Rust | x86-64 | ARMv8 |
//! |---|---|---|
//! | load Relaxed, Acquire, SeqCst | `mov` | `ldr`, `ldapr` or `ldar`, `ldar` |
//! | store Relaxed, Release, SeqCst | `mov`, `mov`, `xchg` | `str`, `stlr`, `stlr` |
//! | exchange | locked | `ldxr`, `stxr`; `ldaxr` with Acquire, `stlxr` with Release |
//! | fence SeqCst | `mfence` or locked | `dmb ish` |
//! | fence Acquire | – | `dmb ishld` |
//!
//! Where compilers have a choice, the weaker one is taken here: `ldapr` (which may be ahead of an
//! earlier `stlr`) for `ldar`, and for one instruction (`casal`) the pair of an exclusive load and
//! an exclusive store, as later loads may be performed between the two. A failed exchange is a load
//! with the failure's ordering, though the machine's is stronger.
//!
//! A system call of the futex is a full fence, as in Linux: the two barriers, (A) and (B), of
//! `kernel/futex/`.

use crate::program::{Ordering, Place};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Machine {
    X86,
    Arm,
    Language,
}

pub(crate) const MACHINES: [Machine; 3] = [Machine::X86, Machine::Arm, Machine::Language];

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Read,
    Write,
    /// A branch of which it is not known yet where it goes.
    Branch,
    /// Fences, and system calls.
    Full,
    /// An Acquire fence, which waits for reads, and lets nothing ahead.
    ReadFence,
}

/// A part of an operation which is performed in one moment.
#[derive(Clone, Copy)]
pub(crate) struct Event {
    pub(crate) kind: Kind,
    pub(crate) at: Option<Place>,
    pub(crate) order: Ordering,
    /// Whether it is half of an exchange.
    pub(crate) is_exchange: bool,
    /// Whether the place is known.
    pub(crate) has_address: bool,
}

impl Event {
    fn acquires(&self) -> bool {
        use Ordering::*;
        self.kind == Kind::Read && matches!(self.order, Acquire | AcqRel | SeqCst)
    }

    fn releases(&self) -> bool {
        use Ordering::*;
        self.kind == Kind::Write && matches!(self.order, Release | AcqRel | SeqCst)
    }

    /// Whether it is `ldar` or `ldaxr`, and not `ldapr`.
    fn is_strong_acquire(&self) -> bool {
        self.acquires() && (self.is_exchange || self.order == Ordering::SeqCst)
    }

    fn is_sequential(&self) -> bool {
        self.order == Ordering::SeqCst
    }

    /// Whether it empties the store buffer.
    fn is_locked(&self) -> bool {
        self.kind == Kind::Full
            || self.is_exchange
            || (self.kind == Kind::Write && self.is_sequential())
    }
}

impl Machine {
    /// Whether `later` must wait until `earlier`, of the same thread, has been performed.
    ///
    /// For two reads of one place, and for a read after a write, `explorer` sees to it that the
    /// later one returns nothing older.
    pub(crate) fn orders(self, earlier: &Event, later: &Event) -> bool {
        use Kind::*;
        if self == Self::X86 {
            let is_buffered = earlier.kind == Write && matches!(later.kind, Read | ReadFence);
            return !is_buffered || earlier.is_locked() || later.is_locked();
        }
        let is_same_place = earlier.at.is_some() && earlier.at == later.at;
        let is_sequential = match self {
            Self::Language => earlier.is_sequential() && later.is_sequential(),
            _ => earlier.releases() && later.is_strong_acquire(),
        };
        match (earlier.kind, later.kind) {
            (Full | ReadFence, _) | (_, Full) | (Read, ReadFence) => true,
            (_, ReadFence) => false,
            _ if earlier.acquires() || later.releases() => true,
            // Nobody sees a write that may not come to pass.
            (Branch, Write) => true,
            (_, Write) if !earlier.has_address => true,
            (Read | Write, Write) => is_same_place,
            (Write, Read) => is_sequential,
            (Read, Read) | (Branch, Read) | (_, Branch) => false,
        }
    }

    /// Whether `earlier` lets nothing ahead, so that what comes later need not be looked at yet.
    pub(crate) fn orders_all(self, earlier: &Event) -> bool {
        match self {
            Self::X86 => earlier.kind != Kind::Write || earlier.is_locked(),
            _ => matches!(earlier.kind, Kind::Full | Kind::ReadFence) || earlier.acquires(),
        }
    }

    /// Whether an exchange is performed in one moment.
    pub(crate) fn locks(self) -> bool {
        self == Self::X86
    }

    /// Whether `read` may return what an earlier exchange of the same thread is about to write.
    pub(crate) fn forwards_exchange(self, read: &Event) -> bool {
        !read.acquires()
    }
}
