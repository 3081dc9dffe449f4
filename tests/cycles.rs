//! A push never waits where waiting could never end, across queues: see `src/cycles.rs`.
#![cfg(all(feature = "std", not(bywash_loom)))]

#[path = "support/random.rs"]
mod random;
mod support;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Barrier, Mutex, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bywash::{
    Builder, Consumer, Listener, Producer, PushError, PushTimeoutError, Queue, StaticQueue, bounded,
};
use random::Random;
use support::{SleepWatch, full, watch};

const LONG: Duration = Duration::from_secs(60);

/// The consumer of a full queue on a thread of its own, which does what it is sent.
struct Owner {
    producer: Producer<u32>,
    tasks: Sender<Task>,
    results: Receiver<Done>,
    sleep: SleepWatch,
}

type Task = Box<dyn FnOnce(&mut Consumer<u32>) -> Done + Send>;

#[derive(Debug, PartialEq, Eq)]
enum Done {
    Pushed,
    WouldDeadlock,
    Timeout,
    Closed,
    Popped(u32),
}

impl Owner {
    fn new() -> Self {
        let (producer, consumer) = full();
        Self::with(producer, consumer)
    }

    fn with(producer: Producer<u32>, mut consumer: Consumer<u32>) -> Self {
        let (tasks, inbox) = channel::<Task>();
        let (outbox, results) = channel();
        let (binds, is_bound) = channel();
        thread::spawn(move || {
            consumer.bind();
            binds.send(()).unwrap();
            for task in inbox {
                outbox.send(task(&mut consumer)).unwrap();
            }
        });
        is_bound.recv().unwrap();
        Self { producer, tasks, results, sleep: SleepWatch::default() }
    }

    /// Begins `task`, and returns when it sleeps or is done.
    fn begin(&self, task: impl FnOnce(&mut Consumer<u32>) -> Done + Send + 'static) {
        self.start(task);
        self.sleep.wait();
    }

    /// Begins `task`.
    fn start(&self, task: impl FnOnce(&mut Consumer<u32>) -> Done + Send + 'static) {
        self.sleep.reset();
        let sleep = self.sleep.clone();
        let task = move |consumer: &mut Consumer<u32>| {
            sleep.begin();
            task(consumer)
        };
        self.tasks.send(Box::new(task)).unwrap();
    }

    /// Begins a push into another's queue.
    fn begin_push(&self, to: &Self, item: u32) {
        let producer = to.producer.clone();
        self.begin(move |_| pushed(producer.push(item)));
    }

    fn begin_push_timeout(&self, to: &Self, item: u32, timeout: Duration) {
        let producer = to.producer.clone();
        self.begin(move |_| match producer.push_timeout(item, timeout) {
            Ok(()) => Done::Pushed,
            Err(PushTimeoutError::Timeout(_)) => Done::Timeout,
            Err(PushTimeoutError::WouldDeadlock(_)) => Done::WouldDeadlock,
            Err(PushTimeoutError::Closed(_)) => Done::Closed,
        });
    }

    fn begin_pop(&self) {
        self.begin(|consumer| Done::Popped(consumer.try_pop().unwrap()));
    }

    fn is_waiting(&self) -> bool {
        self.results.try_recv().is_err()
    }

    fn result(&self) -> Done {
        self.results.recv_timeout(LONG).expect("a push hangs")
    }
}

/// A thread that does `task`, once it sleeps or is done.
fn asleep<R: Send + 'static>(task: impl FnOnce() -> R + Send + 'static) -> JoinHandle<R> {
    let sleep = SleepWatch::default();
    let watched = sleep.clone();
    let thread = thread::spawn(move || {
        watched.begin();
        task()
    });
    sleep.wait();
    thread
}

fn pushed<T>(result: Result<(), PushError<T>>) -> Done {
    match result {
        Ok(()) => Done::Pushed,
        Err(PushError::WouldDeadlock(_)) => Done::WouldDeadlock,
        Err(PushError::Closed(_)) => Done::Closed,
    }
}

#[test]
fn the_push_that_closes_a_cycle_of_two_is_refused_and_the_other_goes_on_waiting() {
    let (a, b) = (Owner::new(), Owner::new());
    a.begin_push(&b, 1);
    assert!(a.is_waiting());
    b.begin_push(&a, 2);
    assert_eq!(b.result(), Done::WouldDeadlock);
    assert!(a.is_waiting());
    b.begin_pop();
    assert_eq!((b.result(), a.result()), (Done::Popped(0), Done::Pushed));
}

#[test]
fn the_push_that_closes_a_cycle_takes_the_bypass() {
    watch();
    let a = Owner::new();
    let (producer, consumer) = Builder::new(1).bypass(1).build();
    producer.try_push(0).unwrap();
    let b = Owner::with(producer, consumer);
    b.begin_push(&a, 1);
    assert!(b.is_waiting());
    a.begin_push(&b, 2);
    assert_eq!(a.result(), Done::Pushed);
    assert_eq!(b.producer.bypassed(), 1);
    a.begin_push(&b, 3);
    assert_eq!(a.result(), Done::WouldDeadlock);
    a.begin_pop();
    assert_eq!((a.result(), b.result()), (Done::Popped(0), Done::Pushed));
    b.begin_pop();
    assert_eq!(b.result(), Done::Popped(0));
    b.begin_pop();
    assert_eq!(b.result(), Done::Popped(2));
}

#[test]
fn the_push_that_closes_a_cycle_of_many_is_refused() {
    watch();
    for count in 3..=8 {
        // G6: an earlier one that looks again meanwhile may be the one that is refused.
        assert!((0..5).any(|_| the_last_of_a_cycle_is_refused(count)), "a cycle of {count}");
    }
}

/// Whether it is the last one that is refused, and not an earlier one.
fn the_last_of_a_cycle_is_refused(count: usize) -> bool {
    let owners: Vec<_> = (0..count).map(|_| Owner::new()).collect();
    for i in 0..count - 1 {
        owners[i].begin_push(&owners[i + 1], 1);
    }
    owners[count - 1].begin_push(&owners[0], 1);
    let refused = loop {
        let result = |i: usize| Some((i, owners[i].results.try_recv().ok()?));
        match (0..count).find_map(result) {
            Some((refused, done)) => break (done == Done::WouldDeadlock).then_some(refused),
            None => thread::sleep(Duration::from_micros(100)),
        }
    };
    assert!(refused.is_some(), "in a cycle of {count} a push came to an end");
    assert!((0..count).all(|i| Some(i) == refused || owners[i].is_waiting()));
    if refused != Some(count - 1) {
        return false;
    }
    for i in (0..count).rev() {
        owners[i].begin_pop();
        assert_eq!(owners[i].result(), Done::Popped(0));
        if i > 0 {
            assert_eq!(owners[i - 1].result(), Done::Pushed);
        }
    }
    true
}

#[test]
fn a_push_with_a_deadline_is_refused_at_once_where_it_closes_a_cycle() {
    let (a, b) = (Owner::new(), Owner::new());
    a.begin_push(&b, 1);
    b.begin_push_timeout(&a, 2, LONG * 10);
    assert_eq!(b.result(), Done::WouldDeadlock);
    assert!(a.is_waiting());
}

#[test]
fn push_many_is_refused_where_it_closes_a_cycle_and_keeps_the_rest() {
    let (a, b) = (Owner::new(), Owner::new());
    a.begin_push(&b, 1);
    let producer = a.producer.clone();
    b.begin(move |_| {
        let mut items = (5..8).collect();
        let error = producer.push_many(&mut items).unwrap_err();
        assert_eq!(items, [5, 6, 7]);
        if error.is_would_deadlock() { Done::WouldDeadlock } else { Done::Closed }
    });
    assert_eq!(b.result(), Done::WouldDeadlock);
}

#[test]
fn nothing_is_refused_where_a_wait_has_a_deadline() {
    let (a, b) = (Owner::new(), Owner::new());
    a.begin_push_timeout(&b, 1, Duration::from_millis(300));
    b.begin_push(&a, 2);
    assert_eq!(a.result(), Done::Timeout);
    a.begin_pop();
    assert_eq!((a.result(), b.result()), (Done::Popped(0), Done::Pushed));
}

#[test]
fn nothing_is_refused_where_the_chain_of_waits_leads_elsewhere() {
    let (a, b, c) = (Owner::new(), Owner::new(), Owner::new());
    a.begin_push(&b, 1);
    c.begin_push(&a, 2);
    assert!(c.is_waiting() && a.is_waiting());
    b.begin_pop();
    assert_eq!((b.result(), a.result()), (Done::Popped(0), Done::Pushed));
    a.begin_pop();
    assert_eq!((a.result(), c.result()), (Done::Popped(0), Done::Pushed));
}

/// The consumer of B pops, and so makes room for the wait of A. It is not in the way of a push into
/// A, whether or not A has woken up by then.
#[test]
fn nothing_is_refused_where_the_ring_of_a_wait_has_room_by_now() {
    for _ in 0..200 {
        let (a, b) = (Owner::new(), Owner::new());
        let producer = b.producer.clone();
        a.start(move |_| pushed(producer.push(1)));
        let producer = a.producer.clone();
        b.begin(move |consumer| {
            consumer.try_pop().unwrap();
            pushed(producer.push(2))
        });
        assert_eq!(a.result(), Done::Pushed);
        a.begin_pop();
        assert_eq!((a.result(), b.result()), (Done::Popped(0), Done::Pushed));
    }
}

#[test]
fn a_producer_that_is_nobodys_consumer_waits() {
    let (a, b) = (Owner::new(), Owner::new());
    a.begin_push(&b, 1);
    let producer = a.producer.clone();
    let plain = asleep(move || pushed(producer.push(2)));
    assert!(!plain.is_finished());
    b.begin_pop();
    assert_eq!((b.result(), a.result()), (Done::Popped(0), Done::Pushed));
    a.begin_pop();
    assert_eq!((a.result(), plain.join().unwrap()), (Done::Popped(0), Done::Pushed));
}

#[test]
fn a_helper_of_the_domain_closes_a_cycle_as_the_consumer_does() {
    let (a, b) = (Owner::new(), Owner::new());
    let (sends, domain) = channel();
    a.begin(move |consumer| {
        sends.send(consumer.domain()).unwrap();
        Done::Pushed
    });
    assert_eq!(a.result(), Done::Pushed);
    let (domain, producer) = (domain.recv().unwrap(), b.producer.clone());
    let helper = asleep(move || {
        let _guard = domain.enter();
        pushed(producer.push(1))
    });
    assert!(!helper.is_finished());
    b.begin_push(&a, 2);
    assert_eq!(b.result(), Done::WouldDeadlock, "A depends on its helper, which waits for B");
    b.begin_pop();
    assert_eq!((b.result(), helper.join().unwrap()), (Done::Popped(0), Done::Pushed));
}

/// The thread of A pushes into A's queue by way of a consumer that passes on.
#[test]
fn a_push_into_ones_own_queue_by_way_of_another_is_refused() {
    let (a, passes_on) = (Owner::new(), Owner::new());
    passes_on.begin_push(&a, 1);
    a.begin_push(&passes_on, 2);
    assert_eq!(a.result(), Done::WouldDeadlock);
}

#[test]
fn closing_and_dropping_a_queue_ends_a_chain_of_waits() {
    for drops in [false, true] {
        let (a, b) = (Owner::new(), Owner::new());
        a.begin_push(&b, 1);
        b.begin(move |consumer| {
            if drops {
                drop(std::mem::replace(consumer, full().1));
            } else {
                consumer.close();
            }
            Done::Closed
        });
        assert_eq!((b.result(), a.result()), (Done::Closed, Done::Closed));
        b.begin_push(&a, 2);
        assert!(b.is_waiting(), "nothing that A waits for is left");
        a.begin_pop();
        assert_eq!((a.result(), b.result()), (Done::Popped(0), Done::Pushed));
    }
}

#[test]
fn a_consumer_that_moves_to_another_thread_takes_its_waits_along() {
    let (a, b) = (Owner::new(), Owner::new());
    let (sends, consumer) = channel();
    a.begin(move |consumer| {
        sends.send(std::mem::replace(consumer, full().1)).unwrap();
        Done::Pushed
    });
    assert_eq!(a.result(), Done::Pushed);
    // The old thread of A waits for B, and is not A's consumer any more.
    a.begin_push(&b, 1);
    let moved = Owner::with(a.producer.clone(), consumer.recv().unwrap());
    b.begin_push(&moved, 2);
    assert!(b.is_waiting());
    moved.begin_pop();
    assert_eq!((moved.result(), b.result()), (Done::Popped(0), Done::Pushed));
    b.begin_pop();
    assert_eq!((b.result(), a.result()), (Done::Popped(0), Done::Pushed));
}

/// Thread A has the consumers of two queues, and waits for B. Another thread drops the second one,
/// where others wait, too. That is no reason to forget the wait of A.
#[test]
fn a_wait_counts_whoever_drops_another_queue_of_the_same_thread() {
    for _ in 0..20 {
        let (a, b) = (Owner::new(), Owner::new());
        let (producer, second) = full();
        let (sends, bound) = channel();
        a.begin(move |_| {
            let mut second = second;
            second.bind();
            sends.send(second).unwrap();
            Done::Pushed
        });
        assert_eq!(a.result(), Done::Pushed);
        let waits = |_| {
            let producer = producer.clone();
            asleep(move || pushed(producer.push(1)))
        };
        let waiting: Vec<_> = (0..5).map(waits).collect();
        a.begin_push(&b, 1);
        drop(bound.recv().unwrap());
        waiting.into_iter().for_each(|thread| assert_eq!(thread.join().unwrap(), Done::Closed));
        b.begin_push(&a, 2);
        assert_eq!(b.result(), Done::WouldDeadlock);
        assert!(a.is_waiting());
    }
}

#[test]
fn static_queues_are_on_cycles_too() {
    static QUEUE: StaticQueue<u32, 1, 0> = StaticQueue::new();
    let a = Owner::new();
    QUEUE.try_push(0).unwrap();
    let mut consumer = QUEUE.consumer().unwrap();
    consumer.bind();
    a.begin(|_| pushed(QUEUE.push(1)));
    assert!(a.is_waiting());
    assert_eq!(a.producer.push(2), Err(PushError::WouldDeadlock(2)));
    assert_eq!((consumer.try_pop(), a.result()), (Ok(0), Done::Pushed));
}

/// Of the two that begin to wait at the same instant one is refused, and only one.
#[test]
fn of_two_that_begin_to_wait_at_once_one_is_refused() {
    let (a, b) = (Owner::new(), Owner::new());
    for _ in 0..2_000 {
        let barrier = Arc::new(Barrier::new(2));
        for (from, to) in [(&a, &b), (&b, &a)] {
            let (barrier, producer) = (barrier.clone(), to.producer.clone());
            let task = move |_: &mut Consumer<u32>| {
                barrier.wait();
                pushed(producer.push(1))
            };
            from.start(task);
        }
        // The one that is refused makes room for the other.
        let (refused, other) = loop {
            if let Ok(done) = a.results.try_recv() {
                assert_eq!(done, Done::WouldDeadlock);
                break (&a, &b);
            }
            if let Ok(done) = b.results.try_recv() {
                assert_eq!(done, Done::WouldDeadlock);
                break (&b, &a);
            }
            thread::yield_now();
        };
        refused.start(|consumer| Done::Popped(consumer.try_pop().unwrap()));
        assert!(matches!(refused.result(), Done::Popped(_)));
        assert_eq!(other.result(), Done::Pushed);
    }
}

/// The scene of two services that report to each other.
#[test]
fn two_listeners_that_push_into_each_other_handle_everything() {
    for capacity in [1, 2, 4, 16, 64] {
        for bypass in [0, 1, capacity, 1000] {
            report_to_each_other(2, capacity, bypass);
            report_to_each_other(3, capacity, bypass);
        }
    }
}

/// Each item that came from outside makes a listener push two into the next one's queue.
fn report_to_each_other(count: usize, capacity: usize, bypass: usize) {
    watch();
    let build = || Builder::new(capacity).bypass(bypass).build::<bool>();
    let (producers, consumers): (Vec<_>, Vec<_>) = (0..count).map(|_| build()).unzip();
    let totals = Arc::new((AtomicU64::new(0), AtomicU64::new(0)));
    let mut listeners = Vec::new();
    for (i, consumer) in consumers.into_iter().enumerate() {
        let (next, totals) = (producers[(i + 1) % count].clone(), totals.clone());
        let handler = move |from_outside| {
            for _ in 0..if from_outside { 2 } else { 0 } {
                totals.0.fetch_add(u64::from(next.push(false).is_ok()), Ordering::Relaxed);
            }
            totals.1.fetch_add(1, Ordering::Relaxed);
        };
        listeners.push(Listener::spawn("reports", consumer, handler).unwrap());
    }
    let pushes: u64 = 200;
    thread::scope(|scope| {
        for producer in &producers {
            scope.spawn(move || (0..pushes).for_each(|_| producer.push(true).unwrap()));
        }
    });
    // Twice, as the reports of one are handled by the next.
    for _ in 0..2 {
        listeners.iter().for_each(|listener| listener.flush(LONG).unwrap());
    }
    let (accepted, handled) = (&totals.0, &totals.1);
    let from_outside = pushes * count as u64;
    assert_eq!(
        handled.load(Ordering::Relaxed),
        from_outside + accepted.load(Ordering::Relaxed),
        "{count} listeners, capacity {capacity}, bypass {bypass}"
    );
    if bypass == 1000 {
        assert_eq!(accepted.load(Ordering::Relaxed), 2 * from_outside);
    }
}

/// A listener whose handler does what it is sent, and its queue of capacity 1 with no bypass.
fn listener(name: &str) -> (Producer<Job>, Arc<Listener>) {
    watch();
    let (producer, consumer) = Builder::new(1).bypass(0).build();
    let listener = Listener::spawn(name, consumer, |job: Job| job()).unwrap();
    (producer, Arc::new(listener))
}

type Job = Box<dyn FnOnce() + Send>;

fn nothing() -> Job {
    Box::new(|| {})
}

/// Has a listener do `task`, and returns when it sleeps in there or is done.
fn begin(to: &Producer<Job>, task: impl FnOnce() + Send + 'static) {
    let sleep = SleepWatch::default();
    let watched = sleep.clone();
    let job = move || {
        watched.begin();
        task();
    };
    to.push(Box::new(job)).unwrap();
    sleep.wait();
}

#[test]
fn a_handler_that_flushes_a_listener_which_waits_for_it_is_refused_at_once() {
    let ((a, _listens), (b, other)) = (listener("a"), listener("b"));
    let (result, results) = channel();
    let (begins, has_begun) = channel();
    let (goes_on, go_on) = channel::<()>();
    let flushed = other.clone();
    a.push(Box::new(move || {
        begins.send(()).unwrap();
        go_on.recv().unwrap();
        result.send(flushed.flush(LONG * 10)).unwrap();
    }))
    .unwrap();
    has_begun.recv().unwrap();
    a.push(nothing()).unwrap();
    let into_a = a.clone();
    begin(&b, move || into_a.push(nothing()).unwrap());
    goes_on.send(()).unwrap();
    assert!(results.recv_timeout(LONG).unwrap().unwrap_err().is_would_deadlock());
    other.flush(LONG).unwrap();
}

/// As before, but the other listener begins to wait when the flush has begun.
#[test]
fn a_flush_notices_that_the_listener_begins_to_wait_for_it() {
    let ((a, _listens), (b, other)) = (listener("a"), listener("b"));
    let (result, results) = channel();
    let (ends, end) = channel::<()>();
    let flushed = other.clone();
    let into_a = a.clone();
    b.push(Box::new(move || {
        end.recv().unwrap();
        into_a.push(nothing()).unwrap();
    }))
    .unwrap();
    begin(&a, move || result.send(flushed.flush(LONG * 10)).unwrap());
    a.push(nothing()).unwrap();
    ends.send(()).unwrap();
    assert!(results.recv_timeout(LONG).unwrap().unwrap_err().is_would_deadlock());
    other.flush(LONG).unwrap();
}

#[test]
fn a_handler_that_drops_a_listener_which_waits_for_it_only_closes_it() {
    let ((a, _listens), (b, other)) = (listener("a"), listener("b"));
    let (result, results) = channel();
    let (begins, has_begun) = channel();
    let (goes_on, go_on) = channel::<()>();
    a.push(Box::new(move || {
        begins.send(()).unwrap();
        go_on.recv().unwrap();
        drop(other);
        result.send(()).unwrap();
    }))
    .unwrap();
    has_begun.recv().unwrap();
    a.push(nothing()).unwrap();
    let into_a = a.clone();
    begin(&b, move || into_a.push(nothing()).unwrap());
    goes_on.send(()).unwrap();
    assert_eq!(results.recv_timeout(LONG), Ok(()));
    assert!(b.push(nothing()).unwrap_err().is_closed());
}

/// A drop of a listener may wait for long, so a push that would wait for it is refused.
#[test]
fn a_push_into_a_queue_whose_consumer_drops_the_pushers_listener_is_refused() {
    let ((a, _listens), (b, other)) = (listener("a"), listener("b"));
    let (result, results) = channel();
    let (begins, has_begun) = channel();
    let (goes_on, go_on) = channel::<()>();
    let into_a = a.clone();
    b.push(Box::new(move || {
        begins.send(()).unwrap();
        go_on.recv().unwrap();
        result.send(pushed(into_a.push(nothing()))).unwrap();
    }))
    .unwrap();
    has_begun.recv().unwrap();
    begin(&a, move || drop(other));
    a.push(nothing()).unwrap();
    goes_on.send(()).unwrap();
    assert_eq!(results.recv_timeout(LONG), Ok(Done::WouldDeadlock));
}

/// A handler whose destructor pushes.
struct PushesAtTheEnd(Producer<u32>, Sender<Done>);

impl Drop for PushesAtTheEnd {
    fn drop(&mut self) {
        self.1.send(pushed(self.0.push(1))).unwrap();
    }
}

/// The thread of the full queue drops a listener whose handler, at its end, pushes into that queue.
/// Neither waits for the other.
fn assert_drop_ends<Q: Queue<Item = u32> + Send + 'static>(consumer: Consumer<u32, Q>) {
    let owner = Owner::new();
    let (ends, end) = channel();
    let handler = PushesAtTheEnd(owner.producer.clone(), ends);
    let listener = Listener::spawn("ends", consumer, move |_| _ = &handler).unwrap();
    owner.begin(move |_| {
        drop(listener);
        Done::Closed
    });
    assert_eq!(owner.result(), Done::Closed);
    // Either the drop waited until the push was refused. Or the push was the first to wait, and the
    // drop gave up: then it waits for a consumer that is free, until that goes.
    if let Ok(done) = end.try_recv() {
        assert_eq!(done, Done::WouldDeadlock);
    } else {
        drop(owner);
        assert_eq!(end.recv_timeout(LONG), Ok(Done::Closed));
    }
}

#[test]
fn a_handler_that_pushes_at_its_end_does_not_wait_for_the_thread_that_drops_its_listener() {
    static QUEUE: StaticQueue<u32, 1, 0> = StaticQueue::new();
    for _ in 0..20 {
        let (_producer, consumer) = bounded(1);
        assert_drop_ends(consumer);
        let consumer = loop {
            // The listener's thread gives it back when it has been waited for, or soon after.
            match QUEUE.consumer() {
                Some(consumer) => break consumer,
                None => thread::yield_now(),
            }
        };
        assert_drop_ends(consumer);
    }
}

/// The last handle to a listener goes with its own handler.
#[test]
fn a_handler_that_drops_its_own_listener_at_its_end_does_not_wait_for_itself() {
    static QUEUE: StaticQueue<u32, 1, 0> = StaticQueue::new();
    watch();
    let own = Arc::new(Mutex::new(None::<Listener>));
    let (ends, end) = channel::<()>();
    let held = own.clone();
    let handler = move |_| _ = (&held, &ends);
    let listener = Listener::spawn("own", QUEUE.consumer().unwrap(), handler).unwrap();
    *own.lock().unwrap() = Some(listener);
    drop(own);
    QUEUE.close();
    assert!(end.recv_timeout(LONG).is_err_and(|error| error == RecvTimeoutError::Disconnected));
}

/// Random graphs of listeners that push into each other, some with a deadline, some closing: what
/// is accepted is handled, and nothing hangs.
#[test]
fn random_graphs_of_listeners_handle_what_they_accept() {
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let end = std::time::Instant::now() + support::stress_time();
    let mut graphs = 0;
    while graphs < 30 || std::time::Instant::now() < end {
        graphs += 1;
        random_graph(&mut random);
    }
    println!("{graphs} graphs");
}

/// An item says how often it may still be passed on.
fn random_graph(random: &mut Random) {
    watch();
    let count = 2 + random.below(15);
    let bypass = [0, 1, 4][random.below(3)];
    let (producers, consumers): (Vec<_>, Vec<_>) =
        (0..count).map(|_| Builder::new(1 + random.below(8)).bypass(bypass).build::<u32>()).unzip();
    let producers = Arc::new(producers);
    let accepted = Arc::new(AtomicU64::new(0));
    let handled = Arc::new(AtomicU64::new(0));
    let listeners: Vec<_> = consumers
        .into_iter()
        .map(|consumer| {
            let (producers, accepted, handled) =
                (producers.clone(), accepted.clone(), handled.clone());
            let mut random = random.split();
            let handler = move |hops: u32| {
                for _ in 0..if hops == 0 { 0 } else { 1 + random.below(3) } {
                    let to = &producers[random.below(producers.len())];
                    let is_accepted = match random.below(4) {
                        0 => to.push_timeout(hops - 1, Duration::from_micros(200)).is_ok(),
                        _ => to.push(hops - 1).is_ok(),
                    };
                    accepted.fetch_add(u64::from(is_accepted), Ordering::Relaxed);
                }
                handled.fetch_add(1, Ordering::Relaxed);
            };
            Listener::spawn("node", consumer, handler).unwrap()
        })
        .collect();
    thread::scope(|scope| {
        for _ in 0..2 {
            let (producers, accepted) = (&producers, &accepted);
            let mut random = random.split();
            scope.spawn(move || {
                for _ in 0..100 {
                    let to = &producers[random.below(producers.len())];
                    accepted.fetch_add(u64::from(to.push(3).is_ok()), Ordering::Relaxed);
                }
            });
        }
    });
    // Some are dropped while the others push, and so wait for each other's end as well.
    let dropped_first = random.below(count);
    for (i, listener) in listeners.into_iter().enumerate() {
        if i < dropped_first {
            drop(listener);
        } else {
            listener.stop(LONG).unwrap();
        }
    }
    assert_eq!(handled.load(Ordering::Relaxed), accepted.load(Ordering::Relaxed));
}

/// A thousand threads sleep in pushes into a queue, wake up, find that others have taken the room,
/// and sleep again. Through that queue two services close a cycle.
#[test]
fn a_cycle_through_a_queue_that_a_thousand_threads_wait_for_is_refused() {
    let end = std::time::Instant::now() + support::stress_time();
    loop {
        close_a_cycle_in_a_crowd(1000);
        if std::time::Instant::now() >= end {
            break;
        }
    }
}

fn close_a_cycle_in_a_crowd(count: usize) {
    watch();
    let (producer, consumer) = Builder::new(4).bypass(0).build();
    let (a, b) = (Owner::with(producer, consumer), Owner::new());
    let crowd: Vec<_> = (0..count)
        .map(|_| {
            let producer = a.producer.clone();
            let thread = thread::Builder::new().stack_size(64 << 10);
            thread.spawn(move || while producer.push(1).is_ok() {}).unwrap()
        })
        .collect();
    let plain = [0, 1].map(|_| {
        let producer = a.producer.clone();
        thread::spawn(move || {
            while !producer.try_push(2).is_err_and(|error| error.is_closed()) {
                thread::yield_now();
            }
        })
    });
    let (into_a, into_b) = (a.producer.clone(), b.producer.clone());
    let (tells, told) = channel();
    b.start(move |_| {
        loop {
            match pushed(into_a.push(3)) {
                Done::Pushed => continue,
                done => break done,
            }
        }
    });
    a.start(move |consumer| {
        (0..2000).for_each(|_| _ = consumer.pop().unwrap());
        tells.send(std::time::Instant::now()).unwrap();
        pushed(into_b.push(4))
    });
    let since = told.recv().unwrap();
    let done = loop {
        match a.results.try_recv().or_else(|_| b.results.try_recv()) {
            Ok(done) => break done,
            Err(_) => thread::sleep(Duration::from_micros(100)),
        }
    };
    println!("told after {:?}", since.elapsed());
    assert_eq!(done, Done::WouldDeadlock);
    a.producer.close();
    b.producer.close();
    crowd.into_iter().chain(plain).for_each(|thread| thread.join().unwrap());
}

/// Random graphs of threads that wait, and of domains: a push is refused where a slow and exact
/// search says so, and only there.
#[test]
fn what_a_look_finds_in_a_random_graph_is_what_there_is() {
    watch();
    let mut random = Random(0x2545_F491_4F6C_DD1D);
    let members: Vec<_> = (0..Graph::THREADS).map(|_| Member::start()).collect();
    let end = std::time::Instant::now() + support::stress_time();
    let (mut graphs, mut pushes) = (0, [0, 0]);
    while graphs < 100 || std::time::Instant::now() < end {
        graphs += 1;
        let [refused, timed_out] = Graph::random(&members, &mut random).check(&mut random);
        pushes = [pushes[0] + refused, pushes[1] + timed_out];
    }
    println!("{graphs} graphs, {} pushes refused, {} timed out", pushes[0], pushes[1]);
    assert!(pushes.into_iter().all(|count| count > 0));
}

/// A thread of a random graph.
struct Member {
    tasks: Sender<MembersTask>,
}

type MembersTask = Box<dyn FnOnce(&mut Held) + Send>;

/// What it has.
#[derive(Default)]
struct Held {
    consumers: Vec<Consumer<u32>>,
    guards: Vec<bywash::DomainGuard>,
}

impl Member {
    fn start() -> Self {
        let (tasks, inbox) = channel::<MembersTask>();
        thread::spawn(move || {
            let mut held = Held::default();
            inbox.into_iter().for_each(|task| task(&mut held));
        });
        Self { tasks }
    }

    /// Starts `task`; its result comes when it is done.
    fn start_task<R: Send + 'static>(
        &self,
        task: impl FnOnce(&mut Held) -> R + Send + 'static,
    ) -> Receiver<R> {
        let (sends, result) = channel();
        self.tasks.send(Box::new(move |held| _ = sends.send(task(held)))).unwrap();
        result
    }

    fn run<R: Send + 'static>(&self, task: impl FnOnce(&mut Held) -> R + Send + 'static) -> R {
        self.start_task(task).recv_timeout(LONG).expect("a thread hangs")
    }
}

struct Graph<'a> {
    threads: &'a [Member],
    producers: Vec<Producer<u32>>,
    /// Which threads are members of which queue.
    members: Vec<[bool; Graph::THREADS]>,
    /// Which queue each thread waits for.
    waits: [Option<usize>; Graph::THREADS],
    results: Vec<Receiver<Done>>,
    /// Of queues that are bound to no thread.
    _unbound: Vec<Consumer<u32>>,
}

impl<'a> Graph<'a> {
    const THREADS: usize = 12;

    /// Some queues, all of them full, some threads that are in domains, and nobody who waits.
    fn random(threads: &'a [Member], random: &mut Random) -> Self {
        let mut graph = Self {
            threads,
            producers: Vec::new(),
            members: Vec::new(),
            waits: [None; Self::THREADS],
            results: Vec::new(),
            _unbound: Vec::new(),
        };
        for _ in 0..2 + random.below(14) {
            let mut members = [false; Self::THREADS];
            let (producer, mut consumer) = full();
            let domain = consumer.domain();
            match threads.get(random.below(Self::THREADS + 1)) {
                None => graph._unbound.push(consumer),
                Some(thread) => {
                    let index = threads.iter().position(|other| std::ptr::eq(other, thread));
                    members[index.unwrap()] = true;
                    thread.run(move |held| {
                        consumer.bind();
                        held.consumers.push(consumer);
                    });
                }
            }
            for _ in 0..[0, 0, 0, 1, 2, 5][random.below(6)] {
                let (index, domain) = (random.below(Self::THREADS), domain.clone());
                members[index] = true;
                threads[index].run(move |held| held.guards.push(domain.enter()));
            }
            graph.producers.push(producer);
            graph.members.push(members);
        }
        graph
    }

    /// Whether a push into `queue` would wait for `thread`.
    fn leads_back(&self, queue: usize, thread: usize, seen: &mut Vec<usize>) -> bool {
        if seen.contains(&queue) {
            return false;
        }
        seen.push(queue);
        let members = self.members[queue];
        let goes_on = |member: usize| self.waits[member].filter(|_| members[member]);
        members[thread]
            || (0..Self::THREADS)
                .filter_map(goes_on)
                .any(|next| self.leads_back(next, thread, seen))
    }

    /// Lets one thread after another wait, and others push in time meanwhile. Returns how many of
    /// those were refused, and how many were not.
    fn check(mut self, random: &mut Random) -> [u32; 2] {
        let mut pushes = [0, 0];
        for _ in 0..Self::THREADS {
            let (thread, queue) = (random.below(Self::THREADS), random.below(self.producers.len()));
            if self.waits[thread].is_some() {
                continue;
            }
            let is_refused = self.leads_back(queue, thread, &mut Vec::new());
            let producer = self.producers[queue].clone();
            let push = move |_: &mut Held| loop {
                // One that is to be refused may come before another's wait has begun.
                let result = producer.push_timeout(1, Duration::from_millis(3));
                if !is_refused || result != Err(PushTimeoutError::Timeout(1)) {
                    return result;
                }
            };
            let expected = match is_refused {
                true => PushTimeoutError::WouldDeadlock(1),
                false => PushTimeoutError::Timeout(1),
            };
            let result = self.threads[thread].start_task(push).recv_timeout(LONG);
            assert_eq!(result, Ok(Err(expected)), "{thread} into {queue}: {self:?}");
            pushes[usize::from(!is_refused)] += 1;
            if !is_refused && random.below(4) != 0 {
                let producer = self.producers[queue].clone();
                let result = self.threads[thread].start_task(move |_| pushed(producer.push(1)));
                self.results.push(result);
                self.waits[thread] = Some(queue);
            }
        }
        self.producers.iter().for_each(Producer::close);
        for result in &self.results {
            assert_eq!(result.recv_timeout(LONG), Ok(Done::Closed), "{self:?}");
        }
        self.threads.iter().for_each(|thread| thread.run(|held| *held = Held::default()));
        pushes
    }
}

impl std::fmt::Debug for Graph<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let threads = |members: &[bool; Graph::THREADS]| {
            (0..Graph::THREADS).filter(|&index| members[index]).collect::<Vec<_>>()
        };
        let members: Vec<_> = self.members.iter().map(threads).collect();
        f.debug_struct("Graph").field("members", &members).field("waits", &self.waits).finish()
    }
}

/// Queues come and go while others look at them.
#[test]
fn queues_may_be_dropped_while_others_look_at_them() {
    watch();
    let end = std::time::Instant::now() + support::stress_time() + Duration::from_millis(500);
    let current = Arc::new(Mutex::new(None::<Producer<u32>>));
    thread::scope(|scope| {
        for _ in 0..2 {
            let current = current.clone();
            scope.spawn(move || {
                // A consumer, so that it takes part.
                let (_own, mut consumer) = bounded::<u32>(1);
                consumer.bind();
                while std::time::Instant::now() < end {
                    let producer = current.lock().unwrap().clone();
                    let _ = producer.map(|producer| producer.push(1));
                }
            });
        }
        let current = current.clone();
        scope.spawn(move || {
            let mut queues = 0;
            while std::time::Instant::now() < end {
                queues += 1;
                let (producer, mut consumer) = Builder::new(1).bypass(0).build();
                consumer.bind();
                *current.lock().unwrap() = Some(producer);
                for _ in 0..3 {
                    let _ = consumer.pop_timeout(Duration::from_micros(300));
                }
                drop(consumer);
            }
            println!("{queues} queues");
            *current.lock().unwrap() = None;
        });
    });
}

/// Thousands of queues cost a thread that waits no more than time.
#[test]
fn thousands_of_queues_are_no_obstacle() {
    static QUEUES: OnceLock<Vec<Producer<u32>>> = OnceLock::new();
    let (a, b) = (Owner::new(), Owner::new());
    let mut consumers = Vec::new();
    let producers = (0..5_000).map(|_| {
        let (producer, mut consumer) = full();
        consumer.bind();
        consumers.push(consumer);
        producer
    });
    QUEUES.get_or_init(|| producers.collect());
    a.begin_push(&b, 1);
    b.begin_push(&a, 2);
    assert_eq!(b.result(), Done::WouldDeadlock);
}

/// `RUSTFLAGS="--cfg bywash_steps" cargo test --release --test cycles`: both sides are stopped on
/// their way to sleep, at each pair of steps, and go on in either order.
#[cfg(bywash_steps)]
mod stopped {
    use std::cell::Cell;

    use super::*;
    use bywash::steps::hooked;

    /// Where a push is stopped: before the step of this number, if it comes that far.
    fn begin_push_stopped_at(from: &Owner, to: &Owner, at: u32) -> (Receiver<()>, Sender<()>) {
        let ((stops, is_there), (goes_on, go_on)) = (channel(), channel());
        let producer = to.producer.clone();
        from.start(move |_| {
            let step = Cell::new(0);
            let hook = || {
                if step.replace(step.get() + 1) == at {
                    stops.send(()).unwrap();
                    go_on.recv().unwrap();
                }
            };
            let mut done = Done::Closed;
            hooked(&hook, || done = pushed(producer.push(1)));
            done
        });
        (is_there, goes_on)
    }

    /// As many as a push takes that is refused. One that sleeps takes fewer before that, and then
    /// the same again.
    const STEPS: u32 = 112;

    #[test]
    fn of_two_that_are_stopped_on_their_way_to_sleep_one_is_refused() {
        watch();
        let mut stops = 0;
        for first in (0..STEPS).step_by(3) {
            for second in (first % 7..STEPS).step_by(7) {
                for second_goes_on_first in [false, true] {
                    let (a, b) = (Owner::new(), Owner::new());
                    let (a_is_there, a_goes_on) = begin_push_stopped_at(&a, &b, first);
                    let was_there = a_is_there.recv_timeout(Duration::from_millis(20)).is_ok();
                    let (b_is_there, b_goes_on) = begin_push_stopped_at(&b, &a, second);
                    stops += u32::from(was_there);
                    let _ = b_is_there.recv_timeout(Duration::from_millis(20));
                    let (next, last) = match second_goes_on_first {
                        false => (a_goes_on, b_goes_on),
                        true => (b_goes_on, a_goes_on),
                    };
                    let _ = next.send(());
                    // Time for a nap to end, so that it looks again.
                    thread::sleep(Duration::from_millis(2));
                    let _ = last.send(());
                    assert_one_is_refused(&a, &b);
                }
            }
        }
        assert_ne!(stops, 0, "no push was stopped");
    }

    /// G3: the ring of a wait has room, and the thread that waits has not noticed yet.
    #[test]
    fn nothing_is_refused_where_the_ring_of_a_stopped_wait_has_room() {
        watch();
        for at in 0..STEPS {
            let (a, b) = (Owner::new(), Owner::new());
            let (a_is_there, a_goes_on) = begin_push_stopped_at(&a, &b, at);
            let _ = a_is_there.recv_timeout(Duration::from_millis(20));
            b.begin_pop();
            assert_eq!(b.result(), Done::Popped(0));
            b.begin_push(&a, 2);
            let early = b.results.try_recv();
            assert!(early.is_err(), "stopped before step {at}: {early:?}");
            let _ = a_goes_on.send(());
            assert_eq!(a.result(), Done::Pushed);
            a.begin_pop();
            assert_eq!((a.result(), b.result()), (Done::Popped(0), Done::Pushed));
        }
    }

    /// G4: a look is stopped at each step, and meanwhile a wait that it may have seen ends, and the
    /// next one begins. Both are on the way back to the thread that looks, but never at once.
    #[test]
    fn nothing_is_refused_for_two_waits_that_were_never_there_together() {
        watch();
        let mut stops = 0;
        for at in 0..STEPS {
            let (a, b, c) = (Owner::new(), Owner::new(), Owner::new());
            a.begin_push(&b, 1);
            let (c_is_there, c_goes_on) = begin_push_stopped_at(&c, &a, at);
            stops += u32::from(c_is_there.recv_timeout(Duration::from_millis(20)).is_ok());
            b.begin_pop();
            assert_eq!((b.result(), a.result()), (Done::Popped(0), Done::Pushed));
            b.begin_push(&c, 2);
            assert!(b.is_waiting());
            let _ = c_goes_on.send(());
            // Time for it to be refused.
            thread::sleep(Duration::from_millis(2));
            a.begin_pop();
            let results = (a.result(), c.result());
            assert_eq!(results, (Done::Popped(0), Done::Pushed), "stopped before step {at}");
            c.begin_pop();
            assert_eq!((c.result(), b.result()), (Done::Popped(0), Done::Pushed));
        }
        assert_ne!(stops, 0, "no push was stopped");
    }

    /// A look is stopped at each step. Meanwhile the wait that it may have seen ends, and the queue
    /// that was waited for is moved, and freed where it is then, without waiting. Memory that is
    /// gone cannot be read without a crash.
    #[test]
    #[cfg(target_os = "linux")]
    fn a_queue_may_be_moved_and_freed_while_a_stopped_thread_looks_along_a_wait_for_it() {
        watch();
        for at in 0..STEPS {
            let queue = MappedQueue::new();
            queue.get().try_push(0).unwrap();
            let mut consumer = queue.get().consumer().unwrap();
            consumer.bind();
            let (a, b) = (Owner::new(), Owner::new());
            a.begin(move |_| pushed(queue.get().push(1)));
            let (b_is_there, b_goes_on) = begin_push_stopped_at(&b, &a, at);
            let _ = b_is_there.recv_timeout(Duration::from_millis(20));
            assert_eq!((consumer.pop(), a.result()), (Ok(0), Done::Pushed));
            drop(consumer);
            let moved = queue.moved();
            moved.free();
            let _ = b_goes_on.send(());
            a.begin_pop();
            assert_eq!((a.result(), b.result()), (Done::Popped(0), Done::Pushed));
        }
    }

    /// A pusher that closes is stopped before each step, until the queue has its next consumer.
    #[test]
    fn a_close_that_comes_late_hides_no_wait_for_the_next_consumer() {
        for at in 0..12 {
            let queue: &'static StaticQueue<u32, 1, 0> = Box::leak(Box::new(StaticQueue::new()));
            let mut consumer = queue.consumer().unwrap();
            consumer.bind();
            let ((stops, is_there), (goes_on, go_on)) = (channel(), channel::<()>());
            let closer = thread::spawn(move || {
                let step = Cell::new(0);
                let hook = || {
                    if step.replace(step.get() + 1) == at {
                        stops.send(()).unwrap();
                        go_on.recv().unwrap();
                    }
                };
                hooked(&hook, || queue.close());
            });
            let was_stopped = is_there.recv().is_ok();
            let was_closed = queue.is_closed();
            drop(consumer);
            let mut consumer = queue.consumer().unwrap();
            consumer.bind();
            if was_stopped {
                goes_on.send(()).unwrap();
            }
            closer.join().unwrap();
            if queue.is_closed() {
                assert!(!was_closed);
                continue;
            }
            queue.try_push(0).unwrap();
            let a = Owner::new();
            a.begin(|_| pushed(queue.push(1)));
            assert!(a.is_waiting());
            let result = a.producer.push_timeout(2, LONG);
            assert_eq!(result, Err(PushTimeoutError::WouldDeadlock(2)), "at step {at}");
            assert_eq!((consumer.try_pop(), a.result()), (Ok(0), Done::Pushed));
        }
    }

    /// A queue in pages of its own.
    #[cfg(target_os = "linux")]
    #[derive(Clone, Copy)]
    struct MappedQueue(&'static StaticQueue<u32, 1, 0>);

    #[cfg(target_os = "linux")]
    impl MappedQueue {
        fn new() -> Self {
            Self::with(StaticQueue::new())
        }

        fn with(content: StaticQueue<u32, 1, 0>) -> Self {
            let (size, protection) = (Self::SIZE, libc::PROT_READ | libc::PROT_WRITE);
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            // SAFETY: a new mapping harms nobody.
            let address =
                unsafe { libc::mmap(std::ptr::null_mut(), size, protection, flags, -1, 0) };
            assert_ne!(address, libc::MAP_FAILED);
            let queue = address.cast::<StaticQueue<u32, 1, 0>>();
            // SAFETY: it is large enough, and aligned to a page.
            unsafe { queue.write(content) };
            // SAFETY: nobody uses it after `free`.
            Self(unsafe { &*queue })
        }

        const SIZE: usize = size_of::<StaticQueue<u32, 1, 0>>();

        fn get(self) -> &'static StaticQueue<u32, 1, 0> {
            self.0
        }

        /// The same queue in other pages. Those where it was are gone.
        fn moved(self) -> Self {
            let queue = std::ptr::from_ref(self.0).cast_mut();
            // SAFETY: nobody else has it any more, and it is not used where it was.
            let moved = Self::with(unsafe { queue.read() });
            Self::unmap(queue);
            moved
        }

        fn free(self) {
            let queue = std::ptr::from_ref(self.0).cast_mut();
            // SAFETY: nobody else has it any more.
            unsafe { queue.drop_in_place() };
            Self::unmap(queue);
        }

        fn unmap(queue: *mut StaticQueue<u32, 1, 0>) {
            // SAFETY: it was mapped with this size.
            assert_eq!(unsafe { libc::munmap(queue.cast(), Self::SIZE) }, 0);
        }
    }

    fn assert_one_is_refused(a: &Owner, b: &Owner) {
        let other = loop {
            if let Ok(done) = a.results.try_recv() {
                assert_eq!(done, Done::WouldDeadlock);
                a.begin_pop();
                break b;
            }
            if let Ok(done) = b.results.try_recv() {
                assert_eq!(done, Done::WouldDeadlock);
                b.begin_pop();
                break a;
            }
            thread::yield_now();
        };
        assert_eq!(other.result(), Done::Pushed);
    }
}
