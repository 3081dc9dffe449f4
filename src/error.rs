//! What calls return instead of `Ok`.

use core::error::Error;
use core::fmt;

use crate::shared::Refusal;

/// Why [`Producer::try_push`](crate::Producer::try_push) handed the item back.
///
/// ```
/// let (producer, consumer) = bywash::bounded(1);
/// producer.try_push('a').unwrap();
/// let error = producer.try_push('b').unwrap_err();
/// assert!(error.is_full());
/// assert_eq!(error.into_inner(), 'b');
/// drop(consumer);
/// assert!(producer.try_push('c').unwrap_err().is_closed());
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum TryPushError<T> {
    /// Every slot of the ring was in use. The caller may not use the bypass, or the bypass was full
    /// too.
    Full(T),
    /// The queue was closed, from either end, or its consumer is gone.
    Closed(T),
}

/// Why [`Producer::push`](crate::Producer::push) handed the item back.
///
/// ```
/// use bywash::{Builder, PushError};
///
/// let (producer, mut consumer) = Builder::new(1).bypass(0).build();
/// consumer.bind();
/// producer.push('a').unwrap();
/// match producer.push('b') {
///     Ok(()) => unreachable!("there is no room"),
///     Err(PushError::WouldDeadlock(item)) => assert_eq!(item, 'b'),
///     Err(PushError::Closed(_)) => unreachable!("there is a consumer"),
/// }
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum PushError<T> {
    /// Ring and bypass were full, and a wait on this thread could never end: it is the
    /// consumer's thread, or one that the consumer depends on. Or the ring was full, and this is a
    /// forked child, whose parent has the consumer's thread, or that thread was ended by the system
    /// without unwinding, or this is an allocator hook inside [`bind`](crate::Consumer::bind) or
    /// [`enter`](crate::Domain::enter), which should have called `try_push` instead.
    WouldDeadlock(T),
    /// The queue was closed, from either end, or its consumer is gone.
    Closed(T),
}

/// Why [`Producer::push_timeout`](crate::Producer::push_timeout) or
/// [`Producer::push_deadline`](crate::Producer::push_deadline) handed the item back.
///
/// ```
/// use std::time::Duration;
///
/// let (producer, consumer) = bywash::bounded(1);
/// producer.push('a').unwrap();
/// let error = producer.push_timeout('b', Duration::from_millis(1)).unwrap_err();
/// assert!(error.is_timeout());
/// assert_eq!(error.into_inner(), 'b');
/// # drop(consumer);
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum PushTimeoutError<T> {
    /// There was no room in time.
    Timeout(T),
    /// Ring and bypass were full, and a wait on this thread could never end: it is the
    /// consumer's thread, or one that the consumer depends on. Or the ring was full, and this is a
    /// forked child, whose parent has the consumer's thread, or that thread was ended by the system
    /// without unwinding, or this is an allocator hook inside [`bind`](crate::Consumer::bind) or
    /// [`enter`](crate::Domain::enter), which should have called `try_push` instead.
    WouldDeadlock(T),
    /// The queue was closed, from either end, or its consumer is gone.
    Closed(T),
}

/// Why [`Consumer::try_pop`](crate::Consumer::try_pop) returned no item.
///
/// ```
/// let (producer, mut consumer) = bywash::bounded::<u8>(1);
/// assert!(consumer.try_pop().unwrap_err().is_empty());
/// drop(producer);
/// assert!(consumer.try_pop().unwrap_err().is_closed());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
// Aligned as most items are. In the byte after the tag of a result, it made the compiler move the
// item in pieces at odd addresses, and later reads waited for these stores.
#[repr(usize)]
pub enum TryPopError {
    /// Every push that has finished has had its item popped.
    Empty,
    /// The queue is closed, and everything that was pushed has been popped.
    Closed,
}

/// [`Consumer::pop`](crate::Consumer::pop) returned no item because the queue is closed, and
/// everything that was pushed has been popped.
///
/// ```
/// let (producer, mut consumer) = bywash::bounded::<u8>(1);
/// drop(producer);
/// assert_eq!(consumer.pop(), Err(bywash::PopError));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PopError;

/// Why [`Consumer::pop_timeout`](crate::Consumer::pop_timeout) or
/// [`Consumer::pop_deadline`](crate::Consumer::pop_deadline) returned no item.
///
/// ```
/// use std::time::Duration;
///
/// let (producer, mut consumer) = bywash::bounded::<u8>(1);
/// assert!(consumer.pop_timeout(Duration::ZERO).unwrap_err().is_timeout());
/// drop(producer);
/// assert!(consumer.pop_timeout(Duration::ZERO).unwrap_err().is_closed());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PopTimeoutError {
    /// No push finished in time.
    Timeout,
    /// The queue is closed, and everything that was pushed has been popped.
    Closed,
}

const FULL: &str = "queue is full";
const EMPTY: &str = "queue is empty";
const CLOSED: &str = "queue is closed, or its consumer is gone";
const DRAINED: &str = "queue is closed, and all that was pushed has been popped";
const PUSH_TIMEOUT: &str = "timed out while the queue was full";
const POP_TIMEOUT: &str = "timed out while the queue was empty";
const WOULD_DEADLOCK: &str = "queue is full, and cannot be drained while this thread waits";

/// For the errors that hand an item back: `into_inner`, and `Debug`, `Display` and `Error` for any
/// type of item.
macro_rules! push_error {
    ($name:ident { $($variant:ident => $text:ident),+ }) => {
        impl<T> $name<T> {
            /// The item that was not pushed.
            pub fn into_inner(self) -> T {
                match self {
                    $(Self::$variant(item))|+ => item,
                }
            }
        }

        impl<T> fmt::Debug for $name<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$variant(_) => f.write_str(concat!(stringify!($variant), "(..)")),)+
                }
            }
        }

        impl<T> fmt::Display for $name<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$variant(_) => f.write_str($text),)+
                }
            }
        }

        impl<T> Error for $name<T> {}
    };
}

push_error!(TryPushError { Full => FULL, Closed => CLOSED });
push_error!(PushError { WouldDeadlock => WOULD_DEADLOCK, Closed => CLOSED });
push_error!(PushTimeoutError { Timeout => PUSH_TIMEOUT, WouldDeadlock => WOULD_DEADLOCK, Closed => CLOSED });

impl<T> TryPushError<T> {
    /// Whether it is [`Full`](Self::Full).
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Full(_))
    }

    /// Whether it is [`Closed`](Self::Closed).
    pub fn is_closed(&self) -> bool {
        matches!(self, Self::Closed(_))
    }
}

impl<T> PushError<T> {
    /// Whether it is [`WouldDeadlock`](Self::WouldDeadlock).
    pub fn is_would_deadlock(&self) -> bool {
        matches!(self, Self::WouldDeadlock(_))
    }

    /// Whether it is [`Closed`](Self::Closed).
    pub fn is_closed(&self) -> bool {
        matches!(self, Self::Closed(_))
    }
}

impl<T> PushTimeoutError<T> {
    /// Whether it is [`Timeout`](Self::Timeout).
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::Timeout(_))
    }

    /// Whether it is [`WouldDeadlock`](Self::WouldDeadlock).
    pub fn is_would_deadlock(&self) -> bool {
        matches!(self, Self::WouldDeadlock(_))
    }

    /// Whether it is [`Closed`](Self::Closed).
    pub fn is_closed(&self) -> bool {
        matches!(self, Self::Closed(_))
    }
}

impl TryPopError {
    /// Whether it is [`Empty`](Self::Empty).
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Empty)
    }

    /// Whether it is [`Closed`](Self::Closed).
    pub fn is_closed(&self) -> bool {
        matches!(self, Self::Closed)
    }
}

impl PopTimeoutError {
    /// Whether it is [`Timeout`](Self::Timeout).
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::Timeout)
    }

    /// Whether it is [`Closed`](Self::Closed).
    pub fn is_closed(&self) -> bool {
        matches!(self, Self::Closed)
    }
}

impl fmt::Display for TryPopError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => EMPTY,
            Self::Closed => DRAINED,
        })
    }
}

impl fmt::Display for PopError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(DRAINED)
    }
}

impl fmt::Display for PopTimeoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Timeout => POP_TIMEOUT,
            Self::Closed => DRAINED,
        })
    }
}

impl Error for TryPopError {}
impl Error for PopError {}
impl Error for PopTimeoutError {}

/// The errors of pushes that were refused, with their items.
impl Refusal {
    #[inline]
    pub(crate) fn try_push<T>(self, item: T) -> TryPushError<T> {
        match self {
            // A call that never waits is not told that to wait would never end.
            Self::Full | Self::WouldDeadlock => TryPushError::Full(item),
            Self::Closed => TryPushError::Closed(item),
        }
    }

    #[cfg(feature = "std")]
    pub(crate) fn push<T>(self, item: T) -> PushError<T> {
        match self {
            // Without a deadline there is no timeout.
            Self::Full | Self::WouldDeadlock => PushError::WouldDeadlock(item),
            Self::Closed => PushError::Closed(item),
        }
    }

    #[cfg(feature = "std")]
    pub(crate) fn push_timeout<T>(self, item: T) -> PushTimeoutError<T> {
        match self {
            Self::Full => PushTimeoutError::Timeout(item),
            Self::WouldDeadlock => PushTimeoutError::WouldDeadlock(item),
            Self::Closed => PushTimeoutError::Closed(item),
        }
    }
}

// Where one error widens to another: what it says remains true, and there is more that the other
// could have said. So `Full` does not become `Timeout` or `WouldDeadlock`, as it says neither which
// of the two it would have been nor that anybody waited. `Empty` does not become `Timeout`
// likewise.

impl<T> From<PushError<T>> for PushTimeoutError<T> {
    fn from(error: PushError<T>) -> Self {
        match error {
            PushError::WouldDeadlock(item) => Self::WouldDeadlock(item),
            PushError::Closed(item) => Self::Closed(item),
        }
    }
}

impl From<PopError> for TryPopError {
    fn from(PopError: PopError) -> Self {
        Self::Closed
    }
}

impl From<PopError> for PopTimeoutError {
    fn from(PopError: PopError) -> Self {
        Self::Closed
    }
}
