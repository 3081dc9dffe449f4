//! What came out of measuring.

use hdrhistogram::Histogram;

use crate::rivals::Role;
use crate::units::duration;
use crate::worker::Failure;
use crate::workloads::{Contestant, Kind, Sample, Workload, contestants, new_histogram};

/// What came out for one workload, bywash first.
pub(crate) struct Results {
    pub(crate) workload: Workload,
    pub(crate) lines: Vec<Line>,
    /// Queues that are left out because they failed twice in a row.
    pub(crate) failures: Vec<(&'static str, Failure)>,
    /// Queues that failed, and did not when they were measured again.
    pub(crate) repeated: Vec<(&'static str, Failure)>,
}

/// What came out for one queue on one workload.
pub(crate) struct Line {
    pub(crate) contestant: Contestant,
    /// How many are sent in the next round.
    pub(crate) items: u64,
    pub(crate) rounds: Vec<Round>,
    /// Over all rounds.
    pub(crate) call: Histogram<u64>,
    pub(crate) delivery: Histogram<u64>,
}

/// What came out in one round, in nanoseconds.
pub(crate) struct Round {
    time: f64,
    switches: f64,
    call: Spread,
    delivery: Spread,
}

/// What a round's times were like.
struct Spread {
    half: f64,
    most: f64,
    longest: f64,
    mean: f64,
}

impl Spread {
    fn new(times: &Histogram<u64>) -> Self {
        let quantile = |quantile| times.value_at_quantile(quantile).max(1) as f64;
        Self {
            half: quantile(0.5),
            most: quantile(0.99),
            longest: quantile(1.0),
            mean: times.mean().max(1.0),
        }
    }
}

impl Line {
    fn new(contestant: Contestant) -> Self {
        let (call, delivery) = (new_histogram(), new_histogram());
        Self { contestant, items: 0, rounds: Vec::new(), call, delivery }
    }

    pub(crate) fn name(&self) -> &'static str {
        self.contestant.name
    }

    pub(crate) fn role(&self) -> Role {
        self.contestant.role
    }

    pub(crate) fn values(&self, figure: Figure) -> Vec<f64> {
        self.rounds.iter().map(|round| figure.of(round)).collect()
    }

    pub(crate) fn median(&self, figure: Figure) -> f64 {
        quantile(&self.values(figure), 0.5)
    }

    pub(crate) fn add(&mut self, sample: Sample) {
        self.rounds.push(Round {
            // Of processor time nothing may be left but what producers spun.
            time: sample.nanos_per_item.max(0.1),
            switches: sample.switches_per_item,
            call: Spread::new(&sample.call),
            delivery: Spread::new(&sample.delivery),
        });
        self.call += sample.call;
        self.delivery += sample.delivery;
    }
}

impl Results {
    /// The queues that take part and whose names match.
    pub(crate) fn new(workload: Workload, pattern: &str) -> Self {
        let mut entrants = contestants();
        entrants.retain(|contestant| {
            contestant.fits(&workload)
                && format!("{workload}/{}", contestant.name).contains(pattern)
        });
        let lines = entrants.into_iter().map(Line::new).collect();
        Self { workload, lines, failures: Vec::new(), repeated: Vec::new() }
    }

    pub(crate) fn line(&self, name: &str) -> Option<&Line> {
        self.lines.iter().find(|line| line.name() == name)
    }

    pub(crate) fn ours(&self) -> Option<&Line> {
        self.lines.iter().find(|line| line.role() == Role::Ours)
    }

    /// The best first.
    pub(crate) fn peers(&self, figure: Figure) -> Vec<&Line> {
        let mut peers: Vec<_> =
            self.lines.iter().filter(|line| line.role() == Role::Peer).collect();
        peers.sort_by(|a, b| a.median(figure).total_cmp(&b.median(figure)));
        peers
    }
}

/// What is compared. Less is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Figure {
    /// Per item; of processor time where the threads rest.
    Time,
    /// At the 50th and 99th percentile of a round, of a call that pushes.
    Call50,
    Call99,
    /// Likewise, from the push to the consumer.
    Delivery50,
    Delivery99,
    /// Of all calls that push, the longest and the 99th percentile, divided by the mean.
    LongestByMean,
    MostByMean,
    /// Per item.
    Switches,
}

impl Figure {
    pub(crate) const ALL: [Self; 8] = [
        Self::Time,
        Self::Call50,
        Self::Call99,
        Self::Delivery50,
        Self::Delivery99,
        Self::LongestByMean,
        Self::MostByMean,
        Self::Switches,
    ];

    pub(crate) fn of(self, round: &Round) -> f64 {
        match self {
            Self::Time => round.time,
            Self::Call50 => round.call.half,
            Self::Call99 => round.call.most,
            Self::Delivery50 => round.delivery.half,
            Self::Delivery99 => round.delivery.most,
            Self::LongestByMean => round.call.longest / round.call.mean,
            Self::MostByMean => round.call.most / round.call.mean,
            Self::Switches => round.switches,
        }
    }

    /// What a workload is judged by: by what one of a hundred items meets only where there are so
    /// many in a round.
    pub(crate) fn judged(results: &Results) -> &'static [Self] {
        const PACED: [Figure; 5] =
            [Figure::Time, Figure::Call50, Figure::Delivery50, Figure::Call99, Figure::Delivery99];
        match results.workload.kind {
            Kind::Paced(_) | Kind::Signals(_) => {
                let are_many = results.lines.iter().all(|line| line.items >= 100);
                if are_many { &PACED } else { &PACED[..3] }
            }
            Kind::Turns => &[Self::LongestByMean, Self::MostByMean],
            _ => &[Self::Time],
        }
    }

    /// As text: a time, or a number.
    pub(crate) fn show(self, value: f64) -> String {
        match self {
            Self::LongestByMean | Self::MostByMean | Self::Switches => format!("{value:.2}"),
            _ => duration(value),
        }
    }
}

/// Of the sorted values, the one at this place from 0 to 1.
pub(crate) fn quantile(values: &[f64], quantile: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[((sorted.len() - 1) as f64 * quantile).round() as usize]
}
