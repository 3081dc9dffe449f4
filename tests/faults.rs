//! Faults of the system, and what a queue makes of them: threads and processes that are stopped, a
//! full disk, a closed pipe, no more threads or descriptors, a sandbox that forbids what waiting
//! needs, a clock that jumps, a small stack, a thousand threads, and a queue that is filled and
//! drained for long. `README.md` in this folder has the table. Runs on Linux, and is skipped
//! elsewhere.
//!
//! Each scene is a process of its own: this program runs itself, with the scene's name in a
//! variable. A scene fails if it panics, crashes or hangs.
//!
//! Scenes without a natural end last two seconds, or as many as `BYWASH_FAULTS_SECONDS` says.

#[cfg(all(feature = "std", not(any(bywash_loom, bywash_portable)), target_os = "linux"))]
#[allow(dead_code, reason = "other tests use the rest")]
#[path = "support/stepping/mod.rs"]
mod support;

#[cfg(not(all(feature = "std", not(any(bywash_loom, bywash_portable)), target_os = "linux")))]
fn main() {
    println!("skipped: it takes Linux, and blocking");
}

#[cfg(all(feature = "std", not(any(bywash_loom, bywash_portable)), target_os = "linux"))]
fn main() {
    faults::run();
}

#[cfg(all(feature = "std", not(any(bywash_loom, bywash_portable)), target_os = "linux"))]
mod faults {
    use std::any::Any;
    use std::cell::Cell;
    use std::fs::{self, File, OpenOptions};
    use std::io::{self, Write};
    use std::ops::ControlFlow;
    use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
    use std::process::Command;
    use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, AtomicUsize, Ordering::SeqCst};
    use std::sync::{Arc, Barrier};
    use std::time::{Duration, Instant};
    use std::{env, mem, panic, ptr, thread};

    use bywash::{Builder, Consumer, Handler, Listener, Producer, PushError, bounded};

    use super::support::child;
    use super::support::filters::{Rule, When, filter};
    use super::support::ledger::{self, Item, Kind, Reader};
    use super::support::pin::pin;
    use super::support::resident::resident_pages;
    use super::support::signals::{Timer, errno, handle, set_errno, use_small_stack};

    const SCENES: &[(&str, fn())] = &[
        ("a_process_that_is_stopped_and_continued_loses_nothing", stopped_process),
        ("threads_that_are_held_anywhere_delay_and_lose_nothing", held_threads),
        ("a_listener_outlives_a_full_disk", full_disk),
        ("a_listener_gives_up_a_closed_pipe_and_nobody_waits_for_it", closed_pipe),
        ("without_a_thread_no_listener_begins_and_nothing_waits_for_it", no_more_threads),
        #[cfg(feature = "eventfd")]
        ("without_descriptors_a_consumer_goes_on_and_asks_again", no_more_descriptors),
        ("without_membarrier_nothing_is_lost_and_each_wait_ends", || sandbox(MEMBARRIER)),
        ("without_futex_nothing_is_lost_and_waits_are_naps", || sandbox(FUTEX)),
        ("without_both_nothing_is_lost_and_waits_are_naps", || sandbox(FUTEX_AND_MEMBARRIER)),
        ("a_long_wait_naps_for_some_time_and_then_sleeps", registration),
        // With 32 bits the standard library has another clock.
        #[cfg(target_pointer_width = "64")]
        ("no_wait_looks_at_a_clock_that_can_be_set", jumping_clock),
        ("a_stack_of_16_kib_is_enough_for_a_handler", small_stack),
        ("a_thousand_threads_wait_for_room_and_each_gets_it", many_threads),
        ("a_queue_that_is_filled_and_drained_takes_no_more_memory", flat_memory),
    ];

    /// Which scene this process is to run.
    const SCENE: &str = "BYWASH_FAULTS_SCENE";

    pub(crate) fn run() {
        if let Ok(name) = env::var(SCENE) {
            end_at_panics();
            let (_, scene) = SCENES.iter().find(|(other, _)| *other == name).unwrap();
            return scene();
        }
        let filter = env::args().skip(1).find(|argument| !argument.starts_with('-'));
        let filter = filter.unwrap_or_default();
        for (name, _) in SCENES.iter().filter(|(name, _)| name.contains(&filter)) {
            println!("test {name} ...");
            in_process(name);
            println!("test {name} ... ok");
        }
    }

    /// Other threads may wait for the one that has failed.
    fn end_at_panics() {
        let hook = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !info.payload().is::<SinkFailed>() {
                hook(info);
                std::process::abort();
            }
        }));
    }

    fn in_process(name: &str) {
        let program = env::current_exe().unwrap();
        let mut child = Command::new(program).env(SCENE, name).spawn().unwrap();
        let (begin, limit) = (Instant::now(), Duration::from_secs(100) + duration());
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                assert!(status.success(), "{name}: {status}");
                return;
            }
            if begin.elapsed() > limit {
                child.kill().unwrap();
                panic!("{name} hangs");
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn duration() -> Duration {
        let seconds = env::var("BYWASH_FAULTS_SECONDS").ok();
        Duration::from_secs_f64(seconds.map_or(2.0, |text| text.parse().unwrap()))
    }

    /// Longer than anything takes that does not hang.
    const LONG: Duration = Duration::from_secs(60);

    fn wait_until(is_so: impl Fn() -> bool) {
        while !is_so() {
            thread::sleep(Duration::from_micros(100));
        }
    }

    // --- stopped threads and processes ---

    /// The system's numbers of the threads of a storm.
    static THREADS: [AtomicI32; 4] = [const { AtomicI32::new(0) }; 4];
    static OVER: AtomicBool = AtomicBool::new(false);
    static HELD: AtomicU64 = AtomicU64::new(0);

    extern "C" fn on_signal(_: libc::c_int) {
        ledger::in_handler(|kind| (0..2).for_each(|_| ledger::push(kind)));
    }

    /// Stops the thread that it interrupts for a while, wherever that is: other threads find what
    /// it was in the middle of.
    extern "C" fn on_hold(_: libc::c_int) {
        let held = HELD.fetch_add(1, SeqCst);
        sleep_in_handler(Duration::from_micros(100 << (held % 6)));
    }

    fn sleep_in_handler(time: Duration) {
        let time = libc::timespec { tv_sec: 0, tv_nsec: time.as_nanos() as libc::c_long };
        // SAFETY: the address is valid, and the null one asks for nothing.
        unsafe { libc::clock_nanosleep(libc::CLOCK_MONOTONIC, 0, &time, ptr::null_mut()) };
    }

    /// Threads push and pop, in a storm of signals whose handlers push, while `disturb` runs. In
    /// the end, the items popped are those accepted, each source's in order.
    fn storm(disturb: impl FnOnce()) {
        handle(libc::SIGUSR1, on_signal);
        handle(libc::SIGUSR2, on_hold);
        let (producer, consumer) = Builder::new(8).bypass(4).build();
        ledger::open(producer.clone());
        let (mut consumer, mut reader) = thread::scope(|scope| {
            let reader = scope.spawn(|| in_storm(0, || consume(consumer)));
            let producers = [1, 2, 3].map(|number| {
                let producer = &producer;
                scope.spawn(move || in_storm(number, || produce(producer, number == 3)))
            });
            disturb();
            OVER.store(true, SeqCst);
            producers.into_iter().for_each(|producer| producer.join().unwrap());
            producer.push(Item::last()).unwrap();
            reader.join().unwrap()
        });
        consumer.try_iter().for_each(|item| reader.read(&item));
        println!("  {}", reader.summary());
        reader.check(0);
        ledger::close();
    }

    fn in_storm<R>(number: usize, body: impl FnOnce() -> R) -> R {
        pin(number);
        // One handler may interrupt the other.
        use_small_stack(2, 4096);
        ledger::enter(number);
        // SAFETY: it has no preconditions.
        THREADS[number].store(unsafe { libc::gettid() }, SeqCst);
        let _timer = Timer::on_this_thread(libc::SIGUSR1, Duration::from_micros(300));
        body()
    }

    fn consume(mut consumer: Consumer<Item>) -> (Consumer<Item>, Reader) {
        let mut reader = Reader::default();
        while let Ok(item) = consumer.pop() {
            if item.is_last() {
                break;
            }
            reader.read(&item);
        }
        (consumer, reader)
    }

    fn produce(producer: &Producer<Item>, impatient: bool) {
        let short = Duration::from_micros(150);
        while !OVER.load(SeqCst) {
            ledger::push_by(Kind::Thread, |item| match impatient {
                true => producer.push_timeout(item, short).is_ok(),
                false => producer.push(item).is_ok(),
            });
        }
    }

    /// Another process stops and continues this one.
    fn stopped_process() {
        let stops = child::shared::<AtomicU64>();
        // SAFETY: it has no preconditions.
        let storm_process = unsafe { libc::getpid() };
        let stopper = child::fork();
        if stopper == 0 {
            stop_and_continue(storm_process, stops);
        }
        storm(|| thread::sleep(duration()));
        // SAFETY: it is this process' child. This process runs, so it is not stopped.
        unsafe { libc::kill(stopper, libc::SIGKILL) };
        println!("  stopped {} times", stops.load(SeqCst));
        assert!(stops.load(SeqCst) >= 10);
    }

    /// Ends with its parent, or is killed by it.
    fn stop_and_continue(process: libc::pid_t, stops: &AtomicU64) -> ! {
        let stat = format!("/proc/{process}/stat");
        // SAFETY: it has no preconditions.
        let parent = || unsafe { libc::getppid() };
        while parent() == process {
            child::watch();
            let round = stops.load(SeqCst);
            thread::sleep(Duration::from_micros(500 << (round % 4)));
            // SAFETY: it was the parent just now.
            unsafe { libc::kill(process, libc::SIGSTOP) };
            let is_stopped = || {
                let state = fs::read_to_string(&stat).unwrap_or_default();
                state.rsplit(") ").next().unwrap().starts_with('T')
            };
            wait_until(is_stopped);
            thread::sleep(Duration::from_micros(500 << (round % 5)));
            stops.fetch_add(1, SeqCst);
            // SAFETY: as above.
            unsafe { libc::kill(process, libc::SIGCONT) };
        }
        child::exit(0)
    }

    /// SIGSTOP stops all threads of a process, also if it is sent to one. So here a handler that
    /// sleeps holds a single thread, at any instruction of a push or pop, or in the middle of its
    /// sleep.
    fn held_threads() {
        // SAFETY: it has no preconditions.
        let process = unsafe { libc::getpid() };
        storm(|| {
            let begin = Instant::now();
            for round in 0.. {
                if begin.elapsed() > duration() {
                    break;
                }
                let thread = THREADS[round % THREADS.len()].load(SeqCst);
                if thread != 0 {
                    // It has not ended, as producers end after this, and the consumer after them.
                    // SAFETY: it takes no addresses.
                    unsafe { libc::syscall(libc::SYS_tgkill, process, thread, libc::SIGUSR2) };
                }
                thread::sleep(Duration::from_micros(500));
            }
        });
        println!("  held {} times", HELD.load(SeqCst));
        assert!(HELD.load(SeqCst) >= 10);
    }

    // --- sinks that fail ---

    /// The payload of the panics that belong to a scene.
    struct SinkFailed(io::ErrorKind);

    /// Marks what a handler reports to its own queue.
    const REPORT: u64 = 1 << 63;

    /// The handler reports each failure to its own queue and panics. The listener goes on, and
    /// writes again when there is room on the disk.
    fn full_disk() {
        const LINES: u64 = 10_000;
        let mut disk = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let descriptor = disk.as_raw_fd();
        let (producer, consumer) = bounded(4);
        let own = producer.clone();
        let handled = Arc::new(AtomicU64::new(0));
        let count = handled.clone();
        let listener = Listener::spawn("disk", consumer, move |line: u64| {
            count.fetch_add(1, SeqCst);
            if let Err(error) = disk.write_all(format!("{line}\n").as_bytes()) {
                if line & REPORT == 0 {
                    own.push(line | REPORT).unwrap();
                }
                panic::panic_any(SinkFailed(error.kind()));
            }
        })
        .unwrap();
        (0..LINES).for_each(|line| producer.push(line).unwrap());
        listener.flush(LONG).unwrap();
        // Each report is a line that fails, too. A flush waits for what the handler pushed before
        // it, so not for the last ones.
        listener.flush(LONG).unwrap();
        assert_eq!((listener.panics(), handled.load(SeqCst)), (2 * LINES, 2 * LINES));
        let path = env::temp_dir().join(format!("bywash-faults-{}.log", std::process::id()));
        let room = File::create(&path).unwrap();
        // SAFETY: both are open. From here on what is written goes to the file.
        assert!(unsafe { libc::dup2(room.as_raw_fd(), descriptor) } >= 0);
        (LINES..2 * LINES).for_each(|line| producer.push(line).unwrap());
        listener.stop(LONG).unwrap();
        assert_eq!((listener.panics(), handled.load(SeqCst)), (2 * LINES, 3 * LINES));
        let log = fs::read_to_string(&path).unwrap();
        fs::remove_file(path).unwrap();
        assert!(log.lines().map(|line| line.parse::<u64>().unwrap()).eq(LINES..2 * LINES));
    }

    /// Writes to a pipe, and gives up when that fails.
    struct PipeLog {
        pipe: File,
        handled: Arc<AtomicUsize>,
    }

    impl Handler<[u8; 1024]> for PipeLog {
        fn handle(&mut self, line: [u8; 1024]) {
            self.handled.fetch_add(1, SeqCst);
            if let Err(error) = self.pipe.write_all(&line) {
                panic::panic_any(SinkFailed(error.kind()));
            }
        }

        fn on_panic(&mut self, payload: Box<dyn Any + Send>) -> ControlFlow<()> {
            let SinkFailed(kind) = *payload.downcast().unwrap();
            assert_eq!(kind, io::ErrorKind::BrokenPipe);
            ControlFlow::Break(())
        }
    }

    fn pipe() -> (OwnedFd, File) {
        let mut ends = [-1; 2];
        // SAFETY: there are two.
        assert_eq!(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) }, 0);
        // SAFETY: it was just opened.
        let reads = unsafe { OwnedFd::from_raw_fd(ends[0]) };
        // SAFETY: as above.
        (reads, unsafe { File::from_raw_fd(ends[1]) })
    }

    /// First nobody reads, so that the handler is stuck in a write and a push waits for room. Then
    /// the other end is closed.
    fn closed_pipe() {
        for is_stopped_first in [false, true] {
            let (reads, pipe) = pipe();
            let handled = Arc::new(AtomicUsize::new(0));
            let (producer, consumer) = bounded(4);
            let log = PipeLog { pipe, handled: handled.clone() };
            let listener = Listener::builder().spawn(consumer, log).unwrap();
            let pushing = thread::spawn(move || {
                let accepted = (0..).take_while(|_| producer.push([1; 1024]).is_ok()).count();
                assert_eq!(producer.push([2; 1024]), Err(PushError::Closed([2; 1024])));
                accepted
            });
            // A pipe has room for some.
            let (mut before, mut looks) = (0, 0);
            while looks < 20 {
                thread::sleep(Duration::from_millis(2));
                let now = handled.load(SeqCst);
                looks = if now == before && listener.len() == 4 { looks + 1 } else { 0 };
                before = now;
            }
            if is_stopped_first {
                let error = listener.stop(Duration::from_millis(20)).unwrap_err();
                assert!(error.is_timeout() && matches!(error.left(), 5 | 6), "{error}");
            }
            drop(reads);
            let accepted = pushing.join().unwrap();
            let error = listener.stop(LONG).unwrap_err();
            assert!(error.is_closed());
            // One push may have been in the middle: what the consumer has left is dropped by it.
            let unhandled = accepted - handled.load(SeqCst);
            assert!((error.left()..=error.left() + 1).contains(&unhandled), "{error}, {unhandled}");
        }
    }

    // --- limits ---

    /// Sets the limit that a process may raise again, and returns what it was. (The number is of
    /// another type with musl.)
    fn set_limit(resource: libc::c_uint, soft: libc::rlim_t) -> libc::rlim_t {
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: the address is valid.
        assert_eq!(unsafe { libc::getrlimit(resource as _, &mut limit) }, 0);
        let before = mem::replace(&mut limit.rlim_cur, soft);
        // SAFETY: the address is valid.
        assert_eq!(unsafe { libc::setrlimit(resource as _, &limit) }, 0);
        before
    }

    /// Counts how many of it are dropped.
    struct Counted(&'static AtomicUsize);

    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.fetch_add(1, SeqCst);
        }
    }

    fn no_more_threads() {
        static DROPPED: AtomicUsize = AtomicUsize::new(0);
        // The limit is not for root.
        const NOBODY: libc::uid_t = 65534;
        // SAFETY: it has no preconditions.
        if unsafe { libc::getuid() } == 0 {
            // SAFETY: this process has one thread.
            assert_eq!(unsafe { libc::setuid(NOBODY) }, 0);
        }
        let before = set_limit(libc::RLIMIT_NPROC as _, 0);
        let (producer, consumer) = bounded(4);
        producer.push(Counted(&DROPPED)).ok().unwrap();
        let held = Counted(&DROPPED);
        let handler = move |_: Counted| _ = &held;
        let error = Listener::spawn("none", consumer, handler).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EAGAIN));
        println!("  {error}");
        // The item and the handler.
        assert_eq!(DROPPED.load(SeqCst), 2);
        assert!(producer.push(Counted(&DROPPED)).unwrap_err().is_closed());
        // Nor does what is on this thread need another.
        let (producer, mut consumer) = Builder::new(1).bypass(1).build();
        consumer.bind();
        assert_eq!((producer.push(1), producer.push(2)), (Ok(()), Ok(())));
        assert_eq!(producer.push(3), Err(PushError::WouldDeadlock(3)));
        assert!(consumer.try_iter().eq([1, 2]));
        set_limit(libc::RLIMIT_NPROC as _, before);
        let listener = Listener::spawn("one", consumer, |_| {}).unwrap();
        producer.push(4).unwrap();
        listener.stop(LONG).unwrap();
    }

    #[cfg(feature = "eventfd")]
    fn no_more_descriptors() {
        let (producer, mut consumer) = bounded(4);
        producer.push(1).unwrap();
        let lowest_free = File::open("/dev/null").unwrap().as_raw_fd() as libc::rlim_t;
        let before = set_limit(libc::RLIMIT_NOFILE as _, lowest_free);
        // No event descriptor; then one, and none left for the caller.
        for more in [0, 1] {
            set_limit(libc::RLIMIT_NOFILE as _, lowest_free + more);
            let error = consumer.event_fd().unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
            println!("  {error}");
            producer.push(2).unwrap();
            assert!(consumer.try_iter().count() > 0);
            // Where there is none, the consumer must not wait for it.
            assert_eq!(consumer.arm(), more == 1);
        }
        set_limit(libc::RLIMIT_NOFILE as _, before);
        let descriptor = consumer.event_fd().unwrap();
        assert!(consumer.arm());
        producer.push(3).unwrap();
        let mut entry =
            libc::pollfd { fd: descriptor.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: there is one entry.
        assert_eq!(unsafe { libc::poll(&mut entry, 1, -1) }, 1);
        assert!(consumer.try_iter().eq([3]));
    }

    // --- sandboxes ---

    const MEMBARRIER: &[Rule] = &[Rule { call: libc::SYS_membarrier, when: When::Always }];
    const FUTEX: &[Rule] = &[Rule { call: libc::SYS_futex, when: When::Always }];
    const FUTEX_AND_MEMBARRIER: &[Rule] = &[
        Rule { call: libc::SYS_membarrier, when: When::Always },
        Rule { call: libc::SYS_futex, when: When::Always },
    ];

    /// Threads wait for room and for items in a sandbox. They do not end in it, nor allocate at the
    /// same time: the C library ends a process in which it cannot wait for its own locks. The main
    /// thread is outside, and the process ends when it returns.
    fn sandbox(rules: &'static [Rule]) {
        const ITEMS: usize = 10_000;
        for errno in [libc::EPERM, libc::ENOSYS] {
            let (producer, consumer) = Builder::new(2).bypass(1).build();
            let inside = move |body: Box<dyn FnOnce() + Send>| {
                let ready = Arc::new(AtomicBool::new(false));
                let done = ready.clone();
                thread::spawn(move || {
                    filter(
                        rules,
                        libc::SECCOMP_RET_ERRNO | errno as u32,
                        libc::SECCOMP_RET_ALLOW,
                        0,
                    );
                    body();
                    done.store(true, SeqCst);
                    loop {
                        thread::sleep(LONG);
                    }
                });
                ready
            };
            let popped = inside(Box::new(move || pop_inside(consumer, 3 * ITEMS)));
            let pushed = [0, 1, 2].map(|source| {
                let producer = producer.clone();
                inside(Box::new(move || push_inside(&producer, source, ITEMS)))
            });
            wait_until(|| popped.load(SeqCst) && pushed.iter().all(|one| one.load(SeqCst)));
            let listened = inside(Box::new(listen_inside));
            wait_until(|| listened.load(SeqCst));
        }
    }

    type Numbered = (usize, usize);

    fn push_inside(producer: &Producer<Numbered>, source: usize, items: usize) {
        const MARK: i32 = 77;
        let push = |number| {
            set_errno(MARK);
            let tried = producer.try_push((source, number));
            assert_eq!(errno(), MARK, "a push that never waits has changed it");
            if let Err(error) = tried {
                producer.push(error.into_inner()).unwrap();
            }
            if number % 1000 == 999 {
                thread::sleep(Duration::from_millis(1));
            }
        };
        // There is room for two at most, until the consumer begins. Without a barrier, W3, or
        // without a futex, no sleep is longer than a nap.
        assert!(assert_mostly_asleep(|| (0..3).for_each(push)) >= 10);
        (3..items).for_each(push);
    }

    fn pop_inside(mut consumer: Consumer<Numbered>, items: usize) {
        consumer.bind();
        thread::sleep(Duration::from_millis(300));
        let mut next = [0; 3];
        for count in 0..items {
            let (source, number) = consumer.pop().unwrap();
            assert_eq!(number, next[source], "of {source}");
            next[source] += 1;
            if count % 1000 == 999 {
                thread::sleep(Duration::from_millis(1));
            }
        }
        let wait = Duration::from_millis(300);
        assert_mostly_asleep(|| assert!(consumer.pop_timeout(wait).unwrap_err().is_timeout()));
    }

    /// A flush and a stop wait, too.
    fn listen_inside() {
        let handled = Arc::new(AtomicUsize::new(0));
        let count = handled.clone();
        let (producer, consumer) = bounded(2);
        let handler = move |number| assert_eq!(count.fetch_add(1, SeqCst), number);
        let listener = Listener::spawn("inside", consumer, handler).unwrap();
        (0..1000).for_each(|number| producer.push(number).unwrap());
        listener.flush(LONG).unwrap();
        assert_eq!(handled.load(SeqCst), 1000);
        (1000..2000).for_each(|number| producer.push(number).unwrap());
        listener.stop(LONG).unwrap();
        assert_eq!(handled.load(SeqCst), 2000);
        // The listener's thread is ending: nothing is freed at the same time.
        mem::forget((producer, listener));
    }

    /// Runs what waits, and states that it does not spin. Returns how often the thread slept.
    fn assert_mostly_asleep(run: impl FnOnce()) -> libc::c_long {
        let (wall, processor, naps) = (Instant::now(), processor_time(), naps());
        run();
        let (wall, processor, naps) =
            (wall.elapsed(), processor_time() - processor, self::naps() - naps);
        println!("  waited for {wall:?} in {naps} naps, with {processor:?} of the processor");
        assert!(processor < wall / 2);
        naps
    }

    /// How often this thread has slept.
    fn naps() -> libc::c_long {
        // SAFETY: all zeros is a valid value.
        let mut usage: libc::rusage = unsafe { mem::zeroed() };
        // SAFETY: the address is valid.
        assert_eq!(unsafe { libc::getrusage(libc::RUSAGE_THREAD, &mut usage) }, 0);
        usage.ru_nvcsw
    }

    /// Of this thread.
    fn processor_time() -> Duration {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: the address is valid.
        assert_eq!(unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) }, 0);
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    }

    /// A process does not register for the barrier at its first wait, which would hold that up, and
    /// not too late.
    fn registration() {
        let (producer, mut consumer) = bounded(1);
        let (begun, done) = (Barrier::new(2), AtomicBool::new(false));
        thread::scope(|scope| {
            let pushing = scope.spawn(|| {
                producer.push(0).unwrap();
                begun.wait();
                let before = naps();
                producer.push(1).unwrap();
                assert!(done.load(SeqCst));
                naps() - before
            });
            begun.wait();
            thread::sleep(Duration::from_millis(700));
            done.store(true, SeqCst);
            assert_eq!([0; 2].map(|_| consumer.pop()), [Ok(0), Ok(1)]);
            let naps = pushing.join().unwrap();
            println!("  slept {naps} times");
            assert!((16..200).contains(&naps));
        });
    }

    // --- clocks ---

    static CLOCK_JUMPS: AtomicBool = AtomicBool::new(false);
    static WALL_CLOCK_READ: AtomicU64 = AtomicU64::new(0);
    static OTHER_CLOCKS_READ: AtomicU64 = AtomicU64::new(0);

    /// In place of the C library's, for all Rust code of this program. While the clock jumps, that
    /// of the wall is a decade off, forwards and backwards in turn.
    #[unsafe(no_mangle)]
    extern "C" fn clock_gettime(clock: libc::clockid_t, time: *mut libc::timespec) -> libc::c_int {
        // SAFETY: the caller guarantees that the address is valid.
        let result = unsafe { libc::syscall(libc::SYS_clock_gettime, clock, time) };
        if CLOCK_JUMPS.load(SeqCst) {
            if clock != libc::CLOCK_REALTIME {
                OTHER_CLOCKS_READ.fetch_add(1, SeqCst);
                return result as libc::c_int;
            }
            // As much as fits into 32 bits.
            let decade = 10 * 365 * 86_400;
            let reads = WALL_CLOCK_READ.fetch_add(1, SeqCst);
            // SAFETY: as above.
            unsafe { (*time).tv_sec += if reads % 2 == 0 { decade } else { -decade } };
        }
        result as libc::c_int
    }

    /// Each wait with a time limit, while the clock that can be set jumps. It is not read, and no
    /// system call waits for it: such a call would end the process.
    fn jumping_clock() {
        const CLOCK_REALTIME_BIT: u32 = libc::FUTEX_CLOCK_REALTIME as u32;
        const WALL: u32 = libc::CLOCK_REALTIME as u32;
        let rules = [
            Rule { call: libc::SYS_futex, when: When::HasBit(1, CLOCK_REALTIME_BIT) },
            Rule { call: libc::SYS_clock_nanosleep, when: When::Equals(0, WALL) },
            Rule { call: libc::SYS_timerfd_create, when: When::Equals(0, WALL) },
        ];
        filter(&rules, libc::SECCOMP_RET_KILL_PROCESS, libc::SECCOMP_RET_ALLOW, 0);
        CLOCK_JUMPS.store(true, SeqCst);
        let wait = Duration::from_millis(30);
        let takes_as_long = |what: &str, run: &mut dyn FnMut() -> bool| {
            let begin = Instant::now();
            assert!(run(), "{what} did not time out");
            let took = begin.elapsed();
            assert!((wait..LONG).contains(&took), "{what} took {took:?}");
        };
        let (producer, mut consumer) = bounded(1);
        takes_as_long("pop_timeout", &mut || consumer.pop_timeout(wait).unwrap_err().is_timeout());
        takes_as_long("pop_deadline", &mut || {
            consumer.pop_deadline(Instant::now() + wait).unwrap_err().is_timeout()
        });
        consumer.unbind();
        takes_as_long("try_push_and_wait", &mut || {
            producer.try_push_and_wait(1, wait) == Ok(false)
        });
        takes_as_long("push_timeout", &mut || {
            producer.push_timeout(2, wait).unwrap_err().is_timeout()
        });
        takes_as_long("push_deadline", &mut || {
            producer.push_deadline(2, Instant::now() + wait).unwrap_err().is_timeout()
        });
        let (release, released) = std::sync::mpsc::channel();
        let stuck = move |_| released.recv().unwrap();
        let listener = Listener::spawn("stuck", consumer, stuck).unwrap();
        takes_as_long("flush", &mut || listener.flush(wait).unwrap_err().is_timeout());
        takes_as_long("stop", &mut || listener.stop(wait).unwrap_err().is_timeout());
        assert_eq!(WALL_CLOCK_READ.load(SeqCst), 0);
        // The clock of the program is the one above, and it does jump.
        assert!(OTHER_CLOCKS_READ.load(SeqCst) > 0);
        let [now, then] = [0, 1].map(|_| std::time::SystemTime::now());
        assert!(now.duration_since(then).unwrap() > Duration::from_secs(365 * 86_400));
        CLOCK_JUMPS.store(false, SeqCst);
        release.send(()).unwrap();
        listener.stop(LONG).unwrap();
    }

    // --- stacks ---

    type Call = fn(&Producer<u64>);

    thread_local! {
        static CALL: Cell<Option<(Call, *const Producer<u64>)>> = const { Cell::new(None) };
    }

    extern "C" fn on_small_stack(_: libc::c_int) {
        if let Some((call, producer)) = CALL.take() {
            // SAFETY: `stack_of` borrows it while it raises the signal.
            call(unsafe { &*producer });
        }
    }

    /// The lowest address and the size of this thread's stack for handlers.
    fn signal_stack() -> (*mut u8, usize) {
        // SAFETY: all zeros is a valid value.
        let mut stack: libc::stack_t = unsafe { mem::zeroed() };
        // SAFETY: the address is valid.
        assert_eq!(unsafe { libc::sigaltstack(ptr::null(), &mut stack) }, 0);
        (stack.ss_sp.cast(), stack.ss_size)
    }

    /// How many bytes of the stack for handlers a handler takes that makes the call.
    fn stack_of(producer: &Producer<u64>, call: Call) -> usize {
        const PAINT: u8 = 0xa5;
        let (stack, size) = signal_stack();
        // SAFETY: it is this thread's, and not in use.
        unsafe { stack.write_bytes(PAINT, size) };
        CALL.set(Some((call, producer)));
        // SAFETY: the handler is installed.
        assert_eq!(unsafe { libc::raise(libc::SIGUSR1) }, 0);
        assert!(CALL.take().is_none());
        // SAFETY: as above.
        let bytes = unsafe { std::slice::from_raw_parts(stack, size) };
        size - bytes.iter().take_while(|&&byte| byte == PAINT).count()
    }

    /// Each call that a handler may make, where it takes most: a sleeper is woken, and the ring is
    /// full.
    fn small_stack() {
        // SAFETY: it has no preconditions.
        let frame = unsafe { libc::getauxval(libc::AT_MINSIGSTKSZ) } as usize;
        // 16 KiB in all, unless the registers alone take more than half of that.
        let whole = (16 << 10_usize).max(frame + (8 << 10));
        use_small_stack(0, whole);
        handle(libc::SIGUSR1, on_small_stack);
        let calls: [(&str, Call); 9] = [
            ("nothing", |_| ()),
            ("try_push", |producer| _ = producer.try_push(1)),
            ("try_push_or_count", |producer| _ = producer.try_push_or_count(1)),
            ("try_push_within", |producer| _ = producer.try_push_within(1, 1)),
            ("try_push_and_wait", |producer| _ = producer.try_push_and_wait(1, Duration::ZERO)),
            ("try_push_and_wait, asleep", |producer| {
                _ = producer.try_push_and_wait(1, Duration::from_millis(1));
            }),
            ("len and the like", |producer| {
                _ = (producer.len(), producer.is_full(), producer.must_not_wait());
            }),
            ("close", Producer::close),
            ("try_push, closed", |producer| _ = producer.try_push(1)),
        ];
        let (producer, consumer) = bounded(2);
        let popping = thread::spawn(move || consumer_that_sleeps(consumer));
        let (full, mut consumer) = Builder::new(2).bypass(2).build();
        let mut nothing = 0;
        for (name, call) in calls {
            // Until the consumer of the first sleeps.
            thread::sleep(Duration::from_millis(10));
            let waking = stack_of(&producer, call);
            let elsewhere = stack_of(&full, call);
            consumer.bind();
            let beside = stack_of(&full, call);
            while full.try_push(0).is_ok() {}
            let refused = stack_of(&full, call);
            consumer.unbind();
            let most = waking.max(elsewhere).max(beside).max(refused);
            if name == "nothing" {
                nothing = most;
                println!("  the signal alone takes {nothing} bytes of the stack, of {whole}");
            } else {
                println!("  {name} takes {} bytes", most.saturating_sub(nothing));
            }
            assert!(most <= whole);
        }
        assert!(popping.join().unwrap() > 0);
    }

    fn consumer_that_sleeps(mut consumer: Consumer<u64>) -> usize {
        consumer.iter().count()
    }

    // --- many, and long ---

    fn many_threads() {
        const MANY: usize = 1000;
        const ITEMS: usize = 20;
        stay_on_two_processors();
        let (producer, mut consumer) = bounded(4);
        consumer.bind();
        let all_there = Arc::new(Barrier::new(MANY + 1));
        let threads: Vec<_> = (0..MANY)
            .map(|source| {
                let (producer, all_there) = (producer.clone(), all_there.clone());
                let push = move || {
                    all_there.wait();
                    (0..ITEMS).for_each(|number| producer.push((source, number)).unwrap());
                };
                thread::Builder::new().stack_size(64 << 10).spawn(push).unwrap()
            })
            .collect();
        drop(producer);
        all_there.wait();
        // Until most of them sleep.
        thread::sleep(Duration::from_millis(200));
        let mut next = vec![0; MANY];
        for (source, number) in &mut consumer {
            assert_eq!(number, next[source], "of {source}");
            next[source] += 1;
        }
        assert_eq!(next, [ITEMS; MANY]);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    }

    /// This thread, and those that it starts.
    fn stay_on_two_processors() {
        // SAFETY: all zeros is a valid value.
        let mut set: libc::cpu_set_t = unsafe { mem::zeroed() };
        // SAFETY: the address is valid.
        let result = unsafe { libc::sched_getaffinity(0, size_of_val(&set), &mut set) };
        assert_eq!(result, 0);
        let mut left = 2;
        for number in 0..libc::CPU_SETSIZE as usize {
            // SAFETY: the set has that many.
            let is_in = unsafe { libc::CPU_ISSET(number, &set) };
            if is_in && left == 0 {
                // SAFETY: as above.
                unsafe { libc::CPU_CLR(number, &mut set) };
            }
            left -= usize::from(is_in && left != 0);
        }
        // SAFETY: the address is valid.
        assert_eq!(unsafe { libc::sched_setaffinity(0, size_of_val(&set), &set) }, 0);
    }

    /// Fills ring and bypass, and drains them, again and again: from this thread alone, and with
    /// another that pushes meanwhile. After the first two rounds nothing touches a new page, except
    /// where the C library begins to use one of its own.
    fn flat_memory() {
        const FEW_PAGES: usize = 16;
        let (producer, mut consumer) = bounded(1 << 20);
        consumer.bind();
        let (mut begin, mut pages, mut rounds) = (Instant::now(), 0, 0_u64);
        while begin.elapsed() < duration() || rounds < 4 {
            fill_and_drain(&producer, &mut consumer);
            pass_on(&producer, &mut consumer);
            rounds += 1;
            if rounds == 2 {
                (begin, pages) = (Instant::now(), resident_pages());
            }
        }
        let after = resident_pages();
        println!("  {rounds} rounds: {pages} pages resident after two, {after} at the end");
        assert!(after <= pages + FEW_PAGES);
    }

    fn fill_and_drain(producer: &Producer<u64>, consumer: &mut Consumer<u64>) {
        let pushed = (0..).take_while(|&item| producer.try_push(item).is_ok()).count() as u64;
        assert_eq!(pushed, (2 << 20) + 1);
        assert!(consumer.try_iter().eq(0..pushed));
    }

    fn pass_on(producer: &Producer<u64>, consumer: &mut Consumer<u64>) {
        const ITEMS: u64 = 2 << 20;
        thread::scope(|scope| {
            scope.spawn(|| (0..ITEMS).for_each(|item| producer.push(item).unwrap()));
            assert!(consumer.iter().take(ITEMS as usize).eq(0..ITEMS));
        });
    }
}
