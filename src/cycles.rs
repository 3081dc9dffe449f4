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
//! thread and the threads in its domain (`threads/members.rs`). An *edge* leads from a thread to a
//! queue: the thread waits
//!
//! * in a push without a deadline, for room. The edge *counts* while the ring is full and open. Or
//! * for the queue's listener, in a `flush` or `stop`, or when it drops a `Listener`. The edge
//!   counts until it is withdrawn. If that wait has a deadline, it counts only for other waits for
//!   a listener: a push that waited for it would get its room in time.
//!
//! A push with a deadline ends by itself, so it is no edge. A thread waits in one place at a time,
//! so it has one edge at most. Queue Q *waits for* thread s if s is a member of Q, or if a member
//! of Q has an edge that counts and leads to a queue that waits for s.
//!
//! A thread that is not the consumer's thread of any queue, and in no domain, is not a member of
//! any queue. So it cannot be on a cycle. It has no record, and takes no part in any of this.
//!
//! # What is read
//!
//! Nobody follows a pointer to a queue: its owner may move or free it at any time. An edge lies in
//! the *record* of its thread (`threads/records.rs`), and leads to the *post* of a queue, a place
//! that stands for the queue here. Records and posts are never freed (`threads/pool.rs`). A post
//! says who the consumer is, which domain it has, and whether the ring is full:
//!
//! * `full_at` is one more than the head index at which some thread has seen the ring full. (Full
//!   at a head index, it remains full until the head moves.) A thread notes it before it
//!   publishes its edge (until somebody binds there is no post to note it in), each time that it
//!   wakes up and the ring is still full, and when it leaves others asleep.
//! * `head` is the head index after the last pop that was *announced*: each pop announces that sees
//!   a thread registered for room, and so does not cost more otherwise.
//!
//! So the ring is full if `full_at > head`, provided that the thread that waits is *settled*: that
//! it has registered, and then issued a heavy barrier, since which each pop is announced (W2).
//!
//! # Looking
//!
//! Before each sleep, a thread s that has a record *looks*: it follows the edges from the queue
//! that it is about to wait for. There are three answers:
//!
//! * `Never`: that queue waits for s. So s must not wait.
//! * `Ends`: that queue does not wait for s. So s may sleep until it is woken.
//! * `AskAgain`: the graph is changing. So s may nap, and then looks again.
//!
//! # Invariants
//!
//! * **G1** *Publish, look, sleep, withdraw, try.* A thread publishes its edge, and then looks. It
//!   withdraws the edge when there is room, or the queue is closed, and only then tries again. So a
//!   thread that has got what it waited for has no edge, even if it is stopped right there. And a
//!   thread that only looks again has one all the time. (An edge to a listener may outlast its wait
//!   until its thread runs again. So a handler may be told `Never` just after a flush was served.)
//! * **G2** *Full is exact.* Suppose that a settled thread t waits for room, and its post says
//!   full. When t settled and looked at the ring, it saw the ring full at some head, and noted
//!   that. Later pops are announced. So if `full_at > head`, no pop has been announced since a
//!   thread saw the ring full, and the ring is full, but for a pop that has moved the head and not
//!   announced it yet. That pop's thread is no waiting consumer, G4.
//! * **G3** *No edge is overlooked.* Suppose that all threads of a cycle sleep without bound. Each
//!   has published its edge, executed `[look:F]`, looked, and fallen asleep after `Ends`. Take the
//!   one whose fence came last. By the fences, its look read the edges of all others. None can have
//!   been unsettled, or have led to a post that did not say full, or the answer would have been
//!   `AskAgain`. So the look found the cycle.
//! * **G4** *No edge is invented.* Two looks in a row must have read the same: each word of an
//!   edge, which changes with each publication and withdrawal, each head, consumer and domain. So
//!   between the two there was a moment at which all these edges were there. The first look has
//!   read of each consumer that it waits, and so the second one reads what that consumer announced
//!   before: each ring was full at that moment. Of its own ring the thread sees between the two
//!   that it is full. (For a member of a domain that is not the consumer this has a limit: room
//!   that the consumer is making at that very moment may be seen late. And as all must be the same
//!   that was read, a cycle is told late among thousands of members of a domain that wait and are
//!   woken all the time.)
//! * **G5** *One thread is told.* The second look, and the withdrawal that follows `Never`, take a
//!   *turn*, which one thread has at a time, and for which nobody waits: who does not get it is
//!   told `AskAgain`. So no other thread is told of the same cycle. Mostly the one is told whose
//!   push would close the cycle.
//! * **G6** *What was left is not obeyed for long.* A turn that its thread does not end, because it
//!   was stopped, has ended or jumped away, is taken over by one that has found it unchanged over
//!   `NAPS_PER_TURN` naps; so if it was only stopped, two may be told. An edge that its thread has
//!   left by a jump is withdrawn when the thread binds, waits, or pops while somebody waits for
//!   room; a queue that recovers, or is opened again, gets a new number in its post, which no left
//!   edge has. That a queue was closed is noted with its number, so a pusher that closes, and is
//!   stopped in the middle, hides no wait for the next consumer. A consumer that has ended in its
//!   wait will never pop, so to refuse a push that waits for it is right; a member of a domain that
//!   was ended by the system inside of a wait stays one. A child ignores the records of other
//!   processes.
//!
//! A look takes no lock, allocates nothing, runs no user code, and nobody waits for it. It visits
//! each record once at most: two bits for each are on its stack, 4 KiB in all.
//!
//! # Naps
//!
//! A wait whose look said `AskAgain` naps: for 0.1 ms, then a quarter longer each time, to 16 ms.
//! It is woken as from any other sleep. (With a first nap of 1 ms, two services with a ring of
//! one item each took more than twice as long.) A thread that was passed over when room was made,
//! and whose edge nobody has noted to be good again, wakes up after `LONGEST_SLEEP` (W8).
//!
//! # Orderings
//!
//! | label | site | operation and ordering | pairs with | publishes | model that fails if weakened |
//! |---|---|---|---|---|---|
//! | [edge:S] | publishing, settling and withdrawing | store of the word, Release | [edge:L], [edge:F] | the fields of the edge; what the consumer announced before, and the number of its record | `memory_model`: `an_edge_is_read_whole`, `no_cycle_is_invented`, `a_record_is_used_again` |
//! | [edge:L] | reading an edge | load of the word, Acquire | [edge:S] | the fields | `memory_model`: `an_edge_is_read_whole` |
//! | [fields:S] | writing an edge | stores of the fields, Release | [edge:F] | that the earlier edge was withdrawn | `memory_model`: `an_edge_is_read_whole` |
//! | [edge:F] | having read the fields, before the word is read again | fence Acquire | [fields:S], [edge:S] | the same, and with or without [edge:L] what [edge:S] does apart from the fields | `memory_model`: `an_edge_is_read_whole`, `no_cycle_is_invented` |
//! | [look:F] | between publishing and looking | fence SeqCst | itself | the edge | `two_queues_in_a_circle_do_not_deadlock`; `memory_model`: `no_cycle_is_overlooked` |
//! | [room:S] | announcing a pop | store of the head in the post, Relaxed, before [edge:S] | the first look's [edge:L] or [edge:F] | that there is room | `memory_model`: `no_cycle_is_invented`, if it comes later |
//! | [turn:A], [turn:R] | taking and ending a turn | exchange Acquire, exchange Release | each other | that the last one who was told has withdrawn | `one_of_two_in_a_circle_is_told` ([turn:R]); `memory_model`: `one_thread_is_told` |
//!
//! `full_at` is Relaxed: that a ring was full at a head is true whenever it is read. The number in
//! a record and the consumer in a post are published with Release, and each publishes that the edge
//! of an earlier thread was withdrawn; one of the two would do (`memory_model`:
//! `a_record_is_used_again`). The number with which a closing is noted is Relaxed: it is read
//! before `[close:C]`, and a new one is written after `[reopen:A]` (`memory_model`:
//! `an_open_queue_is_not_noted_as_closed`).

use core::mem;
use core::sync::atomic::AtomicU64 as CoreU64;

use crate::sync::{AtomicU64, Ordering, UnmodelledU64, const_fn, fence};
use crate::threads::fork::process;
use crate::threads::identity;
use crate::threads::members::Members;
use crate::threads::pool::{FIRST, Links, Pool, Pooled};
use crate::threads::records::{self, Edge, Kind, LIMIT, Record};

/// How often a thread finds the turn of another unchanged before it takes it over.
const NAPS_PER_TURN: u32 = 32;

/// What stands for a queue in the graph.
pub(crate) struct Post {
    links: Links,
    /// A number that no other queue has, and that the queue had not before it recovered or was
    /// opened again; 0 while this stands for none.
    queue: CoreU64,
    /// The number of the consumer's thread, or 0.
    consumer: AtomicU64,
    /// The number of the consumer's domain, or 0.
    domain: CoreU64,
    /// The number that the queue had when it was closed last, or less.
    closed: CoreU64,
    head: UnmodelledU64,
    full_at: UnmodelledU64,
}

struct Graph {
    posts: Pool<Post, 24>,
    /// The last number that a queue or a domain got.
    last_number: CoreU64,
    /// Odd while a thread has its turn, G5.
    turn: AtomicU64,
}

#[cfg(not(bywash_loom))]
static GRAPH: Graph = Graph::new([const { Post::new() }; FIRST as usize]);
#[cfg(bywash_loom)]
loom::lazy_static! {
    static ref GRAPH: Graph = Graph::new(core::array::from_fn(|_| Post::new()));
}

impl Graph {
    const_fn! {
        fn new(posts: [Post; FIRST as usize]) -> Self {
            let last_number = CoreU64::new(0);
            Self { posts: Pool::new(posts), last_number, turn: AtomicU64::new(0) }
        }
    }
}

/// A number that no queue and no domain had before.
pub(crate) fn new_number() -> u64 {
    GRAPH.last_number.fetch_add(1, Ordering::Relaxed) + 1
}

impl Pooled for Post {
    fn new() -> Self {
        Self::new()
    }

    fn links(&self) -> &Links {
        &self.links
    }
}

impl Post {
    const_fn! {
        fn new() -> Self {
            Self {
                links: Links::new(),
                queue: CoreU64::new(0),
                consumer: AtomicU64::new(0),
                domain: CoreU64::new(0),
                closed: CoreU64::new(0),
                head: UnmodelledU64::new(0),
                full_at: UnmodelledU64::new(0),
            }
        }
    }

    /// For a queue that has none. May allocate.
    ///
    /// # Panics
    ///
    /// Where there are more queues than anybody has memory for.
    pub(crate) fn claim() -> &'static Self {
        let post = GRAPH.posts.claim(|_| true).expect("bywash: a billion queues");
        post.head.store(0, Ordering::Relaxed);
        post.full_at.store(0, Ordering::Relaxed);
        post.renew();
        post
    }

    /// When its queue is gone.
    pub(crate) fn give_back(&self) {
        self.queue.store(0, Ordering::Relaxed);
        self.consumer.store(0, Ordering::Relaxed);
        self.domain.store(0, Ordering::Relaxed);
        GRAPH.posts.give_back(self);
    }

    /// Makes every edge void that leads here, G6, and takes it back that the queue was closed.
    pub(crate) fn renew(&self) {
        self.queue.store(new_number(), Ordering::Relaxed);
    }

    /// The number of the queue.
    pub(crate) fn queue(&self) -> u64 {
        self.queue.load(Ordering::Relaxed)
    }

    /// Tells which thread is the consumer's, by its number; 0 for none.
    pub(crate) fn set_consumer(&self, number: u64) {
        // Release; pairs with the Acquire in `visit_members`: who finds the number finds the record
        self.consumer.store(number, Ordering::Release);
    }

    /// Tells the number of the consumer's domain.
    pub(crate) fn set_domain(&self, number: u64) {
        self.domain.store(number, Ordering::Relaxed);
    }

    /// Tells that the queue was closed. `queue` is the number that it had before: one who closes
    /// and comes late closes nothing that was opened again.
    pub(crate) fn set_closed(&self, queue: u64) {
        self.closed.fetch_max(queue, Ordering::Relaxed);
    }

    /// Notes that the ring was seen full at this head.
    pub(crate) fn note_full(&self, head: u64) {
        if self.full_at.load(Ordering::Relaxed) <= head {
            self.full_at.fetch_max(head + 1, Ordering::Relaxed);
        }
    }

    /// Announces that the consumer has moved the head, while others are registered for room.
    pub(crate) fn announce(&self, head: u64) {
        // [room:S] Relaxed, before [edge:S]
        self.head.store(head, Ordering::Relaxed);
    }

    /// Whether `record` is that of a member.
    fn has_member(&self, record: &Record) -> bool {
        let domain = self.domain.load(Ordering::Relaxed);
        self.consumer.load(Ordering::Relaxed) == record.number()
            || domain != 0 && record.is_in(domain)
    }
}

/// What a look has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The wait may end.
    Ends,
    /// The wait never ends: it would be a wait for the calling thread.
    Never,
    /// The graph is changing, or another thread has its turn.
    AskAgain,
}

/// A wait of the calling thread, which looks before each sleep.
pub(crate) struct Wait<'a> {
    /// `None` for a thread that is on no cycle.
    record: Option<&'static Record>,
    members: &'a Members,
    kind: Kind,
    /// A push with a deadline is no edge.
    is_edge: bool,
    /// Of the edge, once it was published.
    generation: Option<u64>,
    /// The number that its queue had then.
    queue: u64,
    is_settled: bool,
    /// The turn of another that was found at the last look, and how often.
    others_turn: (u64, u32),
}

impl<'a> Wait<'a> {
    /// Begins a wait for room. Without a deadline, it is an edge from a look on, until it is
    /// withdrawn.
    pub(crate) fn for_room(members: &'a Members, has_deadline: bool) -> Self {
        Self::begin(members, Kind::Room, !has_deadline)
    }

    /// Begins a wait for the listener of a queue.
    #[cfg(not(bywash_loom))]
    pub(crate) fn for_listener(members: &'a Members, has_deadline: bool) -> Self {
        let kind = if has_deadline { Kind::ListenerInTime } else { Kind::Listener };
        Self::begin(members, kind, true)
    }

    fn begin(members: &'a Members, kind: Kind, is_edge: bool) -> Self {
        let record = records::of(identity::own_number());
        // For a listener there is nothing that would have to be announced.
        let is_settled = kind != Kind::Room;
        let (generation, queue, others_turn) = (None, 0, (0, 0));
        Self { record, members, kind, is_edge, generation, queue, is_settled, others_turn }
    }

    /// Whether it is an edge of the graph, once it is published.
    pub(crate) fn may_be_on_cycle(&self) -> bool {
        self.record.is_some() && self.is_edge
    }

    /// From now on, each pop of the queue is announced.
    pub(crate) fn settle(&mut self) {
        if !self.is_settled {
            self.is_settled = true;
            if let (Some(record), true) = (self.record, self.has_edge()) {
                record.settle();
            }
        }
    }

    /// Whether its edge is published.
    fn has_edge(&self) -> bool {
        self.record
            .zip(self.generation)
            .is_some_and(|(record, generation)| record.has_published(generation))
    }

    /// Whether the wait may end. After `Never`, there must be no wait. `goes_on` says whether the
    /// thread has still to wait.
    pub(crate) fn look(&mut self, goes_on: impl Fn() -> bool) -> Answer {
        let Some(record) = self.record else {
            return Answer::Ends;
        };
        // A queue without a post was never bound, and may be at any time.
        let Some(post) = self.members.post() else {
            return Answer::AskAgain;
        };
        // G1. A push in a handler may have taken it away, E3, or the queue was opened again.
        let queue = post.queue();
        if self.is_edge && !(self.has_edge() && self.queue == queue) {
            // G2. If the queue had no post before, it was noted nowhere that the ring is full.
            if !goes_on() {
                return Answer::AskAgain;
            }
            let edge = Edge { post, queue, kind: self.kind };
            self.generation = Some(record.publish(edge, self.is_settled));
            self.queue = queue;
        }
        // [look:F] SeqCst; pairs with itself
        fence(Ordering::SeqCst);
        let process = process();
        let look = || Look::new(record, self.kind, process).follow(post);
        let (found, read) = look();
        if found != Answer::Never {
            return found;
        }
        // G4, G5
        let Some(_turn) = Turn::take(&mut self.others_turn) else {
            return Answer::AskAgain;
        };
        if !goes_on() || look() != (Answer::Never, read) {
            return Answer::AskAgain;
        }
        self.withdraw();
        Answer::Never
    }

    /// Before the thread takes what it has waited for, G1.
    pub(crate) fn withdraw(&mut self) {
        if let (Some(record), true) = (self.record, self.has_edge()) {
            record.withdraw();
        }
        self.generation = None;
    }

    /// Whether the wait has to look again after a nap, as nobody else would find a cycle with it.
    pub(crate) fn must_look_again(&self, answer: Answer) -> bool {
        self.record.is_some() && (answer == Answer::AskAgain || self.kind == Kind::ListenerInTime)
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        self.withdraw();
    }
}

/// The turn of a thread that is about to be told, G5.
struct Turn(u64);

impl Turn {
    /// Takes it if nobody has it, or if another has it for too long: `seen` is what was there
    /// before, and how often.
    fn take(seen: &mut (u64, u32)) -> Option<Self> {
        let now = GRAPH.turn.load(Ordering::Relaxed);
        let is_free = now % 2 == 0;
        if !is_free {
            let naps = if seen.0 == now { seen.1 + 1 } else { 0 };
            *seen = (now, naps);
            if naps < NAPS_PER_TURN {
                return None;
            }
        }
        let turn = if is_free { now + 1 } else { now + 2 };
        // [turn:A] Acquire; pairs with [turn:R]
        let (success, failure) = (Ordering::Acquire, Ordering::Relaxed);
        let taken = GRAPH.turn.compare_exchange(now, turn, success, failure);
        taken.is_ok().then_some(Self(turn))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        // [turn:R] Release; pairs with [turn:A]. It fails if another has taken it over.
        let (success, failure) = (Ordering::Release, Ordering::Relaxed);
        let _ = GRAPH.turn.compare_exchange(self.0, self.0 + 1, success, failure);
    }
}

/// One look at the graph.
struct Look<'a> {
    record: &'a Record,
    kind: Kind,
    process: u64,
    to_visit: Set,
    seen: Set,
    /// The last of the domains whose members were visited, or 0.
    domains: [u64; Look::DOMAINS],
    /// Whether an edge was met that may count or not.
    is_changing: bool,
    /// All that was read and mattered, as one number.
    read: u64,
}

impl Look<'_> {
    const DOMAINS: usize = 32;
}

impl<'a> Look<'a> {
    fn new(record: &'a Record, kind: Kind, process: u64) -> Self {
        let (to_visit, seen) = (Set::new(), Set::new());
        let domains = [0; Look::DOMAINS];
        Self { record, kind, process, to_visit, seen, domains, is_changing: false, read: 0 }
    }

    /// Follows the edges from `start`, in search of a queue of which the thread is a member.
    /// Returns what was read on the way, too.
    fn follow(mut self, start: &Post) -> (Answer, u64) {
        let mut leads_back = self.visit_members(start);
        while let (false, Some(index)) = (leads_back, self.to_visit.take_one()) {
            let Some(post) = self.next(index) else { continue };
            leads_back = self.visit_members(post);
        }
        let answer = match (leads_back, self.is_changing) {
            (true, _) => Answer::Never,
            (false, true) => Answer::AskAgain,
            (false, false) => Answer::Ends,
        };
        (answer, self.read)
    }

    /// Notes the members of a queue that may wait, and returns whether the thread is one.
    fn visit_members(&mut self, post: &Post) -> bool {
        if post.has_member(self.record) {
            return true;
        }
        let (consumer, domain) =
            (post.consumer.load(Ordering::Acquire), post.domain.load(Ordering::Relaxed));
        self.note(consumer);
        self.note(domain);
        if let Some(record) = records::of(consumer) {
            self.visit(record);
        }
        // Many threads may wait for the same queue, and to find its members takes long.
        let last = &mut self.domains[domain as usize % Look::DOMAINS];
        if domain != 0 && mem::replace(last, domain) != domain {
            records::all()
                .filter(|record| record.is_in(domain))
                .for_each(|record| self.visit(record));
        }
        false
    }

    fn visit(&mut self, record: &Record) {
        if self.seen.insert(record.index()) {
            self.to_visit.insert(record.index());
        }
    }

    /// The post to which the edge leads that the thread of this record has, if it counts.
    fn next(&mut self, index: usize) -> Option<&'static Post> {
        let seen = records::at(index)?.edge(self.process)?;
        let Edge { post, queue, kind } = seen.edge;
        let counts = match kind {
            Kind::Room => post.closed.load(Ordering::Relaxed) != queue,
            Kind::Listener => true,
            Kind::ListenerInTime => self.kind == Kind::ListenerInTime,
        };
        if !counts || post.queue() != queue {
            return None;
        }
        if kind == Kind::Room {
            let head = post.head.load(Ordering::Relaxed);
            if !seen.is_settled() || post.full_at.load(Ordering::Relaxed) <= head {
                self.is_changing = true;
                return None;
            }
            self.note(head);
        }
        self.note(index as u64);
        self.note(seen.word);
        Some(post)
    }

    /// FNV-1a (Fowler, Noll and Vo), by words.
    fn note(&mut self, word: u64) {
        self.read = (self.read ^ word).wrapping_mul(0x0000_0100_0000_01B3).rotate_left(23);
    }
}

/// A bit for each record.
struct Set([u64; Set::WORDS]);

impl Set {
    const WORDS: usize = LIMIT.div_ceil(64);

    fn new() -> Self {
        Self([0; Self::WORDS])
    }

    /// Whether it was not in it before.
    fn insert(&mut self, index: usize) -> bool {
        let (word, bit) = (&mut self.0[index / 64], 1 << (index % 64));
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }

    fn take_one(&mut self) -> Option<usize> {
        let (i, word) = self.0.iter_mut().enumerate().find(|(_, word)| **word != 0)?;
        let bit = word.trailing_zeros();
        *word &= *word - 1;
        Some(i * 64 + bit as usize)
    }
}
