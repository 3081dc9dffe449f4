//! Nobody sleeps for ever though an item, room or closing has come: W1, W2, W6, W10 and `arm` of
//! `src/sleep/mod.rs`.
//!
//! Each test begins with the protocol as it is, in which nobody does. What follows has one ordering
//! weakened or one barrier left out, and the machines on which somebody then sleeps for ever: that
//! is why the ordering is there, and that the model notices. Where none is named, this protocol
//! does not need it. There is no fence in a push, and none in a pop but [pop:F].

use crate::explorer::Model;
use crate::machine::MACHINES;
use crate::machine::Machine::{self, Arm, Language, X86};
use crate::program::Ordering::*;
use crate::program::Reg::{A, B};
use crate::program::{
    Ordering, Place, Reg, Word, compare_exchange, exchange, is, load, nothing, seq, sleep, store,
    until, when,
};
use crate::ring::{RING, RingOrders, claim_alone, release};
use crate::wait::{
    ARMED, AS_IT_IS, NEXT, Orders, WAKING, WANTED, close_and_wake, consumer, event_loop, flush,
    leave, linger, listener, look_for_tickets, new_event_loop, publish_and_wake, push_alone,
    room_after, try_push, waiting_producer, wake, wake_now,
};

/// Asserts that somebody may sleep for ever on those machines, and on no other.
fn sleeps_for_ever(on: &[Machine], what: &str, model: Model) {
    model.assert_seen(on, what, |end| end.someone_sleeps());
}

fn sleeps_for_ever_on(machine: Machine, does: bool, what: &str, model: &Model) {
    model.assert_seen_on(machine, does, what, |end| end.someone_sleeps());
}

const NOWHERE: &[Machine] = &[];
const WEAK: &[Machine] = &[Arm, Language];

fn without_light_barrier() -> Orders {
    Orders { light_barrier: false, ..AS_IT_IS }
}

fn without_heavy_barrier() -> Orders {
    Orders { heavy_barrier: false, ..AS_IT_IS }
}

fn without_sleep_fence() -> Orders {
    Orders { sleep_fence: false, ..AS_IT_IS }
}

fn without_room_fence() -> Orders {
    Orders { room_fence: false, ..AS_IT_IS }
}

fn with_wake(wake: Ordering) -> Orders {
    Orders { wake, ..AS_IT_IS }
}

fn with_claim(claim: Ordering) -> Orders {
    Orders { ring: RingOrders { claim, ..RING }, ..AS_IT_IS }
}

fn with_close(close: Ordering) -> Orders {
    Orders { ring: RingOrders { close, ..RING }, ..AS_IT_IS }
}

/// W1.
#[test]
fn a_push_wakes_a_pop() {
    let model = |orders| {
        Model::new()
            .initially(Place::Limit, 2)
            .thread("producer", try_push(2, orders))
            .thread("consumer", consumer(1, 3, orders))
    };
    sleeps_for_ever(NOWHERE, "as it is", model(AS_IT_IS));
    sleeps_for_ever(WEAK, "[notify:L] Acquire", model(with_wake(Acquire)));
    sleeps_for_ever(WEAK, "[notify:L] Relaxed", model(with_wake(Relaxed)));
    // On Arm the publication, a `stlr` after the claim, keeps it before the look.
    sleeps_for_ever(&[Language], "[claim:C] AcqRel", model(with_claim(AcqRel)));
    sleeps_for_ever(&[Language], "[claim:C] Relaxed", model(with_claim(Relaxed)));
    sleeps_for_ever(WEAK, "no [sleep:F]", model(without_sleep_fence()));
    sleeps_for_ever(&MACHINES, "no light barrier", model(without_light_barrier()));
    // A claim that is not published. On Arm the same `stlr` is before the look.
    sleeps_for_ever(&[X86, Language], "no heavy barrier", model(without_heavy_barrier()));
}

/// W1, with a claim that is published late, or never.
#[test]
fn a_push_beside_a_stopped_one_wakes_a_pop() {
    let model = |producer| {
        Model::new()
            .initially(Place::Limit, 2)
            .initially(Place::Tail, 1)
            .thread("producer", producer)
            .thread("consumer", consumer(1, 3, AS_IT_IS))
    };
    sleeps_for_ever(NOWHERE, "it goes on", model(publish_and_wake(AS_IT_IS)));
    sleeps_for_ever(NOWHERE, "another pushes", model(try_push(2, AS_IT_IS)));
}

fn late_publication(orders: Orders) -> Model {
    Model::new()
        .initially(Place::Tail, 1)
        .thread("stopped", publish_and_wake(orders))
        .thread("producer", push_alone(orders))
        .thread("consumer", consumer(2, 2, orders))
}

/// W1, with both at once.
#[test]
fn a_late_publication_beside_a_push_wakes_a_pop() {
    sleeps_for_ever_on(X86, false, "as it is", &late_publication(AS_IT_IS));
    sleeps_for_ever_on(X86, true, "no heavy barrier", &late_publication(without_heavy_barrier()));
}

#[test]
#[ignore = "takes a minute without optimisation"]
fn a_late_publication_beside_a_push_wakes_a_pop_on_every_machine() {
    sleeps_for_ever(NOWHERE, "as it is", late_publication(AS_IT_IS));
}

/// W2.
#[test]
fn a_pop_wakes_a_push() {
    let model = |orders| {
        Model::new()
            .initially(Place::Limit, 1)
            .initially(Place::Tail, 1)
            .thread("producer", waiting_producer(1, orders))
            .thread("consumer", room_after(release(1), orders))
    };
    sleeps_for_ever(NOWHERE, "as it is", model(AS_IT_IS));
    sleeps_for_ever(&MACHINES, "no heavy barrier", model(without_heavy_barrier()));
    sleeps_for_ever(&MACHINES, "no light barrier", model(without_light_barrier()));
    // The heavy barrier is enough for one producer.
    sleeps_for_ever(NOWHERE, "no [pop:F]", model(without_room_fence()));
    sleeps_for_ever(NOWHERE, "no [sleep:F]", model(without_sleep_fence()));
    sleeps_for_ever(NOWHERE, "[notify:L] Relaxed", model(with_wake(Relaxed)));
}

/// W6: of two that slept one was woken, as there is room; it pushes and leaves, and there is room
/// again. The other one sleeps on.
#[test]
fn a_wake_is_passed_on_while_there_is_room() {
    let model = |orders| {
        let pop = seq([
            load(Reg::Stamp, Place::Stamp1, Acquire).labelled("[stamp:L]"),
            until(is([Reg::Stamp], |[stamp]| stamp == 2)),
            room_after(release(2), orders),
        ]);
        Model::new()
            .initially(Place::Limit, 1)
            .initially(Place::Tail, 1)
            .initially(Place::Head, 1)
            .initially(Place::Registered, 2)
            .initially(Place::Room, NEXT)
            .thread("woken", seq([try_push(1, orders), leave(1, orders)]))
            .thread("sleeper", sleep(Place::Room, NEXT))
            .thread("consumer", pop)
    };
    sleeps_for_ever(NOWHERE, "as it is", model(AS_IT_IS));
    // On Arm [head:S] is a `stlr` and [notify:L] a `ldar`.
    sleeps_for_ever(&[X86, Language], "no [pop:F]", model(without_room_fence()));
    let acquiring = Orders { wake: Acquire, ..without_room_fence() };
    sleeps_for_ever(&MACHINES, "no [pop:F], [notify:L] Acquire", model(acquiring));
    sleeps_for_ever(WEAK, "no [sleep:F]", model(without_sleep_fence()));
    let not_passed_on = Orders { passes_on: false, ..AS_IT_IS };
    sleeps_for_ever(&MACHINES, "nobody passes it on", model(not_passed_on));
}

/// W1, for closing in place of a push.
#[test]
fn closing_wakes_a_pop() {
    let model = |orders| {
        Model::new()
            .thread("closer", close_and_wake(orders))
            .thread("consumer", consumer(1, 3, orders))
    };
    sleeps_for_ever(NOWHERE, "as it is", model(AS_IT_IS));
    sleeps_for_ever(WEAK, "[close:C] Relaxed", model(with_close(Relaxed)));
    sleeps_for_ever(&[Language], "[close:C] AcqRel", model(with_close(AcqRel)));
    sleeps_for_ever(WEAK, "[notify:L] Relaxed", model(with_wake(Relaxed)));
    sleeps_for_ever(WEAK, "no [sleep:F]", model(without_sleep_fence()));
    sleeps_for_ever(&MACHINES, "no light barrier", model(without_light_barrier()));
    // Nothing is claimed.
    sleeps_for_ever(NOWHERE, "no heavy barrier", model(without_heavy_barrier()));
}

/// The closer changes the word that they sleep on, and then makes the call for all.
#[test]
fn closing_wakes_a_push() {
    let model = |orders| {
        Model::new()
            .initially(Place::Limit, 1)
            .initially(Place::Tail, 1)
            .thread("closer", close_and_wake(orders))
            .thread("producer", waiting_producer(1, orders))
    };
    sleeps_for_ever(NOWHERE, "as it is", model(AS_IT_IS));
    let same_word = Orders { wakes_by_number: false, ..AS_IT_IS };
    sleeps_for_ever(&MACHINES, "W4: the word does not change", model(same_word));
    sleeps_for_ever(NOWHERE, "[close:C] Relaxed", model(with_close(Relaxed)));
    sleeps_for_ever(NOWHERE, "no heavy barrier", model(without_heavy_barrier()));
}

/// `arm`: announce, then look, then return.
#[test]
fn a_push_signals_an_armed_consumer() {
    let model = |orders| {
        Model::new()
            .initially(Place::Limit, 2)
            .initially(Place::Number, 1)
            .thread("producer", try_push(2, orders))
            .thread("consumer", event_loop(3, orders))
    };
    sleeps_for_ever(NOWHERE, "as it is", model(AS_IT_IS));
    sleeps_for_ever(WEAK, "[notify:L] Acquire", model(with_wake(Acquire)));
    sleeps_for_ever(&[Language], "[claim:C] AcqRel", model(with_claim(AcqRel)));
    sleeps_for_ever(WEAK, "no [sleep:F]", model(without_sleep_fence()));
    sleeps_for_ever(&MACHINES, "no light barrier", model(without_light_barrier()));
    sleeps_for_ever(&[X86, Language], "no heavy barrier", model(without_heavy_barrier()));
}

/// The signal of an earlier push, popped since, comes while the consumer arms again.
fn late_signal(polls: Word, orders: Orders) -> Model {
    Model::new()
        .initially(Place::Tail, 1)
        .initially(Place::Head, 1)
        .initially(Place::Asleep, WANTED + ARMED)
        .initially(Place::Number, 1)
        .thread("late", wake(Place::Asleep, orders))
        .thread("producer", push_alone(orders))
        .thread("consumer", event_loop(polls, orders))
}

/// To clear the descriptor must not take away what the next push relies on.
#[test]
fn a_late_signal_does_not_hide_the_next() {
    sleeps_for_ever(NOWHERE, "as it is", late_signal(1, AS_IT_IS));
    sleeps_for_ever_on(X86, false, "as it is", &late_signal(3, AS_IT_IS));
    // It rests on the lock that both system calls take.
    let unordered = Orders { descriptor: Relaxed, ..AS_IT_IS };
    sleeps_for_ever(WEAK, "system calls without order", late_signal(1, unordered));
}

#[test]
#[ignore = "takes a minute without optimisation"]
fn a_late_signal_does_not_hide_the_next_on_every_machine() {
    sleeps_for_ever(NOWHERE, "as it is", late_signal(3, AS_IT_IS));
}

/// A push, popped since, looks late whether the consumer is armed, while that makes its descriptor
/// and arms: asserts that it may take the announcement and write nothing, so that the next push
/// finds none.
fn takes_and_writes_nothing(on: &[Machine], what: &str, asleep: Word, orders: Orders) {
    Model::new()
        .initially(Place::Asleep, asleep)
        .thread("late", wake(Place::Asleep, orders))
        .thread("consumer", new_event_loop(1, orders))
        .assert_seen(on, what, |end| end.someone_sleeps() && end.memory(Place::Asleep) % NEXT == 0);
}

#[test]
fn a_push_that_finds_the_consumer_armed_sees_its_descriptor() {
    let relaxed = Orders { announce: Relaxed, ..AS_IT_IS };
    let kept = Orders { takes_back: false, ..AS_IT_IS };
    takes_and_writes_nothing(NOWHERE, "as it is", 0, AS_IT_IS);
    takes_and_writes_nothing(WEAK, "[announce:R] Relaxed", 0, relaxed);
    takes_and_writes_nothing(NOWHERE, "nothing to take back", 0, kept);
    // In a forked child of one that was armed.
    let was_armed = WANTED + ARMED;
    takes_and_writes_nothing(NOWHERE, "as it is", was_armed, AS_IT_IS);
    takes_and_writes_nothing(WEAK, "what was announced stays", was_armed, kept);
}

/// The same for a push that has found an older announcement, and finds this one in its exchange.
#[test]
fn a_push_that_finds_the_consumer_armed_anew_sees_its_descriptor() {
    const ANNOUNCED: Word = NEXT + WANTED + ARMED;
    let unseen = |on, what, announce, found| {
        let consumer = seq([
            store(Place::Number, 1, Relaxed),
            exchange(Reg::Found, Place::Asleep, ANNOUNCED, announce).labelled("[announce:R]"),
        ]);
        let late = seq([
            compare_exchange(A, Place::Asleep, WANTED + ARMED, WAKING + ARMED, Relaxed, found)
                .labelled("[notify:A]"),
            when(is([A], |[word]| word == ANNOUNCED), load(B, Place::Number, Relaxed)),
        ]);
        Model::new()
            .initially(Place::Asleep, WANTED + ARMED)
            .thread("consumer", consumer)
            .thread("late", late)
            .assert_seen(on, what, |end| {
                end.register(1, A) == ANNOUNCED && end.register(1, B) == 0
            });
    };
    unseen(NOWHERE, "as it is", Release, Acquire);
    unseen(WEAK, "[announce:R] Relaxed", Relaxed, Acquire);
    unseen(WEAK, "[notify:A] Relaxed", Release, Relaxed);
}

/// L1 of `src/listener/mod.rs`.
#[test]
fn a_flush_wakes_a_listener() {
    let model = |ticket, orders| {
        Model::new().thread("flush", flush(ticket, orders)).thread("listener", listener(orders))
    };
    sleeps_for_ever(NOWHERE, "as it is", model(SeqCst, AS_IT_IS));
    sleeps_for_ever(WEAK, "ticket Relaxed", model(Relaxed, AS_IT_IS));
    sleeps_for_ever(&[Language], "ticket AcqRel", model(AcqRel, AS_IT_IS));
    sleeps_for_ever(WEAK, "no [sleep:F]", model(SeqCst, without_sleep_fence()));
}

/// With a consumer that may linger.
const LINGERS: Orders = Orders { lingers: true, ..AS_IT_IS };

/// So many that the tail never comes there.
const MANY: Word = 9;

/// W10. Another push has claimed before, and what the consumer said the last time was more.
#[test]
fn a_push_that_makes_it_enough_wakes_a_pop_that_lingers() {
    let model = |orders| {
        let orders = Orders { lingers: true, ..orders };
        Model::new()
            .initially(Place::Limit, 2)
            .initially(Place::Tail, 1)
            .initially(Place::End, MANY)
            .thread("producer", try_push(2, orders))
            .thread("consumer", linger(2, nothing(), orders))
    };
    let relaxed = Orders { announce: Relaxed, ..AS_IT_IS };
    sleeps_for_ever(NOWHERE, "as it is", model(AS_IT_IS));
    // Where the consumer does not see the claim, its fence was before that, and so the index, too.
    // But Rust promises the push the index only by [announce:R].
    sleeps_for_ever(NOWHERE, "[announce:R] Relaxed", model(relaxed));
    sleeps_for_ever(WEAK, "[notify:L] Acquire", model(with_wake(Acquire)));
    sleeps_for_ever(&[Language], "[claim:C] AcqRel", model(with_claim(AcqRel)));
    sleeps_for_ever(WEAK, "no [sleep:F]", model(without_sleep_fence()));
    let blind = Orders { end_look: false, ..AS_IT_IS };
    // On ARM the look for who sleeps comes after the publication.
    sleeps_for_ever(&[X86, Language], "no look at the tail", model(blind));
}

/// W10. The push that made it enough is stopped before it looks. Another one comes after it, or
/// finds the ring full.
#[test]
fn a_push_beside_a_stopped_one_wakes_a_pop_that_lingers() {
    let model = |other| {
        let comes_after = seq([load(A, Place::Tail, Acquire), until(is([A], |[tail]| tail == 1))]);
        Model::new()
            .initially(Place::Limit, 2)
            .initially(Place::End, MANY)
            .thread("stopped", claim_alone(RING))
            .thread("another", seq([comes_after, other]))
            .thread("consumer", linger(1, nothing(), LINGERS))
    };
    sleeps_for_ever(NOWHERE, "another pushes", model(try_push(2, LINGERS)));
    sleeps_for_ever(NOWHERE, "another waits for room", model(wake(Place::Asleep, LINGERS)));
    sleeps_for_ever(&MACHINES, "another does not look", model(nothing()));
}

/// W10, for closing in place of a push.
#[test]
fn closing_wakes_a_pop_that_lingers() {
    let model = |orders| {
        let orders = Orders { lingers: true, ..orders };
        Model::new()
            .thread("closer", close_and_wake(orders))
            .thread("consumer", linger(MANY, nothing(), orders))
    };
    sleeps_for_ever(NOWHERE, "as it is", model(AS_IT_IS));
    sleeps_for_ever(&[Language], "[close:C] AcqRel", model(with_close(AcqRel)));
    sleeps_for_ever(WEAK, "[notify:L] Relaxed", model(with_wake(Relaxed)));
    sleeps_for_ever(WEAK, "no [sleep:F]", model(without_sleep_fence()));
}

/// W10, after a push of this thread, or of one that this thread has heard from. It looks for who
/// sleeps before its item is seen, and finds nobody.
#[test]
fn a_pop_that_lingers_is_woken_now() {
    let without_fence = Orders { now_fence: false, ..LINGERS };
    let own = |orders| {
        Model::new()
            .initially(Place::Limit, 2)
            .thread("producer", seq([try_push(2, orders), wake_now(orders)]))
            .thread("consumer", linger(MANY, nothing(), orders))
    };
    sleeps_for_ever(NOWHERE, "as it is", own(LINGERS));
    // On Arm the publication is a `stlr` and the look a `ldar`.
    sleeps_for_ever(&[X86, Language], "no [now:F]", own(without_fence));
    let relaxed = Orders { wake: Relaxed, ..without_fence };
    sleeps_for_ever(&MACHINES, "no [now:F], [notify:L] Relaxed", own(relaxed));
    sleeps_for_ever(WEAK, "no [sleep:F]", own(Orders { sleep_fence: false, ..LINGERS }));
    let others = |orders: Orders| {
        let heard = seq([load(A, Place::X, Acquire), until(is([A], |[told]| told == 1))]);
        Model::new()
            .thread("producer", seq([push_alone(orders), store(Place::X, 1, Release)]))
            .thread("another", seq([heard, wake_now(orders)]))
            .thread("consumer", linger(MANY, nothing(), orders))
    };
    sleeps_for_ever(NOWHERE, "as it is", others(LINGERS));
}

/// W10 and L1 of `src/listener/mod.rs`.
#[test]
fn a_flush_wakes_a_listener_that_lingers() {
    let model = |ticket, orders| {
        let orders = Orders { lingers: true, ..orders };
        Model::new()
            .thread("flush", flush(ticket, orders))
            .thread("listener", linger(MANY, look_for_tickets(), orders))
    };
    sleeps_for_ever(NOWHERE, "as it is", model(SeqCst, AS_IT_IS));
    sleeps_for_ever(WEAK, "ticket Relaxed", model(Relaxed, AS_IT_IS));
    sleeps_for_ever(&[Language], "ticket AcqRel", model(AcqRel, AS_IT_IS));
    // On Arm the announcement is a `stlxr`, and the look at the tickets a `ldar`.
    sleeps_for_ever(&[Language], "no [sleep:F]", model(SeqCst, without_sleep_fence()));
}
