//! The queues that are interrupted: the rivals, and two that are not measured elsewhere, as they
//! are for handlers and for systems without threads.

use std::sync::Arc;

pub(crate) use super::rivals::{
    ArrayQueue, AsyncChannel, Bywash, ConcurrentQueue, CrossbeamChannel, Crossfire, Flume, Kanal,
    Std, ThingBuf, Tokio,
};
pub(crate) use super::rivals::{Queue, Receiver, Sender};

/// What is said of a queue here.
pub(crate) trait Subject: Queue {
    /// The crate that it comes from, if any.
    const CRATE: &'static str = Self::NAME;
    /// Whether a push says that the queue was full.
    const SAYS_FULL: bool = true;

    /// The capacity to be had in the place of this one.
    fn holds(capacity: usize) -> Option<usize> {
        Some(capacity)
    }
}

impl Subject for Bywash {}
impl Subject for Std {
    const CRATE: &'static str = "";
}
impl Subject for CrossbeamChannel {}
impl Subject for ArrayQueue {
    const CRATE: &'static str = "crossbeam-queue";
}
impl Subject for ConcurrentQueue {}
impl Subject for Flume {}
impl Subject for Kanal {}
impl Subject for ThingBuf {}
impl Subject for Crossfire {}
impl Subject for AsyncChannel {}
impl Subject for Tokio {}

/// `signal_hook::low_level::channel::Channel`
pub(crate) struct SignalHook;

impl Queue for SignalHook {
    const NAME: &'static str = "signal-hook";
    const SLEEPS: bool = false;
    type Sender<T: Send + Sync + 'static> = Arc<signal_hook::low_level::channel::Channel<T>>;
    type Receiver<T: Send + Sync + 'static> = Arc<signal_hook::low_level::channel::Channel<T>>;

    fn bounded<T: Send + Sync + 'static>(
        _: usize,
        producers: usize,
    ) -> (Vec<Self::Sender<T>>, Self::Receiver<T>) {
        let channel = Arc::new(signal_hook::low_level::channel::Channel::new());
        (vec![channel.clone(); producers], channel)
    }
}

impl Subject for SignalHook {
    const SAYS_FULL: bool = false;

    fn holds(capacity: usize) -> Option<usize> {
        (capacity == 4).then_some(5)
    }
}

impl<T: Send + Sync> Sender<T> for Arc<signal_hook::low_level::channel::Channel<T>> {
    #[inline]
    fn try_put(&mut self, item: T) -> Result<(), T> {
        self.send(item);
        Ok(())
    }
}

impl<T: Send + Sync> Receiver<T> for Arc<signal_hook::low_level::channel::Channel<T>> {
    #[inline]
    fn try_take(&mut self) -> Option<T> {
        self.recv()
    }
}

/// `heapless::mpmc::Queue`
pub(crate) struct Heapless;

impl Queue for Heapless {
    const NAME: &'static str = "heapless";
    const SLEEPS: bool = false;
    type Sender<T: Send + Sync + 'static> = Arc<heapless::mpmc::Queue<T, 4>>;
    type Receiver<T: Send + Sync + 'static> = Arc<heapless::mpmc::Queue<T, 4>>;

    fn bounded<T: Send + Sync + 'static>(
        capacity: usize,
        producers: usize,
    ) -> (Vec<Self::Sender<T>>, Self::Receiver<T>) {
        assert_eq!(capacity, 4);
        let queue = Arc::new(heapless::mpmc::Queue::default());
        (vec![queue.clone(); producers], queue)
    }
}

impl Subject for Heapless {
    fn holds(capacity: usize) -> Option<usize> {
        (capacity == 4).then_some(4)
    }
}

impl<T: Send + Sync> Sender<T> for Arc<heapless::mpmc::Queue<T, 4>> {
    #[inline]
    fn try_put(&mut self, item: T) -> Result<(), T> {
        self.enqueue(item)
    }
}

impl<T: Send + Sync> Receiver<T> for Arc<heapless::mpmc::Queue<T, 4>> {
    #[inline]
    fn try_take(&mut self) -> Option<T> {
        self.dequeue()
    }
}

/// The functions `$function::<Q>` of all these queues, bywash's first.
macro_rules! for_each_subject {
    ($function:ident) => {
        for_each_subject!($function: Bywash Std CrossbeamChannel ArrayQueue ConcurrentQueue Flume
            Kanal ThingBuf Crossfire AsyncChannel Tokio SignalHook Heapless)
    };
    ($function:ident: $($Queue:ident)*) => {
        [$($function::<$crate::linux::queues::$Queue>),*]
    };
}
pub(crate) use for_each_subject;
