//! Calls that are interrupted by a handler that uses the same queue, at each of their instructions.
//!
//! One process steps through the call and forks at each step: the child does what interrupts the
//! call, on top of it, finishes the call and looks at what came out.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use super::board::{Outcome, Phase, Verdict, board};
use super::child::{self, Ending};
use super::queues::{Queue, Receiver, Sender, Subject};
use super::record::{OUTER, Record, aged};
use super::signals::handle;
use super::trap::{Step, step};
use super::watch::{self, WAKE, attempt};

/// At so many visits an instruction is interrupted, where receivers spin before they sleep.
const VISITS: u8 = 3;
/// More instructions than are before any sleep.
const MOST_STEPS: usize = 300_000;

/// The call that is interrupted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outer {
    Push,
    Pop,
    /// A pop that sleeps until there is an item.
    Take,
}

/// What is done on top of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nested {
    Push,
    PushUntilFull,
    PopAll,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Filled {
    Empty,
    AllButOne,
    Full,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Scene {
    pub(crate) outer: Outer,
    pub(crate) nested: Nested,
    pub(crate) filled: Filled,
}

/// Interrupts the call whose item is the `position`-th to go through the queue.
pub(crate) fn interrupt<Q: Subject>(scene: Scene, capacity: usize, position: usize) -> Outcome {
    let play = || Play::<Q>::new(scene, capacity, position);
    match attempt(|| play().alone() as i32) {
        Some(Verdict::Fine) => {}
        other => return Outcome::Alone(other.expect("it says what it found")),
    }
    board().clear();
    let ending = child::in_child(|| play().step_through());
    assert_eq!(ending, Ending::Exit(0), "{} cannot be stepped through {scene:?}", Q::NAME);
    Outcome::Tried(board().tally())
}

struct Play<Q: Queue> {
    scene: Scene,
    capacity: usize,
    outer: RefCell<Q::Sender<u64>>,
    nested: RefCell<Q::Sender<u64>>,
    receiver: RefCell<Q::Receiver<u64>>,
    record: RefCell<Record>,
}

impl<Q: Subject> Play<Q> {
    fn new(scene: Scene, capacity: usize, position: usize) -> Self {
        let filled = match scene.filled {
            Filled::Empty => 0,
            Filled::AllButOne => capacity - 1,
            Filled::Full => capacity,
        };
        let used = position - if scene.outer == Outer::Push { filled } else { 0 };
        let ([outer, mut nested, _], receiver) = aged::<Q>(capacity, used);
        let mut record = Record::new::<Q>(capacity);
        record.fill(&mut nested, filled);
        Self {
            scene,
            capacity,
            outer: RefCell::new(outer),
            nested: RefCell::new(nested),
            receiver: RefCell::new(receiver),
            record: RefCell::new(record),
        }
    }

    /// Makes the call with nothing on top of it, except where it would wait for that.
    fn alone(&self) -> Verdict {
        self.call(&mut |step| {
            step.let_go();
            if self.scene.outer == Outer::Take {
                self.interrupt();
            }
        });
        self.finish()
    }

    /// The exit code of the process that steps. Its children come back here as well.
    fn step_through(&self) -> i32 {
        let mut is_child = false;
        let mut visits = HashMap::with_capacity(1 << 14);
        self.call(&mut |step| {
            child::watch();
            let sleeps = self.scene.outer == Outer::Take && step.is_going_to_sleep_unbounded();
            if self.is_to_be_tried(step, &mut visits) {
                is_child = self.fork(step, false);
            }
            if sleeps && !is_child {
                is_child = self.fork(step, true);
            }
            if !is_child && (sleeps || step.number > MOST_STEPS) {
                child::exit(0);
            }
        });
        if is_child { self.finish() as i32 } else { 0 }
    }

    fn is_to_be_tried(&self, step: &Step<'_>, visits: &mut HashMap<usize, u8>) -> bool {
        if self.scene.outer != Outer::Take {
            return true;
        }
        let visits = visits.entry(step.address()).or_default();
        *visits = visits.saturating_add(1);
        *visits <= VISITS && !step.is_in_vdso()
    }

    /// Makes a try of this step, and says whether this is its process. It is interrupted at once,
    /// or when it sleeps.
    fn fork(&self, step: &mut Step<'_>, asleep: bool) -> bool {
        board().begin();
        match child::fork() {
            0 => {
                step.let_go();
                if asleep {
                    self.interrupt_by_signal()
                } else {
                    self.interrupt()
                }
                true
            }
            pid => {
                board().count(watch::wait(pid, asleep).expect("it says what it found"));
                false
            }
        }
    }

    fn call(&self, on_step: &mut dyn FnMut(&mut Step<'_>)) {
        if self.scene.outer == Outer::Push {
            let (mut sender, mut accepted) = (self.outer.borrow_mut(), false);
            step(on_step, || accepted = sender.try_put(OUTER).is_ok());
            self.record.borrow_mut().outer = Some(accepted);
        } else {
            let (mut receiver, mut popped) = (self.receiver.borrow_mut(), None);
            match self.scene.outer {
                Outer::Pop => step(on_step, || popped = receiver.try_take()),
                _ => step(on_step, || popped = Some(receiver.take())),
            };
            self.record.borrow_mut().popped.extend(popped);
        }
        board().enter(Phase::Calls);
    }

    fn interrupt(&self) {
        let (mut record, mut sender) = (self.record.borrow_mut(), self.nested.borrow_mut());
        match self.scene.nested {
            Nested::Push => _ = record.push_nested(&mut *sender),
            Nested::PushUntilFull => {
                // Some never say that they are full, and a bypass may take more.
                let most = self.capacity + if Q::SAYS_FULL { 32 } else { 0 };
                (0..most).all(|_| record.push_nested(&mut *sender));
            }
            Nested::PopAll => {
                record.pop_all(&mut *self.receiver.borrow_mut());
                record.hidden = record.popped.len() < record.before;
            }
        }
        let own = usize::from(self.scene.outer == Outer::Push);
        let had_room = record.before + record.nested + own < self.capacity;
        record.refused |= self.scene.nested != Nested::PopAll && record.nested == 0 && had_room;
        if self.scene.outer == Outer::Take {
            if record.nested == 0 {
                child::exit(Verdict::Refused as i32);
            }
            board().enter(Phase::Wakeup);
        }
    }

    /// From here on it is interrupted by the signal that the process gets when it sleeps.
    fn interrupt_by_signal(&self) {
        PLAY.store((&raw const *self).cast_mut().cast(), Ordering::SeqCst);
        handle(WAKE, on_wake::<Q>);
    }

    fn finish(&self) -> Verdict {
        let (mut record, mut receiver) = (self.record.borrow_mut(), self.receiver.borrow_mut());
        let had_room = record.before + record.nested < self.capacity;
        record.refused |=
            record.outer == Some(false) && self.scene.outer == Outer::Push && had_room;
        record.pop_all(&mut *receiver);
        record.use_again(&mut *self.outer.borrow_mut(), &mut *receiver);
        record.verdict()
    }
}

/// What is interrupted by the signal.
static PLAY: AtomicPtr<libc::c_void> = AtomicPtr::new(ptr::null_mut());

extern "C" fn on_wake<Q: Subject>(_: libc::c_int) {
    // SAFETY: set before there was this handler, by the play itself, which is in a call.
    let play = unsafe { &*PLAY.load(Ordering::SeqCst).cast::<Play<Q>>() };
    play.interrupt();
}
