//! Why a wait for a listener has ended early.

use core::error::Error;
use core::fmt;
use std::io;

use ListenerErrorKind as Kind;

/// Why [`Listener::flush`](crate::Listener::flush) or [`Listener::stop`](crate::Listener::stop) did
/// not see everything handled, and how many items were left.
///
/// ```
/// use std::time::Duration;
/// use bywash::{Listener, ListenerErrorKind};
///
/// let (producer, consumer) = bywash::bounded(8);
/// let stuck = |_| loop { std::thread::park() };
/// let listener = Listener::spawn("stuck", consumer, stuck)?;
/// (0..7).for_each(|i| producer.push(i).unwrap());
/// let error = listener.stop(Duration::from_millis(20)).unwrap_err();
/// assert_eq!((error.kind(), error.left()), (ListenerErrorKind::Timeout, 7));
/// assert_eq!(error.to_string(), "timed out with 7 items left");
/// # std::io::Result::Ok(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenerError {
    pub(super) kind: Kind,
    pub(super) left: usize,
}

/// Why, of a [`ListenerError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ListenerErrorKind {
    /// It was not done in time. What is left will be handled if the program and the handler go on.
    Timeout,
    /// This is the listener's thread, or one that it depends on, so waiting here could never end.
    /// What is left will be handled when the handler has returned.
    WouldDeadlock,
    /// The listener has given up after a panic, and dropped what is left unhandled.
    Closed,
    /// Everything was handled, and then the handler could not [flush](crate::Handler::on_flush) it,
    /// for this reason. The error itself is
    /// [`Listener::flush_error`](crate::Listener::flush_error).
    Unflushed(io::ErrorKind),
    /// The listener's thread is not in this process. Mostly this is a forked child, and the thread
    /// stayed in its parent. What is left is this process' copy, which nobody handles here; what
    /// was pushed before the fork is handled in the parent. Or the system has ended the thread
    /// without unwinding (a filter, `SYS_exit`):
    /// [`reclaim_consumer`](crate::Producer::reclaim_consumer) takes its consumer over.
    Forked,
}

impl ListenerError {
    /// Why it is.
    pub fn kind(&self) -> ListenerErrorKind {
        self.kind
    }

    /// How many items were left: those in the queue, and the one that the handler was busy with.
    pub fn left(&self) -> usize {
        self.left
    }

    /// Whether it is [`Timeout`](ListenerErrorKind::Timeout).
    pub fn is_timeout(&self) -> bool {
        self.kind == Kind::Timeout
    }

    /// Whether it is [`WouldDeadlock`](ListenerErrorKind::WouldDeadlock).
    pub fn is_would_deadlock(&self) -> bool {
        self.kind == Kind::WouldDeadlock
    }

    /// Whether it is [`Closed`](ListenerErrorKind::Closed).
    pub fn is_closed(&self) -> bool {
        self.kind == Kind::Closed
    }

    /// Whether it is [`Unflushed`](ListenerErrorKind::Unflushed).
    pub fn is_unflushed(&self) -> bool {
        matches!(self.kind, Kind::Unflushed(_))
    }

    /// Whether it is [`Forked`](ListenerErrorKind::Forked).
    pub fn is_forked(&self) -> bool {
        self.kind == Kind::Forked
    }
}

impl fmt::Display for ListenerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            Kind::Timeout => "timed out",
            Kind::WouldDeadlock => "cannot wait on the listener's own thread,",
            Kind::Closed => "gave up after a panic",
            Kind::Forked => "the listener's thread is not in this process,",
            Kind::Unflushed(kind) => return write!(f, "could not flush: {kind}"),
        })?;
        write!(f, " with {} item{} left", self.left, if self.left == 1 { "" } else { "s" })
    }
}

impl Error for ListenerError {}
