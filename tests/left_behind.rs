//! What a thread leaves behind that is ended without unwinding, that jumps out of a call, or that
//! moves and frees what others wait for: it blocks and misleads nobody.
#![cfg(all(
    feature = "std",
    target_os = "linux",
    target_env = "gnu",
    not(any(bywash_loom, bywash_portable))
))]

mod support;

#[cfg(target_arch = "x86_64")]
use std::io::{Read, Write};
use std::mem::forget;
#[cfg(target_arch = "x86_64")]
use std::os::unix::net::UnixStream;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use bywash::{Builder, Listener, PushError, PushTimeoutError, StaticQueue, bounded};
use support::{SleepWatch, full, watch};

const LONG: Duration = Duration::from_secs(60);

fn this_thread() -> i32 {
    // SAFETY: it has no preconditions.
    unsafe { libc::gettid() }
}

/// Sends a signal, or nothing with 0, to a thread of this process. Returns whether it is there.
fn send(signal: i32, thread: i32) -> bool {
    // SAFETY: it takes no addresses.
    unsafe { libc::syscall(libc::SYS_tgkill, std::process::id(), thread, signal) == 0 }
}

fn end_abruptly() -> ! {
    // SAFETY: no destructor runs, and nothing of this thread is used any more.
    unsafe { libc::syscall(libc::SYS_exit, 0) };
    unreachable!()
}

/// Does `run` on a thread that then ends without unwinding, and waits until it is gone.
fn on_a_thread_that_is_ended(run: impl FnOnce() + Send + 'static) {
    let (tells, told) = channel();
    thread::spawn(move || {
        tells.send(this_thread()).unwrap();
        run();
        end_abruptly();
    });
    let thread = told.recv().unwrap();
    while send(0, thread) {
        thread::yield_now();
    }
}

#[test]
fn nobody_waits_for_a_consumer_whose_thread_was_ended() {
    let (producer, mut consumer) = full();
    on_a_thread_that_is_ended(move || {
        consumer.bind();
        forget(consumer);
    });
    assert_eq!(producer.push(1), Err(PushError::WouldDeadlock(1)));
    assert_eq!(producer.push_timeout(1, LONG), Err(PushTimeoutError::WouldDeadlock(1)));
    // SAFETY: the thread that had it is gone.
    let mut consumer = unsafe { producer.reclaim_consumer() }.unwrap();
    // SAFETY: nobody is inside a push or pop.
    assert_eq!(unsafe { consumer.recover() }, 0);
    assert_eq!((consumer.pop(), producer.push(2)), (Ok(0), Ok(())));
    assert_eq!(consumer.pop(), Ok(2));
}

#[test]
fn who_waits_for_the_item_to_be_popped_is_told_that_the_thread_was_ended() {
    watch();
    let (producer, mut consumer) = bounded(4);
    on_a_thread_that_is_ended(move || {
        consumer.bind();
        forget(consumer);
    });
    assert_eq!(producer.try_push_and_wait(1, LONG * 100), Ok(false));
}

#[test]
fn a_thread_that_ended_in_the_ordinary_way_leaves_its_consumer_to_the_next() {
    let (producer, mut consumer) = full();
    let mut consumer = thread::spawn(move || {
        consumer.bind();
        consumer
    })
    .join()
    .unwrap();
    let waits = thread::spawn(move || producer.push(1));
    assert_eq!((consumer.pop(), consumer.pop()), (Ok(0), Ok(1)));
    assert_eq!(waits.join().unwrap(), Ok(()));
}

#[test]
fn a_listener_whose_thread_was_ended_ends_every_wait_for_it() {
    watch();
    let (producer, consumer) = Builder::new(1).bypass(0).build();
    let (tells, told) = channel();
    let handler = move |_: u32| {
        tells.send(this_thread()).unwrap();
        end_abruptly();
    };
    let listener = Listener::spawn("ended", consumer, handler).unwrap();
    producer.push(0).unwrap();
    let thread = told.recv().unwrap();
    while send(0, thread) {
        thread::yield_now();
    }
    producer.try_push(1).unwrap();
    assert_eq!(producer.push(2), Err(PushError::WouldDeadlock(2)));
    assert!(listener.flush(Duration::MAX).unwrap_err().is_forked());
    drop(listener);
    // SAFETY: the thread that had it is gone.
    let mut consumer = unsafe { producer.reclaim_consumer() }.unwrap();
    // SAFETY: nobody is inside a push or pop.
    unsafe { consumer.recover() };
    assert_eq!(consumer.try_pop(), Ok(1));
}

// The libc crate has them on some processors only.
unsafe extern "C" {
    fn getcontext(into: *mut libc::ucontext_t) -> libc::c_int;
    fn setcontext(context: *const libc::ucontext_t) -> libc::c_int;
    fn swapcontext(into: *mut libc::ucontext_t, to: *const libc::ucontext_t) -> libc::c_int;
    fn makecontext(
        context: *mut libc::ucontext_t,
        call: extern "C" fn(),
        arguments: libc::c_int,
        ...
    );
}

/// A stack on which calls are made that never return.
struct Detour {
    stack: Vec<u8>,
}

static WAY_BACK: Mutex<Vec<(i32, usize)>> = Mutex::new(Vec::new());

extern "C" fn jump_back(_: libc::c_int) {
    // The thread is asleep in a push, and holds no lock.
    let back =
        WAY_BACK.lock().unwrap().iter().find(|(thread, _)| *thread == this_thread()).copied();
    let context = back.unwrap().1 as *const libc::ucontext_t;
    // SAFETY: its thread waits in `swapcontext`, further up on another stack.
    unsafe { setcontext(context) };
}

impl Detour {
    /// Calls `run`, and returns once a signal has made the thread jump out of it.
    fn take<F: FnOnce()>(run: F) {
        extern "C" fn call<F: FnOnce()>(low: u32, high: u32) {
            let run = (u64::from(high) << 32 | u64::from(low)) as *mut Option<F>;
            // SAFETY: `take` waits on the other stack.
            unsafe { (*run).take().unwrap()() };
            unreachable!("it was to be left by a jump");
        }
        let mut detour = Self { stack: vec![0; 1 << 20] };
        let mut run = Some(run);
        let address = (&raw mut run) as u64;
        // SAFETY: zeros are a context to be filled in.
        let (mut back, mut there) = unsafe { std::mem::zeroed::<[libc::ucontext_t; 2]>() }.into();
        WAY_BACK.lock().unwrap().push((this_thread(), (&raw mut back).addr()));
        // SAFETY: the address is valid.
        unsafe { getcontext(&mut there) };
        there.uc_stack.ss_sp = detour.stack.as_mut_ptr().cast();
        there.uc_stack.ss_size = detour.stack.len();
        let call: extern "C" fn(u32, u32) = call::<F>;
        // SAFETY: it is called with two numbers of 32 bits, as `makecontext` is told.
        let call = unsafe { std::mem::transmute::<extern "C" fn(u32, u32), extern "C" fn()>(call) };
        // SAFETY: the context was filled in, and its stack is not used otherwise.
        unsafe { makecontext(&mut there, call, 2, address as u32, (address >> 32) as u32) };
        // SAFETY: both are valid until `back` is jumped to.
        unsafe { swapcontext(&mut back, &there) };
        WAY_BACK.lock().unwrap().retain(|(thread, _)| *thread != this_thread());
    }
}

/// What ends a wait that was left by a jump.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    RecoveryOfItsOwnQueue,
    RecoveryOfTheFullQueue,
    /// While a thread waits for room.
    Pop,
}

/// A thread, the consumer of X, jumps out of a push into Y. Then nobody waits, and a push of Y's
/// consumer into X closes no cycle.
#[test]
fn a_push_that_was_left_by_a_jump_is_in_nobodys_way() {
    for end in [End::RecoveryOfItsOwnQueue, End::RecoveryOfTheFullQueue, End::Pop] {
        (0..5).for_each(|_| a_push_is_left_by_a_jump(end));
    }
}

fn a_push_is_left_by_a_jump(end: End) {
    // SAFETY: the handler does what it may do while its thread sleeps in a push.
    unsafe { libc::signal(libc::SIGUSR2, jump_back as *const () as libc::sighandler_t) };
    let (x, mut x_consumer) = full();
    let (y, mut y_consumer) = full();
    let (tells, told) = channel();
    let (begins, begin) = channel::<()>();
    let sleep = SleepWatch::default();
    let (watched, into_y) = (sleep.clone(), y.clone());
    let jumper = thread::spawn(move || {
        x_consumer.bind();
        watched.begin();
        tells.send(this_thread()).unwrap();
        Detour::take(|| into_y.push(1).unwrap());
        if end == End::RecoveryOfItsOwnQueue {
            // SAFETY: nobody is inside a push or pop of it that goes on.
            unsafe { x_consumer.recover() };
        }
        tells.send(0).unwrap();
        begin.iter().map(|()| x_consumer.pop().unwrap()).collect::<Vec<_>>()
    });
    let thread = told.recv().unwrap();
    sleep.wait();
    assert!(send(libc::SIGUSR2, thread));
    assert_eq!(told.recv(), Ok(0));
    y_consumer.bind();
    match end {
        End::RecoveryOfItsOwnQueue => {}
        // SAFETY: the push that was begun does not go on.
        End::RecoveryOfTheFullQueue => assert_eq!(unsafe { y_consumer.recover() }, 0),
        End::Pop => {
            let (into_x, sleep) = (x.clone(), SleepWatch::default());
            let watched = sleep.clone();
            let waits = thread::spawn(move || {
                watched.begin();
                into_x.push(1)
            });
            sleep.wait();
            begins.send(()).unwrap();
            waits.join().unwrap().unwrap();
        }
    }
    let result = x.push_timeout(2, Duration::from_millis(20));
    assert_eq!(result, Err(PushTimeoutError::Timeout(2)), "{end:?}");
    begins.send(()).unwrap();
    assert_eq!(x.push(2), Ok(()));
    begins.send(()).unwrap();
    drop(begins);
    let popped = jumper.join().unwrap();
    assert_eq!(popped, if end == End::Pop { vec![0, 1, 2] } else { vec![0, 2] });
}

/// A thread sleeps in a push into a full queue. The consumer's thread pops, so that it returns, and
/// all borrows of the queue end; then the queue is moved, and freed where it is then. Meanwhile
/// others look along that wait. That takes them long: there are many threads that wait, and the
/// domain of the queue was entered many times.
#[test]
fn queues_are_moved_and_freed_while_others_look_along_waits_for_them() {
    watch();
    let end = Instant::now() + support::stress_time() + Duration::from_millis(1500);
    let (x, mut x_consumer) = full();
    let (never_popped, mut kept_full) = full();
    let domain = x_consumer.domain();
    thread::scope(|scope| {
        for _ in 0..100 {
            scope.spawn(|| {
                let _guard = domain.enter();
                assert!(never_popped.push(1).is_err());
            });
        }
        for _ in 0..2 {
            scope.spawn(|| {
                // A consumer of something else, so that it looks.
                let (_own, mut own) = bounded::<u8>(1);
                own.bind();
                let timeout = Duration::from_micros(50);
                while !x.push_timeout(1, timeout).is_err_and(|error| error.is_closed()) {}
            });
        }
        let mut rounds = 0;
        while Instant::now() < end {
            rounds += 1;
            let queue = Box::new(StaticQueue::<u32, 1, 0>::new());
            queue.try_push(0).unwrap();
            let mut consumer = queue.consumer().unwrap();
            consumer.bind();
            let guards: Vec<_> = (0..2000).map(|_| consumer.domain().enter()).collect();
            drop(guards);
            thread::scope(|inner| {
                let waits = inner.spawn(|| {
                    x_consumer.bind();
                    queue.push(1)
                });
                thread::sleep(Duration::from_micros(500));
                assert_eq!(consumer.pop(), Ok(0));
                assert_eq!(waits.join().unwrap(), Ok(()));
            });
            drop(consumer);
            drop(Box::new(*queue));
        }
        println!("{rounds} rounds");
        x_consumer.close();
        kept_full.close();
    });
}

/// Threads of a pool enter a domain and forget the guard. A refused `try_push` takes as many
/// instructions as before, also of a thread that has a number.
#[cfg(target_arch = "x86_64")]
#[test]
fn forgotten_guards_of_threads_that_ended_cost_nothing() {
    let (producer, consumer) = full();
    let domain = consumer.domain();
    let (_own, mut own) = bounded::<u8>(1);
    own.bind();
    let instructions = || {
        let mut result = Ok(());
        let _alone = STEPPING.lock();
        let count = trap::step(&mut |_| (), || result = producer.try_push(1));
        assert!(result.is_err());
        count
    };
    let before = (instructions(), instructions()).1;
    for _ in 0..2_000 {
        let domain = domain.clone();
        thread::spawn(move || forget(domain.enter())).join().unwrap();
    }
    assert_eq!(instructions(), before);
}

/// A thread was in the domains of many queues. For the next one that has its record, a refused
/// `try_push` takes no more instructions than if it had not been, but for a few: where the record
/// lies makes a difference. A domain would take one at least, and here are 500.
#[cfg(target_arch = "x86_64")]
#[test]
fn the_domains_of_a_thread_that_has_ended_cost_the_next_one_nothing() {
    let (producer, consumer) = full();
    let _domain = consumer.domain();
    let instructions = || {
        let (_own, mut own) = bounded::<u8>(1);
        own.bind();
        let mut result = Ok(());
        let _alone = STEPPING.lock();
        let mut count = || trap::step(&mut |_| (), || result = producer.try_push(1));
        (count(), count()).1
    };
    let on_a_thread = || thread::scope(|scope| scope.spawn(instructions).join().unwrap());
    let before = on_a_thread();
    let queues: Vec<_> = (0..500).map(|_| bounded::<u8>(1)).collect();
    let domains: Vec<_> = queues.iter().map(|(_, consumer)| consumer.domain()).collect();
    thread::spawn(move || domains.iter().for_each(|domain| forget(domain.enter()))).join().unwrap();
    let after = on_a_thread();
    assert!(after < before + 500, "{before} instructions before, {after} after");
}

/// A thread has ended in the ordinary way, and its queue may be bound again. A new thread gets its
/// record. At no instruction of that does the consumer's thread look as if it were gone.
#[cfg(target_arch = "x86_64")]
#[test]
fn who_gets_a_record_says_nothing_of_the_thread_that_had_it() {
    let (producer, consumer) = full();
    let consumer = Mutex::new(consumer);
    let bind = || consumer.lock().unwrap().bind();
    thread::scope(|scope| scope.spawn(bind).join().unwrap());
    // Each waits for the other in a system call, so that they take little time of a busy processor.
    let (asks, asked) = UnixStream::pair().unwrap();
    let times_gone = thread::scope(|scope| {
        let asked_often = scope.spawn(move || {
            let mut gone = 0;
            while (&asked).read(&mut [0]).unwrap() != 0 {
                gone += usize::from(producer.is_consumer_gone());
                (&asked).write_all(&[0]).unwrap();
            }
            gone
        });
        scope.spawn(move || {
            let (_other, mut own) = bounded::<u8>(1);
            let _alone = STEPPING.lock();
            // Without optimisation there are more instructions.
            let stride = if cfg!(debug_assertions) { 10 } else { 1 };
            let mut each = |step: &mut trap::Step<'_>| {
                if step.number % stride == 0 {
                    (&asks).write_all(&[0]).unwrap();
                    (&asks).read_exact(&mut [0]).unwrap();
                }
            };
            trap::step(&mut each, || own.bind());
        });
        asked_often.join().unwrap()
    });
    assert_eq!(times_gone, 0);
}

/// One call at a time may be stepped.
#[cfg(target_arch = "x86_64")]
static STEPPING: Mutex<()> = Mutex::new(());

/// Both handlers wait in time for each other's listener: one is told at once.
#[test]
fn of_two_handlers_that_flush_each_others_listeners_in_time_one_is_refused() {
    for stops in [false, true] {
        watch();
        type Slot = Arc<Mutex<Option<Listener>>>;
        let slots: [Slot; 2] = Default::default();
        let barrier = Arc::new(std::sync::Barrier::new(2));
        let (results, result) = channel();
        let mut producers = Vec::new();
        for i in 0..2 {
            let (producer, consumer) = bounded::<u32>(4);
            let (other, results, barrier) =
                (slots[1 - i].clone(), results.clone(), barrier.clone());
            let handler = move |_| {
                barrier.wait();
                let other = other.lock().unwrap();
                let other = other.as_ref().unwrap();
                let limit = LONG * 100;
                let result = if stops { other.stop(limit) } else { other.flush(limit) };
                results.send(result).unwrap();
            };
            let listener = Listener::spawn("waits", consumer, handler).unwrap();
            *slots[i].lock().unwrap() = Some(listener);
            producers.push(producer);
        }
        producers.iter().for_each(|producer| producer.push(1).unwrap());
        let both = [result.recv().unwrap(), result.recv().unwrap()];
        assert!(both[0].unwrap_err().is_would_deadlock(), "{both:?}");
        assert_eq!(both[1], Ok(()), "stops: {stops}");
    }
}

#[cfg(target_arch = "x86_64")]
#[allow(dead_code, reason = "used by other tests")]
#[path = "support/signals.rs"]
mod signals;
#[cfg(target_arch = "x86_64")]
#[allow(dead_code, reason = "used by other tests")]
#[path = "support/stepping/trap.rs"]
mod trap;

/// `RUSTFLAGS="--cfg bywash_steps" cargo test --release --test left_behind`
#[cfg(bywash_steps)]
mod stopped {
    use std::cell::Cell;
    use std::sync::mpsc::Receiver;

    use super::*;
    use bywash::steps::hooked;
    use bywash::{Consumer, Producer};

    const STEPS: u32 = 120;

    /// A thread is ended at each step of a push that looks for cycles. Afterwards the cycle of two
    /// others is found.
    #[test]
    fn a_thread_that_was_ended_inside_a_look_keeps_no_other_from_looking() {
        watch();
        for at in 0..STEPS {
            let (x, x_consumer) = full();
            let (y, mut y_consumer) = full();
            let into_y = y.clone();
            on_a_thread_that_is_ended(move || {
                let mut x_consumer = x_consumer;
                x_consumer.bind();
                let step = Cell::new(0);
                let hook = || {
                    if step.replace(step.get() + 1) == at {
                        end_abruptly();
                    }
                };
                hooked(&hook, || _ = into_y.push_timeout(1, Duration::from_millis(2)));
                forget(x_consumer);
            });
            assert_eq!(x.push(1), Err(PushError::WouldDeadlock(1)));
            y_consumer.bind();
            let (a, b) = (full(), full());
            assert_cycle_is_found(a, b);
        }
    }

    fn assert_cycle_is_found(a: (Producer<u32>, Consumer<u32>), b: (Producer<u32>, Consumer<u32>)) {
        let start = |mut own: Consumer<u32>, next: Producer<u32>| -> Receiver<bool> {
            let (sends, result) = channel();
            thread::spawn(move || {
                own.bind();
                sends.send(next.push(1).is_ok()).unwrap();
                // Makes room for the other, and closes nothing.
                own.pop().unwrap();
                forget(own);
            });
            result
        };
        let results = [start(a.1, b.0), start(b.1, a.0)].map(|result| result.recv().unwrap());
        assert_eq!(results.iter().filter(|is_ok| **is_ok).count(), 1, "{results:?}");
    }
}
