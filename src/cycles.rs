//! Who waits for whom: a push that would close a cycle of waits must not wait.
//!
//! A thread that sleeps in a push into the full queue Q waits for Q's consumer to pop. If Q's
//! consumer itself sleeps in a push into the full queue R, the first thread waits for R's consumer
//! as well, and so on. If that chain leads back to the first thread, no wait in it can end.
//! Operating systems call this a wait-for graph (Coffman, Elphick and Shoshani, *System Deadlocks*,
//! 1971). Ordinary channels cannot build this graph, because they do not know which threads their
//! consumers are on. The queues of this crate know it.
//!
//! # The graph
//!
//! The *members* of a queue are the threads that must not wait for its consumer: the consumer's
//! thread and the threads in its domain (`domain.rs`). An *edge* leads from a thread t to a queue
//! Q. There are two kinds:
//!
//! * *room*: t waits in a push, without a deadline, for room in Q. The edge *holds* while the ring
//!   of Q is full and open.
//! * *end*: t drops a `Listener`, and waits until the consumer of Q has handled everything. The
//!   edge holds until t withdraws it.
//!
//! A wait with a deadline ends by itself, so it is no edge. A thread waits in one place at a time,
//! so it has one edge at most. Queue Q *waits for* thread s if s is a member of Q, or if a member
//! of Q has an edge that holds and leads to a queue that waits for s.
//!
//! A thread that is not the consumer's thread of any queue, and in no domain, is not a member of
//! any queue. So it cannot be on a cycle, and takes no part in any of this. For a thread that never
//! was a member, `own_number` is 0.
//!
//! # Looking
//!
//! Before each sleep, a thread s that has a number *looks*: it follows the edges from the queue
//! that it is about to wait for. There are three answers:
//!
//! * `Never`: that queue waits for s. So s must not wait.
//! * `Ends`: that queue does not wait for s. So s may sleep until it is woken.
//! * `AskAgain`: the graph is changing, or another thread is looking. So s may nap, and then looks
//!   again.
//!
//! # Invariants
//!
//! * **G1** *Publish, look, sleep, withdraw, try.* A thread publishes its edge, and then looks. It
//!   withdraws the edge when it was woken, or when the edge holds no more, and only then tries
//!   again. So a thread that has got what it waited for has no edge, even if it is stopped right
//!   there. And a thread that only looks again has one all the time.
//!   (An *end* edge may outlast its wait until its thread runs again. So a handler may be told
//!   `Never` just after a flush without a timeout was served.)
//! * **G2** *One at a time.* A thread looks only while it holds `looking_process`, a lock that
//!   threads try but never wait for. A thread that does not get the lock is told `AskAgain`. So all
//!   looks have one order, and each happens before the next.
//! * **G3** *No edge is overlooked.* Suppose that all threads of a cycle sleep without bound. Each
//!   has published its edge, then looked, then fallen asleep. Take the one that looked last. By G1
//!   and G2, the others published their edges before that look. Each thread found the ring that it
//!   waits for full when it looked. If all these rings are still full, the last look finds the
//!   cycle. If one has room, the answer is `AskAgain`, so the thread looks again, and this was not
//!   the last look. So there is no such cycle.
//! * **G4** *No edge is invented.* A look accepts a path only if a second pass finds all of it
//!   unchanged: the generation of each record, which changes with each publication and withdrawal;
//!   the head index of each ring, which changes with each pop; each ring full and open; and each
//!   thread still a member. Heads and generations only grow. So between the two passes there was a
//!   moment at which all the edges held.
//! * **G5** *A queue stays while a look reads it.* An edge names a queue by its address, and its
//!   owner holds that queue only until it withdraws the edge. So a look first says in `looking_at`
//!   which queue it is about to read, executes a fence (`[look:F]`), and reads the generation
//!   again. A queue is freed only after all edges to it are withdrawn. The thread that frees it
//!   first executes a fence (`[free:F]`), and waits while `looking_at` is the queue's address. One
//!   of the two fences comes first: either the look sees the withdrawal, or the thread that frees
//!   the queue sees the look.
//! * **G6** *One thread is told.* A thread that is told `Never` withdraws its edge before it ends
//!   the look, so no other thread sees the cycle. Mostly this is the thread whose push would close
//!   the cycle. (If another thread of the cycle looks again after this thread has published its
//!   edge, and before this thread finds the cycle, that one is told.) The others wait for it.
//!
//! # A thread that is stopped during a look
//!
//! A thread that is stopped during a look holds up nobody's push. Other threads that want to look
//! are told `AskAgain`, so they nap instead of sleeping without bound. They are woken as usual, and
//! find a cycle once the stopped thread has continued. A look runs no user code and allocates
//! nothing, and the number of its steps is bounded by the square of the number of edges. Only one
//! thing waits for a look: the destruction of the queue that it is reading.
//!
//! After a fork, the records and the lock of threads that stayed in the parent are still there.
//! They say which process they belong to, and the child ignores them.
//!
//! # Orderings
//!
//! | label | site | operation and ordering | pairs with | publishes | model that fails if weakened |
//! |---|---|---|---|---|---|
//! | [look:A] | trying the lock | exchange Acquire | [look:R] | the marks of earlier looks, and edges (G3) | argued: before each look is [sleep:F], which orders the edges too, so no model can tell |
//! | [look:R] | giving the lock back | exchange Release | [look:A] | the same | argued, as above |
//! | [edge:S] | publishing and withdrawing | store of the generation, Release | [edge:L] | the fields of the edge | argued, E2 |
//! | [edge:L] | reading an edge | load of the generation, Acquire | [edge:S] | the same | argued, E2 |
//! | [fields:S] | writing an edge | stores of the fields, Release | [look:F] | that the earlier edge was withdrawn | argued, E2 |
//! | [look:F] | after `looking_at`, before the generation is read again | fence SeqCst | [free:F] | the look | argued, G5 |
//! | [free:F] | before a queue is freed | fence SeqCst | [look:F] | the withdrawal | argued, G5 |
//!
//! Where correctness depends on a step, and not on its ordering, `tests/cycles.rs` runs the code
//! step by step. `two_queues_in_a_circle_do_not_deadlock` and
//! `three_queues_in_a_circle_do_not_deadlock` fail if the looks are removed, and
//! `nothing_is_refused_for_two_waits_that_were_never_there_together` if the second pass is, G4. The
//! marks of a look are Relaxed, because the lock orders them.

use core::ptr;
use std::thread;

use crate::edges::{Edge, Fields, Record, records};
use crate::fork::process;
use crate::identity;
use crate::node::Node;
use crate::sync::{AtomicPtr, AtomicU64, Ordering, const_fn, fence};

/// What a thread waits for.
#[derive(Clone, Copy)]
pub(crate) enum Until {
    /// For room in a ring of this capacity.
    Room { capacity: u64 },
    /// For the consumer to end.
    End,
}

impl Until {
    /// In place of a capacity: the edge holds whether the ring is full or not.
    const END: u64 = 0;

    /// As a number, for the fields of an edge.
    fn capacity(self) -> u64 {
        match self {
            Self::Room { capacity } => capacity,
            Self::End => Self::END,
        }
    }

    fn of_capacity(capacity: u64) -> Self {
        if capacity == Self::END { Self::End } else { Self::Room { capacity } }
    }

    /// Whether a wait for this goes on.
    fn holds(self, node: &Node) -> bool {
        match self {
            Self::Room { capacity } => {
                node.tail.is_full(&node.head, capacity) && !node.tail.is_closed()
            }
            Self::End => true,
        }
    }
}

/// What a look has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The wait may end.
    Ends,
    /// The wait never ends: it would be a wait for the calling thread.
    Never,
    /// The graph is changing, or another thread is looking at it.
    AskAgain,
}

/// Who looks, and at what.
struct Graph {
    /// The process of the thread that looks, or 0.
    looking_process: AtomicU64,
    looking_at: AtomicPtr<Node>,
    /// How many looks there were.
    looks: AtomicU64,
}

#[cfg(not(bywash_loom))]
static GRAPH: Graph = Graph::new();
#[cfg(bywash_loom)]
loom::lazy_static! {
    static ref GRAPH: Graph = Graph::new();
}

impl Graph {
    const_fn! {
        fn new() -> Self {
            Self {
                looking_process: AtomicU64::new(0),
                looking_at: AtomicPtr::new(ptr::null_mut()),
                looks: AtomicU64::new(0),
            }
        }
    }
}

/// A wait of the calling thread, which looks before each sleep.
pub(crate) struct Wait<'a> {
    /// 0 for a thread that is on no cycle.
    thread: u64,
    node: &'a Node,
    until: Until,
    has_deadline: bool,
    /// `None` before the first look and after a wake-up, and if the wait has a deadline.
    edge: Option<Edge>,
}

impl<'a> Wait<'a> {
    /// Begins a wait for `node`. Without a deadline, it is an edge from a look on, until it is
    /// withdrawn.
    pub(crate) fn begin(node: &'a Node, until: Until, has_deadline: bool) -> Self {
        Self { thread: identity::own_number() as u64, node, until, has_deadline, edge: None }
    }

    /// Whether the wait may end. After `Never`, there must be no wait.
    pub(crate) fn look(&mut self) -> Answer {
        if self.thread == 0 {
            return Answer::Ends;
        }
        let process = process();
        // G1. An edge that was published before a fork counts for the parent only.
        let is_published = self.edge.as_ref().is_some_and(|edge| edge.is_of(process));
        if !is_published && !self.has_deadline {
            // First, as the record is used again.
            self.withdraw();
            self.edge = self.publish(process);
        }
        let Some(look) = Look::begin(process) else {
            return Answer::AskAgain;
        };
        match look.follow(self.node, self.thread) {
            Answer::Never => {
                // G6: before the next thread looks.
                self.withdraw();
                Answer::Never
            }
            // A thread without a record is visible to nobody, so it does not sleep without bound.
            Answer::Ends if self.edge.is_none() && !self.has_deadline => Answer::AskAgain,
            answer => answer,
        }
    }

    /// Whether there is an edge, and it holds.
    pub(crate) fn holds(&self) -> bool {
        self.edge.is_some() && self.until.holds(self.node)
    }

    /// After a sleep, and before the thread takes what it has waited for, G1.
    pub(crate) fn withdraw(&mut self) {
        self.edge = None;
    }

    fn publish(&self, process: u64) -> Option<Edge> {
        let target = ptr::from_ref(self.node).cast();
        let capacity = self.until.capacity();
        Edge::publish(Fields { thread: self.thread, target, capacity }, process)
    }

    /// Whether the wait has to look again after a while, as nobody else would find a cycle with it.
    pub(crate) fn must_look_again(&self, answer: Answer) -> bool {
        self.thread != 0 && (answer == Answer::AskAgain || self.edge.is_none())
    }
}

/// The right to look, G2.
struct Look {
    process: u64,
    number: u64,
}

impl Look {
    fn begin(process: u64) -> Option<Self> {
        let mut holder = 0;
        loop {
            // [look:A] Acquire; pairs with [look:R]
            let (success, failure) = (Ordering::Acquire, Ordering::Relaxed);
            match GRAPH.looking_process.compare_exchange(holder, process, success, failure) {
                Ok(_) => break,
                Err(now) if now == process => return None,
                // A thread that stayed in the parent when this process was forked; or it is free.
                Err(now) => holder = now,
            }
        }
        let number = GRAPH.looks.load(Ordering::Relaxed) + 1;
        GRAPH.looks.store(number, Ordering::Relaxed);
        Some(Self { process, number })
    }

    /// Follows the edges from `start`, in search of a queue of which `thread` is a member.
    fn follow(&self, start: &Node, thread: u64) -> Answer {
        let mut is_changing = false;
        let mut to_visit = ptr::null_mut();
        self.visit_members(start, ptr::null_mut(), &mut to_visit);
        // SAFETY: null or a record, and records are never freed, E1.
        while let Some(record) = unsafe { to_visit.cast_const().as_ref() } {
            to_visit = record.mark.to_visit_next.load(Ordering::Relaxed);
            let Some(edge) = self.read(record) else {
                // Its owner looks later than this thread does, if it goes on to wait.
                continue;
            };
            // Before `holds`: if the head is the same later, the ring was full at this very head.
            record.mark.head.store(edge.node.head.index(), Ordering::Relaxed);
            if !edge.holds() {
                is_changing = true;
                continue;
            }
            if !edge.node.members.contains(thread as usize) {
                self.visit_members(edge.node, ptr::from_ref(record).cast_mut(), &mut to_visit);
            } else if self.is_unchanged(record, start) {
                return Answer::Never;
            } else {
                is_changing = true;
            }
        }
        if is_changing { Answer::AskAgain } else { Answer::Ends }
    }

    /// Adds the edges of the members of `node` to those that are to be visited.
    fn visit_members(&self, node: &Node, from: *mut Record, to_visit: &mut *mut Record) {
        for record in records() {
            let Some(generation) = record.published(self.process) else { continue };
            let is_new = record.mark.look.load(Ordering::Relaxed) != self.number;
            if is_new && node.members.contains(record.fields().thread as usize) {
                record.mark.look.store(self.number, Ordering::Relaxed);
                record.mark.generation.store(generation, Ordering::Relaxed);
                record.mark.from.store(from, Ordering::Relaxed);
                record.mark.to_visit_next.store(*to_visit, Ordering::Relaxed);
                *to_visit = ptr::from_ref(record).cast_mut();
            }
        }
    }

    /// The edge, if it is still the one that was seen. Its queue is not freed before the next call,
    /// or before the look ends, G5.
    fn read(&self, record: &Record) -> Option<SeenEdge<'_>> {
        let Fields { thread, target, capacity } = record.fields();
        let node = target.cast::<Node>();
        // Release; pairs with the Acquire in `before_free`.
        GRAPH.looking_at.store(node.cast_mut(), Ordering::Release);
        // [look:F] SeqCst; pairs with [free:F], [fields:S]
        fence(Ordering::SeqCst);
        let seen = record.mark.generation.load(Ordering::Relaxed);
        if record.published(self.process) != Some(seen) {
            return None;
        }
        // SAFETY: G5: the edge was published after `looking_at` was set.
        let node = unsafe { &*node };
        Some(SeenEdge { node, thread: thread as usize, until: Until::of_capacity(capacity) })
    }

    /// Whether the path from `start` to `last` is as it was seen, G4.
    fn is_unchanged(&self, last: &Record, start: &Node) -> bool {
        let mut record = last;
        loop {
            let Some(edge) = self.read(record) else { return false };
            let head = record.mark.head.load(Ordering::Relaxed);
            if !edge.holds() || edge.node.head.index() != head {
                return false;
            }
            let thread = edge.thread;
            let from = record.mark.from.load(Ordering::Relaxed).cast_const();
            // SAFETY: null or a record, and records are never freed, E1.
            let Some(from) = (unsafe { from.as_ref() }) else {
                return start.members.contains(thread);
            };
            if !self.read(from).is_some_and(|edge| edge.node.members.contains(thread)) {
                return false;
            }
            record = from;
        }
    }
}

/// An edge as a look has read it.
struct SeenEdge<'a> {
    node: &'a Node,
    thread: usize,
    until: Until,
}

impl SeenEdge<'_> {
    fn holds(&self) -> bool {
        self.until.holds(self.node)
    }
}

impl Drop for Look {
    fn drop(&mut self) {
        if GRAPH.looking_process.load(Ordering::Relaxed) == self.process {
            GRAPH.looking_at.store(ptr::null_mut(), Ordering::Release);
        }
        // [look:R] Release; pairs with [look:A]. Where it fails, this process was forked inside of
        // the look, and another thread of the child has taken the lock from its copy.
        let (success, failure) = (Ordering::Release, Ordering::Relaxed);
        let _ = GRAPH.looking_process.compare_exchange(self.process, 0, success, failure);
    }
}

/// Waits until no thread looks at `node`, before it is freed. It has no edges any more, G5.
pub(crate) fn before_free(node: &Node) {
    // [free:F] SeqCst; pairs with [look:F]
    fence(Ordering::SeqCst);
    // Acquire; pairs with the Release in `read` and at the end of a look.
    while GRAPH.looking_at.load(Ordering::Acquire).cast_const() == ptr::from_ref(node)
        // Acquire; pairs with [look:R]: this way out, too, comes after what the look has read.
        && GRAPH.looking_process.load(Ordering::Acquire) == process()
    {
        thread::yield_now();
    }
}
