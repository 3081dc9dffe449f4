//! What a queue counts for a program's metrics, and the push that waits and then counts.
#![cfg(all(feature = "std", not(bywash_loom)))]

mod support;

use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use bywash::{Builder, Consumer, Counts, PushTimeoutError, StaticQueue, bounded};
use support::watch;

/// So long that it never ends: the watchdog ends the test before.
const LONG: Duration = Duration::from_secs(3_600);
const SHORT: Duration = Duration::from_millis(5);

fn lost(counts: Counts) -> (u64, u64) {
    (counts.lost, counts.unreported)
}

#[test]
fn what_was_lost_is_counted_for_good_and_what_was_not_reported_until_it_is() {
    watch();
    let (producer, mut consumer) = bounded(2);
    assert_eq!(lost(producer.counts()), (0, 0));
    for round in 1..=3 {
        (0..7).for_each(|i| _ = producer.try_push_or_count(i));
        assert_eq!(lost(producer.counts()), (5 * round, 5));
        assert_eq!(consumer.take_lost(), 0, "it is not their place yet");
        consumer.unbind();
        assert_eq!(lost(producer.counts()), (5 * round, 5));
        while consumer.try_pop().is_ok() {}
        assert_eq!(consumer.take_lost(), 5);
        assert_eq!(lost(producer.counts()), (5 * round, 0));
        // Else the next round's pushes would take the bypass.
        consumer.unbind();
    }
}

#[test]
fn counts_stay_with_a_static_queue_when_its_consumer_changes() {
    static QUEUE: StaticQueue<u8, 1, 0> = StaticQueue::new();
    watch();
    (0..4).for_each(|i| _ = QUEUE.try_push_or_count(i));
    drop(QUEUE.consumer());
    assert_eq!(lost(QUEUE.counts()), (3, 3));
    assert_eq!(QUEUE.consumer().unwrap().take_lost(), 3);
    assert_eq!(lost(QUEUE.counts()), (3, 0));
    assert_eq!(QUEUE.push_timeout_or_count(0, SHORT), Err(PushTimeoutError::Closed(0)));
    assert_eq!(lost(QUEUE.counts()), (3, 0));
}

/// Each way to find nothing.
fn pops() -> [fn(&mut Consumer<u32>); 4] {
    [
        |consumer| while consumer.try_pop().is_ok() {},
        |consumer| while consumer.pop_timeout(SHORT).is_ok() {},
        |consumer| while consumer.pop_timeout(Duration::ZERO).is_ok() {},
        |consumer| while consumer.try_pop_many(&mut Vec::new(), 3).is_ok() {},
    ]
}

#[test]
fn the_high_water_mark_is_that_of_the_largest_burst() {
    watch();
    for drain in pops() {
        let (producer, mut consumer) = bounded(100);
        let high_water = || producer.counts().high_water;
        let mut burst = |items| {
            (0..items).for_each(|i| producer.push(i).unwrap());
            let before = high_water();
            drain(&mut consumer);
            assert_eq!(high_water(), before, "whether the items are still there or not");
            before
        };
        assert_eq!([3, 1, 7, 2, 7, 100, 5].map(&mut burst), [3, 3, 7, 7, 7, 100, 100]);
    }
}

#[test]
fn the_high_water_mark_is_never_above_the_capacity_nor_below_the_fill() {
    watch();
    let (producer, mut consumer) = Builder::new(5).bypass(100).build();
    let mut most = 0;
    consumer.bind();
    let mut random = 1_u32;
    let mut below = |limit| {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (random >> 16) % limit
    };
    for _ in 0..1000 {
        // Where it does not fit, it takes the bypass.
        (0..below(4)).for_each(|i| producer.push(i).unwrap());
        most = most.max(producer.len().min(5));
        assert!((most..=5).contains(&producer.counts().high_water));
        (0..below(5)).for_each(|_| _ = consumer.try_pop());
    }
    assert_eq!(most, 5);
}

#[test]
fn a_push_that_finds_no_room_in_time_is_counted_in_its_place() {
    watch();
    let (producer, mut consumer) = bounded(1);
    assert_eq!(producer.push_timeout_or_count(1, LONG), Ok(()));
    assert_eq!(producer.push_timeout_or_count(2, SHORT), Err(PushTimeoutError::Timeout(2)));
    let zero = producer.push_timeout_or_count(3, Duration::ZERO);
    assert_eq!(zero, Err(PushTimeoutError::Timeout(3)));
    assert_eq!(lost(producer.counts()), (2, 2));
    assert_eq!(consumer.take_lost(), 0);
    assert_eq!(consumer.try_pop(), Ok(1));
    assert_eq!(consumer.take_lost(), 2);
}

#[test]
fn a_push_that_gets_room_while_it_waits_is_not_counted() {
    watch();
    let (producer, mut consumer) = bounded(1);
    producer.push(1).unwrap();
    let (waits, is_waiting) = channel();
    thread::scope(|scope| {
        scope.spawn(|| {
            waits.send(()).unwrap();
            assert_eq!(producer.push_timeout_or_count(2, LONG), Ok(()));
        });
        is_waiting.recv().unwrap();
        support::settle();
        assert_eq!((consumer.pop(), consumer.pop()), (Ok(1), Ok(2)));
    });
    assert_eq!(lost(producer.counts()), (0, 0));
}

#[test]
fn a_push_that_must_not_wait_is_counted_at_once_and_one_into_a_closed_queue_is_not() {
    watch();
    let (producer, mut consumer) = Builder::new(1).bypass(1).build();
    consumer.bind();
    assert_eq!(producer.push_timeout_or_count(1, LONG), Ok(()));
    assert_eq!(producer.push_timeout_or_count(2, LONG), Ok(()));
    for timeout in [LONG, Duration::ZERO] {
        let refused = producer.push_timeout_or_count(3, timeout);
        assert_eq!(refused, Err(PushTimeoutError::WouldDeadlock(3)));
    }
    assert_eq!(lost(producer.counts()), (2, 2));
    drop(consumer);
    for timeout in [LONG, Duration::ZERO] {
        let refused = producer.push_timeout_or_count(3, timeout);
        assert_eq!(refused, Err(PushTimeoutError::Closed(3)));
    }
    assert_eq!(lost(producer.counts()), (2, 2));
}
