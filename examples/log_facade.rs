//! A logger behind the `log` crate's macros, with a thread that writes. Copy it as a start for your
//! own.
//!
//! ```text
//! cargo run --example log_facade            # to the standard output
//! cargo run --example log_facade FILE       # to the end of a file
//! cargo run --example log_facade -- --burst # more than there is room for
//! ```
//!
//! A thread that logs formats the line and pushes it; the listener's thread writes it: many lines
//! at once, if they come quickly, and at the latest when there is nothing left to do. While the
//! queue is full, errors and warnings wait for a second at most, and on the listener's own thread
//! not at all. Other lines never wait. Lines that find no room are counted, and the sink writes
//! "37 messages lost here" in their place. So neither a full or slow disk nor a sink that logs
//! itself, as this one does, freezes the program or its end.

use std::error::Error;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use std::{env, thread};

use bywash::{Handler, Listener, ListenerError, Producer, PushTimeoutError, bounded};
use log::{Level, LevelFilter, Log, Metadata, Record, debug, error, info, warn};

/// The largest burst that should not wait. The bypass is as large, for what the sink logs.
const CAPACITY: usize = 100;
/// The longest line, in bytes. Longer ones are cut.
const LONGEST: usize = 80;
/// How much is written at once, in bytes, if there are so many lines.
const BATCH: usize = 8 << 10;
/// How long an error waits for room, and a flush for the sink.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long the program waits for the sink at its end.
const DEADLINE: Duration = Duration::from_secs(2);

struct Logger {
    queue: Producer<String>,
    listener: Listener,
    refused: AtomicU64,
}

impl Logger {
    /// Installs a logger that writes to `sink` as the program's logger.
    fn install(
        sink: impl Write + Send + 'static,
        level: LevelFilter,
    ) -> Result<&'static Self, Box<dyn Error>> {
        let (queue, consumer) = bounded(CAPACITY);
        let writer = Writer { sink, lines: String::new() };
        let listener = Listener::builder().name("log").spawn(consumer, writer)?;
        // The `log` crate keeps a logger until the program ends.
        let logger = Box::leak(Box::new(Self { queue, listener, refused: AtomicU64::new(0) }));
        log::set_logger(logger)?;
        log::set_max_level(level);
        Ok(logger)
    }

    /// Sends what is logged from now on to the standard error, and waits until what is in the queue
    /// is written, but not beyond the deadline. Returns whether all is written, and nothing was
    /// refused.
    fn stop(&self) -> bool {
        let result = self.listener.stop(DEADLINE);
        let refused = self.refused.load(Relaxed);
        match &result {
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
        if self.queue.is_consumer_gone() {
            return eprint!("{line}"); // A forked child, such as a daemon: nobody writes there.
        }
        let patience = if record.level() <= Level::Warn { PATIENCE } else { Duration::ZERO };
        match self.queue.push_timeout_or_count(line, patience) {
            Ok(()) => {}
            // After `stop`: the sink may have ended.
            Err(PushTimeoutError::Closed(line)) => eprint!("{line}"),
            // There is no room. The sink learns that a line was lost here.
            Err(_) => _ = self.refused.fetch_add(1, Relaxed),
        }
    }

    fn flush(&self) {
        // On the listener's own thread this returns an error at once.
        let _ = self.listener.flush(PATIENCE);
    }
}

/// What the listener does with a line. It may log: its own lines come out after those already in
/// the queue.
struct Writer<W> {
    sink: W,
    /// What is to be written.
    lines: String,
}

/// Whether the sink writes at the moment.
static IS_WRITING: AtomicBool = AtomicBool::new(false);

impl<W: Write> Writer<W> {
    fn add(&mut self, line: &str) {
        self.lines.push_str(line);
        if self.lines.len() >= BATCH {
            self.write();
        }
    }

    /// Writes the lines, or says which could not be written.
    fn write(&mut self) {
        IS_WRITING.store(true, Relaxed);
        let lines = self.lines.as_bytes();
        if let Err(error) = self.sink.write_all(lines).and_then(|()| self.sink.flush()) {
            self.lines.lines().for_each(|line| eprintln!("log: {error}: {line}"));
        }
        IS_WRITING.store(false, Relaxed);
        self.lines.clear();
    }
}

impl<W: Write> Handler<String> for Writer<W> {
    fn handle(&mut self, mut line: String) {
        if line.len() > LONGEST {
            warn!("cut a line of {} bytes", line.len());
            let end = (0..=LONGEST).rev().find(|&end| line.is_char_boundary(end));
            line.truncate(end.unwrap_or(0));
            line.push('\n');
        }
        self.add(&line);
    }

    fn on_lost(&mut self, count: u64) {
        self.add(&format!("{count} messages lost here\n"));
    }

    fn on_flush(&mut self) -> io::Result<()> {
        self.write();
        Ok(()) // What could not be written was said elsewhere.
    }
}

/// The file that the argument names, or else the standard output.
fn sink(path: Option<&OsStr>) -> io::Result<Box<dyn Write + Send>> {
    Ok(match path {
        None => Box::new(io::stdout()),
        Some(path) => Box::new(File::options().append(true).create(true).open(path)?),
    })
}

/// Logs more than there is room for, while the sink has to wait for the standard output.
fn log_burst(listener: &Listener) -> Result<(), ListenerError> {
    listener.flush(DEADLINE)?;
    let _busy = io::stdout().lock();
    info!("the sink waits with this line");
    while !(listener.is_empty() && IS_WRITING.load(Relaxed)) {
        thread::yield_now();
    }
    (1..=CAPACITY + 37).for_each(|i| info!("line {i}"));
    Ok(())
}

/// What the program does.
fn run(logger: &Logger, is_burst: bool) -> Result<(), Box<dyn Error>> {
    info!("ready");
    debug!("not shown at this level");
    info!("{}", "-".repeat(2 * LONGEST));
    log::logger().flush();
    let worker = thread::Builder::new()
        .name("worker".into())
        .spawn(|| (1..=3).for_each(|i| info!("step {i}")))?;
    worker.join().expect("it does not panic");
    if is_burst {
        log_burst(&logger.listener)?;
    }
    error!("done");
    Ok(())
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let argument = env::args_os().nth(1);
    let is_burst = argument.as_deref() == Some(OsStr::new("--burst"));
    let path = argument.as_deref().filter(|_| !is_burst);
    let logger = Logger::install(sink(path)?, LevelFilter::Info)?;
    let result = run(logger, is_burst);
    // Also after an error: what is still in the queue would be lost.
    let is_written = logger.stop();
    result?;
    Ok(if is_written { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
