//! What is measured, and for how long.

use std::time::Duration;

use crate::workloads::{Kind, Pace, Payload, Workload, paced};

pub(crate) struct Plan {
    /// Whether there is time enough to tell a difference from noise.
    pub(crate) verdicts: bool,
    pub(crate) rounds: usize,
    /// How long one queue runs in one round of one workload, if it has not many producers.
    pub(crate) measurement: Duration,
    /// The same where the threads rest most of the time, or something else has a core for many time
    /// slices.
    pub(crate) long_measurement: Duration,
    /// How many bursts there are at least, where the threads rest.
    pub(crate) bursts: u64,
    /// How long to wait, in all, until cores that are far apart are near again.
    pub(crate) patience: Duration,
    /// What takes longer hangs.
    pub(crate) limit: Duration,
    /// How long blocked threads are watched.
    pub(crate) watch: Duration,
    /// How many items are sent while system calls are counted.
    pub(crate) counted_items: u64,
}

impl Plan {
    /// With fewer rounds one cannot tell a difference from noise.
    pub(crate) const FEWEST_FOR_VERDICTS: usize = 15;

    pub(crate) const FULL: Self = Self {
        verdicts: true,
        rounds: 25,
        measurement: Duration::from_millis(8),
        long_measurement: Duration::from_millis(60),
        bursts: 40,
        patience: Duration::from_secs(120),
        limit: Duration::from_secs(10),
        watch: Duration::from_secs(10),
        counted_items: 100_000,
    };

    pub(crate) const QUICK: Self = Self {
        verdicts: false,
        rounds: 3,
        measurement: Duration::from_millis(2),
        long_measurement: Duration::from_millis(4),
        bursts: 10,
        patience: Duration::ZERO,
        limit: Duration::from_secs(5),
        watch: Duration::from_millis(500),
        counted_items: 10_000,
    };

    /// How long one queue runs in one round of this workload: long enough that the start of many
    /// threads hardly counts.
    pub(crate) fn duration(&self, workload: &Workload) -> Duration {
        const PER_PRODUCER: Duration = Duration::from_micros(500);
        match workload.kind {
            Kind::BlockingBusy => self.long_measurement,
            _ => self.measurement.max(PER_PRODUCER * workload.producers as u32),
        }
    }

    /// How many items are sent, where that is known beforehand.
    pub(crate) fn paced_items(&self, workload: &Workload) -> Option<u64> {
        let pace = workload.kind.pace()?;
        let bursts = (self.long_measurement.as_nanos() / pace.period.as_nanos()) as u64;
        Some(bursts.max(self.bursts) * pace.burst * workload.producers as u64)
    }
}

pub(crate) const PRODUCERS: [usize; 7] = [1, 2, 4, 8, 16, 32, 64];
const CAPACITIES: [usize; 3] = [1, 8, 65536];
/// What loggers send.
const LOGGED: [Payload; 2] = [Payload::Record, Payload::String];

const fn u64s(kind: Kind, producers: usize) -> Workload {
    Workload::new(kind, producers, Payload::U64, 1024)
}

pub(crate) const fn blocking(producers: usize) -> Workload {
    u64s(Kind::Blocking, producers)
}

const fn latency(kind: Kind, payload: Payload) -> Workload {
    Workload::new(kind, 1, payload, 8)
}

/// What the picture at the head of RESULTS.md shows.
pub(crate) const HEADLINES: [Workload; 8] = [
    u64s(Kind::Uncontended, 1),
    u64s(Kind::Full, 1),
    u64s(Kind::Try, 2),
    blocking(1),
    blocking(4),
    Workload::new(Kind::Blocking, 2, Payload::Record, 1024),
    latency(Kind::RoundTripSleeping, Payload::U64),
    paced::ALL[0],
];

/// Of these there is a picture with percentiles.
pub(crate) const LATENCIES: [Workload; 3] = [
    latency(Kind::RoundTripSpinning, Payload::U64),
    latency(Kind::RoundTripSleeping, Payload::U64),
    latency(Kind::WakeUp, Payload::U64),
];

/// The mean is over these, and the same pinned.
pub(crate) fn averaged() -> Vec<Workload> {
    let busy = [
        u64s(Kind::Uncontended, 1),
        u64s(Kind::Full, 1),
        u64s(Kind::Try, 1),
        u64s(Kind::Try, 2),
        u64s(Kind::Try, 4),
        blocking(1),
        blocking(2),
        blocking(4),
        blocking(8),
        blocking(16),
        Workload::new(Kind::Blocking, 2, Payload::U64, 8),
        Workload::new(Kind::Blocking, 2, Payload::Bytes64, 1024),
        Workload::new(Kind::Blocking, 2, Payload::Record, 1024),
    ];
    [&busy[..], &LATENCIES[..2]].concat().into_iter().flat_map(with_pinned).collect()
}

/// All workloads, in the order of the report.
pub(crate) fn workloads() -> Vec<Workload> {
    let mut all = vec![u64s(Kind::Uncontended, 1)];
    all.extend(around(Kind::Uncontended, 1));
    all.push(u64s(Kind::Full, 1));
    all.extend(LOGGED.map(|payload| Workload::new(Kind::Full, 1, payload, 1024)));
    all.extend([1, 2, 4, 16].map(|producers| u64s(Kind::Try, producers)));
    all.extend(around(Kind::Try, 2));
    all.extend(PRODUCERS.map(blocking));
    all.extend(around(Kind::Blocking, 2));
    all.extend([1, 2, 4, 16].map(|producers| u64s(Kind::BlockingBusy, producers)));
    all.extend(
        around(Kind::BlockingBusy, 2).filter(|workload| workload.capacity.is_multiple_of(8)),
    );
    for of_one_kind in LATENCIES {
        all.push(of_one_kind);
        all.extend(LOGGED.map(|payload| latency(of_one_kind.kind, payload)));
    }
    all.extend(paced::ALL);
    all.into_iter().flat_map(with_pinned).collect()
}

/// The other capacities and payloads.
fn around(kind: Kind, producers: usize) -> impl Iterator<Item = Workload> {
    let capacities = CAPACITIES
        .map(move |capacity| Workload::new(kind, producers, Payload::U64, capacity))
        .into_iter();
    let payloads = Payload::ALL.into_iter().filter(|&payload| payload != Payload::U64);
    capacities.chain(payloads.map(move |payload| Workload::new(kind, producers, payload, 1024)))
}

fn with_pinned(workload: Workload) -> impl Iterator<Item = Workload> {
    [Some(workload), workload.pinned()].into_iter().flatten()
}

/// In words.
pub(crate) fn describe(workload: &Workload) -> String {
    let Workload { kind, producers, .. } = *workload;
    let producers = format!("{producers} producer{}", if producers == 1 { "" } else { "s" });
    let mut text = match kind {
        Kind::Uncontended => "push and pop on one thread".into(),
        Kind::Full => "`try_push` on a full queue".into(),
        Kind::Try => format!("spinning, {producers}"),
        Kind::Blocking => format!("blocking, {producers}"),
        Kind::BlockingBusy => format!("blocking, a core busy, {producers}"),
        Kind::RoundTripSpinning => "round trip, spinning".into(),
        Kind::RoundTripSleeping => "round trip, sleeping".into(),
        Kind::WakeUp => "wake-up of a sleeper".into(),
        Kind::Paced(pace) => format!("{producers}, {}", describe_pace(pace)),
        Kind::Signals(pace) => format!("a signal handler, {}", describe_pace(pace)),
    };
    text += match workload.payload {
        Payload::U64 => "",
        Payload::Bytes64 => ", 64 bytes",
        Payload::Boxed => ", `Box`",
        Payload::Record => ", 200-byte records",
        Payload::String => ", `String`",
    };
    let usual = if LATENCIES.iter().any(|latency| latency.kind == kind) { 8 } else { 1024 };
    if workload.capacity != usual {
        text += &format!(", capacity {}", workload.capacity);
    }
    text + if workload.pinned { ", pinned" } else { "" }
}

fn describe_pace(Pace { burst, period }: Pace) -> String {
    let items = if burst == 1 { "item" } else { "items" };
    match period.as_micros() {
        micros if micros % 1000 == 0 => format!("{burst} {items} every {} ms", micros / 1000),
        micros => format!("{burst} {items} every {micros} µs"),
    }
}
