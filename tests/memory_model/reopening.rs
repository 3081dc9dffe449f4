//! A pusher closes a static queue while the next consumer opens it: that consumer is told.

use crate::explorer::Model;
use crate::machine::Machine::{self, Arm, Language};
use crate::program::Ordering::{Relaxed, SeqCst};
use crate::program::Place::{self, ClosedByPusher};
use crate::program::Reg::{Found, Tail};
use crate::program::{exchange, is, load, seq, store, when};
use crate::ring::{CLOSED, RING, RingOrders, close, reopen};

/// `StaticQueue::close`, of a queue whose last consumer has gone, and `StaticQueue::consumer`.
fn stays_open(machines: &[Machine], what: &str, orders: RingOrders) {
    let pusher = seq([store(ClosedByPusher, 1, SeqCst).labelled("mark"), close(orders)]);
    let consumer = seq([
        reopen(orders),
        load(Found, ClosedByPusher, SeqCst).labelled("mark"),
        when(is([Found], |[found]| found != 0), exchange(Tail, Place::Tail, CLOSED, SeqCst)),
    ]);
    Model::new()
        .initially(Place::Tail, CLOSED)
        .thread("pusher", pusher)
        .thread("consumer", consumer)
        .assert_seen(machines, what, |end| end.memory(Place::Tail) & CLOSED == 0);
}

#[test]
fn a_close_is_not_lost_on_the_next_consumer() {
    stays_open(&[], "as it is", RING);
    let orders = RingOrders { reopen: Relaxed, ..RING };
    stays_open(&[Arm, Language], "[reopen:A] Relaxed", orders);
    let orders = RingOrders { close: Relaxed, ..RING };
    stays_open(&[Arm, Language], "[close:C] Relaxed", orders);
}
