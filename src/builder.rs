//! How a queue is built.

use crate::queue::build;
use crate::{Consumer, Producer};

/// A queue on the heap for `capacity` items, and a bypass for 16 beside it.
///
/// The capacity is exact. Ring and bypass are allocated here, once. 16 is for a consumer that
/// seldom pushes; where each item may make it push, see [`Builder::bypass`].
///
/// # Panics
///
/// Where `capacity` is 0, or where so much cannot be allocated.
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

/// Builds a queue with a bypass of your size.
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
    /// Where `capacity` is 0.
    #[track_caller]
    pub fn new(capacity: usize) -> Self {
        assert!(capacity != 0, "bywash: the capacity of a queue must not be 0");
        Self { capacity, bypass: 16 }
    }

    /// With a bypass of `slots` items, 0 or more. Without this it is 16.
    ///
    /// The bypass takes what the consumer pushes into its own full queue: by destructors, hooks and
    /// signals. What goes beside a full ring comes out after all that is in the ring. So while
    /// producers keep it full, what handling `capacity` items makes the consumer push stands in the
    /// bypass at a time: with one push for each item, as many slots as the capacity are enough;
    /// with one for each tenth, a tenth of it.
    #[must_use]
    pub fn bypass(mut self, slots: usize) -> Self {
        self.bypass = slots;
        self
    }

    /// Allocates the queue.
    ///
    /// # Panics
    ///
    /// Where so much cannot be allocated.
    #[track_caller]
    pub fn build<T>(self) -> (Producer<T>, Consumer<T>) {
        build(self.capacity, self.bypass)
    }
}
