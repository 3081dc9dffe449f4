//! The graph of waits: G3, G4 and G5 of `src/cycles.rs`, E1 and E2 of `src/threads/records.rs`, and the
//! stack of `src/threads/pool.rs`.
//!
//! A look is a row of loads here: that the next one depends on what was found orders no more.
//! Each test begins with the protocol as it is, as in `sleeping`.

use crate::explorer::Model;
use crate::machine::MACHINES;
use crate::machine::Machine::{self, Arm, Language};
use crate::program::Ordering::{self, Acquire, Relaxed, Release, SeqCst};
use crate::program::Place::{
    Consumer, Edge1, Edge2, Edge3, Free, Head, Owner, PostHead, Registered, Tail, Turn, X, Y,
};
use crate::program::Reg::{self, A, B, C, D, Found, Now, Result};
use crate::program::{
    Code, Place, Word, acquire_fence, compare_exchange, exchange, fence, fetch_add, is, load,
    nothing, of, seq, set, store, until, when, when_else, when_exchanged,
};
use crate::ring::{CLOSED, RING, RingOrders, close_for_next, release, reopen};
use crate::wait::{AS_IT_IS, Orders, heavy_barrier, with_light_barrier};

const WAITS: Word = 1;
const GENERATION: Word = 4;

const NOWHERE: &[Machine] = &[];
const WEAK: &[Machine] = &[Arm, Language];

/// `publish`, `settle` and `withdraw` of a record.
fn write_edge(at: Place, word: Word, order: Ordering) -> Code {
    store(at, word, order).labelled("[edge:S]")
}

/// `edge` of a record, without its fields.
fn read_edge(to: Reg, at: Place, orders: EdgeOrders) -> Code {
    seq([
        load(to, at, orders.read).labelled("[edge:L]"),
        if orders.fence { acquire_fence() } else { nothing() },
    ])
}

#[derive(Clone, Copy)]
struct EdgeOrders {
    /// [edge:S]
    write: Ordering,
    /// [edge:L]
    read: Ordering,
    /// [fields:S]
    fields: Ordering,
    /// [edge:F]
    fence: bool,
}

const EDGE: EdgeOrders = EdgeOrders { write: Release, read: Acquire, fields: Release, fence: true };

/// G3: of those that fall asleep, the last one at [look:F] sees the edges of all others.
fn sleeps_in_a_cycle(machines: &[Machine], what: &str, edges: &'static [Place], between: Code) {
    let mut model = Model::new();
    for (i, name) in ["first", "second", "third"].into_iter().enumerate().take(edges.len()) {
        let other = |n: usize| edges[(i + n) % edges.len()];
        let follow = match edges.len() {
            2 => set(B, WAITS),
            _ => when(is([A], |[word]| word == WAITS), read_edge(B, other(2), EDGE)),
        };
        model = model.thread(
            name,
            seq([
                write_edge(edges[i], WAITS, Release),
                between.clone(),
                read_edge(A, other(1), EDGE),
                follow,
                set(Result, of([A, B], |[a, b]| a & b)),
            ]),
        );
    }
    model.assert_seen(machines, what, |end| {
        (0..edges.len()).all(|thread| end.register(thread, Result) == 0)
    });
}

#[test]
fn no_cycle_is_overlooked() {
    for edges in [&[Edge1, Edge2][..], &[Edge1, Edge2, Edge3]] {
        sleeps_in_a_cycle(NOWHERE, "as it is", edges, fence().labelled("[look:F]"));
        sleeps_in_a_cycle(&MACHINES, "no [look:F]", edges, nothing());
        sleeps_in_a_cycle(&MACHINES, "[look:F] Acquire", edges, acquire_fence());
    }
}

/// E2: a thread publishes another edge while one looks. Each field has the number of its edge.
fn is_torn(machines: &[Machine], what: &str, orders: EdgeOrders) {
    let writer = seq([
        write_edge(Edge1, GENERATION, orders.write),
        store(X, 2, orders.fields).labelled("[fields:S]"),
        store(Y, 2, orders.fields).labelled("[fields:S]"),
        write_edge(Edge1, 2 * GENERATION + WAITS, orders.write),
    ]);
    let reader = seq([
        load(A, Edge1, orders.read).labelled("[edge:L]"),
        load(B, X, Relaxed),
        load(C, Y, Relaxed),
        if orders.fence { acquire_fence() } else { nothing() },
        load(D, Edge1, Relaxed),
    ]);
    Model::new()
        .initially(Edge1, GENERATION + WAITS)
        .initially(X, 1)
        .initially(Y, 1)
        .thread("writer", writer)
        .thread("reader", reader)
        .assert_seen(machines, what, |end| {
            let [word, first, second, again] = [A, B, C, D].map(|to| end.register(1, to));
            let number = word / GENERATION;
            word == again && word % GENERATION == WAITS && (first != number || second != number)
        });
}

#[test]
fn an_edge_is_read_whole() {
    is_torn(NOWHERE, "as it is", EDGE);
    is_torn(WEAK, "[edge:S] Relaxed", EdgeOrders { write: Relaxed, ..EDGE });
    is_torn(WEAK, "[edge:L] Relaxed", EdgeOrders { read: Relaxed, ..EDGE });
    is_torn(WEAK, "[fields:S] Relaxed", EdgeOrders { fields: Relaxed, ..EDGE });
    is_torn(WEAK, "no [edge:F]", EdgeOrders { fence: false, ..EDGE });
}

/// A consumer that pops, and then waits itself, and a producer that waits for it.
#[derive(Clone, Copy)]
struct Room {
    edge: EdgeOrders,
    barriers: Orders,
    /// [room:S]
    announce: Ordering,
    /// Whether the consumer announces before it publishes its edge.
    announces_first: bool,
    /// Whether the producer looks at the ring before it settles.
    settles_last: bool,
    looks: usize,
}

const ROOM: Room = Room {
    edge: EDGE,
    barriers: AS_IT_IS,
    announce: Relaxed,
    announces_first: true,
    settles_last: true,
    looks: 2,
};

/// G2 and G4: a third thread looks from the producer, which waits for the consumer, to the
/// consumer. It was noted long ago that the ring, of one slot, is full at head 0.
fn is_invented(machines: &[Machine], what: &str, room: Room) {
    let is_registered = is([Reg::Registered], |[registered]| registered != 0);
    let announce = when(is_registered, store(PostHead, 1, room.announce).labelled("[room:S]"));
    let publish = write_edge(Edge2, WAITS, room.edge.write);
    let registered = load(Reg::Registered, Registered, Relaxed).labelled("[registered:L]");
    let consumer = seq([
        with_light_barrier(release(1), registered, room.barriers),
        if room.announces_first { seq([announce, publish]) } else { seq([publish, announce]) },
    ]);
    let settle = write_edge(Edge1, WAITS, room.edge.write);
    let ring = load(Reg::Head, Head, Acquire);
    let is_full = is([Reg::Head], |[head]| head == 0);
    let producer = seq([
        fetch_add(Found, Registered, 1, Relaxed).labelled("[register:A]"),
        heavy_barrier(room.barriers),
        if room.settles_last { seq([ring, when(is_full, settle)]) } else { settle },
    ]);
    let look = seq([
        read_edge(A, Edge1, room.edge),
        load(B, PostHead, Relaxed),
        read_edge(C, Edge2, room.edge),
        set(
            Result,
            of([Result, A, B, C], |[found, settled, head, waits]| {
                found + Word::from((settled, head, waits) == (WAITS, 0, WAITS))
            }),
        ),
    ]);
    let looks = (0..room.looks).fold(nothing(), |all, _| seq([all, look.clone()]));
    Model::new()
        .thread("consumer", consumer)
        .thread("producer", producer)
        .thread("looker", looks)
        .assert_seen(machines, what, |end| end.register(2, Result) == room.looks as Word);
}

#[test]
fn no_cycle_is_invented() {
    let with_edge = |edge| Room { edge, ..ROOM };
    let with_barriers = |barriers| Room { barriers, ..ROOM };
    is_invented(NOWHERE, "as it is", ROOM);
    is_invented(WEAK, "[edge:S] Relaxed", with_edge(EdgeOrders { write: Relaxed, ..EDGE }));
    // What [edge:F] orders, too.
    let relaxed = EdgeOrders { read: Relaxed, ..EDGE };
    is_invented(NOWHERE, "[edge:L] Relaxed", with_edge(relaxed));
    is_invented(NOWHERE, "no [edge:F]", with_edge(EdgeOrders { fence: false, ..EDGE }));
    let neither = EdgeOrders { fence: false, ..relaxed };
    is_invented(WEAK, "[edge:L] Relaxed, no [edge:F]", with_edge(neither));
    is_invented(&MACHINES, "announced too late", Room { announces_first: false, ..ROOM });
    is_invented(&MACHINES, "one look", Room { looks: 1, ..ROOM });
    is_invented(&MACHINES, "settled too early", Room { settles_last: false, ..ROOM });
    let no_heavy = Orders { heavy_barrier: false, ..AS_IT_IS };
    is_invented(&MACHINES, "no heavy barrier", with_barriers(no_heavy));
    let no_light = Orders { light_barrier: false, ..AS_IT_IS };
    is_invented(&MACHINES, "no light barrier", with_barriers(no_light));
}

/// G4, of the ring that the thread itself waits for: it gets full after the other thread of the
/// cycle, of which both looks find that it waits, has withdrawn.
fn gets_full_too_late(machines: &[Machine], what: &str, is_between: bool) {
    let ring = load(Reg::Tail, Tail, Acquire).labelled("[tail:L]");
    let (first, second) = (read_edge(A, Edge1, EDGE), read_edge(B, Edge1, EDGE));
    let looker = if is_between { seq([first, ring, second]) } else { seq([first, second, ring]) };
    let looker = seq([looker, set(C, Reg::Tail)]);
    let filler = seq([
        load(A, Edge1, Acquire),
        until(is([A], |[word]| word == 0)),
        exchange(Reg::Tail, Tail, 1, SeqCst).labelled("[claim:C]"),
    ]);
    Model::new()
        .initially(Edge1, WAITS)
        .thread("looker", looker)
        .thread("other", write_edge(Edge1, 0, Release))
        .thread("filler", filler)
        .assert_seen(machines, what, |end| [A, B, C].map(|to| end.register(0, to)) == [1, 1, 1]);
}

#[test]
fn the_ring_is_full_while_the_others_wait() {
    gets_full_too_late(NOWHERE, "as it is", true);
    gets_full_too_late(&MACHINES, "after the second look", false);
}

/// A pusher closes a static queue, which its consumer has closed before, while the next one opens it
/// and gives it a new number, 2. The pusher notes the closing with the number that it has read. An
/// open queue must not be noted as closed with its own number.
fn is_noted_wrongly(machines: &[Machine], what: &str, reads_first: bool, orders: RingOrders) {
    let read = load(A, X, Relaxed).labelled("number");
    // A larger number than what was noted before.
    let note = when(is([A], |[number]| number == 2), store(Y, 2, Relaxed).labelled("closed"));
    let pusher = match reads_first {
        true => seq([read, close_for_next(orders), note]),
        false => seq([close_for_next(orders), read, note]),
    };
    Model::new()
        .initially(Tail, CLOSED)
        .initially(X, 1)
        .initially(Y, 1)
        .thread("pusher", pusher)
        .thread("consumer", seq([reopen(orders), store(X, 2, Relaxed).labelled("renew")]))
        .assert_seen(machines, what, |end| {
            end.memory(Tail) & CLOSED == 0 && end.memory(Y) == end.memory(X)
        });
}

#[test]
fn an_open_queue_is_not_noted_as_closed() {
    is_noted_wrongly(NOWHERE, "as it is", true, RING);
    is_noted_wrongly(&MACHINES, "the number is read after closing", false, RING);
    let orders = RingOrders { reopen: Relaxed, ..RING };
    is_noted_wrongly(WEAK, "[reopen:A] Relaxed", true, orders);
    let orders = RingOrders { close: Relaxed, ..RING };
    is_noted_wrongly(WEAK, "[close:C] Relaxed", true, orders);
}

/// G5: two threads have found the cycle that they are on. Who has the turn looks again, withdraws
/// if the other one still waits, and ends the turn.
fn both_are_told(machines: &[Machine], what: &str, [take, end]: [Ordering; 2], looks: bool) {
    let thread = |own, other| {
        let look = if looks { read_edge(A, other, EDGE) } else { set(A, WAITS) };
        let told = when(
            is([A], |[word]| word == WAITS),
            seq([write_edge(own, 0, Release), set(Result, 1)]),
        );
        let end_turn = exchange(Found, Turn, of([Now], |[now]| now + 2), end).labelled("[turn:R]");
        let next = of([Now], |[now]| now + 1);
        seq([
            load(Now, Turn, Relaxed),
            when(
                is([Now], |[now]| now % 2 == 0),
                seq([
                    compare_exchange(Found, Turn, Now, next, take, Relaxed).labelled("[turn:A]"),
                    when_exchanged(Now, Found, seq([look, told, end_turn]), nothing()),
                ]),
            ),
        ])
    };
    Model::new()
        .initially(Edge1, WAITS)
        .initially(Edge2, WAITS)
        .thread("first", thread(Edge1, Edge2))
        .thread("second", thread(Edge2, Edge1))
        .assert_seen(machines, what, |end| {
            end.register(0, Result) == 1 && end.register(1, Result) == 1
        });
}

#[test]
fn one_thread_is_told() {
    both_are_told(NOWHERE, "as it is", [Acquire, Release], true);
    both_are_told(WEAK, "[turn:A] Relaxed", [Relaxed, Release], true);
    both_are_told(WEAK, "[turn:R] Relaxed", [Acquire, Relaxed], true);
    both_are_told(&MACHINES, "no second look", [Acquire, Release], false);
}

/// E1: a record is given to another thread, which then waits, while one looks for the thread that
/// had it before, 1.
fn is_taken_for_the_one_before(machines: &[Machine], what: &str, edge: EdgeOrders, looks: Word) {
    let next = seq([store(Owner, 2, Release), write_edge(Edge1, WAITS, edge.write)]);
    let look = seq([
        load(A, Owner, Acquire).labelled("number"),
        read_edge(B, Edge1, edge),
        set(
            Result,
            of([Result, A, B], |[found, number, word]| {
                found + Word::from((number, word) == (1, WAITS))
            }),
        ),
    ]);
    let looks_of = (0..looks).fold(nothing(), |all, _| seq([all, look.clone()]));
    Model::new().initially(Owner, 1).thread("next", next).thread("looker", looks_of).assert_seen(
        machines,
        what,
        |end| end.register(1, Result) == looks,
    );
}

/// E1: the edge of a thread that was ended in its wait is withdrawn by the next one that gets the
/// record, 2, and is not taken for its own.
fn is_inherited(machines: &[Machine], what: &str, number: [Ordering; 2], post: [Ordering; 2]) {
    let next = seq([
        write_edge(Edge1, 0, Release),
        store(Owner, 2, number[0]).labelled("number"),
        store(Consumer, 2, post[0]).labelled("consumer"),
    ]);
    let looker = seq([
        load(A, Consumer, post[1]).labelled("consumer"),
        load(B, Owner, number[1]).labelled("number"),
        read_edge(C, Edge1, EDGE),
    ]);
    Model::new()
        .initially(Edge1, WAITS)
        .initially(Owner, 1)
        .thread("next", next)
        .thread("looker", looker)
        .assert_seen(machines, what, |end| {
            [A, B, C].map(|to| end.register(1, to)) == [2, 2, WAITS]
        });
}

#[test]
fn a_record_is_used_again() {
    is_taken_for_the_one_before(NOWHERE, "as it is", EDGE, 2);
    let relaxed = EdgeOrders { write: Relaxed, ..EDGE };
    is_taken_for_the_one_before(WEAK, "[edge:S] Relaxed", relaxed, 2);
    is_taken_for_the_one_before(&MACHINES, "one look", EDGE, 1);

    let (ordered, relaxed) = ([Release, Acquire], [Relaxed, Relaxed]);
    is_inherited(NOWHERE, "as it is", ordered, ordered);
    // One of the two is enough.
    is_inherited(NOWHERE, "the number Relaxed", relaxed, ordered);
    is_inherited(NOWHERE, "the consumer Relaxed", ordered, relaxed);
    is_inherited(WEAK, "both Relaxed", relaxed, relaxed);
}

/// The head of the stack says which of two objects is the first, and how often it has changed.
const CHANGE: Word = 4;

#[derive(Clone, Copy)]
struct PoolOrders {
    /// The head, before a claim.
    load: Ordering,
    exchange: Ordering,
    counts: bool,
}

const POOL: PoolOrders = PoolOrders { load: Acquire, exchange: Release, counts: true };

/// `exchange_free`, once, in the moment in which it succeeds.
fn exchange_free(first: Reg, orders: PoolOrders) -> Code {
    let by = if orders.counts { CHANGE } else { 0 };
    let new = of([Now, first], move |[now, first]| now - now % CHANGE + by + first);
    seq([
        compare_exchange(Found, Free, Now, new, orders.exchange, Relaxed).labelled("free"),
        until(is([Now, Found], |[now, found]| now == found)),
    ])
}

/// `claim`, of none if the stack is empty: 0.
fn claim(to: Reg, orders: PoolOrders) -> Code {
    let first = move |object| is([to], move |[first]| first == object);
    let next = |at| load(Result, at, Relaxed).labelled("next");
    seq([
        load(Now, Free, orders.load).labelled("free"),
        set(to, of([Now], |[now]| now % CHANGE)),
        when_else(
            first(0),
            nothing(),
            seq([when_else(first(1), next(X), next(Y)), exchange_free(Result, orders)]),
        ),
    ])
}

fn give_back(object: Reg, orders: PoolOrders) -> Code {
    let next = |at| store(at, of([Now], |[now]| now % CHANGE), Relaxed).labelled("next");
    seq([
        load(Now, Free, Relaxed).labelled("free"),
        when_else(is([object], |[object]| object == 1), next(X), next(Y)),
        exchange_free(object, orders),
    ])
}

/// Both objects are on the stack. One thread claims two, and another claims two, and gives the
/// first one back.
fn two_have_the_same(machines: &[Machine], what: &str, orders: PoolOrders) {
    let is_some = |object| is([object], |[object]| object != 0);
    let other = seq([claim(A, orders), claim(B, orders), when(is_some(A), give_back(A, orders))]);
    Model::new()
        .initially(Free, 1)
        .initially(X, 2)
        .thread("one", seq([claim(A, orders), claim(B, orders)]))
        .thread("other", other)
        .assert_seen(machines, what, |end| {
            let [first, second] = [A, B].map(|to| end.register(0, to));
            let held = end.register(1, B);
            let is_shared = held != 0 && (first == held || second == held);
            is_shared || (first != 0 && first == second)
        });
}

#[test]
fn nobody_claims_what_another_has() {
    two_have_the_same(NOWHERE, "as it is", POOL);
    two_have_the_same(WEAK, "loaded Relaxed", PoolOrders { load: Relaxed, ..POOL });
    two_have_the_same(WEAK, "exchanged Relaxed", PoolOrders { exchange: Relaxed, ..POOL });
    two_have_the_same(&MACHINES, "not counted", PoolOrders { counts: false, ..POOL });
}
