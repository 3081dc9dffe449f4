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
//! first in their window, and `membarrier`. This goes by each other thread's program: between its
//! beginning and its end there is a moment at which the thread has performed everything up to some
//! point, and nothing after that. To have that moment earlier only lets more happen.
//!
//! # Two rules about one place
//!
//! Reads of one place by one thread may be performed in any order if they read the same write. So
//! while an earlier read waits, and a later one of the same place has been performed, no other
//! thread may write there. Likewise between the two halves of an exchange: where that happens, the
//! exclusive store fails, and the loop around it begins again, as if nothing had been. Executions
//! that come to a stop in this way are no ends.
//!
//! # Why nothing is missed
//!
//! Every execution of these machines is a sequence of moments at which reads and writes are
//! performed (that is what their operational models say), and each of those is a step here, if the
//! machine allows it at that point. All steps are taken from every state, states that were seen
//! before excepted. Two bounds remain: programs give up after some rounds where the code loops for
//! ever, and a thread guesses no more than [`GUESSES`] branches at a time.

use std::collections::HashSet;
use std::fmt::Write;

use crate::machine::{Event, Kind, Machine};
use crate::program::{Action, Code, Expr, Op, Ordering, Place, Reg, Word};

/// How many branches a thread may have guessed and not seen decided.
const GUESSES: usize = 3;

/// The threads, and what is in memory at first.
#[derive(Clone)]
pub(crate) struct Model {
    threads: Vec<(&'static str, Vec<Op>)>,
    memory: [Word; Place::COUNT],
}

/// An operation in a window.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Entry {
    pc: u16,
    /// What it has read or computed.
    value: Option<Word>,
    /// Whether the branch goes on, or the exchange succeeds.
    guess: bool,
    is_done: bool,
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

/// What [`Model::explore`] has found.
pub(crate) struct Findings {
    pub(crate) states: usize,
    /// The first execution that ended as asked for, one line for each step.
    pub(crate) execution: Option<String>,
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

    /// Looks for an execution that ends as `is_wanted` says.
    pub(crate) fn explore(&self, machine: Machine, is_wanted: impl Fn(&End) -> bool) -> Findings {
        let mut search = Search {
            runner: Runner { model: self, machine },
            is_wanted,
            seen: HashSet::new(),
            path: Vec::new(),
            ends: 0,
        };
        let first = search.runner.first();
        let is_found = search.visit(first);
        assert!(search.ends > 0, "no execution comes to an end");
        let execution = is_found.then(|| search.runner.tell(&search.path));
        Findings { states: search.seen.len(), execution }
    }
}

struct Search<'a, F> {
    runner: Runner<'a>,
    is_wanted: F,
    seen: HashSet<State>,
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
        let values: Option<Vec<Word>> =
            expr.needs.iter().map(|&need| self.register(state, thread, index, need)).collect();
        values.map(|values| expr.compute(&values))
    }

    fn event(&self, state: &State, thread: usize, index: usize, kind: Kind) -> Event {
        let entry = &state.threads[thread].window[index];
        let op = self.op(thread, entry);
        let (at, order, is_exchange) = match op.action {
            Action::Load { at, order, .. } | Action::Store { at, order, .. } => {
                (Some(at), order, false)
            }
            // Where it fails it is no more than a load.
            Action::Exchange { at, order, .. } if entry.guess => (Some(at), order, true),
            Action::Exchange { at, failure, .. } => (Some(at), failure, self.machine.locks()),
            _ => (None, Ordering::Relaxed, false),
        };
        let address = op.address.map(|need| self.register(state, thread, index, need));
        Event { kind, at, order, is_exchange, has_address: address != Some(None) }
    }

    /// What of the operation at `index` is still to be performed.
    fn pending(&self, state: &State, thread: usize, index: usize) -> [Option<Event>; 2] {
        let entry = &state.threads[thread].window[index];
        if entry.is_done {
            return [None, None];
        }
        let event = |kind| Some(self.event(state, thread, index, kind));
        let read = entry.value.is_none();
        match self.op(thread, entry).action {
            Action::Load { .. } => [event(Kind::Read), None],
            Action::Store { .. } => [None, event(Kind::Write)],
            Action::Exchange { .. } => {
                [event(Kind::Read).filter(|_| read), event(Kind::Write).filter(|_| entry.guess)]
            }
            Action::Unless { .. } => [event(Kind::Branch), None],
            Action::Set { .. } | Action::Jump { .. } => [None, None],
            _ => [event(Kind::Full), None],
        }
    }

    /// Whether the operation at `index` may be performed as `later`, ahead of what is pending.
    fn may_perform(&self, state: &State, thread: usize, index: usize, later: &Event) -> bool {
        let earlier = (0..index).flat_map(|earlier| self.pending(state, thread, earlier));
        let itself = self.pending(state, thread, index)[0].filter(|_| later.kind == Kind::Write);
        later.has_address
            && earlier.chain([itself]).flatten().all(|event| !self.machine.orders(&event, later))
    }

    /// The last operation before `index` that is going to write to `at`.
    fn pending_write(
        &self,
        state: &State,
        thread: usize,
        index: usize,
        at: Place,
    ) -> Option<usize> {
        (0..index).rev().find(|&earlier| {
            self.pending(state, thread, earlier)[1].is_some_and(|event| event.at == Some(at))
        })
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
        let Some(write) = self.pending_write(state, thread, index, at) else {
            return Some(state.memory[at as usize]);
        };
        let event = self.event(state, thread, write, Kind::Write);
        let forwards = !event.is_exchange || self.machine.forwards_exchange(read);
        if forwards && event.has_address { self.to_write(state, thread, write) } else { None }
    }

    /// Whether another thread than `writer` relies on what is in `at` now; see the two rules.
    fn is_pinned(&self, state: &State, writer: usize, at: Place) -> bool {
        let others = (0..state.threads.len()).filter(|&thread| thread != writer);
        others.into_iter().any(|thread| {
            (0..state.threads[thread].window.len()).any(|index| {
                let entry = &state.threads[thread].window[index];
                let [_, write] = self.pending(state, thread, index);
                entry.value.is_some()
                    && self.event(state, thread, index, Kind::Read).at == Some(at)
                    && self.pending_write(state, thread, index, at).is_none()
                    && (write.is_some() || self.has_pending_read(state, thread, index, at))
            })
        })
    }

    fn has_pending_read(&self, state: &State, thread: usize, index: usize, at: Place) -> bool {
        (0..index).any(|earlier| {
            self.pending(state, thread, earlier)[0].is_some_and(|event| event.at == Some(at))
        })
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

    fn steps(&self, state: &State) -> Vec<Step> {
        (0..state.threads.len()).flat_map(|thread| self.steps_of(state, thread)).collect()
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
        for entry in 0..window.len() {
            let [read, write] = self.pending(state, thread, entry);
            if let Some(read) = read.filter(|event| self.may_perform(state, thread, entry, event)) {
                match read.kind {
                    Kind::Read if self.to_read(state, thread, entry, &read).is_some() => {
                        steps.push(Step::Read { thread, entry });
                    }
                    Kind::Full => self.system_calls(state, thread, &mut steps),
                    _ => {}
                }
            }
            let may_write = write.is_some_and(|event| {
                self.may_perform(state, thread, entry, &event)
                    && self.is_decided(state, thread, entry)
                    && event.at.is_some_and(|at| !self.is_pinned(state, thread, at))
            });
            if may_write && self.to_write(state, thread, entry).is_some() {
                steps.push(Step::Write { thread, entry });
            }
        }
        if self.must_guess(state, thread) {
            steps.extend([true, false].map(|holds| Step::Guess { thread, holds }));
        }
        steps
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
    fn system_calls(&self, state: &State, thread: usize, steps: &mut Vec<Step>) {
        match self.op(thread, &state.threads[thread].window[0]).action {
            Action::Sleep { .. } => steps.push(Step::Sleep { thread }),
            Action::Wake { at, all } => {
                let one =
                    self.sleepers(state, at).map(|whom| Step::Wake { thread, whom: Some(whom) });
                steps.extend(one.filter(|_| !all));
                if steps.is_empty() {
                    steps.push(Step::Wake { thread, whom: None });
                }
            }
            _ => {}
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
        let mut pending =
            (0..window.len()).flat_map(|index| self.pending(state, thread, index)).flatten();
        let is_stopped = pending.any(|event| self.machine.orders_all(&event));
        self.model.threads[thread].1.get(usize::from(*pc)).filter(|_| !is_stopped)
    }

    /// Whether it depends on a guess what is begun next.
    fn must_guess(&self, state: &State, thread: usize) -> bool {
        let window = &state.threads[thread].window;
        let guesses = (0..window.len())
            .filter_map(|index| self.pending(state, thread, index)[0])
            .filter(|event| event.kind == Kind::Branch);
        self.next_op(state, thread).is_some_and(|op| match &op.action {
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
                let [_, Some(Event { at: Some(at), .. })] = self.pending(before, thread, entry)
                else {
                    unreachable!("it is a write")
                };
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
                return true;
            }
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
        while let Some(entry) = state.threads[thread].window.first().cloned() {
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
                None => return false,
            },
            Action::Exchange { expected: Some(_), .. } if !self.machine.locks() => return false,
            _ => self.begin(state, thread, true),
        }
        true
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
        let is_early = (0..entry).any(|earlier| {
            self.pending(before, thread, earlier)
                .into_iter()
                .flatten()
                .any(|event| event.kind != Kind::Branch)
        });
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
        let _ = writeln!(text, "  {name:12} {label:12} {what}");
    }
}
