//! Iterators over a queue.

use core::fmt;

use crate::Consumer;
use crate::queue::{Heap, Queue};

#[cfg(feature = "std")]
use core::iter::FusedIterator;

/// Pops and waits, until the queue is closed and drained. From [`Consumer::iter`].
#[cfg(feature = "std")]
#[must_use = "it pops when it is iterated over"]
pub struct Iter<'a, T, Q: Queue<Item = T> = Heap<T>> {
    pub(crate) consumer: &'a mut Consumer<T, Q>,
}

#[cfg(feature = "std")]
impl<T, Q: Queue<Item = T>> Iterator for Iter<'_, T, Q> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.consumer.pop().ok()
    }
}

#[cfg(feature = "std")]
impl<T, Q: Queue<Item = T>> FusedIterator for Iter<'_, T, Q> {}

/// Pops until there is nothing to pop, and never waits. From [`Consumer::try_iter`].
#[must_use = "it pops when it is iterated over"]
pub struct TryIter<'a, T, Q: Queue<Item = T> = Heap<T>> {
    pub(crate) consumer: &'a mut Consumer<T, Q>,
}

impl<T, Q: Queue<Item = T>> Iterator for TryIter<'_, T, Q> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.consumer.try_pop().ok()
    }
}
/// Pops and waits, until the queue is closed and drained. From [`Consumer::into_iter`].
#[cfg(feature = "std")]
#[must_use = "it pops when it is iterated over"]
pub struct IntoIter<T, Q: Queue<Item = T> = Heap<T>> {
    consumer: Consumer<T, Q>,
}

#[cfg(feature = "std")]
impl<T, Q: Queue<Item = T>> Iterator for IntoIter<T, Q> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.consumer.pop().ok()
    }
}

#[cfg(feature = "std")]
impl<T, Q: Queue<Item = T>> FusedIterator for IntoIter<T, Q> {}

#[cfg(feature = "std")]
impl<T, Q: Queue<Item = T>> IntoIterator for Consumer<T, Q> {
    type Item = T;
    type IntoIter = IntoIter<T, Q>;

    fn into_iter(self) -> IntoIter<T, Q> {
        IntoIter { consumer: self }
    }
}

#[cfg(feature = "std")]
impl<'a, T, Q: Queue<Item = T>> IntoIterator for &'a mut Consumer<T, Q> {
    type Item = T;
    type IntoIter = Iter<'a, T, Q>;

    fn into_iter(self) -> Iter<'a, T, Q> {
        self.iter()
    }
}

/// `Debug` for what iterates over a queue, whatever its items are.
macro_rules! debug_iterators {
    ($($(#[$meta:meta])* $name:ident<$($lifetime:lifetime)?>,)+) => {$(
        $(#[$meta])*
        impl<T, Q: Queue<Item = T>> fmt::Debug for $name<$($lifetime,)? T, Q> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.consumer.queue.shared().core().debug(f, stringify!($name))
            }
        }
    )+};
}

debug_iterators! {
    TryIter<'_>,
    #[cfg(feature = "std")]
    Iter<'_>,
    #[cfg(feature = "std")]
    IntoIter<>,
}
