//! `push_or_sleep`, `pop_or_sleep` and `visit`: what a language runtime needs.
#![cfg(all(feature = "std", not(any(bywash_loom, bywash_steps))))]

mod support;

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::thread;
use std::time::Instant;

use bywash::{Builder, PopTimeoutError, Producer, PushTimeoutError, TryPopError, bounded};
use support::{SleepWatch, watch};

/// Pushes as a runtime does that has a global lock.
fn push_with_lock<T>(
    lock: &Mutex<()>,
    producer: &Producer<T>,
    mut item: T,
) -> Result<(), PushTimeoutError<T>> {
    loop {
        let mut guard = Some(lock.lock().unwrap());
        let result = producer.push_or_sleep(item, None, |sleep| {
            guard = None;
            sleep();
            guard = Some(lock.lock().unwrap());
        });
        match result {
            Err(PushTimeoutError::Timeout(back)) => item = back,
            result => return result,
        }
    }
}

#[test]
fn one_lock_for_both_ends_is_no_deadlock_and_nothing_is_lost() {
    watch();
    let (lock, (producer, mut consumer)) = (Mutex::new(()), bounded(1));
    thread::scope(|scope| {
        for _ in 0..3 {
            let (lock, producer) = (&lock, producer.clone());
            scope.spawn(move || {
                (0..2_000).for_each(|i| push_with_lock(lock, &producer, i).unwrap())
            });
        }
        drop(producer);
        let mut sum = 0;
        loop {
            let guard = RefCell::new(Some(lock.lock().unwrap()));
            let result = consumer.pop_or_sleep(None, |sleep| {
                guard.replace(None);
                sleep();
                guard.replace(Some(lock.lock().unwrap()));
            });
            match result {
                Ok(i) => sum += i,
                Err(PopTimeoutError::Timeout) => {}
                Err(PopTimeoutError::Closed) => break,
            }
        }
        assert_eq!(sum, 3 * (0..2_000).sum::<i32>());
    });
}

#[test]
fn the_push_is_outside_of_the_sleep() {
    let (producer, mut consumer) = bounded(2);
    let never = |_: &mut (dyn FnMut() + Send)| unreachable!("there is room, or an item");
    assert_eq!(producer.push_or_sleep(1, None, never), Ok(()));
    assert_eq!(producer.push_or_sleep(2, None, never), Ok(()));
    let pushed = producer.push_or_sleep(3, None, |_| {
        assert_eq!(consumer.try_pop(), Ok(1));
        assert_eq!(producer.len(), 1);
    });
    assert_eq!(pushed, Ok(()));
    assert_eq!(consumer.pop_or_sleep(None, never), Ok(2));
    assert_eq!(consumer.pop_or_sleep(None, never), Ok(3));
    let producer = &producer;
    let popped = consumer.pop_or_sleep(None, |_| producer.push(4).unwrap());
    assert_eq!(popped, Ok(4));
}

#[test]
fn after_one_sleep_the_item_comes_back() {
    let (producer, mut consumer) = bounded(1);
    producer.push('a').unwrap();
    let sleeps = Cell::new(0);
    let count = |_: &mut (dyn FnMut() + Send)| sleeps.set(sleeps.get() + 1);
    assert_eq!(producer.push_or_sleep('b', None, count), Err(PushTimeoutError::Timeout('b')));
    assert_eq!(sleeps.get(), 1);
    assert_eq!(consumer.pop(), Ok('a'));
    assert_eq!(consumer.pop_or_sleep(None, count), Err(PopTimeoutError::Timeout));
    assert_eq!(sleeps.get(), 2);
}

#[test]
fn what_is_over_or_closed_or_never_ends_is_not_slept_for() {
    let never = |_: &mut (dyn FnMut() + Send)| unreachable!("no sleep");
    let (producer, mut consumer) = Builder::new(1).bypass(1).build();
    let now = Some(Instant::now());
    assert_eq!(consumer.pop_or_sleep(now, never), Err(PopTimeoutError::Timeout));
    consumer.unbind();
    producer.push(1).unwrap();
    assert_eq!(producer.push_or_sleep(2, now, never), Err(PushTimeoutError::Timeout(2)));
    consumer.bind();
    assert_eq!(producer.push_or_sleep(2, None, never), Ok(()));
    assert_eq!(producer.push_or_sleep(3, None, never), Err(PushTimeoutError::WouldDeadlock(3)));
    producer.close();
    assert_eq!(producer.push_or_sleep(3, None, never), Err(PushTimeoutError::Closed(3)));
    assert_eq!(consumer.try_iter().count(), 2);
    assert_eq!(consumer.pop_or_sleep(None, never), Err(PopTimeoutError::Closed));
}

/// With waits in slices, neither sees the other.
#[test]
fn two_readers_that_sleep_once_at_a_time_do_not_wait_in_a_circle() {
    watch();
    let (a, mut from_a) = Builder::new(1).bypass(0).build();
    let (b, mut from_b) = Builder::new(1).bypass(0).build();
    let lock = Mutex::new(());
    for i in 0..300 {
        a.push(i).unwrap();
        b.push(i).unwrap();
        let refused = thread::scope(|scope| {
            let one = scope.spawn(|| {
                from_a.bind();
                let is_refused = push_with_lock(&lock, &b, i).is_err();
                assert_eq!(from_a.pop(), Ok(i));
                is_refused
            });
            from_b.bind();
            let is_refused = push_with_lock(&lock, &a, i).is_err();
            assert_eq!(from_b.pop(), Ok(i));
            [is_refused, one.join().unwrap()]
        });
        // Where both were there at the same time, one was refused; and never both.
        assert_ne!(refused, [true, true]);
        for left in [from_a.try_pop(), from_b.try_pop()] {
            assert!(matches!(left, Ok(_) | Err(TryPopError::Empty)));
        }
    }
}

#[test]
fn a_close_ends_the_sleep_of_both_ends() {
    watch();
    let (producer, mut consumer) = bounded(1);
    let (full, _not_read) = bounded(1);
    full.push(0).unwrap();
    thread::scope(|scope| {
        let push = scope.spawn(|| push_with_lock(&Mutex::new(()), &full, 1));
        let pop = scope.spawn(move || {
            loop {
                match consumer.pop_or_sleep(None, |sleep| sleep()) {
                    Err(PopTimeoutError::Timeout) => {}
                    result => break result,
                }
            }
        });
        full.close();
        producer.close();
        assert_eq!(push.join().unwrap(), Err(PushTimeoutError::Closed(1)));
        assert_eq!(pop.join().unwrap(), Err::<u8, _>(PopTimeoutError::Closed));
    });
}

/// In the seconds that it would sleep otherwise, signals come again and again.
#[cfg(all(target_os = "linux", not(bywash_portable)))]
#[test]
fn a_signal_ends_the_sleep() {
    use std::os::unix::thread::JoinHandleExt;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    extern "C" fn nothing(_: i32) {}
    let handler = nothing as extern "C" fn(i32) as libc::sighandler_t;
    // With SA_RESTART, as `signal` has it.
    // SAFETY: the handler may be called anywhere.
    unsafe { libc::signal(libc::SIGUSR2, handler) };

    watch();
    let (producer, mut consumer) = bounded(1);
    producer.push(0).unwrap();
    let is_done = AtomicBool::new(false);
    // Of a second each, unless a signal ends them.
    let tries = 10;
    let sleeper = |mut once: Box<dyn FnMut() + Send>| {
        thread::spawn(move || {
            // No naps for want of a barrier.
            SleepWatch::default().begin();
            let is_short = |_: &_| {
                let start = Instant::now();
                once();
                start.elapsed() < Duration::from_millis(900)
            };
            (0..tries).filter(is_short).count()
        })
    };
    let full = producer.clone();
    let push = sleeper(Box::new(move || {
        let result = full.push_or_sleep(1, None, |sleep| sleep());
        assert!(result.unwrap_err().is_timeout());
    }));
    let (_keep, mut empty) = bounded::<u8>(1);
    let pop = sleeper(Box::new(move || {
        let result = empty.pop_or_sleep(None, |sleep| sleep());
        assert!(result.unwrap_err().is_timeout());
    }));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_done.load(Ordering::Relaxed) {
                for thread in [push.as_pthread_t(), pop.as_pthread_t()] {
                    // SAFETY: neither is joined yet.
                    unsafe { libc::pthread_kill(thread as _, libc::SIGUSR2) };
                }
                thread::yield_now();
            }
        });
        while !(push.is_finished() && pop.is_finished()) {
            thread::yield_now();
        }
        is_done.store(true, Ordering::Relaxed);
    });
    let short = [push.join().unwrap(), pop.join().unwrap()];
    assert!(short.iter().all(|&short| short > 0), "{short:?} of {tries} sleeps ended early");
    assert_eq!(consumer.pop(), Ok(0));
}

#[test]
fn a_panic_in_the_sleep_leaves_the_queue_usable() {
    watch();
    let (producer, mut consumer) = bounded(1);
    producer.push(1).unwrap();
    let panics = AssertUnwindSafe(|| producer.push_or_sleep(2, None, |_| panic!("in the sleep")));
    assert!(catch_unwind(panics).is_err());
    assert_eq!(consumer.pop(), Ok(1));
    let panics = AssertUnwindSafe(|| consumer.pop_or_sleep(None, |_| panic!("in the sleep")));
    assert!(catch_unwind(panics).is_err());
    thread::scope(|scope| {
        scope.spawn(|| (0..1000).for_each(|i| producer.push(i).unwrap()));
        assert!((0..1000).all(|i| consumer.pop() == Ok(i)));
    });
}

#[test]
fn a_visitor_sees_each_item_once() {
    let (producer, mut consumer) = Builder::new(3).bypass(3).build();
    consumer.bind();
    let seen = |consumer: &mut bywash::Consumer<String>| {
        let mut seen = Vec::new();
        consumer.visit(|item| seen.push(item.clone()));
        seen.sort();
        seen
    };
    assert!(seen(&mut consumer).is_empty());
    for lap in 0..5 {
        let all: Vec<_> = (0..6).map(|i| format!("{lap} {i}")).collect();
        all.iter().for_each(|item| producer.push(item.clone()).unwrap());
        for popped in 0..6 {
            assert_eq!(seen(&mut consumer), all[popped..]);
            assert_eq!(consumer.pop().as_ref(), Ok(&all[popped]));
        }
    }
    producer.push("kept".to_string()).unwrap();
    let panics = AssertUnwindSafe(|| consumer.visit(|_| panic!("in the visitor")));
    assert!(catch_unwind(panics).is_err());
    assert_eq!(consumer.pop().as_deref(), Ok("kept"));
}
