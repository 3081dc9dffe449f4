//! How a queue is built.

use alloc::boxed::Box;
use alloc::string::String;
use core::fmt;

use crate::queue::Heap;
use crate::shared::Shared;
use crate::slots::{Boxed, BoxedExact};
use crate::sync::Arc;
use crate::{Consumer, Producer};

/// A queue on the heap, with a ring for `capacity` items and a bypass for one more, or for 16 if
/// that is more.
///
/// The capacity is exact. Ring and bypass are allocated here, once, as memory that the system has
/// zeroed: slots that are never used take no memory if the queue is large.
///
/// **The thread that is going to pop calls [`Consumer::bind`] first.** Until it has bound or
/// popped, its own push into the full queue waits for itself and hangs.
///
/// With this bypass, **a consumer is never refused if it pushes at most one item while it handles
/// an item from outside, and none while it handles an item of its own.** Its own items are those
/// that were pushed on its thread or in its [`Domain`](crate::Domain). All others came from
/// outside. The consumer handles one item at a time, and pushes what it pushes for an item before
/// it pops the next one. Signal handlers and hooks on its thread count as part of the handling that
/// they interrupt. It does not matter how many threads push, or whether some of them are stopped.
/// For a consumer that pushes more, see [`Builder::bypass`].
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
#[must_use = "a queue is closed as soon as one of its ends is gone"]
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
#[derive(Clone)]
#[must_use = "a builder does nothing before `build`"]
pub struct Builder {
    capacity: usize,
    bypass: usize,
    name: Option<Box<str>>,
}

impl Builder {
    /// For a queue of `capacity` items.
    ///
    /// # Panics
    ///
    /// If `capacity` is 0.
    #[track_caller]
    pub fn new(capacity: usize) -> Self {
        assert!(capacity != 0, "bywash: the capacity of a queue must not be 0: use 1 or more");
        // B4 in `lanes.rs`: one more than the capacity is enough for a push for each item.
        Self { capacity, bypass: capacity.saturating_add(1).max(16), name: None }
    }

    /// Sets the number of slots of the bypass, 0 or more. By default they are one more than the
    /// capacity, or 16 if that is more.
    ///
    /// The bypass takes what the consumer pushes into its own full queue, in destructors, hooks and
    /// signal handlers. An item there comes out after the items that were in the ring when it was
    /// pushed. So while producers keep the ring full, the bypass collects what the consumer pushes
    /// while it handles `capacity` items and one more.
    ///
    /// A consumer that pushes at most *k* items for each item from outside, and none for its own,
    /// is never refused with a bypass of *k* × (capacity + 1) slots. With one slot less it may be.
    /// If it pops up to *m* items at once, as with [`try_pop_many`](Consumer::try_pop_many), and
    /// then handles them, it takes *k* × (capacity + *m*). What it pushes without having popped
    /// comes on top, and so do pushes of other threads that would close a cycle of waits.
    ///
    /// No size is enough if the consumer's own items push items without end. What does not fit is
    /// refused, and never lost.
    pub fn bypass(mut self, slots: usize) -> Self {
        self.bypass = slots;
        self
    }

    /// Names the queue, for `LongWait`, which tells of pushes that wait for long, and for `Debug`.
    ///
    /// ```
    /// let (producer, _consumer) = bywash::Builder::new(4).name("log").build::<u8>();
    /// assert!(format!("{producer:?}").starts_with("Producer { name: \"log\", capacity: 4, "));
    /// ```
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into().into_boxed_str());
        self
    }

    /// Allocates the queue.
    ///
    /// # Panics
    ///
    /// If so much cannot be allocated.
    #[must_use = "a queue is closed as soon as one of its ends is gone"]
    #[track_caller]
    pub fn build<T>(self) -> (Producer<T>, Consumer<T>) {
        let mut shared = Shared::new(Boxed::new(self.capacity), BoxedExact::new(self.bypass));
        shared.set_name(self.name);
        let shared = Arc::new(shared);
        (Producer::new(shared.clone()), Consumer::new(Heap { shared }))
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut f = f.debug_struct("Builder");
        f.field("capacity", &self.capacity).field("bypass", &self.bypass);
        if let Some(name) = &self.name {
            f.field("name", name);
        }
        f.finish()
    }
}
