//! What a forked child does with the queues of its parent: pushes are refused where they would wait
//! for a thread that is not there, the copy of a consumer goes on, and nothing hangs.
//!
//! With `RUSTFLAGS="--cfg bywash_steps"`, other threads are stopped at every atomic step when the
//! fork comes, and a handler forks at every atomic step of a push.
#![cfg(all(unix, feature = "std", not(bywash_loom)))]

#[path = "support/children.rs"]
mod children;
mod support;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use bywash::{
    Builder, Consumer, Listener, ListenerErrorKind as Kind, Producer, PushError, PushTimeoutError,
    StaticQueue, TryPushError, bounded,
};
use children::{assert_ended_well, copy_of, end_with, in_child, limit_time};
use support::{assert_left, watch};

/// What a test with a hang in it waits for.
const FOR_EVER: Duration = Duration::MAX;

/// Runs `run` on a thread of its own, and waits for it.
fn elsewhere<R: Send>(run: impl FnOnce() -> R + Send) -> R {
    thread::scope(|scope| scope.spawn(run).join().unwrap())
}

/// A thread that owns a consumer, bound there, and pops one item each time it is told to.
struct Elsewhere<T> {
    tell: Sender<()>,
    popped: Receiver<T>,
}

impl<T: Send + 'static> Elsewhere<T> {
    fn spawn(mut consumer: Consumer<T>) -> Self {
        let ((tell, told), (pops, popped)) = (channel(), channel());
        let (binds, bound) = channel();
        thread::spawn(move || {
            consumer.bind();
            binds.send(()).unwrap();
            told.iter().for_each(|()| pops.send(consumer.pop().unwrap()).unwrap());
        });
        bound.recv().unwrap();
        Self { tell, popped }
    }

    fn pop(&self) -> T {
        self.tell.send(()).unwrap();
        self.popped.recv().unwrap()
    }
}

/// A full queue of one item, whose consumer is bound to another thread.
fn full_elsewhere() -> (Producer<u32>, Elsewhere<u32>) {
    let (producer, consumer) = Builder::new(1).bypass(1).build();
    producer.push(0).unwrap();
    (producer, Elsewhere::spawn(consumer))
}

/// Counters that parents and children have in common.
#[derive(Clone, Copy)]
struct InCommon(&'static [AtomicU32; 16]);

impl InCommon {
    fn new() -> Self {
        let size = size_of::<[AtomicU32; 16]>();
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_SHARED | libc::MAP_ANON;
        // SAFETY: a new mapping harms nobody.
        let place = unsafe { libc::mmap(std::ptr::null_mut(), size, access, flags, -1, 0) };
        assert_ne!(place, libc::MAP_FAILED);
        // SAFETY: it is large enough, all zeros, and never unmapped.
        Self(unsafe { &*place.cast() })
    }

    fn add(self, at: u32) {
        self.0[at as usize].fetch_add(1, Ordering::Relaxed);
    }

    fn get(self) -> Vec<u32> {
        self.0.iter().map(|count| count.load(Ordering::Relaxed)).collect()
    }
}

#[test]
fn no_push_waits_for_a_consumer_whose_thread_stayed_in_the_parent() {
    watch();
    let (producer, consumer) = full_elsewhere();
    let refuses = || {
        assert_eq!(producer.push(1), Err(PushError::WouldDeadlock(1)));
        let far = Instant::now() + Duration::from_secs(1000);
        assert_eq!(producer.push_deadline(1, far), Err(PushTimeoutError::WouldDeadlock(1)));
        assert_eq!(producer.push_timeout(1, FOR_EVER), Err(PushTimeoutError::WouldDeadlock(1)));
        let mut items = VecDeque::from([1, 2]);
        assert_eq!(producer.push_many(&mut items), Err(PushError::WouldDeadlock(())));
        assert_eq!(items, [1, 2]);
    };
    in_child(|| {
        refuses();
        elsewhere(refuses);
        // These do not sleep.
        assert_eq!(producer.try_push(1), Err(TryPushError::Full(1)));
        assert_eq!(producer.push_timeout(1, Duration::ZERO), Err(PushTimeoutError::Timeout(1)));
        assert_eq!(producer.bypassed(), 0);
    });
    // In the parent nothing has changed.
    thread::scope(|scope| {
        let waits = scope.spawn(|| producer.push(1));
        assert_eq!(consumer.pop(), 0);
        assert_eq!(waits.join().unwrap(), Ok(()));
    });
}

#[test]
fn a_static_queue_refuses_as_well() {
    static QUEUE: StaticQueue<u32, 1, 1> = StaticQueue::new();
    watch();
    QUEUE.push(0).unwrap();
    let (ends, end) = channel::<()>();
    let (binds, bound) = channel();
    let owner = thread::spawn(move || {
        let mut consumer = QUEUE.consumer().unwrap();
        consumer.bind();
        binds.send(()).unwrap();
        end.recv().unwrap_err();
        consumer.pop()
    });
    bound.recv().unwrap();
    in_child(|| assert_eq!(QUEUE.push(1), Err(PushError::WouldDeadlock(1))));
    drop(ends);
    assert_eq!(owner.join().unwrap(), Ok(0));
}

#[test]
fn a_producer_in_a_daemon_knows_that_its_logger_stayed_in_the_parent() {
    static QUEUE: StaticQueue<u32, 4, 0> = StaticQueue::new();
    watch();
    let (producer, consumer) = bounded(100);
    let listener = Listener::spawn("test", consumer, |_: u32| ()).unwrap();
    listener.flush(FOR_EVER).unwrap();
    let mut own = QUEUE.consumer().unwrap();
    assert!(!QUEUE.is_consumer_gone(), "it has no thread yet");
    own.bind();
    let is_gone = || (producer.is_consumer_gone(), QUEUE.is_consumer_gone());
    in_child(|| {
        assert_eq!(is_gone(), (true, false), "the static queue's thread is this one");
        assert_eq!(producer.try_push(1), Ok(()), "for nobody");
        in_child(|| assert_eq!(is_gone(), (true, false)));
        let mut own = copy_of(&own);
        let (ends, end) = channel::<()>();
        let (binds, bound) = channel();
        thread::scope(|scope| {
            let owner = scope.spawn(|| {
                own.bind();
                assert_eq!(is_gone(), (true, false));
                in_child(|| assert_eq!(is_gone(), (true, false)));
                binds.send(()).unwrap();
                end.into_iter().for_each(drop);
            });
            bound.recv().unwrap();
            in_child(|| assert_eq!(is_gone(), (true, true), "bound to the other thread"));
            drop(ends);
            // A scope does not wait for thread-locals.
            owner.join().unwrap();
        });
        in_child(|| assert_eq!(is_gone(), (true, false), "that has ended in the ordinary way"));
        own.unbind();
        assert_eq!(is_gone(), (true, false));
        std::mem::forget(own);
    });
    assert_eq!(is_gone(), (false, false));
}

#[test]
fn who_waits_for_the_item_to_be_popped_is_told_at_once_that_nobody_pops() {
    watch();
    let (producer, consumer) = bounded(1);
    let _consumer = Elsewhere::spawn(consumer);
    in_child(|| assert_eq!(producer.try_push_and_wait(1, FOR_EVER), Ok(false)));
}

#[test]
fn an_unbound_consumer_may_yet_be_bound_and_is_waited_for() {
    watch();
    let (producer, mut consumer) = bounded(1);
    producer.push(0).unwrap();
    in_child(|| {
        let short = Duration::from_millis(5);
        assert_eq!(producer.push_timeout(1, short), Err(PushTimeoutError::Timeout(1)));
        thread::scope(|scope| {
            let waits = scope.spawn(|| producer.push(1));
            assert_eq!(consumer.pop(), Ok(0));
            assert_eq!(waits.join().unwrap(), Ok(()));
        });
    });
}

/// Passes many items from a new thread, which has to wait, to this one.
fn pass(producer: &Producer<u32>, consumer: &mut Consumer<u32>) {
    thread::scope(|scope| {
        let pushes = scope.spawn(|| (0..100).try_for_each(|i| producer.push(i)));
        // Until it sleeps.
        support::settle();
        assert!(consumer.iter().take(100).eq(0..100));
        assert_eq!(pushes.join().unwrap(), Ok(()));
    });
}

#[test]
fn the_copy_of_a_forking_consumer_goes_on_and_threads_of_the_child_wait_for_it() {
    watch();
    let (producer, mut consumer) = Builder::new(1).bypass(1).build();
    consumer.bind();
    in_child(|| {
        pass(&producer, &mut consumer);
        producer.push(1).unwrap();
        // The copy is the consumer's thread.
        assert_eq!(producer.push(2), Ok(()));
        assert_eq!(producer.push(3), Err(PushError::WouldDeadlock(3)));
        assert!(consumer.try_iter().eq([1, 2]));
        // It forks again: the grandchild has it, too.
        in_child(|| pass(&producer, &mut consumer));
        // Another thread of the child forks: that grandchild has not.
        producer.push(0).unwrap();
        elsewhere(|| {
            in_child(|| {
                assert_eq!(producer.push(1), Err(PushError::WouldDeadlock(1)));
                in_child(|| assert_eq!(producer.push(1), Err(PushError::WouldDeadlock(1))));
            });
        });
        assert_eq!(consumer.pop(), Ok(0));
    });
    pass(&producer, &mut consumer);
}

#[test]
fn a_consumer_that_moves_to_a_thread_of_the_child_is_waited_for_there_only() {
    watch();
    let (producer, mut consumer) = bounded(1);
    consumer.bind();
    in_child(|| {
        producer.push(0).unwrap();
        let there = Elsewhere::spawn(consumer);
        thread::scope(|scope| {
            let waits = scope.spawn(|| producer.push(1));
            assert_eq!(there.pop(), 0);
            assert_eq!(waits.join().unwrap(), Ok(()));
        });
        in_child(|| assert_eq!(producer.push(2), Err(PushError::WouldDeadlock(2))));
        assert_eq!(there.pop(), 1);
    });
}

/// Those who sleep in the parent are not in the child, and forgotten there.
#[test]
fn a_queue_recovers_from_threads_that_slept_and_they_sleep_on_in_the_parent() {
    watch();
    let (producer, mut consumer) = Builder::new(1).bypass(1).build();
    consumer.bind();
    producer.push(0).unwrap();
    thread::scope(|scope| {
        (0..4).for_each(|_| _ = scope.spawn(|| producer.push(7).unwrap()));
        support::settle();
        in_child(|| {
            // SAFETY: no thread of this process is inside a push or pop.
            assert_eq!(unsafe { consumer.recover() }, 0);
            assert!(consumer.try_iter().eq([0]));
            pass(&producer, &mut consumer);
        });
        assert!(consumer.iter().take(5).eq([0, 7, 7, 7, 7]));
    });
}

/// A child of a system call, for which no handler of `pthread_atfork` runs. It must not allocate.
#[cfg(target_os = "linux")]
#[track_caller]
fn in_bare_child(run: impl FnOnce() -> bool) {
    // SAFETY: without flags it is a fork. The child uses nothing of the C library's that knows.
    match unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) } {
        0 => {
            limit_time();
            let is_well = run();
            // SAFETY: it has no preconditions.
            unsafe { libc::_exit(i32::from(!is_well)) }
        }
        child => assert_ended_well(child as libc::pid_t),
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_fork_without_handlers_is_noticed_and_refuses_until_the_consumer_binds_again() {
    watch();
    let (producer, _consumer) = full_elsewhere();
    in_bare_child(|| producer.push(1) == Err(PushError::WouldDeadlock(1)));
    // One after a fork with handlers, of which there is a note.
    let (producer, mut consumer) = bounded(1);
    consumer.bind();
    in_child(|| {
        producer.push(0).unwrap();
        thread::scope(|scope| {
            let (asks, asked) = channel();
            let producer = &producer;
            let other = scope.spawn(move || {
                asked.recv().unwrap();
                in_bare_child(|| producer.push(1) == Err(PushError::WouldDeadlock(1)));
            });
            asks.send(()).unwrap();
            other.join().unwrap();
        });
        // The consumer's own copy goes on.
        in_bare_child(|| {
            let popped = consumer.pop();
            (popped, producer.push(1), consumer.pop()) == (Ok(0), Ok(()), Ok(1))
        });
    });
    in_child(|| {
        producer.push(0).unwrap();
        in_bare_child(|| {
            // It was the consumer's thread that forked, but nobody noted it.
            let result = elsewhere(|| producer.push(1));
            assert_eq!(result, Err(PushError::WouldDeadlock(1)));
            consumer.bind();
            assert_eq!(consumer.pop(), Ok(0));
            pass(&producer, &mut consumer);
            true
        });
    });
}

/// The id of a process can be that of its parent, where each is the first of its namespace.
#[test]
#[cfg(target_os = "linux")]
fn a_child_with_the_process_id_of_its_parent_is_told_from_it() {
    watch();
    let begins_a_namespace = || {
        // SAFETY: it has no preconditions.
        unsafe { libc::unshare(libc::CLONE_NEWPID) == 0 }
    };
    in_child(|| {
        if !begins_a_namespace() {
            // It takes a privilege.
            return;
        }
        in_child(|| {
            let (producer, _consumer) = full_elsewhere();
            assert!(std::process::id() == 1 && begins_a_namespace());
            in_child(|| {
                assert_eq!(std::process::id(), 1);
                assert_eq!(producer.push(1), Err(PushError::WouldDeadlock(1)));
            });
        });
    });
}

/// Forks in a real signal handler on top of a call that sleeps.
mod in_a_handler {
    use super::*;
    use std::os::unix::thread::JoinHandleExt;
    use std::sync::atomic::{AtomicBool, AtomicI32};

    static CHILD: AtomicI32 = AtomicI32::new(0);
    static IS_CHILD: AtomicBool = AtomicBool::new(false);
    /// What else is done in the child.
    static IN_CHILD: Mutex<fn()> = Mutex::new(|| {});

    extern "C" fn fork(_signal: libc::c_int) {
        // SAFETY: what it interrupted is a system call.
        match unsafe { libc::fork() } {
            0 => {
                limit_time();
                IS_CHILD.store(true, Ordering::Relaxed);
                IN_CHILD.lock().unwrap()();
            }
            child => CHILD.store(child, Ordering::Release),
        }
    }

    /// Does `sleeps` on a thread that is interrupted by a fork when it sleeps. The child goes on in
    /// `sleeps`, and ends well if that says so; the parent calls `wake`.
    fn interrupt(sleeps: impl FnOnce() -> bool + Send + 'static, wake: impl FnOnce()) {
        static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
        watch();
        let _alone = ONE_AT_A_TIME.lock();
        // SAFETY: all zeros are an empty mask.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = fork as *const () as libc::sighandler_t;
        // What can be is restarted, as if there had been no handler.
        action.sa_flags = libc::SA_RESTART;
        // SAFETY: the addresses are valid or null.
        let result = unsafe { libc::sigaction(libc::SIGUSR1, &action, std::ptr::null_mut()) };
        assert_eq!(result, 0);
        let sleeping = thread::spawn(move || {
            let is_well = sleeps();
            if IS_CHILD.load(Ordering::Relaxed) {
                // SAFETY: it has no preconditions.
                unsafe { libc::_exit(i32::from(!is_well)) };
            }
        });
        // So that it does not only nap.
        thread::sleep(Duration::from_millis(100));
        CHILD.store(0, Ordering::Relaxed);
        // SAFETY: the thread has not been joined.
        unsafe { libc::pthread_kill(sleeping.as_pthread_t() as _, libc::SIGUSR1) };
        while CHILD.load(Ordering::Acquire) == 0 {
            thread::yield_now();
        }
        assert_ended_well(CHILD.load(Ordering::Relaxed));
        wake();
        sleeping.join().unwrap();
    }

    #[test]
    fn a_push_that_sleeps_is_refused_in_the_child_and_sleeps_on_in_the_parent() {
        let (producer, consumer) = full_elsewhere();
        interrupt(
            move || match producer.push(1) {
                Err(PushError::WouldDeadlock(1)) => IS_CHILD.load(Ordering::Relaxed),
                result => result == Ok(()) && !IS_CHILD.load(Ordering::Relaxed),
            },
            || assert_eq!((consumer.pop(), consumer.pop()), (0, 1)),
        );
    }

    /// A waits in a push for room in the queue of B, which begins only in the child. When A looks
    /// again, its wait is one of the child's.
    #[test]
    fn a_push_that_sleeps_on_in_the_child_is_in_the_way_of_one_that_closes_a_cycle_there() {
        static TO_A: OnceLock<Producer<u32>> = OnceLock::new();
        static TO_B: StaticQueue<u32, 1, 0> = StaticQueue::new();
        TO_B.try_push(0).unwrap();
        let a = || {
            let (producer, mut consumer) = Builder::new(1).bypass(0).build();
            consumer.bind();
            producer.push(0).unwrap();
            TO_A.set(producer).unwrap();
            TO_B.push(1) == Ok(())
        };
        fn b() {
            // SAFETY: nobody has the consumer.
            let mut consumer = unsafe { TO_B.reclaim_consumer() };
            consumer.bind();
            // Until A has looked again.
            thread::sleep(Duration::from_millis(1500));
            let result = TO_A.get().unwrap().push_timeout(2, Duration::from_secs(10));
            assert_eq!(result, Err(PushTimeoutError::WouldDeadlock(2)));
            // Dropped, it would end the push of A before this ends the child.
            std::mem::forget(consumer);
        }
        *IN_CHILD.lock().unwrap() = || _ = thread::spawn(|| end_with(b));
        interrupt(a, || {
            let mut consumer = TO_B.consumer().unwrap();
            assert_eq!((consumer.pop(), consumer.pop()), (Ok(0), Ok(1)));
        });
        *IN_CHILD.lock().unwrap() = || {};
    }

    #[test]
    fn a_drop_of_a_listener_that_waits_ends_in_the_child() {
        let (producer, consumer) = bounded(1);
        let (go_on, wait) = channel::<()>();
        let handled = InCommon::new();
        let listener = Listener::spawn("stuck", consumer, move |item| {
            wait.recv().unwrap_err();
            handled.add(item);
        });
        producer.push(0).unwrap();
        interrupt(
            move || {
                drop(listener.unwrap());
                producer.push(1).unwrap_err().is_closed()
            },
            || drop(go_on),
        );
        assert_eq!(handled.get()[..2], [1, 0]);
    }

    #[test]
    fn a_flush_that_waits_ends_in_the_child_and_says_why() {
        let (producer, consumer) = bounded(1);
        let (go_on, wait) = channel::<()>();
        let handler = move |_: u8| _ = wait.recv();
        let listener = Arc::new(Listener::spawn("stuck", consumer, handler).unwrap());
        producer.push(0).unwrap();
        let flushes = listener.clone();
        interrupt(
            move || {
                let result = flushes.flush(FOR_EVER);
                match IS_CHILD.load(Ordering::Relaxed) {
                    true => {
                        result.is_err_and(|error| (error.kind(), error.left()) == (Kind::Forked, 1))
                    }
                    false => result == Ok(()),
                }
            },
            || drop(go_on),
        );
    }
}

/// Counts how often the handler of a stuck listener has begun.
const IS_STUCK: u32 = 15;

/// A listener whose handler counts in common memory, once it is let go.
fn stuck_listener() -> (Producer<u32>, Listener, Sender<()>, InCommon) {
    let (producer, consumer) = bounded(8);
    let (handled, (go_on, wait)) = (InCommon::new(), channel::<()>());
    let handler = move |item| {
        handled.add(IS_STUCK);
        let _ = wait.recv();
        handled.add(item);
    };
    (producer, Listener::spawn("stuck", consumer, handler).unwrap(), go_on, handled)
}

#[test]
fn a_listener_ends_at_once_in_the_child_and_handles_each_item_once_in_the_parent() {
    watch();
    let (producer, listener, go_on, handled) = stuck_listener();
    (0..4).for_each(|item| producer.push(item).unwrap());
    while handled.get()[IS_STUCK as usize] == 0 {
        thread::yield_now();
    }
    in_child(|| {
        assert_left(listener.flush(FOR_EVER), Kind::Forked, 4);
        assert!(!producer.is_closed());
        assert_left(listener.stop(FOR_EVER), Kind::Forked, 4);
        assert!(producer.push(5).unwrap_err().is_closed());
        elsewhere(|| assert_left(listener.flush(FOR_EVER), Kind::Forked, 4));
        drop(copy_of(&listener));
        drop(copy_of(&producer));
    });
    in_child(|| drop(copy_of(&listener)));
    drop(go_on);
    assert_eq!(listener.stop(FOR_EVER), Ok(()));
    assert_eq!(handled.get()[..5], [1, 1, 1, 1, 0]);
    // It has ended: there is nothing to wait for in a child either.
    in_child(|| {
        assert_eq!((listener.flush(FOR_EVER), listener.stop(FOR_EVER)), (Ok(()), Ok(())));
        drop(copy_of(&listener));
    });
}

#[test]
fn a_listener_that_is_being_stopped_ends_at_once_in_the_child() {
    watch();
    let (producer, listener, go_on, handled) = stuck_listener();
    (0..3).for_each(|item| producer.push(item).unwrap());
    thread::scope(|scope| {
        let stops = scope.spawn(|| listener.stop(FOR_EVER));
        while !producer.is_closed() {
            thread::yield_now();
        }
        for _ in 0..20 {
            in_child(|| {
                assert!(listener.stop(FOR_EVER).unwrap_err().is_forked());
                assert!(listener.flush(FOR_EVER).unwrap_err().is_forked());
            });
        }
        drop(go_on);
        assert_eq!(stops.join().unwrap(), Ok(()));
    });
    assert_eq!(handled.get()[..4], [1, 1, 1, 0]);
}

#[test]
fn a_handler_that_forks_and_returns_goes_on_in_the_child_with_a_copy_of_the_rest() {
    watch();
    let (producer, consumer) = bounded(8);
    let handled = InCommon::new();
    let (hand_over, listener) = channel::<Arc<Listener>>();
    let (forks, forked) = channel();
    let mut is_child = false;
    let log = producer.clone();
    let handler = move |item| {
        handled.add(item);
        if item == 0 {
            let own = listener.recv().unwrap();
            // SAFETY: the child uses no lock that others may have held.
            let child = unsafe { libc::fork() };
            is_child = child == 0;
            if is_child {
                limit_time();
                let results = [own.flush(FOR_EVER), own.stop(FOR_EVER)];
                if !results.iter().all(|result| result.unwrap_err().is_forked()) || !log.is_closed()
                {
                    // SAFETY: it has no preconditions.
                    unsafe { libc::_exit(1) };
                }
                std::mem::forget(own);
            } else {
                forks.send(child).unwrap();
            }
        } else if item == 2 && is_child {
            // SAFETY: it has no preconditions.
            unsafe { libc::_exit(0) };
        }
    };
    let listener = Arc::new(Listener::spawn("forks", consumer, handler).unwrap());
    (0..3).for_each(|item| producer.push(item).unwrap());
    // The handler waits for it, so the child has all three.
    hand_over.send(listener.clone()).unwrap();
    assert_ended_well(forked.recv().unwrap());
    assert_eq!(listener.stop(FOR_EVER), Ok(()));
    assert_eq!(handled.get()[..4], [1, 2, 2, 0]);
}

#[test]
fn a_static_queue_that_was_reclaimed_is_no_concern_of_the_listener_of_the_parent() {
    static QUEUE: StaticQueue<u32, 4, 1> = StaticQueue::new();
    watch();
    let listener = Listener::spawn("test", QUEUE.consumer().unwrap(), drop).unwrap();
    listener.flush(FOR_EVER).unwrap();
    in_child(|| {
        assert!(QUEUE.consumer().is_none());
        // SAFETY: the thread that has it is in the parent.
        let mut consumer = unsafe { QUEUE.reclaim_consumer() };
        // Neither unbound nor bound.
        assert!(listener.stop(FOR_EVER).unwrap_err().is_forked() && !QUEUE.is_closed());
        // SAFETY: no thread of this process is inside a push or pop.
        assert_eq!(unsafe { consumer.recover() }, 0);
        drop(copy_of(&listener));
        QUEUE.push(1).unwrap();
        thread::scope(|scope| {
            let pushes = scope.spawn(|| (2..100).try_for_each(|i| QUEUE.push(i)));
            assert!(consumer.iter().take(99).eq(1..100));
            assert_eq!(pushes.join().unwrap(), Ok(()));
        });
        drop(consumer);
        assert!(QUEUE.is_closed() && QUEUE.consumer().is_some());
    });
    assert_eq!(listener.stop(FOR_EVER), Ok(()));
}

/// Threads that are stopped at every atomic step when the fork comes, and forks at every atomic
/// step of a push. Run with `RUSTFLAGS="--cfg bywash_steps"`.
#[cfg(bywash_steps)]
mod at_every_step {
    use super::*;
    use std::cell::Cell;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use bywash::steps::hooked;
    use bywash::{Heap, Queue, StaticConsumer};

    /// How often each item was dropped in this process.
    static DROPS: [AtomicU32; 128] = [const { AtomicU32::new(0) }; 128];

    struct Item(u32);

    impl Drop for Item {
        fn drop(&mut self) {
            DROPS[self.0 as usize].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The first item of a thread that is stopped, and that of another one, which was stopped
    /// before and has claimed. Others count from 0.
    const ITS: u32 = 100;
    const EARLIER: u32 = 120;

    const CAPACITY: usize = 3;
    const BYPASS: usize = 2;
    /// Long enough for a nap and a sleep after it.
    const SHORT: Duration = Duration::from_millis(10);
    /// How many there may be of others.
    const MOST: u32 = 16;

    /// A queue on the heap or a static one, as those who push see it.
    trait Pushes: Clone + Send + Sync + 'static {
        type Queue: Queue<Item = Item> + Send;

        fn build() -> (Self, Consumer<Item, Self::Queue>);
        /// The consumer, in place of the one that is in use by a thread that does not go on.
        fn take_over(&self, other: &Its<Self>) -> Consumer<Item, Self::Queue>;
        fn push(&self, item: Item) -> Result<(), PushError<Item>>;
        fn push_timeout(&self, item: Item, time: Duration) -> Result<(), PushTimeoutError<Item>>;
        fn try_push(&self, item: Item) -> Result<(), TryPushError<Item>>;
        fn try_push_many(&self, items: &mut VecDeque<Item>) -> Result<usize, TryPushError<()>>;
        fn len(&self) -> usize;
        fn bypass_len(&self) -> usize;
    }

    macro_rules! as_the_queue_does {
        ($queue:ty) => {
            fn push(&self, item: Item) -> Result<(), PushError<Item>> {
                <$queue>::push(self, item)
            }
            fn push_timeout(
                &self,
                item: Item,
                time: Duration,
            ) -> Result<(), PushTimeoutError<Item>> {
                <$queue>::push_timeout(self, item, time)
            }
            fn try_push(&self, item: Item) -> Result<(), TryPushError<Item>> {
                <$queue>::try_push(self, item)
            }
            fn try_push_many(&self, items: &mut VecDeque<Item>) -> Result<usize, TryPushError<()>> {
                <$queue>::try_push_many(self, items)
            }
            fn len(&self) -> usize {
                <$queue>::len(self)
            }
            fn bypass_len(&self) -> usize {
                <$queue>::bypass_len(self)
            }
        };
    }

    impl Pushes for Arc<Producer<Item>> {
        type Queue = Heap<Item>;

        fn build() -> (Self, Consumer<Item>) {
            let (producer, consumer) = Builder::new(CAPACITY).bypass(BYPASS).build();
            (Arc::new(producer), consumer)
        }
        fn take_over(&self, other: &Its<Self>) -> Consumer<Item> {
            // SAFETY: the other one is used by nobody any more.
            copy_of(unsafe { &*other.0 })
        }
        as_the_queue_does!(Producer<Item>);
    }

    type Static = StaticQueue<Item, CAPACITY, BYPASS>;

    impl Pushes for &'static Static {
        type Queue = bywash::Claimed<'static, Item, CAPACITY, BYPASS>;

        fn build() -> (Self, StaticConsumer<'static, Item, CAPACITY, BYPASS>) {
            let queue: &'static Static = Box::leak(Box::new(StaticQueue::new()));
            (queue, queue.consumer().unwrap())
        }
        fn take_over(&self, _other: &Its<Self>) -> StaticConsumer<'static, Item, CAPACITY, BYPASS> {
            assert!(self.consumer().is_none());
            // SAFETY: the other one is used by nobody any more.
            unsafe { self.reclaim_consumer() }
        }
        as_the_queue_does!(Static);
    }

    /// The consumer, never freed, that a thread may be using for ever.
    struct Its<P: Pushes>(*mut Consumer<Item, P::Queue>);

    // SAFETY: one thread at a time uses it.
    unsafe impl<P: Pushes> Send for Its<P> {}

    impl<P: Pushes> Clone for Its<P> {
        fn clone(&self) -> Self {
            Self(self.0)
        }
    }

    impl<P: Pushes> Its<P> {
        fn new(consumer: Consumer<Item, P::Queue>) -> Self {
            Self(Box::into_raw(Box::new(consumer)))
        }

        #[allow(clippy::mut_from_ref, reason = "one thread at a time uses it")]
        fn get(&self) -> &mut Consumer<Item, P::Queue> {
            // SAFETY: never freed, and one thread at a time uses it.
            unsafe { &mut *self.0 }
        }
    }

    /// What a thread does that is stopped in it.
    struct Case<P: Pushes> {
        name: &'static str,
        /// How many items there are before.
        filled: u32,
        /// Whether a push that has claimed is stopped before those.
        behind_another: bool,
        /// How many items it may have popped.
        pops: u32,
        run: fn(P, Its<P>),
    }

    fn cases<P: Pushes>() -> Vec<Case<P>> {
        let push = |filled| Case {
            name: "a push that may sleep",
            filled,
            behind_another: false,
            pops: 0,
            run: |producer: P, _| {
                if let Err(error) = producer.push_timeout(Item(ITS), SHORT) {
                    std::mem::forget(error.into_inner());
                }
            },
        };
        let batch = |filled| Case {
            name: "a batch",
            run: |producer: P, _| {
                let mut items = VecDeque::from([Item(ITS), Item(ITS + 1)]);
                let _ = producer.try_push_many(&mut items);
                items.into_iter().for_each(std::mem::forget);
            },
            ..push(filled)
        };
        let beside = |filled| Case {
            name: "a push and a batch in the domain",
            run: |producer: P, consumer| {
                let _inside = consumer.get().domain().enter();
                if let Err(error) = producer.try_push(Item(ITS)) {
                    std::mem::forget(error.into_inner());
                }
                let mut items = VecDeque::from([Item(ITS + 1), Item(ITS + 2)]);
                let _ = producer.try_push_many(&mut items);
                items.into_iter().for_each(std::mem::forget);
            },
            ..push(filled)
        };
        let pop = |(filled, behind_another)| Case {
            name: "a pop that may sleep",
            filled,
            behind_another,
            pops: 1,
            run: |_, consumer| std::mem::forget(consumer.get().pop_timeout(SHORT)),
        };
        let pop_many = |(filled, behind_another)| Case {
            name: "two pops, and one of a batch",
            pops: 4,
            run: |_: P, consumer| {
                std::mem::forget(consumer.get().try_pop());
                std::mem::forget(consumer.get().try_pop());
                let mut popped = Vec::new();
                let _ = consumer.get().try_pop_many(&mut popped, 2);
                std::mem::forget(popped);
            },
            ..pop((filled, behind_another))
        };
        let full = CAPACITY as u32;
        let fills = [(0, false), (1, false), (full, false), (full + 1, false)];
        let fills_behind = [(1, true), (full - 1, true), (full, true)];
        let fills = fills.into_iter().chain(fills_behind);
        let mut cases = Vec::new();
        cases.extend((0..=full).map(push));
        cases.extend((0..full).map(batch));
        cases.extend((full - 1..full + BYPASS as u32).map(beside));
        cases.extend(fills.clone().map(pop));
        cases.extend(fills.map(pop_many));
        cases
    }

    /// How a thread is when it does not go on.
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum State {
        Stopped,
        Ended,
    }

    /// Runs `run` on a thread that stops for ever before the step for which `is_there` says so.
    fn stop(
        is_there: impl Fn(u32) -> bool + Send + 'static,
        run: impl FnOnce() + Send + 'static,
    ) -> State {
        let (tell, told) = channel();
        thread::spawn(move || {
            let step = Cell::new(0);
            let hook = || {
                if is_there(step.replace(step.get() + 1)) {
                    tell.send(()).unwrap();
                    loop {
                        thread::park();
                    }
                }
            };
            hooked(&hook, run);
        });
        match told.recv() {
            Ok(()) => State::Stopped,
            Err(_) => State::Ended,
        }
    }

    impl<P: Pushes> Case<P> {
        /// Stops a thread before step `at`, and looks what becomes of the queue: in a child, and
        /// where that thread is given up in this process.
        fn run(&self, at: u32) -> State {
            DROPS.iter().for_each(|count| count.store(0, Ordering::Relaxed));
            let (producer, consumer) = P::build();
            let consumer = Its::<P>::new(consumer);
            if self.behind_another {
                let (sees, pushes) = (producer.clone(), producer.clone());
                let earlier =
                    stop(move |_| sees.len() == 1, move || _ = pushes.push(Item(EARLIER)));
                assert_eq!(earlier, State::Stopped);
            }
            consumer.get().bind();
            (0..self.filled).for_each(|item| producer.push(Item(item)).ok().unwrap());
            let (run, pushes, its) = (self.run, producer.clone(), consumer.clone());
            let state = stop(move |step| step == at, move || run(pushes, its));
            in_child(|| self.check(&producer, producer.take_over(&consumer), state));
            self.check(&producer, producer.take_over(&consumer), state);
            state
        }

        fn check(&self, producer: &P, mut consumer: Consumer<Item, P::Queue>, state: State) {
            let claimed = (producer.len() + producer.bypass_len()) as u32;
            // SAFETY: nobody else goes on in a push or pop.
            let given_up = unsafe { consumer.recover() } as u32;
            // SAFETY: as above.
            assert_eq!(unsafe { consumer.recover() }, 0, "again");
            let popped: Vec<u32> = consumer.try_iter().map(|item| item.0).collect();
            let (its, others): (Vec<u32>, Vec<u32>) = popped.iter().partition(|&&item| item >= ITS);
            let first = self.filled - others.len() as u32;
            assert!(first <= self.pops && others.into_iter().eq(first..self.filled), "{popped:?}");
            assert!(its.iter().copied().eq((ITS..).take(its.len())), "{popped:?}");
            let unfinished = match self.pops {
                0 => claimed - self.filled - its.len() as u32,
                _ => self.behind_another.into(),
            };
            assert_eq!(given_up, unfinished, "given up");
            assert!(state != State::Ended || given_up == u32::from(self.behind_another));
            for (item, drops) in DROPS.iter().enumerate() {
                let expected = popped.contains(&(item as u32)).into();
                assert_eq!(drops.load(Ordering::Relaxed), expected, "drops of {item}");
            }
            pass_laps(producer, consumer);
        }
    }

    /// How many steps a push and a pop take.
    fn steps<P: Pushes>(producer: &P, consumer: &mut Consumer<Item, P::Queue>) -> u32 {
        let count = Cell::new(0);
        hooked(&|| count.set(count.get() + 1), || {
            producer.try_push(Item(0)).ok().unwrap();
            drop(consumer.try_pop().ok().unwrap());
        });
        count.get()
    }

    /// The same, of a queue through which a lap has passed.
    fn steps_of_new<P: Pushes>() -> u32 {
        let (producer, mut consumer) = P::build();
        (0..CAPACITY).for_each(|_| producer.try_push(Item(0)).ok().unwrap());
        consumer.try_iter().for_each(drop);
        steps(&producer, &mut consumer)
    }

    /// States that the queue is as good as new.
    fn pass_laps<P: Pushes>(producer: &P, mut consumer: Consumer<Item, P::Queue>) {
        let all = (CAPACITY + BYPASS) as u32;
        for _ in 0..4 {
            assert_eq!(consumer.len(), 0);
            (0..all).for_each(|item| producer.try_push(Item(item)).ok().unwrap());
            assert!(producer.try_push(Item(MOST)).is_err_and(|error| error.is_full()));
            assert!(consumer.try_iter().map(|item| item.0).eq(0..all));
        }
        // No pop looks for those who slept, and no push for a consumer that did.
        assert_eq!(steps(producer, &mut consumer), steps_of_new::<P>());
        thread::scope(|scope| {
            let pushes = scope.spawn(|| {
                (0..MOST).for_each(|item| producer.push(Item(item)).ok().unwrap());
            });
            (0..MOST).for_each(|item| assert_eq!(consumer.pop().ok().unwrap().0, item));
            pushes.join().unwrap();
            let (binds, bound) = channel();
            let pops = scope.spawn(move || {
                consumer.bind();
                binds.send(()).unwrap();
                (0..MOST).for_each(|item| assert_eq!(consumer.pop().ok().unwrap().0, item));
            });
            bound.recv().unwrap();
            (0..MOST).for_each(|item| producer.push(Item(item)).ok().unwrap());
            pops.join().unwrap();
        });
        assert!(producer.try_push(Item(MOST)).is_err_and(|error| error.is_closed()));
    }

    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

    fn recovers_from_a_thread_stopped_anywhere<P: Pushes>() {
        watch();
        let _alone = ONE_AT_A_TIME.lock();
        for case in cases::<P>() {
            let Case { name, filled, behind_another, .. } = case;
            let stopped = InCommon::new();
            let is_stopped = |&at: &u32| {
                // In a process of its own, so that no stopped threads gather here.
                in_child(|| {
                    let state = catch_unwind(AssertUnwindSafe(|| case.run(at)));
                    match state {
                        Ok(State::Stopped) => stopped.add(0),
                        Ok(State::Ended) => {}
                        Err(_) => {
                            panic!("{name}, {filled} before, behind: {behind_another}, step {at}")
                        }
                    }
                });
                stopped.get()[0] > at
            };
            let stops = (0..).take_while(is_stopped).count();
            assert!(stops > 3, "{name}: {stops} steps");
        }
    }

    #[test]
    fn a_queue_recovers_from_a_thread_stopped_anywhere() {
        recovers_from_a_thread_stopped_anywhere::<Arc<Producer<Item>>>();
    }

    #[test]
    fn a_static_queue_recovers_from_a_thread_stopped_anywhere() {
        recovers_from_a_thread_stopped_anywhere::<&'static Static>();
    }

    /// Ring and bypass are closed one after the other.
    #[test]
    fn a_queue_that_was_being_closed_is_closed_or_not() {
        watch();
        let _alone = ONE_AT_A_TIME.lock();
        for at in 0.. {
            let (producer, consumer) = <Arc<Producer<Item>>>::build();
            producer.push(Item(0)).ok().unwrap();
            let consumer = Its::<Arc<Producer<Item>>>::new(consumer);
            let its = consumer.clone();
            let state = stop(move |step| step == at, move || its.get().close());
            in_child(|| {
                let mut consumer = producer.take_over(&consumer);
                // SAFETY: nobody else goes on in a push or pop.
                assert_eq!(unsafe { consumer.recover() }, 0);
                if producer.is_closed() {
                    assert_eq!(consumer.iter().count(), 1);
                } else {
                    // The graph of waits is asked for its number first.
                    assert!(at <= 1 && consumer.try_pop().is_ok());
                    pass_laps(&producer, consumer);
                }
            });
            if state == State::Ended {
                assert!(at > 2, "ring and bypass");
                break;
            }
        }
    }

    /// The child returns from the handler into the push.
    #[test]
    fn a_handler_may_fork_at_any_step_of_a_push_that_sleeps() {
        watch();
        let _alone = ONE_AT_A_TIME.lock();
        // The first look, the announcement, a nap, and the long sleep.
        for at in 0..30 {
            let (producer, consumer) = full_elsewhere();
            let (step, child) = (Cell::new(0), Cell::new(None));
            let hook = || {
                if step.replace(step.get() + 1) == at {
                    // SAFETY: the child ends below.
                    let forked = unsafe { libc::fork() };
                    child.set(Some(forked));
                    if forked == 0 {
                        limit_time();
                        return;
                    }
                    assert_ended_well(forked);
                    consumer.tell.send(()).unwrap();
                }
            };
            let result = hooked(&hook, || producer.push(1));
            if child.get() == Some(0) {
                end_with(|| assert_eq!(result, Err(PushError::WouldDeadlock(1))));
            }
            assert_eq!((result, consumer.popped.recv()), (Ok(()), Ok(0)), "at step {at}");
        }
    }
}
