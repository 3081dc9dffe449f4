//! `try_push_within`: a push that leaves the rest of the ring to others.
#![cfg(all(feature = "std", not(bywash_loom)))]

mod support;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use bywash::{Builder, Producer, StaticQueue, TryPushError, bounded};
use support::{pin, watch};

/// Pushes within `limit` until refused. Returns how many were accepted.
fn fill(producer: &Producer<usize>, limit: usize) -> usize {
    (0..).take_while(|&item| producer.try_push_within(item, limit).is_ok()).count()
}

#[test]
fn as_many_as_the_limit_get_in_at_any_place_of_the_ring() {
    for capacity in 1..=5 {
        for limit in 0..=capacity + 2 {
            let (producer, mut consumer) = bounded(capacity);
            for _ in 0..3 * capacity {
                assert_eq!(
                    fill(&producer, limit),
                    limit.min(capacity),
                    "capacity {capacity}, limit {limit}"
                );
                assert_eq!(producer.len(), limit.min(capacity));
                assert!(consumer.try_iter().eq(0..limit.min(capacity)));
                // So that the next round begins one slot further on.
                producer.try_push(0).unwrap();
                assert_eq!(consumer.try_pop(), Ok(0));
            }
        }
    }
}

#[test]
fn a_limit_of_0_lets_nothing_in_and_hands_the_item_back() {
    let (producer, mut consumer) = bounded(2);
    let item = Box::new(7);
    assert_eq!(producer.try_push_within(item, 0), Err(TryPushError::Full(Box::new(7))));
    assert!(consumer.try_pop().is_err());
}

#[test]
fn the_largest_limit_is_the_capacity() {
    let (producer, mut consumer) = bounded(3);
    assert_eq!(fill(&producer, usize::MAX), 3);
    assert_eq!(consumer.try_pop(), Ok(0));
    assert_eq!(fill(&producer, usize::MAX), 1);
}

#[test]
fn all_pushes_count_and_keep_one_order() {
    let (producer, mut consumer) = bounded(4);
    producer.try_push(0).unwrap();
    producer.try_push_within(1, 2).unwrap();
    assert_eq!(producer.try_push_within(9, 2), Err(TryPushError::Full(9)));
    producer.push(2).unwrap();
    assert_eq!(producer.try_push_many(&mut VecDeque::from([3, 4])), Ok(1));
    assert_eq!(producer.try_push_within(9, 4), Err(TryPushError::Full(9)));
    // Two slots are free, and the limit leaves one of them to others.
    assert!(consumer.try_iter().take(2).eq([0, 1]));
    producer.try_push_within(4, 3).unwrap();
    assert_eq!(producer.try_push_within(9, 3), Err(TryPushError::Full(9)));
    producer.try_push(5).unwrap();
    assert!(consumer.try_iter().eq(2..=5));
}

#[test]
fn a_closed_queue_returns_closed_whatever_the_limit() {
    for limit in [0, 1, 9] {
        let (producer, mut consumer) = bounded(1);
        if limit == 9 {
            producer.try_push(0).unwrap();
        }
        consumer.close();
        assert_eq!(producer.try_push_within(1, limit), Err(TryPushError::Closed(1)));
    }
}

#[test]
fn a_push_within_a_limit_never_takes_the_bypass() {
    let (producer, mut consumer) = Builder::new(2).bypass(4).build();
    consumer.bind();
    for limit in [1, 2, 9] {
        fill(&producer, limit);
        assert_eq!((producer.len(), producer.bypassed()), (limit.min(2), 0));
    }
    producer.try_push(2).unwrap();
    assert_eq!(producer.bypassed(), 1);
    assert_eq!(consumer.try_pop(), Ok(0));
    // The ring has room again, and the new item comes after what is in the bypass.
    producer.try_push_within(3, 2).unwrap();
    assert!(consumer.try_iter().eq([0, 2, 3]));
    assert_eq!(producer.bypassed(), 1);
}

#[test]
fn a_static_queue_has_it_too() {
    static QUEUE: StaticQueue<usize, 3, 1> = StaticQueue::new();
    QUEUE.try_push_within(0, 2).unwrap();
    QUEUE.try_push_within(1, 2).unwrap();
    assert_eq!(QUEUE.try_push_within(2, 2), Err(TryPushError::Full(2)));
    let mut consumer = QUEUE.consumer().unwrap();
    assert!(consumer.try_iter().eq(0..2));
    drop(consumer);
    assert_eq!(QUEUE.try_push_within(2, 2), Err(TryPushError::Closed(2)));
}

#[test]
fn it_wakes_a_sleeping_consumer() {
    watch();
    let (producer, mut consumer) = bounded(1);
    let sleeping = thread::spawn(move || consumer.pop());
    support::settle();
    producer.try_push_within(1, 1).unwrap();
    assert_eq!(sleeping.join().unwrap(), Ok(1));
}

/// Two producers race for the last slot. The length that the consumer sees is exact, because only
/// its own thread frees slots.
#[test]
fn racing_producers_never_exceed_the_limit_and_keep_their_order() {
    watch();
    for (capacity, limit) in [(8, 1), (8, 3), (4, 4), (5, 9)] {
        const ITEMS: usize = 20_000;
        let (producer, mut consumer) = bounded(capacity);
        thread::scope(|scope| {
            for core in 0..2 {
                let producer = producer.clone();
                scope.spawn(move || {
                    pin(core);
                    for i in 0..ITEMS {
                        while producer.try_push_within((core, i), limit).is_err() {
                            thread::yield_now();
                        }
                    }
                });
            }
            drop(producer);
            let mut next = [0, 0];
            while next != [ITEMS; 2] {
                let len = consumer.len();
                assert!(len <= limit.min(capacity), "{len} of {limit}");
                if let Ok((core, i)) = consumer.try_pop() {
                    assert_eq!(i, next[core]);
                    next[core] += 1;
                } else {
                    thread::yield_now();
                }
            }
        });
    }
}

/// Debug lines flood the queue, and other lines still find the room that the limit leaves them.
#[test]
fn a_flood_leaves_the_rest_of_the_ring_free() {
    watch();
    let (producer, mut consumer) = bounded(4);
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        for core in 0..2 {
            let (producer, is_over) = (&producer, &is_over);
            scope.spawn(move || {
                pin(core);
                while !is_over.load(Ordering::Relaxed) {
                    let _ = producer.try_push_within("debug", 3);
                }
            });
        }
        for _ in 0..2_000 {
            // No one else takes the fourth slot, so it is free again each time the consumer has
            // emptied the queue.
            assert_eq!(producer.try_push("error"), Ok(()));
            while consumer.try_pop() != Ok("error") {}
        }
        is_over.store(true, Ordering::Relaxed);
    });
}

/// Run with `RUSTFLAGS="--cfg bywash_steps"`.
#[cfg(bywash_steps)]
#[test]
fn nested_pushes_at_every_step_do_not_exceed_the_limit() {
    use bywash::steps::hooked;
    use std::cell::Cell;

    for (capacity, limit, before) in [(4, 2, 0), (4, 2, 1), (4, 2, 2), (2, 2, 1), (1, 1, 0)] {
        for at in 0.. {
            let (producer, mut consumer) = bounded(capacity);
            (0..before).for_each(|item| producer.try_push(item).unwrap());
            let (step, nested) = (Cell::new(0), Cell::new(0));
            let nest = || {
                if step.replace(step.get() + 1) == at {
                    nested.set(fill(&producer, limit));
                }
            };
            let outer = hooked(&nest, || producer.try_push_within(9, limit).is_ok());
            if step.get() <= at {
                break;
            }
            assert_eq!(before + nested.get() + usize::from(outer), limit, "at step {at}");
            assert_eq!(consumer.try_iter().count(), limit);
        }
    }
}
