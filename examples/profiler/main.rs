//! A sampling profiler. The system interrupts the program again and again as it uses processor
//! time, on any thread and at any instruction. The handler pushes a sample into a static queue: see
//! `sampler.rs`.
//!
//! ```text
//! cargo run --release --example profiler
//! ```
//!
//! Prints how many samples were taken in each phase of the program, and the addresses that were hit
//! most, each as a command that shows what is there. It runs on Unix, and knows addresses on Linux
//! on x86-64 and AArch64.
//!
//! A sample is a phase and the address of the interrupted instruction. Callers are not recorded:
//! the C library's `backtrace` may allocate and lock, so a handler must not call it. Following
//! frame pointers is right only if all code was built with them, and safe only if each pointer is
//! checked against the bounds of the thread's stack before it is read.

mod sampler;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::hint::black_box;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;

use sampler::{SAMPLES, Sample, enter};

const WANTED: usize = 300;
const PHASES: [&str; 3] = ["waiting", "reading", "compressing"];

static STOP: AtomicBool = AtomicBool::new(false);

/// The code to profile.
fn work() {
    while !STOP.load(Relaxed) {
        for (phase, steps) in [(1, 100_000), (2, 1_000_000)] {
            enter(phase);
            black_box((0..steps).fold(0, |sum: u64, step| black_box(sum ^ step)));
        }
    }
}

/// How often each key occurs, most frequent first.
fn count<K: Ord>(keys: impl Iterator<Item = K>) -> Vec<(K, usize)> {
    let mut counts = BTreeMap::new();
    keys.for_each(|key| *counts.entry(key).or_default() += 1);
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|&(_, count)| Reverse(count));
    counts
}

/// Pops samples until the queue is closed, and stops the work when they are enough. Also returns
/// how many were lost.
fn collect() -> (Vec<Sample>, u64) {
    let mut consumer = SAMPLES.consumer().expect("nobody else claims it");
    consumer.bind(); // Handlers on this thread may then use the bypass.
    let (mut samples, mut lost) = (Vec::new(), 0);
    // A `for` loop would borrow the consumer, which is asked what was lost after each pop.
    while let Ok(sample) = consumer.pop() {
        samples.push(sample);
        lost += consumer.take_lost();
        STOP.fetch_or(samples.len() >= WANTED, Relaxed);
    }
    (samples, lost)
}

fn main() -> io::Result<()> {
    sampler::start()?;
    let collector = thread::spawn(collect);
    let workers = [thread::spawn(work), thread::spawn(work)];
    workers.into_iter().for_each(|worker| worker.join().expect("it does not panic"));
    sampler::stop()?;
    SAMPLES.close();
    let (samples, lost) = collector.join().expect("it does not panic");

    println!("{} samples taken, and {lost} lost:", samples.len());
    for (phase, count) in count(samples.iter().map(|sample| sample.phase)) {
        println!("{count:>6} {}", PHASES[phase]);
    }
    println!("hottest addresses:");
    for (address, count) in count(samples.iter().map(|sample| sample.address)).into_iter().take(5) {
        println!(
            "{count:>6} {}",
            sampler::command(address).unwrap_or_else(|| format!("{address:#x}"))
        );
    }
    Ok(())
}
