//! How a handler learns that its listener is being stopped.

use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use std::sync::Arc;
use std::time::Instant;

use crate::sleep::Changes;

/// Tells a handler that its [`Listener`](crate::Listener) is being stopped, and until when. Make
/// one, keep a clone for the handler, and give it to
/// [`ListenerBuilder::stop_token`](crate::ListenerBuilder::stop_token).
///
/// A handler that fails, sleeps and tries again does so for longer than a
/// [`stop`](crate::Listener::stop) waits, and what it could have saved is lost. It sleeps with
/// [`wait`](Self::wait) instead. That ends as soon as stopping begins, and the handler can use the
/// time that is left, until the [deadline](Self::deadline), to save what it has and the items that
/// follow.
///
/// Clones tell the same. It may be asked by helpers of the handler, too.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use bywash::{Listener, StopToken};
///
/// fn post(_message: &str) -> Result<(), ()> {
///     Err(()) // The server is down.
/// }
///
/// let (producer, consumer) = bywash::bounded(8);
/// let stop = StopToken::new();
/// let is_stopping = stop.clone();
/// let handler = move |message| {
///     while post(message).is_err() {
///         if is_stopping.wait(Duration::from_secs(30)) {
///             return eprintln!("not sent: {message}");
///         }
///     }
/// };
/// let listener = Listener::builder().name("http").stop_token(stop).spawn(consumer, handler)?;
/// producer.push("hello").unwrap();
/// listener.stop(Duration::from_secs(10)).unwrap(); // Does not take 30 seconds.
/// # std::io::Result::Ok(())
/// ```
#[derive(Clone)]
pub struct StopToken {
    shared: Arc<Shared>,
}

struct Shared {
    /// What the deadline is counted from.
    start: Instant,
    /// `RUNNING`, or the latest deadline, in nanoseconds from the start, or `NO_DEADLINE`.
    deadline: AtomicU64,
    changes: Changes,
}

const RUNNING: u64 = 0;
const NO_DEADLINE: u64 = u64::MAX;

impl StopToken {
    /// A token that says that nobody stops.
    #[allow(clippy::new_without_default, reason = "two of them are not the same")]
    pub fn new() -> Self {
        let (start, deadline) = (Instant::now(), AtomicU64::new(RUNNING));
        Self { shared: Arc::new(Shared { start, deadline, changes: Changes::default() }) }
    }

    /// Whether stopping has begun: [`stop`](crate::Listener::stop) was called, or the listener is
    /// being dropped. Never waits. A signal handler may call it.
    ///
    /// It does not say that the queue was closed otherwise, by a producer or with the last one:
    /// then nobody waits for the handler.
    pub fn is_stopping(&self) -> bool {
        self.shared.deadline.load(Ordering::Relaxed) != RUNNING
    }

    /// The time until which a caller waits for the listener to stop; of several callers, the
    /// latest. `None` if stopping has not begun, or if that wait has no limit. Never waits. A
    /// signal handler may call it.
    ///
    /// A [drop](crate::Listener#dropping-it) of the listener waits until then at least, and longer
    /// if the handler goes on: then the deadline moves.
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    /// use bywash::{Listener, StopToken};
    ///
    /// let (_producer, consumer) = bywash::bounded::<u8>(8);
    /// let stop = StopToken::new();
    /// let listener = Listener::builder().stop_token(stop.clone()).spawn(consumer, |_: u8| ())?;
    /// assert!(!stop.is_stopping() && stop.deadline().is_none());
    /// listener.stop(Duration::from_secs(3600)).unwrap();
    /// assert!(stop.is_stopping() && stop.deadline().unwrap() > Instant::now());
    /// # std::io::Result::Ok(())
    /// ```
    pub fn deadline(&self) -> Option<Instant> {
        match self.shared.deadline.load(Ordering::Relaxed) {
            RUNNING | NO_DEADLINE => None,
            nanos => self.shared.start.checked_add(Duration::from_nanos(nanos)),
        }
    }

    /// Waits until stopping begins, but not much longer than `timeout`. Returns whether it has
    /// begun: at once, if it had before. Not for signal handlers.
    ///
    /// It is for the handler, in place of `sleep`. Meanwhile a push that waits for room waits on, as
    /// while a handler sleeps.
    #[must_use = "it says whether to go on"]
    pub fn wait(&self, timeout: Duration) -> bool {
        let end = Instant::now().checked_add(timeout);
        loop {
            let key = self.shared.changes.key();
            if self.is_stopping() || end.is_some_and(|end| end <= Instant::now()) {
                return self.is_stopping();
            }
            self.shared.changes.wait(key, end);
        }
    }

    /// Says that stopping has begun, by a caller that waits for so long.
    pub(crate) fn begin(&self, timeout: Duration) {
        let end = self.shared.start.elapsed().checked_add(timeout);
        let nanos = end.and_then(|end| u64::try_from(end.as_nanos()).ok());
        // `changes` orders this for who waits.
        self.shared.deadline.fetch_max(nanos.unwrap_or(NO_DEADLINE).max(1), Ordering::Relaxed);
        self.shared.changes.notify_all();
    }
}

impl fmt::Debug for StopToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StopToken")
            .field("is_stopping", &self.is_stopping())
            .finish_non_exhaustive()
    }
}
