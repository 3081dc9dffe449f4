//! How a queue is built.

use crate::queue::build;
use crate::{Consumer, Producer};

/// A queue on the heap, with a ring for `capacity` items.
///
/// The capacity is exact. Ring and bypass are allocated here, once. The bypass is about as large as
/// the ring, see [`Builder::bypass`].
///
/// **The thread that is going to pop calls [`Consumer::bind`] first.** Until it has bound or
/// popped, its own push into the full queue waits for itself and hangs.
///
/// # Panics
///
/// If `capacity` is 0, or if so much cannot be allocated.
///
/// # Examples
///
/// ```
/// let (producer, mut consumer) = bywash::bounded(100);
/// producer.push("hello").unwrap();
/// assert_eq!(consumer.pop(), Ok("hello"));
/// ```
#[track_caller]
pub fn bounded<T>(capacity: usize) -> (Producer<T>, Consumer<T>) {
    Builder::new(capacity).build()
}

/// Builds a queue, with a bypass of your size.
///
/// ```
/// use bywash::Builder;
///
/// let (producer, consumer) = Builder::new(1000).bypass(64).build();
/// # producer.push(1).unwrap();
/// # drop(consumer);
/// ```
#[derive(Clone, Debug)]
pub struct Builder {
    capacity: usize,
    bypass: usize,
}

impl Builder {
    /// For a queue of `capacity` items.
    ///
    /// # Panics
    ///
    /// If `capacity` is 0.
    #[track_caller]
    pub fn new(capacity: usize) -> Self {
        assert!(capacity != 0, "bywash: the capacity of a queue must not be 0");
        Self { capacity, bypass: 16 }
    }

    /// Sets the number of slots of the bypass, 0 or more. By default they are about as many as the
    /// capacity, and 16 at least.
    ///
    /// The bypass takes what the consumer pushes into its own full queue, in destructors, hooks and
    /// signal handlers. An item there comes out after the items that were in the ring when it was
    /// pushed. So while producers keep the ring full, the bypass collects what the consumer pushes
    /// while it handles `capacity` items. With one push for each item that others pushed, one slot
    /// more than the capacity is enough, and no push is refused; with one push for each tenth item,
    /// a tenth of that.
    #[must_use]
    pub fn bypass(mut self, slots: usize) -> Self {
        self.bypass = slots;
        self
    }

    /// Allocates the queue.
    ///
    /// # Panics
    ///
    /// If so much cannot be allocated.
    #[track_caller]
    pub fn build<T>(self) -> (Producer<T>, Consumer<T>) {
        build(self.capacity, self.bypass)
    }
}
