//! The results as text.

use std::fmt::Write;

use super::board::{Outcome, Tally, Verdict};
use super::costs::{Calls, Cost};
use super::examination::{
    CAPACITIES, Examination, FORK, Findings, REENTERED, SCENES, SLEEPING, STOPPED, STOPPED_FOR_LONG,
};
use super::machine::Machine;
use super::markdown::{capitalised, head, row};
use super::waiting::Waited;

const LEGEND: &str = "\
## How to read it

Each call was single-stepped, with the processor's trap flag. Before each of its instructions a
process of its own did what the scene says, finished the call, and looked at what came out. A cell
counts these processes, as in *3 hang of 57*; **0 of 57** is as it should be. A cell is blank where
the queue does not offer that.

- *hang*: there was no progress for 10 ms of processor time, nor for 20 ms more; or all threads
  slept, with nobody left to wake them, in two looks. (Five seconds without either, and ten more,
  would count as well.)
- *asleep*: the receiver sleeps for ever, though the push that had to wake it has returned.
- *crash*: a panic, or a signal.
- *lost*, *doubled*, *reordered*: an accepted item did not come out, or came out twice, or before
  one that was pushed before it. *hidden*: a pop did not find an item whose push had returned.
- *refused*: a push was refused though there was room, or the room was gone for good.

*Re-entered* is a push or pop interrupted by pushes or pops of the same thread: the first five
scenes below. *Producer stopped* is a producer that is stopped for good in a push, while others push
into the room that is left; *for long*, until the room that is left is used up. A ring cannot use
the slot of a stopped push again: in time it refuses, and says so.

The queues had been used before, such that the interrupted call is the longest of 60 in a row: the
one that allocates, if some do. If a call and what interrupts it both allocate, the second waits for
the allocator's lock, which the first holds. That counts as a hang, since such a push must not be
used in handlers.

Of a pop that sleeps, each instruction was interrupted at its first three visits, as some queues
spin before they sleep. The number of instructions differs from run to run where other threads run
beside the stepped one, where a queue reads the time, and where the allocator is in another state.

signal-hook's channel holds five items, here in the column for four, and drops what is too much
without saying so, which is not counted as lost. heapless's queue has no capacity of one.
";

const COSTS: &str = "\
68 pushes and pops by turns on a new thread, capacity 4, with nothing interrupted: the median, and
in brackets the longest call where it differs. A few instructions are the adapter's. Locked
instructions are without fences. Allocator calls allocate or free; destructors are those registered
for thread-locals. Whether a call reaches a thread-local lazily in other ways cannot be seen in an
executable, where thread-locals are not looked up by a function.
";

/// The columns about pushes that would wait for ever.
const WAITING: [&str; 2] = ["own push when full", "two consumers"];

pub(crate) fn markdown(examinations: &[Examination]) -> String {
    let packages: Vec<_> = examinations
        .iter()
        .map(|examination| examination.package)
        .filter(|package| !package.is_empty())
        .collect();
    format!(
        "# Interrupted at every instruction\n\n\
         Written by `cargo bench --bench interrupted`, on x86-64 Linux.\n\n{}\n\
         ## In short\n\n{}\n{LEGEND}{}",
        Machine::look_with(&packages).markdown(),
        in_short(examinations),
        tables(examinations),
    )
}

pub(crate) fn tables(examinations: &[Examination]) -> String {
    let mut text = String::from("\n## All scenes\n\nBoth capacities together.\n\n");
    let names = SCENES.map(|scene| scene.name);
    text += &head("", &[&names[..], &WAITING].concat());
    for examination in examinations {
        let cells = (0..SCENES.len()).map(|scene| examination.cell(scene..scene + 1));
        let waited = [examination.own_push(), examination.each_other()];
        text += &row(examination.name, cells.chain(waited));
    }
    for (place, scene) in SCENES.iter().enumerate() {
        let _ = write!(text, "\n## {}\n\n{}\n\n", capitalised(scene.name), scene.description);
        text += &head("", &CAPACITIES.map(|capacity| format!("capacity {capacity}")));
        for examination in examinations {
            let cell = |asked| examination.with(asked).map(|found| found.outcomes[place]);
            let cells = CAPACITIES.map(|asked| cell(asked).map_or(String::new(), outcome));
            text += &row(examination.name, cells);
        }
    }
    let _ = write!(
        text,
        "\n## Own push when full\n\nThe consumer's thread pushes into its own full queue with the \
         push that waits: in the tables above.\n\n## Two consumers\n\nEach of two threads \
         consumes one queue and pushes into the other's, which is full, with the push that waits: \
         in the tables above.\n\n## What one call did\n\n{COSTS}"
    );
    text + &costs(examinations)
}

/// The table for those who want one table.
fn in_short(examinations: &[Examination]) -> String {
    let columns = ["re-entered", "receiver asleep", "producer stopped", "for long", "fork"];
    let mut text = head("", &[&columns[..], &WAITING].concat());
    for examination in examinations {
        let scenes = [
            REENTERED,
            SLEEPING,
            STOPPED..STOPPED + 1,
            STOPPED_FOR_LONG..STOPPED_FOR_LONG + 1,
            FORK..FORK + 1,
        ];
        let cells = scenes.map(|scenes| examination.cell(scenes));
        let waited = [examination.own_push(), examination.each_other()];
        text += &row(examination.name, cells.into_iter().chain(waited));
    }
    text
}

impl Examination {
    fn with(&self, asked: usize) -> Option<&Findings> {
        self.findings.iter().find(|findings| findings.asked == asked)
    }

    /// What came of some scenes, with all capacities.
    fn cell(&self, scenes: std::ops::Range<usize>) -> String {
        let mut all = Tally::default();
        let mut alone = None;
        for found in self.findings.iter().flat_map(|found| &found.outcomes[scenes.clone()]) {
            match found {
                Outcome::NotOffered => {}
                Outcome::Alone(_) => alone = Some(*found),
                Outcome::Tried(tally) => all += *tally,
            }
        }
        alone.map_or_else(|| tally(all), outcome)
    }

    fn own_push(&self) -> String {
        waited(self.findings.iter().map(|found| found.own_push), |accepted| {
            format!("accepts {accepted}, then `WouldDeadlock`")
        })
    }

    fn each_other(&self) -> String {
        waited(self.findings.iter().map(|found| found.each_other), |_| {
            "`WouldDeadlock` for one".into()
        })
    }
}

fn outcome(outcome: Outcome) -> String {
    match outcome {
        Outcome::NotOffered => String::new(),
        Outcome::Alone(verdict) => format!("{} when left alone", verdict.word()),
        Outcome::Tried(found) => tally(found),
    }
}

fn tally(tally: Tally) -> String {
    match (tally.tried(), tally.findings()) {
        (0, _) => String::new(),
        (tried, 0) => format!("**0 of {tried}**"),
        _ => tally.summary(),
    }
}

/// Of all capacities: the worst.
fn waited(all: impl Iterator<Item = Option<Waited>>, refused: impl Fn(usize) -> String) -> String {
    let all: Vec<_> = all.flatten().collect();
    let bad = all.iter().find(|one| !matches!(one.verdict, Verdict::Fine | Verdict::Refused));
    match (bad, all.first()) {
        (Some(Waited { verdict, .. }), _) => verdict.word().into(),
        (None, Some(Waited { verdict: Verdict::Refused, accepted })) => {
            format!("**{}**", refused(*accepted))
        }
        (None, Some(_)) => "**goes on**".into(),
        (None, None) => String::new(),
    }
}

fn costs(examinations: &[Examination]) -> String {
    let columns =
        ["instructions", "locked", "fences", "system calls", "allocator calls", "destructors"];
    let mut text = String::new();
    type Look = fn(&Findings) -> Option<(Cost, Cost)>;
    fn of(calls: &Calls) -> (Cost, Cost) {
        (calls.median, calls.longest)
    }
    let kinds: [(&str, Look); 3] = [
        ("A push", |found| found.calls.as_ref().map(|[pushes, _]| of(pushes))),
        ("A pop", |found| found.calls.as_ref().map(|[_, pops]| of(pops))),
        ("A push that wakes the receiver", |found| found.wake.map(|cost| (cost, cost))),
    ];
    for (title, look) in kinds {
        let _ = write!(text, "\n{title}:\n\n{}", head("", &columns));
        for examination in examinations {
            let found = examination.findings.last().and_then(look);
            let cells = found.map_or_else(Vec::new, |(median, longest)| {
                let pairs = median.all().into_iter().zip(longest.all());
                pairs.map(|(usual, most)| with_most(usual, most)).collect()
            });
            if !cells.is_empty() {
                text += &row(examination.name, cells);
            }
        }
    }
    text
}

fn with_most(usual: u32, most: u32) -> String {
    if usual == most { usual.to_string() } else { format!("{usual} ({most})") }
}
