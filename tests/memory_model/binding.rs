//! A thread that waits for room asks whether the consumer's thread is in its process, while that
//! thread binds for the first time.

use crate::explorer::Model;
use crate::machine::Machine::{self, Arm, Language};
use crate::program::Ordering::{self, Acquire, Relaxed, Release};
use crate::program::Place;
use crate::program::Reg::{A, B, C};
use crate::program::{load, seq, store};

/// `claim` of a record and `Members::bind`; `Members::consumer_is_gone`. The record is the thread's
/// once its number is in it.
fn seems_gone(machines: &[Machine], what: &str, number: [Ordering; 2], bind: [Ordering; 2]) {
    let consumer = seq([
        store(Place::Process, 1, Relaxed),
        store(Place::Owner, 1, number[0]).labelled("number"),
        store(Place::Consumer, 1, bind[0]).labelled("[bind:R]"),
    ]);
    let pusher = seq([
        load(A, Place::Consumer, bind[1]).labelled("[bound:A]"),
        load(B, Place::Owner, number[1]).labelled("number"),
        load(C, Place::Process, Relaxed),
    ]);
    Model::new().thread("consumer", consumer).thread("pusher", pusher).assert_seen(
        machines,
        what,
        |end| [A, B, C].map(|to| end.register(1, to)) == [1, 1, 0],
    );
}

#[test]
fn a_thread_that_binds_is_in_this_process() {
    let (ordered, relaxed) = ([Release, Acquire], [Relaxed, Relaxed]);
    seems_gone(&[], "as it is", ordered, ordered);
    // One of the two is enough.
    seems_gone(&[], "[bind:R] and [bound:A] Relaxed", ordered, relaxed);
    seems_gone(&[], "the number Relaxed", relaxed, ordered);
    seems_gone(&[Arm, Language], "the number and [bind:R] Relaxed", relaxed, [Relaxed, Acquire]);
    seems_gone(&[Arm, Language], "the number and [bound:A] Relaxed", relaxed, [Release, Relaxed]);
}
