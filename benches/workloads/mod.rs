//! Benchmarks only.
//! How everything is measured: see [`Kind`].

mod busy;
mod items;
mod latency;
pub(crate) mod paced;
pub(crate) mod threads;
pub(crate) mod turns;
mod waiting;
mod workload;

use std::thread;

use crate::rivals::{Lingering, Queue, Role, for_each_queue};
use items::{Item, Record, Words};
pub(crate) use threads::can_pin_apart;
use threads::{Seat, end_after, with_a_core_busy, with_all_cores_busy};
use waiting::{Sleeping, Spinning};
pub(crate) use workload::{Kind, Pace, Payload, Sample, Workload, new_histogram};

/// A queue that takes part, or something else that the queues are compared with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Contestant {
    pub(crate) name: &'static str,
    pub(crate) role: Role,
    fits: fn(&Workload) -> bool,
    run: fn(&Workload, u64) -> Sample,
}

impl Contestant {
    /// Whether it has what the workload needs.
    pub(crate) fn fits(&self, workload: &Workload) -> bool {
        (self.fits)(workload)
    }

    /// Measures with about so many items, on a thread that is as new as the queue. Where that does
    /// not end, the process does.
    pub(crate) fn run(&self, workload: &Workload, items: u64) -> Sample {
        end_after(LONGEST);
        let sample = thread::scope(|scope| {
            let measuring = scope.spawn(|| {
                workload.seat(Seat::Consumer);
                (self.run)(workload, items)
            });
            measuring.join().expect("no rival panics")
        });
        end_after(0);
        sample
    }
}

/// No measurement takes so many seconds, not even while something watches every system call.
const LONGEST: u32 = 30;

/// All queues, bywash first, and last one locked instruction, bywash with batches, and with a
/// consumer that lingers.
pub(crate) fn contestants() -> Vec<Contestant> {
    let mut all = for_each_queue!(contestant).map(|contestant| contestant()).to_vec();
    all.push(Contestant {
        name: "compare_exchange",
        role: Role::Limit,
        fits: |workload| workload.kind == Kind::Uncontended && workload.payload == Payload::U64,
        run: |_, items| busy::compare_exchange(items),
    });
    all.push(Contestant {
        name: "bywash, 32 at a time",
        role: Role::Variant,
        fits: |workload| {
            let unpinned = Workload { pinned: false, ..*workload };
            unpinned == Workload::new(Kind::Blocking, 1, Payload::U64, 1024)
        },
        run: busy::batches,
    });
    all.push(Contestant {
        fits: |workload| {
            matches!(workload.kind, Kind::Paced(pace) if pace.burst == 1) && workload.producers == 1
        },
        ..contestant::<Lingering>()
    });
    all
}

fn contestant<Q: Queue>() -> Contestant {
    Contestant { name: Q::NAME, role: Q::ROLE, fits: fits::<Q>, run: run::<Q> }
}

/// The peers that most programs have.
const FEW: [&str; 5] = ["bywash", "std sync_channel", "crossbeam-channel", "flume", "kanal"];

fn fits<Q: Queue>(workload: &Workload) -> bool {
    (Q::SLEEPS || !workload.kind.needs_sleep())
        && workload.capacity >= Q::LEAST_CAPACITY
        && workload.producers <= Q::MOST_PRODUCERS
        && (!workload.has_few_peers() || FEW.contains(&Q::NAME))
        && (workload.kind != Kind::RoundTripTaken || can_pin_apart())
}

fn run<Q: Queue>(workload: &Workload, items: u64) -> Sample {
    match workload.payload {
        Payload::U64 => run_with::<Q, u64>(workload, items),
        Payload::Bytes64 => run_with::<Q, Words>(workload, items),
        Payload::Boxed => run_with::<Q, Box<u64>>(workload, items),
        Payload::Record => run_with::<Q, Record>(workload, items),
        Payload::String => run_with::<Q, String>(workload, items),
    }
}

fn run_with<Q: Queue, T: Item>(workload: &Workload, items: u64) -> Sample {
    match workload.kind {
        Kind::Uncontended => busy::uncontended::<Q, T>(workload, items),
        Kind::Full => busy::full::<Q, T>(workload, items),
        Kind::Try => busy::stream::<Q, T, Spinning>(workload, items),
        Kind::Blocking => busy::stream::<Q, T, Sleeping>(workload, items),
        Kind::BlockingBusy => with_a_core_busy(|| busy::stream::<Q, T, Sleeping>(workload, items)),
        Kind::RoundTripSpinning => latency::round_trip::<Q, T, Spinning>(workload, items),
        Kind::RoundTripSleeping => latency::round_trip::<Q, T, Sleeping>(workload, items),
        Kind::RoundTripTaken => {
            with_all_cores_busy(|| latency::round_trip::<Q, T, Sleeping>(workload, items))
        }
        Kind::Turns => turns::turns::<Q, T>(workload, items),
        Kind::WakeUp => latency::wake_up::<Q, T>(workload, items),
        Kind::Paced(pace) => paced::by_threads::<Q, T>(workload, pace, items),
        Kind::Signals(pace) => paced::by_signals::<Q, T>(workload, pace, items),
    }
}
