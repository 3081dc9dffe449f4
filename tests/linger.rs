//! A consumer that lingers is woken when enough is there and by what must not be late, and by
//! nothing else.
#![cfg(all(feature = "std", not(bywash_loom)))]

mod support;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread::{self, ScopedJoinHandle};
use std::time::Duration;

use bywash::{
    Builder, Consumer, Handler, Listener, PopTimeoutError, Producer, Queue, StaticQueue, bounded,
};
use support::{SleepWatch, settle, watch};

/// So long that it never ends: the watchdog ends the test before.
const LONG: Duration = Duration::from_secs(3_600);

/// A consumer on a thread of its own that has popped an item, and pops again. It lingers if it was
/// told so.
struct Popping<'a> {
    /// How many items it finds then, and itself.
    thread: ScopedJoinHandle<'a, (usize, Box<dyn Send + 'a>)>,
    watch: SleepWatch,
}

impl<'a> Popping<'a> {
    fn start<Q: Queue<Item = u32> + Send + 'a>(
        scope: &'a thread::Scope<'a, '_>,
        push: impl FnOnce(u32),
        mut consumer: Consumer<u32, Q>,
    ) -> Self {
        watch();
        push(0);
        let watch = SleepWatch::default();
        let its = watch.clone();
        let thread = scope.spawn(move || {
            assert_eq!(consumer.pop(), Ok(0));
            its.begin();
            let found = usize::from(consumer.pop().is_ok());
            (found + consumer.try_iter().count(), Box::new(consumer) as _)
        });
        watch.wait();
        Self { thread, watch }
    }

    /// Checks that it goes on sleeping, whatever there is to pop by now.
    fn assert_sleeps_on(&self, act: impl FnOnce()) {
        #[cfg(all(target_os = "linux", not(bywash_portable)))]
        let before = self.watch.sleeps();
        act();
        settle();
        assert!(!self.thread.is_finished());
        #[cfg(all(target_os = "linux", not(bywash_portable)))]
        assert_eq!(self.watch.sleeps(), before, "it was woken");
    }

    /// How many items it has found, after it was woken.
    fn found(self) -> usize {
        self.thread.join().unwrap().0
    }
}

/// Starts the consumer, and acts while it waits.
fn while_popping(
    (producer, consumer): (Producer<u32>, Consumer<u32>),
    act: impl FnOnce(Producer<u32>, Popping<'_>),
) {
    thread::scope(|scope| {
        let popping = Popping::start(scope, |item| producer.push(item).unwrap(), consumer);
        act(producer, popping);
    });
}

/// Starts a consumer that lingers for an hour, unless it finds so many items.
fn with_lingering(items: usize, act: impl FnOnce(Producer<u32>, Popping<'_>)) {
    let (producer, mut consumer) = bounded(100);
    consumer.linger(LONG, items);
    while_popping((producer, consumer), act);
}

fn assert_the_first_item_wakes(ends: (Producer<u32>, Consumer<u32>)) {
    while_popping(ends, |producer, popping| {
        producer.push(1).unwrap();
        assert_eq!(popping.found(), 1);
    });
}

#[test]
fn it_is_woken_by_so_many_items_and_not_before() {
    let pushes: [fn(&Producer<u32>); 8] = [
        |producer| producer.try_push(1).unwrap(),
        |producer| producer.push(1).unwrap(),
        |producer| producer.push_timeout(1, LONG).unwrap(),
        |producer| producer.push_or_sleep(1, None, |sleep| sleep()).unwrap(),
        |producer| producer.push_many(&mut [1].into()).unwrap(),
        |producer| assert_eq!(producer.try_push_many(&mut [1].into()), Ok(1)),
        |producer| producer.try_push_within(1, 64).unwrap(),
        |producer| producer.try_push_or_count(1).unwrap(),
    ];
    for push in pushes {
        with_lingering(64, |producer, popping| {
            popping.assert_sleeps_on(|| (1..64).for_each(|_| push(&producer)));
            assert_eq!(producer.len(), 63);
            push(&producer);
            assert_eq!(popping.found(), 64);
        });
    }
}

#[test]
fn it_is_woken_by_a_batch_that_has_more_than_so_many() {
    with_lingering(64, |producer, popping| {
        popping.assert_sleeps_on(|| producer.push_many(&mut (1..60).collect()).unwrap());
        assert_eq!(producer.try_push_many(&mut (60..90).collect()), Ok(30));
        assert_eq!(popping.found(), 89);
    });
}

#[test]
fn a_full_ring_wakes_it() {
    for capacity in [1, 2, 7] {
        let (producer, mut consumer) = Builder::new(capacity).build();
        consumer.linger(LONG, usize::MAX);
        while_popping((producer, consumer), |producer, popping| {
            popping.assert_sleeps_on(|| (1..capacity).for_each(|_| producer.push(1).unwrap()));
            producer.try_push(1).unwrap();
            assert_eq!(popping.found(), capacity);
        });
    }
}

#[test]
fn what_must_not_be_late_wakes_it() {
    let ends: [fn(Producer<u32>); 4] = [
        |producer| producer.close(),
        |producer| drop(producer),
        |producer| producer.wake_consumer(),
        |producer| assert_eq!(producer.try_push_and_wait(2, LONG), Ok(true)),
    ];
    for (end, found) in ends.into_iter().zip([1, 1, 1, 2]) {
        with_lingering(64, |producer, popping| {
            popping.assert_sleeps_on(|| producer.push(1).unwrap());
            end(producer);
            assert_eq!(popping.found(), found);
        });
    }
}

#[test]
fn a_closed_queue_wakes_it_that_is_empty() {
    with_lingering(64, |producer, popping| {
        producer.close();
        assert_eq!(popping.found(), 0);
    });
}

#[test]
fn to_wake_it_does_nothing_unless_it_lingers() {
    let (producer, consumer) = bounded(1);
    producer.wake_consumer();
    while_popping((producer, consumer), |producer, popping| {
        popping.assert_sleeps_on(|| producer.wake_consumer());
        producer.push(1).unwrap();
        assert_eq!(popping.found(), 1);
    });
}

#[test]
fn without_being_told_and_when_told_not_to_it_does_not_linger() {
    for time in [None, Some(Duration::ZERO)] {
        let (producer, mut consumer) = bounded(100);
        if let Some(time) = time {
            consumer.linger(LONG, 64);
            consumer.linger(time, 64);
        }
        assert_the_first_item_wakes((producer, consumer));
    }
}

#[test]
fn a_number_of_zero_is_one_and_the_longest_time_is_for_ever() {
    let (producer, mut consumer) = bounded(100);
    consumer.linger(Duration::MAX, 0);
    assert_the_first_item_wakes((producer, consumer));
}

#[test]
fn a_later_number_counts() {
    let (producer, mut consumer) = bounded(100);
    consumer.linger(LONG, 100);
    consumer.linger(LONG, 2);
    while_popping((producer, consumer), |producer, popping| {
        popping.assert_sleeps_on(|| producer.push(1).unwrap());
        producer.push(2).unwrap();
        assert_eq!(popping.found(), 2);
    });
}

/// Before it has popped anything, too: it would linger at an idle queue.
#[test]
fn a_consumer_that_has_popped_nothing_is_woken_by_the_first_item() {
    watch();
    let (producer, mut consumer) = bounded(100);
    consumer.linger(LONG, 64);
    let asleep = SleepWatch::default();
    thread::scope(|scope| {
        scope.spawn(|| {
            asleep.begin();
            assert_eq!(consumer.pop(), Ok(1));
        });
        asleep.wait();
        producer.push(1).unwrap();
    });
}

#[test]
fn a_linger_ends_at_the_deadline_of_the_pop() {
    watch();
    let (producer, mut consumer) = bounded(100);
    consumer.linger(LONG, 64);
    for _ in 0..3 {
        producer.push(1).unwrap();
        assert_eq!(consumer.pop(), Ok(1));
        let timed_out = Err(PopTimeoutError::Timeout);
        assert_eq!(consumer.pop_timeout(Duration::from_millis(2)), timed_out);
    }
}

/// And by then it has popped an item that did not wake it.
#[test]
fn an_item_that_does_not_wake_it_is_popped_when_the_linger_ends() {
    watch();
    let (producer, mut consumer) = bounded(100);
    consumer.linger(Duration::from_millis(2), 64);
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..20 {
                (0..3).for_each(|_| producer.push(1).unwrap());
                thread::sleep(Duration::from_millis(1));
            }
        });
        (0..60).for_each(|_| assert_eq!(consumer.pop(), Ok(1)));
    });
}

#[cfg(all(target_os = "linux", not(bywash_portable)))]
#[test]
fn while_nothing_comes_it_sleeps_on_and_then_the_first_item_wakes_it() {
    let (producer, mut consumer) = bounded(100);
    consumer.linger(Duration::from_millis(2), 64);
    while_popping((producer, consumer), |producer, popping| {
        popping.watch.wait_until_unbounded();
        popping.assert_sleeps_on(|| ());
        producer.push(1).unwrap();
        assert_eq!(popping.found(), 1);
    });
}

/// It pushes before it sleeps. A pop that does not linger does not sleep then, however often it is
/// tried. One that lingers does, if the machine lets the other thread see it within a second.
#[cfg(all(target_os = "linux", not(bywash_portable)))]
#[test]
fn a_pop_that_sleeps_once_lingers_as_well() {
    watch();
    let (producer, mut consumer) = bounded(100);
    consumer.linger(LONG, 64);
    let (asleep, was_seen) = (SleepWatch::default(), AtomicBool::new(false));
    while !was_seen.load(SeqCst) {
        producer.push(1).unwrap();
        assert_eq!(consumer.pop(), Ok(1));
        thread::scope(|scope| {
            let pop = || {
                consumer.pop_or_sleep(None, |sleep| {
                    producer.push(2).unwrap();
                    asleep.begin();
                    sleep();
                })
            };
            let popping = scope.spawn(pop);
            asleep.wait();
            was_seen.store(!popping.is_finished(), SeqCst);
            producer.wake_consumer();
            assert_eq!(popping.join().unwrap(), Ok(2));
        });
        asleep.reset();
    }
}

#[test]
fn the_next_consumer_of_a_static_queue_does_not_linger() {
    static QUEUE: StaticQueue<u32, 100, 0> = StaticQueue::new();
    let push = |item| QUEUE.push(item).unwrap();
    thread::scope(|scope| {
        let mut consumer = QUEUE.consumer().unwrap();
        consumer.linger(LONG, 64);
        let popping = Popping::start(scope, push, consumer);
        popping.assert_sleeps_on(|| push(1));
        QUEUE.wake_consumer();
        assert_eq!(popping.found(), 1);
    });
    thread::scope(|scope| {
        let popping = Popping::start(scope, push, QUEUE.consumer().unwrap());
        push(1);
        assert_eq!(popping.found(), 1);
    });
}

#[test]
fn a_consumer_in_place_of_one_that_lingered_does_not_linger() {
    let (producer, mut consumer) = bounded(100);
    consumer.linger(LONG, 64);
    std::mem::forget(consumer);
    // SAFETY: it was forgotten.
    let consumer = unsafe { producer.reclaim_consumer() }.unwrap();
    assert_the_first_item_wakes((producer, consumer));
}

#[test]
fn what_would_go_into_the_bypass_finds_it_awake() {
    watch();
    let (producer, mut consumer) = Builder::new(2).build();
    consumer.linger(LONG, 2);
    let domain = consumer.domain();
    while_popping((producer, consumer), |producer, popping| {
        let _guard = domain.enter();
        (1..=3).for_each(|_| producer.try_push(1).unwrap());
        assert!(popping.found() >= 2);
    });
}

/// Counts what it has handled, and how much of that when it was flushed.
#[derive(Clone, Default)]
struct Count {
    handled: Arc<AtomicUsize>,
    flushed: Arc<AtomicUsize>,
}

impl Handler<u32> for Count {
    fn handle(&mut self, _: u32) {
        self.handled.fetch_add(1, SeqCst);
    }

    fn on_flush(&mut self) -> io::Result<()> {
        self.flushed.store(self.handled.load(SeqCst), SeqCst);
        Ok(())
    }
}

/// A listener that lingers, and has one item that it is not woken for.
fn lingering_listener() -> (Producer<u32>, Listener, Count) {
    watch();
    let (producer, consumer) = bounded(100);
    let count = Count::default();
    let listener = Listener::builder().linger(LONG, 64).spawn(consumer, count.clone()).unwrap();
    producer.push(0).unwrap();
    // What was handled is written before it lingers.
    while count.flushed.load(SeqCst) == 0 {
        thread::yield_now();
    }
    settle();
    producer.push(1).unwrap();
    settle();
    assert_eq!((listener.handled(), listener.len()), (1, 1));
    (producer, listener, count)
}

#[test]
fn a_flush_of_a_listener_that_lingers_is_not_late() {
    let (producer, listener, count) = lingering_listener();
    for handled in 2..10 {
        listener.flush(LONG).unwrap();
        assert_eq!(count.flushed.load(SeqCst), handled);
        producer.push(1).unwrap();
    }
}

#[test]
fn the_end_of_a_listener_that_lingers_is_not_late() {
    let ends: [fn(Producer<u32>, Listener); 4] = [
        |_producer, listener| listener.stop(LONG).unwrap(),
        |_producer, listener| drop(listener),
        |producer, listener| {
            producer.close();
            while listener.handled() < 2 {
                thread::yield_now();
            }
        },
        |producer, listener| {
            drop(producer);
            while listener.handled() < 2 {
                thread::yield_now();
            }
        },
    ];
    for end in ends {
        let (producer, listener, count) = lingering_listener();
        end(producer, listener);
        assert_eq!(count.handled.load(SeqCst), 2);
    }
}

#[test]
fn a_listener_of_a_consumer_that_lingers_does_and_its_builder_may_say_otherwise() {
    watch();
    let (producer, mut consumer) = bounded(100);
    consumer.linger(LONG, 64);
    let listener = Listener::builder().linger(Duration::ZERO, 0).spawn(consumer, |_| ()).unwrap();
    for pushed in 1..5 {
        producer.push(1).unwrap();
        while listener.handled() < pushed {
            thread::yield_now();
        }
        settle();
    }
}
