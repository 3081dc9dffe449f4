//! Any sequence of every public method, one after another, with items whose destructors push and
//! panic.
#![no_main]

use std::cell::RefCell;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any, set_hook, take_hook};
use std::sync::Once;
use std::time::{Duration, Instant};

use arbitrary::{Arbitrary, Unstructured};
use bywash::{
    Builder, Consumer, Domain, DomainGuard, PopTimeoutError, Producer, PushError, PushTimeoutError,
    TryPopError, TryPushError,
};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Input {
    capacity: u8,
    bypass: u8,
    calls: Vec<Step>,
}

/// A call for one item, or for a batch. The high bits of four bytes choose the call for one item.
/// If the first of these bytes has a certain value, the call is for a batch. So most of the seeds
/// from before there were batches keep their meaning.
#[derive(Clone, Copy, Debug)]
enum Step {
    One(Call),
    Many(Batch),
}

impl<'a> Arbitrary<'a> for Step {
    fn arbitrary(bytes: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        match bytes.peek_bytes(1) {
            Some([0xa0..0xb0]) => {
                bytes.bytes(1)?;
                bytes.arbitrary().map(Self::Many)
            }
            _ => bytes.arbitrary().map(Self::One),
        }
    }
}

/// A call for a batch, with how many items it pushes, or pops at most.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Batch {
    TryPush(u8, Kind),
    Push(u8, Kind),
    TryPop(u8),
    Pop(u8),
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Call {
    TryPush(Kind),
    Push(Kind),
    PushTimeout(Kind),
    PushDeadline(Kind),
    TryPop,
    Pop,
    PopTimeout,
    PopDeadline,
    TryIter(u8),
    Iter(u8),
    IntoIter(u8),
    Bind,
    Close,
    Enter,
    Leave,
    CloneProducer,
    DropProducer,
    DropConsumer,
    Format,
}

/// What the destructor of an item does.
#[derive(Arbitrary, Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Nothing,
    Push,
    Panic,
    PushAndPanic,
}

struct Item {
    id: u32,
    kind: Kind,
}

/// What a destructor panics with. It takes no memory, because the queue leaks the payload of a
/// second panic, which it must not drop.
struct Expected;

impl Drop for Item {
    fn drop(&mut self) {
        WORLD.with_borrow_mut(|world| world.dropped.push(self.id));
        if matches!(self.kind, Kind::Push | Kind::PushAndPanic) {
            push(Kind::Nothing, try_push);
        }
        if matches!(self.kind, Kind::Panic | Kind::PushAndPanic) {
            panic_any(Expected);
        }
    }
}

/// The queue as it should be.
#[derive(Default)]
struct World {
    capacity: usize,
    bypass: usize,
    /// The items in it, and whether each is in the ring.
    items: VecDeque<(u32, bool)>,
    closed: bool,
    bound: bool,
    guards: usize,
    bypassed: u64,
    last: u32,
    dropped: Vec<u32>,
    producers: Vec<Producer<Item>>,
}

thread_local! {
    static WORLD: RefCell<World> = RefCell::default();
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pushed {
    Done,
    Full,
    Closed,
}

impl World {
    fn in_ring(&self) -> usize {
        self.items.iter().filter(|item| item.1).count()
    }

    fn push(&mut self) -> (u32, Pushed) {
        self.last += 1;
        let ring = self.in_ring();
        let room = ring < self.capacity;
        let inside = self.bound || self.guards > 0;
        let pushed = match () {
            () if self.closed => Pushed::Closed,
            () if room || (inside && self.items.len() - ring < self.bypass) => Pushed::Done,
            () => Pushed::Full,
        };
        if pushed == Pushed::Done {
            self.items.push_back((self.last, room));
            self.bypassed += u64::from(!room);
        }
        (self.last, pushed)
    }
}

fn is_inside() -> bool {
    WORLD.with_borrow(|world| world.bound || world.guards > 0)
}

fn try_push(producer: &Producer<Item>, item: Item) -> Result<(), (Item, Pushed)> {
    producer.try_push(item).map_err(|error| match error {
        TryPushError::Full(item) => (item, Pushed::Full),
        TryPushError::Closed(item) => (item, Pushed::Closed),
    })
}

fn push_timeout(result: Result<(), PushTimeoutError<Item>>) -> Result<(), (Item, Pushed)> {
    result.map_err(|error| {
        assert!(
            !error.is_closed() && error.is_would_deadlock() == is_inside() || error.is_closed()
        );
        let pushed = if error.is_closed() { Pushed::Closed } else { Pushed::Full };
        (error.into_inner(), pushed)
    })
}

/// Pushes with a producer, if there is one.
fn push(kind: Kind, push: impl FnOnce(&Producer<Item>, Item) -> Result<(), (Item, Pushed)>) {
    // This takes the producer itself, because a clone would be dropped here, and the last producer
    // must be dropped where that is expected.
    let Some(producer) = WORLD.with_borrow_mut(|world| world.producers.pop()) else { return };
    let (id, expected) = WORLD.with_borrow_mut(World::push);
    let refused = match push(&producer, Item { id, kind }) {
        Ok(()) => None,
        Err(refused) => Some(refused),
    };
    assert_eq!(refused.as_ref().map_or(Pushed::Done, |refused| refused.1), expected);
    WORLD.with_borrow_mut(|world| world.producers.push(producer));
    if let Some((mut item, _)) = refused {
        item.kind = Kind::Nothing;
    }
}

/// Pushes a batch with a producer, if there is one. `push` returns whether all items were pushed,
/// or why the rest was not.
fn push_batch(
    kind: Kind,
    count: usize,
    push: impl FnOnce(&Producer<Item>, &mut VecDeque<Item>) -> Pushed,
) {
    let Some(producer) = WORLD.with_borrow_mut(|world| world.producers.pop()) else { return };
    let (mut items, mut accepted, mut expected) = (VecDeque::new(), 0, Pushed::Done);
    for _ in 0..count {
        let (id, pushed) = WORLD.with_borrow_mut(World::push);
        items.push_back(Item { id, kind });
        accepted += usize::from(pushed == Pushed::Done);
        expected = pushed;
    }
    let first = items.front().map_or(0, |item| item.id);
    assert_eq!(push(&producer, &mut items), expected);
    assert!(items.iter().map(|item| item.id).eq((first..).take(count).skip(accepted)));
    WORLD.with_borrow_mut(|world| world.producers.push(producer));
    items.iter_mut().for_each(|item| item.kind = Kind::Nothing);
}

fn try_push_many(producer: &Producer<Item>, items: &mut VecDeque<Item>) -> Pushed {
    let count = items.len();
    match producer.try_push_many(items) {
        Ok(pushed) => {
            assert!(pushed == count - items.len() && (pushed > 0 || count == 0));
            // The call does not tell why, but the queue has not been closed since.
            if items.is_empty() { Pushed::Done } else { Pushed::Full }
        }
        Err(error) => {
            assert_eq!(items.len(), count);
            if error.is_closed() { Pushed::Closed } else { Pushed::Full }
        }
    }
}

fn push_many(producer: &Producer<Item>, items: &mut VecDeque<Item>) -> Pushed {
    match producer.push_many(items) {
        Ok(()) => Pushed::Done,
        Err(PushError::WouldDeadlock(())) => Pushed::Full,
        Err(PushError::Closed(())) => Pushed::Closed,
    }
}

/// Checks what was popped, and drops it.
fn popped(item: Option<Item>) {
    expect(item.as_ref());
    let _ = catch_unwind(AssertUnwindSafe(|| drop(item)));
}

/// Checks what was popped.
fn expect(item: Option<&Item>) {
    let expected = WORLD.with_borrow_mut(|world| world.items.pop_front());
    assert_eq!(item.map(|item| item.id), expected.map(|item| item.0));
}

/// Checks a batch that was popped, and drops it: at least one item, and as many as are in the ring
/// if the bypass was never used and the queue is open.
fn popped_batch(items: Vec<Item>, limit: usize) {
    let (in_ring, in_a_row) =
        WORLD.with_borrow(|world| (world.in_ring(), world.bypassed == 0 && !world.closed));
    let least = limit.min(if in_a_row { in_ring } else { 1 });
    assert!((least..=limit).contains(&items.len()), "{} of {limit}", items.len());
    // All of them have left the queue before their destructors push.
    items.iter().for_each(|item| expect(Some(item)));
    for item in items {
        let _ = catch_unwind(AssertUnwindSafe(|| drop(item)));
    }
}

/// Whether a pop would return at once.
fn may_pop() -> bool {
    WORLD.with_borrow(|world| world.closed || !world.items.is_empty())
}

fn bind() {
    WORLD.with_borrow_mut(|world| world.bound = true);
}

/// Checks the reason why nothing was popped.
fn nothing(closed: bool) -> Option<Item> {
    WORLD.with_borrow(|world| assert_eq!(closed, world.closed));
    None
}

fn timed_out(error: PopTimeoutError) -> Option<Item> {
    nothing(error == PopTimeoutError::Closed)
}

/// The consumer's calls.
fn consume(consumer: &mut Consumer<Item>, call: Call) {
    match call {
        Call::Close => {
            consumer.close();
            WORLD.with_borrow_mut(|world| world.closed = true);
            return;
        }
        _ => bind(),
    }
    match call {
        Call::TryPop => popped(
            consumer.try_pop().map_or_else(|error| nothing(error == TryPopError::Closed), Some),
        ),
        Call::Pop if may_pop() => popped(consumer.pop().ok()),
        Call::PopTimeout => {
            popped(consumer.pop_timeout(Duration::ZERO).map_or_else(timed_out, Some))
        }
        Call::PopDeadline => {
            popped(consumer.pop_deadline(Instant::now()).map_or_else(timed_out, Some))
        }
        Call::TryIter(n) => {
            let mut iter = consumer.try_iter();
            (0..n % 8).for_each(|_| popped(iter.next()));
        }
        Call::Iter(n) => {
            let mut iter = consumer.iter();
            (0..n % 8).filter(|_| may_pop()).for_each(|_| popped(iter.next()));
        }
        _ => {}
    }
    consumer.bind();
}

/// The consumer's calls of batches.
fn consume_batch(consumer: &mut Consumer<Item>, batch: Batch) {
    bind();
    consumer.bind();
    let mut items = Vec::new();
    let (limit, is_closed) = match batch {
        Batch::Pop(limit) if limit % 8 == 0 || may_pop() => {
            let limit = usize::from(limit % 8);
            (limit, consumer.pop_many(&mut items, limit).is_err())
        }
        Batch::TryPop(limit) => {
            // Some limits are larger than any queue.
            let limit = if limit == u8::MAX { usize::MAX } else { usize::from(limit % 16) };
            match consumer.try_pop_many(&mut items, limit) {
                Ok(count) => {
                    assert_eq!(count, items.len());
                    (limit, false)
                }
                Err(error) => {
                    assert!(items.is_empty() && limit > 0);
                    return popped(nothing(error == TryPopError::Closed));
                }
            }
        }
        _ => return,
    };
    if is_closed { popped(nothing(true)) } else { popped_batch(items, limit) }
}

/// Drops the consumer, and so what is in the queue.
fn drop_end<T>(end: T) {
    let left: Vec<_> = WORLD.with_borrow_mut(|world| {
        world.closed = true;
        world.dropped.clear();
        world.items.drain(..).map(|item| item.0).collect()
    });
    let _ = catch_unwind(AssertUnwindSafe(|| drop(end)));
    WORLD.with_borrow_mut(|world| {
        // The dropped items include those that their destructors could not push.
        world.dropped.retain(|id| left.contains(id));
        assert_eq!(world.dropped, left);
    });
}

struct Queue {
    consumer: Option<Consumer<Item>>,
    domain: Domain,
    guards: Vec<DomainGuard>,
}

impl Queue {
    fn call(&mut self, call: Call) {
        match call {
            Call::TryPush(kind) => push(kind, try_push),
            Call::Push(kind) => self.push(kind),
            Call::PushTimeout(kind) => {
                push(kind, |to, item| push_timeout(to.push_timeout(item, Duration::ZERO)))
            }
            Call::PushDeadline(kind) => {
                push(kind, |to, item| push_timeout(to.push_deadline(item, Instant::now())))
            }
            Call::CloneProducer => WORLD.with_borrow_mut(|world| {
                let clone = world.producers.last().filter(|_| world.producers.len() < 4).cloned();
                world.producers.extend(clone);
            }),
            Call::DropProducer => WORLD.with_borrow_mut(|world| {
                world.closed |= world.producers.len() == 1;
                world.producers.pop();
            }),
            Call::Enter => self.guards.push(self.domain.enter()),
            Call::Leave => drop(self.guards.pop()),
            Call::DropConsumer => drop(self.consumer.take().map(drop_end)),
            Call::IntoIter(n) => {
                if let Some(mut consumer) = self.consumer.take() {
                    bind();
                    consumer.bind();
                    let mut iter = consumer.into_iter();
                    (0..n % 8).filter(|_| may_pop()).for_each(|_| popped(iter.next()));
                    drop_end(iter);
                }
            }
            Call::Format => {
                let _ = format!("{:?} {:?} {:?}", self.consumer, self.domain, self.guards);
            }
            _ => drop(self.consumer.as_mut().map(|consumer| consume(consumer, call))),
        }
        WORLD.with_borrow_mut(|world| world.guards = self.guards.len());
        self.check();
    }

    fn call_batch(&mut self, batch: Batch) {
        match batch {
            Batch::TryPush(count, kind) => push_batch(kind, usize::from(count % 16), try_push_many),
            Batch::Push(count, kind) => {
                let count = usize::from(count % 16);
                let room = WORLD
                    .with_borrow(|world| world.closed || world.in_ring() + count <= world.capacity);
                // Otherwise it would wait forever.
                if room || is_inside() {
                    push_batch(kind, count, push_many);
                }
            }
            _ => drop(self.consumer.as_mut().map(|consumer| consume_batch(consumer, batch))),
        }
        self.check();
    }

    fn push(&self, kind: Kind) {
        let room = WORLD.with_borrow(|world| world.closed || world.in_ring() < world.capacity);
        if !room && !is_inside() {
            return; // It would wait forever.
        }
        push(kind, |producer, item| {
            producer.push(item).map_err(|error| match error {
                PushError::WouldDeadlock(item) => (item, Pushed::Full),
                PushError::Closed(item) => (item, Pushed::Closed),
            })
        });
    }

    /// Checks what both ends report about the queue.
    fn check(&self) {
        WORLD.with_borrow(|world| {
            let ring = world.in_ring();
            if let Some(producer) = world.producers.last() {
                let seen =
                    (producer.len(), producer.is_empty(), producer.is_full(), producer.is_closed());
                assert_eq!(
                    seen,
                    (
                        ring,
                        world.items.is_empty(),
                        ring == world.capacity,
                        world.closed
                    )
                );
                assert_eq!(
                    (producer.capacity(), producer.bypassed()),
                    (world.capacity, world.bypassed)
                );
                assert_eq!(producer.is_consumer_thread(), world.bound);
                assert_eq!(producer.must_not_wait(), world.bound || world.guards > 0);
            }
            if let Some(consumer) = &self.consumer {
                let seen = (consumer.len(), consumer.is_empty(), consumer.is_closed());
                assert_eq!(seen, (ring, world.items.is_empty(), world.closed));
                assert_eq!(consumer.bypass_len(), world.items.len() - ring);
                assert_eq!(
                    (consumer.capacity(), consumer.bypassed()),
                    (world.capacity, world.bypassed)
                );
            }
        });
    }
}

/// Silences the panics of items, which are no findings.
fn expect_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let abort = take_hook();
        set_hook(Box::new(move |panic| {
            if !panic.payload().is::<Expected>() {
                abort(panic);
            }
        }));
    });
}

fuzz_target!(|input: Input| {
    expect_panics();
    let (capacity, bypass) = (1 + usize::from(input.capacity % 8), usize::from(input.bypass % 4));
    let (producer, consumer) = Builder::new(capacity).bypass(bypass).build();
    WORLD.set(World { capacity, bypass, producers: vec![producer], ..World::default() });
    let mut queue =
        Queue { domain: consumer.domain(), consumer: Some(consumer), guards: Vec::new() };
    input.calls.iter().take(256).for_each(|&step| match step {
        Step::One(call) => queue.call(call),
        Step::Many(batch) => queue.call_batch(batch),
    });
    queue.call(Call::DropConsumer);
});
