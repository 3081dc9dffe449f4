//! Calls that are interrupted, or stopped for good, while other threads use the same queue.
//!
//! A fork leaves the other threads behind, so each try begins anew, in a process of its own.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use super::board::{Outcome, Phase, Tally, Verdict, board};
use super::child;
use super::queues::{Receiver, Sender, Subject};
use super::record::{AFTER, NESTED, OUTER, Record, aged, push};
use super::trap::{Step, step};
use super::watch::{TOO_LATE, attempt, wait};

/// Makes a try at each step, until one says that there was none of this number.
fn at_each_step(body: impl Fn(usize) -> i32) -> Outcome {
    // No call has a step of this number.
    match attempt(|| body(usize::MAX)) {
        None => {}
        Some(verdict) => return Outcome::Alone(verdict),
    }
    let mut tally = Tally::default();
    while let Some(verdict) = attempt(|| body(tally.tried())) {
        tally.add(verdict);
    }
    Outcome::Tried(tally)
}

/// The exit code of a try, in which the step was reached or not.
fn exit_code(reached: bool, verdict: Verdict) -> i32 {
    if reached || verdict != Verdict::Fine { verdict as i32 } else { TOO_LATE }
}

/// A push, on top of which another one is made while the receiver sleeps on a thread of its own.
pub(crate) fn beside_a_sleeper<Q: Subject>(capacity: usize, position: usize) -> Outcome {
    at_each_step(|number| {
        let ([mut outer, mut nested, _], receiver) = aged::<Q>(capacity, position);
        let sleeper = Sleeper::spawn::<Q>(receiver);
        let (mut reached, mut accepted) = (false, [false; 2]);
        let [outer_accepted, nested_accepted] = &mut accepted;
        let mut on_step = |step: &mut Step<'_>| {
            board().advance();
            if step.number == number {
                step.let_go();
                reached = true;
                *nested_accepted = push(&mut nested, NESTED);
            }
        };
        step(&mut on_step, || *outer_accepted = outer.try_put(OUTER).is_ok());
        let count = accepted.into_iter().filter(|&accepted| accepted).count();
        let room = if reached { capacity.min(2) } else { 1 };
        sleeper.wait_for(count);
        let again = push(&mut outer, AFTER);
        sleeper.wait_for(count + usize::from(again));
        let verdict = sleeper.verdict(accepted, again);
        let refused = verdict == Verdict::Fine && (count < room || !again);
        exit_code(reached, if refused { Verdict::Refused } else { verdict })
    })
}

/// A receiver on a thread of its own.
pub(crate) struct Sleeper;

/// What it has received; there is one in a process.
static ITEMS: [AtomicU64; 8] = [const { AtomicU64::new(0) }; 8];
static RECEIVED: AtomicUsize = AtomicUsize::new(0);

impl Sleeper {
    /// Comes back when it sleeps.
    pub(crate) fn spawn<Q: Subject>(mut receiver: Q::Receiver<u64>) -> Self {
        let main = thread::current();
        thread::spawn(move || {
            board().register(0);
            loop {
                let item = receiver.take();
                let place = RECEIVED.load(SeqCst);
                ITEMS[place % ITEMS.len()].store(item, SeqCst);
                RECEIVED.store(place + 1, SeqCst);
                board().advance();
                main.unpark();
            }
        });
        wait_until(|| board().sleeps(0));
        Self
    }

    /// Waits until it has received so many, or for ever.
    pub(crate) fn wait_for(&self, count: usize) {
        board().enter(Phase::Wakeup);
        while RECEIVED.load(SeqCst) < count {
            thread::park();
        }
        board().enter(Phase::Calls);
    }

    fn verdict(&self, [outer, nested]: [bool; 2], again: bool) -> Verdict {
        let mut received: Vec<_> = ITEMS.iter().map(|item| item.load(SeqCst)).collect();
        received.truncate(RECEIVED.load(SeqCst));
        let last = received.pop_if(|_| again);
        received.sort_unstable();
        let expected = [(outer, OUTER), (nested, NESTED)];
        let expected = expected.into_iter().filter(|(accepted, _)| *accepted);
        if received.len() > received.iter().collect::<std::collections::HashSet<_>>().len() {
            Verdict::Doubled
        } else if !expected.map(|(_, item)| item).eq(received) {
            Verdict::Lost
        } else if again && last != Some(AFTER) {
            Verdict::Reordered
        } else {
            Verdict::Fine
        }
    }
}

/// Looks now and then until the condition holds, which it will in a moment.
pub(crate) fn wait_until(condition: impl Fn() -> bool) {
    while !condition() {
        board().advance();
        thread::sleep(Duration::from_micros(50));
    }
}

/// What is done beside the stopped producer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Beside {
    /// Other threads push as many as there must be room for, and the receiver pops.
    OneLap,
    /// And then push until refused, and pop, and again.
    MoreLaps,
    /// The process forks, and the child pushes and pops.
    Fork,
}

/// A producer that is stopped for good in a push.
pub(crate) fn beside_a_stopped<Q: Subject>(
    beside: Beside,
    capacity: usize,
    position: usize,
) -> Outcome {
    at_each_step(|number| {
        let filled = usize::from(capacity > 1);
        let ([stopped, mut sender, _], mut receiver) = aged::<Q>(capacity, position - filled);
        let mut record = Record::new::<Q>(capacity);
        record.fill(&mut sender, filled);
        record.outer = None;
        let reached = stop::<Q>(stopped, number);
        match beside {
            Beside::Fork => {
                let verdict = in_a_fork(|| {
                    push_one_lap(&mut record, &mut sender);
                    record.pop_all(&mut receiver);
                    record.verdict()
                });
                return exit_code(reached, verdict);
            }
            Beside::OneLap | Beside::MoreLaps => {
                on_another_thread(|| push_one_lap(&mut record, &mut sender));
                record.pop_all(&mut receiver);
            }
        }
        for _ in 0..if beside == Beside::MoreLaps { 2 } else { 0 } {
            on_another_thread(|| push_until_full::<Q>(&mut record, &mut sender));
            record.pop_all(&mut receiver);
        }
        exit_code(reached, record.verdict())
    })
}

/// Has a thread push, and stops it before this step. Whether it came there.
fn stop<Q: Subject>(mut sender: Q::Sender<u64>, number: usize) -> bool {
    static STOPPED: AtomicBool = AtomicBool::new(false);
    static OVER: AtomicBool = AtomicBool::new(false);
    let mut on_step = move |step: &mut Step<'_>| {
        board().advance();
        if step.number == number {
            STOPPED.store(true, SeqCst);
            loop {
                // SAFETY: it has no preconditions.
                unsafe { libc::pause() };
            }
        }
    };
    thread::spawn(move || {
        step(&mut on_step, || _ = sender.try_put(OUTER));
        OVER.store(true, SeqCst);
    });
    wait_until(|| STOPPED.load(SeqCst) || OVER.load(SeqCst));
    STOPPED.load(SeqCst)
}

fn on_another_thread(body: impl FnOnce() + Send) {
    thread::scope(|scope| {
        scope.spawn(body);
    });
}

/// What is done in a child that is forked here, without the stopped thread and without the C
/// library's help, which would wait for that thread's locks.
fn in_a_fork(body: impl FnOnce() -> Verdict) -> Verdict {
    board().begin();
    match child::fork() {
        0 => child::exit(body() as i32),
        pid => wait(pid, false).unwrap_or(Verdict::Crash),
    }
}

/// There is room for these, with the stopped one's. With no such room one is tried all the same.
fn push_one_lap(record: &mut Record, sender: &mut impl Sender<u64>) {
    let room = record.capacity - record.before - 1;
    for number in 0..room.max(1) {
        let accepted = record.push_nested(sender);
        record.refused |= !accepted && number < room;
    }
}

fn push_until_full<Q: Subject>(record: &mut Record, sender: &mut impl Sender<u64>) {
    let before = record.nested;
    let most = if Q::SAYS_FULL { record.capacity } else { record.capacity - 1 };
    (0..most).all(|_| record.push_nested(sender));
    record.refused |= record.nested == before;
}
