//! Every public method and type, and what it returns.
#![cfg(all(feature = "alloc", not(bywash_loom)))]

mod support;

use std::cell::Cell;
use std::fmt::Debug;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::rc::Rc;
use std::sync::MutexGuard;

use bywash::{
    Builder, Claimed, Consumer, Heap, Producer, Queue, StaticConsumer, StaticQueue, TryIter,
    TryPopError, TryPushError, bounded,
};
use static_assertions::{assert_impl_all, assert_not_impl_any};

/// Can be sent, but not shared, compared or shown.
struct Plain(Cell<u8>);

assert_impl_all!(Producer<Cell<u8>>: Send, Sync, Clone, Debug, UnwindSafe, RefUnwindSafe);
assert_impl_all!(Producer<&'static mut Plain>: Send, Sync, Clone, Debug, UnwindSafe, RefUnwindSafe);
assert_impl_all!(Producer<Rc<u8>>: Clone, Debug, UnwindSafe, RefUnwindSafe);
assert_not_impl_any!(Producer<Rc<u8>>: Send, Sync);
assert_not_impl_any!(Producer<MutexGuard<'static, u8>>: Send, Sync);

assert_impl_all!(Consumer<Cell<u8>>: Send, Unpin, Debug, UnwindSafe, RefUnwindSafe);
assert_impl_all!(Consumer<&'static mut Plain>: Send, Debug, UnwindSafe, RefUnwindSafe);
assert_impl_all!(Consumer<Rc<u8>>: Debug, UnwindSafe, RefUnwindSafe);
assert_not_impl_any!(Consumer<u8>: Sync, Clone);
assert_not_impl_any!(Consumer<Rc<u8>>: Send);

assert_impl_all!(StaticQueue<Cell<u8>, 1, 1>: Send, Sync, Debug, UnwindSafe, RefUnwindSafe);
assert_impl_all!(StaticQueue<Rc<u8>, 1, 1>: Debug, UnwindSafe, RefUnwindSafe);
assert_not_impl_any!(StaticQueue<Rc<u8>, 1, 1>: Send, Sync);
assert_not_impl_any!(StaticQueue<u8, 1, 1>: Clone);

assert_impl_all!(StaticConsumer<'static, Cell<u8>, 1, 1>: Send, Debug, UnwindSafe, RefUnwindSafe);
assert_not_impl_any!(StaticConsumer<'static, u8, 1, 1>: Sync, Clone);
assert_not_impl_any!(StaticConsumer<'static, Rc<u8>, 1, 1>: Send);

assert_impl_all!(TryIter<'static, Plain>: Send, Iterator);
assert_not_impl_any!(TryIter<'static, u8>: Sync, Clone);

assert_impl_all!(Builder: Clone, Debug, Send, Sync);
assert_impl_all!(Heap<Plain>: Queue, Debug);
assert_impl_all!(Claimed<'static, Plain, 1, 1>: Queue);
assert_impl_all!(Claimed<'static, u8, 1, 1>: Queue, Debug);

#[cfg(feature = "std")]
mod with_std {
    use super::*;
    use bywash::{Domain, DomainGuard, IntoIter, Iter};
    use std::iter::FusedIterator;

    assert_impl_all!(Iter<'static, Plain>: Send, FusedIterator);
    assert_impl_all!(IntoIter<Plain>: Send, FusedIterator, UnwindSafe, RefUnwindSafe);
    assert_not_impl_any!(Iter<'static, u8>: Sync, Clone);
    assert_not_impl_any!(IntoIter<u8>: Sync, Clone);

    assert_impl_all!(Domain: Clone, Debug, Send, Sync, UnwindSafe, RefUnwindSafe);
    assert_impl_all!(DomainGuard: Debug, UnwindSafe, RefUnwindSafe);
    assert_not_impl_any!(DomainGuard: Send, Clone);
}

const CAPACITIES: [usize; 9] = [1, 2, 3, 4, 5, 7, 8, 9, 100];

/// Checks what both ends report about an open queue that holds `len` items.
#[track_caller]
fn assert_holds<T>(producer: &Producer<T>, consumer: &Consumer<T>, capacity: usize, len: usize) {
    assert_eq!((producer.len(), consumer.len()), (len, len));
    assert_eq!((producer.is_empty(), consumer.is_empty()), (len == 0, len == 0));
    assert_eq!(producer.is_full(), len == capacity);
    assert_eq!((producer.is_closed(), consumer.is_closed()), (false, false));
    assert_eq!((producer.capacity(), consumer.capacity()), (capacity, capacity));
    assert_eq!((producer.bypassed(), consumer.bypassed()), (0, 0));
}

#[test]
fn the_bound_and_every_count_are_exact_at_each_step_of_several_laps() {
    for capacity in CAPACITIES {
        let (producer, mut consumer) = Builder::new(capacity).bypass(0).build();
        for lap in 0..5 {
            for i in 0..capacity {
                assert_holds(&producer, &consumer, capacity, i);
                assert_eq!(producer.try_push((lap, i)), Ok(()));
            }
            assert_holds(&producer, &consumer, capacity, capacity);
            assert_eq!(
                producer.try_push((lap, capacity)),
                Err(TryPushError::Full((lap, capacity)))
            );
            for i in 0..capacity {
                assert_holds(&producer, &consumer, capacity, capacity - i);
                assert_eq!(consumer.try_pop(), Ok((lap, i)));
            }
            assert_holds(&producer, &consumer, capacity, 0);
            assert_eq!(consumer.try_pop(), Err(TryPopError::Empty));
        }
    }
}

#[test]
fn the_counts_are_exact_wherever_in_the_ring_the_items_lie() {
    for capacity in CAPACITIES {
        let (producer, mut consumer) = bounded(capacity);
        for fill in 1..=capacity {
            // Steps of `fill`, so that the head comes to other places than after whole laps.
            (0..fill).for_each(|i| producer.try_push(i).unwrap());
            assert_holds(&producer, &consumer, capacity, fill);
            assert!(consumer.try_iter().eq(0..fill));
            assert_holds(&producer, &consumer, capacity, 0);
        }
    }
}

#[test]
fn without_std_or_a_consumers_thread_nothing_goes_into_the_bypass() {
    let (producer, consumer) = Builder::new(2).bypass(8).build();
    assert_eq!(producer.try_push(1), Ok(()));
    assert_eq!(producer.try_push(2), Ok(()));
    assert_eq!(producer.try_push(3), Err(TryPushError::Full(3)));
    assert_holds(&producer, &consumer, 2, 2);
}

#[test]
fn a_dropped_consumer_leaves_the_queue_closed_and_empty() {
    let (producer, consumer) = bounded(2);
    producer.try_push(1).unwrap();
    drop(consumer);
    assert!(producer.is_closed() && producer.is_empty() && !producer.is_full());
    assert_eq!(producer.len(), 0);
    assert_eq!(producer.try_push(2), Err(TryPushError::Closed(2)));
}

#[test]
fn a_closed_queue_can_be_drained_and_then_pops_return_closed() {
    let (producer, mut consumer) = bounded(2);
    producer.try_push(1).unwrap();
    consumer.close();
    assert!(producer.is_closed() && consumer.is_closed());
    assert_eq!((producer.len(), consumer.is_empty()), (1, false));
    assert_eq!(producer.try_push(2), Err(TryPushError::Closed(2)));
    assert_eq!(consumer.try_pop(), Ok(1));
    assert_eq!(consumer.try_pop(), Err(TryPopError::Closed));
    assert_eq!(consumer.try_pop(), Err(TryPopError::Closed));
}

#[test]
fn the_queue_stays_open_until_the_last_clone_of_the_producer_is_dropped() {
    let (first, mut consumer) = bounded(4);
    let second = first.clone();
    first.try_push(1).unwrap();
    drop(first);
    second.try_push(2).unwrap();
    assert_eq!(consumer.try_pop(), Ok(1));
    assert!(!consumer.is_closed());
    drop(second);
    assert!(consumer.is_closed());
    assert_eq!(consumer.try_pop(), Ok(2));
    assert_eq!(consumer.try_pop(), Err(TryPopError::Closed));
}

#[test]
fn all_clones_feed_one_queue_with_one_bound() {
    let (first, mut consumer) = bounded(3);
    let second = first.clone();
    first.try_push(1).unwrap();
    second.try_push(2).unwrap();
    first.try_push(3).unwrap();
    assert!(first.is_full() && second.is_full());
    assert_eq!(second.try_push(4), Err(TryPushError::Full(4)));
    assert!(consumer.try_iter().eq(1..=3));
}

#[test]
fn try_iter_ends_where_nothing_is_left_and_goes_on_where_something_came() {
    let (producer, mut consumer) = bounded(4);
    producer.try_push(1).unwrap();
    let mut iter = consumer.try_iter();
    assert_eq!((iter.next(), iter.next()), (Some(1), None));
    producer.try_push(2).unwrap();
    assert_eq!((iter.next(), iter.next()), (Some(2), None));
}

#[test]
fn iterators_dropped_early_leave_the_rest_in_the_queue() {
    let (producer, mut consumer) = bounded(8);
    (0..6).for_each(|i| producer.try_push(i).unwrap());
    assert!(consumer.try_iter().take(2).eq(0..2));
    assert!(consumer.try_iter().take(2).eq(2..4));
    let _ = consumer.try_iter();
    assert_eq!(consumer.len(), 2);
    assert!(consumer.try_iter().eq(4..6));
}

mod batches {
    use super::*;
    use std::collections::VecDeque;

    #[test]
    fn the_bound_and_every_count_are_exact_with_batches_of_every_size() {
        for capacity in CAPACITIES {
            for size in (1..=capacity + 2).filter(|&size| size < 12 || size + 2 > capacity) {
                let (producer, mut consumer) = Builder::new(capacity).bypass(0).build();
                let (mut next, mut popped) = (0, 0);
                for _lap in 0..5 {
                    let mut batch: VecDeque<_> = (next..next + size).collect();
                    assert_eq!(producer.try_push_many(&mut batch), Ok(size.min(capacity)));
                    next += size.min(capacity);
                    assert!(batch.into_iter().eq((next..).take(size.saturating_sub(capacity))));
                    assert_holds(&producer, &consumer, capacity, next - popped);
                    // One item remains, so that the head and the next batch come to other places.
                    let mut buffer = Vec::new();
                    let limit = (next - popped - 1).max(1);
                    assert_eq!(consumer.try_pop_many(&mut buffer, limit), Ok(limit));
                    assert!(buffer.into_iter().eq(popped..popped + limit));
                    popped += limit;
                    popped += consumer.try_pop().is_ok_and(|item| item == popped) as usize;
                    assert_holds(&producer, &consumer, capacity, 0);
                }
            }
        }
    }

    #[test]
    fn a_batch_fills_the_room_that_is_left_and_no_more() {
        for capacity in CAPACITIES {
            for before in 0..capacity {
                let (producer, mut consumer) = Builder::new(capacity).bypass(0).build();
                (0..before).for_each(|i| producer.try_push(i).unwrap());
                let mut batch: VecDeque<_> = (before..capacity + 3).collect();
                assert_eq!(producer.try_push_many(&mut batch), Ok(capacity - before));
                assert_eq!(batch, [capacity, capacity + 1, capacity + 2]);
                assert_eq!(producer.try_push_many(&mut batch), Err(TryPushError::Full(())));
                assert_eq!((batch.len(), producer.len()), (3, capacity));
                // A pop of one item frees the slot of one.
                assert_eq!(consumer.try_pop(), Ok(0));
                assert_eq!(producer.try_push_many(&mut batch), Ok(1));
                assert!(consumer.try_iter().eq(1..=capacity));
            }
        }
    }

    #[test]
    fn an_empty_batch_is_always_accepted() {
        let (producer, mut consumer) = bounded::<u8>(1);
        assert_eq!(producer.try_push_many(&mut VecDeque::new()), Ok(0));
        producer.try_push(1).unwrap();
        assert_eq!(producer.try_push_many(&mut VecDeque::new()), Ok(0));
        consumer.close();
        assert_eq!(producer.try_push_many(&mut VecDeque::new()), Ok(0));
        assert_eq!(producer.len(), 1);
    }

    #[test]
    fn a_batch_may_lie_in_two_parts() {
        let mut batch = VecDeque::with_capacity(4);
        batch.extend([9, 9, 9, 0]);
        batch.drain(..3);
        batch.extend([1, 2, 3]);
        assert!(!batch.as_slices().1.is_empty());
        let (producer, mut consumer) = bounded(3);
        assert_eq!(producer.try_push_many(&mut batch), Ok(3));
        assert_eq!(batch, [3]);
        assert!(consumer.try_iter().eq(0..3));
    }

    #[test]
    fn a_closed_queue_leaves_the_batch_as_it_was() {
        let (producer, mut consumer) = bounded(4);
        producer.try_push_many(&mut [0, 1].into()).unwrap();
        consumer.close();
        let mut batch = [2, 3].into();
        assert_eq!(producer.try_push_many(&mut batch), Err(TryPushError::Closed(())));
        assert_eq!(batch, [2, 3]);
        let mut buffer = vec![9];
        while consumer.try_pop_many(&mut buffer, usize::MAX).is_ok() {}
        assert_eq!(consumer.try_pop_many(&mut buffer, usize::MAX), Err(TryPopError::Closed));
        assert_eq!(buffer, [9, 0, 1]);
    }

    #[test]
    fn a_batch_that_is_popped_goes_behind_what_is_in_the_buffer() {
        let (producer, mut consumer) = bounded(4);
        let mut buffer = vec![8, 9];
        assert_eq!(consumer.try_pop_many(&mut buffer, 4), Err(TryPopError::Empty));
        assert_eq!(buffer, [8, 9]);
        producer.try_push_many(&mut (0..4).collect()).unwrap();
        assert_eq!(consumer.try_pop_many(&mut buffer, 3), Ok(3));
        assert_eq!(consumer.try_pop_many(&mut buffer, 3), Ok(1));
        assert_eq!(buffer, [8, 9, 0, 1, 2, 3]);
    }

    #[test]
    fn all_room_of_a_batch_is_free_when_it_is_popped() {
        for capacity in CAPACITIES {
            let (producer, mut consumer) = bounded(capacity);
            for lap in 0..4 {
                assert_eq!(producer.try_push_many(&mut vec![lap; capacity].into()), Ok(capacity));
                let mut buffer = Vec::new();
                assert_eq!(consumer.try_pop_many(&mut buffer, usize::MAX), Ok(capacity));
                assert_eq!(buffer, vec![lap; capacity]);
            }
        }
    }

    #[test]
    fn every_item_of_a_batch_is_dropped_once() {
        let tally = support::Tally::new();
        let (producer, mut consumer) = bounded(4);
        let mut batch: VecDeque<_> = (0..6).map(|_| tally.item()).collect();
        assert_eq!(producer.try_push_many(&mut batch), Ok(4));
        assert_eq!(tally.dropped(), 0);
        let mut buffer = Vec::new();
        assert_eq!(consumer.try_pop_many(&mut buffer, 3), Ok(3));
        assert!(buffer.iter().map(|item| item.id).eq(0..3));
        assert_eq!(tally.dropped(), 0);
        drop((batch, buffer, consumer));
        tally.assert_each_dropped_once(6);
    }

    #[test]
    fn a_static_queue_takes_batches_too() {
        let queue = StaticQueue::<_, 2, 0>::new();
        let mut batch = ['a', 'b', 'c'].into();
        assert_eq!(queue.try_push_many(&mut batch), Ok(2));
        assert_eq!(queue.try_push_many(&mut batch), Err(TryPushError::Full(())));
        let mut consumer = queue.consumer().unwrap();
        let mut buffer = Vec::new();
        assert_eq!(consumer.try_pop_many(&mut buffer, 9), Ok(2));
        assert_eq!((batch, buffer), (['c'].into(), vec!['a', 'b']));
    }
}

/// Code for users who do not care whether the queue is static or on the heap.
fn take_all<T, Q: Queue<Item = T>>(consumer: &mut Consumer<T, Q>) -> Vec<T> {
    consumer.try_iter().collect()
}

#[test]
fn code_may_be_generic_over_heap_and_static_queues() {
    let (producer, mut on_heap) = bounded(2);
    producer.try_push('h').unwrap();
    let queue = StaticQueue::<_, 2, 0>::new();
    queue.try_push('s').unwrap();
    let mut in_line = queue.consumer().unwrap();
    assert_eq!((take_all(&mut on_heap), take_all(&mut in_line)), (vec!['h'], vec!['s']));
}

#[test]
fn debug_shows_capacity_length_and_closed_whatever_the_items_are() {
    let (producer, mut consumer) = bounded::<Plain>(7);
    producer.try_push(Plain(Cell::new(1))).unwrap();
    assert_eq!(format!("{producer:?}"), "Producer { capacity: 7, len: 1, closed: false, .. }");
    assert_eq!(format!("{:?}", consumer.try_iter().next().map(|item| item.0.get())), "Some(1)");
    consumer.close();
    assert_eq!(format!("{consumer:?}"), "Consumer { capacity: 7, len: 0, closed: true, .. }");
    assert_eq!(format!("{:?}", Builder::new(3).bypass(2)), "Builder { capacity: 3, bypass: 2 }");
}

#[test]
fn debug_of_the_iterators_names_them() {
    let (_producer, mut consumer) = bounded::<u8>(1);
    assert!(format!("{:?}", consumer.try_iter()).starts_with("TryIter"));
}

#[test]
fn a_builder_builds_as_often_as_it_is_cloned() {
    let builder = Builder::new(2);
    let (one, _keep) = builder.clone().build::<u8>();
    let (other, _keep) = builder.build::<String>();
    assert_eq!((one.capacity(), other.capacity()), (2, 2));
}

#[cfg(feature = "std")]
mod blocking {
    use super::*;
    use bywash::{PopError, PopTimeoutError, PushError, PushTimeoutError};
    use std::time::{Duration, Instant};

    const SHORT: Duration = Duration::from_millis(2);

    #[test]
    fn a_bypass_takes_exactly_as_many_as_asked_for_and_16_by_default() {
        for capacity in [1, 2, 3, 5] {
            for (bypass, builder) in
                [0, 1, 2, 3, 4, 7].map(|n| (n, Builder::new(capacity).bypass(n)))
            {
                assert_room(capacity + bypass, builder);
            }
            assert_room(capacity + 16, Builder::new(capacity));
        }
    }

    fn assert_room(room: usize, builder: Builder) {
        support::watch();
        let (producer, mut consumer) = builder.build();
        consumer.bind();
        for lap in 1..4 {
            assert_eq!((0..).take_while(|&i| producer.try_push(i).is_ok()).count(), room);
            assert_eq!(producer.push(99), Err(PushError::WouldDeadlock(99)));
            let counts = (producer.len(), producer.bypass_len(), producer.is_full());
            assert_eq!(counts, (producer.capacity(), room - producer.capacity(), true));
            assert_eq!((consumer.len(), consumer.bypass_len()), (counts.0, counts.1));
            assert_eq!(producer.bypassed() as usize, lap * (room - producer.capacity()));
            assert_eq!(producer.bypassed(), consumer.bypassed());
            assert!(consumer.try_iter().eq(0..room));
        }
    }

    #[test]
    fn pushes_on_the_consumers_thread_are_accepted_or_get_an_error_at_once() {
        support::watch();
        let (producer, mut consumer) = Builder::new(1).bypass(3).build();
        assert!(!producer.must_not_wait());
        consumer.bind();
        assert!(producer.must_not_wait());
        assert_eq!(producer.push(0), Ok(()));
        assert_eq!(producer.try_push(1), Ok(()));
        assert_eq!(producer.push_timeout(2, Duration::MAX), Ok(()));
        assert_eq!(producer.push_deadline(3, Instant::now()), Ok(()));
        assert_eq!(producer.try_push(4), Err(TryPushError::Full(4)));
        assert_eq!(producer.push(4), Err(PushError::WouldDeadlock(4)));
        assert_eq!(
            producer.push_timeout(4, Duration::MAX),
            Err(PushTimeoutError::WouldDeadlock(4))
        );
        assert_eq!(
            producer.push_deadline(4, Instant::now()),
            Err(PushTimeoutError::WouldDeadlock(4))
        );
        consumer.close();
        assert_eq!(producer.push(4), Err(PushError::Closed(4)));
        assert_eq!(producer.push_timeout(4, Duration::MAX), Err(PushTimeoutError::Closed(4)));
        assert_eq!(producer.push_deadline(4, Instant::now()), Err(PushTimeoutError::Closed(4)));
        assert!(consumer.try_iter().eq(0..4));
    }

    #[test]
    fn pushes_elsewhere_time_out_and_never_take_the_bypass() {
        support::watch();
        let (producer, consumer) = Builder::new(1).bypass(3).build();
        assert_eq!(producer.push(0), Ok(()));
        assert_eq!(producer.push_timeout(1, SHORT), Err(PushTimeoutError::Timeout(1)));
        assert_eq!(
            producer.push_deadline(1, Instant::now() + SHORT),
            Err(PushTimeoutError::Timeout(1))
        );
        assert_eq!(consumer.bypassed(), 0);
    }

    #[test]
    fn pops_return_an_item_or_say_why_not() {
        support::watch();
        let (producer, mut consumer) = bounded(8);
        (0..4).for_each(|i| producer.push(i).unwrap());
        assert_eq!(consumer.pop(), Ok(0));
        assert_eq!(consumer.try_pop(), Ok(1));
        assert_eq!(consumer.pop_timeout(Duration::ZERO), Ok(2));
        assert_eq!(consumer.pop_deadline(Instant::now() - SHORT), Ok(3));
        assert_eq!(consumer.pop_timeout(SHORT), Err(PopTimeoutError::Timeout));
        assert_eq!(consumer.pop_deadline(Instant::now() + SHORT), Err(PopTimeoutError::Timeout));
        drop(producer);
        assert_eq!(consumer.pop(), Err(PopError));
        assert_eq!(consumer.pop_timeout(Duration::MAX), Err(PopTimeoutError::Closed));
        assert_eq!(consumer.pop_deadline(Instant::now()), Err(PopTimeoutError::Closed));
    }

    #[test]
    fn every_pop_binds_the_consumer_even_one_that_finds_nothing() {
        let pops: [fn(&mut Consumer<u8>); 5] = [
            |consumer| consumer.bind(),
            |consumer| assert!(consumer.try_pop().is_err()),
            |consumer| assert!(consumer.try_pop_many(&mut Vec::new(), 1).is_err()),
            |consumer| assert!(consumer.pop_timeout(Duration::ZERO).is_err()),
            |consumer| assert!(consumer.pop_deadline(Instant::now()).is_err()),
        ];
        for pop in pops {
            let (producer, mut consumer) = bounded(1);
            assert!(!producer.must_not_wait());
            pop(&mut consumer);
            assert!(producer.must_not_wait());
        }
    }

    #[test]
    fn looking_does_not_bind() {
        let (producer, mut consumer) = bounded::<u8>(1);
        let _ = (
            consumer.len(),
            consumer.is_empty(),
            consumer.is_closed(),
            consumer.capacity(),
            consumer.bypassed(),
        );
        let _ = (format!("{consumer:?}"), consumer.domain(), consumer.iter());
        consumer.close();
        assert!(!producer.must_not_wait());
    }

    #[test]
    fn blocking_iterators_end_with_the_last_producer() {
        support::watch();
        let (producer, mut consumer) = bounded(2);
        let feeder = std::thread::spawn(move || (0..100).for_each(|i| producer.push(i).unwrap()));
        assert!(consumer.iter().take(10).eq(0..10));
        let mut next = 10;
        for item in &mut consumer {
            assert_eq!(item, next);
            next += 1;
            if next == 50 {
                break;
            }
        }
        assert!(consumer.into_iter().eq(50..100));
        feeder.join().unwrap();
    }

    #[test]
    fn blocking_iterators_are_fused() {
        support::watch();
        let (producer, mut consumer) = bounded(2);
        producer.push(1).unwrap();
        drop(producer);
        let mut iter = consumer.iter();
        assert_eq!((iter.next(), iter.next(), iter.next()), (Some(1), None, None));
        let mut iter = consumer.into_iter();
        assert_eq!((iter.next(), iter.next()), (None, None));
    }

    #[test]
    fn an_into_iter_dropped_early_closes_the_queue() {
        support::watch();
        let (producer, consumer) = bounded(2);
        producer.push(1).unwrap();
        producer.push(2).unwrap();
        assert_eq!(consumer.into_iter().next(), Some(1));
        assert_eq!(producer.push(3), Err(PushError::Closed(3)));
        assert!(producer.is_empty());
    }

    #[test]
    fn a_batch_on_the_consumers_thread_goes_on_in_the_bypass() {
        support::watch();
        for (capacity, bypass) in [(1, 1), (1, 3), (2, 3), (3, 1), (4, 8)] {
            let (producer, mut consumer) = Builder::new(capacity).bypass(bypass).build();
            consumer.bind();
            for lap in 1..4 {
                let room = capacity + bypass;
                let mut batch = (0..room + 2).collect();
                assert_eq!(producer.try_push_many(&mut batch), Ok(room));
                assert_eq!(producer.try_push_many(&mut batch), Err(TryPushError::Full(())));
                assert_eq!(producer.push_many(&mut batch), Err(PushError::WouldDeadlock(())));
                assert_eq!(batch, [room, room + 1]);
                assert_eq!((producer.len(), producer.bypass_len()), (capacity, bypass));
                assert_eq!(producer.bypassed() as usize, lap * bypass);
                let mut buffer = Vec::new();
                while consumer.try_pop_many(&mut buffer, capacity + 1).is_ok() {}
                assert!(buffer.into_iter().eq(0..room));
            }
        }
    }

    #[test]
    fn a_batch_that_would_wait_forever_leaves_the_rest_in_order() {
        support::watch();
        let (producer, mut consumer) = Builder::new(2).bypass(1).build();
        consumer.bind();
        let mut batch = (0..6).collect();
        assert_eq!(producer.push_many(&mut batch), Err(PushError::WouldDeadlock(())));
        assert_eq!(batch, [3, 4, 5]);
        assert!(consumer.try_iter().eq(0..3));
        assert_eq!(producer.push_many(&mut batch), Ok(()));
        assert!(batch.is_empty() && consumer.try_iter().eq(3..6));
        consumer.close();
        batch = [6, 7].into();
        assert_eq!(producer.push_many(&mut batch), Err(PushError::Closed(())));
        assert_eq!(batch, [6, 7]);
    }

    #[test]
    fn a_batch_elsewhere_never_takes_the_bypass() {
        let (producer, mut consumer) = Builder::new(2).bypass(3).build();
        consumer.bind();
        std::thread::scope(|scope| {
            scope.spawn(|| assert_eq!(producer.try_push_many(&mut (0..4).collect()), Ok(2)));
        });
        assert_eq!(producer.bypassed(), 0);
    }

    #[test]
    fn a_batch_waits_for_room_until_the_consumer_goes() {
        support::watch();
        let (producer, mut consumer) = bounded(2);
        let pushing = std::thread::spawn(move || {
            let mut batch = (0..100).collect();
            assert_eq!(producer.push_many(&mut batch), Err(PushError::Closed(())));
            batch
        });
        assert!(consumer.iter().take(10).eq(0..10));
        support::settle();
        drop(consumer);
        let left = pushing.join().unwrap();
        assert!((88..=90).contains(&left.len()));
        assert!(left.iter().copied().eq(100 - left.len()..100));
    }

    #[test]
    fn pops_of_batches_wait_for_the_first_item_and_end_with_the_last_producer() {
        support::watch();
        let (producer, mut consumer) = bounded(3);
        let feeder =
            std::thread::spawn(move || producer.push_many(&mut (0..100).collect()).unwrap());
        let mut buffer = Vec::new();
        while let Ok(count) = consumer.pop_many(&mut buffer, 7) {
            assert!((1..=7).contains(&count));
        }
        feeder.join().unwrap();
        assert!(buffer.iter().copied().eq(0..100));
        assert_eq!(consumer.pop_many(&mut buffer, 7), Err(PopError));
        assert_eq!((consumer.pop_many(&mut buffer, 0), buffer.len()), (Ok(0), 100));
    }

    #[test]
    fn debug_of_what_only_std_has() {
        let (_producer, mut consumer) = bounded::<u8>(1);
        let domain = consumer.domain();
        assert!(format!("{domain:?}").starts_with("Domain"));
        assert!(format!("{:?}", domain.enter()).starts_with("DomainGuard"));
        assert!(format!("{:?}", consumer.iter()).starts_with("Iter"));
        assert!(format!("{:?}", consumer.into_iter()).starts_with("IntoIter"));
    }
}
