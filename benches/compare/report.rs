//! The results as text.

use std::fmt::Write;

use crate::machine::Machine;
use crate::plan::{self, LATENCIES, PRODUCERS, Plan, Target, UNCONTENDED, blocking};
use crate::rivals::Role;
use crate::rounds::{Line, Results, quantile};
use crate::upkeep::{COUNTED_PRODUCERS, Upkeep};
use crate::workloads::{Kind, Workload};

pub(crate) fn markdown(
    machine: &Machine,
    plan: &Plan,
    results: &[Results],
    upkeep: &Upkeep,
) -> String {
    let mut text = String::from("# Results\n\n");
    let _ = writeln!(
        text,
        "Written by `cargo bench --bench compare`. {} rounds went through all workloads, and for each workload through all \
         queues in turn, {} ms each. Figures are medians over the rounds, in nanoseconds per item unless it says otherwise. \
         Threads are not pinned to cores.\n",
        plan.rounds,
        plan.measurement.as_millis(),
    );
    let sections = [
        machine.markdown(),
        format!("\n## Targets\n\n{}", targets(results, upkeep)),
        "\n![Time of each queue as a multiple of bywash's](charts/ratio.svg)\n".into(),
        tables(results),
        "\n![Throughput by number of producers](charts/throughput.svg)\n".into(),
        format!("\n## Latencies in nanoseconds\n{}", percentiles(results)),
        "\n![Latency percentiles](charts/latency.svg)\n".into(),
        upkeep_tables(upkeep),
    ];
    text + &sections.concat()
}

/// Prints what was measured of a few workloads.
pub(crate) fn print(results: &[Results]) {
    println!("{}{}", tables(results), percentiles(results));
}

/// What ought to have come out, and what did.
pub(crate) fn targets(results: &[Results], upkeep: &Upkeep) -> String {
    let mut text = String::from(
        "The ratio is that of the medians; in brackets, the quartiles of the rounds' own ratios.\n\n\
         | workload | bywash | best peer | | ratio | at most | met |\n|---|--:|--:|---|--:|--:|---|\n",
    );
    for Target { name, workload, ratio } in plan::targets() {
        let found = find(results, workload);
        if let Some((ours, peer)) =
            found.and_then(|results| Some((results.ours()?, results.best_peer()?)))
        {
            target(&mut text, &name, ours, peer, ratio);
        }
    }
    let exchange = find(results, UNCONTENDED);
    if let Some((ours, one)) =
        exchange.and_then(|results| Some((results.ours()?, results.line("compare_exchange")?)))
    {
        target(
            &mut text,
            "uncontended push + pop, and a locked instruction",
            ours,
            one,
            plan::EXCHANGES,
        );
    }
    let single =
        find(results, blocking(1)).and_then(|results| Some((results.batches()?, results.ours()?)));
    if let Some((batches, single)) = single {
        target(
            &mut text,
            "batches of 32, 1 producer, and item by item",
            batches,
            single,
            plan::BATCHES,
        );
    }
    let [few, many] =
        [PRODUCERS[0], PRODUCERS[PRODUCERS.len() - 1]].map(|n| find(results, blocking(n))?.ours());
    if let (Some(few), Some(many)) = (few, many) {
        let (name, base) =
            ("blocking, from 1 producer to 64", format!("{} with 1", nanos(few.median())));
        let ratio = many.median() / few.median();
        row(
            &mut text,
            name,
            &nanos(many.median()),
            ["", &base],
            &format!("{ratio:.2}"),
            plan::GROWTH,
            ratio,
        );
    }
    for (i, producers) in COUNTED_PRODUCERS.into_iter().enumerate() {
        if let Some(calls) = upkeep.lines[0].futex_calls[i] {
            let name = format!("futex calls per 1000 items, blocking, {producers} to 1");
            row(&mut text, &name, &format!("{calls:.1}"), [""; 2], "", plan::FUTEX_CALLS, calls);
        }
    }
    if let Some(idle) = &upkeep.lines[0].idle {
        let name =
            format!("milliseconds of processor time, waiting for {} s", upkeep.watched.as_secs());
        let most = idle.consumer.max(idle.producer).as_secs_f64() * 1e3;
        row(&mut text, &name, &format!("{most:.2}"), [""; 2], "", plan::WAITING, most);
    }
    let overhead = (upkeep.lines[0].memory.new - 1024 * 16) as f64;
    row(
        &mut text,
        "bytes beside the slots",
        &format!("{overhead}"),
        [""; 2],
        "",
        plan::OVERHEAD,
        overhead,
    );
    text
}

fn target(text: &mut String, name: &str, ours: &Line, other: &Line, most: f64) {
    let ratio = ours.median() / other.median();
    let rounds: Vec<_> =
        ours.rounds.iter().zip(&other.rounds).map(|(ours, other)| ours / other).collect();
    let spread =
        format!("{ratio:.2} ({:.2}–{:.2})", quantile(&rounds, 0.25), quantile(&rounds, 0.75));
    let [our_time, other_time] = [ours, other].map(|line| nanos(line.median()));
    row(text, name, &our_time, [&other_time, other.name()], &spread, most, ratio);
}

fn row(
    text: &mut String,
    name: &str,
    ours: &str,
    [other, whose]: [&str; 2],
    shown: &str,
    most: f64,
    value: f64,
) {
    let met = if value <= most { "yes" } else { "**no**" };
    let _ = writeln!(text, "| {name} | {ours} | {other} | {whose} | {shown} | {most} | {met} |");
}

fn find(results: &[Results], workload: Workload) -> Option<&Results> {
    results.iter().find(|results| results.workload == workload)
}

/// A table for each group of workloads, with a column for each queue.
fn tables(results: &[Results]) -> String {
    let mut text = String::new();
    for group in results.chunk_by(|a, b| a.workload.kind == b.workload.kind) {
        let kind = group[0].workload.kind;
        let mut names = Vec::new();
        for line in group.iter().flat_map(|results| &results.lines) {
            if !names.contains(&line.name()) {
                names.push(line.name());
            }
        }
        let _ = writeln!(text, "\n## {}\n", title(kind));
        let _ = writeln!(text, "| | {} |\n|---|{}", names.join(" | "), "--:|".repeat(names.len()));
        for results in group {
            let cells = names
                .iter()
                .map(|name| results.line(name).map_or(String::new(), |line| cell(results, line)));
            let _ = writeln!(
                text,
                "| {} | {} |",
                results.workload,
                cells.collect::<Vec<_>>().join(" | ")
            );
        }
    }
    text
}

fn title(kind: Kind) -> &'static str {
    match kind {
        Kind::Uncontended => "Push and pop on one thread",
        Kind::Full => "`try_push` on a full queue",
        Kind::Try => "Spinning producers and consumer",
        Kind::Blocking => "Blocking producers and consumer",
        Kind::BlockingBusy => {
            "Blocking producers and consumer, while another thread keeps a core busy"
        }
        Kind::RoundTripSpinning => "Round trip through two queues, spinning",
        Kind::RoundTripSleeping => "Round trip through two queues, sleeping",
        Kind::WakeUp => "Wake-up of a sleeping consumer",
    }
}

/// The fastest of those that do the same stands out.
fn cell(results: &Results, line: &Line) -> String {
    let rivals = results.lines.iter().filter(|line| matches!(line.role(), Role::Ours | Role::Peer));
    let best = rivals.min_by(|a, b| a.median().total_cmp(&b.median()));
    let time = nanos(line.median());
    if best.is_some_and(|best| best.name() == line.name()) { format!("**{time}**") } else { time }
}

fn percentiles(results: &[Results]) -> String {
    let mut text = String::new();
    for results in LATENCIES.iter().filter_map(|&(_, workload)| find(results, workload)) {
        let _ = writeln!(
            text,
            "\n| {} | 50 % | 90 % | 99 % | 99.9 % |\n|---|--:|--:|--:|--:|",
            results.workload
        );
        for line in &results.lines {
            let at = [0.5, 0.9, 0.99, 0.999]
                .map(|quantile| nanos(line.histogram.value_at_quantile(quantile) as f64));
            let _ = writeln!(text, "| {} | {} |", line.name(), at.join(" | "));
        }
    }
    text
}

fn upkeep_tables(upkeep: &Upkeep) -> String {
    let mut text = String::from("\n## System calls, processor time, memory\n\n");
    let _ = writeln!(
        text,
        "Futex calls per 1000 items: blocking, capacity 1024, under `strace -f -c`, which slows every call down. Processor \
         time: of a consumer asleep before an empty queue and of a producer before a full one, over {} s. Memory: bytes on \
         the heap for 1024 `u64`, which are 8192 bytes, new and full.\n",
        upkeep.watched.as_secs(),
    );
    let counted = COUNTED_PRODUCERS.map(|producers| format!("futex, {producers} to 1"));
    let _ = writeln!(
        text,
        "| | {} | consumer asleep, ms | producer asleep, ms | bytes, new | bytes, full |",
        counted.join(" | ")
    );
    let _ = writeln!(text, "|---|{}", "--:|".repeat(COUNTED_PRODUCERS.len() + 4));
    for line in &upkeep.lines {
        let calls = line
            .futex_calls
            .iter()
            .map(|calls| calls.map_or(String::new(), |calls| format!("{calls:.1}")));
        let idle = line.idle.as_ref().map(|idle| [idle.consumer, idle.producer]);
        let idle = idle.map_or_else(Default::default, |times| {
            times.map(|time| format!("{:.2}", time.as_secs_f64() * 1e3))
        });
        let memory = [line.memory.new, line.memory.full].map(|bytes| bytes.to_string());
        let cells: Vec<_> = calls.chain(idle).chain(memory).collect();
        let _ = writeln!(text, "| {} | {} |", line.name, cells.join(" | "));
    }
    text
}

/// With three significant digits or so.
pub(crate) fn nanos(time: f64) -> String {
    let decimals = usize::from(time < 99.95) + usize::from(time < 9.995);
    format!("{time:.decimals$}")
}
