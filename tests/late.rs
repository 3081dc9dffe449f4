//! Items that are published after the consumer has gone, with `--cfg bywash_steps`: the consumer is
//! dropped at each step of a push. Each item is dropped once, also one that holds a producer of the
//! queue that it is in, and so would keep the queue and itself.
#![cfg(all(feature = "std", bywash_steps, not(bywash_loom)))]

mod support;

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use bywash::steps::hooked;
use bywash::{Builder, Consumer, Producer};

/// Counts how often it is dropped.
struct Item {
    _queue: Producer<Item>,
    drops: Arc<AtomicU64>,
    panics: bool,
}

impl Drop for Item {
    fn drop(&mut self) {
        self.drops.fetch_add(1, SeqCst);
        assert!(!self.panics, "on purpose");
    }
}

/// Does `interrupt` before step `stop` of `run`. Returns whether there was such a step.
fn interrupted(stop: u64, interrupt: impl Fn(), run: impl FnOnce()) -> bool {
    let step = Cell::new(0);
    let hook = || {
        if step.replace(step.get() + 1) == stop {
            interrupt();
        }
    };
    hooked(&hook, run);
    step.get() > stop
}

/// A queue on whose thread items are pushed that hold producers of it.
struct Scene {
    producer: Producer<Item>,
    /// Where the producer does not count, one that does.
    open: Option<Producer<Item>>,
    consumer: RefCell<Option<Consumer<Item>>>,
    /// For each item, how often it was dropped.
    drops: RefCell<Vec<Arc<AtomicU64>>>,
    panics: bool,
    /// How many pushes said `Ok` although the queue had no consumer any more.
    late: Cell<u64>,
}

impl Scene {
    fn new(capacity: usize, bypass: usize, panics: bool, is_weak: bool) -> Self {
        let (counting, mut consumer) = Builder::new(capacity).bypass(bypass).build();
        consumer.bind();
        let consumer = RefCell::new(Some(consumer));
        let (producer, open) =
            if is_weak { (counting.downgrade(), Some(counting)) } else { (counting, None) };
        Self { producer, open, consumer, drops: RefCell::default(), panics, late: Cell::new(0) }
    }

    fn push(&self) {
        let drops = Arc::default();
        self.drops.borrow_mut().push(Arc::clone(&drops));
        let item = Item { _queue: self.producer.clone(), drops, panics: self.panics };
        match self.producer.try_push(item) {
            Ok(()) if self.consumer.borrow().is_none() => self.late.set(self.late.get() + 1),
            Ok(()) => {}
            Err(refused) => _ = catch_unwind(AssertUnwindSafe(|| drop(refused))),
        }
    }

    fn drop_consumer(&self) {
        let consumer = self.consumer.take();
        let _ = catch_unwind(AssertUnwindSafe(|| drop(consumer)));
    }

    /// Returns how many items were late.
    fn end(self, what: &str) -> u64 {
        let Self { producer, open: _open, consumer, drops, panics, late } = self;
        let _ = catch_unwind(AssertUnwindSafe(|| drop(consumer)));
        let result = catch_unwind(AssertUnwindSafe(|| drop(producer)));
        let drops: Vec<_> = drops.borrow().iter().map(|drops| drops.load(SeqCst)).collect();
        assert!(drops.iter().all(|&drops| drops == 1), "{what}: {drops:?}");
        assert!(panics || result.is_ok(), "{what}");
        late.get()
    }
}

/// Drops the consumer at each step of a push that is itself at each step of another.
fn late_items(capacity: usize, bypass: usize, panics: bool, is_weak: bool) -> u64 {
    support::watch();
    let mut late = 0;
    for outer in 0.. {
        let mut has_outer_step = false;
        for inner in 0.. {
            let scene = Scene::new(capacity, bypass, panics, is_weak);
            let has_inner_step = Cell::new(false);
            let push_within = || {
                let drop_consumer = || scene.drop_consumer();
                has_inner_step.set(interrupted(inner, drop_consumer, || scene.push()));
            };
            has_outer_step = interrupted(outer, push_within, || scene.push());
            late += scene.end(&format!("at step {inner} of a push at step {outer} of another"));
            if !has_inner_step.get() {
                break;
            }
        }
        if !has_outer_step {
            break;
        }
    }
    late
}

#[test]
fn an_item_that_holds_a_producer_and_is_published_after_the_consumer_went_is_dropped_once() {
    assert!(late_items(2, 0, false, false) > 10);
}

#[test]
fn so_is_one_in_the_bypass() {
    assert!(late_items(1, 1, false, false) > 10);
}

#[test]
fn so_is_one_that_holds_a_producer_that_does_not_count_and_was_pushed_by_it() {
    assert!(late_items(2, 0, false, true) > 10);
    assert!(late_items(1, 1, false, true) > 10);
}

#[test]
fn so_is_one_behind_one_whose_destructor_panics() {
    std::panic::set_hook(Box::new(|_| {}));
    assert!(late_items(2, 0, true, false) > 10);
}
