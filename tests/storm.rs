//! Storms of real signals, thousands a second on every thread, whose handlers push. Allocator and
//! panic hooks push, too, and the process forks in the middle. Runs on Linux, and is skipped
//! elsewhere.
//!
//! Each storm lasts two seconds, or as many as the variable `BYWASH_STORM_SECONDS` says.

#[cfg(all(feature = "std", not(bywash_loom), target_os = "linux"))]
#[allow(dead_code, reason = "other tests use the rest")]
#[path = "support/stepping/mod.rs"]
mod support;

#[cfg(not(all(feature = "std", not(bywash_loom), target_os = "linux")))]
fn main() {
    println!("skipped: it takes Linux, and blocking");
}

#[cfg(all(feature = "std", not(bywash_loom), target_os = "linux"))]
fn main() {
    storm::run();
}

#[cfg(all(feature = "std", not(bywash_loom), target_os = "linux"))]
mod storm {
    use std::alloc::{GlobalAlloc, Layout, System};
    use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
    use std::sync::mpsc::{self, RecvTimeoutError};
    use std::time::{Duration, Instant};
    use std::{iter, panic, thread};

    use bywash::{Builder, Consumer, Producer};

    use super::support::cases;
    use super::support::child::{self, Ending, in_child};
    use super::support::filters::{Rule, When, filter};
    use super::support::ledger::{self, Item, Kind, Reader};
    use super::support::pin::pin;
    use super::support::signals::{Timer, errno, handle, set_errno, use_small_stack};
    use super::support::sleeper::Sleeper;

    const BYPASS: usize = 4;

    /// The payload of the panics that run the hook.
    struct OnPurpose;

    pub(crate) fn run() {
        let hook = panic::take_hook();
        panic::set_hook(Box::new(move |info| match info.payload().is::<OnPurpose>() {
            true => ledger::push(Kind::PanicHook),
            false => hook(info),
        }));
        cases::run(&[
            ("a_storm_at_capacity_1", || storm(&STORM, 1)),
            ("a_storm_at_capacity_2", || storm(&STORM, 2)),
            ("a_storm_at_capacity_64", || storm(&STORM, 64)),
            ("a_storm_on_threads_that_are_not_pinned", || {
                storm(&Storm { pinned: false, ..STORM }, 2)
            }),
            ("a_storm_with_hooks_that_push_at_capacity_1", || storm(&HOOKS, 1)),
            ("a_storm_with_hooks_that_push_at_capacity_64", || storm(&HOOKS, 64)),
            ("forks_while_producers_push", forks_while_producers_push),
            (
                "try_push_makes_no_system_call_but_to_wake",
                try_push_makes_no_system_call_but_to_wake,
            ),
        ]);
    }

    // --- what runs in handlers and hooks ---

    /// Handlers set `errno` to this, to check that a push leaves it alone.
    const MARK: i32 = 77;

    static SIGNALS: AtomicU64 = AtomicU64::new(0);
    static HOOKED: AtomicBool = AtomicBool::new(false);

    /// Two signals have this handler, so that one can interrupt the handler of the other.
    extern "C" fn on_signal(_: libc::c_int) {
        let before = errno();
        set_errno(MARK);
        ledger::in_handler(|kind| (0..4).for_each(|_| ledger::push(kind)));
        SIGNALS.fetch_add(1, Ordering::Relaxed);
        if errno() != MARK {
            die("errno was changed by a push\n");
        }
        set_errno(before);
    }

    /// Ends the process, from anywhere.
    fn die(why: &str) -> ! {
        // SAFETY: the address is valid.
        unsafe { libc::write(2, why.as_ptr().cast(), why.len()) };
        std::process::abort()
    }

    /// Aborts when a handler allocates or frees. If hooked, it pushes at every allocation and
    /// release.
    struct Allocator;

    impl Allocator {
        fn hook() {
            if ledger::is_in_handler() {
                die("a handler called the allocator\n");
            }
            if HOOKED.load(Ordering::Relaxed) {
                ledger::push(Kind::Allocator);
            }
        }
    }

    // SAFETY: the system's allocator does the work; the hook neither allocates nor unwinds.
    unsafe impl GlobalAlloc for Allocator {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            Self::hook();
            // SAFETY: the caller guarantees it.
            unsafe { System.alloc(layout) }
        }

        unsafe fn dealloc(&self, address: *mut u8, layout: Layout) {
            Self::hook();
            // SAFETY: the caller guarantees it.
            unsafe { System.dealloc(address, layout) }
        }
    }

    #[global_allocator]
    static ALLOCATOR: Allocator = Allocator;

    // --- the storm ---

    struct Storm {
        pinned: bool,
        hooks: bool,
    }

    const STORM: Storm = Storm { pinned: true, hooks: false };
    const HOOKS: Storm = Storm { pinned: true, hooks: true };

    static OVER: AtomicBool = AtomicBool::new(false);

    /// The system's numbers of the threads that get signals.
    static TARGETS: [AtomicI32; ledger::THREADS] = [const { AtomicI32::new(0) }; ledger::THREADS];

    fn duration() -> Duration {
        let seconds =
            std::env::var("BYWASH_STORM_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
        Duration::from_secs_f64(seconds.unwrap_or(2.0))
    }

    fn is_over() -> bool {
        OVER.load(Ordering::Relaxed)
    }

    /// Every thread pushes, and gets signals from a timer of its own and from another thread. In
    /// the end, the items popped are those accepted.
    fn storm(storm: &Storm, capacity: usize) {
        let _watchdog = Watchdog::new();
        handle(libc::SIGUSR1, on_signal);
        handle(libc::SIGUSR2, on_signal);
        SIGNALS.store(0, Ordering::Relaxed);
        OVER.store(false, Ordering::Relaxed);
        let (producer, consumer) = Builder::new(capacity).bypass(BYPASS).build();
        // Handlers and hooks use it, and may run until the last thread is gone.
        ledger::open(producer.clone());
        HOOKED.store(storm.hooks, Ordering::SeqCst);
        let (mut consumer, mut reader) = thread::scope(|scope| {
            let reader = scope.spawn(|| storm.on_thread(0, || consume(&producer, consumer)));
            let others = [
                scope.spawn(|| storm.on_thread(1, || produce(&producer))),
                scope.spawn(|| storm.on_thread(2, || produce(&producer))),
                scope.spawn(|| storm.on_thread(3, || produce_impatiently(&producer))),
                scope.spawn(|| storm.on_thread(4, sleep)),
            ];
            scope.spawn(|| storm.send_signals());
            thread::sleep(duration());
            OVER.store(true, Ordering::SeqCst);
            others.into_iter().for_each(|other| other.join().unwrap());
            producer.push(Item::last()).unwrap();
            reader.join().unwrap()
        });
        HOOKED.store(false, Ordering::SeqCst);
        consumer.try_iter().for_each(|item| reader.read(&item));
        println!("  {} signals; {}", SIGNALS.load(Ordering::Relaxed), reader.summary());
        reader.check(0);
        ledger::close();
    }

    impl Storm {
        /// Runs `body` on this thread, in the storm.
        fn on_thread<R>(&self, number: usize, body: impl FnOnce() -> R) -> R {
            if self.pinned {
                pin(number);
            }
            // One handler may interrupt the other.
            use_small_stack(2, 4096);
            ledger::enter(number);
            // SAFETY: it has no preconditions.
            TARGETS[number].store(unsafe { libc::gettid() }, Ordering::SeqCst);
            let _timer = Timer::on_this_thread(libc::SIGUSR2, Duration::from_micros(200));
            body()
        }

        fn send_signals(&self) {
            if self.pinned {
                pin(ledger::THREADS);
            }
            // SAFETY: it has no preconditions.
            let process = unsafe { libc::getpid() };
            while !is_over() {
                for target in &TARGETS {
                    // No thread has number 0, and a thread that has ended is not found.
                    // SAFETY: it takes no addresses.
                    unsafe {
                        libc::syscall(
                            libc::SYS_tgkill,
                            process,
                            target.load(Ordering::Relaxed),
                            libc::SIGUSR1,
                        )
                    };
                    thread::sleep(Duration::from_micros(1));
                }
            }
        }
    }

    fn consume(
        producer: &Producer<Item>,
        mut consumer: Consumer<Item>,
    ) -> (Consumer<Item>, Reader) {
        let mut reader = Reader::default();
        for round in 0_u64.. {
            let item = match round % 4 {
                0 => consumer.try_pop().ok(),
                1 => consumer.pop_timeout(Duration::from_micros(300)).ok(),
                _ => consumer.pop().ok(),
            };
            match item {
                Some(item) if item.is_last() => break,
                Some(item) => reader.read(&item),
                None => {}
            }
            PROGRESS.fetch_add(1, Ordering::Relaxed);
            // On this thread a push never waits.
            if round % 16 == 0 {
                ledger::push_by(Kind::Thread, |item| producer.push(item).is_ok());
            }
            live_a_little(round);
        }
        (consumer, reader)
    }

    fn produce(producer: &Producer<Item>) {
        for round in 0_u64.. {
            if is_over() {
                break;
            }
            ledger::push_by(Kind::Thread, |item| producer.push(item).is_ok());
            live_a_little(round);
        }
    }

    fn produce_impatiently(producer: &Producer<Item>) {
        for round in 0_u64.. {
            if is_over() {
                break;
            }
            let patience = Duration::from_micros(round % 300);
            ledger::push_by(Kind::Thread, |item| producer.push_timeout(item, patience).is_ok());
            live_a_little(round);
        }
    }

    fn sleep() {
        while !is_over() {
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Lets the others fill the queue, or empty it; then allocates, and panics.
    fn live_a_little(round: u64) {
        if round % 512 == 0 {
            thread::sleep(Duration::from_micros(300));
        }
        if HOOKED.load(Ordering::Relaxed) && round % 32 == 0 {
            drop(std::hint::black_box(Box::new(round)));
        }
        if HOOKED.load(Ordering::Relaxed) && round % 256 == 0 {
            panic::catch_unwind(|| panic::panic_any(OnPurpose)).unwrap_err();
        }
    }

    /// Ends the process when nothing was popped for half a minute.
    struct Watchdog {
        _until_dropped: mpsc::Sender<()>,
    }

    static PROGRESS: AtomicU64 = AtomicU64::new(0);

    impl Watchdog {
        fn new() -> Self {
            let (sender, receiver) = mpsc::channel();
            thread::spawn(move || {
                let mut before = None;
                while receiver.recv_timeout(Duration::from_secs(30))
                    == Err(RecvTimeoutError::Timeout)
                {
                    let now = Some(PROGRESS.load(Ordering::Relaxed));
                    if now == before {
                        ledger::print_state();
                        die("nothing has been popped for 30 s\n");
                    }
                    before = now;
                }
            });
            Self { _until_dropped: sender }
        }
    }

    // --- forks ---

    /// The child has the queue as it was at the fork, and the producers' threads are gone in the
    /// middle of their calls.
    fn forks_while_producers_push() {
        let _watchdog = Watchdog::new();
        OVER.store(false, Ordering::Relaxed);
        let (producer, mut consumer) = Builder::new(8).bypass(BYPASS).build();
        ledger::open(producer.clone());
        let (mut reader, mut forks) = (Reader::default(), 0);
        thread::scope(|scope| {
            let producers = [1, 2].map(|number| {
                let producer = &producer;
                scope.spawn(move || {
                    ledger::enter(number);
                    pin(number);
                    produce(producer);
                })
            });
            let start = Instant::now();
            while start.elapsed() < duration() {
                (0..97).for_each(|_| reader.read(&consumer.pop().unwrap()));
                PROGRESS.fetch_add(1, Ordering::Relaxed);
                assert_eq!(
                    in_child(|| use_the_copy(&producer, &mut consumer, reader.clone())),
                    Ending::Exit(0)
                );
                forks += 1;
            }
            OVER.store(true, Ordering::SeqCst);
            while producers.iter().any(|producer| !producer.is_finished()) {
                consumer.try_iter().for_each(|item| reader.read(&item));
            }
        });
        consumer.try_iter().for_each(|item| reader.read(&item));
        println!("  {forks} forks; {}", reader.summary());
        reader.check(0);
        ledger::close();
    }

    /// In the child: all accepted items are there, in order, and neither end hangs. A push that the
    /// fork interrupted is never finished.
    fn use_the_copy(
        producer: &Producer<Item>,
        consumer: &mut Consumer<Item>,
        mut reader: Reader,
    ) -> i32 {
        consumer.try_iter().for_each(|item| reader.read(&item));
        // The last push of a thread may have ended without being counted yet.
        reader.check(1);
        for _ in 0..3 {
            let room = producer.capacity() - producer.len() + BYPASS - producer.bypass_len();
            let pushed = iter::from_fn(|| producer.try_push(Item::last()).ok()).count();
            assert_eq!(pushed, room);
            assert!(producer.push(Item::last()).unwrap_err().is_would_deadlock());
            assert_eq!(consumer.try_iter().count(), pushed);
        }
        assert!(consumer.pop_timeout(Duration::from_millis(1)).unwrap_err().is_timeout());
        0
    }

    // --- system calls ---

    /// From here on this thread may exit, and if `may_wake` is true, wake others. Any other system
    /// call ends the process.
    fn forbid_system_calls(may_wake: bool) {
        let wake = (libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG) as u32;
        let exit = Rule { call: libc::SYS_exit_group, when: When::Always };
        let wakes = Rule { call: libc::SYS_futex, when: When::Equals(1, wake) };
        let (allow, kill) = (libc::SECCOMP_RET_ALLOW, libc::SECCOMP_RET_KILL_PROCESS);
        filter(&[exit, wakes][..if may_wake { 2 } else { 1 }], allow, kill, 0);
    }

    fn try_push_makes_no_system_call_but_to_wake() {
        let elsewhere = in_child(|| {
            let (producer, _consumer) = Builder::new(2).bypass(1).build();
            forbid_system_calls(false);
            (0..2).for_each(|item| producer.try_push(item).unwrap());
            assert!(producer.try_push(2).unwrap_err().is_full());
            child::exit(0)
        });
        assert_eq!(elsewhere, Ending::Exit(0));
        let closed = in_child(|| {
            let (producer, _) = Builder::new(2).build();
            forbid_system_calls(false);
            assert!(producer.try_push(0).unwrap_err().is_closed());
            child::exit(0)
        });
        assert_eq!(closed, Ending::Exit(0));
        let on_the_consumers_thread = in_child(|| {
            let (producer, mut consumer) = Builder::new(2).bypass(1).build();
            consumer.bind();
            forbid_system_calls(false);
            (0..3).for_each(|item| producer.try_push(item).unwrap());
            assert!(producer.try_push(3).unwrap_err().is_full());
            child::exit(0)
        });
        assert_eq!(on_the_consumers_thread, Ending::Exit(0));
        assert_eq!(in_child(|| wake_under_a_filter(true)), Ending::Exit(0));
        // Shows that the filter works.
        let without =
            if cfg!(bywash_portable) { Ending::Exit(0) } else { Ending::Crash(libc::SIGSYS) };
        assert_eq!(in_child(|| wake_under_a_filter(false)), without);
    }

    fn wake_under_a_filter(may_wake: bool) -> ! {
        static POPPED: AtomicBool = AtomicBool::new(false);
        let (producer, mut consumer) = Builder::new(2).build();
        let sleeper = Sleeper::spawn(move || {
            consumer.pop().unwrap();
            POPPED.store(true, Ordering::SeqCst);
            thread::park();
        });
        sleeper.wait_until_asleep();
        forbid_system_calls(may_wake);
        producer.try_push(1).unwrap();
        while !POPPED.load(Ordering::SeqCst) {
            std::hint::spin_loop();
        }
        child::exit(0)
    }
}
