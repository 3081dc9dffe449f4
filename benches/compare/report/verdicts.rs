//! Where bywash is ahead, and where it is not.

use std::collections::HashMap;
use std::fmt::Write;

use crate::explanations;
use crate::markdown::{folded, head, row};
use crate::plan::describe;
use crate::ratios::{Comparison, Verdict, averaged, comparisons, geometric_mean};
use crate::results::{Figure, Results};
use crate::units::duration;
use crate::workloads::{Kind, Workload};

pub(crate) fn markdown(results: &[Results], before: Option<&str>) -> String {
    let repeated = before.map(|before| repeated(results, before)).unwrap_or_default();
    let (summary, lists) = (summary(results), lists(results));
    format!("\n## bywash and the best peer\n\n{summary}\n{repeated}{lists}")
}

/// A line for each verdict, for the next run to compare with.
pub(crate) fn lines(results: &[Results]) -> String {
    let line = |one: &Comparison<'_>| format!("{}\t{}\n", one.verdict(), name(one));
    comparisons(results).iter().map(line).collect()
}

/// How the verdicts differ from those of the run before.
fn repeated(results: &[Results], before: &str) -> String {
    let before: HashMap<_, _> = before
        .lines()
        .filter_map(|line| line.split_once('\t'))
        .map(|(v, name)| (name, v))
        .collect();
    let no_difference = Verdict::NoDifference.to_string();
    let (mut same, mut opposite, mut close) = (0, Vec::new(), Vec::new());
    for one in comparisons(results) {
        let (now, name) = (one.verdict().to_string(), name(&one));
        let Some(&before) = before.get(name.as_str()) else { continue };
        let change = format!("* {name}: {before}, now {now}\n");
        if before == now {
            same += 1;
        } else if before == no_difference || now == no_difference {
            close.push(change);
        } else {
            opposite.push(change);
        }
    }
    let list = |title, changes: &[String]| match changes {
        [] => String::new(),
        changes => folded(title, &format!("\n{}", changes.concat())),
    };
    format!(
        "The run before this one, with the same program or another one, came to the same verdict \
         in {same} comparisons, and to the opposite one in {}. In {} one of the two runs shows a \
         difference, and the other does not.\n{}{}",
        opposite.len(),
        close.len(),
        list("The opposite", &opposite),
        list("A difference in one of the two", &close),
    )
}

/// How often, by how much, and over what.
pub(crate) fn summary(results: &[Results]) -> String {
    let all = comparisons(results);
    let mut text = format!("Of {} comparisons, {}.", all.len(), tally(&all));
    text += " The ratio is bywash's figure divided by that of the peer with the best median, in \
             the same round: bywash is *faster* where the upper quartile of the ratios is below 1, \
             and *slower* where the lower quartile is above 1.\n\n";
    text += &head("", &["comparisons", "faster", "no difference", "slower", "ratio, mean"]);
    for of_group in all.chunk_by(|a, b| group(a) == group(b)) {
        let numbers = [of_group.len()].into_iter().chain(counts(of_group));
        let mean = format!("{:.2}", geometric_mean(of_group));
        let cells = numbers.map(|number| number.to_string()).chain([mean]);
        text += &row(group(&of_group[0]), cells);
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
        let Comparison { figure, ours, peer, quartiles, .. } = comparison;
        let [lower, median, upper] = quartiles;
        let [our_time, peer_time] = [ours, peer].map(|line| duration(line.median(*figure)));
        let what = name(comparison);
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
        Figure::Switches => ": context switches",
    }
}
