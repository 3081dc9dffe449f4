//! `StaticQueue`: the calls that never wait in every feature set, and the others with `std`.
#![cfg(not(bywash_loom))]

mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use bywash::{StaticQueue, TryPopError, TryPushError};

/// Fills and empties a queue several times, starting at every slot, and checks every count at each
/// step.
fn assert_counts<const N: usize, const BYPASS: usize>() {
    let queue = StaticQueue::<_, N, BYPASS>::new();
    let mut consumer = queue.consumer().unwrap();
    assert_eq!((queue.capacity(), consumer.capacity()), (N, N));
    for fill in (1..=N).chain((1..=N).rev()) {
        for i in 0..fill {
            assert_eq!(
                (queue.len(), consumer.len(), queue.is_empty(), queue.is_full()),
                (i, i, i == 0, false)
            );
            assert_eq!(queue.try_push(i), Ok(()));
        }
        assert_eq!((queue.len(), queue.is_full()), (fill, fill == N));
        for i in 0..fill {
            assert_eq!(consumer.try_pop(), Ok(i));
            assert_eq!(consumer.len(), fill - i - 1);
        }
        assert_eq!(consumer.try_pop(), Err(TryPopError::Empty));
        assert!(
            queue.is_empty() && consumer.is_empty() && !queue.is_closed() && !consumer.is_closed()
        );
    }
}

#[test]
fn the_bound_and_every_count_are_exact_for_any_capacity() {
    assert_counts::<1, 0>();
    assert_counts::<2, 0>();
    assert_counts::<3, 1>();
    assert_counts::<4, 4>();
    assert_counts::<5, 3>();
    assert_counts::<7, 0>();
    assert_counts::<100, 16>();
}

#[test]
fn what_was_pushed_before_the_first_consumer_is_popped_by_it() {
    static QUEUE: StaticQueue<u8, 3, 0> = StaticQueue::new();
    assert!(!QUEUE.is_closed());
    (0..3).for_each(|i| QUEUE.try_push(i).unwrap());
    assert_eq!(QUEUE.try_push(3), Err(TryPushError::Full(3)));
    assert!(QUEUE.consumer().unwrap().try_iter().eq(0..3));
}

#[test]
fn there_is_one_consumer_at_a_time_and_the_next_after_it() {
    static QUEUE: StaticQueue<u8, 1, 1> = StaticQueue::new();
    for _ in 0..3 {
        let consumer = QUEUE.consumer().unwrap();
        assert!(QUEUE.consumer().is_none());
        drop(consumer);
    }
}

#[test]
fn of_many_threads_that_claim_at_once_one_gets_the_consumer() {
    static QUEUE: StaticQueue<u8, 1, 0> = StaticQueue::new();
    for _ in 0..100 {
        let claimed: Vec<_> = thread::scope(|scope| {
            let threads: Vec<_> = (0..3).map(|_| scope.spawn(|| QUEUE.consumer())).collect();
            threads.into_iter().filter_map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(claimed.len(), 1);
    }
}

#[test]
fn between_two_consumers_pushes_get_closed_and_the_next_starts_empty() {
    static QUEUE: StaticQueue<u8, 3, 0> = StaticQueue::new();
    for round in 0..4 {
        let mut consumer = QUEUE.consumer().unwrap();
        assert!(!QUEUE.is_closed() && QUEUE.is_empty());
        QUEUE.try_push(round).unwrap();
        assert_eq!(consumer.try_pop(), Ok(round));
        QUEUE.try_push(round).unwrap();
        QUEUE.try_push(round).unwrap();
        drop(consumer);
        assert_eq!(QUEUE.try_push(9), Err(TryPushError::Closed(9)));
        assert!(QUEUE.is_closed() && QUEUE.is_empty());
    }
}

#[test]
fn a_queue_closed_by_its_consumer_is_drained_and_opened_by_the_next() {
    let queue = StaticQueue::<_, 2, 0>::new();
    let mut consumer = queue.consumer().unwrap();
    queue.try_push(1).unwrap();
    consumer.close();
    assert_eq!(queue.try_push(2), Err(TryPushError::Closed(2)));
    assert!(queue.consumer().is_none(), "closed, and yet claimed");
    assert_eq!((consumer.try_pop(), consumer.try_pop()), (Ok(1), Err(TryPopError::Closed)));
    drop(consumer);
    let mut consumer = queue.consumer().unwrap();
    queue.try_push(3).unwrap();
    assert_eq!((consumer.try_pop(), consumer.try_pop()), (Ok(3), Err(TryPopError::Empty)));
}

#[test]
fn a_forgotten_consumer_is_never_given_back_and_the_queue_stays_open() {
    let queue = StaticQueue::<_, 2, 0>::new();
    std::mem::forget(queue.consumer());
    assert!(queue.consumer().is_none());
    assert_eq!(queue.try_push(1), Ok(()));
}

static CLAIMED_IN_DROP: AtomicUsize = AtomicUsize::new(0);
static REFUSED_IN_DROP: AtomicUsize = AtomicUsize::new(0);
static NESTED: StaticQueue<Claimer, 2, 0> = StaticQueue::new();

/// An item whose destructor pushes into its queue, and tries to claim the consumer that drops it.
struct Claimer;

impl Drop for Claimer {
    fn drop(&mut self) {
        CLAIMED_IN_DROP.fetch_add(NESTED.consumer().is_some().into(), Ordering::Relaxed);
        if let Err(TryPushError::Closed(again)) = NESTED.try_push(Claimer) {
            REFUSED_IN_DROP.fetch_add(1, Ordering::Relaxed);
            std::mem::forget(again);
        }
    }
}

#[test]
fn while_the_consumer_is_being_dropped_its_items_get_closed_and_cannot_claim_the_next() {
    let consumer = NESTED.consumer();
    NESTED.try_push(Claimer).ok().unwrap();
    NESTED.try_push(Claimer).ok().unwrap();
    drop(consumer);
    assert_eq!(
        (CLAIMED_IN_DROP.load(Ordering::Relaxed), REFUSED_IN_DROP.load(Ordering::Relaxed)),
        (0, 2)
    );
    assert!(NESTED.consumer().is_some());
}

#[test]
fn a_consumer_dropped_by_unwinding_is_given_back() {
    static QUEUE: StaticQueue<u8, 2, 0> = StaticQueue::new();
    let consumer = QUEUE.consumer();
    QUEUE.try_push(1).unwrap();
    let unwound = catch_unwind(AssertUnwindSafe(|| {
        let _consumer = consumer;
        panic!("with the consumer claimed");
    }));
    assert!(unwound.is_err() && QUEUE.is_closed() && QUEUE.is_empty());
    assert!(QUEUE.consumer().is_some());
}

#[test]
fn debug_shows_capacity_length_and_closed_whatever_the_items_are() {
    struct Plain;
    let queue = StaticQueue::<Plain, 3, 2>::new();
    queue.try_push(Plain).ok().unwrap();
    assert_eq!(format!("{queue:?}"), "StaticQueue { capacity: 3, len: 1, closed: false, .. }");
    assert_eq!(
        format!("{:?}", queue.consumer().unwrap()),
        "Consumer { capacity: 3, len: 1, closed: false, .. }"
    );
    assert_eq!(format!("{queue:?}"), "StaticQueue { capacity: 3, len: 0, closed: true, .. }");
}

#[test]
fn several_producers_and_a_polling_consumer_lose_nothing() {
    static QUEUE: StaticQueue<(usize, u32), 3, 0> = StaticQueue::new();
    const ITEMS: u32 = 5_000;
    support::watch();
    let mut consumer = QUEUE.consumer().unwrap();
    thread::scope(|scope| {
        for name in 0..2 {
            scope.spawn(move || {
                support::pin(name);
                for i in 0..ITEMS {
                    while QUEUE.try_push((name, i)).is_err() {
                        thread::yield_now();
                    }
                }
            });
        }
        let mut next = [0; 2];
        while next != [ITEMS; 2] {
            match consumer.try_pop() {
                Ok((name, i)) => {
                    assert_eq!(i, next[name]);
                    next[name] += 1;
                }
                Err(_) => thread::yield_now(),
            }
        }
    });
}

#[cfg(not(feature = "std"))]
#[test]
fn without_std_nothing_goes_into_the_bypass() {
    let queue = StaticQueue::<_, 1, 8>::new();
    let mut consumer = queue.consumer().unwrap();
    assert!(consumer.try_pop().is_err());
    queue.try_push(1).unwrap();
    assert_eq!(queue.try_push(2), Err(TryPushError::Full(2)));
    assert_eq!(queue.bypassed(), 0);
}

#[cfg(feature = "std")]
mod blocking {
    use super::*;
    use bywash::{PopError, PopTimeoutError, PushError, PushTimeoutError};
    use std::time::{Duration, Instant};
    use support::{settle, watch};

    const SHORT: Duration = Duration::from_millis(2);

    /// Fills ring and bypass on the consumer's thread, and checks how each kind of push is refused
    /// there.
    fn assert_room<const N: usize, const BYPASS: usize>() {
        watch();
        let queue = StaticQueue::<_, N, BYPASS>::new();
        let mut consumer = queue.consumer().unwrap();
        consumer.bind();
        for lap in 1..4 {
            assert_eq!((0..).take_while(|&i| queue.push(i).is_ok()).count(), N + BYPASS);
            assert_eq!(queue.try_push(99), Err(TryPushError::Full(99)));
            assert_eq!(queue.push(99), Err(PushError::WouldDeadlock(99)));
            assert_eq!(
                queue.push_timeout(99, Duration::MAX),
                Err(PushTimeoutError::WouldDeadlock(99))
            );
            assert_eq!(
                queue.push_deadline(99, Instant::now()),
                Err(PushTimeoutError::WouldDeadlock(99))
            );
            assert_eq!(queue.bypassed() as usize, lap * BYPASS);
            assert!(consumer.try_iter().eq(0..N + BYPASS));
        }
    }

    #[test]
    fn the_bypass_takes_exactly_as_many_as_it_has_slots() {
        assert_room::<1, 0>();
        assert_room::<1, 1>();
        assert_room::<3, 0>();
        assert_room::<3, 2>();
        assert_room::<4, 5>();
        assert_room::<7, 3>();
    }

    #[test]
    fn before_the_first_consumer_a_full_queue_makes_pushes_wait() {
        watch();
        static QUEUE: StaticQueue<u8, 1, 1> = StaticQueue::new();
        QUEUE.push(1).unwrap();
        assert_eq!(QUEUE.push_timeout(2, SHORT), Err(PushTimeoutError::Timeout(2)));
        assert_eq!(
            QUEUE.push_deadline(2, Instant::now() + SHORT),
            Err(PushTimeoutError::Timeout(2))
        );
        thread::scope(|scope| {
            scope.spawn(|| QUEUE.push(2).unwrap());
            settle();
            let mut consumer = QUEUE.consumer().unwrap();
            assert_eq!((consumer.pop(), consumer.pop()), (Ok(1), Ok(2)));
        });
    }

    #[test]
    fn blocked_pushers_get_closed_when_the_consumer_is_dropped() {
        watch();
        static QUEUE: StaticQueue<u8, 3, 0> = StaticQueue::new();
        for _ in 0..5 {
            let consumer = QUEUE.consumer();
            (0..3).for_each(|i| QUEUE.push(i).unwrap());
            thread::scope(|scope| {
                let push = || (QUEUE.push(7), QUEUE.push_timeout(8, Duration::MAX));
                let blocked = [scope.spawn(push), scope.spawn(push), scope.spawn(push)];
                settle();
                drop(consumer);
                let closed = (Err(PushError::Closed(7)), Err(PushTimeoutError::Closed(8)));
                blocked.into_iter().for_each(|thread| assert_eq!(thread.join().unwrap(), closed));
            });
        }
    }

    #[test]
    fn a_sleeping_consumer_is_woken_and_wakes_sleeping_pushers() {
        watch();
        static QUEUE: StaticQueue<u32, 3, 2> = StaticQueue::new();
        let mut consumer = QUEUE.consumer().unwrap();
        let pushing = thread::spawn(|| {
            for i in 0..2_000 {
                if i % 400 == 0 {
                    settle();
                }
                QUEUE.push(i).unwrap();
            }
        });
        assert_eq!(consumer.pop_timeout(Duration::ZERO).unwrap_or(0), 0);
        consumer.bind();
        let popped = consumer.iter().take_while(|&i| i != 1_999).count();
        assert!((1_998..=1_999).contains(&popped), "{popped}");
        assert_eq!(consumer.pop_timeout(SHORT), Err(PopTimeoutError::Timeout));
        assert_eq!(consumer.pop_deadline(Instant::now()), Err(PopTimeoutError::Timeout));
        consumer.close();
        assert_eq!(consumer.pop(), Err(PopError));
        assert_eq!(consumer.into_iter().next(), None);
        pushing.join().unwrap();
    }

    #[test]
    fn the_thread_of_a_consumer_that_was_given_back_is_not_the_consumers_thread() {
        static QUEUE: StaticQueue<u8, 1, 1> = StaticQueue::new();
        let mut consumer = QUEUE.consumer().unwrap();
        assert!(!QUEUE.must_not_wait());
        consumer.bind();
        assert!(QUEUE.must_not_wait());
        drop(consumer);
        assert!(!QUEUE.must_not_wait());
        let _unbound = QUEUE.consumer().unwrap();
        assert!(!QUEUE.must_not_wait());
        QUEUE.push(1).unwrap();
        assert_eq!(QUEUE.push_timeout(2, SHORT), Err(PushTimeoutError::Timeout(2)));
    }

    #[test]
    fn the_domain_belongs_to_the_queue_and_serves_each_of_its_consumers() {
        watch();
        let queue = StaticQueue::<_, 1, 1>::new();
        let domain = queue.consumer().unwrap().domain();
        let _inside = domain.enter();
        assert!(queue.must_not_wait());
        let _next = queue.consumer().unwrap();
        queue.push(1).unwrap();
        queue.push(2).unwrap();
        assert_eq!(queue.push(3), Err(PushError::WouldDeadlock(3)));
    }
}
