//! Where threads run, how they begin together, and what they use.

use std::hint::spin_loop;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Which core a thread runs on where threads are pinned apart. On other systems than Linux no
/// thread is pinned.
#[derive(Clone, Copy, Debug)]
pub(super) enum Seat {
    Consumer,
    /// Producers take the other cores in turn.
    Producer(usize),
}

/// The cores that this process may run on.
#[cfg(target_os = "linux")]
fn cores() -> &'static [usize] {
    static CORES: std::sync::OnceLock<Vec<usize>> = std::sync::OnceLock::new();
    CORES.get_or_init(|| {
        // SAFETY: all zeros is an empty set.
        let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
        // SAFETY: there is room for the set.
        unsafe { libc::sched_getaffinity(0, size_of_val(&set), &mut set) };
        let all = 0..libc::CPU_SETSIZE as usize;
        // SAFETY: the set has room for so many.
        all.filter(|&core| unsafe { libc::CPU_ISSET(core, &set) }).collect()
    })
}

#[cfg(not(target_os = "linux"))]
fn cores() -> &'static [usize] {
    &[]
}

/// Lets the calling thread, and those that it will start, run on these cores only.
#[cfg(target_os = "linux")]
fn run_on(cores: &[usize]) {
    // SAFETY: all zeros is an empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    for &core in cores {
        // SAFETY: the number came out of such a set.
        unsafe { libc::CPU_SET(core, &mut set) };
    }
    // SAFETY: the set is valid.
    let result = unsafe { libc::sched_setaffinity(0, size_of_val(&set), &set) };
    assert_eq!(result, 0, "these cores were allowed before");
}

#[cfg(not(target_os = "linux"))]
fn run_on(_: &[usize]) {}

/// Whether threads can be kept on different cores.
pub(crate) fn can_pin_apart() -> bool {
    cores().len() > 1
}

impl Seat {
    /// Keeps the calling thread there.
    pub(super) fn pin(self) {
        let cores = cores();
        let position = match self {
            Self::Consumer => 0,
            Self::Producer(number) => 1 + number % (cores.len() - 1),
        };
        run_on(&cores[position..=position]);
    }
}

/// How many nanoseconds a cache line takes from the consumer's core to the first producer's and
/// back. `None` where threads cannot be pinned.
pub(crate) fn round_trip_between_cores() -> Option<f64> {
    const PARTS: usize = 5;
    const TRIPS: u64 = 400;
    #[repr(align(128))]
    struct Line(AtomicU64);

    let line = Line(AtomicU64::new(0));
    let pass_on = |value: u64| {
        while line.0.load(Ordering::Acquire) != value {
            spin_loop();
        }
        line.0.store(value + 1, Ordering::Release);
    };
    let measure = || {
        Seat::Consumer.pin();
        let mut trips = (0..).map(|trip| pass_on(2 * trip));
        trips.next();
        let parts = [(); PARTS].map(|()| {
            let start = Instant::now();
            trips.by_ref().take(TRIPS as usize).for_each(drop);
            start.elapsed().as_nanos() as f64 / TRIPS as f64
        });
        parts.into_iter().fold(f64::INFINITY, f64::min)
    };
    can_pin_apart().then(|| {
        thread::scope(|scope| {
            scope.spawn(|| {
                Seat::Producer(0).pin();
                (0..=PARTS as u64 * TRIPS).for_each(|trip| pass_on(2 * trip + 1));
            });
            scope.spawn(measure).join().expect("nothing panics")
        })
    })
}

/// Has the calling thread woken when it asked for, not up to 50 µs later.
pub(super) fn sleep_exactly() {
    #[cfg(target_os = "linux")]
    // SAFETY: it touches no memory.
    unsafe {
        libc::prctl(libc::PR_SET_TIMERSLACK, 1)
    };
}

/// Ends the process after so many seconds, unless called again. 0 is never.
pub(super) fn end_after(seconds: u32) {
    // SAFETY: it touches no memory.
    #[cfg(unix)]
    unsafe {
        libc::alarm(seconds)
    };
    #[cfg(not(unix))]
    let _ = seconds;
}

/// A barrier at which the measuring thread arrives last, so that it need not be woken.
pub(super) struct Starters {
    threads: usize,
    ready: AtomicUsize,
    barrier: Barrier,
}

impl Starters {
    pub(super) fn new(threads: usize) -> Self {
        Self { threads, ready: AtomicUsize::new(0), barrier: Barrier::new(threads + 1) }
    }

    pub(super) fn wait(&self) {
        self.ready.fetch_add(1, Ordering::Relaxed);
        self.barrier.wait();
    }

    pub(super) fn start(&self) -> Instant {
        while self.ready.load(Ordering::Relaxed) < self.threads {
            thread::yield_now();
        }
        let start = Instant::now();
        self.barrier.wait();
        start
    }
}

/// Runs while another thread keeps a core busy.
pub(super) fn with_a_core_busy<R>(run: impl FnOnce() -> R) -> R {
    with_busy_threads(&[cores()], run)
}

/// Runs while another thread on each core keeps it busy.
pub(super) fn with_all_cores_busy<R>(run: impl FnOnce() -> R) -> R {
    with_busy_threads(&cores().chunks(1).collect::<Vec<_>>(), run)
}

/// With a busy thread on each of these sets of cores.
fn with_busy_threads<R>(sets: &[&[usize]], run: impl FnOnce() -> R) -> R {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for &cores in sets {
            let done = &done;
            scope.spawn(move || {
                run_on(cores);
                while !done.load(Ordering::Relaxed) {
                    spin_loop();
                }
            });
        }
        let result = run();
        done.store(true, Ordering::Relaxed);
        result
    })
}

/// What all threads of the process have used so far. Nothing, on other systems than Unix.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Usage {
    /// Of the processors, by the program and by the kernel for it.
    pub(super) time: Duration,
    /// How often a thread left its core, to wait or because another was to run.
    pub(super) switches: u64,
}

impl Usage {
    #[cfg(unix)]
    pub(super) fn now() -> Self {
        // SAFETY: all zeros is a valid value.
        let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
        // SAFETY: there is room for it.
        unsafe { libc::getrusage(libc::RUSAGE_SELF, &mut usage) };
        let duration = |time: libc::timeval| {
            Duration::new(time.tv_sec as u64, 0) + Duration::from_micros(time.tv_usec as u64)
        };
        Self {
            time: duration(usage.ru_utime) + duration(usage.ru_stime),
            switches: (usage.ru_nvcsw + usage.ru_nivcsw) as u64,
        }
    }

    #[cfg(not(unix))]
    pub(super) fn now() -> Self {
        Self::default()
    }

    pub(super) fn since(self, before: Self) -> Self {
        Self { time: self.time - before.time, switches: self.switches - before.switches }
    }
}

/// How long the calling thread has had a processor.
#[cfg(unix)]
pub(crate) fn thread_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: there is room for the time.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

#[cfg(not(unix))]
pub(crate) fn thread_time() -> Duration {
    Duration::ZERO
}
