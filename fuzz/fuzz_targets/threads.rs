//! Two producers and a consumer, on threads of their own, whose steps follow the schedule of the
//! fuzzer.
#![no_main]

#[path = "../../tests/support/checked.rs"]
mod checked;
#[path = "../../tests/support/model.rs"]
mod model;

use std::sync::{Condvar, Mutex};
use std::thread;

use arbitrary::Arbitrary;
use bywash::steps::hooked;
use checked::{Checked, Op};
use libfuzzer_sys::fuzz_target;

const THREADS: usize = 3;
const CONSUMER: usize = 0;

#[derive(Arbitrary, Debug)]
struct Input {
    capacity: u8,
    bypass: u8,
    calls: [Vec<u8>; THREADS],
    schedule: Vec<u8>,
}

/// Lets one thread run at a time.
struct Gate {
    schedule: Mutex<Schedule>,
    changed: Condvar,
}

struct Schedule {
    turn: usize,
    turns: std::vec::IntoIter<u8>,
    finished: [bool; THREADS],
    /// How many more steps the current thread may take.
    left: u8,
}

impl Schedule {
    /// Decides whose turn is next. When the schedule is over, the threads run to their ends one
    /// after another.
    fn next(&mut self) {
        if self.left > 0 && !self.finished[self.turn] {
            self.left -= 1;
            return;
        }
        let byte = usize::from(self.turns.next().unwrap_or(u8::MAX));
        self.left = (byte / THREADS % 16) as u8;
        let mut candidates = (byte..byte + THREADS).map(|thread| thread % THREADS);
        self.turn = candidates.find(|&thread| !self.finished[thread]).unwrap_or(THREADS);
    }
}

impl Gate {
    fn new(turns: Vec<u8>) -> Self {
        let mut schedule =
            Schedule { turn: 0, turns: turns.into_iter(), finished: [false; THREADS], left: 0 };
        schedule.next();
        Self { schedule: Mutex::new(schedule), changed: Condvar::new() }
    }

    /// Called before the first step of a thread: waits for its turn.
    fn wait(&self, me: usize) {
        let schedule = self.schedule.lock().unwrap();
        drop(self.changed.wait_while(schedule, |schedule| schedule.turn != me).unwrap());
    }

    /// Called before each step of the thread whose turn it is.
    fn step(&self, me: usize) {
        let mut schedule = self.schedule.lock().unwrap();
        schedule.next();
        if schedule.turn != me {
            self.changed.notify_all();
            drop(self.changed.wait_while(schedule, |schedule| schedule.turn != me).unwrap());
        }
    }

    fn finish(&self, me: usize) {
        let mut schedule = self.schedule.lock().unwrap();
        schedule.finished[me] = true;
        schedule.next();
        self.changed.notify_all();
    }
}

fn perform_all(queue: &Checked, gate: &Gate, me: usize, calls: &[u8]) {
    gate.wait(me);
    if me == CONSUMER {
        queue.bind();
    }
    for call in calls.iter().take(16) {
        let op = match Op::from_byte(*call) {
            op if me != CONSUMER && op.is_consumers() => Op::TryPush,
            // These would sleep.
            Op::Pop => Op::PopTimeout,
            Op::Push if me != CONSUMER => Op::PushTimeout,
            Op::PushMany(count) if me != CONSUMER => Op::TryPushMany(count),
            op => op,
        };
        hooked(&|| gate.step(me), || queue.perform(op));
    }
    gate.finish(me);
}

fuzz_target!(|input: Input| {
    let queue = Checked::new(1 + usize::from(input.capacity % 4), usize::from(input.bypass % 3));
    let gate = Gate::new(input.schedule);
    thread::scope(|scope| {
        let (queue, gate) = (&queue, &gate);
        let start = |(me, calls)| scope.spawn(move || perform_all(queue, gate, me, calls));
        let threads: Vec<_> =
            input.calls.iter().map(Vec::as_slice).enumerate().map(start).collect();
        // The end of the scope does not wait until the threads are gone, so what they still hold
        // would look like a leak.
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
    queue.perform(Op::TryPopUntilEmpty);
    queue.perform(Op::TakeLost);
    queue.perform(Op::TryPushUntilRefused);
    queue.perform(Op::TryPopUntilEmpty);
});
