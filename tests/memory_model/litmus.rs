//! The classic litmus tests, with the verdicts of the literature: so that the explorer's verdicts
//! on the protocols can be believed.
//!
//! The names are those of J. Alglave et al., "Herding cats" (TOPLAS 2014), and C. Pulte et al. (see
//! [`machine`](crate::machine)). Each asks whether one outcome, which no interleaving of the
//! threads has, can be seen.

use crate::explorer::{End, Model};
use crate::machine::MACHINES;
use crate::machine::Machine::{self, Arm, Language, X86};
use crate::program::Ordering::*;
use crate::program::Place::{X, Y, Z};
use crate::program::Reg::{A, B, C, D};
use crate::program::{
    Code, Expr, Ordering, Place, Reg, acquire_fence, compare_exchange, compiler_fence, exchange,
    fence, fetch_add, is, load, membarrier, nap, nothing, of, seq, sleep, store, until, wake_all,
    wake_one, when,
};

const NAMES: [&str; 4] = ["first", "second", "third", "fourth"];

/// Asserts that `outcome` is seen on those machines, and on no other.
fn allowed<const N: usize>(
    machines: &[Machine],
    name: &str,
    threads: [Code; N],
    outcome: impl Fn(&End) -> bool,
) {
    let threads = NAMES.into_iter().zip(threads);
    let model = threads.fold(Model::new(), |model, (name, code)| model.thread(name, code));
    model.assert_seen(machines, name, outcome);
}

/// Registers of the first thread, the second …
fn read<const N: usize>(values: [(usize, Reg, u32); N]) -> impl Fn(&End) -> bool {
    move |end| {
        values.iter().all(|&(thread, register, value)| end.register(thread, register) == value)
    }
}

/// Two stores in a row, with something between.
fn stores(first: Place, between: Code, second: Place, order: Ordering) -> Code {
    seq([store(first, 1, Relaxed), between, store(second, 1, order)])
}

fn loads(first: Place, order: Ordering, between: Code, second: Place) -> Code {
    seq([load(A, first, order), between, load(B, second, Relaxed)])
}

/// Depends on `A`, and is always 1.
fn one_after_a() -> Expr {
    of([A], |_| 1)
}

#[test]
fn store_buffering() {
    let sb = |write, between: fn() -> Code, read| {
        [(X, Y), (Y, X)]
            .map(|(mine, other)| seq([store(mine, 1, write), between(), load(A, other, read)]))
    };
    let outcome = || read([(0, A, 0), (1, A, 0)]);
    allowed(&MACHINES, "SB", sb(Relaxed, nothing, Relaxed), outcome());
    allowed(&MACHINES, "SB+compiler", sb(Relaxed, compiler_fence, Relaxed), outcome());
    allowed(&[], "SB+fences", sb(Relaxed, fence, Relaxed), outcome());
    allowed(&MACHINES, "SB+fence.acqs", sb(Relaxed, acquire_fence, Relaxed), outcome());
    allowed(&[], "SB+seqcst", sb(SeqCst, nothing, SeqCst), outcome());
    allowed(&MACHINES, "SB+rel-acqs", sb(Release, nothing, Acquire), outcome());
    // `stlr` and `ldar` are in order, which Rust promises for SeqCst stores alone.
    allowed(&[X86, Language], "SB+rel-seqcsts", sb(Release, nothing, SeqCst), outcome());
    let [with, _] = sb(Relaxed, fence, Relaxed);
    let [_, plain] = sb(Relaxed, nothing, Relaxed);
    allowed(&MACHINES, "SB+fence+po", [with, plain], outcome());
    // One `membarrier` makes a full fence of what is nothing on the other side.
    let [_, heavy] = sb(Relaxed, membarrier, Relaxed);
    let [light, _] = sb(Relaxed, compiler_fence, Relaxed);
    allowed(&[], "SB+membarrier+compiler", [light, heavy], outcome());
}

#[test]
fn store_buffering_with_exchanges() {
    let sb = |order, read| {
        [(X, Y), (Y, X)]
            .map(|(mine, other)| seq([exchange(C, mine, 1, order), load(A, other, read)]))
    };
    let outcome = || read([(0, A, 0), (1, A, 0)]);
    // A locked instruction is a full fence; an exclusive store lets later loads ahead.
    allowed(&[Arm, Language], "SB+swaps", sb(Relaxed, Relaxed), outcome());
    allowed(&[Arm, Language], "SB+swaps-acqrel", sb(AcqRel, Relaxed), outcome());
    allowed(&[Arm, Language], "SB+swaps-seqcst-rlx", sb(SeqCst, Relaxed), outcome());
    allowed(&[Arm, Language], "SB+swaps-seqcst-acq", sb(SeqCst, Acquire), outcome());
    allowed(&[], "SB+swaps-seqcst", sb(SeqCst, SeqCst), outcome());
    let between = [(X, Y), (Y, X)].map(|(mine, other)| {
        seq([store(mine, 1, Relaxed), exchange(C, Z, 1, Relaxed), load(A, other, Relaxed)])
    });
    allowed(&[Arm, Language], "SB+swaps-between", between, outcome());
    // An acquiring load waits for what an earlier exchange writes, and not for a store.
    let other = || seq([store(Y, 1, Relaxed), fence(), load(B, X, Relaxed)]);
    let own = |write| [seq([write, load(A, X, Acquire), load(B, Y, Relaxed)]), other()];
    let outcome = || read([(0, A, 1), (0, B, 0), (1, B, 0)]);
    allowed(&MACHINES, "SB+rfi-acq", own(store(X, 1, Relaxed)), outcome());
    allowed(&[], "SB+swap-rfi-acq", own(exchange(C, X, 1, Relaxed)), outcome());
}

#[test]
fn message_passing() {
    let outcome = || read([(1, A, 1), (1, B, 0)]);
    let mp = |write: (fn() -> Code, Ordering), read: (Ordering, fn() -> Code)| {
        [stores(X, write.0(), Y, write.1), loads(Y, read.0, read.1(), X)]
    };
    let weak = [Arm, Language];
    allowed(&weak, "MP", mp((nothing, Relaxed), (Relaxed, nothing)), outcome());
    allowed(&[], "MP+fences", mp((fence, Relaxed), (Relaxed, fence)), outcome());
    allowed(&[], "MP+rel+acq", mp((nothing, Release), (Acquire, nothing)), outcome());
    allowed(&[], "MP+rel+fence.acq", mp((nothing, Release), (Relaxed, acquire_fence)), outcome());
    allowed(&weak, "MP+fence.acq+acq", mp((acquire_fence, Relaxed), (Acquire, nothing)), outcome());
    allowed(&weak, "MP+rel+po", mp((nothing, Release), (Relaxed, nothing)), outcome());
    allowed(&weak, "MP+po+acq", mp((nothing, Relaxed), (Acquire, nothing)), outcome());
    allowed(&[], "MP+seqcst+acq", mp((nothing, SeqCst), (SeqCst, nothing)), outcome());
    let by_heavy = mp((membarrier, Relaxed), (Relaxed, compiler_fence));
    allowed(&[], "MP+membarrier+compiler", by_heavy, outcome());
    // It does not wait for what a thread does later.
    let late = [
        seq([load(C, Y, Relaxed), membarrier(), store(X, 1, Relaxed)]),
        seq([loads(X, Relaxed, nothing(), Z), store(Y, 1, Relaxed)]),
    ];
    allowed(&MACHINES, "membarrier before both loads", late, read([(1, A, 1)]));
}

#[test]
fn message_passing_with_dependencies() {
    let outcome = || read([(1, A, 1), (1, B, 0)]);
    let writer = || stores(X, fence(), Y, Relaxed);
    let address = seq([load(A, Y, Relaxed), load(B, X, Relaxed).address_from(A)]);
    allowed(&[], "MP+fence+addr", [writer(), address], outcome());
    // A load does not wait for a branch.
    let taken = seq([load(A, Y, Relaxed), when(is([A], |[a]| a == 1), load(B, X, Relaxed))]);
    let outcome_of_branch = |end: &End| end.register(1, A) == 1 && end.register(1, B) == 0;
    allowed(&[Arm, Language], "MP+fence+ctrl", [writer(), taken], outcome_of_branch);
    // PPOCA: the load is fed by a store that itself waits for the branch.
    let ppoca = seq([
        load(A, Y, Relaxed),
        until(is([A], |[a]| a == 1)),
        store(Z, 1, Relaxed),
        load(C, Z, Relaxed),
        load(B, X, Relaxed).address_from(C),
    ]);
    allowed(&[Arm, Language], "PPOCA", [writer(), ppoca], outcome());
    // PPOAA: with an address in place of the branch it is not.
    let ppoaa = seq([
        load(A, Y, Relaxed),
        store(Z, 1, Relaxed).address_from(A),
        load(C, Z, Relaxed),
        load(B, X, Relaxed).address_from(C),
    ]);
    allowed(&[], "PPOAA", [writer(), ppoaa], outcome());
}

#[test]
fn load_buffering() {
    let outcome = || read([(0, A, 1), (1, A, 1)]);
    let lb = |first, value: fn() -> Expr, second| {
        [(X, Y), (Y, X)].map(|(from, to)| seq([load(A, from, first), store(to, value(), second)]))
    };
    allowed(&[Arm, Language], "LB", lb(Relaxed, || 1.into(), Relaxed), outcome());
    allowed(&[], "LB+acqs", lb(Acquire, || 1.into(), Relaxed), outcome());
    allowed(&[], "LB+rels", lb(Relaxed, || 1.into(), Release), outcome());
    allowed(&[], "LB+datas", lb(Relaxed, one_after_a, Relaxed), outcome());
    let by_address = [(X, Y), (Y, X)]
        .map(|(from, to)| seq([load(A, from, Relaxed), store(to, 1, Relaxed).address_from(A)]));
    allowed(&[], "LB+addrs", by_address, outcome());
    let by_branch = [(X, Y), (Y, X)].map(|(from, to)| {
        seq([load(A, from, Relaxed), when(is([A], |[a]| a == 1), store(to, 1, Relaxed))])
    });
    allowed(&[], "LB+ctrls", by_branch, outcome());
    // What an exchange expects decides whether it writes.
    let expecting = compare_exchange(C, X, of([A], |[a]| 1 - a), 2, Relaxed, Relaxed);
    let by_exchange = [
        seq([load(A, X, Relaxed), store(Y, of([A], |[a]| a / 2), Relaxed)]),
        seq([load(A, Y, Relaxed), expecting]),
    ];
    allowed(&[], "LB+data+expected", by_exchange, read([(0, A, 2), (1, A, 1)]));
    // A store waits until it is known where an earlier access goes.
    let by_access = [(X, Y, Z), (Y, X, Z)].map(|(from, to, other)| {
        seq([
            load(A, from, Relaxed),
            load(B, other, Relaxed).address_from(A),
            store(to, 1, Relaxed),
        ])
    });
    allowed(&[], "LB+addr-pos", by_access, outcome());
}

#[test]
fn two_writes_each() {
    let outcome = |end: &End| end.memory(X) == 1 && end.memory(Y) == 1;
    let two = |between: fn() -> Code, order| {
        [(X, Y), (Y, X)].map(|(first, second)| {
            seq([store(first, 1, Relaxed), between(), store(second, 2, order)])
        })
    };
    // Each first store comes last: after the other's second.
    allowed(&[Arm, Language], "2+2W", two(nothing, Relaxed), outcome);
    allowed(&[], "2+2W+fences", two(fence, Relaxed), outcome);
    allowed(&[], "2+2W+rels", two(nothing, Release), outcome);
}

#[test]
fn independent_reads_of_independent_writes() {
    let outcome = || read([(2, A, 1), (2, B, 0), (3, A, 1), (3, B, 0)]);
    let iriw = |order, between: fn() -> Code| {
        [
            store(X, 1, order),
            store(Y, 1, order),
            loads(X, order, between(), Y),
            loads(Y, order, between(), X),
        ]
    };
    allowed(&[Arm, Language], "IRIW", iriw(Relaxed, nothing), outcome());
    // With one memory for all, an order of each thread's reads is enough.
    allowed(&[], "IRIW+fences", iriw(Relaxed, fence), outcome());
    allowed(&[], "IRIW+seqcst", iriw(SeqCst, nothing), outcome());
    let acquiring = [
        store(X, 1, Relaxed),
        store(Y, 1, Relaxed),
        loads(X, Acquire, nothing(), Y),
        loads(Y, Acquire, nothing(), X),
    ];
    allowed(&[], "IRIW+acqs", acquiring, outcome());
    let by_address = [(X, Y), (Y, X)].map(|(first, second)| {
        seq([load(A, first, Relaxed), load(B, second, Relaxed).address_from(A)])
    });
    let [one, other] = by_address;
    let by_address = [store(X, 1, Relaxed), store(Y, 1, Relaxed), one, other];
    allowed(&[], "IRIW+addrs", by_address, outcome());
}

#[test]
fn from_write_to_read_of_a_third() {
    let outcome = || read([(1, A, 1), (2, A, 1), (2, B, 0)]);
    let pass_on = |value: Expr| seq([load(A, X, Relaxed), store(Y, value, Relaxed)]);
    let by_address = || seq([load(A, Y, Relaxed), load(B, X, Relaxed).address_from(A)]);
    let wrc = [store(X, 1, Relaxed), pass_on(1.into()), loads(Y, Relaxed, nothing(), X)];
    allowed(&[Arm, Language], "WRC", wrc, outcome());
    let wrc = [store(X, 1, Relaxed), pass_on(one_after_a()), by_address()];
    allowed(&[], "WRC+data+addr", wrc, outcome());

    let outcome = || read([(1, A, 1), (2, A, 1), (2, B, 0)]);
    let isa2 = |order| {
        [
            stores(X, nothing(), Y, order),
            seq([load(A, Y, Relaxed), store(Z, one_after_a(), Relaxed)]),
            seq([load(A, Z, Relaxed), load(B, X, Relaxed).address_from(A)]),
        ]
    };
    allowed(&[Arm, Language], "ISA2", isa2(Relaxed), outcome());
    allowed(&[], "ISA2+rel+data+addr", isa2(Release), outcome());
}

#[test]
fn a_write_and_a_read_between_two_writes() {
    // R: the second's store of Y comes after the first's, and it does not see the store of X.
    let outcome = |end: &End| end.memory(Y) == 2 && end.register(1, A) == 0;
    let r = |between: fn() -> Code, write, read| {
        [stores(X, between(), Y, write), seq([store(Y, 2, write), between(), load(A, X, read)])]
    };
    allowed(&MACHINES, "R", r(nothing, Relaxed, Relaxed), outcome);
    allowed(&MACHINES, "R+rel+rel-acq", r(nothing, Release, Acquire), outcome);
    allowed(&[], "R+fences", r(fence, Relaxed, Relaxed), outcome);
    allowed(&[], "R+seqcst", r(nothing, SeqCst, SeqCst), outcome);

    // S: the second reads the first's store of Y, and its store of X comes before the first's.
    let outcome = |end: &End| end.memory(X) == 2 && end.register(1, A) == 1;
    let s = |order, value: Expr| {
        [
            seq([store(X, 2, Relaxed), store(Y, 1, order)]),
            seq([load(A, Y, Relaxed), store(X, value, Relaxed)]),
        ]
    };
    allowed(&[Arm, Language], "S", s(Relaxed, one_after_a()), outcome);
    allowed(&[Arm, Language], "S+rel+po", s(Release, 1.into()), outcome);
    allowed(&[], "S+rel+data", s(Release, one_after_a()), outcome);
}

#[test]
fn one_place_is_coherent() {
    let reader = || loads(X, Relaxed, nothing(), X);
    allowed(&[], "CoRR", [store(X, 1, Relaxed), reader()], read([(1, A, 1), (1, B, 0)]));
    let own = seq([store(X, 1, Relaxed), load(A, X, Relaxed)]);
    allowed(&[], "CoWR", [own], read([(0, A, 0)]));
    let own = seq([load(A, X, Relaxed), store(X, 1, Relaxed)]);
    allowed(&[], "CoRW", [own], read([(0, A, 1)]));
    // RSW: reads of the same write may go in any order, and so lead from A to D around two
    // addresses; RDW: of different writes they may not.
    let reader = || {
        seq([
            load(A, Y, Relaxed),
            load(B, Z, Relaxed).address_from(A),
            load(C, Z, Relaxed),
            load(D, X, Relaxed).address_from(C),
        ])
    };
    let writer = || stores(X, fence(), Y, Relaxed);
    let outcome = read([(1, A, 1), (1, B, 0), (1, C, 0), (1, D, 0)]);
    allowed(&[Arm, Language], "RSW", [writer(), reader()], outcome);
    let outcome = read([(1, A, 1), (1, B, 0), (1, C, 1), (1, D, 0)]);
    allowed(&[], "RDW", [writer(), reader(), store(Z, 1, Relaxed)], outcome);
}

#[test]
fn exchanges_are_atomic() {
    let add = || fetch_add(A, X, 1, Relaxed);
    allowed(&[], "two additions", [add(), add()], |end| end.memory(X) != 2);
    let add = seq([load(A, X, Relaxed), store(X, of([A], |[a]| a + 1), Relaxed)]);
    let both = [add.clone(), add];
    allowed(&MACHINES, "two loads and stores", both, |end| end.memory(X) != 2);
    let claim = |new| compare_exchange(A, X, 0, new, Relaxed, Relaxed);
    let outcome = read([(0, A, 0), (1, A, 0)]);
    allowed(&[], "both claim", [claim(1), claim(2)], outcome);
    let outcome = |end: &End| end.register(0, A) == 2 && end.memory(X) == 2;
    allowed(&MACHINES, "one fails", [claim(1), claim(2)], outcome);
}

#[test]
fn a_failed_exchange_is_a_load() {
    let reader = |order| seq([compare_exchange(A, Y, 5, 6, SeqCst, order), load(B, X, Relaxed)]);
    let writer = || stores(X, nothing(), Y, Release);
    let outcome = || read([(1, A, 1), (1, B, 0)]);
    allowed(&[Arm, Language], "MP+rel+failed", [writer(), reader(Relaxed)], outcome());
    allowed(&[], "MP+rel+failed-acq", [writer(), reader(Acquire)], outcome());
}

#[test]
fn sleepers_wake_if_they_were_asleep() {
    let sleeps = |end: &End| end.someone_sleeps();
    let sleeper = || seq([sleep(X, 0), load(A, X, Relaxed)]);
    let changes = |wake| seq([store(X, 1, Relaxed), wake]);
    allowed(&[], "change, wake", [sleeper(), changes(wake_one(X))], sleeps);
    allowed(&MACHINES, "change", [sleeper(), changes(nothing())], sleeps);
    let early = seq([wake_one(X), store(X, 1, Relaxed)]);
    allowed(&MACHINES, "wake, change", [sleeper(), early], sleeps);
    let two = |wake| [sleeper(), sleeper(), changes(wake)];
    allowed(&MACHINES, "wake one of two", two(wake_one(X)), sleeps);
    allowed(&[], "wake both", two(wake_all(X)), sleeps);
    allowed(&[], "a nap ends", [nap(X, 0)], sleeps);
    let napping = [nap(X, 0), sleeper(), changes(wake_one(X))];
    allowed(&MACHINES, "a nap takes the wake of another", napping, sleeps);
    // Who is woken sees what came before the wake.
    let outcome = read([(0, A, 0)]);
    allowed(
        &MACHINES,
        "sleep not, see nothing",
        [seq([sleep(Y, 0), load(A, X, Relaxed)]), changes(wake_all(Y))],
        outcome,
    );
}
