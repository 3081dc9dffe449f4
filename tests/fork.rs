//! What a forked child does with the queues of its parent: pushes are refused where they would wait
//! for a thread that is not there, the copy of a consumer goes on, and nothing hangs.
//!
//! Each child has a time limit and says in its exit status whether all was well. With
//! `RUSTFLAGS="--cfg bywash_steps"`, other threads are stopped at every atomic step when the fork
//! comes, and a handler forks at every atomic step of a push.
#![cfg(all(unix, feature = "std", not(loom)))]

mod support;

use std::collections::VecDeque;
use std::fmt::Write;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use bywash::{
    Builder, Consumer, Listener, ListenerError, Producer, PushError, PushTimeoutError, StaticQueue,
    TryPushError, bounded,
};
use support::watch;

/// What a test with a hang in it waits for.
const FOR_EVER: Duration = Duration::MAX;

/// Ends this process, a child, with the verdict on `run`: 0 unless it panics or hangs.
fn end_with(run: impl FnOnce()) -> ! {
    // SAFETY: it has no preconditions.
    unsafe { libc::alarm(30) };
    // The test harness of the parent, which collects what is printed, is not there.
    set_hook(Box::new(|panic| {
        let mut text = String::new();
        let _ = writeln!(text, "in a child: {panic}");
        // SAFETY: the bytes are valid.
        unsafe { libc::write(2, text.as_ptr().cast(), text.len()) };
    }));
    let has_failed = catch_unwind(AssertUnwindSafe(run)).is_err();
    // SAFETY: it has no preconditions.
    unsafe { libc::_exit(has_failed.into()) }
}

/// Runs `run` in a child, and states that nothing was wrong there.
#[track_caller]
fn in_child(run: impl FnOnce()) {
    // SAFETY: the child has this thread, uses no lock that others may have held, and ends here.
    match unsafe { libc::fork() } {
        0 => end_with(run),
        child => assert_ended_well(child),
    }
}

#[track_caller]
fn assert_ended_well(child: libc::pid_t) {
    assert!(child > 0, "no child");
    let mut status = -1;
    // SAFETY: the address is valid.
    while unsafe { libc::waitpid(child, &mut status, 0) } != child {}
    assert_eq!(status, 0, "the child's status; {} is a hang", libc::SIGALRM);
}

/// The child's copy of what the parent has, as its own. The child ends before it leaves the scope of
/// the original.
fn copy_of<T>(original: &T) -> T {
    // SAFETY: the callers use only one of the two from here on.
    unsafe { std::ptr::read(original) }
}

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

/// A child of a system call, for which no handler of `pthread_atfork` runs. It must not allocate.
#[cfg(target_os = "linux")]
#[track_caller]
fn in_bare_child(run: impl FnOnce() -> bool) {
    // SAFETY: without flags it is a fork. The child uses nothing of the C library's that knows.
    match unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) } {
        0 => {
            // SAFETY: it has no preconditions.
            unsafe { libc::alarm(30) };
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

    extern "C" fn fork(_signal: libc::c_int) {
        // SAFETY: what it interrupted is a system call.
        match unsafe { libc::fork() } {
            0 => {
                // SAFETY: it has no preconditions.
                unsafe { libc::alarm(30) };
                IS_CHILD.store(true, Ordering::Relaxed);
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
        unsafe { libc::pthread_kill(sleeping.as_pthread_t(), libc::SIGUSR1) };
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
            move || match flushes.flush(FOR_EVER) {
                Err(ListenerError::Forked(1)) => IS_CHILD.load(Ordering::Relaxed),
                result => result == Ok(()) && !IS_CHILD.load(Ordering::Relaxed),
            },
            || drop(go_on),
        );
    }
}

/// A listener whose handler counts in common memory, once it is let go.
fn stuck_listener() -> (Producer<u32>, Listener, Sender<()>, InCommon) {
    let (producer, consumer) = bounded(8);
    let (handled, (go_on, wait)) = (InCommon::new(), channel::<()>());
    let handler = move |item| {
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
    // Until it is stuck in the first.
    while producer.len() > 3 {
        thread::yield_now();
    }
    in_child(|| {
        assert_eq!(listener.flush(FOR_EVER), Err(ListenerError::Forked(4)));
        assert!(!producer.is_closed());
        assert_eq!(listener.stop(FOR_EVER), Err(ListenerError::Forked(4)));
        assert!(producer.push(5).unwrap_err().is_closed());
        elsewhere(|| assert_eq!(listener.flush(FOR_EVER), Err(ListenerError::Forked(4))));
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
    let handler = move |item| {
        handled.add(item);
        if item == 0 {
            let own = listener.recv().unwrap();
            // SAFETY: the child uses no lock that others may have held.
            let child = unsafe { libc::fork() };
            is_child = child == 0;
            if is_child {
                // SAFETY: it has no preconditions.
                unsafe { libc::alarm(30) };
                let results = [own.flush(FOR_EVER), own.stop(FOR_EVER)];
                if !results.iter().all(|result| result.unwrap_err().is_forked()) {
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
    hand_over.send(listener.clone()).unwrap();
    (0..3).for_each(|item| producer.push(item).unwrap());
    assert_eq!(listener.stop(FOR_EVER), Ok(()));
    assert_ended_well(forked.recv().unwrap());
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
