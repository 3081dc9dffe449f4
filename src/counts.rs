//! What a queue has counted.

/// What a queue has counted so far, for a program's metrics. From
/// [`Producer::counts`](crate::Producer::counts),
/// [`StaticQueue::counts`](crate::StaticQueue::counts) and `Listener::counts`.
///
/// Counting costs a push nothing. A refused push pays only for being counted as lost. The numbers
/// are read one after the other, so while others push and pop they belong to moments close
/// together.
///
/// ```
/// let (log, mut consumer) = bywash::bounded(2);
/// (0..5).for_each(|i| _ = log.try_push_or_count(i));
/// let counts = log.counts();
/// assert_eq!((counts.lost, counts.unreported, counts.high_water), (3, 3, 2));
/// while consumer.try_pop().is_ok() {}
/// assert_eq!(consumer.take_lost(), 3);
/// assert_eq!((log.counts().lost, log.counts().unreported), (3, 0));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// How many items were refused and counted as lost, by
    /// [`try_push_or_count`](crate::Producer::try_push_or_count) or `push_timeout_or_count`. It
    /// only grows.
    ///
    /// What other calls refuse is not counted, nor what a closed queue refuses, nor what is dropped
    /// with the consumer. For what a `Listener` counts beside it, and for all that was lost, see
    /// [what may be lost](crate::logger#what-may-be-lost).
    pub lost: u64,
    /// How many of these the consumer was not told of yet, by
    /// [`take_lost`](crate::Consumer::take_lost) or a listener's `on_lost`. While it is not 0, the
    /// consumer has not come to the place where items were lost: it is slow, or stuck.
    pub unreported: u64,
    /// How many slots of the ring were in use at once, at most.
    ///
    /// It is an upper bound, because nothing is counted while items are pushed and popped. It is
    /// the largest number of items that were pushed between two moments at which the consumer did
    /// not find its next item ready, or since the last such moment, and never more than the
    /// capacity. For a burst, or a consumer that was stuck, it is exact. A consumer that keeps up
    /// with a stream, and always finds one more item, brings it to the capacity.
    pub high_water: usize,
}
