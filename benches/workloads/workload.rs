//! What is measured.

use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::threads::{Seat, can_pin_apart};

/// What the threads do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One thread pushes an item and pops it.
    Uncontended,
    /// A thread that is not the consumer's tries to push into a full queue.
    Full,
    /// Producers push and the consumer pops by the functions that never wait, until they succeed.
    Try,
    /// The same by the functions that sleep.
    Blocking,
    /// The same while another thread keeps a core busy.
    BlockingBusy,
    /// An item goes to another thread through one queue and comes back through a second one.
    RoundTripSpinning,
    RoundTripSleeping,
    /// The same as the second while other threads keep all cores busy.
    RoundTripTaken,
    /// From the push to the return of a pop that was asleep.
    WakeUp,
    /// Producers push without rest, and the consumer works for long on each item: whether those
    /// that wait for room take turns.
    Turns,
    /// Producers rest between bursts; the consumer works a little for each item, and sleeps.
    Paced(Pace),
    /// The same, and the pushes are made by a signal handler.
    Signals(Pace),
}

impl Kind {
    pub(crate) fn pace(self) -> Option<Pace> {
        match self {
            Self::Paced(pace) | Self::Signals(pace) => Some(pace),
            _ => None,
        }
    }

    /// Whether it matters which cores the threads run on, and is not the point itself.
    fn can_be_pinned(self) -> bool {
        !matches!(
            self,
            Self::Uncontended
                | Self::Full
                | Self::BlockingBusy
                | Self::RoundTripTaken
                | Self::Turns
        )
    }

    pub(super) fn needs_sleep(self) -> bool {
        !matches!(self, Self::Uncontended | Self::Full | Self::Try | Self::RoundTripSpinning)
    }
}

/// Each producer pushes so many items at once, and so often. The producers take turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pace {
    pub(crate) burst: u64,
    pub(crate) period: Duration,
}

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Payload {
    U64,
    Bytes64,
    Boxed,
    Record,
    String,
}

impl Payload {
    pub(crate) const ALL: [Self; 5] =
        [Self::U64, Self::Bytes64, Self::Boxed, Self::Record, Self::String];
}

/// Something to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Workload {
    pub(crate) kind: Kind,
    pub(crate) producers: usize,
    pub(crate) payload: Payload,
    pub(crate) capacity: usize,
    /// The threads have done the same through the queue for as long before. Otherwise the queue is
    /// new.
    pub(crate) warm: bool,
    /// The consumer runs on one core, the producers on the others. Otherwise the system decides.
    pub(crate) pinned: bool,
}

impl Workload {
    pub(crate) const fn new(
        kind: Kind,
        producers: usize,
        payload: Payload,
        capacity: usize,
    ) -> Self {
        Self { kind, producers, payload, capacity, warm: false, pinned: false }
    }

    pub(crate) const fn warm(self) -> Self {
        Self { warm: true, ..self }
    }

    /// How many items go through the queue before so many are measured.
    pub(super) fn items_before(&self, items: u64) -> u64 {
        if self.warm { items } else { 0 }
    }

    /// Whether the workload takes long, or is one of many alike, so that a few peers are enough.
    pub(crate) fn has_few_peers(&self) -> bool {
        match self.kind {
            Kind::RoundTripSleeping => self.warm || self.capacity != 8,
            Kind::RoundTripTaken | Kind::Turns => true,
            _ => false,
        }
    }

    /// The same with threads pinned apart, where that is possible and makes a difference.
    pub(crate) fn pinned(self) -> Option<Self> {
        (self.kind.can_be_pinned() && can_pin_apart()).then_some(Self { pinned: true, ..self })
    }

    /// Keeps the calling thread in its place, if this is pinned.
    pub(super) fn seat(&self, seat: Seat) {
        if self.pinned {
            seat.pin();
        }
    }
}

/// `group/workload/params`.
impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { producers, capacity, .. } = *self;
        match self.kind {
            Kind::Uncontended => f.write_str("uncontended/push_pop")?,
            Kind::Full => f.write_str("full/try_push")?,
            Kind::Try => write!(f, "try/{producers}_to_1")?,
            Kind::Blocking => write!(f, "blocking/{producers}_to_1")?,
            Kind::BlockingBusy => write!(f, "blocking_busy/{producers}_to_1")?,
            Kind::RoundTripSpinning => f.write_str("latency/round_trip_spinning")?,
            Kind::RoundTripSleeping => f.write_str("latency/round_trip_sleeping")?,
            Kind::RoundTripTaken => f.write_str("latency/round_trip_cores_taken")?,
            Kind::WakeUp => f.write_str("latency/wake_up")?,
            Kind::Turns => write!(f, "turns/{producers}_to_1")?,
            Kind::Paced(pace) => write!(f, "paced/{producers}_to_1_{pace}")?,
            Kind::Signals(pace) => write!(f, "paced/signals_{pace}")?,
        }
        let payload = match self.payload {
            Payload::U64 => "u64",
            Payload::Bytes64 => "64_bytes",
            Payload::Boxed => "box",
            Payload::Record => "record",
            Payload::String => "string",
        };
        let [warm, pinned] = [(self.warm, ",warm"), (self.pinned, ",pinned")]
            .map(|(applies, text)| if applies { text } else { "" });
        write!(f, "/{payload},capacity_{capacity}{warm}{pinned}")
    }
}

impl fmt::Display for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}_each_{}us", self.burst, self.period.as_micros())
    }
}

/// One measurement.
#[derive(Debug)]
pub(crate) struct Sample {
    /// Of processor time where the threads rest, of time elsewhere.
    pub(crate) nanos_per_item: f64,
    /// How often a thread left its core; where the threads rest.
    pub(crate) switches_per_item: f64,
    /// How long the calls that push took, in nanoseconds; where the threads rest, or take turns.
    pub(crate) call: Histogram<u64>,
    /// How long the items were on their way; where the threads rest, and for latencies.
    pub(crate) delivery: Histogram<u64>,
}

impl Sample {
    pub(crate) fn new(nanos_per_item: f64) -> Self {
        let (call, delivery) = (new_histogram(), new_histogram());
        Self { nanos_per_item, switches_per_item: 0.0, call, delivery }
    }

    pub(super) fn of(time: Duration, items: u64) -> Self {
        Self::new(time.as_nanos() as f64 / items as f64)
    }
}

pub(crate) fn new_histogram() -> Histogram<u64> {
    Histogram::new(3).expect("3 digits are possible")
}
