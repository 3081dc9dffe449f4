//! Watches the threads at work: shows their progress, and notices when there is none.

use std::fs;
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::logger::Logger;
use crate::report::{grouped, mebibytes};

const TICK: Duration = Duration::from_millis(50);
const TICKS_A_SECOND: u32 = 20;
/// The program counts as frozen when no record was written for so many ticks.
const PATIENCE: u32 = 3 * TICKS_A_SECOND;
/// How much longer a run may take than it was asked to.
const GRACE: Duration = Duration::from_secs(60);

/// Waits for `conductor` to end. Returns false if the threads are frozen, so that it never will.
pub(crate) fn watch<R>(
    conductor: &JoinHandle<R>,
    logger: &Logger,
    seconds: Duration,
    output: &Path,
) -> bool {
    let begin = Instant::now();
    let (mut tick, mut idle, mut last) = (0, 0, 0);
    while !conductor.is_finished() {
        thread::sleep(TICK);
        tick += 1;
        let consumer = logger.consumer();
        let received = consumer.received.load(Relaxed);
        // The disk may be slow: that is not the queue's fault.
        let waits_for_disk = consumer.is_writing.load(Relaxed) && !consumer.is_nested();
        idle = if received == last && !waits_for_disk { idle + 1 } else { 0 };
        last = received;
        if idle == PATIENCE || begin.elapsed() > seconds + GRACE {
            return false;
        }
        if tick % TICKS_A_SECOND == 0 {
            show(tick / TICKS_A_SECOND, received, logger, output);
        }
    }
    true
}

fn show(seconds: u32, received: u64, logger: &Logger, output: &Path) {
    let size = fs::metadata(output).map_or(0, |data| data.len());
    println!(
        "{seconds:>4} s {:>16} records {:>10} MiB {:>12} signals",
        grouped(received),
        mebibytes(size),
        grouped(logger.handled())
    );
}
