//! A thread that waits for room asks whether the consumer's thread is in its process, while that
//! thread binds for the first time.

use crate::explorer::Model;
use crate::machine::Machine::{self, Arm, Language};
use crate::program::Ordering::{self, Acquire, Relaxed, Release};
use crate::program::Place;
use crate::program::Reg::{A, B};
use crate::program::{is, load, seq, store, when};

/// `Members::bind` and `Members::consumer_is_gone`.
fn seems_gone(machines: &[Machine], what: &str, bind: Ordering, bound: Ordering) {
    let consumer =
        seq([store(Place::Process, 1, Relaxed), store(Place::Consumer, 1, bind).labelled("bind")]);
    let pusher = seq([
        load(A, Place::Consumer, bound).labelled("bound"),
        when(is([A], |[number]| number != 0), load(B, Place::Process, Relaxed)),
    ]);
    Model::new().thread("consumer", consumer).thread("pusher", pusher).assert_seen(
        machines,
        what,
        |end| end.register(1, A) == 1 && end.register(1, B) == 0,
    );
}

#[test]
fn a_thread_that_binds_is_in_this_process() {
    seems_gone(&[], "as it is", Release, Acquire);
    seems_gone(&[Arm, Language], "[bind:R] Relaxed", Relaxed, Acquire);
    seems_gone(&[Arm, Language], "[bound:A] Relaxed", Release, Relaxed);
}
