//! `tracing` through a bounded queue: all threads log, and one writes. The writer logs, too; on an
//! ordinary bounded queue it would wait for itself as soon as the queue is full.
//!
//! ```text
//! cargo run --example tracing_writer               # wait while the queue is full, for a while
//! cargo run --example tracing_writer -- --drop     # never wait: drop what finds no room
//! cargo run --example tracing_writer -- some.log   # write to a file
//! ```
//!
//! Prints the lines, and "37 lines lost here" in the place of those that found no room. Prints to
//! the standard error how many were logged, written and dropped. If nobody reads the lines, one
//! waits, and the next ones do not, until there is room again: so the program goes on.
//!
//! `bywash` may be called in signal handlers; `tracing` may not, because it allocates.

use std::error::Error;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use std::{env, mem, thread};

use bywash::{Consumer, Producer, bounded};
use tracing_subscriber::fmt::MakeWriter;

const THREADS: u64 = 4;
const LINES: u64 = 1000;
/// How long a line waits for room.
const PATIENCE: Duration = Duration::from_secs(5);

/// A line, or the end. (The subscriber keeps a producer forever, so the queue does not close by
/// itself.)
type Message = Option<Vec<u8>>;

#[derive(Clone)]
struct Log {
    queue: Producer<Message>,
    may_drop: bool,
    dropped: Arc<AtomicU64>,
}

/// One line. The subscriber makes one for each event and writes to it. Its drop pushes it.
struct Line<'a> {
    log: &'a Log,
    text: Vec<u8>,
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line { log: self, text: Vec::new() }
    }
}

impl Write for Line<'_> {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        let Log { queue, may_drop, dropped } = self.log;
        let line = Some(mem::take(&mut self.text));
        // While lines were lost and the writer has not come to say so, it is stuck.
        let may_wait = !may_drop && queue.counts().unreported == 0;
        let patience = if may_wait { PATIENCE } else { Duration::ZERO };
        let is_refused = queue.push_timeout_or_count(line, patience).is_err();
        dropped.fetch_add(is_refused.into(), Relaxed);
    }
}

/// The writer's thread. If writing fails, it ends and closes the queue: threads that log are then
/// refused and do not wait.
fn write_lines(mut lines: Consumer<Message>, mut output: impl Write) -> io::Result<u64> {
    lines.bind(); // From here on, logging on this thread never waits.
    let mut written = 0;
    while let Ok(message) = lines.pop() {
        if let Some(line) = message {
            output.write_all(&line)?;
            written += 1;
            if written % 768 == 0 {
                tracing::info!(written, "the writer logs, too");
            }
        } else {
            lines.close(); // What is left is still popped.
        }
        match lines.take_lost() {
            0 => {}
            count => writeln!(output, "{count} lines lost here")?,
        }
        if lines.is_empty() {
            output.flush()?;
        }
    }
    output.flush().map(|()| written)
}

fn main() -> Result<(), Box<dyn Error>> {
    let (options, files): (Vec<_>, Vec<_>) =
        env::args().skip(1).partition(|argument| argument.starts_with('-'));
    if options.iter().any(|option| option != "--drop") || files.len() > 1 {
        return Err("usage: tracing_writer [--drop] [FILE]".into());
    }
    let output: Box<dyn Write + Send> = match files.first() {
        Some(file) => {
            Box::new(File::create(file).map_err(|error| format!("cannot write {file}: {error}"))?)
        }
        None => Box::new(io::stdout()),
    };
    let (queue, lines) = bounded(64);
    let log = Log { queue, may_drop: !options.is_empty(), dropped: Arc::default() };
    let writer = thread::spawn(|| write_lines(lines, BufWriter::new(output)));
    tracing_subscriber::fmt().with_writer(log.clone()).init();

    thread::scope(|scope| {
        for thread in 1..=THREADS {
            scope.spawn(move || (1..=LINES).for_each(|line| tracing::info!(thread, line, "hello")));
        }
    });
    eprintln!("{} lines logged by {THREADS} threads", THREADS * LINES);
    // If the writer has ended, this is refused, and `join` says why.
    if log.queue.push_timeout(None, PATIENCE).is_err() {
        log.queue.close(); // What is in the queue is still written, if somebody reads.
    }
    let written = writer
        .join()
        .expect("it does not panic")
        .map_err(|error| format!("cannot write: {error}"))?;
    let (dropped, bypassed) = (log.dropped.load(Relaxed), log.queue.bypassed());
    eprintln!("{written} lines written, {dropped} dropped, {bypassed} through the bypass");
    Ok(())
}
