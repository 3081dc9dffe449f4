//! Where bywash is ahead, and where it is not.

use std::collections::HashMap;
use std::fmt::Write;

use crate::explanations;
use crate::markdown::{head, row};
use crate::plan::{self, describe};
use crate::ratios::{Comparison, Verdict, averaged, comparisons, geometric_mean, means_of_rounds};
use crate::results::{Figure, Results, quantile};
use crate::workloads::Workload;

/// The verdicts and ratios of the run before, by the names of the comparisons.
pub(crate) struct Before(HashMap<String, (String, f64)>);

impl Before {
    /// What [`lines`] wrote.
    pub(crate) fn read(lines: &str) -> Self {
        let parts = lines.lines().map(|line| line.split('\t').collect::<Vec<_>>());
        let found = parts.filter_map(|parts| match parts[..] {
            [verdict, name, ratio] => Some((name.into(), (verdict.into(), ratio.parse().ok()?))),
            _ => None,
        });
        Self(found.collect())
    }

    fn get(&self, comparison: &Comparison<'_>) -> Option<&(String, f64)> {
        self.0.get(&name(comparison))
    }
}

/// A line for each verdict, for the next run to compare with.
pub(crate) fn lines(results: &[Results]) -> String {
    let line =
        |one: &Comparison<'_>| format!("{}\t{}\t{:.3}\n", one.verdict(), name(one), one.ratio());
    comparisons(results).iter().map(line).collect()
}

/// The verdict that this run and the one before have come to. No difference, if they do not agree.
fn claim(comparison: &Comparison<'_>, before: Option<&Before>) -> Verdict {
    let verdict = comparison.verdict();
    let agrees = |before: &Before| {
        before.get(comparison).is_some_and(|(before, _)| *before == verdict.to_string())
    };
    if before.is_none_or(agrees) { verdict } else { Verdict::NoDifference }
}

pub(crate) fn markdown(results: &[Results], before: Option<&Before>) -> String {
    let (summary, lists) = (summary(results, before), lists(results, before));
    format!("\n## bywash and the best peer\n\n{summary}\n{lists}")
}

/// How often bywash is ahead, and each kind of load under which it is not.
pub(crate) fn in_short(results: &[Results], before: Option<&Before>) -> String {
    let all = comparisons(results);
    let [faster, same, slower] = counts(&all, before);
    let runs = if before.is_some() { "in two runs" } else { "in this run" };
    let mut text = format!(
        "Of {} comparisons with the best of its peers, bywash is faster in {faster} and slower in \
         {slower}, {runs}; for {same} nothing is claimed.",
        all.len()
    );
    let mut groups = Vec::new();
    for of_group in all.chunk_by(|a, b| group(a) == group(b)) {
        for figure in Figure::ALL {
            let such = || of_group.iter().filter(|one| one.figure == figure);
            let behind: Vec<_> =
                such().filter(|one| claim(one, before) == Verdict::Slower).collect();
            if !behind.is_empty() {
                groups.push(behind_in(&behind, such().count()));
            }
        }
    }
    if !groups.is_empty() {
        let _ = write!(text, " A peer is ahead in these: {}.", groups.join("; "));
    }
    text
}

/// Comparisons of one group and figure in which bywash is behind, of so many.
fn behind_in(behind: &[&Comparison<'_>], of: usize) -> String {
    let mut ratios: Vec<_> = behind.iter().map(|one| one.ratio()).collect();
    ratios.sort_by(f64::total_cmp);
    let [lowest, highest] =
        [ratios[0], ratios[ratios.len() - 1]].map(|ratio| format!("{ratio:.2}"));
    let times = if lowest == highest { lowest } else { format!("{lowest} to {highest}") };
    let mut peers: Vec<_> = behind.iter().map(|one| one.peer.name()).collect();
    peers.sort_unstable();
    peers.dedup();
    let Comparison { results, figure, .. } = behind[0];
    format!(
        "{}{}, {} of {of}, bywash takes {times} times as much as {}",
        group(behind[0]),
        figure_name(*figure, &results.workload),
        behind.len(),
        peers.join(", "),
    )
}

/// How often, by how much, and over what.
pub(crate) fn summary(results: &[Results], before: Option<&Before>) -> String {
    let all = comparisons(results);
    let mut text = String::from(
        "The ratio is bywash's figure divided by that of the peer with the best median, in the \
         same round: bywash is *faster* where the upper quartile of the ratios is below 1, and \
         *slower* where the lower quartile is above 1. Where there are few rounds, all of them \
         must say so. ",
    );
    text += match before {
        Some(_) => {
            "Something is *claimed* only where the run before this one, with the same program or \
             another one, came to the same verdict. "
        }
        None => "",
    };
    text += &before.map(|before| repeated(&all, before)).unwrap_or_default();
    text += "\n\n";
    let columns = ["comparisons", "faster", "not claimed", "slower", "ratio, mean", "ratios"];
    text += &head("", &columns);
    for of_group in all.chunk_by(|a, b| group(a) == group(b)) {
        let numbers = [of_group.len()].into_iter().chain(counts(of_group, before));
        let ratios: Vec<_> = of_group.iter().map(Comparison::ratio).collect();
        let range = [0.0, 1.0].map(|place| format!("{:.2}", quantile(&ratios, place)));
        let cells = numbers.map(|number| number.to_string());
        let cells = cells.chain([means(of_group, before), range.join("–")]);
        text += &row(group(&of_group[0]), cells);
    }
    let over = averaged(results);
    let list: Vec<_> = over
        .iter()
        .map(|one| format!("{} {:.2}", describe(&one.results.workload), one.ratio()))
        .collect();
    let of_rounds = means_of_rounds(&over);
    let [lower, upper] = [0.25, 0.75].map(|place| quantile(&of_rounds, place));
    let _ = write!(
        text,
        "\nThe geometric mean of the median ratios over these {} is **{}**{}; of single rounds, \
         half were between {lower:.2} and {upper:.2}: {}.\n",
        over.len(),
        means(&over, before),
        if before.is_some() { " (the lower and the higher of two runs)" } else { "" },
        list.join("; "),
    );
    text
}

/// The geometric mean; where it was another one in the run before, both.
fn means(comparisons: &[Comparison<'_>], before: Option<&Before>) -> String {
    let now = geometric_mean(comparisons.iter().map(Comparison::ratio));
    let ratio_before = |one| before.and_then(|before| before.get(one)).map(|(_, ratio)| *ratio);
    let before: Option<Vec<_>> = comparisons.iter().map(ratio_before).collect();
    let before = before.map_or(now, geometric_mean);
    let [low, high] = [now.min(before), now.max(before)].map(|mean| format!("{mean:.2}"));
    if low == high { low } else { format!("{low}–{high}") }
}

/// How the verdicts differ from those of the run before.
fn repeated(all: &[Comparison<'_>], before: &Before) -> String {
    let no_difference = Verdict::NoDifference.to_string();
    let (mut same, mut opposite, mut close) = (0, 0, 0);
    for one in all {
        let Some((before, _)) = before.get(one) else { continue };
        let now = one.verdict().to_string();
        if *before == now {
            same += 1;
        } else if [before, &now].contains(&&no_difference) {
            close += 1;
        } else {
            opposite += 1;
        }
    }
    format!(
        "That is so in {same} of {}; in {opposite} it came to the opposite one, and in {close} one \
         of the two runs shows a difference, and the other does not.",
        same + opposite + close,
    )
}

/// Where so few rounds that they prove nothing else leave no doubt: bywash takes twice as long as
/// the best peer in each round, or half as long.
pub(crate) fn beyond_doubt(results: &[Results]) -> String {
    let all = comparisons(results);
    let list = |what, is_such: fn([f64; 3]) -> bool| {
        let such: Vec<_> = all.iter().filter(|one| is_such(one.quartiles)).map(name).collect();
        let (count, of) = (such.len(), all.len());
        let such = if such.is_empty() { String::new() } else { format!(": {}", such.join("; ")) };
        format!("In {count} of {of} comparisons bywash takes {what}, in each round{such}.\n")
    };
    let halves = list("less than half as much as the best peer", |[.., high]| high < 0.5);
    let doubles = list("more than twice as much as the best peer", |[low, ..]| low > 2.0);
    format!("{halves}\n{doubles}\nToo little was measured to say who is faster elsewhere.\n")
}

/// Faster, no difference, slower.
fn counts(comparisons: &[Comparison<'_>], before: Option<&Before>) -> [usize; 3] {
    [Verdict::Faster, Verdict::NoDifference, Verdict::Slower]
        .map(|verdict| comparisons.iter().filter(|one| claim(one, before) == verdict).count())
}

fn group(comparison: &Comparison<'_>) -> &'static str {
    plan::group(comparison.results.workload.kind)
}

/// A list for each verdict.
pub(crate) fn lists(results: &[Results], before: Option<&Before>) -> String {
    let mut all = comparisons(results);
    all.sort_by(|a, b| a.ratio().total_cmp(&b.ratio()));
    let mut text = String::new();
    for (verdict, title) in [
        (Verdict::Faster, "Where bywash is faster"),
        (Verdict::Slower, "Where a peer is faster, and why"),
        (Verdict::NoDifference, "Where nothing is claimed"),
    ] {
        let such: Vec<_> = all.iter().filter(|one| claim(one, before) == verdict).collect();
        if !such.is_empty() {
            let list = list(&such, before, verdict == Verdict::Slower);
            let _ = writeln!(text, "\n### {title}\n\n{list}");
        }
    }
    text
}

fn list(
    comparisons: &[&Comparison<'_>],
    before: Option<&Before>,
    with_explanations: bool,
) -> String {
    let optional = [(before.is_some(), " run before |"), (with_explanations, " why |")];
    let optional = optional.into_iter().filter(|(is_there, _)| *is_there);
    let mut text = format!(
        "| workload | bywash | best peer | | ratio (quartiles) |{}\n|---|--:|--:|---|--:|{}\n",
        optional.clone().map(|(_, title)| title).collect::<String>(),
        "---|".repeat(optional.count()),
    );
    for comparison in comparisons {
        let Comparison { figure, ours, peer, quartiles, .. } = comparison;
        let [lower, median, upper] = quartiles;
        let [our_figure, peer_figure] = [ours, peer].map(|line| figure.show(line.median(*figure)));
        let _ = write!(
            text,
            "| {} | {our_figure} | {peer_figure} | {} | {median:.2} ({lower:.2}–{upper:.2}) |",
            name(comparison),
            peer.name(),
        );
        if let Some(before) = before {
            let then = before.get(comparison);
            let then = then.map(|(verdict, ratio)| format!("{ratio:.2}, {verdict}"));
            let _ = write!(text, " {} |", then.unwrap_or_default());
        }
        if with_explanations {
            let _ = write!(text, " {} |", explanations::of(comparison));
        }
        text.push('\n');
    }
    text
}

fn name(comparison: &Comparison<'_>) -> String {
    let Comparison { results: Results { workload, .. }, figure, .. } = comparison;
    describe(workload) + figure_name(*figure, workload)
}

/// Where a workload is judged by more than its time.
fn figure_name(figure: Figure, workload: &Workload) -> &'static str {
    match figure {
        Figure::Time if workload.kind.pace().is_some() => ": processor time",
        Figure::Time => "",
        Figure::Call50 => ": push call, 50 %",
        Figure::Call99 => ": push call, 99 %",
        Figure::Delivery50 => ": to consumer, 50 %",
        Figure::Delivery99 => ": to consumer, 99 %",
        Figure::LongestByMean => ": longest wait by mean",
        Figure::MostByMean => ": 99 % of waits by mean",
        Figure::Switches => ": context switches",
    }
}
