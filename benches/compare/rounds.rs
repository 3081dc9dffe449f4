//! The measuring itself.

use std::io::{IsTerminal, stderr};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::plan::{Plan, workloads};
use crate::rivals::Role;
use crate::workloads::{Contestant, Sample, Workload, contestants, new_histogram};

/// What came out for one workload, bywash first.
pub(crate) struct Results {
    pub(crate) workload: Workload,
    pub(crate) lines: Vec<Line>,
}

/// What came out for one queue on one workload.
pub(crate) struct Line {
    contestant: Contestant,
    items: u64,
    /// Nanoseconds per item, one a round.
    pub(crate) rounds: Vec<f64>,
    pub(crate) histogram: Histogram<u64>,
}

impl Line {
    pub(crate) fn name(&self) -> &'static str {
        self.contestant.name
    }

    pub(crate) fn role(&self) -> Role {
        self.contestant.role
    }

    pub(crate) fn median(&self) -> f64 {
        quantile(&self.rounds, 0.5)
    }
}

impl Results {
    pub(crate) fn line(&self, name: &str) -> Option<&Line> {
        self.lines.iter().find(|line| line.name() == name)
    }

    pub(crate) fn ours(&self) -> Option<&Line> {
        self.lines.iter().find(|line| line.role() == Role::Ours)
    }

    pub(crate) fn batches(&self) -> Option<&Line> {
        self.lines.iter().find(|line| line.role() == Role::Batches)
    }

    pub(crate) fn best_peer(&self) -> Option<&Line> {
        let peers = self.lines.iter().filter(|line| line.role() == Role::Peer);
        peers.min_by(|a, b| a.median().total_cmp(&b.median()))
    }
}

/// Of the sorted values, the one that stands there.
pub(crate) fn quantile(values: &[f64], quantile: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[((sorted.len() - 1) as f64 * quantile).round() as usize]
}

/// Measures what `pattern` is part of the name of.
pub(crate) fn measure(plan: &Plan, pattern: &str) -> Vec<Results> {
    let mut all: Vec<_> =
        workloads().into_iter().map(|workload| entrants(workload, pattern)).collect();
    all.retain(|results| !results.lines.is_empty());
    let steps = (plan.rounds + 1) * all.len();
    let mut progress = Progress { start: Instant::now(), steps, done: 0, step: String::new() };
    for results in &mut all {
        progress.step(&format!("warm-up, {}", results.workload));
        for line in &mut results.lines {
            progress.queue(line.name());
            line.items = enough_items(&line.contestant, &results.workload, plan.measurement);
        }
    }
    for round in 0..plan.rounds {
        for results in &mut all {
            progress.step(&format!("round {} of {}, {}", round + 1, plan.rounds, results.workload));
            measure_round(results, round, plan.measurement, &progress);
        }
    }
    eprintln!("\nmeasured for {} s", progress.start.elapsed().as_secs());
    all
}

fn entrants(workload: Workload, pattern: &str) -> Results {
    let mut lines = Vec::new();
    for contestant in contestants() {
        if contestant.fits(&workload) && format!("{workload}/{}", contestant.name).contains(pattern)
        {
            lines.push(Line {
                contestant,
                items: 0,
                rounds: Vec::new(),
                histogram: new_histogram(),
            });
        }
    }
    Results { workload, lines }
}

/// How many items take about `duration`. It warms up by the way.
fn enough_items(contestant: &Contestant, workload: &Workload, duration: Duration) -> u64 {
    let mut items = 64;
    loop {
        let elapsed = run(contestant, workload, items).1;
        if elapsed > duration / 3 {
            return (items as f64 * (duration.as_secs_f64() / elapsed.as_secs_f64())).ceil() as u64;
        }
        items *= 3;
    }
}

/// A sample, and the time it took: without that to start the threads, where it was not among what
/// was measured.
fn run(contestant: &Contestant, workload: &Workload, items: u64) -> (Sample, Duration) {
    let start = Instant::now();
    let sample = contestant.run(workload, items);
    let elapsed = match sample.histogram {
        Some(_) => start.elapsed(),
        None => Duration::from_secs_f64(sample.nanos_per_item * items as f64 / 1e9),
    };
    (sample, elapsed)
}

/// Every queue once, and another one first each time.
fn measure_round(results: &mut Results, round: usize, duration: Duration, progress: &Progress) {
    let count = results.lines.len();
    for i in 0..count {
        let line = &mut results.lines[(i + round) % count];
        progress.queue(line.name());
        let (sample, elapsed) = run(&line.contestant, &results.workload, line.items);
        // Some are ten times as fast in one round as in another.
        let correction = duration.as_secs_f64() / elapsed.as_secs_f64();
        line.items = (line.items as f64 * correction.clamp(0.25, 4.0)).ceil() as u64;
        line.rounds.push(sample.nanos_per_item);
        if let Some(histogram) = sample.histogram {
            line.histogram += histogram;
        }
    }
}

/// One line a step with all queues in it; on a terminal one line in all, and the queue that runs.
struct Progress {
    start: Instant,
    steps: usize,
    done: usize,
    step: String,
}

impl Progress {
    fn step(&mut self, what: &str) {
        let left = match self.done {
            0 => String::new(),
            done => format!(
                ", {} s left",
                (self.start.elapsed() * (self.steps - done) as u32 / done as u32).as_secs()
            ),
        };
        self.step = format!("{:3} %{left}: {what}", 100 * self.done / self.steps);
        if !stderr().is_terminal() {
            eprint!("\n{}:", self.step);
        }
        self.done += 1;
    }

    fn queue(&self, name: &str) {
        if stderr().is_terminal() {
            eprint!("\r\x1b[K{}, {name}", self.step);
        } else {
            eprint!(" {name}");
        }
    }
}
