//! What is measured, and how: see [`Kind`].

use std::collections::VecDeque;
use std::fmt;
use std::hint::{black_box, spin_loop};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::rivals::{Queue, Receiver, Role, Sender, for_each_queue};

/// What the threads do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One thread pushes an item and pops it.
    Uncontended,
    /// A thread that is not the consumer's tries to push into a full queue.
    Full,
    /// Producers push and the consumer pops by the functions that never wait, until they succeed.
    Try,
    /// The same by the functions that sleep.
    Blocking,
    /// The same while another thread keeps a core busy.
    BlockingBusy,
    /// A number goes to another thread through one queue and comes back through a second one.
    RoundTripSpinning,
    RoundTripSleeping,
    /// From the push to the return of a pop that was asleep.
    WakeUp,
}

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Payload {
    U64,
    Bytes64,
    Boxed,
    Record,
}

/// Something to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Workload {
    pub(crate) kind: Kind,
    pub(crate) producers: usize,
    pub(crate) payload: Payload,
    pub(crate) capacity: usize,
}

impl Workload {
    pub(crate) const fn new(
        kind: Kind,
        producers: usize,
        payload: Payload,
        capacity: usize,
    ) -> Self {
        Self { kind, producers, payload, capacity }
    }
}

/// `group/workload/params`.
impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { producers, capacity, .. } = *self;
        match self.kind {
            Kind::Uncontended => f.write_str("uncontended/push_pop")?,
            Kind::Full => f.write_str("full/try_push")?,
            Kind::Try => write!(f, "try/{producers}_to_1")?,
            Kind::Blocking => write!(f, "blocking/{producers}_to_1")?,
            Kind::BlockingBusy => write!(f, "blocking_busy/{producers}_to_1")?,
            Kind::RoundTripSpinning => f.write_str("latency/round_trip_spinning")?,
            Kind::RoundTripSleeping => f.write_str("latency/round_trip_sleeping")?,
            Kind::WakeUp => f.write_str("latency/wake_up")?,
        }
        let payload = match self.payload {
            Payload::U64 => "u64",
            Payload::Bytes64 => "64_bytes",
            Payload::Boxed => "box",
            Payload::Record => "record",
        };
        write!(f, "/{payload},capacity_{capacity}")
    }
}

/// One measurement.
#[derive(Debug)]
pub(crate) struct Sample {
    pub(crate) nanos_per_item: f64,
    /// Of latencies in nanoseconds, where that is what the workload is about.
    pub(crate) histogram: Option<Histogram<u64>>,
}

impl Sample {
    fn of(elapsed: Duration, items: u64) -> Self {
        Self { nanos_per_item: elapsed.as_nanos() as f64 / items as f64, histogram: None }
    }
}

/// A queue that takes part, or what stands beside the queues for comparison.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Contestant {
    pub(crate) name: &'static str,
    pub(crate) role: Role,
    fits: fn(&Workload) -> bool,
    run: fn(&Workload, u64) -> Sample,
}

impl Contestant {
    /// Whether it has what the workload needs.
    pub(crate) fn fits(&self, workload: &Workload) -> bool {
        (self.fits)(workload)
    }

    /// Measures with about so many items. Where that does not end, the process does, after a
    /// minute.
    pub(crate) fn run(&self, workload: &Workload, items: u64) -> Sample {
        end_after(60);
        let sample = (self.run)(workload, items);
        end_after(0);
        sample
    }
}

/// Ends the process after so many seconds, unless called again. 0 is never.
fn end_after(seconds: u32) {
    // SAFETY: touches no memory.
    #[cfg(unix)]
    unsafe {
        libc::alarm(seconds)
    };
    #[cfg(not(unix))]
    let _ = seconds;
}

/// All queues, bywash first, and last one locked instruction, and bywash with batches.
pub(crate) fn contestants() -> Vec<Contestant> {
    let mut all = for_each_queue!(contestant).map(|contestant| contestant()).to_vec();
    all.push(Contestant {
        name: "compare_exchange",
        role: Role::Limit,
        fits: |workload| workload.kind == Kind::Uncontended && workload.payload == Payload::U64,
        run: |_, items| compare_exchange(items),
    });
    all.push(Contestant {
        name: "bywash, 32 at a time",
        role: Role::Batches,
        fits: |workload| *workload == Workload::new(Kind::Blocking, 1, Payload::U64, 1024),
        run: batches,
    });
    all
}

fn contestant<Q: Queue>() -> Contestant {
    Contestant { name: Q::NAME, role: Q::ROLE, fits: fits::<Q>, run: run::<Q> }
}

fn fits<Q: Queue>(workload: &Workload) -> bool {
    let awake = matches!(
        workload.kind,
        Kind::Uncontended | Kind::Full | Kind::Try | Kind::RoundTripSpinning
    );
    (awake || Q::SLEEPS)
        && workload.capacity >= Q::LEAST_CAPACITY
        && workload.producers <= Q::MOST_PRODUCERS
}

fn run<Q: Queue>(workload: &Workload, items: u64) -> Sample {
    match workload.payload {
        Payload::U64 => run_with::<Q, u64>(workload, items),
        Payload::Bytes64 => run_with::<Q, [u8; 64]>(workload, items),
        Payload::Boxed => run_with::<Q, Box<u64>>(workload, items),
        Payload::Record => run_with::<Q, Record>(workload, items),
    }
}

fn run_with<Q: Queue, T: Item>(workload: &Workload, items: u64) -> Sample {
    match workload.kind {
        Kind::Uncontended => uncontended::<Q, T>(workload, items),
        Kind::Full => full::<Q, T>(workload, items),
        Kind::Try => stream::<Q, T, Spinning>(workload, items),
        Kind::Blocking => stream::<Q, T, Sleeping>(workload, items),
        Kind::BlockingBusy => beside_a_busy_thread(|| stream::<Q, T, Sleeping>(workload, items)),
        Kind::RoundTripSpinning => round_trip::<Q, Spinning>(workload, items),
        Kind::RoundTripSleeping => round_trip::<Q, Sleeping>(workload, items),
        Kind::WakeUp => wake_up::<Q>(workload, items),
    }
}

/// What can be sent.
trait Item: Send + Sync + 'static {
    fn number(number: u64) -> Self;
}

impl Item for u64 {
    fn number(number: u64) -> Self {
        number
    }
}

impl Item for [u8; 64] {
    fn number(number: u64) -> Self {
        [number as u8; 64]
    }
}

impl Item for Box<u64> {
    fn number(number: u64) -> Self {
        Box::new(number)
    }
}

/// As a logger would send it, with the message in line: 200 bytes.
struct Record {
    _time: u64,
    _target: &'static str,
    _level: u32,
    _len: u32,
    _message: [u8; 168],
}

impl Item for Record {
    fn number(number: u64) -> Self {
        Self {
            _time: number,
            _target: "workloads",
            _level: 3,
            _len: 168,
            _message: [number as u8; 168],
        }
    }
}

/// How a thread waits for its queue.
trait Waiting {
    fn send<T, S: Sender<T>>(sender: &mut S, item: T);
    fn receive<T, R: Receiver<T>>(receiver: &mut R) -> T;
}

/// As the queue does it.
struct Sleeping;

impl Waiting for Sleeping {
    #[inline]
    fn send<T, S: Sender<T>>(sender: &mut S, item: T) {
        sender.put(item);
    }

    #[inline]
    fn receive<T, R: Receiver<T>>(receiver: &mut R) -> T {
        receiver.take()
    }
}

/// Tries again and again, and lets others run after many failures: they may be what it waits for.
struct Spinning;

impl Spinning {
    const FAILURES: u32 = 100;

    #[inline]
    fn pause(failures: &mut u32) {
        *failures += 1;
        if *failures % Self::FAILURES == 0 {
            thread::yield_now();
        } else {
            spin_loop();
        }
    }
}

impl Waiting for Spinning {
    #[inline]
    fn send<T, S: Sender<T>>(sender: &mut S, mut item: T) {
        let mut failures = 0;
        while let Err(back) = sender.try_put(item) {
            item = back;
            Self::pause(&mut failures);
        }
    }

    #[inline]
    fn receive<T, R: Receiver<T>>(receiver: &mut R) -> T {
        let mut failures = 0;
        loop {
            if let Some(item) = receiver.try_take() {
                return item;
            }
            Self::pause(&mut failures);
        }
    }
}

/// The floor under a push: a locked instruction on a line that nobody else wants.
fn compare_exchange(items: u64) -> Sample {
    let word = AtomicU64::new(0);
    let start = Instant::now();
    for i in 0..items {
        let _ = black_box(black_box(&word).compare_exchange(
            i,
            i + 1,
            Ordering::SeqCst,
            Ordering::Relaxed,
        ));
    }
    Sample::of(start.elapsed(), items)
}

fn uncontended<Q: Queue, T: Item>(workload: &Workload, items: u64) -> Sample {
    let (mut senders, mut receiver) = Q::bounded::<T>(workload.capacity, 1);
    let sender = &mut senders[0];
    let start = Instant::now();
    for i in 0..items {
        let _ = black_box(sender.try_put(black_box(T::number(i))));
        black_box(receiver.try_take());
    }
    Sample::of(start.elapsed(), items)
}

fn full<Q: Queue, T: Item>(workload: &Workload, items: u64) -> Sample {
    let (mut senders, mut receiver) = Q::bounded::<T>(workload.capacity, 1);
    // A queue may want to know which thread its consumer's is.
    receiver.try_take();
    let sender = &mut senders[0];
    let elapsed = thread::scope(|scope| {
        let producer = scope.spawn(|| {
            while sender.try_put(T::number(0)).is_ok() {}
            let start = Instant::now();
            for i in 0..items {
                let _ = black_box(sender.try_put(black_box(T::number(i))));
            }
            start.elapsed()
        });
        producer.join().expect("no rival panics")
    });
    Sample::of(elapsed, items)
}

/// From the moment that all threads are ready to that of the last item's arrival.
fn stream<Q: Queue, T: Item, W: Waiting>(workload: &Workload, items: u64) -> Sample {
    let (senders, mut receiver) = Q::bounded::<T>(workload.capacity, workload.producers);
    let each = items.div_ceil(workload.producers as u64);
    let items = each * workload.producers as u64;
    let starters = Starters::new(workload.producers);
    let elapsed = thread::scope(|scope| {
        for mut sender in senders {
            let starters = &starters;
            scope.spawn(move || {
                starters.wait();
                (0..each).for_each(|i| W::send(&mut sender, black_box(T::number(i))));
            });
        }
        let start = starters.start();
        for _ in 0..items {
            black_box(W::receive(&mut receiver));
        }
        start.elapsed()
    });
    Sample::of(elapsed, items)
}

/// As `stream` with one producer, 32 items a call.
fn batches(workload: &Workload, items: u64) -> Sample {
    const BATCH: u64 = 32;
    let (producer, mut consumer) = bywash::bounded(workload.capacity);
    let calls = items.div_ceil(BATCH);
    let starters = Starters::new(1);
    let elapsed = thread::scope(|scope| {
        scope.spawn(|| {
            starters.wait();
            let mut batch = VecDeque::with_capacity(BATCH as usize);
            for _ in 0..calls {
                batch.extend((0..BATCH).map(black_box));
                producer.push_many(&mut batch).expect("the consumer is held");
            }
        });
        let start = starters.start();
        let (mut batch, mut left) = (Vec::with_capacity(BATCH as usize), calls * BATCH);
        while left > 0 {
            left -=
                consumer.pop_many(&mut batch, BATCH as usize).expect("a producer is held") as u64;
            batch.drain(..).for_each(|item: u64| _ = black_box(item));
        }
        start.elapsed()
    });
    Sample::of(elapsed, calls * BATCH)
}

/// A barrier at which the measuring thread arrives last, so that it need not be woken.
struct Starters {
    threads: usize,
    ready: AtomicUsize,
    barrier: Barrier,
}

impl Starters {
    fn new(threads: usize) -> Self {
        Self { threads, ready: AtomicUsize::new(0), barrier: Barrier::new(threads + 1) }
    }

    fn wait(&self) {
        self.ready.fetch_add(1, Ordering::Relaxed);
        self.barrier.wait();
    }

    fn start(&self) -> Instant {
        while self.ready.load(Ordering::Relaxed) < self.threads {
            thread::yield_now();
        }
        let start = Instant::now();
        self.barrier.wait();
        start
    }
}

fn beside_a_busy_thread<R>(run: impl FnOnce() -> R) -> R {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                spin_loop();
            }
        });
        let result = run();
        done.store(true, Ordering::Relaxed);
        result
    })
}

/// One part of the trips is timed as a whole, then a smaller part one by one, which adds the time
/// to look at the clock.
fn round_trip<Q: Queue, W: Waiting>(workload: &Workload, items: u64) -> Sample {
    let (mut there, mut away) = Q::bounded::<u64>(workload.capacity, 1);
    let (mut back, mut home) = Q::bounded::<u64>(workload.capacity, 1);
    let single = items.div_ceil(4);
    let starters = Starters::new(1);
    thread::scope(|scope| {
        scope.spawn(|| {
            starters.wait();
            for _ in 0..items + single {
                W::send(&mut back[0], W::receive(&mut away));
            }
        });
        let mut trip = |i| {
            W::send(&mut there[0], i);
            black_box(W::receive(&mut home));
        };
        let start = starters.start();
        (0..items).for_each(&mut trip);
        let mut sample = Sample::of(start.elapsed(), items);

        let mut histogram = new_histogram();
        for i in 0..single {
            let start = Instant::now();
            trip(i);
            histogram += start.elapsed().as_nanos() as u64;
        }
        sample.histogram = Some(histogram);
        sample
    })
}

/// Long enough for any of the queues to fall asleep.
const UNTIL_ASLEEP: Duration = Duration::from_micros(200);

/// The item is the time at which it was pushed. The median counts.
fn wake_up<Q: Queue>(workload: &Workload, items: u64) -> Sample {
    let (mut senders, mut receiver) = Q::bounded::<u64>(workload.capacity, 1);
    let (epoch, received) = (Instant::now(), AtomicU64::new(0));
    let mut histogram = new_histogram();
    let now = || epoch.elapsed().as_nanos() as u64;
    thread::scope(|scope| {
        scope.spawn(|| {
            for i in 0..items {
                while received.load(Ordering::Relaxed) < i {
                    thread::yield_now();
                }
                thread::sleep(UNTIL_ASLEEP);
                senders[0].put(now());
            }
        });
        for i in 1..=items {
            let pushed = receiver.take();
            histogram += now() - pushed;
            received.store(i, Ordering::Relaxed);
        }
    });
    Sample { nanos_per_item: histogram.value_at_quantile(0.5) as f64, histogram: Some(histogram) }
}

pub(crate) fn new_histogram() -> Histogram<u64> {
    Histogram::new(3).expect("3 digits are possible")
}
