//! A consumer that gives up its thread.
#![cfg(all(feature = "std", not(bywash_loom)))]

mod support;

use std::thread;
use std::time::Duration;

use bywash::{Consumer, PushError, PushTimeoutError, StaticQueue, bounded};
use support::{settle, watch};

#[test]
fn after_unbind_a_push_on_the_thread_waits_for_room_and_takes_no_bypass() {
    watch();
    let (producer, mut consumer) = bounded(1);
    consumer.bind();
    producer.push(1).unwrap();
    consumer.unbind();
    assert!(!producer.is_consumer_thread() && !producer.must_not_wait());
    assert!(producer.try_push(2).unwrap_err().is_full());
    assert_eq!(producer.push_timeout(2, Duration::ZERO), Err(PushTimeoutError::Timeout(2)));
    let popping = thread::spawn(move || {
        settle();
        (consumer.pop(), consumer.pop(), consumer.bypassed())
    });
    producer.push(2).unwrap();
    assert_eq!(popping.join().unwrap(), (Ok(1), Ok(2), 0));
}

#[test]
fn a_pop_or_bind_after_unbind_binds_again() {
    let (producer, mut consumer) = bounded(1);
    consumer.unbind();
    consumer.unbind();
    let ways: [fn(&mut Consumer<u8>); 2] = [|consumer| _ = consumer.try_pop(), Consumer::bind];
    for bind in ways {
        assert!(!producer.is_consumer_thread());
        bind(&mut consumer);
        assert!(producer.is_consumer_thread());
        consumer.unbind();
    }
}

#[test]
fn unbind_takes_the_thread_of_a_consumer_that_was_moved() {
    let (producer, mut consumer) = bounded::<u8>(1);
    consumer.bind();
    let consumer = thread::spawn(move || {
        consumer.unbind();
        consumer
    });
    let _consumer = consumer.join().unwrap();
    assert!(!producer.is_consumer_thread());
}

#[test]
fn unbind_leaves_the_domain_as_it_is() {
    let queue = StaticQueue::<_, 1, 1>::new();
    let mut consumer = queue.consumer().unwrap();
    let domain = consumer.domain();
    let guard = domain.enter();
    consumer.bind();
    consumer.unbind();
    assert!(queue.must_not_wait() && !queue.is_consumer_thread());
    assert_eq!((queue.push(1), queue.push(2)), (Ok(()), Ok(())));
    assert_eq!(queue.push(3), Err(PushError::WouldDeadlock(3)));
    drop(guard);
    assert!(!queue.must_not_wait());
}
