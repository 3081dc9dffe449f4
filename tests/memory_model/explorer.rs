//! Runs a few threads in every way that a machine allows.
//!
//! # State
//!
//! There is one memory: a word for each place. A thread has the operations that it has begun, in
//! the order of its program (its *window*), and its registers as they were before the first of
//! those. An operation leaves the window when it and all before it have been performed. Futex
//! sleepers are marked.
//!
//! # Steps
//!
//! A step is one of these, for any thread, and for any operation in its window that waits for no
//! earlier one ([`Machine::orders`]) and whose inputs are known:
//!
//! * A load, or the first half of an exchange, *reads*: what an earlier store of the same thread is
//!   about to write to the place, if there is one, and else what is in memory.
//! * A store, or the second half of an exchange, *writes* to memory, where every thread sees it at
//!   once. On x86 this is where it leaves the store buffer, and an exchange reads and writes in one
//!   step.
//! * A thread *guesses* where a branch goes, or whether an exchange succeeds, and begins what
//!   follows. If it has guessed wrong the execution is dropped: what it has begun was seen by
//!   nobody, so it is as if it had never been, and the right guess is another execution.
//! * A futex sleep or wake, which compares and falls asleep in one moment, or wakes one of the
//!   sleepers, whichever. A nap may end at any time.
//!
//! All else is done as soon as it can be (`settle`): arithmetic, known branches, fences that are
//! first in their window, Acquire fences with no read before them, and `membarrier`. This goes by
//! each other thread's program: between its beginning and its end there is a moment at which the
//! thread has performed everything up to some point, and nothing after that. To have that moment
//! earlier only lets more happen.
//!
//! # Two rules about one place
//!
//! Reads of one place by one thread may be performed in any order if they read the same write. So
//! while an earlier read waits, and a later one of the same place has been performed, no other
//! thread may write there. Likewise between the two halves of an exchange: where that happens, the
//! exclusive store fails, and the loop around it begins again, as if nothing had been. Executions
//! that come to a stop in this way are no ends.
//!
//! # Steps that need not be taken in every order
//!
//! Where a step of one thread is the same to the others, now or later, it is taken at once and
//! alone: a guess; a read of a place that no other thread writes any more; a write to one that no
//! other touches; a wake where nobody sleeps any more. (An operation ahead of others also puts off
//! another thread's `membarrier`, so it must be the first in its window if there is one to come.)
//! Registers that are not read any more are cleared, so that states do not differ in them.
//!
//! # Why nothing is missed
//!
//! Every execution of these machines is a sequence of moments at which reads and writes are
//! performed (that is what their operational models say), and each of those is a step here, if the
//! machine allows it at that point. From every state that was not seen before all steps are taken,
//! but for those above. Two bounds remain: programs give up after some rounds where the code loops
//! for ever, and a thread guesses no more than [`GUESSES`] branches at a time.

use std::collections::HashSet;
use std::fmt::Write;
use std::hash::{BuildHasherDefault, Hash, Hasher};

use crate::machine::{Event, Kind, MACHINES, Machine};
use crate::program::{Action, Code, Expr, Future, Op, Ordering, Place, Reg, Word, futures};

/// How many branches a thread may have guessed and not seen decided.
const GUESSES: usize = 3;

/// The threads, and what is in memory at first.
#[derive(Clone)]
pub(crate) struct Model {
    threads: Vec<(&'static str, Vec<Op>)>,
    memory: [Word; Place::COUNT],
}

/// An operation in a window.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Entry {
    pc: u16,
    /// What it has read or computed.
    value: Option<Word>,
    /// Whether the branch goes on, or the exchange succeeds.
    guess: bool,
    is_done: bool,
}

impl Hash for Entry {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let flags = [self.value.is_some(), self.guess, self.is_done].map(u64::from);
        let flags = flags[0] << 2 | flags[1] << 1 | flags[2];
        let value = u64::from(self.value.unwrap_or_default());
        state.write_u64(value << 32 | u64::from(self.pc) << 3 | flags);
    }
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Thread {
    registers: [Word; Reg::COUNT],
    window: Vec<Entry>,
    /// What is begun next.
    pc: u16,
    is_asleep: bool,
    /// By which threads its `membarrier` has gone; a bit for each.
    passed: u8,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct State {
    memory: [Word; Place::COUNT],
    threads: Vec<Thread>,
}

#[derive(Clone, Copy)]
enum Step {
    Guess {
        thread: usize,
        holds: bool,
    },
    Read {
        thread: usize,
        entry: usize,
    },
    Write {
        thread: usize,
        entry: usize,
    },
    Sleep {
        thread: usize,
    },
    /// Of one thread, or of all that sleep there.
    Wake {
        thread: usize,
        whom: Option<usize>,
    },
    NapEnds {
        thread: usize,
    },
}

/// How an execution ended: every thread has finished, or sleeps without bound.
pub(crate) struct End<'a>(&'a State);

impl End<'_> {
    pub(crate) fn register(&self, thread: usize, register: Reg) -> Word {
        self.0.threads[thread].registers[register as usize]
    }

    pub(crate) fn memory(&self, place: Place) -> Word {
        self.0.memory[place as usize]
    }

    pub(crate) fn someone_sleeps(&self) -> bool {
        self.0.threads.iter().any(|thread| thread.is_asleep)
    }
}

impl Model {
    pub(crate) fn new() -> Self {
        Self { threads: Vec::new(), memory: [0; Place::COUNT] }
    }

    pub(crate) fn initially(mut self, place: Place, value: Word) -> Self {
        self.memory[place as usize] = value;
        self
    }

    pub(crate) fn thread(mut self, name: &'static str, code: Code) -> Self {
        self.threads.push((name, code.0));
        self
    }

    /// Asserts that on these machines, and on no other, an execution ends as `is_wanted` says.
    pub(crate) fn assert_seen(
        &self,
        machines: &[Machine],
        what: &str,
        is_wanted: impl Fn(&End) -> bool,
    ) {
        for machine in MACHINES {
            self.assert_seen_on(machine, machines.contains(&machine), what, &is_wanted);
        }
    }

    /// The same for one machine.
    pub(crate) fn assert_seen_on(
        &self,
        machine: Machine,
        is_seen: bool,
        what: &str,
        is_wanted: impl Fn(&End) -> bool,
    ) {
        let execution = self.explore(machine, is_wanted);
        let is_right = execution.is_some() == is_seen;
        assert!(is_right, "{what} on {machine:?}: {}", execution.unwrap_or("never".into()));
    }

    /// Looks for an execution that ends as `is_wanted` says, and tells it, one line for each step.
    fn explore(&self, machine: Machine, is_wanted: impl Fn(&End) -> bool) -> Option<String> {
        let futures = self.threads.iter().map(|(_, code)| futures(code)).collect();
        let mut search = Search {
            runner: Runner { model: self, machine, futures },
            is_wanted,
            seen: HashSet::default(),
            path: Vec::new(),
            ends: 0,
        };
        let first = search.runner.first();
        let is_found = search.visit(first);
        assert!(search.ends > 0, "no execution comes to an end");
        is_found.then(|| search.runner.tell(&search.path))
    }
}

/// Quick even without optimisation, as most of the time goes into looking up states.
#[derive(Default)]
struct QuickHasher(u64);

impl Hasher for QuickHasher {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
    }

    fn finish(&self) -> u64 {
        self.0 ^ self.0 >> 32
    }
}

struct Search<'a, F> {
    runner: Runner<'a>,
    is_wanted: F,
    seen: HashSet<State, BuildHasherDefault<QuickHasher>>,
    path: Vec<Step>,
    ends: usize,
}

impl<F: Fn(&End) -> bool> Search<'_, F> {
    /// Goes on from `state` in every way. Returns whether it was found; `path` leads there then.
    fn visit(&mut self, state: State) -> bool {
        if self.seen.contains(&state) {
            return false;
        }
        let steps = self.runner.steps(&state);
        if steps.is_empty() && self.runner.has_ended(&state) {
            self.ends += 1;
            if (self.is_wanted)(&End(&state)) {
                return true;
            }
        }
        for step in steps {
            let Some(next) = self.runner.perform(&state, step, &mut Vec::new()) else { continue };
            self.path.push(step);
            if self.visit(next) {
                return true;
            }
            self.path.pop();
        }
        self.seen.insert(state);
        false
    }
}

/// A fence or the like that `settle` has performed: its thread, and where in the program.
type Passed = (usize, u16);

struct Runner<'a> {
    model: &'a Model,
    machine: Machine,
    futures: Vec<Vec<Future>>,
}

/// What of an operation is to be performed: a read (or what has one part only), and a write.
type Parts = [Option<Event>; 2];

fn is_at(event: &Option<Event>, at: Place) -> bool {
    event.is_some_and(|event| event.at == Some(at))
}

/// The last operation that is going to write to `at`.
fn last_write(pending: &[Parts], at: Place) -> Option<usize> {
    pending.iter().rposition(|[_, write]| is_at(write, at))
}

/// Reading a state.
impl Runner<'_> {
    fn op(&self, thread: usize, entry: &Entry) -> &Op {
        &self.model.threads[thread].1[usize::from(entry.pc)]
    }

    /// The value of a register for the operation at `index` in the window, if it is known.
    fn register(&self, state: &State, thread: usize, index: usize, register: Reg) -> Option<Word> {
        let Thread { window, registers, .. } = &state.threads[thread];
        let writer =
            window[..index].iter().rev().find(|entry| match self.op(thread, entry).action {
                Action::Load { to, .. } | Action::Exchange { to, .. } | Action::Set { to, .. } => {
                    to == register
                }
                _ => false,
            });
        writer.map_or(Some(registers[register as usize]), |entry| entry.value)
    }

    fn value(&self, state: &State, thread: usize, index: usize, expr: &Expr) -> Option<Word> {
        let mut values = [0; 4];
        for (value, &need) in values.iter_mut().zip(&expr.needs) {
            *value = self.register(state, thread, index, need)?;
        }
        Some(expr.compute(&values[..expr.needs.len()]))
    }

    fn event(&self, state: &State, thread: usize, index: usize, kind: Kind) -> Event {
        let entry = &state.threads[thread].window[index];
        let op = self.op(thread, entry);
        let (order, is_exchange) = match op.action {
            Action::Load { order, .. } | Action::Store { order, .. } => (order, false),
            // Where it fails it is no more than a load.
            Action::Exchange { order, .. } if entry.guess => (order, true),
            Action::Exchange { failure, .. } => (failure, self.machine.locks()),
            _ => (Ordering::Relaxed, false),
        };
        let address = op.address.map(|need| self.register(state, thread, index, need));
        Event { kind, at: op.place(), order, is_exchange, has_address: address != Some(None) }
    }

    /// What of each operation in the window is still to be performed.
    fn pending(&self, state: &State, thread: usize) -> Vec<Parts> {
        let window = &state.threads[thread].window;
        (0..window.len()).map(|index| self.parts(state, thread, index)).collect()
    }

    fn parts(&self, state: &State, thread: usize, index: usize) -> Parts {
        let entry = &state.threads[thread].window[index];
        if entry.is_done {
            return [None, None];
        }
        let event = |kind| Some(self.event(state, thread, index, kind));
        match self.op(thread, entry).action {
            Action::Load { .. } => [event(Kind::Read), None],
            Action::Store { .. } => [None, event(Kind::Write)],
            Action::Exchange { .. } => [
                if entry.value.is_none() { event(Kind::Read) } else { None },
                if entry.guess { event(Kind::Write) } else { None },
            ],
            Action::Unless { .. } => [event(Kind::Branch), None],
            Action::ReadFence => [event(Kind::ReadFence), None],
            Action::Set { .. } | Action::Jump { .. } => [None, None],
            _ => [event(Kind::Full), None],
        }
    }

    /// Whether `later`, of the operation at `index`, may be performed ahead of what is pending.
    fn may_perform(&self, pending: &[Parts], index: usize, later: &Event) -> bool {
        let own = pending[index][0].filter(|_| later.kind == Kind::Write);
        let mut earlier = pending[..index].iter().flatten().chain([&own]).flatten();
        later.has_address && earlier.all(|event| !self.machine.orders(event, later))
    }

    /// What the operation at `index` is going to write, if that is known.
    fn to_write(&self, state: &State, thread: usize, index: usize) -> Option<Word> {
        match &self.op(thread, &state.threads[thread].window[index]).action {
            Action::Store { value, .. } => self.value(state, thread, index, value),
            Action::Exchange { new, .. } => self.value(state, thread, index + 1, new),
            _ => None,
        }
    }

    /// What the operation at `index` reads if it reads now.
    fn to_read(&self, state: &State, thread: usize, index: usize, read: &Event) -> Option<Word> {
        let at = read.at?;
        let pending = self.pending(state, thread);
        let Some(write) = last_write(&pending[..index], at) else {
            return Some(state.memory[at as usize]);
        };
        let event = self.event(state, thread, write, Kind::Write);
        let forwards = !event.is_exchange || self.machine.forwards_exchange(read);
        if forwards && event.has_address { self.to_write(state, thread, write) } else { None }
    }

    /// Whether another thread than `writer` relies on what is in `at` now; see the two rules.
    fn is_pinned(&self, state: &State, writer: usize, at: Place) -> bool {
        let mut others = (0..state.threads.len()).filter(|&thread| thread != writer);
        others.any(|thread| {
            let window = &state.threads[thread].window;
            if window.iter().all(|entry| entry.value.is_none()) {
                return false;
            }
            let pending = self.pending(state, thread);
            (0..window.len()).any(|index| {
                let earlier = &pending[..index];
                let earlier_read = || earlier.iter().any(|parts| is_at(&parts[0], at));
                window[index].value.is_some()
                    && self.place(thread, &window[index]) == Some(at)
                    && last_write(earlier, at).is_none()
                    && (pending[index][1].is_some() || earlier_read())
            })
        })
    }

    /// Where the operation reads or writes.
    fn place(&self, thread: usize, entry: &Entry) -> Option<Place> {
        self.op(thread, entry).place()
    }

    fn has_ended(&self, state: &State) -> bool {
        (state.threads.iter().zip(&self.model.threads)).all(|(thread, (_, code))| {
            thread.is_asleep || (thread.window.is_empty() && usize::from(thread.pc) == code.len())
        })
    }
}

/// Going on.
impl Runner<'_> {
    fn first(&self) -> State {
        let thread = Thread {
            registers: [0; Reg::COUNT],
            window: Vec::new(),
            pc: 0,
            is_asleep: false,
            passed: 0,
        };
        let threads = vec![thread; self.model.threads.len()];
        let mut state = State { memory: self.model.memory, threads };
        assert!(self.settle(&mut state, &mut Vec::new()), "the beginning is possible");
        state
    }

    /// The steps to be taken from a state: all, or those of one thread, where the others may as
    /// well come later; see the essay.
    fn steps(&self, state: &State) -> Vec<Step> {
        let threads = 0..state.threads.len();
        if let Some(thread) = threads.clone().find(|&thread| self.must_guess(state, thread)) {
            return vec![Step::Guess { thread, holds: true }, Step::Guess { thread, holds: false }];
        }
        let steps: Vec<Vec<Step>> = threads.map(|thread| self.steps_of(state, thread)).collect();
        let unseen = steps.iter().enumerate().find_map(|(thread, steps)| {
            let others = self.future_of_others(state, thread);
            steps.iter().copied().find(|&step| self.is_unseen(state, step, &others))
        });
        unseen.map_or_else(|| steps.concat(), |step| vec![step])
    }

    fn future_of_others(&self, state: &State, thread: usize) -> Future {
        let mut future = Future::default();
        for other in (0..state.threads.len()).filter(|&other| other != thread) {
            let Thread { window, pc, .. } = &state.threads[other];
            let begun = window.iter().filter(|entry| !entry.is_done);
            let begun = begun.map(|entry| Future::of(self.op(other, entry)));
            future = begun.fold(future, Future::and).and(self.futures[other][usize::from(*pc)]);
        }
        future
    }

    /// Whether it is all the same to the other threads when the step is taken.
    fn is_unseen(&self, state: &State, step: Step, others: &Future) -> bool {
        let (thread, index) = match step {
            Step::Read { thread, entry } | Step::Write { thread, entry } => (thread, entry),
            Step::Wake { thread, .. } => (thread, 0),
            _ => return false,
        };
        let op = self.op(thread, &state.threads[thread].window[index]);
        let is_in = |places: u32, at: Place| places >> at as usize & 1 != 0;
        let is_untouched = match (step, &op.action) {
            (Step::Read { .. }, Action::Load { at, .. }) => !is_in(others.writes, *at),
            (_, Action::Wake { at, .. }) => !is_in(others.sleeps, *at),
            _ => op.place().is_some_and(|at| !is_in(others.touches, at)),
        };
        is_untouched && (index == 0 || !others.has_membarrier)
    }

    fn steps_of(&self, state: &State, thread: usize) -> Vec<Step> {
        let Thread { window, is_asleep, .. } = &state.threads[thread];
        let mut steps = Vec::new();
        if *is_asleep {
            if let Action::Sleep { is_nap: true, .. } = self.op(thread, &window[0]).action {
                steps.push(Step::NapEnds { thread });
            }
            return steps;
        }
        let pending = self.pending(state, thread);
        for (entry, &[read, write]) in pending.iter().enumerate() {
            let may_perform = |event: &Event| self.may_perform(&pending, entry, event);
            if let Some(read) = read.filter(may_perform) {
                match read.kind {
                    Kind::Read if self.to_read(state, thread, entry, &read).is_some() => {
                        steps.push(Step::Read { thread, entry });
                    }
                    Kind::Full => steps.extend(self.system_calls(state, thread)),
                    _ => {}
                }
            }
            if write.filter(may_perform).is_some() && self.may_write(state, thread, entry) {
                steps.push(Step::Write { thread, entry });
            }
        }
        steps
    }

    /// Whether it is known what to write, and that it is to be written, and nobody objects.
    fn may_write(&self, state: &State, thread: usize, index: usize) -> bool {
        self.is_decided(state, thread, index)
            && self.to_write(state, thread, index).is_some()
            && (self.place(thread, &state.threads[thread].window[index]))
                .is_some_and(|at| !self.is_pinned(state, thread, at))
    }

    /// Whether the guess of an exchange, if this is one, was seen to be right.
    fn is_decided(&self, state: &State, thread: usize, index: usize) -> bool {
        let entry = &state.threads[thread].window[index];
        match &self.op(thread, entry).action {
            Action::Exchange { expected: Some(expected), .. } => {
                entry.value.is_some() && self.value(state, thread, index, expected).is_some()
            }
            _ => true,
        }
    }

    /// The operation is first in its window, as nothing earlier may be pending.
    fn system_calls(&self, state: &State, thread: usize) -> Vec<Step> {
        match self.op(thread, &state.threads[thread].window[0]).action {
            Action::Sleep { .. } => vec![Step::Sleep { thread }],
            Action::Wake { at, all: false } if self.sleepers(state, at).next().is_some() => {
                let sleepers = self.sleepers(state, at);
                sleepers.map(|whom| Step::Wake { thread, whom: Some(whom) }).collect()
            }
            Action::Wake { .. } => vec![Step::Wake { thread, whom: None }],
            _ => vec![],
        }
    }

    fn sleepers(&self, state: &State, place: Place) -> impl Iterator<Item = usize> {
        (0..state.threads.len()).filter(move |&thread| {
            let Thread { is_asleep, window, .. } = &state.threads[thread];
            *is_asleep
                && matches!(self.op(thread, &window[0]).action,
                    Action::Sleep { at, .. } if at == place)
        })
    }

    /// What is next to be begun, unless something lets nothing ahead.
    fn next_op(&self, state: &State, thread: usize) -> Option<&Op> {
        let Thread { window, pc, .. } = &state.threads[thread];
        let mut parts = (0..window.len()).flat_map(|index| self.parts(state, thread, index));
        let is_stopped = parts.any(|part| part.is_some_and(|part| self.machine.orders_all(&part)));
        self.model.threads[thread].1.get(usize::from(*pc)).filter(|_| !is_stopped)
    }

    /// Whether it depends on a guess what is begun next.
    fn must_guess(&self, state: &State, thread: usize) -> bool {
        let window = &state.threads[thread].window;
        let guesses = (0..window.len())
            .filter_map(|index| self.parts(state, thread, index)[0])
            .filter(|event| event.kind == Kind::Branch);
        self.next_op(state, thread).is_some_and(|op| match &op.action {
            Action::Unless { skip: Some(_), .. } if op.is_about_exchange => false,
            Action::Unless { skip: Some(_), .. } => guesses.count() < GUESSES,
            Action::Exchange { expected, .. } => expected.is_some() && !self.machine.locks(),
            _ => false,
        })
    }

    /// What comes of a step, or nothing if it shows that a guess was wrong.
    fn perform(&self, before: &State, step: Step, passed: &mut Vec<Passed>) -> Option<State> {
        let mut state = before.clone();
        match step {
            Step::Guess { thread, holds } => self.begin(&mut state, thread, holds),
            Step::Read { thread, entry } => self.read(&mut state, thread, entry),
            Step::Write { thread, entry } => {
                let at = self.place(thread, &before.threads[thread].window[entry])?;
                state.memory[at as usize] = self.to_write(before, thread, entry)?;
                state.threads[thread].window[entry].is_done = true;
            }
            Step::Sleep { thread } => {
                let op = self.op(thread, &before.threads[thread].window[0]);
                let Action::Sleep { at, expected, .. } = &op.action else { unreachable!() };
                let is_still =
                    Some(before.memory[*at as usize]) == self.value(before, thread, 0, expected);
                state.threads[thread].is_asleep = is_still;
                state.threads[thread].window[0].is_done = !is_still;
            }
            Step::Wake { thread, whom } => {
                let op = self.op(thread, &before.threads[thread].window[0]);
                let Action::Wake { at, all } = op.action else { unreachable!() };
                for sleeper in self.sleepers(before, at).filter(|&one| all || whom == Some(one)) {
                    state.threads[sleeper].is_asleep = false;
                    state.threads[sleeper].window[0].is_done = true;
                }
                state.threads[thread].window[0].is_done = true;
            }
            Step::NapEnds { thread } => {
                state.threads[thread].is_asleep = false;
                state.threads[thread].window[0].is_done = true;
            }
        }
        self.settle(&mut state, passed).then_some(state)
    }

    fn read(&self, state: &mut State, thread: usize, index: usize) {
        let event = self.event(state, thread, index, Kind::Read);
        let value = self.to_read(state, thread, index, &event);
        state.threads[thread].window[index].value = value;
        let op = self.op(thread, &state.threads[thread].window[index]);
        let Action::Exchange { at, expected, .. } = &op.action else {
            state.threads[thread].window[index].is_done = true;
            return;
        };
        if self.machine.locks() {
            let expected = expected.as_ref().map(|expr| self.value(state, thread, index, expr));
            if expected.is_none_or(|expected| expected == value) {
                let new = self.to_write(state, thread, index);
                state.memory[*at as usize] = new.expect("nothing earlier is pending");
            }
            state.threads[thread].window[index].is_done = true;
        }
    }

    /// Begins the next operation.
    fn begin(&self, state: &mut State, thread: usize, guess: bool) {
        let pc = state.threads[thread].pc;
        let entry = Entry { pc, value: None, guess, is_done: false };
        let skip = match self.op(thread, &entry).action {
            Action::Unless { skip: Some(skip), .. } if !guess => skip,
            _ => 0,
        };
        state.threads[thread].window.push(entry);
        state.threads[thread].pc = pc.checked_add_signed(1 + skip as i16).expect("in the program");
    }
}

/// What follows by itself.
impl Runner<'_> {
    /// Does it all. Returns `false` if a guess turns out to be wrong.
    fn settle(&self, state: &mut State, passed: &mut Vec<Passed>) -> bool {
        loop {
            let mut has_changed = false;
            for thread in 0..state.threads.len() {
                loop {
                    if !self.decide(state, thread) {
                        return false;
                    }
                    if !(self.retire(state, thread, passed) | self.fetch(state, thread)) {
                        break;
                    }
                }
                has_changed |= self.pass(state, thread);
            }
            if !has_changed {
                self.forget(state);
                return true;
            }
        }
    }

    /// Clears the registers that do not count any more.
    fn forget(&self, state: &mut State) {
        for (thread, futures) in state.threads.iter_mut().zip(&self.futures) {
            let pc = thread.window.first().map_or(thread.pc, |entry| entry.pc);
            let live = futures[usize::from(pc)].live;
            let dead =
                thread.registers.iter_mut().enumerate().filter(|(bit, _)| live >> bit & 1 == 0);
            dead.for_each(|(_, value)| *value = 0);
        }
    }

    /// Computes what can be computed, and compares it with the guesses.
    fn decide(&self, state: &mut State, thread: usize) -> bool {
        for index in 0..state.threads[thread].window.len() {
            let entry = &state.threads[thread].window[index];
            if entry.is_done {
                continue;
            }
            let (is_known, guess) = (entry.value.is_some(), entry.guess);
            match &self.op(thread, entry).action {
                Action::Set { value, .. } => {
                    let value = self.value(state, thread, index, value);
                    state.threads[thread].window[index].is_done = value.is_some();
                    state.threads[thread].window[index].value = value;
                }
                Action::ReadFence => {
                    let event = self.event(state, thread, index, Kind::ReadFence);
                    let pending = self.pending(state, thread);
                    let is_done = self.may_perform(&pending, index, &event);
                    state.threads[thread].window[index].is_done = is_done;
                }
                Action::Unless { condition, .. } => {
                    match self.value(state, thread, index, condition) {
                        Some(value) if (value != 0) != guess => return false,
                        value => state.threads[thread].window[index].is_done = value.is_some(),
                    }
                }
                Action::Exchange { expected: Some(expected), .. } if is_known => {
                    let expected = self.value(state, thread, index, expected);
                    let entry = &mut state.threads[thread].window[index];
                    if expected.is_some() && (expected == entry.value) != guess {
                        return false;
                    }
                    entry.is_done = expected.is_some() && !guess;
                }
                _ => {}
            }
        }
        true
    }

    /// Lets go of what is done, up to what is not.
    fn retire(&self, state: &mut State, thread: usize, passed: &mut Vec<Passed>) -> bool {
        let mut has_changed = false;
        while let Some(entry) = state.threads[thread].window.first().copied() {
            let others = ((1 << state.threads.len()) - 1) & !(1 << thread);
            let Thread { registers, window, passed: by, .. } = &mut state.threads[thread];
            match &self.op(thread, &entry).action {
                Action::Fence => passed.push((thread, entry.pc)),
                Action::Membarrier if *by == others => {
                    *by = 0;
                    passed.push((thread, entry.pc));
                }
                _ if !entry.is_done => break,
                Action::Load { to, .. } | Action::Exchange { to, .. } | Action::Set { to, .. } => {
                    registers[*to as usize] = entry.value.expect("it is done");
                }
                _ => {}
            }
            window.remove(0);
            has_changed = true;
        }
        has_changed
    }

    /// Begins the next operation, if that needs no guess.
    fn fetch(&self, state: &mut State, thread: usize) -> bool {
        let Some(op) = self.next_op(state, thread) else { return false };
        let end = state.threads[thread].window.len();
        match &op.action {
            Action::Jump { skip } => {
                let pc = &mut state.threads[thread].pc;
                *pc = pc.checked_add_signed(1 + *skip as i16).expect("in the program");
            }
            Action::Unless { condition, skip } => match self.value(state, thread, end, condition) {
                Some(value) => self.begin(state, thread, value != 0 || skip.is_none()),
                None if skip.is_none() => self.begin(state, thread, true),
                None if op.is_about_exchange => {
                    let guess = self.guess_of_exchange(state, thread);
                    self.begin(state, thread, guess);
                }
                None => return false,
            },
            Action::Exchange { expected: Some(_), .. } if !self.machine.locks() => return false,
            _ => self.begin(state, thread, true),
        }
        true
    }

    /// What was guessed of the latest exchange.
    fn guess_of_exchange(&self, state: &State, thread: usize) -> bool {
        let mut window = state.threads[thread].window.iter().rev();
        let is_exchange =
            |entry: &&Entry| matches!(self.op(thread, entry).action, Action::Exchange { .. });
        window.find(is_exchange).is_some_and(|entry| entry.guess)
    }

    /// Lets a `membarrier` that is first in its window go by those threads that have performed
    /// everything up to some point, and nothing after it.
    fn pass(&self, state: &mut State, thread: usize) -> bool {
        let Some(entry) = state.threads[thread].window.first() else { return false };
        if !matches!(self.op(thread, entry).action, Action::Membarrier) {
            return false;
        }
        let before = state.threads[thread].passed;
        let others = (0..state.threads.len()).filter(|&other| other != thread);
        let passed = others.filter(|&other| self.is_in_order(state, other));
        let passed = passed.fold(before, |passed, other| passed | 1 << other);
        state.threads[thread].passed = passed;
        passed != before
    }

    fn is_in_order(&self, state: &State, thread: usize) -> bool {
        state.threads[thread].window.iter().all(|entry| match self.op(thread, entry).action {
            Action::Load { .. } | Action::Store { .. } | Action::Exchange { .. } => {
                entry.value.is_none() && !entry.is_done
            }
            _ => true,
        })
    }
}

/// Telling what happened.
impl Runner<'_> {
    fn tell(&self, path: &[Step]) -> String {
        let mut text = format!("on {:?}:\n", self.machine);
        let mut state = self.first();
        for &step in path {
            let mut passed = Vec::new();
            let next = self.perform(&state, step, &mut passed).expect("it was possible");
            self.tell_step(&mut text, &state, step, &next);
            for (thread, pc) in passed {
                let op = &self.model.threads[thread].1[usize::from(pc)];
                let what = if matches!(op.action, Action::Fence) { "fence" } else { "membarrier" };
                self.tell_line(&mut text, thread, op.label, what);
            }
            state = next;
        }
        for (thread, (name, _)) in self.model.threads.iter().enumerate() {
            let how = if state.threads[thread].is_asleep { "sleeps" } else { "has ended" };
            let _ = writeln!(text, "{name} {how}");
        }
        text
    }

    fn tell_step(&self, text: &mut String, before: &State, step: Step, after: &State) {
        let (thread, entry) = match step {
            Step::Guess { .. } => return,
            Step::Read { thread, entry } | Step::Write { thread, entry } => (thread, entry),
            Step::Sleep { thread } | Step::Wake { thread, .. } | Step::NapEnds { thread } => {
                (thread, 0)
            }
        };
        let op = self.op(thread, &before.threads[thread].window[entry]);
        let event = self.event(before, thread, entry, Kind::Read);
        let earlier = (0..entry).flat_map(|earlier| self.parts(before, thread, earlier));
        let is_early = earlier.flatten().any(|event| event.kind != Kind::Branch);
        let early = if is_early { ", ahead of what is before it" } else { "" };
        let what = match (step, &op.action) {
            (Step::Read { .. }, Action::Exchange { at, .. }) if self.machine.locks() => {
                let (old, new) = (before.memory[*at as usize], after.memory[*at as usize]);
                format!("{at:?} {old} => {new}")
            }
            (Step::Read { .. }, Action::Load { at, .. } | Action::Exchange { at, .. }) => {
                let value = self.to_read(before, thread, entry, &event).unwrap_or_default();
                format!("{at:?} is {value}{early}")
            }
            (Step::Write { .. }, Action::Store { at, .. } | Action::Exchange { at, .. }) => {
                format!("{at:?} := {}{early}", after.memory[*at as usize])
            }
            (Step::Sleep { .. }, Action::Sleep { at, .. }) if after.threads[thread].is_asleep => {
                format!("falls asleep on {at:?}")
            }
            (Step::Sleep { .. }, Action::Sleep { at, .. }) => format!("{at:?} has changed"),
            (Step::Wake { whom, .. }, Action::Wake { at, all }) => match whom {
                Some(whom) => format!("wakes {}", self.model.threads[whom].0),
                None if *all => format!("wakes all on {at:?}"),
                None => format!("finds nobody asleep on {at:?}"),
            },
            _ => "wakes up by itself".to_string(),
        };
        self.tell_line(text, thread, op.label, &what);
    }

    fn tell_line(&self, text: &mut String, thread: usize, label: &str, what: &str) {
        let name = self.model.threads[thread].0;
        let _ = writeln!(text, "  {name:12} {label:13} {what}");
    }
}
