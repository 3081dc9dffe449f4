//! What is measured, and for how long.

use std::time::Duration;

use crate::results::Results;
use crate::upkeep::COUNTED_PRODUCERS;
use crate::workloads::{Kind, Pace, Payload, Workload, paced, turns};

pub(crate) struct Plan {
    /// Whether there is time enough to tell a difference from noise.
    pub(crate) verdicts: bool,
    pub(crate) rounds: usize,
    /// How long one queue runs in one round of one workload, if it has not many producers.
    pub(crate) measurement: Duration,
    /// The same where the threads rest most of the time, or something else has a core for many time
    /// slices.
    pub(crate) long_measurement: Duration,
    /// The same for round trips of threads that sleep, of which some take long.
    pub(crate) trips: Duration,
    /// The same for turns, where the longest of many waits counts.
    pub(crate) turns: Duration,
    /// How many bursts there are at least, where the threads rest.
    pub(crate) bursts: u64,
    /// How long to wait, in all, until the cores are as far apart as they mostly are.
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
        trips: Duration::from_millis(40),
        turns: Duration::from_millis(500),
        bursts: 20,
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
        trips: Duration::from_millis(4),
        turns: Duration::from_millis(40),
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
            Kind::BlockingBusy | Kind::RoundTripTaken => self.long_measurement,
            Kind::RoundTripSleeping => self.trips,
            _ => self.measurement.max(PER_PRODUCER * workload.producers as u32),
        }
    }

    /// How many bursts, where the threads rest.
    fn bursts(&self, pace: Pace) -> u64 {
        self.bursts.max((self.long_measurement.as_nanos() / pace.period.as_nanos()) as u64)
    }

    /// How many items are sent, where that is known beforehand.
    pub(crate) fn known_items(&self, workload: &Workload) -> Option<u64> {
        match workload.kind {
            Kind::Paced(pace) | Kind::Signals(pace) => {
                Some(self.bursts(pace) * pace.burst * workload.producers as u64)
            }
            Kind::Turns => Some((self.turns.as_nanos() / turns::WORK.as_nanos()) as u64),
            _ => None,
        }
    }

    /// In how many rounds this is measured. Where it takes long, a few must do.
    pub(crate) fn rounds_of(&self, workload: &Workload) -> usize {
        const FEW: usize = 7;
        if workload.kind == Kind::Turns { self.rounds.min(FEW) } else { self.rounds }
    }

    /// About how long one measurement takes, with all that belongs to it.
    fn whole_measurement(&self, workload: &Workload) -> Duration {
        const TO_BEGIN: Duration = Duration::from_micros(1200);
        const PER_THREAD: Duration = Duration::from_micros(50);
        let measured = match workload.kind {
            Kind::Paced(pace) | Kind::Signals(pace) => pace.period * self.bursts(pace) as u32,
            Kind::Turns => self.turns,
            _ if workload.warm => 2 * self.duration(workload),
            _ => self.duration(workload),
        };
        measured + TO_BEGIN + PER_THREAD * workload.producers as u32
    }

    /// About how long it takes to measure this, the warm-up included.
    fn time(&self, results: &Results) -> Duration {
        let measurements = results.lines.len() * (self.rounds_of(&results.workload) + 1);
        self.whole_measurement(&results.workload) * measurements as u32
    }

    /// About how long it takes to find out what queues cost besides time.
    fn time_for_upkeep(&self) -> Duration {
        const PER_COUNTED_ITEM: Duration = Duration::from_micros(20);
        const QUEUES: u32 = 9;
        let counted = QUEUES * COUNTED_PRODUCERS.len() as u32 * self.counted_items as u32;
        self.watch + PER_COUNTED_ITEM * counted
    }

    /// What is going to happen, and about how long it takes.
    pub(crate) fn announce(&self, all: &[Results], with_upkeep: bool) -> String {
        let mut lines = Vec::new();
        for of_group in all.chunk_by(|a, b| group(a.workload.kind) == group(b.workload.kind)) {
            let time = of_group.iter().map(|results| self.time(results)).sum();
            lines.push((group(of_group[0].workload.kind), of_group.len(), time));
        }
        if with_upkeep {
            lines.push(("system calls and idle threads", 1, self.time_for_upkeep()));
        }
        let whole: Duration = lines.iter().map(|(.., time)| *time).sum();
        let decides = if self.verdicts { "who is faster" } else { "who is at least twice as fast" };
        let mut text = format!(
            "{} rounds, about {} s in all, to say {decides}; and up to {} s more while the cores are \
             nearer or farther than usual:\n",
            self.rounds,
            whole.as_secs(),
            self.patience.as_secs(),
        );
        for (what, workloads, time) in lines {
            text += &format!("{:5} s  {what}: {workloads}\n", time.as_secs());
        }
        text
    }

    /// About how many minutes everything takes.
    pub(crate) fn minutes(&self, all: &[Results]) -> u64 {
        let times = all.iter().map(|results| self.time(results));
        (times.sum::<Duration>() + self.time_for_upkeep()).as_secs().div_ceil(60)
    }
}

pub(crate) const PRODUCERS: [usize; 7] = [1, 2, 4, 8, 16, 32, 64];
const CAPACITIES: [usize; 3] = [1, 8, 65536];
/// What loggers send.
const LOGGED: [Payload; 2] = [Payload::Record, Payload::String];
/// These streams are measured in new queues, and in some that are warm.
const NEW_AND_WARM: [(usize, usize); 4] = [(2, 8), (2, 1024), (16, 8), (16, 1024)];

const fn u64s(kind: Kind, producers: usize) -> Workload {
    Workload::new(kind, producers, Payload::U64, 1024)
}

pub(crate) const fn blocking(producers: usize) -> Workload {
    u64s(Kind::Blocking, producers)
}

const fn latency(kind: Kind, payload: Payload) -> Workload {
    Workload::new(kind, 1, payload, 8)
}

/// Round trips are measured with so much room.
const TRIP_CAPACITIES: [usize; 6] = [1, 8, 64, 256, 1024, 65536];

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
    for (producers, capacity) in NEW_AND_WARM {
        let new = Workload::new(Kind::Blocking, producers, Payload::U64, capacity);
        if !all.contains(&new) {
            all.push(new);
        }
        all.push(new.warm());
    }
    all.extend([1, 2, 4, 16].map(|producers| u64s(Kind::BlockingBusy, producers)));
    all.push(Workload::new(Kind::BlockingBusy, 2, Payload::U64, 8));
    for of_one_kind in LATENCIES {
        all.push(of_one_kind);
        all.push(latency(of_one_kind.kind, Payload::Record));
        if of_one_kind.kind == Kind::RoundTripSleeping {
            all.extend(trips());
            all.push(latency(Kind::RoundTripTaken, Payload::U64));
        }
    }
    all.extend([8, 64].map(|capacity| Workload::new(Kind::Turns, 16, Payload::U64, capacity)));
    all.extend(paced::ALL);
    all.into_iter().flat_map(with_pinned).collect()
}

/// Round trips with the other capacities, and all of them warm.
fn trips() -> impl Iterator<Item = Workload> {
    let of = |capacity| Workload::new(Kind::RoundTripSleeping, 1, Payload::U64, capacity);
    let new = TRIP_CAPACITIES.into_iter().filter(|capacity| *capacity != 8).map(of);
    new.chain(TRIP_CAPACITIES.map(|capacity| of(capacity).warm()))
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
        Kind::RoundTripTaken => "round trip, sleeping, all cores busy".into(),
        Kind::Turns => format!("turns, {producers}"),
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
    let is_latency = group(kind) == "round trips" || kind == Kind::WakeUp;
    if workload.capacity != if is_latency { 8 } else { 1024 } {
        text += &format!(", capacity {}", workload.capacity);
    }
    text += if workload.warm { ", warm" } else { "" };
    text + if workload.pinned { ", pinned" } else { "" }
}

/// What the workload is counted with.
pub(crate) fn group(kind: Kind) -> &'static str {
    match kind {
        Kind::Uncontended => "push and pop on one thread",
        Kind::Full => "`try_push` on a full queue",
        Kind::Try => "spinning",
        Kind::Blocking => "blocking",
        Kind::BlockingBusy => "blocking, a core busy",
        Kind::RoundTripSpinning | Kind::RoundTripSleeping | Kind::RoundTripTaken => "round trips",
        Kind::WakeUp => "wake-ups",
        Kind::Turns => "turns",
        Kind::Paced(_) | Kind::Signals(_) => "as users load it",
    }
}

fn describe_pace(Pace { burst, period }: Pace) -> String {
    let items = if burst == 1 { "item" } else { "items" };
    match period.as_micros() {
        micros if micros % 1000 == 0 => format!("{burst} {items} every {} ms", micros / 1000),
        micros => format!("{burst} {items} every {micros} µs"),
    }
}
