//! How a queue is built.

use crate::queue::build;
use crate::{Consumer, Producer};

/// A queue on the heap for `capacity` items, with a bypass for `capacity` + 1 beside it, or for 16
/// if that is more.
///
/// The capacity is exact. Ring and bypass are allocated here, once, as memory that the system has
/// zeroed: large ones take up memory only where items have been.
///
/// With this bypass, **a consumer whose handling of an item that came from outside pushes at most
/// one item, and of its own items none, is never refused.** Its own items are those that were
/// pushed on its thread or in its [`Domain`](crate::Domain); all others came from outside. It
/// handles an item at a time, and what it pushes for it has been pushed before the next pop.
/// Handlers and hooks on its thread count as part of the handling that they interrupt. It does not
/// matter how many others push, nor whether some of them are stopped. For a consumer that pushes
/// more, see [`Builder::bypass`].
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
#[must_use = "a queue is closed as soon as one of its ends is gone"]
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
#[must_use = "a builder does nothing before `build`"]
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
        // B4 in `lanes.rs`: one more than the capacity is enough for a push for each item.
        Self { capacity, bypass: capacity.saturating_add(1).max(16) }
    }

    /// With a bypass of `slots` items, 0 or more. Without this it is one more than the capacity, or
    /// 16 if that is more.
    ///
    /// The bypass takes what the consumer pushes into its own full queue: by destructors, hooks and
    /// signals. What goes beside a full ring comes out after all that is in the ring. So while
    /// producers keep the ring full, what the handling of `capacity` items and of one more pushes
    /// stands in the bypass at a time. A consumer that pushes at most *k* items for each item from
    /// outside, and none for its own, is never refused with a bypass of *k* × (capacity + 1) slots,
    /// and with one less it may be. If it pops up to *m* items at once, as with
    /// [`try_pop_many`](Consumer::try_pop_many), and handles them then, that is *k* × (capacity +
    /// *m*). What it pushes without having popped comes on top.
    ///
    /// No size is enough if own items push items of their own without end. What does not fit is
    /// refused then, and never lost.
    pub fn bypass(mut self, slots: usize) -> Self {
        self.bypass = slots;
        self
    }

    /// Allocates the queue.
    ///
    /// # Panics
    ///
    /// Where so much cannot be allocated.
    #[must_use = "a queue is closed as soon as one of its ends is gone"]
    #[track_caller]
    pub fn build<T>(self) -> (Producer<T>, Consumer<T>) {
        build(self.capacity, self.bypass)
    }
}
