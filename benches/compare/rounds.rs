//! The measuring itself.

use std::collections::VecDeque;
use std::io::{self, IsTerminal, stderr};
use std::thread;
use std::time::{Duration, Instant};

use crate::plan::{Plan, workloads};
use crate::results::{Line, Results, quantile};
use crate::worker::{Failure, Worker};
use crate::workloads::threads::round_trip_between_cores;
use crate::workloads::{Sample, Workload};

/// What `pattern` is part of the name of.
pub(crate) fn chosen(pattern: &str) -> Vec<Results> {
    let mut all: Vec<_> =
        workloads().into_iter().map(|workload| Results::new(workload, pattern)).collect();
    all.retain(|results| !results.lines.is_empty());
    all
}

/// Measures all of them.
pub(crate) fn measure(plan: &Plan, mut all: Vec<Results>) -> io::Result<Vec<Results>> {
    let steps = all.iter().map(|results| plan.rounds_of(&results.workload) + 1).sum();
    let progress = Progress::new(steps);
    let mut measuring = Measuring { plan, worker: Worker::start()?, progress };
    let mut cores = Cores::new(plan.patience);
    for results in &mut all {
        measuring.progress.step(&format!("warm-up, {}", results.workload));
        measuring.turn(results, 0, Measuring::warm_up)?;
        cores.look();
    }
    let mut agenda = Agenda::new(plan, &all);
    let mut last_round = 0;
    while let Some((round, index)) = agenda.next(&mut cores) {
        if round > last_round {
            // Another process, whose stacks and heap lie elsewhere: chance is to differ within a
            // run as it does between runs.
            measuring.worker = Worker::start()?;
            last_round = round;
        }
        let what = format!("round {} of {}, {}", round + 1, plan.rounds, all[index].workload);
        measuring.progress.step(&what);
        measuring.turn(&mut all[index], round, Measuring::round)?;
    }
    eprintln!("\nmeasured for {} s", measuring.progress.start.elapsed().as_secs());
    Ok(all)
}

/// What is left to do: a round, and the number of a workload.
struct Agenda {
    /// Where threads rest most of the time, cache lines are not what takes the time.
    resting: VecDeque<(usize, usize)>,
    busy: VecDeque<(usize, usize)>,
}

impl Agenda {
    fn new(plan: &Plan, all: &[Results]) -> Self {
        let everything =
            (0..plan.rounds).flat_map(|round| (0..all.len()).map(move |index| (round, index)));
        let (resting, busy) = everything
            .filter(|&(round, index)| round < plan.rounds_of(&all[index].workload))
            .partition(|&(_, index)| all[index].workload.kind.pace().is_some());
        Self { resting, busy }
    }

    /// The next one for which the cores are as they should be.
    fn next(&mut self, cores: &mut Cores) -> Option<(usize, usize)> {
        let [preferred, other] = match cores.look() || self.resting.is_empty() && cores.wait() {
            true => [&mut self.busy, &mut self.resting],
            false => [&mut self.resting, &mut self.busy],
        };
        preferred.pop_front().or_else(|| other.pop_front())
    }
}

/// How far apart the cores are. A host may move virtual ones, so that for some seconds a cache line
/// takes many times as long from one to the other, or half as long. Then this is another machine.
struct Cores {
    /// The times there and back that were seen, in nanoseconds.
    seen: Vec<f64>,
    /// How long to wait, in all, until they are as far apart as they mostly are.
    patience: Duration,
}

impl Cores {
    fn new(patience: Duration) -> Self {
        Self { seen: Vec::new(), patience }
    }

    /// Looks how far apart they are, and returns whether that is usual.
    fn look(&mut self) -> bool {
        round_trip_between_cores().is_none_or(|time| {
            self.seen.push(time);
            is_usual(time, &self.seen)
        })
    }

    /// Waits until that is usual, and returns whether it is.
    fn wait(&mut self) -> bool {
        const PAUSE: Duration = Duration::from_millis(100);
        while !self.look() {
            if self.patience < PAUSE {
                return false;
            }
            self.patience -= PAUSE;
            thread::sleep(PAUSE);
        }
        true
    }
}

/// Whether it is neither half as much nor twice as much as the median.
fn is_usual(time: f64, seen: &[f64]) -> bool {
    let median = quantile(seen, 0.5);
    median / 2.0 < time && time < median * 2.0
}

type Outcome = io::Result<Result<(), Failure>>;

struct Measuring<'a> {
    plan: &'a Plan,
    worker: Worker,
    progress: Progress,
}

impl Measuring<'_> {
    /// Every queue once, and another one first each time. One that fails has a second chance: it
    /// may have been the machine.
    fn turn(
        &mut self,
        results: &mut Results,
        round: usize,
        measure: fn(&mut Self, &Workload, &mut Line) -> Outcome,
    ) -> io::Result<()> {
        let count = results.lines.len();
        let mut failures = Vec::new();
        for i in 0..count {
            let line = &mut results.lines[(i + round) % count];
            self.progress.queue(line.name());
            let Err(failure) = measure(self, &results.workload, line)? else { continue };
            eprintln!("\n{}/{} {failure}", results.workload, line.name());
            match measure(self, &results.workload, line)? {
                Ok(()) => results.repeated.push((line.name(), failure)),
                Err(failure) => failures.push((line.name(), failure)),
            }
        }
        results.lines.retain(|line| failures.iter().all(|(failed, _)| *failed != line.name()));
        results.failures.extend(failures);
        Ok(())
    }

    /// Finds out how many items take as long as a measurement should.
    fn warm_up(&mut self, workload: &Workload, line: &mut Line) -> Outcome {
        let known = self.plan.known_items(workload);
        line.items = known.unwrap_or(64);
        loop {
            let elapsed = match self.sample(workload, line)? {
                Ok((_, elapsed)) => elapsed,
                Err(failure) => return Ok(Err(failure)),
            };
            if known.is_some() {
                return Ok(Ok(()));
            }
            let duration = self.plan.duration(workload);
            if elapsed > duration / 3 {
                line.items = fit(line.items, elapsed, duration);
                return Ok(Ok(()));
            }
            line.items *= 3;
        }
    }

    fn round(&mut self, workload: &Workload, line: &mut Line) -> Outcome {
        let (sample, elapsed) = match self.sample(workload, line)? {
            Ok(measured) => measured,
            Err(failure) => return Ok(Err(failure)),
        };
        if self.plan.known_items(workload).is_none() {
            line.items = fit(line.items, elapsed, self.plan.duration(workload));
        }
        line.add(sample);
        Ok(Ok(()))
    }

    /// A sample, and the time it took: without that to start the threads, where it was not among
    /// what was measured.
    fn sample(
        &mut self,
        workload: &Workload,
        line: &Line,
    ) -> io::Result<Result<(Sample, Duration), Failure>> {
        let start = Instant::now();
        let sample =
            self.worker.measure(&line.contestant, workload, line.items, self.plan.limit)?;
        Ok(sample.map(|sample| {
            if sample.delivery.is_empty() {
                let nanos = sample.nanos_per_item * line.items as f64;
                return (sample, Duration::from_nanos(nanos as u64));
            }
            (sample, start.elapsed())
        }))
    }
}

/// How many items would have taken `duration`. Some queues are ten times as fast in one round as in
/// another, so the number changes in steps.
fn fit(items: u64, elapsed: Duration, duration: Duration) -> u64 {
    let factor = duration.as_secs_f64() / elapsed.as_secs_f64();
    (items as f64 * factor.clamp(0.25, 4.0)).ceil() as u64
}

/// One line a step with all queues in it; on a terminal one line in all, and the queue that runs.
struct Progress {
    start: Instant,
    steps: usize,
    done: usize,
    step: String,
}

impl Progress {
    fn new(steps: usize) -> Self {
        Self { start: Instant::now(), steps, done: 0, step: String::new() }
    }

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
