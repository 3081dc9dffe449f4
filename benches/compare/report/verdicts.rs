//! Where bywash is ahead, and where it is not.

use std::fmt::Write;

use super::duration;
use crate::explanations;
use crate::plan::describe;
use crate::ratios::{Comparison, Figure, Verdict, averaged, comparisons, geometric_mean};
use crate::rounds::Results;
use crate::workloads::{Kind, Workload};

pub(crate) fn markdown(results: &[Results]) -> String {
    format!("\n## bywash and the best peer\n\n{}\n{}", summary(results), lists(results))
}

/// How often, by how much, and over what.
pub(crate) fn summary(results: &[Results]) -> String {
    let all = comparisons(results);
    let mut text = format!("Of {} comparisons, {}.", all.len(), tally(&all));
    text += " The ratio is bywash's figure divided by that of the peer with the best median, in \
             the same round: bywash is *faster* where the upper quartile of the ratios is below 1, \
             and *slower* where the lower quartile is above 1.\n\n";
    let _ = writeln!(text, "| | comparisons | faster | no difference | slower | ratio, mean |");
    text += "|---|--:|--:|--:|--:|--:|\n";
    for of_group in all.chunk_by(|a, b| group(a) == group(b)) {
        let [faster, same, slower] = counts(of_group);
        let mean = geometric_mean(of_group);
        let cells = format!("{} | {faster} | {same} | {slower} | {mean:.2}", of_group.len());
        let _ = writeln!(text, "| {} | {cells} |", group(&of_group[0]));
    }
    let over = averaged(results);
    let list: Vec<_> = over
        .iter()
        .map(|one| format!("{} {:.2}", describe(&one.results.workload), one.ratio()))
        .collect();
    let mean = geometric_mean(&over);
    let _ = write!(
        text,
        "\nThe geometric mean of the median ratios is **{mean:.2}** over these {}: {}.\n",
        over.len(),
        list.join("; "),
    );
    text
}

fn counts(comparisons: &[Comparison<'_>]) -> [usize; 3] {
    [Verdict::Faster, Verdict::NoDifference, Verdict::Slower]
        .map(|verdict| comparisons.iter().filter(|one| one.verdict() == verdict).count())
}

fn tally(comparisons: &[Comparison<'_>]) -> String {
    let [faster, same, slower] = counts(comparisons);
    format!("bywash is faster in {faster} and slower in {slower}; in {same} there is no difference")
}

fn group(comparison: &Comparison<'_>) -> &'static str {
    match comparison.results.workload.kind {
        Kind::Uncontended => "push and pop on one thread",
        Kind::Full => "`try_push` on a full queue",
        Kind::Try => "spinning",
        Kind::Blocking => "blocking",
        Kind::BlockingBusy => "blocking, a core busy",
        Kind::RoundTripSpinning | Kind::RoundTripSleeping => "round trips",
        Kind::WakeUp => "wake-ups",
        Kind::Paced(_) | Kind::Signals(_) => "as users load it",
    }
}

/// A list for each verdict.
pub(crate) fn lists(results: &[Results]) -> String {
    let mut all = comparisons(results);
    all.sort_by(|a, b| a.ratio().total_cmp(&b.ratio()));
    let mut text = String::new();
    for (verdict, title) in [
        (Verdict::Faster, "Where bywash is faster"),
        (Verdict::Slower, "Where a peer is faster, and why"),
        (Verdict::NoDifference, "Where there is no difference"),
    ] {
        let such: Vec<_> = all.iter().filter(|one| one.verdict() == verdict).collect();
        if !such.is_empty() {
            let _ = writeln!(text, "\n### {title}\n\n{}", list(&such, verdict == Verdict::Slower));
        }
    }
    text
}

fn list(comparisons: &[&Comparison<'_>], with_explanations: bool) -> String {
    let why = if with_explanations { [" why |", "---|"] } else { [""; 2] };
    let mut text = format!(
        "| workload | bywash | best peer | | ratio (quartiles) |{}\n|---|--:|--:|---|--:|{}\n",
        why[0], why[1],
    );
    for comparison in comparisons {
        let Comparison { results, figure, ours, peer, quartiles } = comparison;
        let [lower, median, upper] = quartiles;
        let [our_time, peer_time] = [ours, peer].map(|line| duration(line.median(*figure)));
        let what = describe(&results.workload) + figure_name(*figure, &results.workload);
        let _ = write!(
            text,
            "| {what} | {our_time} | {peer_time} | {} | {median:.2} ({lower:.2}–{upper:.2}) |",
            peer.name(),
        );
        if with_explanations {
            let _ = write!(text, " {} |", explanations::of(comparison));
        }
        text.push('\n');
    }
    text
}

/// Where a workload is judged by more than its time.
fn figure_name(figure: Figure, workload: &Workload) -> &'static str {
    match figure {
        Figure::Time if workload.kind.pace().is_some() => ": processor time",
        Figure::Time => "",
        Figure::Call50 => ": push call, 50 %",
        Figure::Call99 => ": push call, 99 %",
        Figure::Switches => ": context switches",
    }
}
