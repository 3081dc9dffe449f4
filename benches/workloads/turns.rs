//! Many producers in front of a slow consumer: how long those that wait are passed over.

use std::hint::{black_box, spin_loop};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::items::Item;
use super::threads::Starters;
use super::workload::{Sample, Workload, new_histogram};
use crate::rivals::{Queue, Receiver, Sender};

/// For so long the consumer works on each item.
pub(crate) const WORK: Duration = Duration::from_micros(10);

/// Producers push for as long as the consumer works on `items` items. What waits then still gets
/// in, so the longest wait counts, too.
pub(super) fn turns<Q: Queue, T: Item>(workload: &Workload, items: u64) -> Sample {
    let (senders, mut receiver) = Q::bounded::<T>(workload.capacity, workload.producers);
    let length = WORK * items as u32;
    let (starters, pushing) =
        (Starters::new(workload.producers), AtomicUsize::new(workload.producers));
    thread::scope(|scope| {
        let producers = senders.into_iter().map(|mut sender| {
            let (starters, pushing) = (&starters, &pushing);
            scope.spawn(move || {
                let mut calls = new_histogram();
                starters.wait();
                let begin = Instant::now();
                let mut push = || {
                    let start = Instant::now();
                    sender.put(T::with_number(0));
                    calls += start.elapsed().as_nanos() as u64;
                };
                while begin.elapsed() < length {
                    push();
                }
                // The consumer may have begun to wait before the time was over.
                push();
                pushing.fetch_sub(1, Ordering::Release);
                calls
            })
        });
        let producers: Vec<_> = producers.collect();
        let (start, mut popped) = (starters.start(), 0);
        while start.elapsed() < length {
            work_on(receiver.take());
            popped += 1;
        }
        let sample = Sample::of(start.elapsed(), popped);
        loop {
            let is_last = pushing.load(Ordering::Acquire) == 0;
            match receiver.try_take() {
                Some(item) => work_on(item),
                None if is_last => break,
                None => thread::yield_now(),
            }
        }
        let mut call = new_histogram();
        for producer in producers {
            call += producer.join().expect("no rival panics");
        }
        Sample { call, ..sample }
    })
}

fn work_on<T>(item: T) {
    let start = Instant::now();
    while start.elapsed() < WORK {
        spin_loop();
    }
    black_box(item);
}
