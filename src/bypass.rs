//! ESSAY

use crate::ring::{Refused, Ring, Slots};
use crate::sync::const_fn;
use crate::{TryPopError, TryPushError};

/// An item that went beside the ring.
#[allow(missing_debug_implementations, reason = "no user can name it")]
pub struct Entry<T> {
    /// How many indices of the ring had been claimed when it was seen full.
    after: u64,
    item: T,
}

/// The ring and the bypass beside it, in one order.
#[repr(C)]
pub(crate) struct Lanes<S, B> {
    ring: Ring<S>,
    bypass: Ring<B>,
}

impl<S, B> Lanes<S, B> {
    const_fn! {
        /// The capacity of `ring` must not be 0.
        pub(crate) fn new(ring: S, bypass: B) -> Self {
            Self { ring: Ring::new(ring), bypass: Ring::new(bypass) }
        }
    }
}

/// Where the consumer found the item that is next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Ring(u64),
    Bypass(u64),
}

impl<T, S: Slots<Item = T>, B: Slots<Item = Entry<T>>> Lanes<S, B> {
    /// Pushes into the ring, or, where it is full and `may_bypass` says so, into the bypass.
    #[inline]
    pub(crate) fn try_push(&self, item: T, may_bypass: impl FnOnce() -> bool) -> Result<(), TryPushError<T>> {
        match self.ring.claim() {
            Ok(index) => {
                // SAFETY: just claimed.
                unsafe { self.ring.publish(index, item) };
                Ok(())
            }
            Err(Refused::Full { tail }) if may_bypass() => self.push_beside(item, tail),
            Err(Refused::Full { .. }) => Err(TryPushError::Full(item)),
            Err(Refused::Closed) => Err(TryPushError::Closed(item)),
        }
    }

    #[cold]
    fn push_beside(&self, item: T, after: u64) -> Result<(), TryPushError<T>> {
        match self.bypass.claim() {
            Ok(index) => {
                // SAFETY: just claimed.
                unsafe { self.bypass.publish(index, Entry { after, item }) };
                Ok(())
            }
            Err(Refused::Full { .. }) => Err(TryPushError::Full(item)),
            Err(Refused::Closed) => Err(TryPushError::Closed(item)),
        }
    }

    /// Takes the item that is next in order, of those whose push has finished.
    ///
    /// # Safety
    ///
    /// The caller is the only consumer.
    #[inline]
    pub(crate) unsafe fn try_pop(&self) -> Result<T, TryPopError> {
        // SAFETY: the capacity of the ring is not 0.
        if let Some(index) = unsafe { self.ring.front() } {
            // B3: in this order.
            if self.bypass.is_empty() {
                // SAFETY: the caller is the consumer; `front` said so.
                return Ok(unsafe { self.ring.take(index) });
            }
        }
        // SAFETY: the caller's.
        unsafe { self.try_pop_slow() }
    }

    #[cold]
    unsafe fn try_pop_slow(&self) -> Result<T, TryPopError> {
        let mut last = None;
        loop {
            // SAFETY: the caller's.
            let next = unsafe { self.look() };
            if next == last {
                break;
            }
            last = next;
        }
        match last {
            // SAFETY: the caller is the consumer; `look` said so.
            Some(Place::Ring(index)) => Ok(unsafe { self.ring.take(index) }),
            // SAFETY: the caller is the consumer; `look` said so.
            Some(Place::Bypass(index)) => Ok(unsafe { self.bypass.take(index) }.item),
            None if self.ring.is_finished() && self.bypass.is_finished() => Err(TryPopError::Closed),
            None => Err(TryPopError::Empty),
        }
    }

    /// The first published item of each lane, and of the two the one that stands before the other.
    ///
    /// # Safety
    ///
    /// The caller is the only consumer.
    unsafe fn look(&self) -> Option<Place> {
        let ring = self.ring.find();
        let Some(beside) = self.bypass.find() else {
            return ring.map(Place::Ring);
        };
        match ring {
            // SAFETY: the caller is the consumer; `find` said so.
            Some(index) if index < unsafe { self.bypass.peek(beside, |entry| entry.after) } => Some(Place::Ring(index)),
            _ => Some(Place::Bypass(beside)),
        }
    }

    /// Refuses every push from now on.
    pub(crate) fn close(&self) {
        self.ring.close();
        self.bypass.close();
    }

    /// Takes `close` back.
    pub(crate) fn reopen(&self) {
        self.bypass.reopen();
        self.ring.reopen();
    }

    pub(crate) fn capacity(&self) -> usize {
        self.ring.capacity() as usize
    }

    pub(crate) fn len(&self) -> usize {
        (self.ring.len() + self.bypass.len()) as usize
    }

    pub(crate) fn is_full(&self) -> bool {
        self.ring.len() == self.ring.capacity()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.ring.is_closed()
    }

    /// Whether nothing is claimed that was not released.
    pub(crate) fn is_empty(&self) -> bool {
        self.ring.is_empty() && self.bypass.is_empty()
    }

    pub(crate) fn bypassed(&self) -> u64 {
        self.bypass.claimed()
    }
}
