//! A queue that checks each call against the model.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

use bywash::{
    Builder, Consumer, PopTimeoutError, Producer, PushError, PushTimeoutError, TryPopError,
    TryPushError,
};

use super::model::{Answer, Call, Item, MOST, Model, Then};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    TryPush,
    TryPushUntilRefused,
    Push,
    PushTimeout,
    TryPop,
    TryPopUntilEmpty,
    Pop,
    PopTimeout,
    Close,
    Len,
    IsEmpty,
    IsFull,
    TryPushMany(usize),
    /// Must not wait, so it is called only if `push` would not wait.
    PushMany(usize),
    TryPopMany(usize),
    TryPushWithin(usize),
    TryPushOrCount,
    /// With a timeout of zero, or on a thread that must not wait, with the longest timeout.
    TryPushAndWait,
    TakeLost,
}

impl Op {
    /// More than fit into any ring here, and more than fit into any ring and bypass together.
    pub(crate) const TOO_MANY: usize = 7;

    pub(crate) const ALL: [Self; 23] = [
        Self::TryPush,
        Self::TryPushUntilRefused,
        Self::Push,
        Self::PushTimeout,
        Self::TryPop,
        Self::TryPopUntilEmpty,
        Self::Pop,
        Self::PopTimeout,
        Self::Close,
        Self::Len,
        Self::IsEmpty,
        Self::IsFull,
        Self::TryPushMany(2),
        Self::TryPushMany(Self::TOO_MANY),
        Self::PushMany(3),
        Self::TryPopMany(2),
        Self::TryPopMany(3),
        Self::TryPopMany(usize::MAX),
        Self::TryPushWithin(1),
        Self::TryPushWithin(2),
        Self::TryPushOrCount,
        Self::TryPushAndWait,
        Self::TakeLost,
    ];

    /// Returns the call that a byte of the fuzzer stands for. A call that was there before others
    /// were added keeps most of its bytes, so that old seeds keep their meaning.
    #[allow(dead_code, reason = "the tests call all of them")]
    pub(crate) fn from_byte(byte: u8) -> Self {
        let ops = match byte {
            0xa0..0xb0 => &Self::ALL[13..19],
            0xb0..0xc0 => &Self::ALL[19..],
            _ => &Self::ALL[..13],
        };
        ops[usize::from(byte) % ops.len()]
    }

    /// Whether it is a variant of another call, or ends in the same calls as another.
    #[allow(dead_code, reason = "the fuzzers do not use it")]
    pub(crate) fn is_variant(self) -> bool {
        use Op::{
            TakeLost, TryPopMany, TryPushAndWait, TryPushMany, TryPushOrCount, TryPushWithin,
        };
        matches!(
            self,
            TakeLost
                | TryPopMany(_)
                | TryPushAndWait
                | TryPushMany(_)
                | TryPushOrCount
                | TryPushWithin(_)
        )
    }

    pub(crate) fn is_consumers(self) -> bool {
        use Op::{Close, Pop, PopTimeout, TakeLost, TryPop, TryPopMany, TryPopUntilEmpty};
        matches!(
            self,
            Close | Pop | PopTimeout | TakeLost | TryPop | TryPopMany(_) | TryPopUntilEmpty
        )
    }
}

fn answer(result: Result<(), TryPushError<Item>>) -> Answer {
    match result {
        Ok(()) => Answer::Done,
        Err(TryPushError::Full(_)) => Answer::Full,
        Err(TryPushError::Closed(_)) => Answer::Closed,
    }
}

pub(crate) struct Checked {
    producer: Producer<Item>,
    consumer: Mutex<Consumer<Item>>,
    model: Mutex<Model>,
    pushed: AtomicU32,
}

impl Checked {
    pub(crate) fn new(capacity: usize, bypass: usize) -> Self {
        let (producer, consumer) = Builder::new(capacity).bypass(bypass).build();
        Self {
            producer,
            consumer: Mutex::new(consumer),
            model: Mutex::new(Model::new(capacity, bypass)),
            pushed: AtomicU32::new(0),
        }
    }

    pub(crate) fn bind(&self) {
        self.consumer().bind();
    }

    /// Performs `op`, and the model checks the answer. Calls of the consumer must not be nested in
    /// each other.
    pub(crate) fn perform(&self, op: Op) {
        match op {
            Op::TryPush => drop(self.try_push()),
            Op::TryPushUntilRefused => while self.try_push() {},
            Op::TryPushMany(count) => self.try_push_many(count),
            Op::PushMany(count) => self.push_many(count),
            Op::TryPopMany(limit) => self.try_pop_many(limit),
            Op::TryPushWithin(limit) => self.push_within(limit),
            Op::TryPushOrCount => {
                self.push_then(Then::Count, |item| answer(self.producer.try_push_or_count(item)))
            }
            Op::TryPushAndWait => self.push_and_wait(),
            Op::TakeLost => {
                self.check(Call::TakeLost, || {
                    [Answer::Count(self.consumer().take_lost() as usize)]
                });
            }
            Op::Push => self.push(|item| match self.producer.push(item) {
                Ok(()) => Answer::Done,
                Err(PushError::WouldDeadlock(_)) => Answer::Full,
                Err(PushError::Closed(_)) => Answer::Closed,
            }),
            Op::PushTimeout => self.push_timeout(),
            Op::TryPop => drop(self.try_pop()),
            Op::TryPopUntilEmpty => while self.try_pop() {},
            Op::Pop => self
                .check(Call::Pop, || [self.consumer().pop().map_or(Answer::Closed, Answer::Item)]),
            Op::PopTimeout => self.pop_timeout(),
            Op::Close => self.check(Call::Close, || {
                self.consumer().close();
                [Answer::Done]
            }),
            Op::Len => self.check(Call::Len, || [Answer::Count(self.producer.len())]),
            Op::IsEmpty => self.check(Call::IsEmpty, || [Answer::Is(self.producer.is_empty())]),
            Op::IsFull => self.check(Call::IsFull, || [Answer::Is(self.producer.is_full())]),
        }
    }

    /// Returns whether the item was pushed.
    pub(crate) fn try_push(&self) -> bool {
        let mut pushed = false;
        self.push(|item| {
            let result = self.producer.try_push(item);
            pushed = result.is_ok();
            answer(result)
        });
        pushed
    }

    fn push_within(&self, limit: usize) {
        let item = self.pushed.fetch_add(1, Ordering::Relaxed);
        let call = Call::Push { item, inside: false, limit, then: Then::Nothing };
        self.check(call, || [answer(self.producer.try_push_within(item, limit))]);
    }

    fn push_and_wait(&self) {
        let timeout =
            if self.producer.is_consumer_thread() { Duration::MAX } else { Duration::ZERO };
        self.push_then(Then::Look, |item| match self.producer.try_push_and_wait(item, timeout) {
            Ok(popped) => Answer::Is(popped),
            Err(error) => answer(Err(error)),
        });
    }

    fn push_timeout(&self) {
        let inside = self.producer.is_consumer_thread();
        self.push(|item| match self.producer.push_timeout(item, Duration::ZERO) {
            Ok(()) => Answer::Done,
            Err(PushTimeoutError::Timeout(_)) => {
                assert!(!inside, "it timed out on a thread that must not wait");
                Answer::Full
            }
            Err(PushTimeoutError::WouldDeadlock(_)) => {
                assert!(inside, "it could have waited");
                Answer::Full
            }
            Err(PushTimeoutError::Closed(_)) => Answer::Closed,
        });
    }

    fn push(&self, push: impl FnOnce(Item) -> Answer) {
        self.push_then(Then::Nothing, push);
    }

    fn push_then(&self, then: Then, push: impl FnOnce(Item) -> Answer) {
        let item = self.pushed.fetch_add(1, Ordering::Relaxed);
        let inside = self.producer.is_consumer_thread();
        self.check(Call::Push { item, inside, limit: usize::MAX, then }, || [push(item)]);
    }

    fn try_push_many(&self, count: usize) {
        self.push_batch(count, false, |items| match self.producer.try_push_many(items) {
            Ok(pushed) => {
                assert_eq!(pushed, count - items.len());
                Answer::Count(pushed)
            }
            Err(error) => {
                assert_eq!(items.len(), count);
                if error.is_closed() { Answer::Closed } else { Answer::Full }
            }
        });
    }

    fn push_many(&self, count: usize) {
        self.push_batch(count, true, |items| match self.producer.push_many(items) {
            Ok(()) => {
                assert!(items.is_empty());
                Answer::Done
            }
            Err(PushError::WouldDeadlock(())) => Answer::FullAfter(count - items.len()),
            Err(PushError::Closed(())) => Answer::ClosedAfter(count - items.len()),
        });
    }

    fn push_batch(
        &self,
        count: usize,
        waits: bool,
        push: impl FnOnce(&mut VecDeque<Item>) -> Answer,
    ) {
        let first = self.pushed.fetch_add(count as u32, Ordering::Relaxed);
        let inside = self.producer.is_consumer_thread();
        let mut items: VecDeque<_> = (first..).take(count).collect();
        self.check(Call::PushMany { first, count, inside, waits }, || [push(&mut items)]);
        assert!(
            items.iter().copied().eq((first..).take(count).skip(count - items.len())),
            "not the rest: {items:?}"
        );
    }

    fn try_pop_many(&self, limit: usize) {
        const BEFORE: Item = Item::MAX;
        self.check(Call::PopMany(limit), || {
            let mut items = vec![BEFORE];
            let answer = match self.consumer().try_pop_many(&mut items, limit) {
                Ok(count) => {
                    assert_eq!(items.len(), 1 + count);
                    assert!(count <= MOST.min(limit));
                    Answer::Items(std::array::from_fn(|i| items.get(1 + i).copied()))
                }
                Err(TryPopError::Empty) => Answer::Empty,
                Err(TryPopError::Closed) => Answer::Closed,
            };
            assert_eq!(items[0], BEFORE);
            [answer]
        });
    }

    /// Returns whether an item was popped.
    pub(crate) fn try_pop(&self) -> bool {
        let mut popped = false;
        self.check(Call::Pop, || {
            [match self.consumer().try_pop() {
                Ok(item) => {
                    popped = true;
                    Answer::Item(item)
                }
                Err(TryPopError::Empty) => Answer::Empty,
                Err(TryPopError::Closed) => Answer::Closed,
            }]
        });
        popped
    }

    fn pop_timeout(&self) {
        self.check(Call::Pop, || {
            [match self.consumer().pop_timeout(Duration::ZERO) {
                Ok(item) => Answer::Item(item),
                Err(PopTimeoutError::Timeout) => Answer::Empty,
                Err(PopTimeoutError::Closed) => Answer::Closed,
            }]
        });
    }

    fn check<const N: usize>(&self, call: Call, run: impl FnOnce() -> [Answer; N]) {
        let id = self.model().invoke(call);
        let answers = run();
        self.model().respond(id, &answers);
    }

    fn model(&self) -> MutexGuard<'_, Model> {
        self.model.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn consumer(&self) -> MutexGuard<'_, Consumer<Item>> {
        match self.consumer.try_lock() {
            Ok(consumer) => consumer,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => panic!("two calls of the consumer at the same time"),
        }
    }
}
