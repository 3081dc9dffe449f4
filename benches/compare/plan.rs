//! What is measured, for how long, and what ought to come out.

use std::time::Duration;

use crate::workloads::{Kind, Payload, Workload};

pub(crate) struct Plan {
    pub(crate) rounds: usize,
    /// How long one queue runs in one round of one workload.
    pub(crate) measurement: Duration,
    /// How long blocked threads are watched.
    pub(crate) watch: Duration,
    /// How many items are sent while system calls are counted.
    pub(crate) counted_items: u64,
}

impl Plan {
    pub(crate) const FULL: Self = Self {
        rounds: 11,
        measurement: Duration::from_millis(60),
        watch: Duration::from_secs(10),
        counted_items: 100_000,
    };

    pub(crate) const QUICK: Self = Self {
        rounds: 3,
        measurement: Duration::from_millis(20),
        watch: Duration::from_secs(2),
        counted_items: 20_000,
    };
}

/// A workload with the ratio to the best peer that it should have at most.
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) workload: Workload,
    pub(crate) ratio: f64,
}

/// At most so many times a locked compare-exchange for an uncontended push and pop.
pub(crate) const EXCHANGES: f64 = 1.5;
/// An item of a batch takes at most this part of the time of one that is pushed and popped alone.
pub(crate) const BATCHES: f64 = 0.333;
/// From 1 producer to 64, the cost of an item grows to so many times at most.
pub(crate) const GROWTH: f64 = 2.0;
/// At most so many futex calls per 1000 items.
pub(crate) const FUTEX_CALLS: f64 = 20.0;
/// At most so many milliseconds of processor time for a thread that waits.
pub(crate) const WAITING: f64 = 1.0;
/// At most so many bytes beside the slots, which are 16 bytes each for a `u64`.
pub(crate) const OVERHEAD: f64 = 1024.0;

pub(crate) const UNCONTENDED: Workload = Workload::new(Kind::Uncontended, 1, Payload::U64, 1024);
pub(crate) const PRODUCERS: [usize; 7] = [1, 2, 4, 8, 16, 32, 64];

pub(crate) const fn blocking(producers: usize) -> Workload {
    Workload::new(Kind::Blocking, producers, Payload::U64, 1024)
}

pub(crate) const LATENCIES: [(&str, Workload); 3] = [
    ("round trip, spinning", Workload::new(Kind::RoundTripSpinning, 1, Payload::U64, 8)),
    ("round trip, sleeping", Workload::new(Kind::RoundTripSleeping, 1, Payload::U64, 8)),
    ("wake-up of a sleeper", Workload::new(Kind::WakeUp, 1, Payload::U64, 8)),
];

pub(crate) fn targets() -> Vec<Target> {
    let target = |name: &str, ratio, workload| Target { name: name.into(), workload, ratio };
    let mut all = vec![
        target("uncontended push + pop", 0.75, UNCONTENDED),
        target("`try_push` on a full queue", 0.5, Workload::new(Kind::Full, 1, Payload::U64, 1024)),
    ];
    for producers in [1, 2, 4] {
        let name = format!("spinning, {}", count(producers));
        all.push(target(&name, 0.5, Workload::new(Kind::Try, producers, Payload::U64, 1024)));
    }
    all.extend(blocking_targets(Kind::Blocking, |ratio| ratio));
    all.push(target(LATENCIES[0].0, 0.7, LATENCIES[0].1));
    all.push(target(LATENCIES[1].0, 0.6, LATENCIES[1].1));
    all.extend(blocking_targets(Kind::BlockingBusy, |_| 1.0));
    all
}

fn blocking_targets(kind: Kind, ratio: fn(f64) -> f64) -> impl Iterator<Item = Target> {
    let producers =
        [1, 2, 4, 16].map(|n| (count(n), 0.5, Workload::new(kind, n, Payload::U64, 1024)));
    let others = [
        (", capacity 8", 0.5, Payload::U64, 8),
        (", 64-byte items", 0.8, Payload::Bytes64, 1024),
        (", `Box`", 0.9, Payload::Boxed, 1024),
    ]
    .map(|(what, ratio, payload, capacity)| {
        (count(2) + what, ratio, Workload::new(kind, 2, payload, capacity))
    });
    let busy = if kind == Kind::BlockingBusy { ", a core busy" } else { "" };
    producers.into_iter().chain(others).map(move |(what, most, workload)| Target {
        name: format!("blocking{busy}, {what}"),
        workload,
        ratio: ratio(most),
    })
}

fn count(producers: usize) -> String {
    format!("{producers} producer{}", if producers == 1 { "" } else { "s" })
}

/// All workloads, in the order of the report.
pub(crate) fn workloads() -> Vec<Workload> {
    let mut all: Vec<_> = targets().into_iter().map(|target| target.workload).collect();
    all.extend(PRODUCERS.map(blocking));
    all.push(Workload::new(Kind::Try, 16, Payload::U64, 1024));
    all.push(LATENCIES[2].1);
    for (kind, producers) in [(Kind::Uncontended, 1), (Kind::Try, 2), (Kind::Blocking, 2)] {
        all.extend(
            [1, 8, 65536].map(|capacity| Workload::new(kind, producers, Payload::U64, capacity)),
        );
        let payloads = [Payload::Bytes64, Payload::Boxed, Payload::Record];
        all.extend(payloads.map(|payload| Workload::new(kind, producers, payload, 1024)));
    }
    all.sort_by_key(|w| {
        (w.kind as u8, w.payload as u8, w.capacity != 1024, w.capacity, w.producers)
    });
    all.dedup();
    all
}
