//! Pushes that wait for room which nobody but their own thread can make.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread;

use super::board::{Verdict, board};
use super::queues::{Receiver, Sender, Subject};
use super::record::{aged, push};
use super::threads::wait_until;
use super::watch::attempt;

/// How a push that waits ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Waited {
    pub(crate) verdict: Verdict,
    /// How many were accepted by a queue that was full already.
    pub(crate) accepted: usize,
}

/// Pushes and waits for room. Whether it was accepted; else it would have waited for ever.
fn put(sender: &mut impl Sender<u64>, item: u64) -> bool {
    let result = catch_unwind(AssertUnwindSafe(|| sender.put(item)));
    board().advance();
    let Err(panic) = result else { return true };
    let message = panic.downcast_ref::<String>().map_or("", |message| message);
    assert!(message.contains("WouldDeadlock"), "{message}");
    false
}

fn waited(body: impl FnOnce() -> Verdict) -> Waited {
    board().clear();
    let verdict = attempt(|| body() as i32).unwrap_or(Verdict::Crash);
    Waited { verdict, accepted: board().accepted.load(SeqCst) }
}

/// The consumer's thread pushes into its own queue, which is full.
pub(crate) fn own_push<Q: Subject>(capacity: usize) -> Waited {
    waited(|| {
        let ([mut sender, ..], mut receiver) = aged::<Q>(capacity, capacity + 1);
        let mut next = 0;
        while next < capacity as u64 && sender.try_put(next).is_ok() {
            next += 1;
        }
        while next < 100 && put(&mut sender, next) {
            next += 1;
            board().accepted.fetch_add(1, SeqCst);
        }
        let popped = (0..).map_while(|_: u64| receiver.try_take());
        if popped.eq(0..next) { Verdict::Refused } else { Verdict::Lost }
    })
}

/// Two threads, each of which is the consumer of one queue, push into each other's, which is full.
/// Whoever comes back from that pops until the other does.
pub(crate) fn each_other<Q: Subject>(capacity: usize) -> Waited {
    waited(|| {
        let ([left, to_left, _], from_left) = aged::<Q>(capacity, 0);
        let ([right, to_right, _], from_right) = aged::<Q>(capacity, 0);
        let meeting = &Meeting::default();
        thread::scope(|scope| {
            scope.spawn(move || meeting.consume::<Q>(0, left, from_left, to_right));
            scope.spawn(move || meeting.consume::<Q>(1, right, from_right, to_left));
        });
        if meeting.refused.load(SeqCst) { Verdict::Refused } else { Verdict::Fine }
    })
}

#[derive(Default)]
struct Meeting {
    /// How many have popped for the first time, and how many have filled the other's queue.
    begun: AtomicUsize,
    filled: AtomicUsize,
    /// How many are back from their pushes.
    back: AtomicUsize,
    refused: AtomicBool,
}

impl Meeting {
    fn consume<Q: Subject>(
        &self,
        place: usize,
        mut own: Q::Sender<u64>,
        mut receiver: Q::Receiver<u64>,
        mut other: Q::Sender<u64>,
    ) {
        board().register(place);
        // So that the queue knows whose it is.
        push(&mut own, 0);
        receiver.try_take();
        both(&self.begun);
        while push(&mut other, 0) {}
        both(&self.filled);
        if place == 1 {
            // Not for long: a sleep that ends by itself, to look again, is not told from others.
            let looks = Cell::new(0);
            let is_enough = || looks.replace(looks.get() + 1) == 200;
            wait_until(|| board().sleeps(0) || self.back.load(SeqCst) != 0 || is_enough());
        }
        if !put(&mut other, 1) {
            self.refused.store(true, SeqCst);
        }
        self.back.fetch_add(1, SeqCst);
        while self.back.load(SeqCst) < 2 {
            receiver.try_take();
            thread::yield_now();
        }
    }
}

/// Waits until both threads have come here.
fn both(come: &AtomicUsize) {
    come.fetch_add(1, SeqCst);
    wait_until(|| come.load(SeqCst) == 2);
}
