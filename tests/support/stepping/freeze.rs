//! Threads that are stopped before one machine instruction of a call, forever or until they are
//! resumed.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::child::{Ending, in_child, in_file, shared};
use super::trap::{Step, step};

/// One in so many steps is tried. A release build tries all; a debug build, which has ten times as
/// many steps, leaves most of them out.
const STRIDE: usize = if cfg!(debug_assertions) { 61 } else { 1 };

/// The exit code of a child in which the call ended before the step to stop at.
const TOO_LATE: i32 = 2;

/// The state of the one stepped call of this process.
static ASLEEP: AtomicBool = AtomicBool::new(false);
static STOPPED: AtomicBool = AtomicBool::new(false);
static RESUMED: AtomicBool = AtomicBool::new(false);
static OVER: AtomicBool = AtomicBool::new(false);

#[derive(Default)]
struct Progress {
    address: AtomicUsize,
}

/// The step to stop at, and where to report what is there.
#[derive(Clone, Copy)]
pub(crate) struct Stop {
    number: usize,
    progress: &'static Progress,
}

impl Stop {
    /// Runs `call` on this thread, and stops it.
    pub(crate) fn call(self, call: impl FnOnce()) {
        step(&mut |step| self.stop_at(step, 0), call);
        OVER.store(true, Ordering::SeqCst);
    }

    /// Runs `call`, and at the step runs `nested` on top of it instead of stopping.
    pub(crate) fn call_interrupted(self, call: impl FnOnce(), mut nested: impl FnMut()) {
        let mut on_step = |step: &mut Step<'_>| {
            if step.number == self.number {
                step.let_go();
                self.progress.address.store(step.address(), Ordering::SeqCst);
                nested();
                STOPPED.store(true, Ordering::SeqCst);
            }
        };
        step(&mut on_step, call);
        OVER.store(true, Ordering::SeqCst);
    }

    /// Runs `call`, and stops it after its second sleep. The first one is a nap.
    pub(crate) fn call_that_sleeps(self, call: impl FnOnce()) {
        let (mut sleeps, mut before) = (0, 0);
        let mut on_step = |step: &mut Step<'_>| {
            if sleeps == 2 {
                return self.stop_at(step, before);
            }
            if step.is_going_to_sleep() {
                sleeps += 1;
                before = step.number + 1;
                ASLEEP.store(sleeps == 2, Ordering::SeqCst);
            }
        };
        step(&mut on_step, call);
        OVER.store(true, Ordering::SeqCst);
    }

    /// Whether the call reached the step.
    pub(crate) fn was_reached(self) -> bool {
        STOPPED.load(Ordering::SeqCst)
    }

    fn stop_at(self, step: &mut Step<'_>, before: usize) {
        if step.number - before == self.number {
            step.let_go();
            self.progress.address.store(step.address(), Ordering::SeqCst);
            STOPPED.store(true, Ordering::SeqCst);
            while !RESUMED.load(Ordering::SeqCst) {
                thread::sleep(Duration::from_micros(20));
            }
        }
    }
}

/// A thread with a call that will be stopped.
pub(crate) struct Frozen(JoinHandle<()>);

impl Frozen {
    pub(crate) fn spawn(body: impl FnOnce() + Send + 'static) -> Self {
        Self(thread::spawn(body))
    }

    /// Waits until the call is stopped, or over.
    pub(crate) fn wait(&self) {
        wait_for(|| STOPPED.load(Ordering::SeqCst) || OVER.load(Ordering::SeqCst));
    }

    /// Waits until the call sleeps.
    pub(crate) fn wait_until_asleep(&self) {
        wait_for(|| ASLEEP.load(Ordering::SeqCst));
    }

    /// Lets the call go on to its end.
    pub(crate) fn resume(self) {
        RESUMED.store(true, Ordering::SeqCst);
        self.0.join().unwrap();
    }
}

/// Yields until `condition` holds. The watchdog kills a child that hangs here.
pub(crate) fn wait_for(mut condition: impl FnMut() -> bool) {
    while !condition() {
        thread::yield_now();
    }
}

/// How many steps were tried, and how many of the children failed.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) steps: usize,
    pub(crate) findings: usize,
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.steps += other.steps;
        self.findings += other.findings;
    }
}

/// Runs `body` in a child for each step at which it can stop a call.
pub(crate) fn at_each_step(what: &str, body: impl Fn(Stop)) -> Tally {
    let progress = shared::<Progress>();
    let mut tally = Tally::default();
    while tally.findings < 3 {
        let number = tally.steps * STRIDE;
        let ending = in_child(|| {
            body(Stop { number, progress });
            if STOPPED.load(Ordering::SeqCst) { 0 } else { TOO_LATE }
        });
        if ending == Ending::Exit(TOO_LATE) {
            break;
        }
        tally.steps += 1;
        if ending != Ending::Exit(0) {
            tally.findings += 1;
            let address = in_file(progress.address.load(Ordering::SeqCst));
            println!(
                "FINDING: {what}: {ending:?}; stopped before instruction {number}, at {address:#x} in the file"
            );
        }
    }
    tally
}
