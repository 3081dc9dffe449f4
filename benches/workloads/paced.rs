//! Threads that rest between pushes, and a consumer that sleeps meanwhile: what a logger does.

use std::hint::{black_box, spin_loop};
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::items::Item;
use super::threads::{Seat, Starters, Usage, sleep_exactly, thread_time};
use super::workload::{Kind, Pace, Payload, Sample, Workload, new_histogram};
use crate::rivals::{Queue, Receiver, Sender};

const fn pace(burst: u64, micros: u64) -> Pace {
    Pace { burst, period: Duration::from_micros(micros) }
}

const fn paced(producers: usize, payload: Payload, pace: Pace) -> Workload {
    Workload::new(Kind::Paced(pace), producers, payload, 1024)
}

/// All workloads of this kind.
pub(crate) const ALL: [Workload; 11] = [
    paced(1, Payload::Record, pace(20, 1000)),
    paced(4, Payload::Record, pace(20, 1000)),
    paced(1, Payload::Record, pace(1, 20)),
    paced(1, Payload::Record, pace(1, 300)),
    paced(1, Payload::Record, pace(1, 3000)),
    paced(4, Payload::Record, pace(500, 5000)),
    // 10 000 a second.
    paced(1, Payload::Record, pace(1, 100)),
    paced(8, Payload::Record, pace(1, 800)),
    // 100 000 a second.
    paced(1, Payload::Record, pace(1, 10)),
    paced(8, Payload::Record, pace(1, 80)),
    Workload::new(Kind::Signals(pace(1, 300)), 1, Payload::Record, 1024),
];

/// For so many nanoseconds the consumer works on each item.
const WORK: u64 = 200;

/// A thread that waits for a shorter time would be woken too late: it looks at the clock instead.
/// The processor time for that is not counted.
const SHORTEST_SLEEP: Duration = Duration::from_micros(50);

/// By `put`, while the queue has room without waiting, as here.
pub(super) fn by_threads<Q: Queue, T: Item>(workload: &Workload, pace: Pace, n: u64) -> Sample {
    run::<Q, T>(workload, pace, n, |sender, clock| {
        let item = T::with_number(clock.now());
        let start = clock.now();
        sender.put(item);
        clock.now() - start
    })
}

/// By `try_put`, in a signal handler. The signals come between the calls, where it works even for
/// queues that a push from a real handler could hang.
pub(super) fn by_signals<Q: Queue, T: Item>(workload: &Workload, pace: Pace, n: u64) -> Sample {
    run::<Q, T>(workload, pace, n, |sender, clock| {
        let mut took = 0;
        signals::in_handler(&mut || {
            let mut item = T::with_number(clock.now());
            let start = clock.now();
            while let Err(back) = sender.try_put(item) {
                item = back;
            }
            took = clock.now() - start;
        });
        took
    })
}

#[derive(Clone, Copy)]
struct Clock(Instant);

impl Clock {
    /// In nanoseconds.
    fn now(self) -> u64 {
        self.0.elapsed().as_nanos() as u64
    }
}

/// `push` pushes one item that carries the time, and returns how long that took.
fn run<Q: Queue, T: Item>(
    workload: &Workload,
    pace: Pace,
    items: u64,
    push: impl Fn(&mut Q::Sender<T>, Clock) -> u64 + Sync,
) -> Sample {
    let (senders, mut receiver) = Q::bounded::<T>(workload.capacity, workload.producers);
    let bursts = items.div_ceil(pace.burst * workload.producers as u64);
    let items = bursts * pace.burst * workload.producers as u64;
    let (starters, clock) = (Starters::new(workload.producers), Clock(Instant::now()));
    thread::scope(|scope| {
        let producers = senders.into_iter().enumerate().map(|(number, mut sender)| {
            let (starters, push) = (&starters, &push);
            scope.spawn(move || {
                workload.seat(Seat::Producer(number));
                sleep_exactly();
                let offset = pace.period * number as u32 / workload.producers as u32;
                starters.wait();
                produce(pace, bursts, offset, || push(&mut sender, clock))
            })
        });
        let producers: Vec<_> = producers.collect();
        starters.start();
        let before = Usage::now();
        let delivery = consume(&mut receiver, items, clock);
        let usage = Usage::now().since(before);
        let pushed = producers.into_iter().map(|thread| thread.join().expect("no rival panics"));
        let (mut call, mut spun) = (new_histogram(), Duration::ZERO);
        for (its_calls, its_spinning) in pushed {
            call += its_calls;
            spun += its_spinning;
        }
        let mut sample = Sample::of(usage.time.saturating_sub(spun), items);
        sample.switches_per_item = usage.switches as f64 / items as f64;
        Sample { call, delivery, ..sample }
    })
}

/// How long the calls took, and for how long it spun to wait for the next burst.
fn produce(
    pace: Pace,
    bursts: u64,
    offset: Duration,
    mut push: impl FnMut() -> u64,
) -> (Histogram<u64>, Duration) {
    let (mut calls, mut spun) = (new_histogram(), Duration::ZERO);
    let mut next = Instant::now() + offset;
    for _ in 0..bursts {
        spun += wait_until(next);
        next += pace.period;
        for _ in 0..pace.burst {
            calls += push();
        }
    }
    (calls, spun)
}

/// The processor time that it took, if it spun.
fn wait_until(time: Instant) -> Duration {
    let left = time.saturating_duration_since(Instant::now());
    if left >= SHORTEST_SLEEP {
        thread::sleep(left);
        return Duration::ZERO;
    }
    let start = thread_time();
    while Instant::now() < time {
        spin_loop();
    }
    thread_time() - start
}

/// How long the items were on their way, from before the push to when they were here.
fn consume<T: Item>(receiver: &mut impl Receiver<T>, items: u64, clock: Clock) -> Histogram<u64> {
    let mut delivery = new_histogram();
    for _ in 0..items {
        let item = receiver.take();
        let start = clock.now();
        delivery += start.saturating_sub(item.number());
        while clock.now() - start < WORK {
            black_box(&item);
        }
    }
    delivery
}

#[cfg(unix)]
mod signals {
    use std::cell::Cell;
    use std::ptr;
    use std::sync::Once;

    type Call<'a> = &'a mut dyn FnMut();

    thread_local! {
        /// What the handler is to call on this thread.
        static CALL: Cell<*mut Call<'static>> = const { Cell::new(ptr::null_mut()) };
    }

    extern "C" fn on_signal(_: libc::c_int) {
        // SAFETY: `in_handler` has set it, on this thread, and returns later than this.
        let call = unsafe { &mut *CALL.get() };
        call();
    }

    /// Sends this thread a signal, and calls `call` in the handler.
    pub(super) fn in_handler(mut call: Call<'_>) {
        static HANDLER: Once = Once::new();
        HANDLER.call_once(|| {
            let handler = on_signal as *const () as libc::sighandler_t;
            // SAFETY: the handler takes what it is called with.
            unsafe { libc::signal(libc::SIGUSR1, handler) };
        });
        CALL.set((&raw mut call).cast());
        // SAFETY: it touches no memory but what the handler does.
        unsafe { libc::raise(libc::SIGUSR1) };
    }
}

#[cfg(not(unix))]
mod signals {
    pub(super) fn in_handler(call: &mut dyn FnMut()) {
        call();
    }
}
