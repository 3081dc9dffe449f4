//! What a program hears of a push that waits for long.

use core::cell::Cell;
use core::fmt;
use core::time::Duration;
use std::boxed::Box;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;
use std::time::Instant;

/// A push that has waited for long, and what it waits for. For the hook of
/// [`set_long_wait_hook`].
///
/// Its `Display` says all of it in a line.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LongWait<'a> {
    /// The name of the queue, from [`Builder::name`](crate::Builder::name).
    pub queue: Option<&'a str>,
    /// Whether the queue's consumer has a thread: it has popped or was
    /// [bound](crate::Consumer::bind), and was not unbound since. If not, the thread that waits may
    /// well be the one that should have bound it.
    pub is_bound: bool,
    /// Whether that thread still exists. `None` if there is none, or if the system does not tell:
    /// Linux does. That a thread has returned is known everywhere.
    pub is_alive: Option<bool>,
    /// How many items are in the queue.
    pub len: usize,
    /// How many its ring holds.
    pub capacity: usize,
    /// When the push began to wait.
    pub since: Instant,
}

impl fmt::Display for LongWait<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.queue.unwrap_or("without a name");
        let Self { len, capacity, since, .. } = self;
        let thread = match (self.is_bound, self.is_alive) {
            (false, _) => "has no thread: a thread that is going to pop calls `bind` first",
            (true, Some(false)) => "had a thread that has ended",
            (true, _) => "has a thread, which does not pop",
        };
        write!(
            f,
            "a push into the queue {name} has waited for {:.1?}: {len} of {capacity} slots are in \
             use, and its consumer {thread}",
            since.elapsed()
        )
    }
}

struct Hook {
    after: Duration,
    call: Box<dyn Fn(&LongWait<'_>) + Send + Sync>,
}

/// Set once, so that who waits reads it without a lock.
static HOOK: OnceLock<Hook> = OnceLock::new();

std::thread_local! {
    static IS_INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Sets a hook that is called when a push, into any queue of the program, has waited for longer
/// than `after`: once for each such push, on its thread, at most a second later.
///
/// A push waits for long if the consumer is slow or stuck, if its thread has ended, or if it was
/// never bound, and the push is on the thread that should pop. The hook is told which of these it
/// is. It is for a line on the standard error, a counter, a test that is to fail. The push waits on
/// afterwards.
///
/// The hook must not push into queues that may be the very ones that are stuck: `try_push` is
/// safe. While it runs, pushes of its own do not call it. If it panics, the panic hook says so, and
/// the push waits on. It is never called in a signal handler, unless that calls
/// [`push`](crate::Producer::push), which it must not.
///
/// Returns whether it is set: there is one, the first, as with a program's logger. Never waits. Not
/// for signal handlers.
///
/// # Examples
///
/// ```
/// use std::sync::mpsc::channel;
/// use std::thread;
/// use std::time::Duration;
/// use bywash::Builder;
///
/// let (tell, told) = channel();
/// bywash::set_long_wait_hook(Duration::from_millis(10), move |wait| {
///     tell.send(wait.to_string()).unwrap();
/// });
/// let (producer, mut consumer) = Builder::new(1).name("log").build();
/// producer.push(1).unwrap();
/// // As if this thread had popped here, without having called `bind`.
/// let waiting = thread::spawn(move || producer.push(2));
/// let line = told.recv().unwrap();
/// assert!(line.starts_with("a push into the queue log has waited for "));
/// assert!(line.contains("its consumer has no thread"));
/// # assert_eq!(consumer.pop(), Ok(1));
/// # waiting.join().unwrap().unwrap();
/// ```
pub fn set_long_wait_hook(
    after: Duration,
    hook: impl Fn(&LongWait<'_>) + Send + Sync + 'static,
) -> bool {
    HOOK.set(Hook { after, call: Box::new(hook) }).is_ok()
}

/// A push that begins to wait, and is watched if there is a hook.
pub(crate) struct Watch {
    /// `None` where nobody is to be told, or was told already.
    since: Option<Instant>,
}

impl Watch {
    pub(crate) fn begin() -> Self {
        let is_watched = HOOK.get().is_some() && !IS_INSIDE.get();
        Self { since: is_watched.then(Instant::now) }
    }

    /// Calls the hook, once, if it is time.
    pub(crate) fn look<'a>(&mut self, describe: impl FnOnce(Instant) -> LongWait<'a>) {
        let (Some(since), Some(hook)) = (self.since, HOOK.get()) else { return };
        if since.elapsed() < hook.after {
            return;
        }
        self.since = None;
        IS_INSIDE.set(true);
        // What is thrown is the hook's, and dropping it might panic, too.
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| (hook.call)(&describe(since)))) {
            core::mem::forget(payload);
        }
        IS_INSIDE.set(false);
    }
}
