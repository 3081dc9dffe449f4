//! The results as text.

mod tables;
pub(crate) mod verdicts;

use std::fmt::Write;

use crate::counts::Counts;
use crate::machine::Machine;
use crate::plan::{HEADLINES, Plan, describe};
use crate::ratios::Comparison;
use crate::results::{Figure, Results};
use crate::units::nanos;
use crate::upkeep::Upkeep;
use crate::workloads::can_pin_apart;
use verdicts::Before;

pub(crate) struct Measured {
    pub(crate) machine: Machine,
    pub(crate) counts: Vec<Counts>,
    pub(crate) results: Vec<Results>,
    pub(crate) upkeep: Upkeep,
    /// The verdicts of the run before, if there was one.
    pub(crate) before: Option<Before>,
}

/// The whole report.
pub(crate) fn markdown(plan: &Plan, measured: &Measured) -> String {
    let Measured { machine, counts, results, upkeep, before } = measured;
    let before = before.as_ref();
    let (in_short, verdicts) = match plan.verdicts {
        true => (verdicts::in_short(results, before), verdicts::markdown(results, before)),
        false => (verdicts::beyond_doubt(results), String::new()),
    };
    let sections = [
        format!("# Results\n\n{in_short}\n\n{}", method(plan, results)),
        machine.markdown(),
        failures(results),
        "\n![Time per item of bywash, the best peer and the median peer](charts/ratio.svg)\n"
            .into(),
        verdicts,
        tables::paced(results),
        "\n![Processor time per item of bywash, the best peer and the median peer]\
         (charts/light.svg)\n"
            .into(),
        tables::turns(results),
        tables::groups(results),
        "\n![Throughput by number of producers](charts/throughput.svg)\n".into(),
        tables::latencies(results),
        "\n![Latency percentiles](charts/latency.svg)\n".into(),
        tables::counts(counts),
        tables::upkeep(upkeep),
    ];
    sections.concat()
}

/// What is printed at the end.
pub(crate) fn short(plan: &Plan, measured: &Measured) -> String {
    let Measured { results, before, .. } = measured;
    let mut text = headlines(results);
    if plan.verdicts {
        let [in_short, summary] =
            [verdicts::in_short, verdicts::summary].map(|part| part(results, before.as_ref()));
        let _ = writeln!(text, "\n{in_short}\n\n{summary}");
    } else {
        let _ = writeln!(text, "\n{}", verdicts::beyond_doubt(results));
    }
    text + &failures(results)
}

/// Prints what was measured of a few workloads.
pub(crate) fn print(plan: &Plan, results: &[Results]) {
    let tables = [tables::paced, tables::turns, tables::groups, tables::latencies];
    let tables = tables.map(|table| table(results)).concat();
    let verdicts = match plan.verdicts {
        true => verdicts::lists(results, None),
        false => verdicts::beyond_doubt(results),
    };
    println!("{tables}{verdicts}{}", failures(results));
}

fn method(plan: &Plan, results: &[Results]) -> String {
    let (rounds, minutes) = (plan.rounds, plan.minutes(results));
    let [short, trips, long] =
        [plan.measurement, plan.trips, plan.long_measurement].map(|time| time.as_millis());
    let mut text = format!(
        "Written by `cargo bench --bench compare`, in about {minutes} min. bywash is measured \
         together with the queues that a Rust program could use instead, its *peers*, and with a \
         few that do less, to show how fast that could be: `rtrb`, and one locked instruction \
         (`compare_exchange`).\n\n\
         {rounds} rounds go through all workloads, and for each workload through all queues in \
         turn, for {short} ms each, {trips} ms for round trips of threads that sleep, or {long} ms \
         and more where threads rest or a core is busy. Each round is a process of its own, and \
         each measurement has new threads and a new queue; where it says *warm*, they have done \
         the same for as long before. How fast a queue is depends on the program that it is \
         compiled into, too: `concurrent-queue` and `crossbeam-channel` were much slower in some \
         builds of this one than in others. \
         Figures are medians over the rounds, in nanoseconds per item unless it says otherwise. \
         An item is a `u64` unless it says otherwise.",
    );
    if can_pin_apart() {
        text += " Workloads are measured twice: the system decides which thread runs on which \
                 core, or (*pinned*) the consumer has one core, and the producers the others. \
                 Where threads do not rest, measuring waits until a cache line passes from core to \
                 core about as fast as it mostly does: a host that moves virtual cores can make \
                 that many times slower for some seconds.";
    }
    text + "\n\n"
}

/// Who is not in the tables, and why; and what else went wrong.
fn failures(results: &[Results]) -> String {
    let mut text = String::new();
    for Results { workload, failures, repeated, .. } in results {
        for (name, failure) in failures {
            let _ = writeln!(text, "\nLeft out: {name} in `{workload}` {failure}, twice in a row.");
        }
        for (name, failure) in repeated {
            let _ = writeln!(
                text,
                "\nMeasured again: {name} in `{workload}` {failure}, once. That may have been the \
                 machine."
            );
        }
    }
    text
}

/// A few workloads, with the best peer of each.
fn headlines(results: &[Results]) -> String {
    let mut text = String::from("Nanoseconds per item:\n");
    for results in results.iter().filter(|results| HEADLINES.contains(&results.workload)) {
        if let Some(Comparison { ours, peer, .. }) = Comparison::new(results, Figure::Time) {
            let [ours, best] = [ours, peer].map(|line| nanos(line.median(Figure::Time)));
            let what = describe(&results.workload);
            let _ = writeln!(text, "  {what}: {ours}, best peer ({}) {best}", peer.name());
        }
    }
    text
}
