//! Calls that run one machine instruction at a time.

use std::thread;

use super::calls::{Count, Counts};
use crate::rivals::{Queue, Receiver, Sender, for_each_queue};

#[allow(dead_code, reason = "the tests use the rest")]
#[path = "../../../tests/support/signals.rs"]
mod signals;
#[allow(dead_code, reason = "the tests use the rest")]
#[path = "../../../tests/support/stepping/trap.rs"]
mod trap;

/// Of all queues, bywash first.
pub(crate) fn count_all() -> Vec<Counts> {
    for_each_queue!(count).map(|count| count()).into()
}

/// The producer is a thread of its own: a queue may treat the consumer's pushes in another way.
fn count<Q: Queue>() -> Counts {
    const ROOM: usize = 64;
    // The first calls may do more than others.
    const FEW: u64 = 8;
    let (mut senders, mut receiver) = Q::bounded::<u64>(ROOM, 1);
    let sender = &mut senders[0];
    assert_eq!(pop(&mut receiver), None);

    let pushed = on_another_thread(|| {
        (0..FEW).for_each(|item| assert_eq!(push(sender, item), Ok(())));
        instructions(|| assert_eq!(push(sender, FEW), Ok(())))
    });
    (0..FEW).for_each(|item| assert_eq!(pop(&mut receiver), Some(item)));
    let popped = instructions(|| assert_eq!(pop(&mut receiver), Some(FEW)));
    assert_eq!(pop(&mut receiver), None);
    let empty = instructions(|| assert_eq!(pop(&mut receiver), None));
    let full = on_another_thread(|| {
        while push(sender, 0).is_ok() {}
        instructions(|| assert_eq!(push(sender, 1), Err(1)))
    });
    Counts { name: Q::NAME, calls: [pushed, popped, full, empty] }
}

#[inline(never)]
fn push<S: Sender<u64>>(sender: &mut S, item: u64) -> Result<(), u64> {
    sender.try_put(item)
}

#[inline(never)]
fn pop<R: Receiver<u64>>(receiver: &mut R) -> Option<u64> {
    receiver.try_take()
}

fn on_another_thread<R: Send>(call: impl FnOnce() -> R + Send) -> R {
    thread::scope(|scope| scope.spawn(call).join().expect("no rival panics"))
}

/// Those of `call`, and the same few around it for all queues.
fn instructions(call: impl FnOnce()) -> Count {
    let mut locked = 0;
    let on_step = &mut |step: &mut trap::Step<'_>| locked += usize::from(step.is_locked());
    let instructions = trap::step(on_step, call);
    Count { instructions, locked }
}
