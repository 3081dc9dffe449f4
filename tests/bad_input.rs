//! A table of wrong and extreme arguments and states, and of what each results in.
#![cfg(all(feature = "std", not(bywash_loom)))]

mod support;

use std::collections::VecDeque;
use std::mem::forget;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use bywash::{
    Builder, Consumer, PopError, PopTimeoutError, Producer, PushError, PushTimeoutError,
    StaticQueue, TryPopError, TryPushError, bounded,
};

/// What is tried, and a test of the result.
type Row = (&'static str, fn());

fn run(rows: &[Row]) -> usize {
    support::watch();
    for (name, row) in rows {
        assert!(catch_unwind(row).is_ok(), "{name}");
    }
    rows.len()
}

/// Returns the text of the panic that building a queue of `T` with these capacities causes.
fn refusal<T>(capacity: usize, bypass: usize) -> String {
    let build = || drop(Builder::new(capacity).bypass(bypass).build::<T>());
    let payload = catch_unwind(AssertUnwindSafe(build)).expect_err("built");
    payload
        .downcast_ref::<String>()
        .cloned()
        .unwrap_or_else(|| (*payload.downcast_ref::<&str>().unwrap()).into())
}

/// Checks that `build` panics, and that the panic names this file as its place.
fn assert_refused_here(build: fn()) {
    static PLACE: Mutex<String> = Mutex::new(String::new());
    let hook = take_hook();
    set_hook(Box::new(|panic| *PLACE.lock().unwrap() = panic.location().unwrap().file().into()));
    let result = catch_unwind(build);
    set_hook(hook);
    assert!(result.is_err());
    assert_eq!(*PLACE.lock().unwrap(), file!());
}

const MAX: usize = usize::MAX;
const HALF: usize = isize::MAX as usize;
/// More bytes than any address space has.
const HUGE: usize = 1 << if usize::BITS == 64 { 50 } else { 30 };

/// A type and capacities that do not fit into memory.
macro_rules! too_large {
    ($($type:ty, $capacity:expr, $bypass:expr;)+) => {
        [$((
            concat!(
                stringify!($type), " x ", stringify!($capacity),
                " and a bypass of ", stringify!($bypass), " does not fit",
            ),
            || {
                let text = refusal::<$type>($capacity, $bypass);
                assert!(text.starts_with("bywash: ") && text.contains("is too large to allocate"), "{text}");
            },
        ),)+]
    };
}

const TOO_LARGE: &[Row] = &too_large! {
    u8, MAX, 16;
    u8, MAX - 1, 0;
    u8, HALF, 0;
    u8, HALF + 1, 0;
    u8, HALF + 2, 0;
    u8, MAX / 2 + 2, 0;
    u8, HALF / size_of::<u8>(), 0;
    u64, HALF / size_of::<u64>(), 0;
    u64, HALF / 16, 0;
    u64, HALF / 16 + 1, 0;
    u8, HUGE, 0;
    u8, HUGE + 1, 0;
    (), MAX, 0;
    (), HALF, 0;
    (), HUGE, 0;
    [u8; 1 << 16], HUGE, 0;
    [u8; 1 << 16], MAX >> 16, 0;
    [u8; 1 << 16], 1, HUGE;
    u8, 1, MAX;
    u8, 1, HALF;
    u8, 1, HUGE;
    (), 1, MAX;
};

const BUILDING: &[Row] = &[
    ("a capacity of 0 panics and names the capacity", || {
        assert!(refusal::<u8>(0, 16).contains("the capacity of a queue must not be 0"));
    }),
    ("a capacity of 0 panics in bounded too", || {
        assert!(catch_unwind(|| bounded::<u8>(0)).is_err())
    }),
    ("a capacity of 0 panics before anything is built", || {
        assert!(catch_unwind(|| Builder::new(0)).is_err())
    }),
    ("a capacity of 0 is blamed on the caller", || assert_refused_here(|| drop(bounded::<u8>(0)))),
    ("a capacity too large is blamed on the caller", || {
        assert_refused_here(|| drop(bounded::<u8>(MAX)))
    }),
    ("a bypass too large is blamed on the caller", || {
        assert_refused_here(|| drop(Builder::new(1).bypass(MAX).build::<u8>()));
    }),
    ("a bypass of 0 is no bypass", || {
        let (producer, mut consumer) = Builder::new(1).bypass(0).build();
        consumer.bind();
        assert_eq!(
            (producer.push(1), producer.push(2)),
            (Ok(()), Err(PushError::WouldDeadlock(2)))
        );
        assert_eq!((consumer.pop(), consumer.bypassed()), (Ok(1), 0));
    }),
    ("the last of several bypasses counts", || {
        let (producer, mut consumer) = Builder::new(1).bypass(9).bypass(MAX).bypass(1).build();
        consumer.bind();
        assert_eq!((0..).take_while(|&i| producer.push(i).is_ok()).count(), 2);
    }),
    ("a static queue without a bypass", || {
        let queue = StaticQueue::<_, 1, 0>::new();
        let mut consumer = queue.consumer().unwrap();
        consumer.bind();
        assert_eq!((queue.push(1), queue.push(2)), (Ok(()), Err(PushError::WouldDeadlock(2))));
    }),
];

/// A queue of one item, which is in it.
fn full() -> (Producer<u8>, Consumer<u8>) {
    let (producer, consumer) = bounded(1);
    producer.push(1).unwrap();
    (producer, consumer)
}

fn past() -> Instant {
    Instant::now() - Duration::from_millis(10)
}

fn far() -> Instant {
    Instant::now() + Duration::from_secs(1 << 40)
}

const FULL: &[Row] = &[
    ("try_push on full", || {
        let (producer, _consumer) = full();
        assert_eq!(producer.try_push(2), Err(TryPushError::Full(2)));
    }),
    ("a push timeout of zero on full", || {
        let (producer, _consumer) = full();
        assert_eq!(producer.push_timeout(2, Duration::ZERO), Err(PushTimeoutError::Timeout(2)));
    }),
    ("the shortest push timeout on full", || {
        let (producer, _consumer) = full();
        assert_eq!(
            producer.push_timeout(2, Duration::from_nanos(1)),
            Err(PushTimeoutError::Timeout(2))
        );
    }),
    ("a push deadline in the past on full", || {
        let (producer, _consumer) = full();
        assert_eq!(producer.push_deadline(2, past()), Err(PushTimeoutError::Timeout(2)));
    }),
    ("the longest push timeout on full ends when there is room", || {
        let (producer, mut consumer) = full();
        let pushing = thread::spawn(move || producer.push_timeout(2, Duration::MAX));
        assert_eq!((consumer.pop(), consumer.pop()), (Ok(1), Ok(2)));
        assert_eq!(pushing.join().unwrap(), Ok(()));
    }),
    ("a far push deadline on full ends when the consumer goes", || {
        let (producer, consumer) = full();
        let pushing = thread::spawn(move || producer.push_deadline(2, far()));
        drop(consumer);
        assert_eq!(pushing.join().unwrap(), Err(PushTimeoutError::Closed(2)));
    }),
    ("any timeout on full on the consumer's thread is refused at once", || {
        let (producer, mut consumer) = Builder::new(1).bypass(0).build();
        consumer.bind();
        producer.push(1).unwrap();
        assert_eq!(
            producer.push_timeout(2, Duration::MAX),
            Err(PushTimeoutError::WouldDeadlock(2))
        );
        assert_eq!(
            producer.push_timeout(2, Duration::ZERO),
            Err(PushTimeoutError::WouldDeadlock(2))
        );
        assert_eq!(producer.push_deadline(2, far()), Err(PushTimeoutError::WouldDeadlock(2)));
        assert_eq!(producer.push_deadline(2, past()), Err(PushTimeoutError::WouldDeadlock(2)));
    }),
    ("closing while full keeps the items", || {
        let (producer, mut consumer) = full();
        consumer.close();
        assert_eq!(producer.try_push(2), Err(TryPushError::Closed(2)));
        assert_eq!(
            (producer.is_full(), consumer.pop(), consumer.pop()),
            (true, Ok(1), Err(PopError))
        );
    }),
];

const EMPTY: &[Row] = &[
    ("try_pop on a queue that never had an item", || {
        let (_producer, mut consumer) = bounded::<u8>(1);
        assert_eq!(consumer.try_pop(), Err(TryPopError::Empty));
    }),
    ("a pop timeout of zero on empty", || {
        let (_producer, mut consumer) = bounded::<u8>(1);
        assert_eq!(consumer.pop_timeout(Duration::ZERO), Err(PopTimeoutError::Timeout));
    }),
    ("a pop deadline in the past on empty", || {
        let (_producer, mut consumer) = bounded::<u8>(1);
        assert_eq!(consumer.pop_deadline(past()), Err(PopTimeoutError::Timeout));
    }),
    ("a pop deadline in the past where there is an item", || {
        let (_producer, mut consumer) = full();
        assert_eq!(consumer.pop_deadline(past()), Ok(1));
    }),
    ("the longest pop timeout on empty ends with an item", || {
        let (producer, mut consumer) = bounded(1);
        let popping = thread::spawn(move || {
            (consumer.pop_timeout(Duration::MAX), consumer.pop_deadline(far()))
        });
        producer.push(1).unwrap();
        producer.push(2).unwrap();
        assert_eq!(popping.join().unwrap(), (Ok(1), Ok(2)));
    }),
    ("the longest pop timeout on empty ends with the last producer", || {
        let (producer, mut consumer) = bounded::<u8>(1);
        let popping = thread::spawn(move || consumer.pop_timeout(Duration::MAX));
        drop(producer);
        assert_eq!(popping.join().unwrap(), Err(PopTimeoutError::Closed));
    }),
    ("every non-blocking iterator on empty", || {
        let (_producer, mut consumer) = bounded::<u8>(1);
        assert_eq!(consumer.try_iter().next(), None);
    }),
    ("closing while empty", || {
        let (producer, mut consumer) = bounded(1);
        consumer.close();
        assert_eq!((producer.push(1), consumer.pop()), (Err(PushError::Closed(1)), Err(PopError)));
    }),
];

/// A queue that is closed and drained.
fn closed() -> (Producer<u8>, Consumer<u8>) {
    let (producer, mut consumer) = bounded(1);
    consumer.close();
    (producer, consumer)
}

const CLOSED: &[Row] = &[
    ("every push on closed", || {
        let (producer, _consumer) = closed();
        assert_eq!(producer.try_push(1), Err(TryPushError::Closed(1)));
        assert_eq!(producer.push(1), Err(PushError::Closed(1)));
        assert_eq!(producer.push_timeout(1, Duration::MAX), Err(PushTimeoutError::Closed(1)));
        assert_eq!(producer.push_timeout(1, Duration::ZERO), Err(PushTimeoutError::Closed(1)));
        assert_eq!(producer.push_deadline(1, past()), Err(PushTimeoutError::Closed(1)));
    }),
    ("every pop on closed", || {
        let (_producer, mut consumer) = closed();
        assert_eq!(consumer.try_pop(), Err(TryPopError::Closed));
        assert_eq!(consumer.pop(), Err(PopError));
        assert_eq!(consumer.pop_timeout(Duration::MAX), Err(PopTimeoutError::Closed));
        assert_eq!(consumer.pop_timeout(Duration::ZERO), Err(PopTimeoutError::Closed));
        assert_eq!(consumer.pop_deadline(past()), Err(PopTimeoutError::Closed));
    }),
    ("every iterator on closed", || {
        let (_producer, mut consumer) = closed();
        assert_eq!((consumer.iter().next(), consumer.try_iter().next()), (None, None));
        assert_eq!(consumer.into_iter().next(), None);
    }),
    ("closing twice, and then dropping", || {
        let (producer, mut consumer) = closed();
        consumer.close();
        drop(consumer);
        assert_eq!((producer.is_closed(), producer.len()), (true, 0));
    }),
    ("closing after the last producer", || {
        let (producer, mut consumer) = full();
        drop(producer);
        consumer.close();
        assert_eq!((consumer.pop(), consumer.pop()), (Ok(1), Err(PopError)));
    }),
    ("cloning a producer of a closed queue", || {
        let (producer, consumer) = closed();
        let clone = producer.clone();
        drop(producer);
        assert_eq!(clone.try_push(1), Err(TryPushError::Closed(1)));
        assert!(consumer.is_closed());
    }),
    ("binding to a closed queue, and entering its domain", || {
        let (producer, mut consumer) = closed();
        consumer.bind();
        let _inside = consumer.domain().enter();
        assert_eq!(producer.push(1), Err(PushError::Closed(1)));
    }),
];

const FORGOTTEN: &[Row] = &[
    ("a forgotten consumer leaves the queue open and fills it up", || {
        let (producer, consumer) = full();
        forget(consumer);
        assert_eq!(producer.try_push(2), Err(TryPushError::Full(2)));
        assert_eq!(
            producer.push_timeout(2, Duration::from_millis(2)),
            Err(PushTimeoutError::Timeout(2))
        );
        assert!(!producer.is_closed());
    }),
    ("a forgotten producer keeps the queue open", || {
        let (producer, mut consumer) = full();
        forget(producer);
        assert_eq!((consumer.try_pop(), consumer.try_pop()), (Ok(1), Err(TryPopError::Empty)));
    }),
    ("a forgotten iterator that owns the consumer is a forgotten consumer", || {
        let (producer, consumer) = full();
        forget(consumer.into_iter());
        assert_eq!(producer.try_push(2), Err(TryPushError::Full(2)));
    }),
    ("a forgotten guard leaves its thread inside", || {
        let (producer, consumer) = full();
        let domain = consumer.domain();
        thread::scope(|scope| scope.spawn(|| forget(domain.enter())).join().unwrap());
        assert_eq!(producer.push_timeout(2, Duration::ZERO), Err(PushTimeoutError::Timeout(2)));
        forget(domain.enter());
        assert_eq!(producer.push(2), Ok(()), "into the bypass");
    }),
    ("a forgotten static consumer is never given back", || {
        let queue = StaticQueue::<u8, 1, 1>::new();
        forget(queue.consumer());
        assert!(queue.consumer().is_none() && !queue.is_closed());
    }),
];

/// Panics when dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("boom");
    }
}

/// Pushes a number into its queue when dropped.
struct Echo(Option<Producer<Echo>>);

impl Drop for Echo {
    fn drop(&mut self) {
        if let Some(producer) = self.0.take() {
            drop(producer.try_push(Echo(None)));
        }
    }
}

const DESTRUCTORS: &[Row] = &[
    ("every item panics when dropped with the consumer", || {
        let (producer, consumer) = bounded(4);
        (0..4).for_each(|_| producer.try_push(Bomb).ok().unwrap());
        assert!(catch_unwind(AssertUnwindSafe(|| drop(consumer))).is_err());
        assert!(producer.is_closed() && producer.is_empty());
    }),
    ("every item panics when dropped while unwinding", || {
        let (producer, consumer) = bounded(4);
        (0..4).for_each(|_| producer.try_push(Bomb).ok().unwrap());
        let unwound = catch_unwind(AssertUnwindSafe(|| {
            let _consumer = consumer;
            panic!("outer");
        }));
        assert!(unwound.unwrap_err().is::<&str>() && producer.is_empty());
    }),
    ("a popped item that panics when dropped", || {
        let (producer, mut consumer) = bounded(1);
        (0..3).for_each(|_| {
            producer.try_push(Bomb).ok().unwrap();
            assert!(catch_unwind(AssertUnwindSafe(|| drop(consumer.pop()))).is_err());
        });
        assert!(!producer.is_closed());
    }),
    ("an item that pushes when it is dropped after a pop", || {
        let (producer, mut consumer) = bounded(1);
        producer.try_push(Echo(Some(producer.clone()))).ok().unwrap();
        drop(consumer.pop());
        assert_eq!(consumer.len(), 1);
    }),
    ("an item that pushes when it is dropped with the consumer", || {
        let (producer, consumer) = bounded(1);
        producer.try_push(Echo(Some(producer.clone()))).ok().unwrap();
        drop(consumer);
        assert!(producer.is_empty() && producer.is_closed());
    }),
    ("an item that holds the last producer of its queue", || {
        let (producer, mut consumer) = bounded(1);
        producer.try_push(Echo(Some(producer.clone()))).ok().unwrap();
        drop(producer);
        assert_eq!(consumer.iter().count(), 2);
    }),
    ("the caller's closure panics in the middle of an iterator", || {
        let (producer, mut consumer) = bounded(3);
        (0..3).for_each(|i| producer.push(i).unwrap());
        let unwound =
            catch_unwind(AssertUnwindSafe(|| consumer.try_iter().for_each(|i| assert_eq!(i, 0))));
        assert!(unwound.is_err() && consumer.try_iter().eq([2]));
    }),
];

/// As many items of size 0 as a vector can hold.
#[allow(clippy::uninit_vec, reason = "there is nothing to initialise")]
fn endless() -> Vec<()> {
    let mut items = Vec::new();
    // SAFETY: items of size 0 need no memory and no initialisation.
    unsafe { items.set_len(MAX) };
    items
}

const BATCHES: &[Row] = &[
    ("an empty batch on full", || {
        let (producer, _consumer) = full();
        assert_eq!((producer.try_push_many(&mut VecDeque::new()), producer.len()), (Ok(0), 1));
        assert_eq!(producer.push_many(&mut VecDeque::new()), Ok(()));
    }),
    ("an empty batch on closed", || {
        let (producer, _consumer) = closed();
        assert_eq!(producer.try_push_many(&mut VecDeque::new()), Ok(0));
        assert_eq!(producer.push_many(&mut VecDeque::new()), Ok(()));
    }),
    ("a batch on full", || {
        let (producer, _consumer) = full();
        let mut batch = [2, 3].into();
        assert_eq!(producer.try_push_many(&mut batch), Err(TryPushError::Full(())));
        assert_eq!(batch, [2, 3]);
    }),
    ("a batch on closed", || {
        let (producer, _consumer) = closed();
        let mut batch = [2, 3].into();
        assert_eq!(producer.try_push_many(&mut batch), Err(TryPushError::Closed(())));
        assert_eq!(producer.push_many(&mut batch), Err(PushError::Closed(())));
        assert_eq!(batch, [2, 3]);
    }),
    ("a batch larger than the ring", || {
        let (producer, mut consumer) = bounded(1);
        let mut batch = (0..1000).collect();
        assert_eq!((producer.try_push_many(&mut batch), batch.len()), (Ok(1), 999));
        assert!(consumer.try_iter().eq([0]));
    }),
    ("a batch larger than the ring, on the consumer's thread, without a bypass", || {
        let (producer, mut consumer) = Builder::new(1).bypass(0).build();
        consumer.bind();
        let mut batch = [1, 2, 3].into();
        assert_eq!(producer.try_push_many(&mut batch), Ok(1));
        assert_eq!(producer.try_push_many(&mut batch), Err(TryPushError::Full(())));
        assert_eq!(producer.push_many(&mut batch), Err(PushError::WouldDeadlock(())));
        assert_eq!(batch, [2, 3]);
    }),
    ("a batch for a closed queue without a bypass, on the consumer's thread", || {
        let (producer, mut consumer) = Builder::new(1).bypass(0).build();
        producer.push(1).unwrap();
        consumer.bind();
        consumer.close();
        assert_eq!(producer.try_push_many(&mut [2].into()), Err(TryPushError::Closed(())));
    }),
    ("an endless batch of items without a size", || {
        let (producer, mut consumer) = Builder::new(3).bypass(2).build();
        consumer.bind();
        let mut batch = VecDeque::from(endless());
        assert_eq!((producer.try_push_many(&mut batch), batch.len()), (Ok(5), MAX - 5));
        assert_eq!(producer.push_many(&mut batch), Err(PushError::WouldDeadlock(())));
        assert_eq!((batch.len(), consumer.try_iter().count()), (MAX - 5, 5));
    }),
    ("a limit of 0", || {
        let (_producer, mut consumer) = full();
        let mut buffer = vec![9];
        assert_eq!(consumer.try_pop_many(&mut buffer, 0), Ok(0));
        assert_eq!(consumer.pop_many(&mut buffer, 0), Ok(0));
        assert_eq!((buffer, consumer.len()), (vec![9], 1));
    }),
    ("a limit of 0 on empty and on closed", || {
        let (_producer, mut consumer) = bounded::<u8>(1);
        assert_eq!(consumer.try_pop_many(&mut Vec::new(), 0), Ok(0));
        assert_eq!(consumer.pop_many(&mut Vec::new(), 0), Ok(0));
        consumer.close();
        assert_eq!(consumer.try_pop_many(&mut Vec::new(), 0), Ok(0));
        assert_eq!(consumer.pop_many(&mut Vec::new(), 0), Ok(0));
    }),
    ("the largest limits", || {
        let (producer, mut consumer) = bounded(2);
        let mut buffer = Vec::new();
        for limit in [MAX, MAX - 1, HALF, HALF + 1] {
            assert_eq!(consumer.try_pop_many(&mut buffer, limit), Err(TryPopError::Empty));
            producer.try_push_many(&mut [1, 2].into()).unwrap();
            assert_eq!(consumer.try_pop_many(&mut buffer, limit), Ok(2));
            producer.try_push_many(&mut [1, 2].into()).unwrap();
            assert_eq!(consumer.pop_many(&mut buffer, limit), Ok(2));
        }
        assert_eq!(buffer, [1, 2].repeat(8));
    }),
    ("a buffer that can hold no more", || {
        let (producer, mut consumer) = Builder::new(2).bypass(1).build();
        consumer.bind();
        let mut buffer = endless();
        // Without and with an item in the bypass.
        for count in [2, 3] {
            producer.try_push_many(&mut vec![(); count].into()).unwrap();
            let mut pop =
                || catch_unwind(AssertUnwindSafe(|| consumer.try_pop_many(&mut buffer, 2)));
            assert!(pop().is_err() && pop().is_err());
            assert_eq!((buffer.len(), consumer.try_iter().count()), (MAX, count));
        }
    }),
    ("a batch of items that panic when dropped", || {
        let (producer, mut consumer) = bounded(2);
        let mut batch: VecDeque<_> = (0..3).map(|_| Bomb).collect();
        let mut buffer = Vec::new();
        assert_eq!(producer.try_push_many(&mut batch), Ok(2));
        assert_eq!(producer.try_push_many(&mut batch), Err(TryPushError::Full(())));
        assert_eq!(consumer.try_pop_many(&mut buffer, 1), Ok(1));
        assert!(catch_unwind(AssertUnwindSafe(|| drop(batch))).is_err());
        assert!(catch_unwind(AssertUnwindSafe(|| drop(buffer))).is_err());
        assert_eq!((producer.is_closed(), producer.len()), (false, 1));
        assert!(catch_unwind(AssertUnwindSafe(|| drop(consumer))).is_err());
        assert!(producer.is_closed() && producer.is_empty());
    }),
    ("a batch of items that push when they are dropped", || {
        let (producer, mut consumer) = bounded(2);
        let mut batch = (0..2).map(|_| Echo(Some(producer.clone()))).collect();
        assert_eq!(producer.try_push_many(&mut batch), Ok(2));
        let mut buffer = Vec::new();
        assert_eq!(consumer.try_pop_many(&mut buffer, 2), Ok(2));
        drop(buffer);
        assert_eq!(consumer.len(), 2);
    }),
];

/// Ring and bypass of a queue of `T`, used some laps.
fn laps<T>(capacity: usize, make: fn(usize) -> T, number: fn(&T) -> usize) {
    let (producer, mut consumer) = bounded(capacity);
    consumer.bind();
    for _ in 0..3 {
        let pushed = (0..100).take_while(|&i| producer.try_push(make(i)).is_ok()).count();
        assert_eq!(pushed, 100.min(capacity + 16));
        assert!(consumer.try_iter().map(|item| number(&item)).eq(0..pushed));
    }
    producer.try_push(make(0)).unwrap_or_else(|_| unreachable!("there is room"));
}

#[repr(align(8192))]
struct Aligned(usize);

/// Slots are allocated zeroed, and not written before they are used.
const ZEROED: &[Row] = &[
    ("slots for items without a size", || {
        let (producer, mut consumer) = bounded(1 << 20);
        assert_eq!(producer.try_push_many(&mut vec![(); 1 << 20].into()), Ok(1 << 20));
        assert_eq!(
            (producer.try_push(()), consumer.try_iter().count()),
            (Err(TryPushError::Full(())), 1 << 20)
        );
    }),
    ("slots for huge items", || {
        laps::<[u8; 1 << 13]>(3, |i| [i as u8; 1 << 13], |bytes| bytes[bytes.len() - 1].into());
        // 2 GiB that nobody touches, or 1 MiB where there may not be so much.
        let capacity = if usize::BITS == 64 { 1 << 14 } else { 1 << 3 };
        drop(Builder::new(capacity).bypass(1).build::<[u8; 1 << 17]>());
    }),
    ("slots for items aligned to more than a page", || {
        let is_aligned = |item: &Aligned| {
            assert_eq!(std::ptr::from_ref(item).addr() % 8192, 0);
            item.0
        };
        laps(1, Aligned, is_aligned);
        laps(5, Aligned, is_aligned);
    }),
];

/// Closing from the producers' side.
const CLOSED_BY_PRODUCER: &[Row] = &[
    ("a producer closes an empty queue, twice", || {
        let (producer, mut consumer) = bounded::<u8>(1);
        producer.close();
        producer.close();
        assert_eq!((consumer.try_pop(), consumer.pop()), (Err(TryPopError::Closed), Err(PopError)));
        assert_eq!(producer.push(1), Err(PushError::Closed(1)));
    }),
    ("a producer closes a full queue while others sleep for room", || {
        let (producer, mut consumer) = full();
        let other = producer.clone();
        let pushing = thread::spawn(move || other.push(2));
        support::settle();
        producer.close();
        assert_eq!(pushing.join().unwrap(), Err(PushError::Closed(2)));
        assert!(consumer.iter().eq([1]));
    }),
    ("a producer closes a queue without a consumer", || {
        let (producer, consumer) = full();
        drop(consumer);
        producer.close();
        assert_eq!(producer.try_push(2), Err(TryPushError::Closed(2)));
    }),
    ("a producer closes its queue when its item is dropped with the consumer", || {
        struct Closes(Producer<Closes>);
        impl Drop for Closes {
            fn drop(&mut self) {
                self.0.close();
            }
        }
        let (producer, consumer) = bounded(2);
        (0..2).for_each(|_| producer.push(Closes(producer.clone())).unwrap());
        drop(consumer);
        assert!(producer.is_empty());
    }),
    ("a static queue is closed before there was a consumer", || {
        let queue = StaticQueue::<u8, 1, 0>::new();
        queue.close();
        assert_eq!(queue.push_timeout(1, Duration::MAX), Err(PushTimeoutError::Closed(1)));
        assert_eq!(queue.consumer().unwrap().pop(), Err(PopError));
        assert!(!queue.consumer().unwrap().is_closed());
    }),
];

/// As [`Consumer::recover`].
fn recover<Q: bywash::Queue<Item = u8>>(consumer: &mut Consumer<u8, Q>) -> usize {
    // SAFETY: the rows have one thread, which is inside no push or pop.
    unsafe { consumer.recover() }
}

const RECOVERY: &[Row] = &[
    ("recovery of an empty queue finds nothing, twice", || {
        let (producer, mut consumer) = bounded::<u8>(2);
        assert_eq!((recover(&mut consumer), recover(&mut consumer)), (0, 0));
        assert_eq!(consumer.try_pop(), Err(TryPopError::Empty));
        assert_eq!((producer.push(1), consumer.pop()), (Ok(()), Ok(1)));
    }),
    ("recovery of a full queue leaves what is in it, also beside the ring", || {
        let (producer, mut consumer) = Builder::new(1).bypass(1).build();
        consumer.bind();
        assert_eq!((producer.push(1), producer.push(2)), (Ok(()), Ok(())));
        assert_eq!((recover(&mut consumer), recover(&mut consumer)), (0, 0));
        assert_eq!(producer.push(3), Err(PushError::WouldDeadlock(3)));
        assert!(consumer.try_iter().eq([1, 2]));
    }),
    ("recovery of a queue without a bypass", || {
        let (producer, mut consumer) = Builder::new(1).bypass(0).build();
        assert_eq!((producer.push(1), recover(&mut consumer)), (Ok(()), 0));
        assert!(consumer.try_iter().eq([1]));
    }),
    ("recovery of a closed queue leaves it closed, and what is in it to be popped", || {
        let (producer, mut consumer) = full();
        consumer.close();
        assert_eq!(recover(&mut consumer), 0);
        assert_eq!(producer.push(2), Err(PushError::Closed(2)));
        assert!(consumer.iter().eq([1]));
        assert_eq!((recover(&mut consumer), consumer.pop()), (0, Err(PopError)));
    }),
    ("recovery makes the calling thread the consumer's", || {
        let (producer, mut consumer) = full();
        assert!(!producer.is_consumer_thread());
        recover(&mut consumer);
        assert!(producer.is_consumer_thread());
    }),
    ("a static consumer is reclaimed where there is none, and where it was forgotten", || {
        for claims in [false, true] {
            let queue = StaticQueue::<u8, 1, 1>::new();
            if claims {
                forget(queue.consumer());
            }
            queue.try_push(1).unwrap();
            // SAFETY: there is no other, or it was forgotten.
            let mut consumer = unsafe { queue.reclaim_consumer() };
            assert_eq!((recover(&mut consumer), consumer.try_pop()), (0, Ok(1)));
            assert!(queue.consumer().is_none());
            drop(consumer);
            assert!(queue.is_closed() && queue.consumer().is_some());
        }
    }),
];

#[test]
fn every_wrong_or_extreme_argument_and_state_gets_what_is_documented() {
    let tables = [
        TOO_LARGE,
        BUILDING,
        FULL,
        EMPTY,
        CLOSED,
        FORGOTTEN,
        DESTRUCTORS,
        BATCHES,
        ZEROED,
        CLOSED_BY_PRODUCER,
        RECOVERY,
    ];
    let rows: usize = tables.into_iter().map(run).sum();
    println!("{rows} bad inputs tried");
    assert!(rows >= 40, "{rows}");
}
