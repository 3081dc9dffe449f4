//! `Full` is true: a push is told so only if the ring was full at some moment of the push.

use crate::explorer::Model;
use crate::machine::Machine::{self, Arm, Language};
use crate::program::Ordering::Relaxed;
use crate::program::{Reg, seq};
use crate::ring::{FULL, RING, RingOrders, claim, publish, release};

/// A thread that pushes, pops and pushes, and so never has more than one item in a ring for two;
/// and another that pushes.
fn never_full(orders: RingOrders) -> Model {
    let busy = seq([claim(2, orders), publish(), release(1), claim(2, orders)]);
    Model::new().thread("busy", busy).thread("other", claim(2, orders))
}

fn told_full(machines: &[Machine], what: &str, model: Model) {
    model.assert_seen(machines, what, |end| end.register(1, Reg::Result) == FULL);
}

/// A verdict that compares two words needs the second one to be no older than what the first one
/// implies. The other thread sees the tail of the second push, and must see the pop before it.
#[test]
fn full_is_true() {
    told_full(&[], "Full", never_full(RING));
    let orders = RingOrders { tail: Relaxed, ..RING };
    told_full(&[Arm, Language], "Full, tail relaxed", never_full(orders));
    let orders = RingOrders { failed_claim: Relaxed, ..RING };
    told_full(&[Arm, Language], "Full, failed claim relaxed", never_full(orders));
}
