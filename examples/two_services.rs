//! Two services that report to each other: the sink of a logger counts lines and bytes in a metrics
//! queue, and the consumer of the metrics logs each count. Both queues are bounded. When both are
//! full, each consumer waits for the other one, and neither ever drains its own queue.
//!
//! ```text
//! cargo run --example two_services
//! ```
//!
//! Runs the same services on bywash, on `std::sync::mpsc::sync_channel` and on `crossbeam-channel`.
//! On bywash, the push that would close the circle of waits goes into the bypass. With the bypass
//! full it returns `WouldDeadlock`, and the service counts the report as refused. The other queues
//! do not know their consumers, so they freeze.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bywash::Producer;

const CAPACITY: usize = 4;
const LINES: usize = 20_000;
/// Where nothing has moved for so long, nothing will.
const PATIENCE: Duration = Duration::from_secs(1);

enum Line {
    FromOutside(String),
    Report(Metric),
}

struct Metric {
    name: &'static str,
    value: usize,
}

/// The end of a queue that items go into, which says whether it took the item.
trait Sender<T>: Clone + Send + 'static {
    fn send(&self, item: T) -> bool;
}

impl<T: Send + 'static> Sender<T> for Producer<T> {
    fn send(&self, item: T) -> bool {
        self.push(item).is_ok()
    }
}

impl<T: Send + 'static> Sender<T> for std::sync::mpsc::SyncSender<T> {
    fn send(&self, item: T) -> bool {
        std::sync::mpsc::SyncSender::send(self, item).is_ok()
    }
}

impl<T: Send + 'static> Sender<T> for crossbeam_channel::Sender<T> {
    fn send(&self, item: T) -> bool {
        crossbeam_channel::Sender::send(self, item).is_ok()
    }
}

/// What the services have done so far.
#[derive(Default)]
struct Totals {
    lines: AtomicUsize,
    metrics: AtomicUsize,
    refused_metrics: AtomicUsize,
    reports: AtomicUsize,
    refused_reports: AtomicUsize,
}

impl Totals {
    fn all(&self) -> [usize; 5] {
        [&self.lines, &self.metrics, &self.refused_metrics, &self.reports, &self.refused_reports]
            .map(|total| total.load(Ordering::Relaxed))
    }
}

fn add(total: &AtomicUsize) {
    total.fetch_add(1, Ordering::Relaxed);
}

/// Starts the services and a thread that logs. Says whether they got done, and prints it.
fn run<L: Sender<Line>, M: Sender<Metric>>(
    queue: &str,
    (log, lines): (L, impl IntoIterator<Item = Line> + Send + 'static),
    (count, metrics): (M, impl IntoIterator<Item = Metric> + Send + 'static),
) -> bool {
    let totals = Arc::new(Totals::default());
    let (sink_totals, metrics_totals) = (totals.clone(), totals.clone());
    // Threads that freeze stay behind, until the program ends.
    thread::spawn(move || lines.into_iter().for_each(|line| sink(line, &count, &sink_totals)));
    let report = log.clone();
    thread::spawn(move || {
        metrics.into_iter().for_each(|metric| collect(metric, &report, &metrics_totals));
    });
    thread::spawn(move || {
        (0..LINES).all(|i| log.send(Line::FromOutside(format!("request {i} is served"))));
    });
    watch(queue, &totals)
}

/// Writes a line, and counts it.
fn sink(line: Line, count: &impl Sender<Metric>, totals: &Totals) {
    match line {
        Line::FromOutside(text) => {
            for (name, value) in [("lines", 1), ("bytes", text.len())] {
                if !count.send(Metric { name, value }) {
                    add(&totals.refused_metrics);
                }
            }
            add(&totals.lines);
        }
        Line::Report(Metric { name, value }) => {
            assert!(!name.is_empty() && value > 0);
            add(&totals.reports);
        }
    }
}

/// Adds a metric up, and logs it.
fn collect(metric: Metric, log: &impl Sender<Line>, totals: &Totals) {
    if !log.send(Line::Report(metric)) {
        add(&totals.refused_reports);
    }
    add(&totals.metrics);
}

/// Waits until everything is done, or nothing moves any more.
fn watch(queue: &str, totals: &Totals) -> bool {
    let (mut last, mut moved) = (totals.all(), Instant::now());
    loop {
        let now @ [lines, metrics, refused_metrics, reports, refused_reports] = totals.all();
        let refused = refused_metrics + refused_reports;
        if lines == LINES
            && metrics + refused_metrics == 2 * LINES
            && reports + refused_reports == metrics
        {
            println!(
                "{queue}: {lines} lines, {metrics} metrics, {reports} reports; {refused} refused"
            );
            return true;
        }
        if now != last {
            (last, moved) = (now, Instant::now());
        } else if moved.elapsed() > PATIENCE {
            println!("{queue}: FROZEN after {lines} lines, {metrics} metrics, {reports} reports");
            return false;
        }
        thread::sleep(Duration::from_millis(5));
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let is_done = run("bywash", bywash::bounded(CAPACITY), bywash::bounded(CAPACITY));
    run("std", std::sync::mpsc::sync_channel(CAPACITY), std::sync::mpsc::sync_channel(CAPACITY));
    run("crossbeam", crossbeam_channel::bounded(CAPACITY), crossbeam_channel::bounded(CAPACITY));
    if is_done { Ok(()) } else { Err("bywash froze".into()) }
}
