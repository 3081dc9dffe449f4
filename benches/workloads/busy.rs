//! Threads that never rest: how long an item takes.

use std::collections::VecDeque;
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use super::items::Item;
use super::threads::{Seat, Starters};
use super::waiting::Waiting;
use super::workload::{Sample, Workload};
use crate::rivals::{Queue, Receiver, Sender};

/// The floor under a push: a locked instruction on a line that nobody else wants.
pub(super) fn compare_exchange(items: u64) -> Sample {
    let word = AtomicU64::new(0);
    let start = Instant::now();
    for i in 0..items {
        let _ = black_box(black_box(&word).compare_exchange(
            i,
            i + 1,
            Ordering::SeqCst,
            Ordering::Relaxed,
        ));
    }
    Sample::of(start.elapsed(), items)
}

pub(super) fn uncontended<Q: Queue, T: Item>(workload: &Workload, items: u64) -> Sample {
    let (mut senders, mut receiver) = Q::bounded::<T>(workload.capacity, 1);
    let sender = &mut senders[0];
    let start = Instant::now();
    for i in 0..items {
        let _ = black_box(sender.try_put(black_box(T::with_number(i))));
        black_box(receiver.try_take());
    }
    Sample::of(start.elapsed(), items)
}

pub(super) fn full<Q: Queue, T: Item>(workload: &Workload, items: u64) -> Sample {
    let (mut senders, mut receiver) = Q::bounded::<T>(workload.capacity, 1);
    // A queue may want to know which thread its consumer's is.
    receiver.try_take();
    let sender = &mut senders[0];
    let elapsed = thread::scope(|scope| {
        let producer = scope.spawn(|| {
            while sender.try_put(T::with_number(0)).is_ok() {}
            let start = Instant::now();
            // The item that comes back is sent again: to make items is not what is measured.
            let mut item = Some(T::with_number(0));
            for _ in 0..items {
                item = item.and_then(|item| black_box(sender.try_put(black_box(item))).err());
            }
            assert!(item.is_some(), "it stays full");
            start.elapsed()
        });
        producer.join().expect("no rival panics")
    });
    Sample::of(elapsed, items)
}

/// From the moment that all threads are ready, or have been at it for as long before, to that of
/// the last item's arrival.
pub(super) fn stream<Q: Queue, T: Item, W: Waiting>(workload: &Workload, items: u64) -> Sample {
    let (senders, mut receiver) = Q::bounded::<T>(workload.capacity, workload.producers);
    let each = items.div_ceil(workload.producers as u64);
    let items = each * workload.producers as u64;
    let starters = Starters::new(workload.producers);
    let elapsed = thread::scope(|scope| {
        for (number, mut sender) in senders.into_iter().enumerate() {
            let starters = &starters;
            scope.spawn(move || {
                workload.seat(Seat::Producer(number));
                starters.wait();
                for i in 0..workload.items_before(each) + each {
                    W::send(&mut sender, black_box(T::with_number(i)));
                }
            });
        }
        let mut start = starters.start();
        let mut receive = |items| {
            for _ in 0..items {
                black_box(W::receive(&mut receiver));
            }
        };
        if workload.warm {
            receive(items);
            start = Instant::now();
        }
        receive(items);
        start.elapsed()
    });
    Sample::of(elapsed, items)
}

/// As `stream` with one producer, 32 items a call.
pub(super) fn batches(workload: &Workload, items: u64) -> Sample {
    const BATCH: u64 = 32;
    let (producer, mut consumer) = bywash::bounded(workload.capacity);
    let calls = items.div_ceil(BATCH);
    let starters = Starters::new(1);
    let elapsed = thread::scope(|scope| {
        scope.spawn(|| {
            workload.seat(Seat::Producer(0));
            starters.wait();
            let mut batch = VecDeque::with_capacity(BATCH as usize);
            for _ in 0..calls {
                batch.extend((0..BATCH).map(black_box));
                producer.push_many(&mut batch).expect("the consumer is held");
            }
        });
        let start = starters.start();
        let (mut batch, mut left) = (Vec::with_capacity(BATCH as usize), calls * BATCH);
        while left > 0 {
            left -=
                consumer.pop_many(&mut batch, BATCH as usize).expect("a producer is held") as u64;
            batch.drain(..).for_each(|item: u64| _ = black_box(item));
        }
        start.elapsed()
    });
    Sample::of(elapsed, calls * BATCH)
}
