//! Which queue is interrupted how.

use std::time::Instant;

use super::board::{Outcome, Tally, Verdict};
use super::costs::{self, Calls, Cost};
use super::queues::{Bywash, CrossbeamChannel, Subject, for_each_subject};
use super::reentered::{self, Filled, Nested, Outer, interrupt};
use super::threads::{Beside, beside_a_sleeper, beside_a_stopped};
use super::waiting::{Waited, each_other, own_push};

pub(crate) const CAPACITIES: [usize; 2] = [1, 4];

/// A call that is interrupted at each of its instructions.
#[derive(Clone, Copy)]
pub(crate) struct Scene {
    /// As the head of a column.
    pub(crate) name: &'static str,
    pub(crate) description: &'static str,
    kind: Kind,
}

#[derive(Clone, Copy)]
enum Kind {
    Reentered(reentered::Scene),
    BesideASleeper,
    BesideAStopped(Beside),
}

const fn push(nested: Nested, filled: Filled) -> Kind {
    Kind::Reentered(reentered::Scene { outer: Outer::Push, nested, filled })
}

const fn pop(outer: Outer, filled: Filled) -> Kind {
    Kind::Reentered(reentered::Scene { outer, nested: Nested::Push, filled })
}

pub(crate) const SCENES: [Scene; 10] = [
    Scene {
        name: "push, then push",
        description: "A push into an empty queue, interrupted by one push.",
        kind: push(Nested::Push, Filled::Empty),
    },
    Scene {
        name: "push, then pushes",
        description: "A push into an empty queue, interrupted by pushes until one is refused.",
        kind: push(Nested::PushUntilFull, Filled::Empty),
    },
    Scene {
        name: "push, then pops",
        description: "A push into the last free slot, interrupted by the consumer's own pops \
            until nothing is left.",
        kind: push(Nested::PopAll, Filled::AllButOne),
    },
    Scene {
        name: "pop of a full queue, then push",
        description: "A pop from a full queue, interrupted by one push.",
        kind: pop(Outer::Pop, Filled::Full),
    },
    Scene {
        name: "pop of an empty queue, then push",
        description: "A pop from an empty queue that does not wait, interrupted by one push.",
        kind: pop(Outer::Pop, Filled::Empty),
    },
    Scene {
        name: "pop that sleeps, then push",
        description: "A pop that waits, interrupted on its own thread by one push: before it \
            sleeps, and once while it sleeps.",
        kind: pop(Outer::Take, Filled::Empty),
    },
    Scene {
        name: "push that wakes, then push",
        description: "A push that wakes the receiver, which sleeps on another thread, \
            interrupted by one push.",
        kind: Kind::BesideASleeper,
    },
    Scene {
        name: "push stopped",
        description: "A push that is stopped for good, on a thread of its own. Another thread \
            pushes as many as there is room for, and the consumer pops.",
        kind: Kind::BesideAStopped(Beside::OneLap),
    },
    Scene {
        name: "push stopped, later",
        description: "As before; then another thread pushes until it is refused and the consumer \
            pops, twice.",
        kind: Kind::BesideAStopped(Beside::MoreLaps),
    },
    Scene {
        name: "fork",
        description: "The process forks while another thread is in a push. The child pushes as \
            many as there is room for, and pops.",
        kind: Kind::BesideAStopped(Beside::Fork),
    },
];

/// How many of the scenes, from the first on, are about a handler that interrupts what does not
/// wait.
pub(crate) const REENTERED: std::ops::Range<usize> = 0..5;
/// Those about a receiver that sleeps.
pub(crate) const SLEEPING: std::ops::Range<usize> = 5..7;
/// Where a producer is stopped, and where it stays so for long.
pub(crate) const STOPPED: usize = 7;
pub(crate) const STOPPED_FOR_LONG: usize = 8;
pub(crate) const FORK: usize = 9;
/// In which crossbeam-channel is known to hang, and to leave its receiver asleep.
const KNOWN: [usize; 2] = [1, 5];

/// All that is found out about a queue with one capacity.
pub(crate) struct Findings {
    pub(crate) asked: usize,
    pub(crate) outcomes: [Outcome; SCENES.len()],
    /// `None`: pushes do not wait.
    pub(crate) own_push: Option<Waited>,
    pub(crate) each_other: Option<Waited>,
    /// Of pushes and of pops.
    pub(crate) calls: Option<[Calls; 2]>,
    pub(crate) wake: Option<Cost>,
}

/// What is found out about a queue.
pub(crate) struct Examination {
    pub(crate) name: &'static str,
    pub(crate) package: &'static str,
    pub(crate) findings: Vec<Findings>,
}

/// Examines the queues whose names contain the pattern.
pub(crate) fn examine(pattern: &str) -> Vec<Examination> {
    fn one<Q: Subject>(pattern: &str) -> Option<Examination> {
        if !Q::NAME.contains(pattern) {
            return None;
        }
        let start = Instant::now();
        let findings =
            CAPACITIES.into_iter().filter_map(|asked| Some(find::<Q>(asked, Q::holds(asked)?)));
        let findings = findings.collect();
        println!("{} examined in {:.1} s", Q::NAME, start.elapsed().as_secs_f64());
        Some(Examination { name: Q::NAME, package: Q::CRATE, findings })
    }
    let functions = for_each_subject!(one);
    functions.into_iter().filter_map(|function| function(pattern)).collect()
}

fn find<Q: Subject>(asked: usize, capacity: usize) -> Findings {
    let calls = costs::of_calls::<Q>(capacity);
    let outcome = |scene: Scene| act::<Q>(&scene, capacity, calls);
    let position = calls.map_or(8, |[pushes, _]| pushes.position);
    Findings {
        asked,
        outcomes: SCENES.map(outcome),
        own_push: Q::SLEEPS.then(|| own_push::<Q>(capacity)),
        each_other: Q::SLEEPS.then(|| each_other::<Q>(capacity)),
        calls,
        wake: Q::SLEEPS.then(|| costs::of_a_wake::<Q>(capacity, position)).flatten(),
    }
}

fn act<Q: Subject>(scene: &Scene, capacity: usize, calls: Option<[Calls; 2]>) -> Outcome {
    let [push, pop] = calls.map_or([8; 2], |calls| calls.map(|calls| calls.position));
    match scene.kind {
        Kind::Reentered(scene) if scene.outer == Outer::Take && !Q::SLEEPS => Outcome::NotOffered,
        Kind::Reentered(scene) => {
            let position = if scene.outer == Outer::Push { push } else { pop };
            interrupt::<Q>(scene, capacity, position)
        }
        Kind::BesideASleeper if !Q::SLEEPS => Outcome::NotOffered,
        Kind::BesideASleeper => beside_a_sleeper::<Q>(capacity, push),
        Kind::BesideAStopped(beside) => beside_a_stopped::<Q>(beside, capacity, push),
    }
}

/// Whether nothing is found of bywash that it does not say itself, and of a queue that is known
/// for both, something that hangs and something that stays asleep.
pub(crate) fn check() -> Result<(), String> {
    for (asked, capacity) in CAPACITIES.into_iter().zip(CAPACITIES) {
        let found = find::<Bywash>(asked, capacity);
        for (place, (scene, outcome)) in SCENES.iter().zip(found.outcomes).enumerate() {
            let tally = outcome.tally().ok_or_else(|| format!("{}: {outcome:?}", scene.name))?;
            println!("bywash, capacity {capacity}, {}: {}", scene.name, tally.summary());
            // The slot of a stopped push cannot be used again.
            let refused = tally.count(Verdict::Refused);
            let known = if place == STOPPED_FOR_LONG { refused } else { 0 };
            if tally.tried() == 0 || tally.findings() != known {
                return Err(format!("{}: {}", scene.name, tally.summary()));
            }
        }
        // The bypass takes some.
        let Some(Waited { verdict: Verdict::Refused, accepted: 1.. }) = found.own_push else {
            return Err(format!("the consumer's own push: {:?}", found.own_push));
        };
    }
    let mut all = Tally::default();
    for scene in KNOWN {
        let outcome = act::<CrossbeamChannel>(&SCENES[scene], 1, None);
        outcome.tally().into_iter().for_each(|tally| all += tally);
    }
    println!("crossbeam-channel, capacity 1, two of these: {}", all.summary());
    if [Verdict::Hang, Verdict::Asleep].into_iter().any(|verdict| all.count(verdict) == 0) {
        return Err("what is known of crossbeam-channel is not found".into());
    }
    Ok(())
}
