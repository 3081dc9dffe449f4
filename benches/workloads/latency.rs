//! From one thread to another: how long one item takes.

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::items::Item;
use super::threads::{Seat, Starters, sleep_exactly};
use super::waiting::Waiting;
use super::workload::{Sample, Workload, new_histogram};
use crate::rivals::{Queue, Receiver, Sender};

/// One part of the trips is timed as a whole, then a smaller part one by one, which adds the time
/// to look at the clock.
pub(super) fn round_trip<Q: Queue, T: Item, W: Waiting>(workload: &Workload, items: u64) -> Sample {
    let (mut there, mut away) = Q::bounded::<T>(workload.capacity, 1);
    let (mut back, mut home) = Q::bounded::<T>(workload.capacity, 1);
    let single = items.div_ceil(4);
    let starters = Starters::new(1);
    thread::scope(|scope| {
        scope.spawn(|| {
            workload.seat(Seat::Producer(0));
            starters.wait();
            for _ in 0..workload.items_before(items) + items + single {
                W::send(&mut back[0], W::receive(&mut away));
            }
        });
        let mut trip = |i| {
            W::send(&mut there[0], T::with_number(i));
            black_box(W::receive(&mut home));
        };
        let mut start = starters.start();
        if workload.warm {
            (0..items).for_each(&mut trip);
            start = Instant::now();
        }
        (0..items).for_each(&mut trip);
        let mut sample = Sample::of(start.elapsed(), items);

        let mut histogram = new_histogram();
        for i in 0..single {
            let start = Instant::now();
            trip(i);
            histogram += start.elapsed().as_nanos() as u64;
        }
        sample.delivery = histogram;
        sample
    })
}

/// Long enough for any of the queues to fall asleep.
const UNTIL_ASLEEP: Duration = Duration::from_micros(250);

/// From the push to the return of the pop. The median counts.
pub(super) fn wake_up<Q: Queue, T: Item>(workload: &Workload, items: u64) -> Sample {
    let (mut senders, mut receiver) = Q::bounded::<T>(workload.capacity, 1);
    let (epoch, received) = (Instant::now(), AtomicU64::new(0));
    let mut histogram = new_histogram();
    let now = || epoch.elapsed().as_nanos() as u64;
    let call = thread::scope(|scope| {
        let producer = scope.spawn(|| {
            workload.seat(Seat::Producer(0));
            sleep_exactly();
            let mut calls = new_histogram();
            for i in 0..items {
                while received.load(Ordering::Relaxed) < i {
                    thread::yield_now();
                }
                thread::sleep(UNTIL_ASLEEP);
                let start = now();
                senders[0].put(T::with_number(start));
                calls += now() - start;
            }
            calls
        });
        for i in 1..=items {
            let pushed = receiver.take().number();
            histogram += now() - pushed;
            received.store(i, Ordering::Relaxed);
        }
        producer.join().expect("no rival panics")
    });
    let sample = Sample::new(histogram.value_at_quantile(0.5) as f64);
    Sample { call, delivery: histogram, ..sample }
}
