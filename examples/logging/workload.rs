//! Producers that log lines, and the consumer that writes them to a file.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::logger::{self, Logger, Thread};
use crate::options::Options;
use crate::queues::{Queue, Source};
use crate::record::{Body, Kind, Part, Range, Record};
use crate::signals::{self, Timer};
use crate::text::{Place, Text};

/// How long the consumer has nothing to do at the end. It sleeps, and only the signal handlers of
/// its own thread wake it.
const QUIET: Duration = Duration::from_millis(300);

static STOP: AtomicBool = AtomicBool::new(false);

#[derive(Clone)]
struct Workload {
    text: Arc<Text>,
    logger: &'static Logger,
    seconds: Duration,
    signals_per_thread: f64,
}

/// Opens the queue, and starts all threads. The thread that it returns waits for the others, and
/// returns how long the producers were busy.
pub(crate) fn start(
    options: &Options,
    queue: Queue,
    text: Arc<Text>,
    log: File,
) -> io::Result<(&'static Logger, Conductor)> {
    let (sink, source) = queue.open(options.capacity, options.bypass);
    let logger = logger::init(sink, options.producers);
    // This comes after the logger, which the handler uses, and before the threads, which inherit
    // the signal mask.
    signals::install()?;
    let signals_per_thread = f64::from(options.signals) / logger.threads.len() as f64;
    let workload = Workload { text, logger, seconds: options.seconds, signals_per_thread };
    Ok((logger, thread::spawn(|| workload.conduct(source, log))))
}

pub(crate) type Conductor = JoinHandle<io::Result<Duration>>;

impl Workload {
    fn conduct(self, source: Box<dyn Source>, file: File) -> io::Result<Duration> {
        let begin = Instant::now();
        let consumer =
            self.spawn(move |this| this.consume(source, BufWriter::with_capacity(1 << 16, file)));
        let producers: Vec<_> = (1..self.logger.threads.len())
            .map(|number| self.spawn(move |this| this.produce(number)))
            .collect();
        while begin.elapsed() < self.seconds && !consumer.is_finished() {
            thread::sleep(Duration::from_millis(10));
        }
        STOP.store(true, Relaxed);
        for producer in producers {
            join(producer)?;
        }
        let busy = begin.elapsed();
        thread::sleep(QUIET);
        self.logger.end();
        join(consumer)?;
        Ok(busy)
    }

    fn spawn(
        &self,
        run: impl FnOnce(&Self) -> io::Result<()> + Send + 'static,
    ) -> JoinHandle<io::Result<()>> {
        let this = self.clone();
        thread::spawn(move || run(&this))
    }

    /// Logs the files, over and over, until it is time to stop.
    fn produce(&self, number: usize) -> io::Result<()> {
        logger::enter(number);
        let _timer = Timer::start(self.signals_per_thread)?;
        for source in self.text.sources_for(number) {
            let last = self.text.source(source).lines.len() as u32 - 1;
            // The finaliser of the file logs on this thread, those of its paragraphs on the
            // consumer's.
            let _file = Part(Range { first: Place { source, line: 0 }, last });
            for place in self.text.places_in(source) {
                if STOP.load(Relaxed) || !logger::log(Kind::Line, self.line(place)) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn line(&self, place: Place) -> Body {
        let part = |line| Part(Range { first: Place { line, ..place }, last: place.line });
        Body::Line { place, _ends: self.text.line(place).paragraph.map(part) }
    }

    /// Writes what comes out of the queue to the log file.
    fn consume(&self, mut source: Box<dyn Source>, mut file: BufWriter<File>) -> io::Result<()> {
        // Before anything else: from here on a push on this thread does not wait.
        source.bind();
        let me = logger::enter(0);
        {
            let _timer = Timer::start(self.signals_per_thread)?;
            while let Some(record) = next(me, &mut *source, &mut file)? {
                if let Body::End = record.body {
                    break;
                }
                self.write(me, record, &mut file)?;
            }
        }
        // No handler runs on this thread any more. The last records of finalisers and handlers are
        // left.
        while let Some(record) = source.try_pop() {
            self.write(me, record, &mut file)?;
        }
        file.flush()
    }

    /// Writes a record, and drops it: here finalisers run on the consumer's thread.
    fn write(&self, me: &Thread, record: Record, file: &mut BufWriter<File>) -> io::Result<()> {
        during(&me.is_writing, || record.write(&self.text, file))?;
        me.received.fetch_add(1, Relaxed);
        Ok(())
    }
}

/// Returns the next record. Before it waits for one, it flushes what was logged so far to the file.
fn next(
    me: &Thread,
    source: &mut dyn Source,
    file: &mut BufWriter<File>,
) -> io::Result<Option<Record>> {
    let record = during(&me.is_popping, || source.try_pop());
    if record.is_some() {
        return Ok(record);
    }
    during(&me.is_writing, || file.flush())?;
    Ok(during(&me.is_popping, || source.pop()))
}

/// Runs `work`, and sets `what` meanwhile.
fn during<R>(what: &AtomicBool, work: impl FnOnce() -> R) -> R {
    what.store(true, Relaxed);
    let result = work();
    what.store(false, Relaxed);
    result
}

/// Waits for a thread, and passes on its result.
pub(crate) fn join<R>(thread: JoinHandle<io::Result<R>>) -> io::Result<R> {
    thread.join().unwrap_or_else(|_| Err(io::Error::other("a thread panicked")))
}
