//! The logger of the whole program: a producer in a `static`, where destructors and signal handlers
//! find it.

use std::cell::Cell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use crate::queues::{Refused, Sink};
use crate::record::{Body, Kind, Record};

/// Set before any thread or handler uses it: a handler must not initialise it.
static LOGGER: OnceLock<Logger> = OnceLock::new();

thread_local! {
    /// What this thread is. A handler may read it, because its initialiser is constant and it has
    /// no destructor.
    static THREAD: Cell<Option<&'static Thread>> = const { Cell::new(None) };
}

pub(crate) struct Logger {
    sink: Box<dyn Sink>,
    /// One for each thread that logs; the consumer's is the first.
    pub(crate) threads: Vec<Thread>,
}

/// What one thread has done, and what it is doing. Only the thread itself writes here.
#[derive(Default)]
pub(crate) struct Thread {
    pub(crate) number: usize,
    pub(crate) contexts: [Context; 3],
    /// From here on: used by the consumer's thread alone.
    pub(crate) received: AtomicU64,
    pub(crate) is_popping: AtomicBool,
    pub(crate) is_writing: AtomicBool,
}

/// What one kind of code on one thread has pushed.
#[derive(Default)]
pub(crate) struct Context {
    pub(crate) pushed: AtomicU64,
    pub(crate) refused: [AtomicU64; 3],
    /// Whether it is inside a push at the moment.
    pub(crate) is_pushing: AtomicBool,
}

/// Sets the logger up for a consumer and some producers.
pub(crate) fn init(sink: Box<dyn Sink>, producers: usize) -> &'static Logger {
    let threads = (0..=producers).map(|number| Thread { number, ..Thread::default() }).collect();
    LOGGER.get_or_init(|| Logger { sink, threads })
}

/// Makes the calling thread the one with this number.
pub(crate) fn enter(number: usize) -> &'static Thread {
    let me = &LOGGER.get().expect("init comes first").threads[number];
    THREAD.set(Some(me));
    me
}

/// Logs from the calling thread. With `Kind::Signal` this may be called in a signal handler: there
/// it reads the static and the thread-local, counts in atomics, and calls `try_push`.
///
/// Returns whether the queue took it.
pub(crate) fn log(kind: Kind, body: Body) -> bool {
    let (Some(logger), Some(me)) = (LOGGER.get(), THREAD.get()) else { return false };
    let context = &me.contexts[kind as usize];
    let record = Record { kind, thread: me.number, sequence: context.pushed.load(Relaxed), body };
    context.is_pushing.store(true, Relaxed);
    let result = match kind {
        Kind::Line | Kind::Finaliser => logger.sink.push(record),
        Kind::Signal => logger.sink.try_push(record),
    };
    context.is_pushing.store(false, Relaxed);
    match result {
        Ok(()) => context.pushed.fetch_add(1, Relaxed),
        Err(refused) => context.refused[refused as usize].fetch_add(1, Relaxed),
    };
    result.is_ok()
}

impl Logger {
    /// Tells the consumer that nothing more will come.
    pub(crate) fn end(&self) -> bool {
        self.sink.push(Record { kind: Kind::Line, thread: 0, sequence: 0, body: Body::End }).is_ok()
    }

    pub(crate) fn bypassed(&self) -> u64 {
        self.sink.bypassed()
    }

    pub(crate) fn consumer(&self) -> &Thread {
        &self.threads[0]
    }

    /// How many records were accepted, by thread and kind.
    pub(crate) fn accepted(&self) -> Vec<[u64; 3]> {
        self.threads
            .iter()
            .map(|thread| Kind::ALL.map(|kind| thread.context(kind).pushed()))
            .collect()
    }

    /// How many signals have been handled. Each handler tried to log once.
    pub(crate) fn handled(&self) -> u64 {
        let signals = self.threads.iter().map(|thread| thread.context(Kind::Signal));
        signals
            .map(|signal| {
                signal.pushed() + Refused::ALL.map(|how| signal.refused(how)).iter().sum::<u64>()
            })
            .sum()
    }
}

impl Thread {
    pub(crate) fn context(&self, kind: Kind) -> &Context {
        &self.contexts[kind as usize]
    }

    pub(crate) fn is_consumer(&self) -> bool {
        self.number == 0
    }

    /// Whether the thread is in a push that interrupted something else.
    pub(crate) fn is_nested(&self) -> bool {
        self.is_pushing(Kind::Finaliser) || self.is_pushing(Kind::Signal)
    }

    fn is_pushing(&self, kind: Kind) -> bool {
        self.context(kind).is_pushing.load(Relaxed)
    }

    /// Describes which thread this is, and what it is doing.
    pub(crate) fn activity(&self) -> String {
        let name = if self.is_consumer() {
            "the consumer".into()
        } else {
            format!("producer {}", self.number)
        };
        let handler = if self.is_pushing(Kind::Signal) {
            "a signal handler's try_push, on top of "
        } else {
            ""
        };
        let what = match self.is_pushing(Kind::Finaliser) {
            true if self.is_consumer() => "a finaliser's push into the queue that only it drains",
            true => "a finaliser's push",
            false if self.is_pushing(Kind::Line) => "push",
            false if self.is_popping.load(Relaxed) => "pop",
            false if self.is_writing.load(Relaxed) => "a write to the log file",
            false => "code that has nothing to do with the queue",
        };
        format!("{name}, in {handler}{what}")
    }
}

impl Context {
    pub(crate) fn pushed(&self) -> u64 {
        self.pushed.load(Relaxed)
    }

    pub(crate) fn refused(&self, how: Refused) -> u64 {
        self.refused[how as usize].load(Relaxed)
    }
}
