//! The `log` crate's macros with a thread that writes. To start from:
//!
//! ```text
//! cargo run --example log_facade            to the standard output
//! cargo run --example log_facade FILE       to the end of a file
//! ```
//!
//! Whoever logs formats the line and pushes it; the listener's thread writes. With the queue full,
//! logging waits for a second at most, and not at all on the listener's own thread; what finds no
//! room is counted. So a disk that is full or slow, and a sink that logs itself, as this one does,
//! do not freeze the program, and neither does its end.

use std::error::Error;
use std::fs::File;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use std::{env, thread};

use bywash::{Listener, Producer, bounded};
use log::{LevelFilter, Log, Metadata, Record, debug, error, info, warn};

/// For the largest burst that should not wait. There is as much room for what the sink logs.
const CAPACITY: usize = 1000;
/// What is longer is cut, in bytes.
const LONGEST: usize = 80;
/// How long logging waits for room, and a flush for the sink.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long the program waits at its end.
const DEADLINE: Duration = Duration::from_secs(2);

struct Logger {
    queue: Producer<String>,
    listener: Listener,
    refused: AtomicU64,
}

impl Logger {
    /// Makes a logger that writes to `sink` the program's.
    fn install(
        sink: impl Write + Send + 'static,
        level: LevelFilter,
    ) -> Result<&'static Self, Box<dyn Error>> {
        let (queue, consumer) = bounded(CAPACITY);
        let listener = Listener::spawn("log", consumer, writer(sink))?;
        // A logger is for good, whatever holds it.
        let logger = Box::leak(Box::new(Self { queue, listener, refused: AtomicU64::new(0) }));
        log::set_logger(logger)?;
        log::set_max_level(level);
        Ok(logger)
    }

    /// Writes what is in the queue, as far as that goes in time. What is logged afterwards is
    /// refused.
    fn stop(&self) -> bool {
        let result = self.listener.stop(DEADLINE);
        let refused = self.refused.load(Relaxed);
        match result {
            Ok(()) => eprintln!("log: all is written, {refused} refused"),
            Err(error) => eprintln!("log: {error}, {refused} refused"),
        }
        result.is_ok() && refused == 0
    }
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let thread = thread::current();
        let name = thread.name().unwrap_or("?");
        let line = format!("{:5} {name}: {}\n", record.level(), record.args());
        if self.queue.push_timeout(line, PATIENCE).is_err() {
            self.refused.fetch_add(1, Relaxed);
        }
    }

    fn flush(&self) {
        // On the listener's own thread an error at once.
        let _ = self.listener.flush(PATIENCE);
    }
}

/// What the listener does with a line. It may log: its own lines come out after those that are in
/// the queue.
fn writer(mut sink: impl Write) -> impl FnMut(String) {
    move |mut line| {
        if line.len() > LONGEST {
            warn!("cut a line of {} bytes", line.len());
            let end = (0..=LONGEST).rev().find(|&end| line.is_char_boundary(end));
            line.truncate(end.unwrap_or(0));
            line.push('\n');
        }
        if let Err(error) = sink.write_all(line.as_bytes()).and_then(|()| sink.flush()) {
            eprint!("log: {error}: {line}");
        }
    }
}

/// Where the first argument says.
fn sink() -> io::Result<Box<dyn Write + Send>> {
    Ok(match env::args_os().nth(1) {
        None => Box::new(io::stdout()),
        Some(path) => Box::new(File::options().append(true).create(true).open(path)?),
    })
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let logger = Logger::install(sink()?, LevelFilter::Info)?;
    info!("ready");
    debug!("not shown at this level");
    info!("{}", "-".repeat(2 * LONGEST));
    log::logger().flush();
    let worker = thread::Builder::new()
        .name("worker".into())
        .spawn(|| (1..=3).for_each(|i| info!("step {i}")))?;
    worker.join().expect("it does not panic");
    error!("done");
    Ok(if logger.stop() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
