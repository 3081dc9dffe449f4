//! bywash and the best peer of each workload: how many times as long, and whether that is noise.

use crate::plan::{self, Plan};
use crate::results::{Figure, Line, Results, quantile};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Faster,
    NoDifference,
    Slower,
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Faster => "faster",
            Self::NoDifference => "no difference",
            Self::Slower => "slower",
        })
    }
}

/// bywash and its best peer on one workload.
pub(crate) struct Comparison<'a> {
    pub(crate) results: &'a Results,
    pub(crate) figure: Figure,
    pub(crate) ours: &'a Line,
    pub(crate) peer: &'a Line,
    /// Of the ratios of all rounds: the lower quartile, the median, the upper quartile. Of few
    /// rounds the lowest, the median, the highest.
    pub(crate) quartiles: [f64; 3],
    /// The ratio of each round.
    pub(crate) ratios: Vec<f64>,
}

impl<'a> Comparison<'a> {
    /// There is none where bywash or all peers failed or were not asked for.
    pub(crate) fn new(results: &'a Results, figure: Figure) -> Option<Self> {
        let (ours, peer) = (results.ours()?, *results.peers(figure).first()?);
        let pairs = ours.rounds.iter().zip(&peer.rounds);
        let ratios: Vec<_> = pairs.map(|(ours, peer)| figure.of(ours) / figure.of(peer)).collect();
        let are_few = ratios.len() < Plan::FEWEST_FOR_VERDICTS;
        let places = if are_few { [0.0, 0.5, 1.0] } else { [0.25, 0.5, 0.75] };
        let quartiles = places.map(|place| quantile(&ratios, place));
        Some(Self { results, figure, ours, peer, quartiles, ratios })
    }

    pub(crate) fn verdict(&self) -> Verdict {
        match self.quartiles {
            [_, _, upper] if upper < 1.0 => Verdict::Faster,
            [lower, ..] if lower > 1.0 => Verdict::Slower,
            _ => Verdict::NoDifference,
        }
    }

    pub(crate) fn ratio(&self) -> f64 {
        self.quartiles[1]
    }
}

/// All that there are.
pub(crate) fn comparisons(results: &[Results]) -> Vec<Comparison<'_>> {
    let judged = results
        .iter()
        .flat_map(|results| Figure::judged(results).iter().map(move |figure| (results, *figure)));
    judged.filter_map(|(results, figure)| Comparison::new(results, figure)).collect()
}

/// The comparisons that the mean is over.
pub(crate) fn averaged(results: &[Results]) -> Vec<Comparison<'_>> {
    let find = |workload| results.iter().find(|results| results.workload == workload);
    let found = plan::averaged().into_iter().filter_map(find);
    found.filter_map(|results| Comparison::new(results, Figure::Time)).collect()
}

pub(crate) fn geometric_mean(ratios: impl IntoIterator<Item = f64>) -> f64 {
    let (mut sum, mut count) = (0.0, 0);
    for ratio in ratios {
        sum += ratio.ln();
        count += 1;
    }
    (sum / f64::from(count)).exp()
}

/// The mean of each round.
pub(crate) fn means_of_rounds(comparisons: &[Comparison<'_>]) -> Vec<f64> {
    let rounds = comparisons.iter().map(|one| one.ratios.len()).min().unwrap_or(0);
    let mean = |round| geometric_mean(comparisons.iter().map(|one| one.ratios[round]));
    (0..rounds).map(mean).collect()
}
