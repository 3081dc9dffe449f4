//! The example `logging`, with everything at once and for as long as you like: its producers,
//! destructors and signal handlers log through queues that are closed and built anew many times a
//! second, while listeners panic and give up, threads come and go, and processes fork from
//! everywhere. Runs on Linux.
//!
//! Each record that a queue has accepted is dropped once, in its source's order, and is handled
//! before that unless the listener has given up. Each handled record is one line of the log. The
//! refusals that were counted were reported. Memory, descriptors and threads stay as many as they
//! were.
//!
//! It lasts five seconds, or as many as the variable `BYWASH_SOAK_SECONDS` says. For an hour:
//! `BYWASH_SOAK_SECONDS=3600 cargo test --release --features eventfd --test soak`.
#![cfg(all(feature = "std", not(bywash_loom), target_os = "linux"))]

#[allow(dead_code, reason = "the example uses the rest")]
#[path = "../examples/logging/logger.rs"]
mod logger;
#[allow(dead_code, reason = "the example uses the rest")]
#[path = "../examples/logging/queues.rs"]
mod queues;
#[path = "support/random.rs"]
mod random;
#[allow(dead_code, reason = "the example uses the rest")]
#[path = "../examples/logging/record.rs"]
mod record;
#[path = "support/resident.rs"]
mod resident;
#[path = "../examples/logging/signals.rs"]
mod signals;
#[allow(dead_code, reason = "the example uses the rest")]
#[path = "../examples/logging/text.rs"]
mod text;

use std::alloc::{GlobalAlloc, Layout, System};
use std::any::Any;
use std::backtrace::Backtrace;
use std::cell::UnsafeCell;
use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use std::{env, fmt, panic, process};

use bywash::{Builder, Handler, Listener, Producer, PushError, PushTimeoutError, TryPushError};
use logger::Logger;
use queues::{Refused, Sink};
use random::Random;
use record::{Body, Kind, Part, Range, Record};
use resident::resident;
use signals::Timer;
use text::{Place, Text};

/// One generation of queue can begin before the last has ended.
const SLOT_COUNT: usize = 2;
const PRODUCERS: usize = 3;
/// The threads that log, by number: the listener of each slot, and the producers.
const THREADS: usize = SLOT_COUNT + PRODUCERS;

/// For each thread.
const SIGNALS_PER_SECOND: f64 = 500.0;

/// Nothing takes so long, unless something is stuck.
const LONG: Duration = Duration::from_secs(30);

/// The payload of the panics that belong to the soak. All others end the process.
struct OnPurpose;

// --- the accounts ---

/// A queue, and what has become of its records.
struct Slot {
    /// How many calls use the producer, or are about to find that they must not.
    users: AtomicUsize,
    producer: UnsafeCell<Option<Producer<Item>>>,
    /// By thread and kind.
    dropped: [[Run; 3]; THREADS],
    handled: AtomicU64,
    /// Refusals that the queue counts, and those that it has reported.
    lost: AtomicU64,
    reported: AtomicU64,
}

// SAFETY: the conductor alone changes `producer`, and only while nobody uses it.
unsafe impl Sync for Slot {}

/// The numbers of one source's records that were dropped in this generation: from `first` to before
/// `next`.
struct Run {
    first: AtomicU64,
    next: AtomicU64,
}

const NONE: u64 = u64::MAX;

static SLOTS: [Slot; SLOT_COUNT] = [const {
    Slot {
        users: AtomicUsize::new(0),
        producer: UnsafeCell::new(None),
        dropped: [const {
            [const { Run { first: AtomicU64::new(NONE), next: AtomicU64::new(NONE) } }; 3]
        }; THREADS],
        handled: AtomicU64::new(0),
        lost: AtomicU64::new(0),
        reported: AtomicU64::new(0),
    }
}; SLOT_COUNT];

/// The slot whose queue gets what is logged.
static CURRENT: AtomicUsize = AtomicUsize::new(0);

static OVER: AtomicBool = AtomicBool::new(false);

// Totals, for the reader.
static HANDLED: AtomicU64 = AtomicU64::new(0);
static GENERATIONS: AtomicU64 = AtomicU64::new(0);
static PANICS: AtomicU64 = AtomicU64::new(0);

impl Slot {
    /// The producer of this slot, which is in use.
    fn producer(&self) -> &Producer<Item> {
        // SAFETY: the callers use the slot, or conduct, so nobody changes this.
        unsafe { &*self.producer.get() }.as_ref().expect("a slot in use has a queue")
    }

    /// Gives the slot a queue, or takes its queue away.
    fn set(&self, producer: Option<Producer<Item>>) {
        assert_eq!(self.users.load(SeqCst), 0, "while it is used");
        // SAFETY: the conductor calls this, and nobody uses the slot.
        unsafe { *self.producer.get() = producer };
    }

    /// Counts a record that is being dropped, which must be the next of its source.
    fn account(&self, record: &Record) {
        let run = &self.dropped[record.thread][record.kind as usize];
        let _ = run.first.compare_exchange(NONE, record.sequence, SeqCst, SeqCst);
        let next = run.next.swap(record.sequence + 1, SeqCst);
        assert!(
            next == NONE || next == record.sequence,
            "{} of {}-{} was dropped after {next} was expected",
            record.sequence,
            record.kind.name(),
            record.thread
        );
    }
}

/// Calls `run` with the current slot, which stays as it is meanwhile. For signal handlers too.
fn with_current<R>(run: impl FnOnce(usize) -> R) -> R {
    loop {
        let number = CURRENT.load(SeqCst);
        SLOTS[number].users.fetch_add(1, SeqCst);
        if CURRENT.load(SeqCst) == number {
            let result = run(number);
            SLOTS[number].users.fetch_sub(1, SeqCst);
            return result;
        }
        SLOTS[number].users.fetch_sub(1, SeqCst);
    }
}

/// A record on its way through the queue of a slot, which counts when it is dropped.
struct Item {
    slot: usize,
    check: u64,
    record: Option<Record>,
}

impl Item {
    fn new(slot: usize, record: Record) -> Self {
        Self { slot, check: Self::check_of(&record), record: Some(record) }
    }

    fn check_of(record: &Record) -> u64 {
        !record.sequence ^ ((record.thread as u64) << 32) ^ ((record.kind as u64) << 40)
    }

    fn record(&self) -> &Record {
        let record = self.record.as_ref().expect("it is taken only by `into_record`");
        assert_eq!(self.check, Self::check_of(record), "torn");
        record
    }

    /// The record of an item that was refused, so it does not count.
    fn into_record(mut self) -> Record {
        self.record.take().expect("it is taken once")
    }
}

impl Drop for Item {
    fn drop(&mut self) {
        if self.record.is_some() {
            SLOTS[self.slot].account(self.record());
        }
    }
}

/// What the logger of the example has for a queue: the current one.
struct Current;

impl Sink for Current {
    /// Pushes in each way that may wait.
    fn push(&self, record: Record) -> Result<(), Refused> {
        let short = Duration::from_micros(200);
        let way = if record.kind == Kind::Line { record.sequence % 32 } else { 0 };
        // A refused record is dropped when the slot is no longer used, for its destructor logs.
        let result = with_current(|slot| {
            let producer = SLOTS[slot].producer();
            let item = Item::new(slot, record);
            match way {
                7 => producer.push_timeout(item, short).map_err(|error| match error {
                    PushTimeoutError::Timeout(item) => (Refused::Full, item),
                    PushTimeoutError::WouldDeadlock(item) => (Refused::WouldDeadlock, item),
                    PushTimeoutError::Closed(item) => (Refused::Closed, item),
                }),
                15 => producer.try_push_and_wait(item, short).map(drop).map_err(refused),
                23 => {
                    producer.try_push_within(item, producer.capacity().div_ceil(2)).map_err(refused)
                }
                _ => producer.push(item).map_err(|error| match error {
                    PushError::WouldDeadlock(item) => (Refused::WouldDeadlock, item),
                    PushError::Closed(item) => (Refused::Closed, item),
                }),
            }
            .map_err(|(why, item)| (why, item.into_record()))
        });
        result.map_err(|(why, _record)| why)
    }

    /// What signal handlers call. The records of signals have no destructor.
    fn try_push(&self, record: Record) -> Result<(), Refused> {
        let (thread, sequence) = (record.thread, record.sequence);
        let result = with_current(|slot| {
            let producer = SLOTS[slot].producer();
            if CLOSE_IN_HANDLER.load(Relaxed) && CLOSE_IN_HANDLER.swap(false, SeqCst) {
                producer.close();
            }
            producer.try_push_or_count(Item::new(slot, record)).map_err(|error| {
                if error.is_full() {
                    SLOTS[slot].lost.fetch_add(1, SeqCst);
                }
                let (why, item) = refused(error);
                drop(item.into_record());
                why
            })
        });
        fork_in_handler(thread, sequence + 1);
        result
    }
}

fn refused(error: TryPushError<Item>) -> (Refused, Item) {
    match error {
        TryPushError::Full(item) => (Refused::Full, item),
        TryPushError::Closed(item) => (Refused::Closed, item),
    }
}

/// Makes the next signal handler close the current queue.
static CLOSE_IN_HANDLER: AtomicBool = AtomicBool::new(false);

// --- forks ---

/// Where a child may come from.
#[derive(Clone, Copy)]
enum Origin {
    Producer,
    Handler,
    Listener,
    Conductor,
}

impl Origin {
    const ALL: [Self; 4] = [Self::Producer, Self::Handler, Self::Listener, Self::Conductor];
}

/// The conductor asks for a fork here.
static FORK_WANTED: [AtomicBool; 4] = [const { AtomicBool::new(false) }; 4];
static FORKS: AtomicU64 = AtomicU64::new(0);

/// Forks if the conductor wants it, and returns whether this is the child.
fn has_forked(origin: Origin) -> bool {
    let wanted = &FORK_WANTED[origin as usize];
    if !wanted.load(Relaxed) || !wanted.swap(false, SeqCst) {
        return false;
    }
    // Before it: the child may end and be waited for before this thread goes on.
    FORKS.fetch_add(1, SeqCst);
    let child = match origin {
        // The library's `fork` is not for handlers.
        // SAFETY: the child's memory is its own.
        Origin::Handler => unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) },
        // SAFETY: the child does what a child of a process with several threads may do.
        _ => unsafe { libc::fork() }.into(),
    };
    assert!(child >= 0, "fork failed");
    if child == 0 {
        // Ends this process if it hangs.
        // SAFETY: it has no preconditions.
        unsafe { libc::alarm(20) };
        return true;
    }
    false
}

/// The end of a child in which all was well. If not, a panic has ended it before.
fn end_child() -> ! {
    // SAFETY: it has no preconditions.
    unsafe { libc::_exit(0) }
}

/// The child pushes on, and does not wait for the parent's listener.
fn fork_in_producer(place: Place) {
    if has_forked(Origin::Producer) {
        (0..100).for_each(|_| _ = logger::log(Kind::Line, Body::Line { place, _ends: None }));
        end_child();
    }
}

/// As a handler may, the child makes system calls and `try_push`.
fn fork_in_handler(thread: usize, sequence: u64) {
    if has_forked(Origin::Handler) {
        let record = |number| Record {
            kind: Kind::Signal,
            thread,
            sequence: sequence + number,
            body: Body::Signal,
        };
        with_current(|slot| {
            (0..100).for_each(|number| {
                let result = SLOTS[slot].producer().try_push(Item::new(slot, record(number)));
                if let Err(error) = result {
                    drop(error.into_inner().into_record());
                }
            });
        });
        end_child();
    }
}

/// The child finds that nothing is to be waited for.
fn fork_in_conductor(listener: &Listener, slot: usize) {
    if has_forked(Origin::Conductor) {
        for result in [listener.flush(Duration::MAX), listener.stop(Duration::MAX)] {
            let error = result.err();
            assert!(error.is_none_or(|error| error.is_forked() || error.is_closed()), "{error:?}");
        }
        let record = Record { kind: Kind::Line, thread: 0, sequence: 0, body: Body::End };
        let result = SLOTS[slot].producer().push(Item::new(slot, record));
        let refused = result.expect_err("it was closed").into_inner();
        drop(refused.into_record());
        end_child();
    }
}

/// Waits for children that have ended, and states that each found all well. With `all`, waits until
/// there are none.
fn reap(ended: &mut u64, all: bool) {
    loop {
        let mut status = 0;
        // SAFETY: the address is valid.
        let child = unsafe { libc::waitpid(-1, &mut status, if all { 0 } else { libc::WNOHANG }) };
        if child <= 0 {
            break;
        }
        *ended += 1;
        assert_eq!(status, 0, "the status of a child; {} is a hang", libc::SIGALRM);
    }
    assert!(!all || *ended == FORKS.load(SeqCst), "children are missing");
}

// --- the listener's handler ---

/// A timer that is made and dropped on the listener's thread.
struct OwnTimer(Option<Timer>);

// SAFETY: only the `None` of the beginning moves to another thread.
unsafe impl Send for OwnTimer {}

/// Writes records to a file, as the consumer of the example does, and gets into trouble.
struct Writer {
    slot: usize,
    text: Arc<Text>,
    file: BufWriter<File>,
    timer: OwnTimer,
    random: Random,
    gives_up: bool,
    /// In a forked child: how many records it will handle.
    left_in_child: Option<u64>,
}

impl Writer {
    fn enter(&mut self) {
        if self.timer.0.is_none() && self.left_in_child.is_none() {
            logger::enter(self.slot);
            self.timer = OwnTimer(Timer::start(SIGNALS_PER_SECOND).unwrap());
        }
    }

    /// The child has this thread, and so the consumer: it handles what it has pushed, and what was
    /// there before.
    fn fork(&mut self) {
        if has_forked(Origin::Listener) {
            let body = || Body::Line { place: START, _ends: None };
            let here = CURRENT.load(SeqCst) == self.slot;
            let pushed = (0..100).filter(|_| logger::log(Kind::Line, body()) && here).count();
            self.left_in_child = Some(pushed as u64);
            self.count_in_child(0);
        }
    }

    fn count_in_child(&mut self, handled: u64) {
        if let Some(left) = &mut self.left_in_child {
            *left -= handled;
            if *left == 0 {
                end_child();
            }
        }
    }
}

impl Handler<Item> for Writer {
    fn handle(&mut self, item: Item) {
        self.enter();
        SLOTS[self.slot].handled.fetch_add(1, SeqCst);
        HANDLED.fetch_add(1, Relaxed);
        // The file is the parent's, too.
        if self.left_in_child.is_some() {
            drop(item);
            return self.count_in_child(1);
        }
        item.record().write(&self.text, &mut self.file).unwrap();
        if self.random.is_one_in(64) {
            logger::log(Kind::Line, Body::Line { place: START, _ends: None });
        }
        self.fork();
        if self.left_in_child.is_none() && self.random.is_one_in(2000) {
            panic::panic_any(OnPurpose);
        }
    }

    fn on_lost(&mut self, count: u64) {
        SLOTS[self.slot].reported.fetch_add(count, SeqCst);
        if self.left_in_child.is_none() && self.random.is_one_in(200) {
            panic::panic_any(OnPurpose);
        }
    }

    fn on_panic(&mut self, payload: Box<dyn Any + Send>) -> ControlFlow<()> {
        assert!(payload.is::<OnPurpose>());
        PANICS.fetch_add(1, Relaxed);
        if self.gives_up { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

const START: Place = Place { source: 0, line: 0 };

/// A panic hook that logs, and lets no panic pass unseen: that of a check on the listener's thread
/// would be caught there.
fn set_hook() {
    panic::set_hook(Box::new(move |info| {
        if info.payload().is::<OnPurpose>() {
            logger::log(Kind::Finaliser, Body::Done(Range { first: START, last: 0 }));
        } else {
            // The harness would keep what is printed, and never show it.
            let text = format!("{info}\n{}\n", Backtrace::force_capture());
            // SAFETY: the bytes are valid.
            unsafe { libc::write(2, text.as_ptr().cast(), text.len()) };
            process::abort();
        }
    }));
}

// --- producers ---

/// Runs short-lived threads with this number, one after the other.
fn keep_producing(number: usize, text: Arc<Text>) -> JoinHandle<()> {
    thread::spawn(move || {
        let mut sources = text.sources_for(number);
        while !OVER.load(Relaxed) {
            let files: Vec<_> = sources.by_ref().take(8).collect();
            let text = text.clone();
            thread::spawn(move || produce(number, &text, &files)).join().unwrap();
        }
    })
}

/// Logs some files, as a producer of the example does.
fn produce(number: usize, text: &Text, files: &[u32]) {
    logger::enter(number);
    let _timer = Timer::start(SIGNALS_PER_SECOND).unwrap();
    for &source in files {
        let last = text.source(source).lines.len() as u32 - 1;
        let _file = Part(Range { first: Place { source, line: 0 }, last });
        for place in text.places_in(source) {
            if OVER.load(Relaxed) {
                return;
            }
            let part = |line| Part(Range { first: Place { line, ..place }, last: place.line });
            let ends = text.line(place).paragraph.map(part);
            if !logger::log(Kind::Line, Body::Line { place, _ends: ends }) {
                // The queue may be closed until there is a new one.
                thread::yield_now();
            }
            fork_in_producer(place);
        }
    }
}

// --- generations of queues ---

/// How a generation ends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Ending {
    /// When no push uses it any more.
    Quiet,
    /// While others wait for room in it, after there is a new queue, or before.
    Stopped,
    StoppedFirst,
    Dropped,
    ClosedInHandler,
    /// The handler panics, and the listener gives up.
    GivesUp,
}

impl Ending {
    const ALL: [Self; 6] = [
        Self::Quiet,
        Self::Stopped,
        Self::StoppedFirst,
        Self::Dropped,
        Self::ClosedInHandler,
        Self::GivesUp,
    ];
}

struct Generation {
    slot: usize,
    ending: Ending,
    listener: Listener,
}

/// Begins and ends generations, and keeps the accounts of all of them.
struct Conductor {
    text: Arc<Text>,
    logs: [PathBuf; SLOT_COUNT],
    random: Random,
    /// How many records of each source were dropped, by thread and kind.
    dropped: [[u64; 3]; THREADS],
    unhandled: u64,
    lost: u64,
    unreported: u64,
    children: u64,
}

impl Conductor {
    fn begin(&mut self, slot: usize) -> Generation {
        let random = &mut self.random;
        let ending = random.one_of(&Ending::ALL);
        let builder = Builder::new(random.one_of(&[1, 2, 7, 64, 500]));
        let builder = match random.below(3) {
            0 => builder.bypass(random.below(4)),
            _ => builder,
        };
        let (producer, consumer) = builder.build();
        let writer = Writer {
            slot,
            text: self.text.clone(),
            file: BufWriter::with_capacity(1 << 16, File::create(&self.logs[slot]).unwrap()),
            timer: OwnTimer(None),
            random: random.split(),
            gives_up: ending == Ending::GivesUp,
            left_in_child: None,
        };
        SLOTS[slot].set(Some(producer));
        let listener = Listener::builder().name("soak").spawn(consumer, writer).unwrap();
        use_descriptor();
        GENERATIONS.fetch_add(1, SeqCst);
        Generation { slot, ending, listener }
    }

    /// Lets a generation live for a moment.
    fn live(&mut self, generation: &Generation) {
        let Generation { slot, listener, .. } = generation;
        if FORKS.load(SeqCst) - self.children < 8 {
            FORK_WANTED[self.random.one_of(&Origin::ALL) as usize].store(true, SeqCst);
        }
        thread::sleep(Duration::from_micros(self.random.below(40_000) as u64));
        if self.random.is_one_in(2) {
            let error = listener.flush(LONG).err();
            assert!(error.is_none_or(|error| error.is_closed()), "{error:?}");
        }
        fork_in_conductor(listener, *slot);
        reap(&mut self.children, false);
    }

    /// Ends a generation and begins another.
    fn replace(&mut self, old: Generation) -> Generation {
        let Generation { slot, ending, listener } = old;
        let (other, queue) = (1 - slot, &SLOTS[slot]);
        let is_closed = || queue.producer().is_closed();
        let (left, new) = match ending {
            Ending::Quiet => {
                let new = self.switch(other);
                wait_until("the old queue is unused", || queue.users.load(SeqCst) == 0);
                (stop(&listener), new)
            }
            Ending::Stopped => {
                let new = self.switch(other);
                (stop(&listener), new)
            }
            Ending::StoppedFirst => (stop(&listener), self.switch(other)),
            Ending::Dropped => {
                let new = self.switch(other);
                drop(listener);
                (0, new)
            }
            Ending::ClosedInHandler => {
                CLOSE_IN_HANDLER.store(true, SeqCst);
                wait_until("a handler has closed the queue", is_closed);
                (stop(&listener), self.switch(other))
            }
            Ending::GivesUp => {
                wait_until("the listener has given up", is_closed);
                (stop(&listener), self.switch(other))
            }
        };
        self.retire(slot, ending, left);
        new
    }

    /// Begins a generation, which from here on gets what is logged.
    fn switch(&mut self, slot: usize) -> Generation {
        let new = self.begin(slot);
        CURRENT.store(slot, SeqCst);
        new
    }

    /// Takes the accounts of a generation that has ended, and left so many records unhandled.
    fn retire(&mut self, slot: usize, ending: Ending, left: usize) {
        let Slot { users, dropped, handled, lost, reported, .. } = &SLOTS[slot];
        wait_until("no push is left", || users.load(SeqCst) == 0);
        SLOTS[slot].set(None);
        let mut count = 0;
        for (runs, totals) in dropped.iter().zip(&mut self.dropped) {
            for (run, total) in runs.iter().zip(totals) {
                let (first, next) = (run.first.swap(NONE, SeqCst), run.next.swap(NONE, SeqCst));
                if first != NONE {
                    assert_eq!(first, *total, "the first record of a source in a generation");
                    *total = next;
                    count += next - first;
                }
            }
        }
        let handled = handled.swap(0, SeqCst);
        let unhandled = count.checked_sub(handled).expect("no record is handled twice");
        // A push that was in the middle when the queue was closed drops its record itself.
        let (left, few) = (left as u64, (3 * THREADS) as u64);
        match ending {
            Ending::GivesUp => assert!((left..=left + few).contains(&unhandled), "{unhandled}"),
            _ => assert_eq!((left, unhandled), (0, 0), "left and unhandled, {ending:?}"),
        }
        let (lost, reported) = (lost.swap(0, SeqCst), reported.swap(0, SeqCst));
        let unreported = lost.checked_sub(reported).expect("nothing is reported twice");
        match ending {
            Ending::Quiet => assert_eq!(unreported, 0, "of {lost}"),
            Ending::GivesUp => {}
            // A handler on each thread may have found the queue full, and not have counted yet.
            _ => assert!(unreported <= THREADS as u64, "{unreported} of {lost}, {ending:?}"),
        }
        assert_eq!(lines_in(&self.logs[slot]), handled, "lines in the log");
        self.unhandled += unhandled;
        self.lost += lost;
        self.unreported += unreported;
    }

    /// Waits for everything, and compares the accounts with the logger's.
    fn finish(&mut self, last: Generation, logger: &Logger) {
        // No thread logs any more, but the listener's own.
        let left = stop(&last.listener);
        drop(last.listener);
        self.retire(last.slot, last.ending, left);
        reap(&mut self.children, true);
        assert_eq!(logger.accepted(), self.dropped, "records accepted and dropped");
        for log in &self.logs {
            fs::remove_file(log).unwrap();
        }
    }
}

/// Returns how many records were left unhandled.
fn stop(listener: &Listener) -> usize {
    match listener.stop(LONG) {
        Ok(()) => 0,
        Err(error) if error.is_closed() => error.left(),
        Err(error) => panic!("{error}"),
    }
}

#[track_caller]
fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < LONG, "waited in vain until {what}");
        thread::sleep(Duration::from_micros(50));
    }
}

fn lines_in(log: &Path) -> u64 {
    let mut file = File::open(log).unwrap();
    let (mut buffer, mut lines) = (vec![0; 1 << 16], 0);
    loop {
        match file.read(&mut buffer).unwrap() {
            0 => return lines,
            read => lines += buffer[..read].iter().filter(|&&byte| byte == b'\n').count() as u64,
        }
    }
}

/// A queue that has an event descriptor for a moment.
fn use_descriptor() {
    #[cfg(feature = "eventfd")]
    {
        let (producer, mut consumer) = bywash::bounded(1);
        let descriptor = consumer.event_fd().unwrap();
        assert!(consumer.arm());
        producer.push(1).unwrap();
        drop(consumer);
        drop(descriptor);
    }
}

// --- what must not grow ---

/// Counts the bytes that are allocated.
struct Allocator;

static ALLOCATED: AtomicI64 = AtomicI64::new(0);

// SAFETY: the system's allocator does the work.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.fetch_add(layout.size() as i64, Relaxed);
        // SAFETY: the caller guarantees it.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.fetch_add(layout.size() as i64, Relaxed);
        // SAFETY: the caller guarantees it.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, address: *mut u8, layout: Layout) {
        ALLOCATED.fetch_sub(layout.size() as i64, Relaxed);
        // SAFETY: the caller guarantees it.
        unsafe { System.dealloc(address, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

/// What this process has at a moment.
#[derive(Clone, Copy, Debug)]
struct Usage {
    allocated: i64,
    resident: i64,
    descriptors: i64,
    threads: i64,
}

impl Usage {
    fn now() -> Self {
        let allocated = ALLOCATED.load(Relaxed);
        let count = |folder| fs::read_dir(folder).unwrap().count() as i64;
        Self {
            allocated,
            resident: resident() as i64,
            descriptors: count("/proc/self/fd"),
            threads: count("/proc/self/task"),
        }
    }
}

/// How much the soak may have at its end that it did not have before: what threads register once.
const FEW_BYTES: i64 = 4 << 10;
/// How much more may be resident than after the warm-up: the system's allocator keeps a heap for
/// each of several threads, and fills the gaps in them as it likes.
const FEW_RESIDENT: i64 = 2 << 20;
/// How many more descriptors and threads there may be at a moment: two generations overlap, each
/// keeper's thread ends and begins anew, and a listener's thread ends after its `stop`.
const FEW_AT_ONCE: i64 = 8;

fn assert_flat(warm: &Usage, now: &Usage) {
    let text = format!("after the warm-up {warm:?}, then {now:?}");
    assert!(now.resident - warm.resident <= FEW_RESIDENT, "memory: {text}");
    assert!(now.descriptors - warm.descriptors <= FEW_AT_ONCE, "descriptors: {text}");
    assert!(now.threads - warm.threads <= FEW_AT_ONCE, "threads: {text}");
}

/// Ends the process when nothing has moved for a while.
fn watch() -> (Sender<()>, JoinHandle<()>) {
    let (sender, receiver) = channel();
    let watchdog = thread::spawn(move || {
        let mut before = None;
        while receiver.recv_timeout(LONG) == Err(RecvTimeoutError::Timeout) {
            let now = Some((HANDLED.load(Relaxed), GENERATIONS.load(Relaxed)));
            if before.is_some_and(|(handled, generations)| {
                now.is_some_and(|now| now.0 == handled || now.1 == generations)
            }) {
                eprintln!("handled and generations have not both moved for {LONG:?}: {now:?}");
                for task in fs::read_dir("/proc/self/task").unwrap() {
                    let path = task.unwrap().path();
                    let read = |name| fs::read_to_string(path.join(name)).unwrap_or_default();
                    eprintln!("{} {}", read("stat").trim(), read("syscall").trim());
                }
                process::abort();
            }
            before = now;
        }
    });
    (sender, watchdog)
}

// --- the soak ---

fn duration() -> Duration {
    let seconds = env::var("BYWASH_SOAK_SECONDS").ok();
    Duration::from_secs_f64(
        seconds.map_or(5.0, |text| text.parse().expect("BYWASH_SOAK_SECONDS is a number")),
    )
}

#[test]
fn everything_at_once_is_accounted_for_and_takes_no_more_with_time() {
    set_hook();
    signals::install().unwrap();
    let text = Arc::new(Text::read(&[]).unwrap());
    let logger = logger::init(Box::new(Current), THREADS - 1);
    let (ends, watchdog) = watch();
    let folder = env::temp_dir();
    let mut conductor = Conductor {
        text: text.clone(),
        logs: [0, 1].map(|slot| folder.join(format!("bywash-soak-{}-{slot}.log", process::id()))),
        random: Random(0x9e37_79b9_7f4a_7c15),
        dropped: [[0; 3]; THREADS],
        unhandled: 0,
        lost: 0,
        unreported: 0,
        children: 0,
    };
    say(format_args!(""));
    let before = Usage::now();
    let warm = soak(&mut conductor, logger, &text);
    // A listener's thread ends after its `stop`.
    wait_until("all threads have ended", || Usage::now().threads <= before.threads);
    let after = Usage::now();
    say(format_args!("before {before:?}\nafter  {after:?}"));
    assert!(after.allocated - before.allocated <= FEW_BYTES, "{before:?}, {after:?}");
    assert_eq!(after.descriptors, before.descriptors);
    assert_flat(&warm, &after);
    drop(ends);
    watchdog.join().unwrap();
}

/// Returns what there was after the warm-up.
fn soak(conductor: &mut Conductor, logger: &Logger, text: &Arc<Text>) -> Usage {
    let begin = Instant::now();
    let total = duration();
    let warm_up = (total / 4).min(Duration::from_secs(60));
    let pause = (total / 5).min(Duration::from_secs(60));
    let mut generation = conductor.switch(0);
    let producers: Vec<_> =
        (SLOT_COUNT..THREADS).map(|number| keep_producing(number, text.clone())).collect();
    let (mut warm, mut next) = (None, Duration::ZERO);
    while begin.elapsed() < total {
        conductor.live(&generation);
        generation = conductor.replace(generation);
        let elapsed = begin.elapsed();
        if elapsed >= next {
            let now = Usage::now();
            show(elapsed, conductor, logger, &now);
            next = elapsed + pause;
            warm.iter().for_each(|warm| assert_flat(warm, &now));
            if warm.is_none() && elapsed >= warm_up {
                warm = Some(now);
            }
        }
    }
    OVER.store(true, SeqCst);
    producers.into_iter().for_each(|producer| producer.join().unwrap());
    conductor.finish(generation, logger);
    let now = Usage::now();
    show(begin.elapsed(), conductor, logger, &now);
    warm.unwrap_or(now)
}

/// As `println`, but the harness does not keep it: that would be memory that grows.
fn say(text: fmt::Arguments<'_>) {
    let mut out = io::stdout();
    writeln!(out, "{text}").unwrap();
}

fn show(elapsed: Duration, conductor: &Conductor, logger: &Logger, usage: &Usage) {
    say(format_args!(
        "{:>5.0} s: {} generations, {} records handled, {} dropped unhandled, {} signals, {} lost ({} \
         unreported), {} panics, {} forks; {} bytes allocated, {} KiB resident, {} descriptors, {} \
         threads",
        elapsed.as_secs_f64(),
        GENERATIONS.load(Relaxed),
        HANDLED.load(Relaxed),
        conductor.unhandled,
        logger.handled(),
        conductor.lost,
        conductor.unreported,
        PANICS.load(Relaxed),
        FORKS.load(Relaxed),
        usage.allocated,
        usage.resident >> 10,
        usage.descriptors,
        usage.threads
    ));
}
