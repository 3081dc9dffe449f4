//! Closing from the pushers' side: it strands nobody, whoever waits and whatever it interrupts, and
//! is not lost on a static queue that has no consumer yet.
#![cfg(all(feature = "std", not(bywash_loom)))]

mod support;

#[cfg(all(target_os = "linux", not(bywash_portable)))]
#[allow(dead_code, reason = "the storms use the rest")]
#[path = "support/signals.rs"]
mod signals;

use std::mem;
use std::thread;
use std::time::Duration;

use bywash::{
    Listener, PopError, PushError, PushTimeoutError, StaticQueue, TryPopError, TryPushError,
    bounded,
};
use support::{settle, watch};

#[test]
fn a_producer_wakes_all_who_wait_for_room() {
    watch();
    let (producer, mut consumer) = bounded(1);
    producer.push(100).unwrap();
    thread::scope(|scope| {
        let blocked: Vec<_> = (0..4)
            .map(|i| {
                let producer = producer.clone();
                scope.spawn(move || match i % 2 {
                    0 => assert_eq!(producer.push(i), Err(PushError::Closed(i))),
                    _ => assert_eq!(
                        producer.push_timeout(i, Duration::MAX),
                        Err(PushTimeoutError::Closed(i))
                    ),
                })
            })
            .collect();
        settle();
        producer.close();
        blocked.into_iter().for_each(|thread| thread.join().unwrap());
    });
    assert!(consumer.is_closed());
    assert_eq!((consumer.pop(), consumer.pop()), (Ok(100), Err(PopError)));
}

#[test]
fn a_producer_wakes_the_consumer_which_pops_what_is_left() {
    watch();
    let (producer, mut consumer) = bounded(4);
    let popping = thread::spawn(move || consumer.iter().collect::<Vec<_>>());
    settle();
    producer.push(1).unwrap();
    producer.close();
    assert_eq!(popping.join().unwrap(), [1]);
}

#[test]
fn a_producer_ends_a_listener() {
    watch();
    let (producer, consumer) = bounded(4);
    let listener = Listener::spawn("listener", consumer, |_: u8| {}).unwrap();
    producer.push(1).unwrap();
    producer.close();
    producer.close();
    assert_eq!(producer.try_push(2), Err(TryPushError::Closed(2)));
    assert_eq!(listener.stop(Duration::MAX), Ok(()));
}

#[test]
fn what_is_in_the_bypass_is_popped_after_closing_too() {
    let queue = StaticQueue::<_, 1, 2>::new();
    let mut consumer = queue.consumer().unwrap();
    consumer.bind();
    (1..4).for_each(|i| queue.push(i).unwrap());
    queue.close();
    assert_eq!(queue.push(4), Err(PushError::Closed(4)));
    assert!(consumer.iter().eq(1..4));
    assert_eq!(consumer.try_pop(), Err(TryPopError::Closed));
    drop(consumer);
    // And both lanes are open again.
    let mut next = queue.consumer().unwrap();
    next.bind();
    (1..4).for_each(|i| queue.push(i).unwrap());
    assert_eq!(queue.push(4), Err(PushError::WouldDeadlock(4)));
    assert!(next.try_iter().eq(1..4));
    assert_eq!(next.try_pop(), Err(TryPopError::Empty));
}

#[test]
fn closing_a_static_queue_is_for_the_next_consumer_where_there_is_none() {
    watch();
    let queue = StaticQueue::<_, 4, 0>::new();
    queue.push(1).unwrap();
    queue.close();
    queue.close();
    assert_eq!(queue.push(2), Err(PushError::Closed(2)));
    let mut consumer = queue.consumer().unwrap();
    assert_eq!(queue.push(3), Err(PushError::Closed(3)));
    assert!(consumer.iter().eq([1]));
    drop(consumer);
    assert_eq!(queue.push(4), Err(PushError::Closed(4)));
    let mut next = queue.consumer().unwrap();
    queue.push(5).unwrap();
    assert!(next.try_iter().eq([5]));
}

#[test]
fn closing_a_static_queue_is_told_to_the_consumer_that_is_reclaimed() {
    watch();
    let queue = StaticQueue::<_, 4, 0>::new();
    mem::forget(queue.consumer());
    queue.push(1).unwrap();
    queue.close();
    // SAFETY: the earlier one was forgotten.
    let mut consumer = unsafe { queue.reclaim_consumer() };
    assert_eq!(queue.push(2), Err(PushError::Closed(2)));
    assert!(consumer.iter().eq([1]));
    drop(consumer);
    let mut next = queue.consumer().unwrap();
    queue.push(3).unwrap();
    assert!(next.try_iter().eq([3]));
}

#[test]
fn closing_a_static_queue_wakes_its_consumer_and_those_who_wait_for_room() {
    watch();
    static QUEUE: StaticQueue<u32, 1, 0> = StaticQueue::new();
    QUEUE.push(1).unwrap();
    let pushing = thread::spawn(|| QUEUE.push(2));
    settle();
    QUEUE.close();
    assert_eq!(pushing.join().unwrap(), Err(PushError::Closed(2)));
    drop(QUEUE.consumer());
    let mut consumer = QUEUE.consumer().unwrap();
    let popping = thread::spawn(move || consumer.pop());
    settle();
    QUEUE.close();
    assert_eq!(popping.join().unwrap(), Err(PopError));
}

/// On top of the `pop` and of the `push` that it ends.
#[cfg(all(target_os = "linux", not(bywash_portable)))]
#[test]
fn closing_in_a_signal_handler_wakes_the_thread_that_it_interrupted_and_keeps_errno() {
    use std::os::unix::thread::JoinHandleExt;
    use std::sync::atomic::{AtomicI32, Ordering::SeqCst};

    static QUEUE: StaticQueue<u32, 1, 0> = StaticQueue::new();
    static KEPT: AtomicI32 = AtomicI32::new(0);

    extern "C" fn close(_: libc::c_int) {
        signals::set_errno(77);
        QUEUE.close();
        KEPT.store(signals::errno(), SeqCst);
    }

    watch();
    signals::handle(libc::SIGUSR1, close);
    let end_with_signal = |thread: &thread::JoinHandle<()>| {
        settle();
        // SAFETY: the thread has not been joined.
        assert_eq!(unsafe { libc::pthread_kill(thread.as_pthread_t() as _, libc::SIGUSR1) }, 0);
    };
    let mut consumer = QUEUE.consumer().unwrap();
    let popping = thread::spawn(move || assert_eq!(consumer.pop(), Err(PopError)));
    end_with_signal(&popping);
    popping.join().unwrap();
    let consumer = QUEUE.consumer();
    QUEUE.push(1).unwrap();
    let pushing = thread::spawn(|| assert_eq!(QUEUE.push(2), Err(PushError::Closed(2))));
    end_with_signal(&pushing);
    pushing.join().unwrap();
    drop(consumer);
    assert_eq!(KEPT.load(SeqCst), 77);
}

/// Closing from any thread, at any step of what the consumer does.
#[cfg(bywash_steps)]
mod at_each_step {
    use std::cell::Cell;

    use super::*;

    /// Does `interrupt` before each step of `run` in turn, on a new queue.
    fn at_each_step(
        run: impl Fn(&StaticQueue<u32, 1, 1>),
        interrupt: impl Fn(&StaticQueue<u32, 1, 1>),
        check: impl Fn(&StaticQueue<u32, 1, 1>, u64),
    ) {
        watch();
        for stop in 0.. {
            let queue = StaticQueue::new();
            let step = Cell::new(0);
            let hook = || {
                if step.replace(step.get() + 1) == stop {
                    interrupt(&queue);
                }
            };
            bywash::steps::hooked(&hook, || run(&queue));
            if step.get() <= stop {
                assert!(stop > 1);
                return;
            }
            check(&queue, stop);
        }
    }

    /// The second of two consumers works, with both lanes.
    fn assert_reopens(queue: &StaticQueue<u32, 1, 1>, stop: u64) {
        let mut consumer = queue.consumer().unwrap();
        if consumer.is_closed() {
            drop(consumer);
            consumer = queue.consumer().unwrap();
        }
        consumer.bind();
        for i in 1..3 {
            assert_eq!(queue.push(i), Ok(()), "closed at step {stop}");
        }
        assert!(consumer.try_iter().eq(1..3));
        assert_eq!(consumer.try_pop(), Err(TryPopError::Empty), "closed at step {stop}");
        queue.close();
        assert_eq!(consumer.pop(), Err(PopError));
    }

    #[test]
    fn closing_is_not_lost_on_a_consumer_that_is_being_claimed() {
        let is_closed = Cell::new(false);
        at_each_step(
            |queue| {
                let consumer = queue.consumer().unwrap();
                is_closed.set(consumer.is_closed());
                // It closes the queue when it is dropped.
                std::mem::forget(consumer);
            },
            StaticQueue::close,
            |_, stop| assert!(is_closed.take(), "lost at step {stop}"),
        );
    }

    #[test]
    fn what_a_push_put_in_while_the_queue_was_closed_is_popped() {
        watch();
        for stop in 0.. {
            let (producer, mut consumer) = bounded(1);
            let step = Cell::new(0);
            let hook = || {
                if step.replace(step.get() + 1) == stop {
                    producer.close();
                }
            };
            let pushed = bywash::steps::hooked(&hook, || producer.push(1).is_ok());
            if step.get() <= stop {
                assert!(stop > 3);
                return;
            }
            assert_eq!(consumer.iter().count(), usize::from(pushed), "closed at step {stop}");
        }
    }

    #[test]
    fn closing_while_the_consumer_is_dropped_leaves_a_queue_that_opens_again() {
        at_each_step(|queue| drop(queue.consumer()), StaticQueue::close, assert_reopens);
    }

    #[test]
    fn a_pusher_that_is_stopped_in_closing_does_not_close_half_a_queue() {
        at_each_step(
            StaticQueue::close,
            |queue| {
                drop(queue.consumer());
                drop(queue.consumer());
            },
            assert_reopens,
        );
    }

    #[test]
    fn a_consumer_that_is_there_when_a_pusher_is_stopped_in_closing_keeps_both_lanes() {
        watch();
        for stop in 0..20 {
            let queue = StaticQueue::<u32, 1, 1>::new();
            let step = Cell::new(0);
            let consumer = Cell::new(None);
            let hook = || {
                if step.replace(step.get() + 1) == stop {
                    drop(queue.consumer());
                    let mut next = queue.consumer().unwrap();
                    next.bind();
                    consumer.set(Some(next));
                }
            };
            bywash::steps::hooked(&hook, || queue.close());
            let Some(mut consumer) = consumer.take() else {
                assert!(stop > 1);
                return;
            };
            // Closed late, or not at all; but never for the bypass alone.
            let is_open = queue.push(1).is_ok();
            let expected = if is_open { Ok(()) } else { Err(PushError::Closed(2)) };
            assert_eq!(queue.push(2), expected, "stopped at step {stop}");
            assert_eq!(consumer.try_iter().count(), if is_open { 2 } else { 0 });
        }
    }
}
