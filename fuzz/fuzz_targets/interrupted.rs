//! Calls with calls nested in them, two deep, at steps that the fuzzer chooses.
//! `tests/interrupted.rs` tries every step of every method, but only one outer call; here one outer
//! call follows another.
#![no_main]

#[path = "../../tests/support/checked.rs"]
mod checked;
#[path = "../../tests/support/model.rs"]
mod model;

use std::cell::{Cell, RefCell};

use arbitrary::Arbitrary;
use bywash::steps::hooked;
use checked::{Checked, Op};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Input {
    capacity: u8,
    bypass: u8,
    calls: Vec<Interrupted>,
}

#[derive(Arbitrary, Debug)]
struct Interrupted {
    op: u8,
    /// Each nested call, and how many steps after the one before, or after the beginning, it comes.
    nested: Vec<(u8, Interrupted)>,
}

impl Interrupted {
    /// Performs the call. `may_consume` is false inside a call of the consumer: a handler must not
    /// pop, and other threads cannot while the consumer is stopped.
    fn perform(&self, queue: &Checked, depth: usize, may_consume: bool) {
        let op = match Op::from_byte(self.op) {
            // `pop` would sleep.
            Op::Pop => Op::PopTimeout,
            op => op,
        };
        let op = if may_consume || !op.is_consumers() { op } else { Op::TryPush };
        let nested = RefCell::new(self.nested.iter().take(3 * depth));
        let next = Cell::new(nested.borrow_mut().next());
        let steps = Cell::new(0_u32);
        let hook = || match next.get() {
            Some((at, call)) if steps.get() == u32::from(at % 32) => {
                steps.set(0);
                next.set(nested.borrow_mut().next());
                call.perform(queue, depth - 1, may_consume && !op.is_consumers());
            }
            _ => steps.set(steps.get() + 1),
        };
        hooked(&hook, || queue.perform(op));
    }
}

fuzz_target!(|input: Input| {
    let queue = Checked::new(1 + usize::from(input.capacity % 4), usize::from(input.bypass % 3));
    queue.bind();
    input.calls.iter().take(64).for_each(|call| call.perform(&queue, 2, true));
    queue.perform(Op::TryPopUntilEmpty);
    queue.perform(Op::TakeLost);
    queue.perform(Op::TryPushUntilRefused);
    queue.perform(Op::TryPopUntilEmpty);
});
