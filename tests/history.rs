//! Threads record when each of their calls began and ended, and afterwards a checker decides
//! whether the contract held. Runs for a few seconds, or for as many as `BYWASH_HISTORY_SECONDS`
//! says.
#![cfg(all(feature = "std", not(bywash_loom)))]

mod support;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bywash::{
    Builder, Consumer, PopTimeoutError, Producer, PushError, PushTimeoutError, TryPopError,
    TryPushError,
};

type Item = u64;

/// The largest batch.
const BATCH: u64 = 4;
/// Longer than a waiting call yields before it sleeps.
const SHORT: Duration = Duration::from_micros(300);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Pushed(Item),
    /// Refused for lack of room, or timed out.
    Full,
    Refused,
    Popped(Item),
    Empty,
    /// The consumer learned that the queue is closed.
    Finished,
    Close,
    /// A producer.
    Dropped,
}

/// A call, from the tick before it to the tick after it. No two calls share a tick; a batch is an
/// event for each item, and those share both.
#[derive(Clone, Copy, Debug)]
struct Event {
    what: What,
    start: usize,
    end: usize,
}

/// When an item was pushed and popped.
#[derive(Clone, Copy)]
struct Life {
    item: Item,
    push: (usize, usize),
    pop: (usize, usize),
}

/// The record of a run. One thread made all calls that pop, and everything was popped in the end.
struct History {
    capacity: usize,
    bypass: usize,
    events: Vec<Event>,
}

impl History {
    fn check(&self) -> Result<(), String> {
        let lives = self.lives()?;
        Self::check_order(&lives)?;
        Self::check_batches(&lives)?;
        self.check_empty()?;
        self.check_full(&lives)?;
        self.check_bound(&lives)?;
        self.check_close()
    }

    /// Checks that each item was popped exactly once, and not before it was pushed. Returns the
    /// lives in the order of the pops.
    fn lives(&self) -> Result<Vec<Life>, String> {
        let mut pushes = HashMap::new();
        for event in &self.events {
            if let What::Pushed(item) = event.what {
                pushes.insert(item, (event.start, event.end));
            }
        }
        let mut pops: Vec<_> =
            self.events.iter().filter(|event| matches!(event.what, What::Popped(_))).collect();
        pops.sort_by_key(|event| event.start);
        let life = |event: &&Event| match event.what {
            What::Popped(item) => match pushes.remove(&item) {
                Some(push) if push.0 < event.end => {
                    Ok(Life { item, push, pop: (event.start, event.end) })
                }
                _ => Err(format!("popped what was not in the queue: {event:?}")),
            },
            _ => unreachable!("filtered"),
        };
        let lives = pops.iter().map(life).collect::<Result<_, _>>()?;
        if pushes.is_empty() { Ok(lives) } else { Err(format!("lost: {pushes:?}")) }
    }

    /// Checks that if one push ended before another began, its item was popped first.
    fn check_order(lives: &[Life]) -> Result<(), String> {
        let mut earliest_end = usize::MAX;
        for life in lives.iter().rev() {
            if earliest_end < life.push.0 {
                return Err(format!(
                    "pushed after {earliest_end} and popped before: {:?}",
                    life.push
                ));
            }
            earliest_end = earliest_end.min(life.push.1);
        }
        Ok(())
    }

    /// Checks the order within each batch, by the numbers of its items.
    fn check_batches(lives: &[Life]) -> Result<(), String> {
        let mut last = HashMap::new();
        match lives.iter().find(|life| {
            last.insert(life.push.0, life.item).is_some_and(|before| before > life.item)
        }) {
            Some(life) => Err(format!(
                "after later ones of its batch: {}, pushed at {:?}",
                life.item, life.push
            )),
            None => Ok(()),
        }
    }

    /// Checks that when a pop returned `Empty`, all items whose pushes had ended before it began
    /// had been popped.
    fn check_empty(&self) -> Result<(), String> {
        let mut ticks = Vec::new();
        for event in &self.events {
            match event.what {
                What::Empty | What::Finished => ticks.push((event.start, event)),
                What::Pushed(_) | What::Popped(_) => ticks.push((event.end, event)),
                _ => {}
            }
        }
        ticks.sort_by_key(|&(tick, _)| tick);
        let (mut inside, mut early) = (HashSet::new(), HashSet::new());
        for (_, event) in ticks {
            match event.what {
                // The pop of an item may end before its push does.
                What::Pushed(item) if !early.remove(&item) => drop(inside.insert(item)),
                What::Popped(item) if !inside.remove(&item) => drop(early.insert(item)),
                What::Empty | What::Finished if !inside.is_empty() => {
                    return Err(format!("{event:?} with {inside:?} in the queue"));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Checks that a push was refused only if at some tick of it all slots could have been in use.
    fn check_full(&self, lives: &[Life]) -> Result<(), String> {
        let in_use = self.count(
            lives.iter().zip(Self::slots_free_at(lives)).map(|(life, free)| (life.push.0, free)),
        );
        for event in self.events.iter().filter(|event| event.what == What::Full) {
            if in_use[event.start..=event.end].iter().all(|&count| count < self.capacity as isize) {
                return Err(format!("{event:?} with room at any time"));
            }
        }
        Ok(())
    }

    /// Returns the latest tick at which the slot of each item can be in use. If an item was popped
    /// ahead of one that had claimed its slot earlier, its slot stays in use until that one is
    /// popped.
    fn slots_free_at(lives: &[Life]) -> Vec<usize> {
        let mut by_start: Vec<_> = lives.iter().map(|life| (life.push.0, life.pop.1)).collect();
        by_start.sort_unstable();
        let mut latest = 0;
        for (_, end) in &mut by_start {
            latest = latest.max(*end);
            *end = latest;
        }
        let claimed_before = |tick| by_start.partition_point(|&(start, _)| start < tick);
        lives.iter().map(|life| by_start[claimed_before(life.push.1) - 1].1).collect()
    }

    /// Checks that there were never more items in the queue than fit.
    fn check_bound(&self, lives: &[Life]) -> Result<(), String> {
        let surely = lives
            .iter()
            .filter(|life| life.push.1 < life.pop.0)
            .map(|life| (life.push.1, life.pop.0));
        match self
            .count(surely)
            .iter()
            .position(|&count| count > (self.capacity + self.bypass) as isize)
        {
            Some(tick) => Err(format!("more than fit, at {tick}")),
            None => Ok(()),
        }
    }

    /// Returns for each tick how many of the spans contain it.
    fn count(&self, spans: impl Iterator<Item = (usize, usize)>) -> Vec<isize> {
        let ticks = self.events.iter().map(|event| event.end + 2).max().unwrap_or(0);
        let mut counts = vec![0; ticks];
        for (from, to) in spans {
            counts[from] += 1;
            counts[to + 1] -= 1;
        }
        let mut now = 0;
        for count in &mut counts {
            now += *count;
            *count = now;
        }
        counts
    }

    /// Checks that no push returned `Closed` before the queue was closed, and that none succeeded
    /// afterwards.
    fn check_close(&self) -> Result<(), String> {
        let close =
            self.events.iter().find(|event| event.what == What::Close).expect("every run ends");
        let wrong = self.events.iter().find(|event| match event.what {
            What::Pushed(_) | What::Full => event.start > close.end,
            What::Refused | What::Finished => event.end < close.start,
            _ => false,
        });
        wrong.map_or(Ok(()), |event| Err(format!("{event:?}, and {close:?}")))
    }
}

mod forged {
    //! The checker finds the faults of forged histories.

    use super::What::{self, Close, Empty, Finished, Full, Popped, Pushed, Refused};
    use super::{Event, History};

    /// Checks calls with their first and last tick, on a queue with a ring of two and a bypass of
    /// one.
    fn history(events: &[(What, usize, usize)]) -> Result<(), String> {
        let events = events.iter().map(|&(what, start, end)| Event { what, start, end }).collect();
        History { capacity: 2, bypass: 1, events }.check()
    }

    #[track_caller]
    fn rejected(events: &[(What, usize, usize)], why: &str) {
        let error = history(events).expect_err(why);
        assert!(error.contains(why), "{error}");
    }

    #[test]
    fn a_good_history_is_accepted() {
        // The pushes of 1 and 2 overlap, and 2 is popped first; the pop of 3 ends before its push.
        let events =
            [(Empty, 0, 1), (Pushed(1), 2, 8), (Pushed(2), 3, 4), (Full, 5, 6), (Popped(2), 7, 9)];
        let rest = [
            (Popped(1), 10, 11),
            (Pushed(3), 12, 15),
            (Popped(3), 13, 14),
            (Empty, 16, 17),
            (Close, 18, 19),
        ];
        assert_eq!(
            history(&[&events[..], &rest, &[(Refused, 20, 21), (Finished, 22, 23)]].concat()),
            Ok(())
        );
    }

    #[test]
    fn a_lost_item_is_found() {
        rejected(&[(Pushed(1), 0, 1), (Close, 2, 3)], "lost");
    }

    #[test]
    fn a_duplicated_item_is_found() {
        rejected(
            &[(Pushed(1), 0, 1), (Popped(1), 2, 3), (Popped(1), 4, 5), (Close, 6, 7)],
            "not in the queue",
        );
    }

    #[test]
    fn an_item_from_nowhere_is_found() {
        rejected(&[(Popped(1), 0, 1), (Pushed(1), 2, 3), (Close, 4, 5)], "not in the queue");
    }

    #[test]
    fn a_wrong_order_is_found() {
        let events = [
            (Pushed(1), 0, 1),
            (Pushed(2), 2, 3),
            (Popped(2), 4, 5),
            (Popped(1), 6, 7),
            (Close, 8, 9),
        ];
        rejected(&events, "popped before");
    }

    #[test]
    fn a_good_batch_is_accepted_and_a_wrong_order_in_it_is_found() {
        let batch = |first, second| {
            let events = [
                (Pushed(1), 0, 1),
                (Pushed(2), 0, 1),
                (Full, 0, 1),
                (Popped(first), 2, 3),
                (Popped(second), 2, 3),
            ];
            [&events[..], &[(Close, 4, 5)]].concat()
        };
        assert_eq!(history(&batch(1, 2)), Ok(()));
        rejected(&batch(2, 1), "of its batch");
    }

    #[test]
    fn a_false_empty_is_found() {
        rejected(
            &[(Pushed(1), 0, 1), (Empty, 2, 3), (Popped(1), 4, 5), (Close, 6, 7)],
            "in the queue",
        );
        rejected(
            &[(Close, 0, 3), (Pushed(1), 1, 2), (Finished, 4, 5), (Popped(1), 6, 7)],
            "in the queue",
        );
    }

    #[test]
    fn a_false_full_is_found() {
        rejected(&[(Pushed(1), 0, 1), (Full, 2, 3), (Popped(1), 4, 5), (Close, 6, 7)], "with room");
        // The slot of 1 was free before the refused push began.
        let events = [
            (Pushed(1), 0, 1),
            (Pushed(2), 2, 3),
            (Popped(1), 4, 5),
            (Full, 6, 7),
            (Popped(2), 8, 9),
        ];
        rejected(&[&events[..], &[(Close, 10, 11)]].concat(), "with room");
    }

    #[test]
    fn too_many_items_are_found() {
        let pushes = (0..4).map(|i| (Pushed(i), 2 * i as usize, 2 * i as usize + 1));
        let pops = (0..4).map(|i| (Popped(i), 2 * i as usize + 8, 2 * i as usize + 9));
        rejected(&pushes.chain(pops).chain([(Close, 16, 17)]).collect::<Vec<_>>(), "more than fit");
    }

    #[test]
    fn a_push_into_a_closed_queue_is_found() {
        rejected(&[(Close, 0, 1), (Pushed(1), 2, 3), (Popped(1), 4, 5)], "Close");
        rejected(&[(Refused, 0, 1), (Close, 2, 3)], "Close");
    }
}

/// A clock that gives out each tick once.
struct Clock(AtomicUsize);

/// The record of one thread.
struct Recorder<'a> {
    clock: &'a Clock,
    events: Vec<Event>,
    random: u64,
}

impl Recorder<'_> {
    fn tick(&self) -> usize {
        self.clock.0.fetch_add(1, Ordering::SeqCst)
    }

    fn record(&mut self, call: impl FnOnce() -> What) -> What {
        let start = self.tick();
        let what = call();
        let end = self.tick();
        self.events.push(Event { what, start, end });
        what
    }

    /// As `record`, for several items.
    fn record_batch(&mut self, call: impl FnOnce() -> Vec<What>) -> What {
        let start = self.tick();
        let batch = call();
        let end = self.tick();
        self.events.extend(batch.iter().map(|&what| Event { what, start, end }));
        *batch.last().expect("a batch has an event")
    }

    /// A random number less than `n`.
    fn random(&mut self, n: u64) -> u64 {
        self.random = self
            .random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) % n
    }

    /// Pushes `item`, alone or as the first of a batch.
    fn push(&mut self, producer: &Producer<Item>, item: Item) -> What {
        match self.random(10) {
            8 => self.push_batch(item, |items| match producer.try_push_many(items) {
                // The call does not tell why some are left.
                Ok(_) if producer.is_closed() => None,
                Ok(_) | Err(TryPushError::Full(())) => Some(What::Full),
                Err(TryPushError::Closed(())) => Some(What::Refused),
            }),
            9 => self.push_batch(item, |items| match producer.push_many(items) {
                Ok(()) => None,
                Err(PushError::WouldDeadlock(())) => Some(What::Full),
                Err(PushError::Closed(())) => Some(What::Refused),
            }),
            0 => self.record(|| {
                producer.push(item).map_or_else(
                    |error| if error.is_closed() { What::Refused } else { What::Full },
                    |()| What::Pushed(item),
                )
            }),
            1 => self.record(|| match producer.push_timeout(item, SHORT) {
                Ok(()) => What::Pushed(item),
                Err(PushTimeoutError::Closed(_)) => What::Refused,
                Err(PushTimeoutError::Timeout(_) | PushTimeoutError::WouldDeadlock(_)) => {
                    What::Full
                }
            }),
            _ => self.record(|| match producer.try_push(item) {
                Ok(()) => What::Pushed(item),
                Err(TryPushError::Full(_)) => What::Full,
                Err(TryPushError::Closed(_)) => What::Refused,
            }),
        }
    }

    /// `push` returns why some are left, if that is known.
    fn push_batch(
        &mut self,
        item: Item,
        push: impl FnOnce(&mut VecDeque<Item>) -> Option<What>,
    ) -> What {
        let count = 1 + self.random(BATCH);
        let mut items: VecDeque<Item> = (item..item + count).collect();
        self.record_batch(|| {
            let why = push(&mut items).filter(|_| !items.is_empty());
            let pushed = count - items.len() as u64;
            assert!(
                items.iter().copied().eq(item + pushed..item + count),
                "not the rest: {items:?}"
            );
            (item..item + pushed).map(What::Pushed).chain(why).collect()
        })
    }

    fn pop_batch(
        &mut self,
        pop: impl FnOnce(&mut Vec<Item>, usize) -> Result<usize, What>,
    ) -> What {
        let limit = 1 + self.random(2 * BATCH) as usize;
        let mut items = Vec::new();
        self.record_batch(|| match pop(&mut items, limit) {
            Ok(count) => {
                assert!((1..=limit).contains(&count) && count == items.len());
                items.into_iter().map(What::Popped).collect()
            }
            Err(why) => vec![why],
        })
    }

    fn pop(&mut self, consumer: &mut Consumer<Item>, may_wait: bool) -> What {
        match self.random(10) {
            8 => self.pop_batch(|items, limit| {
                consumer.try_pop_many(items, limit).map_err(|error| match error {
                    TryPopError::Empty => What::Empty,
                    TryPopError::Closed => What::Finished,
                })
            }),
            9 if may_wait => self.pop_batch(|items, limit| {
                consumer.pop_many(items, limit).map_err(|_| What::Finished)
            }),
            0 if may_wait => self.record(|| consumer.pop().map_or(What::Finished, What::Popped)),
            1 => self.record(|| match consumer.pop_timeout(SHORT) {
                Ok(item) => What::Popped(item),
                Err(PopTimeoutError::Timeout) => What::Empty,
                Err(PopTimeoutError::Closed) => What::Finished,
            }),
            _ => self.record(|| match consumer.try_pop() {
                Ok(item) => What::Popped(item),
                Err(TryPopError::Empty) => What::Empty,
                Err(TryPopError::Closed) => What::Finished,
            }),
        }
    }
}

/// A queue, and how much each end uses it.
struct Plan {
    capacity: usize,
    bypass: usize,
    producers: u64,
    pushes: u64,
    /// How many items the consumer itself pushes.
    own_pushes: u64,
    /// After how many pushes of its own.
    close_at: Option<u64>,
    pinned: bool,
    seed: u64,
}

impl Plan {
    fn random(round: u64) -> Self {
        let clock = Clock(AtomicUsize::new(0));
        let mut random = Recorder { clock: &clock, events: Vec::new(), random: round };
        Self {
            capacity: [1, 2, 3, 4, 7, 64][random.random(6) as usize],
            bypass: random.random(3) as usize,
            producers: 1 + random.random(3),
            pushes: 1000,
            own_pushes: [0, 100, 1000][random.random(3) as usize],
            close_at: (random.random(4) == 0).then_some(50),
            pinned: random.random(2) == 0,
            seed: round,
        }
    }

    fn run(&self) -> History {
        let (producer, consumer) = Builder::new(self.capacity).bypass(self.bypass).build();
        let clock = Clock(AtomicUsize::new(0));
        let start = Barrier::new(self.producers as usize + 1);
        let recorder = |thread| {
            if self.pinned {
                support::pin(thread as usize % 2);
            }
            start.wait();
            Recorder { clock: &clock, events: Vec::new(), random: self.seed << 8 | thread }
        };
        let mut events = thread::scope(|scope| {
            let threads: Vec<_> = (1..=self.producers)
                .map(|thread| {
                    let producer = producer.clone();
                    scope.spawn(move || self.produce(recorder(thread), thread, producer))
                })
                .collect();
            let events =
                scope.spawn(move || self.consume(recorder(0), consumer, producer)).join().unwrap();
            threads.into_iter().fold(events, |mut events, thread| {
                events.extend(thread.join().unwrap());
                events
            })
        });
        if !events.iter().any(|event| event.what == What::Close) {
            // The last of the drops closed the queue.
            let drops = || events.iter().filter(|event| event.what == What::Dropped);
            let (start, end) =
                (drops().map(|event| event.start).max(), drops().map(|event| event.end).max());
            events.push(Event { what: What::Close, start: start.unwrap(), end: end.unwrap() });
        }
        History { capacity: self.capacity, bypass: self.bypass, events }
    }

    fn produce(
        &self,
        mut recorder: Recorder<'_>,
        thread: u64,
        producer: Producer<Item>,
    ) -> Vec<Event> {
        for i in 0..self.pushes {
            match recorder.push(&producer, (thread << 32) | (i * BATCH)) {
                What::Refused => break,
                What::Full if recorder.random(2) == 0 => thread::yield_now(),
                _ => {}
            }
        }
        recorder.record(|| {
            drop(producer);
            What::Dropped
        });
        recorder.events
    }

    fn consume(
        &self,
        mut recorder: Recorder<'_>,
        mut consumer: Consumer<Item>,
        own: Producer<Item>,
    ) -> Vec<Event> {
        consumer.bind();
        for i in 0..self.own_pushes {
            if self.close_at == Some(i) {
                recorder.record(|| {
                    consumer.close();
                    What::Close
                });
            }
            recorder.push(&own, i * BATCH);
            for _ in 0..recorder.random(3) {
                recorder.pop(&mut consumer, false);
            }
        }
        recorder.record(|| {
            drop(own);
            What::Dropped
        });
        while recorder.pop(&mut consumer, true) != What::Finished {}
        recorder.events
    }
}

/// Ends the process if the test has not ended within `limit`.
fn watch(limit: Duration) -> impl Drop {
    struct Stop(std::sync::mpsc::Sender<()>);
    impl Drop for Stop {
        fn drop(&mut self) {
            let _ = self.0.send(());
        }
    }
    let (stop, stopped) = std::sync::mpsc::channel();
    thread::spawn(move || {
        if stopped.recv_timeout(limit).is_err() {
            eprintln!("a call hangs");
            std::process::abort();
        }
    });
    Stop(stop)
}

#[test]
fn no_history_breaks_the_contract() {
    let seconds =
        std::env::var("BYWASH_HISTORY_SECONDS").map_or(3, |seconds| seconds.parse().unwrap());
    let _watch = watch(Duration::from_secs(seconds + 120));
    let end = Instant::now() + Duration::from_secs(seconds);
    let (mut rounds, mut calls) = (0, 0);
    while Instant::now() < end {
        let history = Plan::random(rounds).run();
        history.check().unwrap_or_else(|error| panic!("round {rounds}: {error}"));
        rounds += 1;
        calls += history.events.len();
    }
    println!("{rounds} rounds, {calls} calls");
}
