use std::error::Error;
use std::time::Duration;

use bywash::{Listener, Producer, PushTimeoutError, bounded};
use log::{LevelFilter, Log, Metadata, Record, info};

struct Logger {
    queue: Producer<String>,
    listener: Listener,
}

impl Log for Logger {
    fn enabled(&self, _: &Metadata) -> bool {
        true
    }

    fn log(&self, record: &Record) {
        let line = format!("{}: {}", record.level(), record.args());
        if self.queue.is_consumer_gone() {
            return eprintln!("{line}"); // A forked child, such as a daemon: it has no writer.
        }
        // Waits a second at most while the queue is full, and then counts the line as lost. While
        // nobody reads the output, only the first line waits: the next ones find it counted.
        let is_stuck = self.queue.counts().unreported != 0;
        let patience = Duration::from_secs(if is_stuck { 0 } else { 1 });
        let result = self.queue.push_timeout_or_count(line, patience);
        if let Err(PushTimeoutError::Closed(line)) = result {
            eprintln!("{line}"); // The listener is stopped, and the queue counts no such line.
        }
    }

    fn flush(&self) {
        let _ = self.listener.flush(Duration::from_secs(1)); // Waits a second at most.
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let (queue, consumer) = bounded(1000);
    // This closure may log, and that never waits. But what it logs comes here, too: if it logged
    // for each line, that would never end.
    let listener = Listener::spawn("log", consumer, |line: String| println!("{line}"))?;
    let logger: &Logger = Box::leak(Box::new(Logger { queue, listener }));
    log::set_logger(logger)?;
    log::set_max_level(LevelFilter::Info);

    info!("hello");
    // Closes the queue, and waits until all is handled, five seconds at most.
    let stopped = logger.listener.stop(Duration::from_secs(5));
    let (lost, panics) = (logger.listener.counts().lost, logger.listener.panics());
    eprintln!("log: {lost} lines lost, {panics} not written");
    Ok(stopped?)
}
