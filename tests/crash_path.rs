//! `try_push_and_wait`, for handlers of fatal signals: the consumer has the report before the
//! program ends.
#![cfg(all(feature = "std", unix, not(bywash_loom)))]

#[path = "support/handlers.rs"]
mod handlers;
#[cfg(target_os = "linux")]
#[allow(dead_code, reason = "other tests use the rest")]
#[path = "support/signals.rs"]
mod signals;
mod support;

use std::cell::Cell;
use std::thread;
use std::time::{Duration, Instant};

use bywash::{Builder, Consumer, Producer, StaticQueue, TryPushError, bounded};
use handlers::{at_next_signal, in_handler, install, send};
use support::{settle, watch};

/// A timeout that never ends: a test that waits so long hangs.
const FOREVER: Duration = Duration::MAX;
const SIGNALS: [libc::c_int; 3] = [libc::SIGSEGV, libc::SIGUSR1, libc::SIGABRT];

/// Starts a thread that pops until the queue is closed. It returns what it popped.
fn drain<T: Send + 'static>(mut consumer: Consumer<T>) -> thread::JoinHandle<Vec<T>> {
    thread::spawn(move || consumer.iter().collect())
}

/// Pushes `signal` in a handler of that signal, raised on this thread.
fn push_in_handler(
    signal: libc::c_int,
    producer: &Producer<i32>,
    timeout: Duration,
) -> Result<bool, TryPushError<i32>> {
    let result = Cell::new(None);
    in_handler(signal, &|| result.set(Some(producer.try_push_and_wait(signal, timeout))));
    result.get().unwrap()
}

#[test]
fn a_handler_waits_until_its_item_is_popped() {
    watch();
    for signal in SIGNALS {
        let (producer, consumer) = bounded(4);
        let consumer = drain(consumer);
        (0..3).for_each(|item| producer.push(item).unwrap());
        assert_eq!(push_in_handler(signal, &producer, FOREVER), Ok(true));
        // The only item in the queue was popped.
        assert!(producer.is_empty());
        drop(producer);
        assert_eq!(consumer.join().unwrap(), [0, 1, 2, signal]);
    }
}

#[test]
fn a_consumer_that_sleeps_is_woken_and_waited_for() {
    watch();
    for signal in SIGNALS {
        let (producer, mut consumer) = bounded(1);
        let sleeping = thread::spawn(move || consumer.pop());
        settle();
        assert_eq!(push_in_handler(signal, &producer, FOREVER), Ok(true));
        assert_eq!(sleeping.join().unwrap(), Ok(signal));
    }
}

#[test]
fn a_handler_waits_for_each_consumer_of_a_static_queue() {
    static QUEUE: StaticQueue<i32, 1, 0> = StaticQueue::new();
    watch();
    assert_eq!(QUEUE.try_push_and_wait(1, Duration::ZERO), Ok(false));
    assert_eq!(QUEUE.try_push_and_wait(2, FOREVER), Err(TryPushError::Full(2)));
    for _ in 0..3 {
        let mut consumer = QUEUE.consumer().unwrap();
        let popping = thread::spawn(move || consumer.iter().find(|&item| item == 3));
        let result = Cell::new(None);
        let push = || result.set(Some(QUEUE.try_push_and_wait(3, FOREVER)));
        in_handler(libc::SIGUSR2, &push);
        while result.get() == Some(Err(TryPushError::Full(3))) {
            in_handler(libc::SIGUSR2, &push);
        }
        assert_eq!((result.get(), popping.join().unwrap()), (Some(Ok(true)), Some(3)));
        assert_eq!(QUEUE.try_push_and_wait(4, FOREVER), Err(TryPushError::Closed(4)));
    }
}

#[test]
fn the_consumers_own_thread_gets_false_at_once() {
    watch();
    let (producer, mut consumer) = Builder::new(1).bypass(1).build();
    consumer.bind();
    assert_eq!(producer.try_push_and_wait(1, FOREVER), Ok(false));
    assert_eq!(push_in_handler(libc::SIGUSR1, &producer, FOREVER), Ok(false));
    assert_eq!(producer.bypassed(), 1);
    assert_eq!(
        push_in_handler(libc::SIGUSR1, &producer, FOREVER),
        Err(TryPushError::Full(libc::SIGUSR1))
    );
    assert!(consumer.try_iter().eq([1, libc::SIGUSR1]));
}

#[test]
fn a_thread_that_the_consumer_depends_on_does_not_wait_for_it() {
    watch();
    let (producer, mut consumer) = bounded(1);
    consumer.bind();
    let domain = consumer.domain();
    thread::scope(|scope| {
        scope.spawn(|| {
            let _inside = domain.enter();
            assert_eq!(push_in_handler(libc::SIGUSR1, &producer, FOREVER), Ok(false));
            assert_eq!(push_in_handler(libc::SIGUSR1, &producer, FOREVER), Ok(false));
        });
    });
    assert_eq!(consumer.try_iter().count(), 2);
}

#[test]
fn a_handler_on_the_thread_that_sleeps_in_pop_wakes_it_and_does_not_wait() {
    watch();
    install(libc::SIGUSR2);
    for _ in 0..20 {
        let (producer, mut consumer) = bounded(1);
        let (result, its) = std::sync::mpsc::channel();
        let sleeping = thread::spawn(move || {
            consumer.bind();
            let producer = producer;
            at_next_signal(libc::SIGUSR2, move || {
                result.send(producer.try_push_and_wait(7, FOREVER)).unwrap()
            });
            consumer.pop()
        });
        thread::sleep(Duration::from_millis(3));
        // The handler does nothing until it has a job.
        let result = loop {
            send(&sleeping, libc::SIGUSR2);
            if let Ok(result) = its.recv_timeout(Duration::from_millis(10)) {
                break result;
            }
        };
        assert_eq!((result, sleeping.join().unwrap()), (Ok(false), Ok(7)));
    }
}

#[test]
fn a_push_waits_until_the_timeout_for_a_consumer_that_does_not_pop() {
    watch();
    for timeout in [0, 1, 3_000, 20_000].map(Duration::from_micros) {
        let (producer, mut consumer) = bounded(1);
        let start = Instant::now();
        assert_eq!(push_in_handler(libc::SIGSEGV, &producer, timeout), Ok(false));
        assert!(start.elapsed() >= timeout);
        // It stays in the queue.
        assert_eq!(consumer.try_pop(), Ok(libc::SIGSEGV));
    }
}

#[test]
fn a_push_waits_no_longer_for_a_consumer_that_is_stuck_in_the_item_before() {
    watch();
    let (producer, mut consumer) = bounded(4);
    let (go_on, wait) = std::sync::mpsc::channel::<()>();
    thread::scope(|scope| {
        let stuck = scope.spawn(move || {
            let first = consumer.pop();
            wait.recv().unwrap();
            (first, consumer.pop())
        });
        assert_eq!(push_in_handler(libc::SIGUSR1, &producer, FOREVER), Ok(true));
        assert_eq!(push_in_handler(libc::SIGUSR1, &producer, Duration::from_millis(5)), Ok(false));
        go_on.send(()).unwrap();
        assert_eq!(stuck.join().unwrap(), (Ok(libc::SIGUSR1), Ok(libc::SIGUSR1)));
    });
}

#[test]
fn a_refused_item_is_handed_back_at_once() {
    watch();
    let (producer, mut consumer) = bounded(2);
    (0..2).for_each(|item| producer.push(item).unwrap());
    assert_eq!(
        push_in_handler(libc::SIGABRT, &producer, FOREVER),
        Err(TryPushError::Full(libc::SIGABRT))
    );
    assert!(consumer.try_iter().eq(0..2));
    drop(consumer);
    assert_eq!(
        push_in_handler(libc::SIGABRT, &producer, FOREVER),
        Err(TryPushError::Closed(libc::SIGABRT))
    );
}

#[test]
fn a_consumer_that_goes_away_meanwhile_ends_the_wait() {
    watch();
    let (producer, consumer) = bounded(1);
    thread::scope(|scope| {
        let waiting = scope.spawn(|| push_in_handler(libc::SIGUSR1, &producer, FOREVER).is_ok());
        while producer.is_empty() {
            thread::yield_now();
        }
        settle();
        drop(consumer);
        assert!(waiting.join().unwrap());
    });
}

#[test]
fn several_waiting_pushes_each_learn_about_their_own_item() {
    watch();
    let (producer, mut consumer) = bounded(8);
    thread::scope(|scope| {
        let waiting: Vec<_> = (0..6)
            .map(|item| {
                let producer = &producer;
                scope.spawn(move || {
                    (item, producer.try_push_and_wait(item, Duration::from_millis(500)))
                })
            })
            .collect();
        while producer.len() < 6 {
            thread::yield_now();
        }
        // A push whose item was not popped returns false. One whose item was popped returns true,
        // or false if its time was over before.
        let popped: Vec<i32> = consumer.try_iter().take(3).collect();
        for thread in waiting {
            let (item, result) = thread.join().unwrap();
            assert!(
                result == Ok(popped.contains(&item)) || result == Ok(false),
                "{item}: {result:?}"
            );
        }
        assert_eq!(consumer.try_iter().count(), 3);
    });
}

#[cfg(target_os = "linux")]
mod on_linux {
    use super::*;
    use signals::{Timer, errno, handle, set_errno};
    use std::sync::atomic::{AtomicUsize, Ordering};

    const MARK: i32 = 1234;

    #[track_caller]
    fn keeps_errno(
        call: impl FnOnce() -> Result<bool, TryPushError<i32>>,
    ) -> Result<bool, TryPushError<i32>> {
        set_errno(MARK);
        let result = call();
        assert_eq!(errno(), MARK);
        result
    }

    #[test]
    fn errno_is_left_alone_however_it_ends() {
        watch();
        let (producer, mut consumer) = bounded(1);
        let push = |timeout| keeps_errno(|| producer.try_push_and_wait(1, timeout));
        assert_eq!(push(Duration::from_millis(5)), Ok(false));
        assert_eq!(push(FOREVER), Err(TryPushError::Full(1)));
        thread::scope(|scope| {
            scope.spawn(|| assert_eq!(consumer.try_pop(), Ok(1))).join().unwrap()
        });
        thread::scope(|scope| {
            let popping = scope.spawn(move || {
                (0..20).for_each(|_| {
                    thread::sleep(Duration::from_millis(3));
                    assert_eq!(consumer.pop(), Ok(1));
                });
            });
            (0..20).for_each(|_| assert_eq!(push(FOREVER), Ok(true)));
            popping.join().unwrap();
        });
        assert_eq!(push(FOREVER), Err(TryPushError::Closed(1)));
    }

    /// What the handler pushes, and no item is.
    const REPORT: usize = usize::MAX;
    static QUEUE: StaticQueue<usize, 64, 0> = StaticQueue::new();
    static TAKEN: AtomicUsize = AtomicUsize::new(0);

    extern "C" fn report(_signal: libc::c_int) {
        set_errno(MARK);
        match QUEUE.try_push_and_wait(REPORT, FOREVER) {
            Ok(true) => _ = TAKEN.fetch_add(1, Ordering::Relaxed),
            Ok(false) => std::process::abort(),
            Err(_) => {}
        }
        if errno() != MARK {
            std::process::abort();
        }
    }

    /// The signal may come in the middle of a push. The consumer then skips the interrupted push
    /// and pops the handler's item.
    #[test]
    fn it_works_on_top_of_any_push_that_the_signal_interrupts() {
        watch();
        handle(libc::SIGURG, report);
        let consumer = QUEUE.consumer().unwrap();
        let mut next = 0;
        thread::scope(|scope| {
            let pushing = scope.spawn(|| {
                let _timer = Timer::on_this_thread(libc::SIGURG, Duration::from_micros(200));
                let mut item = 0;
                while TAKEN.load(Ordering::Relaxed) < 2_000 && !QUEUE.is_closed() {
                    item += usize::from(QUEUE.try_push(item).is_ok());
                }
                item
            });
            // Dropped with a failure too, which ends the pushes.
            let mut consumer = consumer;
            let mut reports = 0;
            while !pushing.is_finished() {
                match consumer.pop_timeout(Duration::from_millis(1)) {
                    Ok(REPORT) => reports += 1,
                    Ok(item) => {
                        assert_eq!(item, next);
                        next += 1;
                    }
                    Err(_) => {}
                }
            }
            next += consumer.try_iter().count();
            assert_eq!((pushing.join().unwrap(), TAKEN.load(Ordering::Relaxed)), (next, reports));
        });
    }
}

/// Run with `RUSTFLAGS="--cfg bywash_steps"`.
#[cfg(bywash_steps)]
mod at_every_step {
    use super::*;
    use bywash::steps::hooked;

    /// Runs `outer`, and before one of its steps, each in turn, pushes 9 in a handler and waits. A
    /// consumer on another thread has `before` items to pop. At some of the steps the interrupted
    /// push has claimed a slot and not published it.
    fn interrupt(before: i32, outer: impl Fn(&Producer<i32>) -> bool) {
        watch();
        for at in 0.. {
            let (producer, consumer) = bounded(16);
            (0..before).for_each(|item| producer.try_push(item).unwrap());
            let consumer = drain(consumer);
            let step = Cell::new(0);
            let hook = || {
                if step.replace(step.get() + 1) == at {
                    in_handler(libc::SIGUSR1, &|| {
                        assert_eq!(producer.try_push_and_wait(9, FOREVER), Ok(true))
                    });
                }
            };
            assert!(hooked(&hook, || outer(&producer)));
            drop(producer);
            let mut popped = consumer.join().unwrap();
            let count = popped.len() as i32;
            popped.retain(|&item| item < 8);
            assert!(popped.into_iter().eq(0..before));
            let is_last = step.get() <= at;
            assert_eq!(count, before + 2 - i32::from(is_last), "at step {at}");
            if is_last {
                break;
            }
        }
    }

    #[test]
    fn a_crash_in_the_middle_of_any_push_is_reported() {
        for before in [0, 2] {
            interrupt(before, |producer| producer.try_push(8).is_ok());
            interrupt(before, |producer| producer.try_push_within(8, 9).is_ok());
            interrupt(before, |producer| producer.try_push_or_count(8).is_ok());
            interrupt(before, |producer| producer.push(8).is_ok());
        }
    }

    /// The outer item is claimed and not published, so it is not popped yet; the consumer skips it
    /// and pops the inner one.
    #[test]
    fn a_crash_in_the_handler_of_a_crash_is_reported() {
        interrupt(0, |producer| producer.try_push_and_wait(8, FOREVER) == Ok(true));
    }

    /// The consumer's thread is this one, interrupted at each step of a pop.
    #[test]
    fn the_consumers_thread_never_waits_for_itself() {
        watch();
        for at in 0.. {
            let (producer, mut consumer) = bounded(4);
            producer.try_push(0).unwrap();
            consumer.bind();
            let step = Cell::new(0);
            let hook = || {
                if step.replace(step.get() + 1) == at {
                    assert_eq!(producer.try_push_and_wait(1, FOREVER), Ok(false));
                }
            };
            assert_eq!(hooked(&hook, || consumer.pop()), Ok(0));
            let is_last = step.get() <= at;
            assert_eq!(consumer.try_iter().count(), usize::from(!is_last));
            if is_last {
                break;
            }
        }
    }

    /// Whatever happens to the item, the wait ends in time.
    #[test]
    fn a_consumer_that_is_dropped_at_any_step_ends_the_wait() {
        watch();
        for at in 0.. {
            let (producer, consumer) = bounded(2);
            let consumer = Cell::new(Some(consumer));
            let step = Cell::new(0);
            let hook = || {
                if step.replace(step.get() + 1) == at {
                    thread::scope(|scope| {
                        let consumer = consumer.take();
                        scope.spawn(move || drop(consumer));
                    });
                }
            };
            let result = hooked(&hook, || producer.try_push_and_wait(1, Duration::from_millis(2)));
            assert!(
                matches!(result, Ok(_) | Err(TryPushError::Closed(1))),
                "at step {at}: {result:?}"
            );
            if step.get() <= at || at > 100 {
                break;
            }
        }
    }
}
