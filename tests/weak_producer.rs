//! A producer that does not count, for a consumer that logs: it keeps no queue open, and loses
//! nothing.
#![cfg(all(feature = "std", not(bywash_loom)))]

mod support;

use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use bywash::{Builder, Listener, PopError, Producer, PushError, TryPushError, bounded};
use support::{Tally, watch};

/// So long that it never ends: the watchdog ends the test before.
const LONG: Duration = Duration::from_secs(3_600);

#[test]
fn a_consumer_that_holds_a_producer_of_its_own_queue_ends() {
    watch();
    let (producer, mut consumer) = bounded(4);
    let own = producer.downgrade();
    let (has_pushed, pushed) = channel();
    let thread = thread::spawn(move || {
        let mut sum = 0;
        for item in &mut consumer {
            sum += item;
            if item == 1 {
                own.push(10).unwrap();
                has_pushed.send(()).unwrap();
            }
        }
        assert_eq!(own.push(1), Err(PushError::Closed(1)));
        sum
    });
    (1..=3).for_each(|i| producer.push(i).unwrap());
    pushed.recv().unwrap();
    drop(producer);
    assert_eq!(thread.join().unwrap(), 16);
}

#[test]
fn a_listener_whose_handler_holds_one_ends_with_the_last_producer() {
    watch();
    let (producer, consumer) = bounded(4);
    let own = producer.downgrade();
    let (sender, handled) = channel();
    let handler = move |item: u32| {
        if item == 1 {
            own.push(2).unwrap();
        }
        sender.send(item).unwrap();
    };
    let listener = Listener::spawn("test", consumer, handler).unwrap();
    producer.push(1).unwrap();
    // What the handler pushes after the last producer is gone is refused.
    listener.flush(LONG).unwrap();
    drop(producer);
    // Ends when the handler is dropped.
    assert!(handled.iter().eq([1, 2]));
}

#[test]
fn it_neither_opens_nor_closes_a_queue_and_its_clones_do_not_either() {
    watch();
    let (producer, mut consumer) = bounded(4);
    let weak = producer.downgrade();
    drop(weak.clone());
    drop(weak.downgrade());
    assert!(!producer.is_closed());
    let other = producer.clone();
    drop(producer);
    assert!(!weak.is_closed());
    weak.push(1).unwrap();
    drop(other);
    assert!(weak.is_closed());
    assert_eq!(weak.try_push(2), Err(TryPushError::Closed(2)));
    assert_eq!((consumer.pop(), consumer.pop()), (Ok(1), Err(PopError)));
}

#[test]
fn an_item_that_holds_one_does_not_keep_the_queue_open() {
    watch();
    let (producer, mut consumer) = bounded(4);
    struct Item(Producer<Item>);

    producer.push(Item(producer.downgrade())).unwrap();
    drop(producer);
    let Item(weak) = consumer.pop().unwrap();
    assert!(weak.is_closed() && consumer.pop().is_err());
}

#[test]
fn what_is_pushed_while_the_consumer_goes_is_dropped_once() {
    watch();
    let tally = Tally::new();
    let mut pushed = 0;
    for _ in 0..200 {
        let (producer, consumer) = Builder::new(2).bypass(0).build();
        let weak = producer.downgrade();
        drop(producer.clone());
        let (tally, weak) = (&tally, &weak);
        thread::scope(|scope| {
            scope.spawn(move || drop(consumer));
            _ = weak.try_push(tally.item());
        });
        pushed += 1;
    }
    tally.assert_each_dropped_once(pushed);
}
