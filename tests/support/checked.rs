//! A queue that is checked against the model, call by call.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

use bywash::{Builder, Consumer, PopTimeoutError, Producer, PushError, PushTimeoutError, TryPopError, TryPushError};

use super::model::{Answer, Call, Item, Model};

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
    Drain,
    Close,
    Len,
    IsEmpty,
    IsFull,
}

impl Op {
    pub(crate) const ALL: [Self; 13] = [
        Self::TryPush,
        Self::TryPushUntilRefused,
        Self::Push,
        Self::PushTimeout,
        Self::TryPop,
        Self::TryPopUntilEmpty,
        Self::Pop,
        Self::PopTimeout,
        Self::Drain,
        Self::Close,
        Self::Len,
        Self::IsEmpty,
        Self::IsFull,
    ];

    pub(crate) fn is_consumers(self) -> bool {
        use Op::{Close, Drain, Pop, PopTimeout, TryPop, TryPopUntilEmpty};
        matches!(self, Close | Drain | Pop | PopTimeout | TryPop | TryPopUntilEmpty)
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

    /// Does `op` and has the model check it. Consumer's calls must not be nested in each other.
    pub(crate) fn perform(&self, op: Op) {
        match op {
            Op::TryPush => drop(self.try_push()),
            Op::TryPushUntilRefused => while self.try_push() {},
            Op::Push => self.push(|item| match self.producer.push(item) {
                Ok(()) => Answer::Done,
                Err(PushError::WouldDeadlock(_)) => Answer::Full,
                Err(PushError::Closed(_)) => Answer::Closed,
            }),
            Op::PushTimeout => self.push_timeout(),
            Op::TryPop => drop(self.try_pop()),
            Op::TryPopUntilEmpty => while self.try_pop() {},
            Op::Pop => self.check(Call::Pop, || [self.consumer().pop().map_or(Answer::Closed, Answer::Item)]),
            Op::PopTimeout => self.pop_timeout(),
            Op::Drain => self.drain(),
            Op::Close => self.check(Call::Close, || {
                self.consumer().close();
                [Answer::Done]
            }),
            Op::Len => self.check(Call::Len, || [Answer::Count(self.producer.len())]),
            Op::IsEmpty => self.check(Call::IsEmpty, || [Answer::Is(self.producer.is_empty())]),
            Op::IsFull => self.check(Call::IsFull, || [Answer::Is(self.producer.is_full())]),
        }
    }

    /// Whether it was pushed.
    pub(crate) fn try_push(&self) -> bool {
        let mut pushed = false;
        self.push(|item| match self.producer.try_push(item) {
            Ok(()) => {
                pushed = true;
                Answer::Done
            }
            Err(TryPushError::Full(_)) => Answer::Full,
            Err(TryPushError::Closed(_)) => Answer::Closed,
        });
        pushed
    }

    fn push_timeout(&self) {
        let inside = self.producer.is_consumer_thread();
        self.push(|item| match self.producer.push_timeout(item, Duration::ZERO) {
            Ok(()) => Answer::Done,
            Err(PushTimeoutError::Timeout(_)) => {
                assert!(!inside, "it would have waited where that would never end");
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
        let item = self.pushed.fetch_add(1, Ordering::Relaxed);
        let inside = self.producer.is_consumer_thread();
        self.check(Call::Push { item, inside }, || [push(item)]);
    }

    /// Whether something was popped.
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

    fn drain(&self) {
        let mut consumer = self.consumer();
        let mut left = 0;
        let mut drain = None;
        self.check(Call::Len, || {
            let drain = drain.insert(consumer.drain());
            left = drain.size_hint().1.unwrap();
            [Answer::Count(left)]
        });
        let mut drain = drain.unwrap();
        for _ in 0..left {
            self.check(Call::Pop, || match drain.next() {
                Some(item) => [Answer::Item(item); 2],
                None => [Answer::Empty, Answer::Closed],
            });
        }
        assert_eq!(drain.next(), None, "more than there was");
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
            Err(TryLockError::WouldBlock) => panic!("two calls of the consumer at a time"),
        }
    }
}
