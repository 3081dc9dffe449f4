//! The ring of `src/ring.rs`: claim, publish, look, release, close.
//!
//! What is modelled are two slots, for even and odd indices, and their stamps. Items are left out
//! (loom looks after those), and so is the bypass, whose words are claimed, published and closed as
//! the ring's.

use crate::program::Ordering::{self, *};
use crate::program::Place::{self, Stamp0, Stamp1};
use crate::program::Reg::{Found, Head, Index, Limit, Result, Stamp, Tail};
use crate::program::{
    Code, Expr, Word, compare_exchange, exchange, is, load, of, repeat, seq, set, stop, store,
    when, when_else, when_exchanged,
};

/// The bit of the tail that says that nothing more may be claimed.
pub(crate) const CLOSED: Word = 1 << 31;
/// The bit of the tail that says that the next consumer finds it closed.
pub(crate) const STAYS_CLOSED: Word = 1 << 30;
/// The bit of a stamp that says that its item was taken ahead of an unpublished one.
const TAKEN: Word = 1 << 31;

/// What is in `Result` after a push or a pop.
pub(crate) const EMPTY: Word = 0;
pub(crate) const POPPED: Word = 1;
pub(crate) const PUSHED: Word = 2;
pub(crate) const FULL: Word = 3;
pub(crate) const IS_CLOSED: Word = 4;

/// The orderings of a push and of closing that can be weakened.
#[derive(Clone, Copy)]
pub(crate) struct RingOrders {
    /// The tail, before a claim.
    pub(crate) tail: Ordering,
    /// [claim:C]
    pub(crate) claim: Ordering,
    /// The tail, where the claim fails.
    pub(crate) failed_claim: Ordering,
    /// [close:C]
    pub(crate) close: Ordering,
    /// [reopen:A]
    pub(crate) reopen: Ordering,
}

pub(crate) const RING: RingOrders = RingOrders {
    tail: Acquire,
    claim: SeqCst,
    failed_claim: Acquire,
    close: SeqCst,
    reopen: Acquire,
};

/// Whether the last push or pop ended in this way.
pub(crate) fn ended(how: Word) -> Expr {
    is([Result], move |[result]| result == how)
}

/// Claims the next index, for `Index`; `Result` is `PUSHED`, `FULL` or `IS_CLOSED`.
pub(crate) fn claim(capacity: Word, orders: RingOrders) -> Code {
    let raise_limit = seq([
        load(Head, Place::Head, Acquire).labelled("[limit:H]"),
        set(Limit, of([Head], move |[head]| head + capacity)),
        when(is([Tail, Limit], |[tail, limit]| tail >= limit), seq([set(Result, FULL), stop()])),
        store(Place::Limit, Limit, Release).labelled("[limit:S]"),
    ]);
    let is_closed = is([Tail], |[tail]| tail & CLOSED != 0);
    let next = of([Tail], |[tail]| tail + 1);
    seq([
        load(Tail, Place::Tail, orders.tail).labelled("tail"),
        repeat(seq([
            load(Limit, Place::Limit, Acquire).labelled("[claim:L]"),
            when(
                is([Tail, Limit], |[tail, limit]| tail + 1 > limit),
                seq([when(is_closed, seq([set(Result, IS_CLOSED), stop()])), raise_limit]),
            ),
            compare_exchange(Found, Place::Tail, Tail, next, orders.claim, orders.failed_claim)
                .labelled("[claim:C]"),
            when_exchanged(
                Tail,
                Found,
                seq([set(Index, Tail), set(Result, PUSHED), stop()]),
                set(Tail, Found),
            ),
        ])),
    ])
}

/// The same where there is room and nobody else claims, so that the exchange does not fail.
pub(crate) fn claim_alone(orders: RingOrders) -> Code {
    let next = of([Index], |[index]| index + 1);
    exchange(Index, Place::Tail, next, orders.claim).labelled("[claim:C]")
}

/// Publishes at `Index`.
pub(crate) fn publish() -> Code {
    let stamp = of([Index], |[index]| index + 1);
    let at = |place| store(place, stamp.clone(), Release).labelled("[publish:S]");
    when_else(is([Index], |[index]| index % 2 == 0), at(Stamp0), at(Stamp1))
}

/// Lets nothing more be claimed.
pub(crate) fn close(orders: RingOrders) -> Code {
    let closed = of([Tail], |[tail]| tail | CLOSED);
    exchange(Tail, Place::Tail, closed, orders.close).labelled("[close:C]")
}

/// As `close`, for the next consumer as well.
pub(crate) fn close_for_next(orders: RingOrders) -> Code {
    let closed = of([Tail], |[tail]| tail | CLOSED | STAYS_CLOSED);
    exchange(Tail, Place::Tail, closed, orders.close).labelled("[close:C]")
}

/// Takes `close` back, and what `close_for_next` said to the consumer before. The next consumer
/// does, while nobody claims. If that fails, the queue has been closed for it, and stays closed.
pub(crate) fn reopen(orders: RingOrders) -> Code {
    let may_reopen = of([Tail], |[tail]| tail & !STAYS_CLOSED);
    seq([
        exchange(Tail, Place::Tail, may_reopen, Relaxed).labelled("may reopen"),
        compare_exchange(Found, Place::Tail, CLOSED, 0, orders.reopen, Relaxed)
            .labelled("[reopen:A]"),
    ])
}

/// Whether nothing is claimed that was not released: for `Head` and `Tail`.
pub(crate) fn read_both() -> Code {
    seq([
        load(Head, Place::Head, Acquire).labelled("head"),
        load(Tail, Place::Tail, Relaxed).labelled("tail"),
    ])
}

pub(crate) fn is_empty() -> Expr {
    is([Head, Tail], |[head, tail]| head == tail & !CLOSED)
}

/// Frees what is before `head`.
pub(crate) fn release(head: Word) -> Code {
    store(Place::Head, head, Release).labelled("[head:S]")
}

fn look(at: Place) -> Code {
    load(Stamp, at, Acquire).labelled("[stamp:L]")
}

fn is_stamp(stamp: Word) -> Expr {
    is([Stamp], move |[found]| found == stamp)
}

/// Pops index 0 or 1, whichever is published and comes first, once each; `Result` is `POPPED`,
/// `EMPTY` or `IS_CLOSED`.
pub(crate) fn try_pop() -> Code {
    let is_head = |head| is([Head], move |[found]| found == head);
    let tail = load(Tail, Place::Tail, Relaxed).labelled("tail");
    let is_claimed = |count| is([Tail], move |[tail]| tail & !CLOSED >= count);
    let ahead = seq([look(Stamp1), when(is_stamp(2), take_ahead())]);
    let behind_first = when_else(is_stamp(1), take_first(), when(is_claimed(2), ahead));
    let slow = seq([tail, when(is_claimed(1), seq([look(Stamp0), behind_first]))]);
    seq([
        set(Result, EMPTY),
        load(Head, Place::Head, Relaxed),
        when_else(
            is_head(0),
            seq([look(Stamp0), when_else(is_stamp(1), take_first(), slow)]),
            when(
                is_head(1),
                seq([look(Stamp1), when(is_stamp(2), seq([release(2), set(Result, POPPED)]))]),
            ),
        ),
        when(
            ended(EMPTY),
            seq([
                load(Tail, Place::Tail, Acquire).labelled("[closed:L]"),
                when(
                    is([Head, Tail], |[head, tail]| tail == head | CLOSED),
                    set(Result, IS_CLOSED),
                ),
            ]),
        ),
    ])
}

/// The same, for a consumer that polls. It looks at a stamp first, which only keeps more in order.
pub(crate) fn poll() -> Code {
    seq([
        load(Head, Place::Head, Relaxed),
        load(Tail, Place::Tail, Relaxed).labelled("tail"),
        when_else(is([Head, Tail], |[head, tail]| head == tail), set(Result, EMPTY), try_pop()),
    ])
}

/// Takes index 0, and frees the slot of index 1 too if that was taken before.
fn take_first() -> Code {
    seq([
        load(Stamp, Stamp1, Relaxed),
        when_else(is_stamp(TAKEN | 2), release(2), release(1)),
        set(Result, POPPED),
    ])
}

fn take_ahead() -> Code {
    seq([store(Stamp1, TAKEN | 2, Relaxed), set(Result, POPPED)])
}
