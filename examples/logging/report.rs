//! What the program prints about a run.

use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use crate::logger::{Logger, Thread};
use crate::options::Options;
use crate::queues::{Queue, Refused};
use crate::record::Kind;
use crate::verify::Findings;

/// Prints what is going to run.
pub(crate) fn heading(
    queue: Queue,
    options: &Options,
    (files, lines): (usize, usize),
    output: &Path,
) {
    let Options { capacity, producers, seconds, signals, .. } = options;
    println!("{}, capacity {capacity}", queue.title());
    println!(
        "{producers} producers log the {} lines of {files} files for {seconds:?},",
        grouped(lines as u64)
    );
    println!(
        "interrupted by {} signals a second, into {}",
        grouped((*signals).into()),
        output.display()
    );
}

/// Prints how much was pushed and refused, for each kind of producer.
pub(crate) fn table(logger: &Logger) {
    let (consumer, producers) = logger.threads.split_at(1);
    println!(
        "\n{:<30}{:>14}{:>14}{:>16}{:>10}",
        "", "pushed", "refused: full", "would deadlock", "closed"
    );
    row("lines by the producers", producers, Kind::Line);
    row("finalisers on the producers", producers, Kind::Finaliser);
    row("finalisers on the consumer", consumer, Kind::Finaliser);
    row("handlers on the producers", producers, Kind::Signal);
    row("handlers on the consumer", consumer, Kind::Signal);
    println!();
}

fn row(name: &str, threads: &[Thread], kind: Kind) {
    let contexts = || threads.iter().map(|thread| thread.context(kind));
    let refused = |how| grouped(contexts().map(|context| context.refused(how)).sum());
    println!(
        "{name:<30}{:>14}{:>14}{:>16}{:>10}",
        grouped(contexts().map(|context| context.pushed()).sum()),
        refused(Refused::Full),
        refused(Refused::WouldDeadlock),
        refused(Refused::Closed)
    );
}

/// Prints how many records took which way, and how fast.
pub(crate) fn totals(logger: &Logger, busy: Duration, bytes: u64) {
    let (records, bypassed) = (logger.accepted().iter().flatten().sum::<u64>(), logger.bypassed());
    let a_second = |count: u64| (count as f64 / busy.as_secs_f64()) as u64;
    let line = |name: &str, value: String| println!("{name:<30}{value:>14}");
    line("through the ring", grouped(records - bypassed));
    line("through the bypass", grouped(bypassed));
    line("signals handled", grouped(logger.handled()));
    line("seconds", format!("{:.1}", busy.as_secs_f64()));
    line("lines per second", grouped(a_second(records)));
    line("MiB per second", mebibytes(a_second(bytes)));
}

/// The verdict on a finished run, in one line.
pub(crate) fn verdict(findings: &Findings) -> String {
    let records = grouped(findings.records);
    match findings.faults {
        0 => format!(
            "verified: each of the {records} records accepted was written once, and in its producer's order"
        ),
        faults => format!("NOT verified: {} faults in {records} records", grouped(faults)),
    }
}

/// Prints what each thread is doing, and returns in one line which of them holds up the others.
pub(crate) fn frozen(logger: &Logger) -> String {
    for thread in &logger.threads {
        println!("  {}", thread.activity());
    }
    let culprit =
        logger.threads.iter().find(|thread| thread.is_nested()).unwrap_or(logger.consumer());
    format!(
        "FROZEN after {} messages: {}",
        grouped(logger.consumer().received.load(Relaxed)),
        culprit.activity()
    )
}

pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place != 0 && (digits.len() - place) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

pub(crate) fn mebibytes(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / f64::from(1 << 20))
}
