//! Items come out in the order their pushes finished, through ring and bypass, whichever threads
//! pushed them.
#![cfg(all(feature = "std", not(bywash_loom)))]

mod support;

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use bywash::{Builder, Consumer, Producer, TryPopError, TryPushError, bounded};
use support::watch;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Pop,
    /// A push on the consumer's thread.
    PushHere,
    /// A push on a thread in the consumer's domain.
    PushInside,
    /// A push on any other thread.
    PushOutside,
}

/// What the contract says if one thread runs at a time: all accepted items are in one line, and
/// each lane has its bound.
struct Model {
    line: VecDeque<(u32, bool)>,
    capacity: usize,
    bypass: usize,
}

impl Model {
    fn count(&self, in_bypass: bool) -> usize {
        self.line.iter().filter(|item| item.1 == in_bypass).count()
    }

    fn push(&mut self, item: u32, may_bypass: bool) -> Result<(), TryPushError<u32>> {
        let in_bypass = self.count(false) == self.capacity;
        if in_bypass && !(may_bypass && self.count(true) < self.bypass) {
            return Err(TryPushError::Full(item));
        }
        self.line.push_back((item, in_bypass));
        Ok(())
    }

    fn pop(&mut self) -> Result<u32, TryPopError> {
        self.line.pop_front().map(|item| item.0).ok_or(TryPopError::Empty)
    }
}

/// A thread that pushes on request, inside the domain or outside.
struct Elsewhere {
    orders: SyncSender<Option<Order>>,
    results: Receiver<Result<(), TryPushError<u32>>>,
    thread: thread::JoinHandle<()>,
}

struct Order {
    producer: Producer<u32>,
    domain: Option<bywash::Domain>,
    item: u32,
}

impl Elsewhere {
    fn start() -> Self {
        let (orders, receiver) = sync_channel::<Option<Order>>(1);
        let (sender, results) = sync_channel(1);
        let thread = thread::spawn(move || {
            while let Some(Order { producer, domain, item }) = receiver.recv().unwrap() {
                let guard = domain.as_ref().map(bywash::Domain::enter);
                assert_eq!(producer.must_not_wait(), guard.is_some());
                let result = producer.try_push(item);
                drop(guard);
                sender.send(result).unwrap();
            }
        });
        Self { orders, results, thread }
    }

    fn push(
        &self,
        producer: &Producer<u32>,
        domain: Option<bywash::Domain>,
        item: u32,
    ) -> Result<(), TryPushError<u32>> {
        self.orders.send(Some(Order { producer: producer.clone(), domain, item })).unwrap();
        self.results.recv().unwrap()
    }

    fn stop(self) {
        self.orders.send(None).unwrap();
        self.thread.join().unwrap();
    }
}

/// Performs `steps` on a new queue and on its model, and compares the results of both at every
/// step.
fn compare(capacity: usize, bypass: usize, steps: &[Step], elsewhere: &Elsewhere) {
    let (producer, mut consumer) = Builder::new(capacity).bypass(bypass).build();
    let mut model = Model { line: VecDeque::new(), capacity, bypass };
    consumer.bind();
    for (item, &step) in (0..).zip(steps) {
        let same = match step {
            Step::Pop => consumer.try_pop() == model.pop(),
            Step::PushHere => producer.try_push(item) == model.push(item, true),
            Step::PushInside => {
                elsewhere.push(&producer, Some(consumer.domain()), item) == model.push(item, true)
            }
            Step::PushOutside => elsewhere.push(&producer, None, item) == model.push(item, false),
        };
        let counts = (consumer.len() + consumer.bypass_len(), producer.is_full())
            == (model.line.len(), model.count(false) == capacity);
        assert!(same && counts, "capacity {capacity}, bypass {bypass}, step {item} of {steps:?}");
    }
    assert!(
        consumer.try_iter().eq(model.line.into_iter().map(|item| item.0)),
        "what {steps:?} left"
    );
}

/// Every sequence of `depth` of these steps.
fn sequences(steps: &[Step], depth: u32) -> impl Iterator<Item = Vec<Step>> {
    (0..steps.len().pow(depth)).map(move |number| {
        (0..depth).map(|place| steps[number / steps.len().pow(place) % steps.len()]).collect()
    })
}

#[test]
fn one_thread_sees_one_line_in_every_sequence_of_pushes_and_pops() {
    let elsewhere = Elsewhere::start();
    for (capacity, bypass) in
        (1..=4).flat_map(|capacity| (0..=3).map(move |bypass| (capacity, bypass)))
    {
        sequences(&[Step::Pop, Step::PushHere], 12)
            .for_each(|steps| compare(capacity, bypass, &steps, &elsewhere));
    }
    elsewhere.stop();
}

#[test]
fn threads_inside_and_outside_the_domain_join_the_same_line() {
    watch();
    let all = [Step::Pop, Step::PushHere, Step::PushInside, Step::PushOutside];
    let elsewhere = Elsewhere::start();
    for (capacity, bypass) in [(1, 1), (1, 2), (2, 1), (2, 2)] {
        sequences(&all, 6).for_each(|steps| compare(capacity, bypass, &steps, &elsewhere));
    }
    elsewhere.stop();
}

#[test]
fn long_runs_past_full_keep_the_order_over_many_laps() {
    let elsewhere = Elsewhere::start();
    for (capacity, bypass) in [(1, 0), (1, 1), (2, 3), (3, 2), (4, 4), (5, 1)] {
        for period in 1..=capacity + bypass + 1 {
            // Fill by `period`, then pop one less, so that both lanes go round many times.
            let push_and_pop =
                [vec![Step::PushHere; period], vec![Step::Pop; period.max(2) - 1]].concat();
            compare(capacity, bypass, &push_and_pop.repeat(20), &elsewhere);
        }
    }
    elsewhere.stop();
}

#[test]
fn a_push_into_a_slot_freed_meanwhile_comes_after_what_is_in_the_bypass() {
    let (producer, mut consumer) = Builder::new(2).bypass(2).build();
    consumer.bind();
    (0..4).for_each(|i| producer.try_push(i).unwrap());
    assert_eq!(consumer.try_pop(), Ok(0));
    thread::scope(|scope| scope.spawn(|| producer.try_push(4).unwrap()).join().unwrap());
    assert_eq!(producer.bypassed(), 2);
    assert!(consumer.try_iter().eq(1..5));
}

/// A thread of a chain: waits for its turn, pushes the number of the turn until it is accepted, and
/// passes the turn on.
fn push_in_turn(producer: &Producer<u32>, turns: Receiver<u32>, next: &SyncSender<u32>, last: u32) {
    for turn in turns {
        while let Err(error) = producer.try_push(turn) {
            if error.is_closed() {
                return;
            }
            thread::yield_now();
        }
        if turn == last || next.send(turn + 1).is_err() {
            break;
        }
    }
}

/// Threads push in turns while the consumer pops. Those for which `inside` is true push from inside
/// the domain.
fn assert_turns_are_kept(capacity: usize, bypass: usize, inside: &[bool]) {
    const LAST: u32 = 1_000;
    let (producer, mut consumer) = Builder::new(capacity).bypass(bypass).build();
    consumer.bind();
    let domain = &consumer.domain();
    let (senders, receivers): (Vec<_>, Vec<_>) = inside.iter().map(|_| sync_channel(1)).unzip();
    senders[0].send(0).unwrap();
    // Everything moves in, so that a failure closes the queue and ends the threads.
    thread::scope(move |scope| {
        for (place, turns) in receivers.into_iter().enumerate() {
            let next = senders[(place + 1) % senders.len()].clone();
            let producer = producer.clone();
            scope.spawn(move || {
                support::pin(place);
                let _guard = inside[place].then(|| domain.enter());
                push_in_turn(&producer, turns, &next, LAST);
            });
        }
        drop(senders);
        drop(producer);
        assert!(
            consumer.iter().eq(0..=LAST),
            "capacity {capacity}, bypass {bypass}, inside {inside:?}"
        );
    });
}

#[test]
fn pushes_ordered_by_messages_between_threads_come_out_in_that_order() {
    watch();
    for capacity in 1..=3 {
        for inside in [
            &[true, false][..],
            &[true, true],
            &[false, false],
            &[true, false, true],
            &[false, false, true],
        ] {
            assert_turns_are_kept(capacity, 1, inside);
            assert_turns_are_kept(capacity, 3, inside);
        }
    }
}

/// Pushes until refused, pops `pops` of them, and returns how far it got.
fn fill_and_pop(
    producer: &Producer<u32>,
    consumer: &mut Consumer<u32>,
    next: &mut (u32, u32),
    pops: usize,
) {
    consumer.bind();
    while producer.try_push(next.0).is_ok() {
        next.0 += 1;
    }
    for item in consumer.try_iter().take(pops) {
        assert_eq!(item, next.1);
        next.1 += 1;
    }
}

#[test]
fn a_consumer_handed_round_pushes_into_the_bypass_from_each_thread_in_order() {
    for (capacity, bypass) in [(1, 1), (1, 3), (2, 2), (3, 1)] {
        let (producer, consumer) = Builder::new(capacity).bypass(bypass).build();
        let mut state = (consumer, (0, 0));
        for pops in (1..=capacity + bypass).cycle().take(60) {
            let producer = &producer;
            state = thread::scope(|scope| {
                let thread = scope.spawn(move || {
                    let (mut consumer, mut next) = state;
                    fill_and_pop(producer, &mut consumer, &mut next, pops);
                    (consumer, next)
                });
                thread.join().unwrap()
            });
        }
        let (mut consumer, (pushed, popped)) = state;
        assert!(consumer.try_iter().eq(popped..pushed));
        assert!(producer.bypassed() > 20);
    }
}

#[test]
fn each_producer_keeps_its_order_through_blocking_pushes() {
    watch();
    for capacity in [1, 2, 3, 7] {
        let (producer, mut consumer) = bounded(capacity);
        thread::scope(move |scope| {
            for name in 0..3 {
                let producer = producer.clone();
                scope.spawn(move || (0..1_000).for_each(|i| producer.push((name, i)).unwrap()));
            }
            drop(producer);
            let mut next = [0; 3];
            for (name, i) in &mut consumer {
                assert_eq!(i, next[name]);
                next[name] += 1;
            }
            assert_eq!(next, [1_000; 3]);
        });
    }
}
