//! `try_push_or_count` and `take_lost`: each lost item is reported once, and in its place.
#![cfg(all(feature = "std", not(bywash_loom)))]

#[cfg(target_os = "linux")]
#[allow(dead_code, reason = "other tests use the rest")]
#[path = "support/signals.rs"]
mod signals;
mod support;

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use bywash::{Builder, Consumer, Producer, StaticQueue, TryPushError};
use support::{pin, watch};

/// A queue on which this thread may pop and still be refused.
fn without_bypass(capacity: usize) -> (Producer<u64>, Consumer<u64>) {
    Builder::new(capacity).bypass(0).build()
}

/// Pushes `items`, and returns how many were refused.
fn push_all(producer: &Producer<u64>, items: std::ops::Range<u64>) -> u64 {
    items.map(|item| u64::from(producer.try_push_or_count(item).is_err())).sum()
}

/// What a reader of the stream sees: each item, and how many are reported lost right after it.
fn read(consumer: &mut Consumer<u64>) -> Vec<(u64, u64)> {
    std::iter::from_fn(|| consumer.try_pop().ok().map(|item| (item, consumer.take_lost())))
        .collect()
}

#[test]
fn a_run_is_reported_after_the_item_that_it_follows() {
    for capacity in 1..=4 {
        let (producer, mut consumer) = without_bypass(capacity as usize);
        for first in [0, 10, 20] {
            assert_eq!(push_all(&producer, first..first + capacity + 3), 3);
            let expected = (first..first + capacity)
                .map(|item| (item, if item == first + capacity - 1 { 3 } else { 0 }));
            assert!(
                read(&mut consumer).into_iter().eq(expected),
                "capacity {capacity}, from {first}"
            );
            assert_eq!(consumer.take_lost(), 0);
        }
    }
}

#[test]
fn nothing_is_reported_before_what_was_pushed_earlier_is_popped() {
    let (producer, mut consumer) = without_bypass(2);
    assert_eq!(push_all(&producer, 0..3), 1);
    assert_eq!(consumer.take_lost(), 0);
    assert_eq!(consumer.try_pop(), Ok(0));
    assert_eq!(consumer.take_lost(), 0);
    assert_eq!(consumer.try_pop(), Ok(1));
    assert_eq!(consumer.take_lost(), 1);
}

#[test]
fn runs_within_a_lap_are_reported_in_the_place_of_the_first() {
    let (producer, mut consumer) = without_bypass(2);
    assert_eq!(push_all(&producer, 0..3), 1);
    assert_eq!((consumer.try_pop(), consumer.take_lost()), (Ok(0), 0));
    // 3 is accepted, and 4 and 5 are refused after it. The consumer has not reached the first place
    // yet.
    assert_eq!(push_all(&producer, 3..6), 2);
    assert_eq!(read(&mut consumer), [(1, 3), (3, 0)]);
}

#[test]
fn the_next_run_has_a_place_of_its_own() {
    let (producer, mut consumer) = without_bypass(2);
    assert_eq!(push_all(&producer, 0..3), 1);
    assert_eq!((consumer.try_pop(), consumer.take_lost()), (Ok(0), 0));
    assert_eq!((consumer.try_pop(), consumer.take_lost()), (Ok(1), 1));
    assert_eq!(push_all(&producer, 3..9), 4);
    assert_eq!(read(&mut consumer), [(3, 0), (4, 4)]);
}

#[test]
fn only_refused_and_counted_pushes_count() {
    let (producer, mut consumer) = without_bypass(1);
    assert_eq!(producer.try_push_or_count(0), Ok(()));
    assert_eq!(producer.try_push(1), Err(TryPushError::Full(1)));
    assert_eq!(producer.try_push_within(2, 1), Err(TryPushError::Full(2)));
    assert!(
        thread::scope(|scope| scope
            .spawn(|| producer.push_timeout(3, Default::default()))
            .join()
            .unwrap())
        .is_err()
    );
    assert_eq!(producer.try_push_or_count(4), Err(TryPushError::Full(4)));
    consumer.close();
    assert_eq!(producer.try_push_or_count(5), Err(TryPushError::Closed(5)));
    assert_eq!(read(&mut consumer), [(0, 1)]);
}

#[test]
fn what_the_bypass_takes_is_not_lost_and_what_it_refuses_is() {
    let (producer, mut consumer) = Builder::new(2).bypass(2).build();
    consumer.bind();
    assert_eq!(push_all(&producer, 0..7), 3);
    let reported = read(&mut consumer);
    assert!(reported.iter().map(|entry| entry.0).eq(0..4));
    assert_eq!(reported.iter().map(|entry| entry.1).sum::<u64>(), 3);
}

#[test]
fn a_static_queue_counts_too() {
    static QUEUE: StaticQueue<u64, 1, 0> = StaticQueue::new();
    // This counts before there is a consumer, too.
    assert_eq!([0, 1, 2].map(|item| QUEUE.try_push_or_count(item).is_ok()), [true, false, false]);
    let mut consumer = QUEUE.consumer().unwrap();
    assert_eq!(consumer.take_lost(), 0);
    assert_eq!((consumer.try_pop(), consumer.take_lost()), (Ok(0), 2));
}

/// With one producer every place can be checked: the items are consecutive numbers, so a gap shows
/// what was lost.
#[test]
fn the_place_is_right_within_a_lap_while_the_producer_goes_on() {
    watch();
    for capacity in [1, 2, 7, 64] {
        let (producer, mut consumer) = without_bypass(capacity);
        let (refused, reported) = thread::scope(|scope| {
            let refusing = scope.spawn(move || {
                pin(0);
                push_all(&producer, 0..100_000)
            });
            let mut reported = Vec::new();
            while let Ok(item) = consumer.pop() {
                reported.push((item, consumer.take_lost()));
                if reported.len() % 100 == 0 {
                    thread::yield_now();
                }
            }
            let total = reported.iter().map(|entry| entry.1).sum::<u64>() + consumer.take_lost();
            let refused = refusing.join().unwrap();
            assert_eq!(total, refused);
            (refused, reported)
        });
        let missing_before =
            |index: usize| reported.get(index).map_or(refused, |&(item, _)| item - index as u64);
        let mut sum = 0;
        for (index, (item, lost)) in reported.iter().enumerate() {
            sum += lost;
            let due = index.saturating_sub(capacity);
            assert!(
                sum >= if due == 0 { 0 } else { missing_before(due) },
                "reported too late, at {item}"
            );
            assert!(sum <= missing_before(index + 1 + capacity), "reported too early, at {item}");
        }
    }
}

#[test]
fn several_producers_lose_nothing_from_the_count() {
    watch();
    for capacity in [1, 3, 16] {
        let (producer, mut consumer) = without_bypass(capacity);
        let refused = AtomicU64::new(0);
        thread::scope(|scope| {
            for core in 0..3 {
                let (producer, refused) = (producer.clone(), &refused);
                scope.spawn(move || {
                    pin(core);
                    refused.fetch_add(push_all(&producer, 0..50_000), Ordering::Relaxed);
                });
            }
            drop(producer);
            let (mut popped, mut reported) = (0, 0);
            while consumer.pop().is_ok() {
                popped += 1;
                reported += consumer.take_lost();
            }
            reported += consumer.take_lost();
            assert_eq!((reported, popped + reported), (refused.load(Ordering::Relaxed), 150_000));
        });
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_handler_that_counts_on_top_of_a_count_loses_nothing_from_it() {
    use signals::{Timer, handle};
    use std::time::Duration;

    static QUEUE: StaticQueue<u64, 2, 0> = StaticQueue::new();
    static REFUSED: AtomicU64 = AtomicU64::new(0);
    static ACCEPTED: AtomicU64 = AtomicU64::new(0);

    fn push() {
        let count = if QUEUE.try_push_or_count(0).is_ok() { &ACCEPTED } else { &REFUSED };
        count.fetch_add(1, Ordering::Relaxed);
    }
    extern "C" fn handler(_signal: libc::c_int) {
        push();
    }

    watch();
    handle(libc::SIGUSR1, handler);
    let mut consumer = QUEUE.consumer().unwrap();
    let pushing = thread::spawn(|| {
        let _timer = Timer::on_this_thread(libc::SIGUSR1, Duration::from_micros(50));
        (0..300_000).for_each(|_| push());
    });
    let (mut popped, mut reported) = (0, 0);
    while !pushing.is_finished() {
        popped += u64::from(consumer.try_pop().is_ok());
        reported += consumer.take_lost();
    }
    popped += consumer.try_iter().count() as u64;
    reported += consumer.take_lost();
    assert_eq!(
        (popped, reported),
        (ACCEPTED.load(Ordering::Relaxed), REFUSED.load(Ordering::Relaxed))
    );
}

/// Run with `RUSTFLAGS="--cfg bywash_steps"`.
#[cfg(bywash_steps)]
mod at_every_step {
    use super::*;
    use bywash::steps::hooked;
    use std::cell::Cell;
    use std::sync::Mutex;

    #[test]
    fn a_handler_counts_on_top_of_a_count() {
        for at in 0.. {
            let (producer, mut consumer) = without_bypass(2);
            let mut refused = push_all(&producer, 0..3);
            let (step, nested) = (Cell::new(0), Cell::new(0));
            let hook = || {
                if step.replace(step.get() + 1) == at {
                    nested.set(push_all(&producer, 10..13));
                }
            };
            refused += hooked(&hook, || push_all(&producer, 8..9));
            refused += nested.get();
            assert_eq!(read(&mut consumer), [(0, 0), (1, refused)], "at step {at}");
            if step.get() <= at {
                break;
            }
        }
    }

    /// The consumer runs in between, pops, and takes what was counted.
    #[test]
    fn the_consumer_takes_on_top_of_a_count() {
        for at in 0.. {
            let (producer, consumer) = without_bypass(2);
            let mut refused = push_all(&producer, 0..3);
            let (step, reported) = (Cell::new(0), Cell::new(0));
            let consumer = Mutex::new(consumer);
            let take =
                || read(&mut consumer.lock().unwrap()).iter().map(|entry| entry.1).sum::<u64>();
            let hook = || {
                if step.replace(step.get() + 1) == at {
                    reported.set(thread::scope(|scope| scope.spawn(take).join().unwrap()));
                    assert_eq!(reported.get(), 1, "at step {at}");
                }
            };
            refused += hooked(&hook, || push_all(&producer, 8..9));
            refused += push_all(&producer, 10..13);
            assert_eq!(reported.get() + take(), refused, "at step {at}");
            if step.get() <= at {
                break;
            }
        }
    }

    /// The consumer takes the count, and a push is refused at each step of that.
    #[test]
    fn a_handler_counts_on_top_of_the_taking() {
        for at in 0.. {
            let (producer, mut consumer) = without_bypass(2);
            let mut refused = push_all(&producer, 0..4);
            assert_eq!((consumer.try_pop(), consumer.try_pop()), (Ok(0), Ok(1)));
            let (step, nested) = (Cell::new(0), Cell::new(0));
            let hook = || {
                if step.replace(step.get() + 1) == at {
                    nested.set(push_all(&producer, 10..15));
                }
            };
            let mut reported = hooked(&hook, || consumer.take_lost());
            refused += nested.get();
            reported += read(&mut consumer).iter().map(|entry| entry.1).sum::<u64>();
            assert_eq!(reported + consumer.take_lost(), refused, "at step {at}");
            if step.get() <= at {
                break;
            }
        }
    }
}
