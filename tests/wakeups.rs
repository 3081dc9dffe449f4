//! No thread that could go on sleeps forever, and no thread burns processor time while it waits.
#![cfg(all(feature = "std", not(bywash_loom)))]

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bywash::{Consumer, PopTimeoutError, Producer, PushTimeoutError, bounded};
use support::{pin, settle, watch};

/// Sends a number to and fro, so that `pop` and `push` sleep in turn.
fn ping_pong(rounds: u32, pinned: bool) {
    let (there, mut from_here) = bounded(1);
    let (back, mut from_there) = bounded(1);
    thread::scope(|scope| {
        scope.spawn(move || {
            if pinned {
                pin(1);
            }
            from_here.iter().for_each(|i: u32| back.push(i + 1).unwrap());
        });
        // A thread of its own, so that the test's thread does not stay pinned.
        scope.spawn(move || {
            if pinned {
                pin(0);
            }
            for i in 0..rounds {
                there.push(i).unwrap();
                assert_eq!(from_there.pop(), Ok(i + 1));
            }
        });
    });
}

#[test]
fn no_wake_up_is_lost_between_two_threads_that_answer_each_other() {
    watch();
    ping_pong(20_000, true);
    ping_pong(20_000, false);
}

#[test]
fn no_wake_up_is_lost_when_both_ends_sleep_now_and_then() {
    watch();
    for producers in [1, 2, 5] {
        let (producer, mut consumer) = bounded(1);
        thread::scope(move |scope| {
            for core in 0..producers {
                let producer = producer.clone();
                scope.spawn(move || {
                    pin(core);
                    (0..3_000).for_each(|i| pause(i, 7, || producer.push(1).unwrap()));
                });
            }
            drop(producer);
            let mut popped = 0;
            while let Ok(one) = consumer.pop() {
                popped += one;
                pause(popped, 11, || ());
            }
            assert_eq!(popped, producers as u32 * 3_000);
        });
    }
}

/// Calls `f`. At some values of `i` it first waits, for as long as others need to fall asleep.
fn pause<R>(i: u32, period: u32, f: impl FnOnce() -> R) -> R {
    if i % (period * 50) == 0 {
        thread::sleep(Duration::from_millis(3));
    }
    if i % period == 0 {
        thread::yield_now();
    }
    f()
}

/// Blocks `producers` threads in `push` on a full queue, calls `act`, and checks that exactly
/// `entered` of them get in.
fn assert_entered(
    capacity: usize,
    producers: usize,
    entered: usize,
    act: impl FnOnce(&mut Consumer<usize>),
) {
    watch();
    let (producer, mut consumer) = bounded(capacity);
    (0..capacity).for_each(|i| producer.push(i).unwrap());
    let inside = AtomicUsize::new(0);
    thread::scope(|scope| {
        for i in 0..producers {
            let (producer, inside) = (&producer, &inside);
            scope.spawn(move || {
                if producer.push(capacity + i).is_ok() {
                    inside.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        settle();
        act(&mut consumer);
        while inside.load(Ordering::SeqCst) < entered {
            thread::yield_now();
        }
        settle();
        assert_eq!(inside.load(Ordering::SeqCst), entered);
        assert_eq!(consumer.len(), capacity);
        drop(consumer);
    });
}

#[test]
fn a_consumer_that_pops_once_and_never_again_lets_one_of_several_producers_in() {
    for producers in [1, 2, 6] {
        assert_entered(1, producers, 1, |consumer| assert_eq!(consumer.try_pop(), Ok(0)));
        assert_entered(3, producers, 1, |consumer| assert_eq!(consumer.pop(), Ok(0)));
    }
}

#[test]
fn a_consumer_that_pops_k_lets_k_producers_in() {
    for k in 1..=4 {
        assert_entered(4, 8, k, |consumer| assert_eq!(consumer.try_iter().take(k).count(), k));
    }
    assert_entered(4, 8, 4, |consumer| assert_eq!(consumer.try_iter().take(4).count(), 4));
}

#[test]
fn a_wake_that_went_to_a_timed_out_producer_is_passed_on() {
    watch();
    for round in 0..50 {
        let (producer, mut consumer) = bounded(1);
        producer.push(0).unwrap();
        thread::scope(|scope| {
            let producer = &producer;
            let stays = scope.spawn(|| producer.push(2).unwrap());
            // These time out at about the time of the pop, and may have been woken for it.
            let leave: Vec<_> = (0..3)
                .map(|i| {
                    scope.spawn(move || {
                        producer.push_timeout(1, Duration::from_micros(5_000 + 100 * i))
                    })
                })
                .collect();
            thread::sleep(Duration::from_micros(4_900 + 10 * round));
            assert_eq!(consumer.try_pop(), Ok(0));
            let entered =
                leave.into_iter().filter_map(|thread| thread.join().unwrap().ok()).count();
            assert_eq!(
                consumer.try_iter().take(entered).filter(|&item| item == 1).count(),
                entered
            );
            stays.join().unwrap();
            assert_eq!(consumer.try_pop(), Ok(2));
        });
    }
}

#[test]
fn a_timeout_of_zero_and_a_deadline_in_the_past_try_once() {
    let (producer, mut consumer) = bounded(1);
    let past = Instant::now() - Duration::from_millis(1);
    assert_eq!(consumer.pop_timeout(Duration::ZERO), Err(PopTimeoutError::Timeout));
    assert_eq!(consumer.pop_deadline(past), Err(PopTimeoutError::Timeout));
    thread::scope(|scope| {
        scope.spawn(|| {
            assert_eq!(producer.push_timeout(1, Duration::ZERO), Ok(()));
            assert_eq!(producer.push_timeout(2, Duration::ZERO), Err(PushTimeoutError::Timeout(2)));
            assert_eq!(producer.push_deadline(2, past), Err(PushTimeoutError::Timeout(2)));
        });
    });
    assert_eq!(consumer.pop_timeout(Duration::ZERO), Ok(1));
    thread::scope(|scope| scope.spawn(|| producer.push_deadline(3, past).unwrap()).join().unwrap());
    assert_eq!(consumer.pop_deadline(past), Ok(3));
}

#[test]
fn a_timeout_lasts_at_least_as_long_as_was_asked_for() {
    let (producer, mut consumer) = bounded(1);
    for timeout in [0, 1, 300, 1_000, 5_000, 20_000].map(Duration::from_micros) {
        let start = Instant::now();
        assert!(consumer.pop_timeout(timeout).unwrap_err().is_timeout());
        assert!(consumer.pop_deadline(start + 2 * timeout).unwrap_err().is_timeout());
        assert!(start.elapsed() >= 2 * timeout);
    }
    producer.push(1).unwrap();
    let push = |timeout| {
        let start = Instant::now();
        assert!(producer.push_timeout(2, timeout).unwrap_err().is_timeout());
        assert!(producer.push_deadline(2, start + 2 * timeout).unwrap_err().is_timeout());
        assert!(start.elapsed() >= 2 * timeout);
    };
    thread::scope(|scope| {
        scope.spawn(|| [0, 1, 300, 1_000, 5_000, 20_000].map(Duration::from_micros).map(push));
    });
}

#[test]
fn sleepers_with_the_longest_timeouts_are_woken() {
    watch();
    let timeouts = [Duration::MAX, Duration::from_secs(u64::MAX), Duration::from_secs(1 << 40)];
    for timeout in timeouts {
        let (producer, mut consumer) = bounded(1);
        thread::scope(|scope| {
            let popping = scope.spawn(move || (consumer.pop_timeout(timeout), consumer));
            settle();
            producer.push(1).unwrap();
            let (popped, mut consumer) = popping.join().unwrap();
            assert_eq!(popped, Ok(1));
            producer.push(2).unwrap();
            let pushing = scope.spawn(|| producer.push_timeout(3, timeout));
            settle();
            assert_eq!((consumer.pop(), consumer.pop()), (Ok(2), Ok(3)));
            pushing.join().unwrap().unwrap();
        });
    }
}

#[test]
fn a_sleeping_consumer_is_woken_by_each_kind_of_push() {
    watch();
    let pushes: [fn(&Producer<u8>); 4] = [
        |producer| producer.try_push(1).unwrap(),
        |producer| producer.push(1).unwrap(),
        |producer| producer.push_timeout(1, Duration::ZERO).unwrap(),
        |producer| producer.push_deadline(1, Instant::now()).unwrap(),
    ];
    for push in pushes {
        let (producer, mut consumer) = bounded(1);
        let sleeping = thread::spawn(move || consumer.pop());
        settle();
        push(&producer);
        assert_eq!(sleeping.join().unwrap(), Ok(1));
    }
}

#[cfg(unix)]
mod in_handlers {
    use super::*;
    use bywash::StaticQueue;
    use std::os::unix::thread::JoinHandleExt;

    static QUEUE: StaticQueue<usize, 4, 4> = StaticQueue::new();
    static ACCEPTED: AtomicUsize = AtomicUsize::new(0);

    extern "C" fn push(_signal: libc::c_int) {
        if QUEUE.try_push(1).is_ok() {
            ACCEPTED.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn install(flags: libc::c_int) {
        // SAFETY: all zeros are an empty mask and no flags.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = push as *const () as libc::sighandler_t;
        action.sa_flags = flags;
        // SAFETY: the handler does nothing but what handlers may do.
        let error = unsafe { libc::sigaction(libc::SIGUSR1, &action, std::ptr::null_mut()) };
        assert_eq!(error, 0);
    }

    /// Sends `count` signals, one at a time, to a thread that sleeps in `pop`. The handler of each
    /// pushes one item on that thread.
    fn assert_each_signal_wakes(
        count: usize,
        pop: fn(&mut bywash::StaticConsumer<'static, usize, 4, 4>) -> usize,
    ) {
        let popped = &*Box::leak(Box::new(AtomicUsize::new(0)));
        let mut consumer = QUEUE.consumer().unwrap();
        let before = ACCEPTED.load(Ordering::SeqCst);
        let sleeping = thread::spawn(move || {
            consumer.bind();
            for _ in 0..count {
                popped.fetch_add(pop(&mut consumer), Ordering::SeqCst);
            }
        });
        for sent in 1..=count {
            if sent % 4 == 0 {
                // Long enough to be past the nap, in the sleep without a timeout.
                thread::sleep(Duration::from_millis(3));
            }
            // SAFETY: the thread has not been joined.
            let result = unsafe { libc::pthread_kill(sleeping.as_pthread_t() as _, libc::SIGUSR1) };
            assert_eq!(result, 0);
            while popped.load(Ordering::SeqCst) < sent {
                thread::yield_now();
            }
        }
        sleeping.join().unwrap();
        assert_eq!(ACCEPTED.load(Ordering::SeqCst) - before, count);
    }

    #[test]
    fn a_handler_that_pushes_on_the_very_thread_that_sleeps_in_pop_wakes_it() {
        watch();
        for flags in [0, libc::SA_RESTART] {
            install(flags);
            assert_each_signal_wakes(300, |consumer| consumer.pop().unwrap());
            assert_each_signal_wakes(300, |consumer| {
                consumer.pop_timeout(Duration::from_secs(3_600)).unwrap()
            });
        }
    }
}

/// The processor time that the calling thread has used.
#[cfg(all(target_os = "linux", not(bywash_portable)))]
fn processor_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the address is valid for the call.
    assert_eq!(unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) }, 0);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// The only time threshold in these files: far more than a sleeper needs, far less than a spinner
/// uses.
#[cfg(all(target_os = "linux", not(bywash_portable)))]
#[test]
fn a_blocked_thread_uses_hardly_any_processor_time() {
    let second = Duration::from_secs(1);
    let (_keep, mut empty) = bounded::<u8>(1);
    let (full, _keep) = bounded(1);
    full.push(0).unwrap();
    thread::scope(|scope| {
        scope.spawn(move || {
            assert!(empty.pop_timeout(second).is_err());
            assert!(processor_time() < second / 5, "in pop: {:?}", processor_time());
        });
        for _ in 0..2 {
            scope.spawn(|| {
                assert!(full.push_timeout(0, second).is_err());
                assert!(processor_time() < second / 5, "in push: {:?}", processor_time());
            });
        }
    });
}
