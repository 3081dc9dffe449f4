//! Closing strands no thread, whichever end closes and in whatever state the queue is.
#![cfg(all(feature = "std", not(bywash_loom)))]

mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::Duration;

use bywash::{
    Builder, Consumer, PopError, PopTimeoutError, Producer, PushError, PushTimeoutError,
    TryPopError, bounded,
};
use support::{Tally, Tracked, settle, watch};

/// Blocks several producers in each kind of `push`, calls `close`, and checks that each producer
/// gets its own item back. If a consumer is left, it pops only afterwards, because a pop wakes
/// producers, too.
fn assert_all_blocked_get_their_items_back(
    close: impl FnOnce(Consumer<u32>) -> Option<Consumer<u32>>,
) {
    watch();
    let (producer, consumer) = bounded(2);
    producer.push(100).unwrap();
    producer.push(101).unwrap();
    thread::scope(|scope| {
        let blocked: Vec<_> = (0..6)
            .map(|i| {
                let producer = producer.clone();
                scope.spawn(move || match i % 3 {
                    0 => assert_eq!(producer.push(i), Err(PushError::Closed(i))),
                    1 => assert_eq!(
                        producer.push_timeout(i, Duration::MAX),
                        Err(PushTimeoutError::Closed(i))
                    ),
                    _ => assert_eq!(
                        producer.push_timeout(i, Duration::from_secs(3_600)),
                        Err(PushTimeoutError::Closed(i))
                    ),
                })
            })
            .collect();
        settle();
        let left = close(consumer);
        blocked.into_iter().for_each(|thread| thread.join().unwrap());
        assert!(left.is_none_or(|mut consumer| consumer.iter().eq([100, 101])));
    });
    assert_eq!(producer.push(7), Err(PushError::Closed(7)));
}

#[test]
fn blocked_producers_get_closed_when_the_consumer_is_dropped() {
    assert_all_blocked_get_their_items_back(|consumer| {
        drop(consumer);
        None
    });
}

#[test]
fn blocked_producers_get_closed_when_the_consumer_closes_and_what_is_left_can_be_popped() {
    assert_all_blocked_get_their_items_back(|mut consumer| {
        consumer.close();
        Some(consumer)
    });
}

#[test]
fn blocked_producers_get_closed_when_the_consumer_is_dropped_by_unwinding() {
    assert_all_blocked_get_their_items_back(|consumer| {
        catch_unwind(AssertUnwindSafe(|| {
            let _consumer = consumer;
            panic!("with producers blocked");
        }))
        .unwrap_err();
        None
    });
}

#[test]
fn blocked_producers_get_closed_when_the_consumers_thread_panics() {
    assert_all_blocked_get_their_items_back(|mut consumer| {
        let thread = thread::spawn(move || {
            consumer.bind();
            panic!("with producers blocked");
        });
        thread.join().unwrap_err();
        None
    });
}

#[test]
fn blocked_producers_get_closed_when_an_iterator_that_owns_the_consumer_is_dropped() {
    assert_all_blocked_get_their_items_back(|consumer| {
        drop(consumer.into_iter());
        None
    });
}

/// Blocks a consumer in each kind of pop, ends the last producer with `leave`, and checks that the
/// consumer gets `Closed`.
fn assert_a_blocked_consumer_gets_closed(leave: fn(Producer<u32>)) {
    watch();
    let pops: [fn(&mut Consumer<u32>); 4] = [
        |consumer| assert_eq!(consumer.pop(), Err(PopError)),
        |consumer| assert_eq!(consumer.pop_timeout(Duration::MAX), Err(PopTimeoutError::Closed)),
        |consumer| {
            assert_eq!(
                consumer.pop_timeout(Duration::from_secs(3_600)),
                Err(PopTimeoutError::Closed)
            )
        },
        |consumer| assert_eq!(consumer.iter().next(), None),
    ];
    for pop in pops {
        let (producer, mut consumer) = bounded(2);
        let thread = thread::spawn(move || pop(&mut consumer));
        settle();
        leave(producer);
        thread.join().unwrap();
    }
}

#[test]
fn a_blocked_consumer_gets_closed_when_the_last_producer_is_dropped() {
    assert_a_blocked_consumer_gets_closed(drop);
    assert_a_blocked_consumer_gets_closed(|producer| drop((producer.clone(), producer)));
}

#[test]
fn a_blocked_consumer_gets_closed_when_the_last_producer_is_dropped_by_unwinding() {
    assert_a_blocked_consumer_gets_closed(|producer| {
        let thread = thread::spawn(move || {
            let _producer = producer;
            panic!("with the consumer blocked");
        });
        thread.join().unwrap_err();
    });
}

#[test]
fn many_producers_dropped_at_once_close_the_queue_once_all_is_pushed() {
    watch();
    for _ in 0..100 {
        let (producer, consumer) = bounded(3);
        thread::scope(|scope| {
            (0..4).map(|_| producer.clone()).for_each(|producer| {
                scope.spawn(move || producer.push(1).unwrap());
            });
            drop(producer);
            assert_eq!(consumer.into_iter().sum::<u32>(), 4);
        });
    }
}

#[test]
fn what_is_in_ring_and_bypass_can_be_popped_after_close_in_order() {
    let (producer, mut consumer) = Builder::new(2).bypass(2).build();
    consumer.bind();
    (0..4).for_each(|i| producer.push(i).unwrap());
    consumer.close();
    assert_eq!(producer.push(4), Err(PushError::Closed(4)));
    assert_eq!((consumer.len(), consumer.bypass_len(), consumer.is_closed()), (2, 2, true));
    assert!(consumer.iter().eq(0..4));
    assert_eq!(consumer.try_pop(), Err(TryPopError::Closed));
}

#[test]
fn what_is_in_ring_and_bypass_can_be_popped_after_the_last_producer_in_order() {
    let (producer, mut consumer) = Builder::new(2).bypass(2).build();
    consumer.bind();
    (0..4).for_each(|i| producer.push(i).unwrap());
    drop(producer);
    assert_eq!(consumer.pop_timeout(Duration::ZERO), Ok(0));
    assert!(consumer.try_iter().eq(1..4));
    assert_eq!(consumer.pop(), Err(PopError));
}

#[test]
fn popping_from_a_closed_queue_makes_no_room() {
    let (producer, mut consumer) = bounded(1);
    producer.push(1).unwrap();
    consumer.close();
    assert_eq!(consumer.pop(), Ok(1));
    assert_eq!(producer.push(2), Err(PushError::Closed(2)));
    assert!(producer.is_empty());
}

#[test]
fn closing_twice_is_closing_once() {
    let (producer, mut consumer) = bounded(1);
    producer.push(1).unwrap();
    consumer.close();
    consumer.close();
    drop(producer);
    assert_eq!((consumer.pop(), consumer.pop()), (Ok(1), Err(PopError)));
}

/// Races `close` against pushes and pops, and checks that everything accepted before `close` is
/// popped after it.
fn assert_nothing_accepted_is_lost(blocking: bool) {
    let (producer, mut consumer) = bounded(2);
    thread::scope(move |scope| {
        let threads: Vec<_> = (0..2)
            .map(|core| {
                let producer = producer.clone();
                scope.spawn(move || {
                    support::pin(core);
                    let push = |i| {
                        if blocking {
                            producer.push(i).is_ok()
                        } else {
                            producer.try_push(i).is_ok()
                        }
                    };
                    (0..50).filter(|&i| push(i)).count()
                })
            })
            .collect();
        let early = consumer.try_iter().take(5).count();
        consumer.close();
        let late = consumer.iter().count();
        let accepted: usize = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
        assert_eq!(early + late, accepted);
    });
}

#[test]
fn what_was_accepted_before_the_close_is_popped_after_it() {
    watch();
    for round in 0..500 {
        assert_nothing_accepted_is_lost(round % 2 == 0);
    }
}

#[test]
fn what_was_accepted_before_the_consumer_was_dropped_is_dropped() {
    watch();
    for _ in 0..300 {
        let tally = Tally::new();
        let (producer, mut consumer) = bounded(2);
        let tally = &tally;
        let made = thread::scope(|scope| {
            // It takes the producer along: what is published after the consumer was dropped is
            // dropped with that.
            let pushing = scope
                .spawn(move || (1..50).take_while(|_| producer.push(tally.item()).is_ok()).count());
            drop(consumer.pop());
            drop(consumer);
            pushing.join().unwrap() + 1
        });
        tally.assert_each_dropped_once(made);
    }
}

/// An item that keeps its own queue open.
struct Anchor<'a>(
    Option<Producer<Anchor<'a>>>,
    #[expect(dead_code, reason = "for its destructor")] Tracked<'a>,
);

#[test]
fn a_producer_inside_an_item_keeps_the_queue_open_until_the_item_is_dropped() {
    let tally = Tally::new();
    let (producer, mut consumer) = bounded(2);
    producer.push(Anchor(Some(producer.clone()), tally.item())).ok().unwrap();
    drop(producer);
    let mut anchor = consumer.pop().unwrap();
    assert!(!consumer.is_closed());
    let inner = anchor.0.take().unwrap();
    inner.push(Anchor(None, tally.item())).ok().unwrap();
    drop(inner);
    drop(anchor);
    assert!(consumer.is_closed());
    assert_eq!(consumer.iter().count(), 1);
    tally.assert_each_dropped_once(2);
}

#[test]
fn a_producer_inside_an_item_that_is_dropped_with_the_consumer_leaks_nothing() {
    let tally = Tally::new();
    let (producer, consumer) = bounded(2);
    producer.push(Anchor(Some(producer.clone()), tally.item())).ok().unwrap();
    drop(producer);
    drop(consumer);
    tally.assert_each_dropped_once(1);
}

/// An item that may carry the consumer of its own queue.
enum Cargo<'a> {
    Consumer { _aboard: Consumer<Cargo<'a>> },
    Item(#[expect(dead_code, reason = "for its destructor")] Tracked<'a>),
}

#[test]
fn a_consumer_sent_through_its_own_queue_is_never_dropped_and_the_queue_never_closed() {
    let tally = Box::leak(Box::<Tally>::default());
    let (producer, consumer) = Builder::new(2).bypass(0).build();
    producer.try_push(Cargo::Item(tally.item())).ok().unwrap();
    producer.try_push(Cargo::Consumer { _aboard: consumer }).ok().unwrap();
    let full = producer.try_push(Cargo::Item(tally.item())).err().unwrap();
    assert!(full.is_full());
    drop(full);
    assert!(!producer.is_closed());
    drop(producer);
    assert_eq!(
        tally.dropped(),
        1,
        "only the refused item was dropped: the other is leaked, as documented"
    );
}
