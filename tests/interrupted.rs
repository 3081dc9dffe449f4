//! Nested calls at every step of every method. Run with
//! `RUSTFLAGS="--cfg bywash_steps" cargo test --release --test interrupted -- --nocapture`.
//!
//! A step is an atomic operation, an access to an item, or a system call on a word. The nested
//! calls are what a signal handler may do, or what other threads do while the interrupted one is
//! stopped.
#![cfg(all(bywash_steps, unix, feature = "std", not(bywash_loom)))]

#[cfg(target_os = "linux")]
#[path = "support/barriers.rs"]
mod barriers;
#[path = "support/checked.rs"]
mod checked;
#[path = "support/model.rs"]
mod model;

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;

use bywash::steps::hooked;
use bywash::{StaticQueue, TryPushError};
use checked::{Checked, Op};

/// Calls `run`, and calls `nested` before the step that `steps` counts as `at`.
fn interrupt_at(at: u64, steps: &AtomicU64, nested: impl Fn(), run: impl FnOnce()) {
    let hook = || {
        if steps.fetch_add(1, Ordering::Relaxed) == at {
            nested();
        }
    };
    hooked(&hook, run);
}

/// How full the queue is when the interrupted call begins.
#[derive(Clone, Copy, Debug)]
struct Fill {
    capacity: usize,
    bypass: usize,
    ring: usize,
    bypassed: usize,
    /// How many items in the ring came after those in the bypass.
    late: usize,
}

impl Fill {
    fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for capacity in 1..=4 {
            let levels = [0, 1, capacity - 1, capacity];
            let mut levels = levels.to_vec();
            levels.sort_unstable();
            levels.dedup();
            for (bypass, bypassed) in [(0, 0), (2, 0), (2, 1), (2, 2)] {
                for &ring in &levels {
                    let late = 0..=ring.min(bypassed).min(1);
                    all.extend(late.map(|late| Self { capacity, bypass, ring, bypassed, late }));
                }
            }
        }
        all
    }

    /// Fills the queue, on the consumer's thread.
    fn apply(self, queue: &Checked) {
        queue.bind();
        // The counters start at another value in every case.
        for _ in 0..(3 * self.capacity + 2 * self.ring + self.bypassed) % 5 {
            queue.perform(Op::TryPush);
            queue.perform(Op::TryPop);
        }
        if self.bypassed == 0 {
            (0..self.ring).for_each(|_| queue.perform(Op::TryPush));
            return;
        }
        (0..self.capacity + self.bypassed).for_each(|_| queue.perform(Op::TryPush));
        (self.ring - self.late..self.capacity).for_each(|_| queue.perform(Op::TryPop));
        (0..self.late).for_each(|_| queue.perform(Op::TryPush));
    }
}

/// The thread of a nested call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum On {
    /// The interrupted thread, in a signal handler. It makes no difference whether the handler uses
    /// another producer.
    Interrupted,
    /// The consumer's thread, while the interrupted one is stopped.
    Consumer,
}

type Calls = &'static [(On, Op)];

const BY_HANDLERS: [Calls; 7] = [
    &[(On::Interrupted, Op::TryPush)],
    &[(On::Interrupted, Op::TryPushUntilRefused)],
    &[(On::Interrupted, Op::TryPushMany(2))],
    &[(On::Interrupted, Op::TryPushMany(Op::TOO_MANY))],
    &[(On::Interrupted, Op::TryPushWithin(2))],
    &[(On::Interrupted, Op::TryPushUntilRefused), (On::Interrupted, Op::TryPushOrCount)],
    &[(On::Interrupted, Op::TryPushAndWait)],
];

/// Used only if the interrupted call is not one of the consumer's.
const BY_OTHERS: [Calls; 14] = [
    &[(On::Consumer, Op::TryPop)],
    &[(On::Consumer, Op::TryPop), (On::Consumer, Op::TryPush)],
    &[(On::Interrupted, Op::TryPush), (On::Consumer, Op::TryPop)],
    &[
        (On::Interrupted, Op::TryPushUntilRefused),
        (On::Consumer, Op::TryPop),
        (On::Interrupted, Op::TryPush),
    ],
    &[(On::Interrupted, Op::TryPushUntilRefused), (On::Consumer, Op::TryPopUntilEmpty)],
    &[
        (On::Consumer, Op::TryPopUntilEmpty),
        (On::Consumer, Op::TryPushUntilRefused),
        (On::Consumer, Op::PopTimeout),
    ],
    &[
        (On::Interrupted, Op::TryPush),
        (On::Consumer, Op::Close),
        (On::Consumer, Op::TryPopUntilEmpty),
    ],
    &[(On::Consumer, Op::TryPopMany(2)), (On::Interrupted, Op::TryPushMany(2))],
    &[(On::Interrupted, Op::TryPushMany(Op::TOO_MANY)), (On::Consumer, Op::TryPopMany(usize::MAX))],
    &[
        (On::Consumer, Op::TryPushMany(Op::TOO_MANY)),
        (On::Consumer, Op::Close),
        (On::Consumer, Op::TryPopMany(3)),
    ],
    &[
        (On::Interrupted, Op::TryPushOrCount),
        (On::Consumer, Op::TryPop),
        (On::Consumer, Op::TakeLost),
    ],
    &[
        (On::Consumer, Op::TryPopUntilEmpty),
        (On::Consumer, Op::TakeLost),
        (On::Consumer, Op::TryPushUntilRefused),
    ],
    &[
        (On::Consumer, Op::TryPop),
        (On::Interrupted, Op::TryPushWithin(2)),
        (On::Consumer, Op::TryPushWithin(1)),
    ],
    &[
        (On::Interrupted, Op::TryPushAndWait),
        (On::Consumer, Op::TryPopUntilEmpty),
        (On::Consumer, Op::TryPushAndWait),
    ],
];

/// The interrupted call, the calls nested in it, and the call nested in those.
#[derive(Clone, Copy, Debug)]
struct Case {
    fill: Fill,
    outer: Op,
    nested: Calls,
    innermost: Op,
}

/// One run of a case.
struct Run {
    queue: Checked,
    case: Case,
    /// How many steps the outer and the nested calls have taken.
    steps: [AtomicU64; 2],
}

impl Run {
    /// Performs one of the nested calls, and the innermost call before step `j` of all of them.
    fn perform_nested(&self, op: Op, j: u64) {
        interrupt_at(
            j,
            &self.steps[1],
            || self.queue.perform(self.case.innermost),
            || self.queue.perform(op),
        );
    }

    fn came_to(&self, depth: usize, step: u64) -> bool {
        self.steps[depth].load(Ordering::Relaxed) > step
    }
}

/// The consumer's thread.
trait Consumer {
    fn run(&self, job: impl FnOnce() + Send + 'static);
}

/// The interrupted thread is the consumer's. Its pushes may do the same as those of a thread that
/// the consumer depends on.
struct Here;

impl Consumer for Here {
    fn run(&self, job: impl FnOnce() + Send + 'static) {
        job();
    }
}

/// Another thread is the consumer's, and the interrupted one is only a producer.
struct There {
    jobs: Sender<Box<dyn FnOnce() + Send>>,
}

impl There {
    fn new() -> Self {
        let (jobs, queue) = channel::<Box<dyn FnOnce() + Send>>();
        thread::spawn(move || queue.into_iter().for_each(|job| job()));
        Self { jobs }
    }
}

impl Consumer for There {
    fn run(&self, job: impl FnOnce() + Send + 'static) {
        let (done, wait) = channel();
        let job = move || {
            job();
            done.send(()).unwrap();
        };
        self.jobs.send(Box::new(job)).unwrap();
        wait.recv().expect("the consumer's thread panicked");
    }
}

#[derive(Default)]
struct Count {
    pairs: u64,
    runs: u64,
}

impl Case {
    /// Runs the nested calls at every step of the outer one, and the innermost call at every step
    /// of those.
    fn run_all(self, consumer: &impl Consumer, count: &mut Count) {
        count.pairs += 1;
        for k in 0.. {
            for j in if self.is_deep() { 0..=u64::MAX } else { u64::MAX..=u64::MAX } {
                count.runs += 1;
                let run = self.run(consumer, k, j);
                if !run.came_to(0, k) {
                    return;
                }
                if !run.came_to(1, j) {
                    break;
                }
            }
        }
    }

    /// Whether to nest two deep. The other methods end in the same calls as these, and with other
    /// threads, larger capacities bring nothing new two deep.
    fn is_deep(self) -> bool {
        let others = self.nested.iter().any(|call| call.0 == On::Consumer);
        let simple = self.nested.iter().all(|call| !call.1.is_variant());
        let one_call = matches!(
            self.outer,
            Op::TryPush | Op::TryPop | Op::Close | Op::Len | Op::IsEmpty | Op::IsFull
        );
        let variant = matches!(
            self.outer,
            Op::TryPushMany(2)
                | Op::TryPopMany(2)
                | Op::TryPushWithin(2)
                | Op::TryPushOrCount
                | Op::TakeLost
        );
        let is_small = self.fill.capacity <= 2;
        one_call && simple && (!others || is_small) || variant && simple && !others && is_small
    }

    fn run(self, consumer: &impl Consumer, k: u64, j: u64) -> Arc<Run> {
        let queue = Checked::new(self.fill.capacity, self.fill.bypass);
        let run = Arc::new(Run { queue, case: self, steps: Default::default() });
        let on_consumer = |job: fn(&Run, Op, u64), op| {
            let run = run.clone();
            consumer.run(move || job(&run, op, j));
        };
        if self.outer == Op::TakeLost {
            for op in [Op::TryPushUntilRefused, Op::TryPushOrCount, Op::TryPopUntilEmpty] {
                on_consumer(|run, op, _| run.queue.perform(op), op);
            }
        }
        on_consumer(|run, _, _| run.case.fill.apply(&run.queue), Op::Len);
        let nested = || {
            for &(on, op) in self.nested {
                match on {
                    On::Interrupted => run.perform_nested(op, j),
                    On::Consumer => on_consumer(Run::perform_nested, op),
                }
            }
        };
        interrupt_at(k, &run.steps[0], nested, || run.queue.perform(self.outer));
        for op in
            [Op::TryPopUntilEmpty, Op::TakeLost, Op::TryPushUntilRefused, Op::TryPopUntilEmpty]
        {
            on_consumer(|run, op, _| run.queue.perform(op), op);
        }
        run
    }
}

/// Runs every case of `outers` and `nested` that is `legal`, that is, that cannot wait forever.
fn run_all(
    consumer: &impl Consumer,
    fills: &[Fill],
    outers: &[Op],
    nested: &[Calls],
    legal: impl Fn(&Case) -> bool,
) {
    watch();
    let mut count = Count::default();
    for &fill in fills {
        for &outer in outers {
            for &nested in nested {
                let innermost: &[_] = if fill.capacity > 2 {
                    &[Op::TryPush]
                } else {
                    &[Op::TryPush, Op::TryPushUntilRefused]
                };
                for &innermost in innermost {
                    let case = Case { fill, outer, nested, innermost };
                    if legal(&case) && (case.is_deep() || innermost == Op::TryPush) {
                        case.run_all(consumer, &mut count);
                    }
                }
            }
        }
    }
    println!("{} pairs, {} runs", count.pairs, count.runs);
}

/// Ends the process when it has run for so long that a call must hang.
fn watch() {
    // SAFETY: it has no preconditions; the signal has no handler.
    unsafe { libc::alarm(600) };
}

fn has_item(case: &Case) -> bool {
    case.outer != Op::Pop || case.fill.ring + case.fill.bypassed > 0
}

#[test]
fn handlers_interrupt_the_consumer_anywhere() {
    run_all(&Here, &Fill::all(), &Op::ALL, &BY_HANDLERS, has_item);
}

#[test]
fn the_consumer_goes_on_while_a_thread_that_it_depends_on_is_stopped() {
    run_all(&Here, &Fill::all(), &Op::ALL, &BY_OTHERS, |case| !case.outer.is_consumers());
}

#[test]
fn the_consumer_goes_on_while_a_producer_is_stopped() {
    let fills: Vec<_> =
        Fill::all().into_iter().filter(|fill| fill.bypass == fill.bypassed).collect();
    // A producer's `push` must find room at any step.
    let outers = [
        Op::TryPush,
        Op::PushTimeout,
        Op::Len,
        Op::IsEmpty,
        Op::IsFull,
        Op::TryPushMany(2),
        Op::TryPushMany(Op::TOO_MANY),
        Op::TryPushWithin(1),
        Op::TryPushWithin(2),
        Op::TryPushOrCount,
        Op::TryPushAndWait,
    ];
    let consumer = There::new();
    run_all(&consumer, &fills, &outers, &BY_OTHERS, |_| true);
    run_all(&consumer, &fills, &outers, &BY_HANDLERS, |_| true);
    run_all(&consumer, &fills, &[Op::Push], &BY_OTHERS[..1], |case| {
        case.innermost == Op::TryPush && case.fill.ring + 1 < case.fill.capacity
    });
}

/// Does `run` without the hook.
fn unhooked(run: impl FnOnce()) {
    hooked(&|| (), run);
}

/// Counts the steps that `call` takes until it sleeps without a timeout. `wake` ends its sleep.
fn steps_until_asleep(call: impl FnOnce() + Send, wake: impl FnOnce()) -> u64 {
    // Otherwise the first waits of the process take many naps, and so many steps more than others.
    #[cfg(target_os = "linux")]
    barriers::register();
    let steps = &AtomicU64::new(0);
    let count = move || {
        steps.fetch_add(1, Ordering::Relaxed);
    };
    thread::scope(|scope| {
        scope.spawn(move || hooked(&count, call));
        let mut seen = (0, 0);
        // It sleeps if it takes no step for so long. If the machine was only busy, the test tries
        // fewer steps.
        while seen.0 == 0 || seen.1 < 10 {
            thread::sleep(Duration::from_millis(10));
            let now = steps.load(Ordering::Relaxed);
            seen = if now == seen.0 { (now, seen.1 + 1) } else { (now, 0) };
        }
        wake();
        seen.0
    })
}

/// Pops, and at each step before it sleeps lets `nested` push what wakes it.
fn a_nested_push_wakes_a_pop(linger: Duration, nested: fn(&bywash::Producer<u64>, u64)) {
    watch();
    let (producer, mut consumer) = bywash::bounded(2);
    consumer.linger(linger, 2);
    // It binds, and lingers because it has popped something. Steps differ without that.
    let pop_first = |consumer: &mut bywash::Consumer<u64>| {
        producer.push(0).unwrap();
        assert_eq!(consumer.try_iter().last(), Some(0));
        producer.push(0).unwrap();
        assert_eq!(consumer.pop(), Ok(0));
    };
    let consumer = &mut consumer;
    let until = steps_until_asleep(
        || {
            unhooked(|| pop_first(consumer));
            assert_eq!(consumer.pop(), Ok(1));
        },
        || nested(&producer, 1),
    );
    for at in 0..until {
        // What is left of the last time, too.
        consumer.try_iter().for_each(drop);
        pop_first(consumer);
        interrupt_at(
            at,
            &AtomicU64::new(0),
            || nested(&producer, at),
            || assert_eq!(consumer.pop(), Ok(at)),
        );
    }
    println!("{until} steps");
}

#[test]
fn a_push_nested_in_a_pop_that_is_about_to_sleep_wakes_it() {
    a_nested_push_wakes_a_pop(Duration::ZERO, |producer, item| producer.try_push(item).unwrap());
}

#[test]
fn enough_pushes_nested_in_a_pop_that_is_about_to_linger_wake_it() {
    a_nested_push_wakes_a_pop(Duration::MAX, |producer, item| {
        (0..2).for_each(|_| producer.try_push(item).unwrap());
    });
}

#[test]
fn to_wake_it_in_a_pop_that_is_about_to_linger_does() {
    a_nested_push_wakes_a_pop(Duration::MAX, |producer, item| {
        producer.try_push(item).unwrap();
        producer.wake_consumer();
    });
}

#[test]
fn a_pop_while_a_push_is_about_to_sleep_wakes_it() {
    watch();
    let (producer, mut consumer) = bywash::bounded(1);
    producer.push(0).unwrap();
    // Pops on another thread than the pushes, whose thread would otherwise be the consumer's.
    let until =
        steps_until_asleep(|| producer.push(1).unwrap(), || assert_eq!(consumer.pop(), Ok(0)));
    let remote = There::new();
    let consumer = Arc::new(std::sync::Mutex::new(consumer));
    for at in 0..until {
        let pop = || {
            let consumer = consumer.clone();
            remote.run(move || assert_eq!(consumer.lock().unwrap().try_pop(), Ok(at + 1)));
        };
        interrupt_at(at, &AtomicU64::new(0), pop, || producer.push(at + 2).unwrap());
    }
    println!("{until} steps");
}

/// Three pushes are blocked. Two of them stop when they are woken, until `pop` has returned the
/// item of the third.
fn the_third_push_passes_two_that_were_woken_and_stopped(
    pop: fn(&mut bywash::Consumer<u32>) -> Option<u32>,
) {
    watch();
    let (producer, mut consumer) = bywash::bounded(1);
    consumer.bind();
    producer.push(0).unwrap();
    let is_stopping = AtomicBool::new(false);
    thread::scope(|scope| {
        for item in 1..=3 {
            let (producer, is_stopping) = (producer.clone(), &is_stopping);
            let stop = move || {
                while item < 3 && is_stopping.load(Ordering::Relaxed) {
                    thread::sleep(Duration::from_millis(1));
                }
            };
            scope.spawn(move || hooked(&stop, || producer.push(item).unwrap()));
            // The pushes go to sleep in this order. If the machine was only busy, the test tries
            // less.
            thread::sleep(Duration::from_millis(100));
        }
        is_stopping.store(true, Ordering::Relaxed);
        assert_eq!(pop(&mut consumer), Some(0));
        while pop(&mut consumer) != Some(3) {}
        is_stopping.store(false, Ordering::Relaxed);
        drop(producer);
        assert_eq!(consumer.iter().sum::<u32>(), 1 + 2);
    });
}

#[test]
fn polling_lets_a_push_pass_two_that_were_woken_and_stopped() {
    the_third_push_passes_two_that_were_woken_and_stopped(|consumer| consumer.try_pop().ok());
}

#[test]
fn sleeping_lets_a_push_pass_two_that_were_woken_and_stopped() {
    the_third_push_passes_two_that_were_woken_and_stopped(|consumer| consumer.pop().ok());
}

/// The items share a count of how many of them exist.
type Static = StaticQueue<Arc<()>, 2, 1>;

/// Calls `run` for each step in turn, until the interrupted call ends before that step.
fn at_each_step(run: impl Fn(u64, &AtomicU64)) {
    watch();
    for at in 0.. {
        let steps = AtomicU64::new(0);
        run(at, &steps);
        if steps.load(Ordering::Relaxed) <= at {
            return;
        }
    }
}

/// Pushes until refused, and returns how many items were accepted.
fn fill(queue: &Static, item: &Arc<()>) -> usize {
    std::iter::from_fn(|| queue.try_push(item.clone()).ok()).count()
}

#[test]
fn what_is_pushed_while_the_consumer_of_a_static_queue_is_claimed_is_popped_by_it() {
    for is_first in [true, false] {
        at_each_step(|at, steps| {
            let (queue, item, accepted) = (Static::new(), Arc::new(()), Cell::new(0));
            if !is_first {
                drop(queue.consumer());
            }
            let mut consumer = None;
            interrupt_at(
                at,
                steps,
                || accepted.set(fill(&queue, &item)),
                || consumer = queue.consumer(),
            );
            let mut consumer = consumer.unwrap();
            assert_eq!(consumer.try_iter().count(), accepted.get());
            assert_eq!(fill(&queue, &item), 3, "it is open, and this is its thread");
            drop(consumer);
            assert_eq!(Arc::strong_count(&item), 1);
        });
    }
}

#[test]
fn what_is_pushed_while_the_consumer_of_a_static_queue_is_dropped_is_dropped_with_it_or_refused() {
    for left in 0..=3 {
        at_each_step(|at, steps| {
            let (queue, item) = (Static::new(), Arc::new(()));
            let mut consumer = queue.consumer().unwrap();
            consumer.bind();
            (0..left).for_each(|_| queue.try_push(item.clone()).unwrap());
            let push = || {
                fill(&queue, &item);
                thread::scope(|scope| _ = scope.spawn(|| fill(&queue, &item)));
            };
            interrupt_at(at, steps, push, || drop(consumer));
            assert!(queue.is_empty() && Arc::strong_count(&item) == 1);
            assert!(queue.try_push(item.clone()).unwrap_err().is_closed());
            assert!(queue.consumer().unwrap().try_pop().is_err());
        });
    }
}

/// The consumer of a static queue is dropped at any step of a push, and then the next one is
/// claimed. The next one pops what the first has not dropped.
#[test]
fn a_push_into_a_static_queue_is_not_lost_between_two_consumers() {
    type Push = fn(&Static, Arc<()>) -> Result<(), TryPushError<Arc<()>>>;
    let pushes: [Push; 4] = [
        |queue, item| queue.try_push(item),
        |queue, item| queue.try_push_within(item, 1),
        |queue, item| queue.try_push_or_count(item),
        |queue, item| queue.try_push_and_wait(item, Duration::ZERO).map(|_| ()),
    ];
    for (push, left) in pushes.into_iter().flat_map(|push| (0..=3).map(move |left| (push, left))) {
        at_each_step(|at, steps| {
            let (queue, item, others) = (Static::new(), Arc::new(()), Arc::new(()));
            let consumer = RefCell::new(queue.consumer());
            consumer.borrow_mut().as_mut().unwrap().bind();
            (0..left).for_each(|_| queue.try_push(others.clone()).unwrap());
            let dropped = Cell::new(0);
            let replace = || {
                let before = Arc::strong_count(&item);
                consumer.take();
                dropped.set(before - Arc::strong_count(&item));
                consumer.replace(queue.consumer());
            };
            let mut accepted = 0;
            interrupt_at(at, steps, replace, || {
                accepted = usize::from(push(&queue, item.clone()).is_ok())
            });
            let popped = consumer
                .take()
                .unwrap()
                .try_iter()
                .filter(|popped| Arc::ptr_eq(popped, &item))
                .count();
            assert_eq!(accepted, popped + dropped.get());
            assert_eq!((Arc::strong_count(&item), Arc::strong_count(&others)), (1, 1));
        });
    }
}

#[test]
fn pops_that_time_out_let_a_push_pass_two_that_were_woken_and_stopped() {
    the_third_push_passes_two_that_were_woken_and_stopped(|consumer| {
        consumer.pop_timeout(Duration::ZERO).ok()
    });
}

#[test]
fn a_push_with_a_timeout_of_zero_only_tries() {
    let (producer, _consumer) = bywash::bounded(1);
    producer.push(0).unwrap();
    let count = |call: &dyn Fn()| {
        let steps = AtomicU64::new(0);
        interrupt_at(u64::MAX, &steps, || {}, call);
        steps.into_inner()
    };
    let tried = count(&|| assert!(producer.try_push(1).is_err()));
    assert_eq!(count(&|| assert!(producer.push_timeout(1, Duration::ZERO).is_err())), tried);
}
