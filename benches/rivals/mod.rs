//! The queues that are measured, behind one face. An adapter does nothing but translate.

use std::sync::Arc;
use std::time::Duration;

/// A kind of bounded queue.
pub(crate) trait Queue: 'static {
    const NAME: &'static str;
    const ROLE: Role = Role::Peer;
    /// Whether there are a `put` and a `take` that wait.
    const SLEEPS: bool = true;
    const LEAST_CAPACITY: usize = 1;
    const MOST_PRODUCERS: usize = usize::MAX;

    type Sender<T: Send + Sync + 'static>: Sender<T>;
    type Receiver<T: Send + Sync + 'static>: Receiver<T>;

    /// A queue for `capacity` items, and an end for each of `producers` threads.
    fn bounded<T: Send + Sync + 'static>(
        capacity: usize,
        producers: usize,
    ) -> (Vec<Self::Sender<T>>, Self::Receiver<T>);
}

/// What a queue is here for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Ours,
    /// The same, used in another way.
    Variant,
    /// Does the same for its user.
    Peer,
    /// Does less, and shows how fast that could be.
    Limit,
}

/// One producer's end. The methods have names that no queue has.
pub(crate) trait Sender<T>: Send {
    fn try_put(&mut self, item: T) -> Result<(), T>;

    fn put(&mut self, _item: T) {
        unreachable!("this queue never sleeps")
    }
}

/// The consumer's end.
pub(crate) trait Receiver<T>: Send {
    fn try_take(&mut self) -> Option<T>;

    fn take(&mut self) -> T {
        unreachable!("this queue never sleeps")
    }
}

/// The functions `$function::<Q>` of all queues, bywash's first.
macro_rules! for_each_queue {
    ($function:ident) => {
        [
            $function::<$crate::rivals::Bywash>,
            $function::<$crate::rivals::Std>,
            $function::<$crate::rivals::CrossbeamChannel>,
            $function::<$crate::rivals::ArrayQueue>,
            $function::<$crate::rivals::ConcurrentQueue>,
            $function::<$crate::rivals::Flume>,
            $function::<$crate::rivals::Kanal>,
            $function::<$crate::rivals::ThingBuf>,
            $function::<$crate::rivals::Crossfire>,
            $function::<$crate::rivals::AsyncChannel>,
            $function::<$crate::rivals::Tokio>,
            $function::<$crate::rivals::Rtrb>,
        ]
    };
}
pub(crate) use for_each_queue;

/// Defines a queue by its name, its constants, its ends, and how each thing is done with it.
macro_rules! queue {
    (
        $Queue:ident, $name:literal $(, $constant:ident: $Type:ty = $value:expr)*;
        ends $Sender:ty, $Receiver:ty;
        bounded($capacity:ident, $producers:ident) => $bounded:expr;
        try_put($sender:ident, $item:ident) => $try_put:expr;
        try_take($receiver:ident) => $try_take:expr;
        $(put => $put:expr; take => $take:expr;)?
    ) => {
        pub(crate) struct $Queue;

        impl Queue for $Queue {
            const NAME: &'static str = $name;
            $(const $constant: $Type = $value;)*
            type Sender<T: Send + Sync + 'static> = $Sender;
            type Receiver<T: Send + Sync + 'static> = $Receiver;

            fn bounded<T: Send + Sync + 'static>($capacity: usize, $producers: usize) -> (Vec<$Sender>, $Receiver) {
                $bounded
            }
        }

        impl<T: Send + Sync + 'static> Sender<T> for $Sender {
            #[inline]
            fn try_put(&mut self, $item: T) -> Result<(), T> {
                let $sender = self;
                $try_put
            }
            $(
                #[inline]
                fn put(&mut self, $item: T) {
                    let $sender = self;
                    $put
                }
            )?
        }

        impl<T: Send + Sync + 'static> Receiver<T> for $Receiver {
            #[inline]
            fn try_take(&mut self) -> Option<T> {
                let $receiver = self;
                $try_take
            }
            $(
                #[inline]
                fn take(&mut self) -> T {
                    let $receiver = self;
                    $take
                }
            )?
        }
    };
}

/// A sender for each producer, and none left over.
fn clones<S: Clone, R>((sender, receiver): (S, R), producers: usize) -> (Vec<S>, R) {
    (vec![sender; producers], receiver)
}

/// What a push that cannot fail otherwise says when its peer is gone.
const GONE: &str = "both ends are held";

queue! {
    Bywash, "bywash", ROLE: Role = Role::Ours;
    ends bywash::Producer<T>, bywash::Consumer<T>;
    bounded(capacity, producers) => clones(bywash::bounded(capacity), producers);
    try_put(sender, item) => sender.try_push(item).map_err(|error| error.into_inner());
    try_take(receiver) => receiver.try_pop().ok();
    put => sender.push(item).expect(GONE);
    take => receiver.pop().expect(GONE);
}

/// bywash with a consumer that lingers, and is not woken for each item.
pub(crate) struct Lingering;

impl Queue for Lingering {
    const NAME: &'static str = "bywash, linger 1 ms";
    const ROLE: Role = Role::Variant;
    type Sender<T: Send + Sync + 'static> = bywash::Producer<T>;
    type Receiver<T: Send + Sync + 'static> = bywash::Consumer<T>;

    fn bounded<T: Send + Sync + 'static>(
        capacity: usize,
        producers: usize,
    ) -> (Vec<bywash::Producer<T>>, bywash::Consumer<T>) {
        let (senders, mut receiver) = Bywash::bounded(capacity, producers);
        receiver.linger(Duration::from_millis(1), 64);
        (senders, receiver)
    }
}

queue! {
    Std, "std sync_channel";
    ends std::sync::mpsc::SyncSender<T>, std::sync::mpsc::Receiver<T>;
    bounded(capacity, producers) => clones(std::sync::mpsc::sync_channel(capacity), producers);
    try_put(sender, item) => sender.try_send(item).map_err(|error| match error {
        std::sync::mpsc::TrySendError::Full(item) | std::sync::mpsc::TrySendError::Disconnected(item) => item,
    });
    try_take(receiver) => receiver.try_recv().ok();
    put => sender.send(item).expect(GONE);
    take => receiver.recv().expect(GONE);
}

queue! {
    CrossbeamChannel, "crossbeam-channel";
    ends crossbeam_channel::Sender<T>, crossbeam_channel::Receiver<T>;
    bounded(capacity, producers) => clones(crossbeam_channel::bounded(capacity), producers);
    try_put(sender, item) => sender.try_send(item).map_err(|error| error.into_inner());
    try_take(receiver) => receiver.try_recv().ok();
    put => sender.send(item).expect(GONE);
    take => receiver.recv().expect(GONE);
}

queue! {
    ArrayQueue, "ArrayQueue", SLEEPS: bool = false;
    ends Arc<crossbeam_queue::ArrayQueue<T>>, Arc<crossbeam_queue::ArrayQueue<T>>;
    bounded(capacity, producers) => {
        let queue = Arc::new(crossbeam_queue::ArrayQueue::new(capacity));
        clones((queue.clone(), queue), producers)
    };
    try_put(sender, item) => sender.push(item);
    try_take(receiver) => receiver.pop();
}

queue! {
    ConcurrentQueue, "concurrent-queue", SLEEPS: bool = false;
    ends Arc<concurrent_queue::ConcurrentQueue<T>>, Arc<concurrent_queue::ConcurrentQueue<T>>;
    bounded(capacity, producers) => {
        let queue = Arc::new(concurrent_queue::ConcurrentQueue::bounded(capacity));
        clones((queue.clone(), queue), producers)
    };
    try_put(sender, item) => sender.push(item).map_err(|error| error.into_inner());
    try_take(receiver) => receiver.pop().ok();
}

queue! {
    Flume, "flume";
    ends flume::Sender<T>, flume::Receiver<T>;
    bounded(capacity, producers) => clones(flume::bounded(capacity), producers);
    try_put(sender, item) => sender.try_send(item).map_err(|error| error.into_inner());
    try_take(receiver) => receiver.try_recv().ok();
    put => sender.send(item).expect(GONE);
    take => receiver.recv().expect(GONE);
}

queue! {
    Kanal, "kanal";
    ends kanal::Sender<T>, kanal::Receiver<T>;
    bounded(capacity, producers) => clones(kanal::bounded(capacity), producers);
    try_put(sender, item) => {
        let mut item = Some(item);
        match sender.try_send_option(&mut item) {
            Ok(true) => Ok(()),
            _ => Err(item.expect("what was not sent is still there")),
        }
    };
    try_take(receiver) => receiver.try_recv().ok().flatten();
    put => sender.send(item).expect(GONE);
    take => receiver.recv().expect(GONE);
}

/// Leaves a slot as it is: the item has been taken out of it.
pub(crate) struct Leave;

impl<T> thingbuf::recycling::Recycle<Option<T>> for Leave {
    fn new_element(&self) -> Option<T> {
        None
    }

    fn recycle(&self, _: &mut Option<T>) {}
}

queue! {
    // With room for one item it hangs.
    ThingBuf, "thingbuf", LEAST_CAPACITY: usize = 2;
    ends thingbuf::mpsc::blocking::Sender<Option<T>, Leave>, thingbuf::mpsc::blocking::Receiver<Option<T>, Leave>;
    bounded(capacity, producers) => clones(thingbuf::mpsc::blocking::with_recycle(capacity, Leave), producers);
    try_put(sender, item) => match sender.try_send_ref() {
        Ok(mut slot) => {
            *slot = Some(item);
            Ok(())
        }
        Err(_) => Err(item),
    };
    try_take(receiver) => receiver.try_recv_ref().ok().and_then(|mut slot| slot.take());
    put => *sender.send_ref().expect(GONE) = Some(item);
    take => receiver.recv_ref().expect(GONE).take().expect("a sender filled it");
}

queue! {
    Crossfire, "crossfire";
    ends crossfire::MTx<crossfire::mpsc::Array<T>>, crossfire::Rx<crossfire::mpsc::Array<T>>;
    bounded(capacity, producers) => {
        crossfire::detect_backoff_cfg();
        clones(crossfire::mpsc::bounded_blocking(capacity), producers)
    };
    try_put(sender, item) => sender.try_send(item).map_err(|error| error.into_inner());
    try_take(receiver) => receiver.try_recv().ok();
    put => sender.send(item).expect(GONE);
    take => receiver.recv().expect(GONE);
}

queue! {
    AsyncChannel, "async-channel";
    ends async_channel::Sender<T>, async_channel::Receiver<T>;
    bounded(capacity, producers) => clones(async_channel::bounded(capacity), producers);
    try_put(sender, item) => sender.try_send(item).map_err(|error| error.into_inner());
    try_take(receiver) => receiver.try_recv().ok();
    put => sender.send_blocking(item).expect(GONE);
    take => receiver.recv_blocking().expect(GONE);
}

queue! {
    Tokio, "tokio";
    ends tokio::sync::mpsc::Sender<T>, tokio::sync::mpsc::Receiver<T>;
    bounded(capacity, producers) => clones(tokio::sync::mpsc::channel(capacity), producers);
    try_put(sender, item) => sender.try_send(item).map_err(|error| error.into_inner());
    try_take(receiver) => receiver.try_recv().ok();
    put => assert!(sender.blocking_send(item).is_ok(), "{GONE}");
    take => receiver.blocking_recv().expect(GONE);
}

queue! {
    Rtrb, "rtrb", ROLE: Role = Role::Limit, SLEEPS: bool = false, MOST_PRODUCERS: usize = 1;
    ends rtrb::Producer<T>, rtrb::Consumer<T>;
    bounded(capacity, producers) => {
        assert_eq!(producers, 1);
        let (sender, receiver) = rtrb::RingBuffer::new(capacity);
        (vec![sender], receiver)
    };
    try_put(sender, item) => sender.push(item).map_err(|rtrb::PushError::Full(item)| item);
    try_take(receiver) => receiver.pop().ok();
}
