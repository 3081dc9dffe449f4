//! Many producers, small and large queues, all methods: each item comes out once, in its producer's
//! order.
//!
//! The runs are short by default. With `BYWASH_STRESS_SECONDS=60` each test runs for that long.
#![cfg(all(feature = "std", not(bywash_loom)))]

mod support;

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use bywash::{
    Builder, Consumer, PopTimeoutError, Producer, PushError, PushTimeoutError, TryPopError,
    TryPushError,
};
use support::{pin, stress_time, watch};

/// How many items go through a queue in one round.
const ITEMS: u32 = 3_000;
const PRODUCERS: [usize; 4] = [1, 2, 4, 8];
const CAPACITIES: [usize; 6] = [1, 2, 3, 8, 64, 1000];
const SHORT: Duration = Duration::from_micros(200);

#[derive(Clone, Copy, Debug)]
struct Item {
    producer: usize,
    number: u32,
}

/// What must come next from each producer.
#[derive(Debug)]
struct Ledger(Vec<u32>);

impl Ledger {
    fn new(producers: usize) -> Self {
        Self(vec![0; producers])
    }

    fn enter(&mut self, item: Item) {
        assert_eq!(
            item.number, self.0[item.producer],
            "the next item of producer {}",
            item.producer
        );
        self.0[item.producer] += 1;
    }

    fn assert_complete(&self, each: u32) {
        assert!(self.0.iter().all(|&number| number == each), "{each} of each, and got {self:?}");
    }
}

/// Which methods a run uses.
#[derive(Clone, Copy, Debug)]
enum Methods {
    Polling,
    Blocking,
    Timeouts,
    Mixed,
}

impl Methods {
    const ALL: [Self; 4] = [Self::Polling, Self::Blocking, Self::Timeouts, Self::Mixed];

    /// The methods for the `number`th call.
    fn or_in_turn(self, number: u32) -> Self {
        if let Self::Mixed = self { Self::ALL[number as usize % 3] } else { self }
    }

    /// Pushes, and tries again until it succeeds.
    fn push(self, producer: &Producer<Item>, mut item: Item) {
        loop {
            item = match self.or_in_turn(item.number) {
                Self::Blocking => return producer.push(item).unwrap(),
                Self::Timeouts => match producer.push_timeout(item, SHORT) {
                    Ok(()) => return,
                    Err(PushTimeoutError::Timeout(item)) => item,
                    Err(error) => panic!("{error}"),
                },
                Self::Polling | Self::Mixed => match producer.try_push(item) {
                    Ok(()) => return,
                    Err(TryPushError::Full(item)) => item,
                    Err(error) => panic!("{error}"),
                },
            };
            thread::yield_now();
        }
    }

    /// Pops, and tries again until it gets an item or the queue is closed.
    fn pop(self, consumer: &mut Consumer<Item>, number: u32) -> Option<Item> {
        loop {
            match self.or_in_turn(number) {
                Self::Blocking => return consumer.pop().ok(),
                Self::Timeouts => match consumer.pop_timeout(SHORT) {
                    Ok(item) => return Some(item),
                    Err(PopTimeoutError::Closed) => return None,
                    Err(PopTimeoutError::Timeout) => {}
                },
                Self::Polling | Self::Mixed => match consumer.try_pop() {
                    Ok(item) => return Some(item),
                    Err(TryPopError::Closed) => return None,
                    Err(TryPopError::Empty) => thread::yield_now(),
                },
            }
        }
    }
}

/// Runs `round` for every number of producers and every capacity, once or for the time asked for.
fn for_every_queue(round: impl Fn(usize, usize)) {
    watch();
    let start = Instant::now();
    loop {
        CAPACITIES.iter().for_each(|&capacity| {
            PRODUCERS.iter().for_each(|&producers| round(producers, capacity))
        });
        if start.elapsed() >= stress_time() {
            return;
        }
    }
}

/// Lets `producers` threads push all their items while `consume` pops them.
fn run(
    producers: usize,
    capacity: usize,
    methods: Methods,
    consume: impl FnOnce(Producer<Item>, Consumer<Item>, u32),
) {
    let (producer, consumer) = Builder::new(capacity).bypass(4).build();
    let each = ITEMS / producers as u32;
    thread::scope(|scope| {
        for name in 0..producers {
            let producer = producer.clone();
            scope.spawn(move || {
                pin(name + 1);
                (0..each)
                    .for_each(|number| methods.push(&producer, Item { producer: name, number }));
            });
        }
        consume(producer, consumer, each);
    });
}

/// Checks that all items come through, with the same methods at both ends.
fn assert_all_come_through(methods: Methods) {
    for_every_queue(|producers, capacity| {
        run(producers, capacity, methods, |producer, mut consumer, each| {
            drop(producer);
            let mut ledger = Ledger::new(producers);
            let popped = (0..).map_while(|number| methods.pop(&mut consumer, number));
            popped.for_each(|item| ledger.enter(item));
            ledger.assert_complete(each);
        });
    });
}

#[test]
fn nothing_is_lost_by_polling() {
    assert_all_come_through(Methods::Polling);
}

#[test]
fn nothing_is_lost_by_blocking() {
    assert_all_come_through(Methods::Blocking);
}

#[test]
fn nothing_is_lost_with_timeouts() {
    assert_all_come_through(Methods::Timeouts);
}

#[test]
fn nothing_is_lost_with_all_methods_mixed() {
    assert_all_come_through(Methods::Mixed);
}

/// Lets others run until something holds, but not for long: whoever should see to it may wait for
/// the caller.
fn linger_until(holds: impl Fn() -> bool) {
    (0..30).take_while(|_| !holds()).for_each(|_| thread::yield_now());
}

/// Now and then the consumer lets the queue fill up, so that producers fall asleep, and a producer
/// lets it run empty, so that the consumer does. With `BYWASH_STRESS_ITEMS=2000000`, that many go
/// through each queue.
#[test]
fn nothing_is_lost_while_both_ends_fall_asleep_again_and_again() {
    const PRODUCERS: usize = 2;
    watch();
    let items = std::env::var("BYWASH_STRESS_ITEMS").map_or(ITEMS, |items| items.parse().unwrap());
    let each = items / PRODUCERS as u32;
    for capacity in [1, 8, 1024] {
        let (producer, mut consumer) = Builder::new(capacity).bypass(4).build();
        let period = 3 * capacity.max(64) as u32;
        thread::scope(|scope| {
            for name in 0..PRODUCERS {
                let producer = producer.clone();
                scope.spawn(move || {
                    pin(name + 1);
                    for number in 0..each {
                        producer.push(Item { producer: name, number }).unwrap();
                        if number % period == 0 {
                            linger_until(|| producer.is_empty());
                        }
                    }
                });
            }
            drop(producer);
            pin(0);
            let mut ledger = Ledger::new(PRODUCERS);
            for popped in 0.. {
                let Ok(item) = consumer.pop() else { break };
                ledger.enter(item);
                if popped % (2 * period) == period {
                    linger_until(|| consumer.len() == capacity);
                }
            }
            ledger.assert_complete(each);
        });
    }
}

/// Pushes `item` on the consumer's thread. If it is refused, the queue must be full, because nobody
/// else makes room.
fn push_own(own: &Producer<Item>, consumer: &Consumer<Item>, item: Item) -> bool {
    match own.push(item) {
        Ok(()) => true,
        Err(PushError::WouldDeadlock(_)) => {
            assert_eq!(
                consumer.len() + consumer.bypass_len(),
                consumer.capacity() + 4,
                "refused with room"
            );
            false
        }
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn nothing_is_lost_while_the_consumer_pushes_too() {
    for_every_queue(|producers, capacity| {
        run(producers, capacity, Methods::Mixed, |producer, mut consumer, each| {
            consumer.bind();
            let mut ledger = Ledger::new(producers + 1);
            let (mut own, mut number) = (Some(producer), 0);
            while let Ok(item) = consumer.pop() {
                ledger.enter(item);
                // It pushes more than it pops, so that the bypass fills up.
                for _ in 0..3 {
                    if own.as_ref().is_some_and(|own| {
                        push_own(own, &consumer, Item { producer: producers, number })
                    }) {
                        number += 1;
                    }
                    own.take_if(|_| number == each);
                }
            }
            ledger.assert_complete(each);
        });
    });
}

/// The consumer that is handed on, and the ledger of what it has popped.
type Turn = (Consumer<Item>, Ledger);

/// One of the threads that hand the consumer round. Between its turns it pushes, so that it may be
/// in the middle of a push into the bypass when another thread binds the consumer. If it finds the
/// queue closed, it returns the ledger.
fn hand_round(
    turns: Receiver<Turn>,
    next: Sender<Turn>,
    producer: Producer<Item>,
    name: usize,
    each: u32,
) -> Option<Ledger> {
    let (mut own, mut number) = (Some(producer), 0);
    for turn in 0_usize.. {
        match turns.try_recv() {
            Ok((mut consumer, mut ledger)) => {
                consumer.try_iter().take(1 + turn % 7).for_each(|item| ledger.enter(item));
                if let Err(TryPopError::Closed) = consumer.try_pop().map(|item| ledger.enter(item))
                {
                    return Some(ledger);
                }
                next.send((consumer, ledger)).unwrap();
            }
            Err(std::sync::mpsc::TryRecvError::Empty) => thread::yield_now(),
            Err(std::sync::mpsc::TryRecvError::Disconnected) => break,
        }
        let push = |own: &Producer<Item>| own.try_push(Item { producer: name, number }).is_ok();
        number += u32::from(own.as_ref().is_some_and(push));
        own.take_if(|_| number == each);
    }
    None
}

#[test]
fn nothing_is_lost_while_the_consumer_is_handed_from_thread_to_thread() {
    const HANDS: usize = 3;
    for_every_queue(|producers, capacity| {
        run(producers, capacity, Methods::Mixed, |producer, consumer, each| {
            let (mut senders, receivers): (Vec<_>, Vec<_>) = (0..HANDS).map(|_| channel()).unzip();
            senders[0].send((consumer, Ledger::new(producers + HANDS))).unwrap();
            senders.rotate_left(1);
            let threads: Vec<_> = (producers..)
                .zip(receivers.into_iter().zip(senders))
                .map(|(name, (turns, next))| {
                    let producer = producer.clone();
                    thread::spawn(move || hand_round(turns, next, producer, name, each))
                })
                .collect();
            drop(producer);
            let ledgers = threads.into_iter().filter_map(|thread| thread.join().unwrap());
            assert_eq!(ledgers.inspect(|ledger| ledger.assert_complete(each)).count(), 1);
        });
    });
}
