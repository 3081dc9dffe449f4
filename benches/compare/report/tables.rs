//! All figures.

use std::fmt::Write;

use hdrhistogram::Histogram;

use crate::counts::{CALLS, Counts};
use crate::markdown::{capitalised, folded, head, row};
use crate::plan::describe;
use crate::results::{Figure, Line, Results};
use crate::rivals::Role;
use crate::units::nanos;
use crate::upkeep::{COUNTED_PRODUCERS, Upkeep};
use crate::workloads::Kind;
use crate::workloads::turns::WORK;

const PERCENTILES: [(f64, &str); 4] =
    [(0.5, "50 %"), (0.9, "90 %"), (0.99, "99 %"), (0.999, "99.9 %")];

/// A table for each group of workloads, with a column for each queue.
pub(crate) fn groups(results: &[Results]) -> String {
    let mut text = String::new();
    for group in results.chunk_by(|a, b| title(a.workload.kind) == title(b.workload.kind)) {
        let kind = group[0].workload.kind;
        if kind.pace().is_none() && kind != Kind::Turns {
            let _ = writeln!(text, "\n## {}\n", title(kind));
            text += &by_queue(group, Figure::Time);
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
        Kind::RoundTripTaken => {
            "Round trip through two queues, sleeping, while other threads keep all cores busy"
        }
        Kind::WakeUp => "Wake-up of a sleeping consumer",
        Kind::Turns => "Turns",
        Kind::Paced(_) | Kind::Signals(_) => "As users load it",
    }
}

fn by_queue<'a>(group: impl IntoIterator<Item = &'a Results> + Clone, figure: Figure) -> String {
    let mut names = Vec::new();
    for line in group.clone().into_iter().flat_map(|results| &results.lines) {
        if !names.contains(&line.name()) {
            names.push(line.name());
        }
    }
    let mut text = head("", &names);
    for results in group {
        let cells = names.iter().map(|name| {
            results.line(name).map_or(String::new(), |line| cell(results, line, figure))
        });
        text += &row(&results.workload.to_string(), cells);
    }
    text
}

/// The best of those that do the same stands out.
fn cell(results: &Results, line: &Line, figure: Figure) -> String {
    let median = |line: &Line| line.median(figure);
    let rivals = results.lines.iter().filter(|line| matches!(line.role(), Role::Ours | Role::Peer));
    let best = rivals.min_by(|a, b| median(a).total_cmp(&median(b)));
    let text = nanos(median(line));
    if best.is_some_and(|best| best.name() == line.name()) { format!("**{text}**") } else { text }
}

/// What happens where the threads rest.
pub(crate) fn paced(results: &[Results]) -> String {
    let paced = results.iter().filter(|results| results.workload.kind.pace().is_some());
    if paced.clone().next().is_none() {
        return String::new();
    }
    let mut text = String::from(
        "\n## As users load it\n\n\
         Producers push a few items at once, again and again, and rest between. A consumer works \
         200 ns on each item, and waits for the next one. There is always room. A producer sleeps \
         between its bursts; for less than 50 µs it looks at the clock instead, which is not \
         counted as processor time. A push in a signal handler is a `try_push`, or the like of \
         it. In real handlers that is safe with bywash alone: here the signals come between the \
         calls of a queue. With *linger*, bywash's consumer sleeps on for a millisecond unless 64 \
         items are there, so that pushes need not wake it (`Consumer::linger`).\n",
    );
    let titles = [
        (Figure::Time, "Processor time per item, of all threads, in nanoseconds"),
        (Figure::Call50, "A call that pushes, 50 %, in nanoseconds"),
        (Figure::Delivery50, "From the push to the consumer's work, 50 %, in nanoseconds"),
        (Figure::Delivery99, "From the push to the consumer's work, 99 %, in nanoseconds"),
    ];
    text += &titled(&paced, &titles);
    let tables: Vec<_> = paced.map(paced_table).collect();
    text + &folded("Context switches and latencies", &tables.concat())
}

/// How long those that wait for room are passed over.
pub(crate) fn turns(results: &[Results]) -> String {
    let turns = results.iter().filter(|results| results.workload.kind == Kind::Turns);
    let Some(Results { workload, lines, .. }) = turns.clone().next() else {
        return String::new();
    };
    let text = format!(
        "\n## Turns\n\n\
         {} producers push without rest, and the consumer works {} µs on each item. So all of them \
         wait most of the time, and what counts is whether they take turns: by strict turns all \
         waits are equal. In {} rounds.\n",
        workload.producers,
        WORK.as_micros(),
        lines[0].rounds.len(),
    );
    let titles = [
        (Figure::LongestByMean, "The longest wait, divided by the mean"),
        (Figure::MostByMean, "The wait that 99 % do not exceed, divided by the mean"),
        (Figure::Time, "Time per item, in nanoseconds"),
    ];
    text + &titled(&turns, &titles)
}

/// A table for each figure, under its title.
fn titled<'a>(
    group: &(impl IntoIterator<Item = &'a Results> + Clone),
    titles: &[(Figure, &str)],
) -> String {
    let table =
        |(figure, title): &(_, _)| format!("\n### {title}\n\n{}", by_queue(group.clone(), *figure));
    titles.iter().map(table).collect()
}

fn paced_table(results: &Results) -> String {
    let mut text = format!(
        "\n{}: context switches per item, nanoseconds in the call that pushes, and nanoseconds \
         from the push to the moment at which the consumer begins its work on the item.\n\n",
        capitalised(&describe(&results.workload)),
    );
    let columns: Vec<_> = ["call", "to consumer"].into_iter().flat_map(columns).collect();
    let columns = [vec!["switches".into()], columns].concat();
    text += &head(&format!("`{}`", results.workload), &columns);
    for line in &results.lines {
        let switches = format!("{:.2}", line.median(Figure::Switches));
        let times = [&line.call, &line.delivery].into_iter().flat_map(percentiles);
        text += &row(line.name(), [switches].into_iter().chain(times));
    }
    text
}

/// The heads of the columns with percentiles of this.
fn columns(what: &str) -> [String; PERCENTILES.len()] {
    PERCENTILES.map(|(_, name)| format!("{what}, {name}"))
}

/// As cells of a table. Empty where there were too few to tell.
fn percentiles(histogram: &Histogram<u64>) -> [String; PERCENTILES.len()] {
    let cell = |place: f64| {
        let rarer = histogram.len() as f64 * (1.0 - place);
        let enough = rarer > 0.99;
        if enough { nanos(histogram.value_at_quantile(place) as f64) } else { String::new() }
    };
    PERCENTILES.map(|(place, _)| cell(place))
}

/// How long something took.
type Times = fn(&Line) -> &Histogram<u64>;

/// Of round trips and wake-ups.
pub(crate) fn latencies(results: &[Results]) -> String {
    let timed = results.iter().filter(|results| {
        results.workload.kind.pace().is_none()
            && !results.workload.has_few_peers()
            && results.lines.iter().any(|line| !line.delivery.is_empty())
    });
    if timed.clone().next().is_none() {
        return String::new();
    }
    let mut tables = String::new();
    for results in timed {
        let parts: &[(&str, Times)] = match results.workload.kind {
            Kind::WakeUp => &[("call", |line| &line.call), ("to consumer", |line| &line.delivery)],
            _ => &[("round trip", |line| &line.delivery)],
        };
        let columns: Vec<_> = parts.iter().flat_map(|(what, _)| columns(what)).collect();
        tables = tables + "\n" + &head(&results.workload.to_string(), &columns);
        for line in &results.lines {
            tables += &row(line.name(), parts.iter().flat_map(|(_, of)| percentiles(of(line))));
        }
    }
    String::from(
        "\n## Latencies in nanoseconds\n\n\
         Of a wake-up: the call that pushes, and from its start to the return of the pop.\n",
    ) + &folded("Percentiles", &tables)
}

pub(crate) fn counts(counts: &[Counts]) -> String {
    if counts.is_empty() {
        return String::new();
    }
    let mut text = String::from(
        "\n## Instructions\n\n\
         Of one call that neither waits nor wakes, with a `u64`, as `--counts` prints them; the \
         locked ones after the slash. Some of them are the measuring itself, the same for all \
         queues. Noise does not touch these figures, but they are not times.\n\n",
    );
    text += &head("", &CALLS);
    for Counts { name, calls } in counts {
        let cells = calls.map(|count| format!("{} / {}", count.instructions, count.locked));
        text += &row(name, cells);
    }
    text
}

pub(crate) fn upkeep(upkeep: &Upkeep) -> String {
    let mut text = format!(
        "\n## System calls, processor time, memory\n\n\
         Futex calls per 1000 items: blocking, capacity 1024, under `strace -f -c`, which slows \
         every call down. Processor time: of a consumer asleep before an empty queue and of a \
         producer before a full one, over {} s. Memory: bytes on the heap for 1024 `u64`, which \
         are 8192 bytes, new and full.\n\n",
        upkeep.watched.as_secs(),
    );
    let counted = COUNTED_PRODUCERS.map(|producers| format!("futex, {producers} to 1"));
    let others = ["consumer asleep, ms", "producer asleep, ms", "bytes, new", "bytes, full"];
    text += &head("", &[&counted[..], &others.map(String::from)].concat());
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
        text += &row(line.name, calls.chain(idle).chain(memory));
    }
    text
}
