//! What the test files share.
#![allow(dead_code, unused_imports, reason = "each test file uses its own part of it")]

#[cfg(target_os = "linux")]
mod barriers;
mod pin;

use std::sync::{Mutex, Once};
use std::time::Duration;

pub(crate) use pin::pin;

/// Ends the process, loudly, if it still runs long after it should have ended: a hang is a failure,
/// not a stuck run.
pub(crate) fn watch() {
    static STARTED: Once = Once::new();
    STARTED.call_once(|| {
        let limit = Duration::from_secs(if cfg!(miri) { 3000 } else { 120 }) + stress_time();
        std::thread::spawn(move || {
            std::thread::sleep(limit);
            eprintln!("watchdog: still running after {limit:?}");
            std::process::abort();
        });
    });
}

/// How long the stress tests run. If the variable is not set, each does one short round.
pub(crate) fn stress_time() -> Duration {
    let seconds = std::env::var("BYWASH_STRESS_SECONDS").ok();
    Duration::from_secs(
        seconds.map_or(0, |s| s.parse().expect("BYWASH_STRESS_SECONDS is a number of seconds")),
    )
}

/// Gives other threads time to go to sleep in their waiting calls. What a test checks holds either
/// way, but only after this is it likely to check sleeping threads.
pub(crate) fn settle() {
    std::thread::sleep(Duration::from_millis(30));
}

/// Tells when a thread sleeps, without a guess at how long that takes.
#[derive(Clone, Default)]
pub(crate) struct SleepWatch(std::sync::Arc<std::sync::atomic::AtomicI32>);

impl SleepWatch {
    /// Names the calling thread, which is about to do what may sleep.
    pub(crate) fn begin(&self) {
        #[cfg(target_os = "linux")]
        {
            barriers::register();
            // SAFETY: it has no preconditions.
            self.0.store(unsafe { libc::gettid() }, std::sync::atomic::Ordering::SeqCst);
        }
    }

    /// Forgets the thread of the last `begin`.
    pub(crate) fn reset(&self) {
        self.0.store(0, std::sync::atomic::Ordering::SeqCst);
    }

    /// Waits until the thread has begun, and sleeps or has ended.
    pub(crate) fn wait(&self) {
        if cfg!(any(not(target_os = "linux"), bywash_portable)) {
            return settle();
        }
        #[cfg(target_os = "linux")]
        {
            // More than once, as the first sleep of a push is a nap.
            let mut sleeps = 0;
            while sleeps < 3 {
                sleeps = if self.is_asleep() { sleeps + 1 } else { 0 };
                std::thread::sleep(Duration::from_millis(4));
            }
        }
    }

    /// Waits until the thread sleeps and has set no end to that.
    #[cfg(target_os = "linux")]
    pub(crate) fn wait_until_unbounded(&self) {
        let is_unbounded = || {
            let call = self.read("syscall").unwrap_or_default();
            self.is_asleep() && call.split(' ').nth(4) == Some("0x0")
        };
        while !is_unbounded() {
            std::thread::yield_now();
        }
    }

    /// How often the thread, which sleeps, has gone to sleep.
    #[cfg(target_os = "linux")]
    pub(crate) fn sleeps(&self) -> u64 {
        let status = self.read("status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        line.unwrap().trim().parse().unwrap()
    }

    /// What the system says of the thread.
    #[cfg(target_os = "linux")]
    fn read(&self, file: &str) -> std::io::Result<String> {
        let thread = self.0.load(std::sync::atomic::Ordering::SeqCst);
        std::fs::read_to_string(format!("/proc/self/task/{thread}/{file}"))
    }

    #[cfg(target_os = "linux")]
    fn is_asleep(&self) -> bool {
        let thread = self.0.load(std::sync::atomic::Ordering::SeqCst);
        let call = self.read("syscall");
        // The other is that of x86-64, where qemu runs what was built for other processors.
        let futex = [libc::SYS_futex, 202].map(|number| number.to_string());
        let is_futex =
            |call: String| call.split(' ').next().is_some_and(|n| futex.contains(&n.into()));
        thread != 0 && call.map_or(true, is_futex)
    }
}

/// A queue of 1 that is full, and has no bypass.
#[cfg(feature = "std")]
pub(crate) fn full() -> (bywash::Producer<u32>, bywash::Consumer<u32>) {
    watch();
    let (producer, consumer) = bywash::Builder::new(1).bypass(0).build();
    producer.try_push(0).unwrap();
    (producer, consumer)
}

/// States why a call for a listener has failed, how many items were left, and all that the error
/// says about it.
#[cfg(all(feature = "std", not(bywash_loom)))]
#[track_caller]
pub(crate) fn assert_left(
    result: Result<(), bywash::ListenerError>,
    kind: bywash::ListenerErrorKind,
    left: usize,
) {
    use bywash::ListenerErrorKind::{Closed, Forked, Timeout, WouldDeadlock};
    let error = result.unwrap_err();
    assert_eq!((error.kind(), error.left()), (kind, left));
    let predicates =
        [error.is_timeout(), error.is_would_deadlock(), error.is_closed(), error.is_forked()];
    assert_eq!(predicates, [Timeout, WouldDeadlock, Closed, Forked].map(|each| each == kind));
    assert!(!error.is_unflushed());
    let why = match kind {
        Timeout => "timed out",
        WouldDeadlock => "cannot wait on the listener's own thread,",
        Closed => "gave up after a panic",
        Forked => "the listener's thread is not in this process,",
        _ => panic!("{error}"),
    };
    let items = if left == 1 { "1 item".into() } else { format!("{left} items") };
    assert_eq!(error.to_string(), format!("{why} with {items} left"));
}

/// Counts how often each item was dropped.
#[derive(Debug, Default)]
pub(crate) struct Tally(Mutex<Vec<usize>>);

impl Tally {
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    /// A new item.
    pub(crate) fn item(&self) -> Tracked<'_> {
        let mut drops = self.0.lock().unwrap();
        drops.push(0);
        Tracked { id: drops.len() - 1, tally: self }
    }

    /// How many items have been dropped.
    pub(crate) fn dropped(&self) -> usize {
        self.0.lock().unwrap().iter().sum()
    }

    /// Checks that there were `count` items, and that each has been dropped once.
    #[track_caller]
    pub(crate) fn assert_each_dropped_once(&self, count: usize) {
        assert_eq!(*self.0.lock().unwrap(), vec![1; count], "how often each item was dropped");
    }
}

/// An item that counts its drop in its [`Tally`].
#[derive(Debug)]
pub(crate) struct Tracked<'a> {
    pub(crate) id: usize,
    tally: &'a Tally,
}

impl Drop for Tracked<'_> {
    fn drop(&mut self) {
        self.tally.0.lock().unwrap()[self.id] += 1;
    }
}
