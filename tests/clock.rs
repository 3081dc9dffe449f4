//! A timeout of zero asks no clock. On some targets, `wasm32-unknown-unknown` among them, there is
//! none, and the standard library panics. Here the program's own `clock_gettime` counts who asks.
//! (With 32 bits, the standard library asks another function.)
#![cfg(all(feature = "std", target_os = "linux", target_pointer_width = "64", not(bywash_loom)))]

use std::cell::Cell;
use std::time::{Duration, Instant};

use bywash::{
    Builder, Consumer, PopTimeoutError, Producer, PushTimeoutError, StaticQueue, TryPushError,
};

thread_local! {
    static ASKED: Cell<u32> = const { Cell::new(0) };
}

/// Takes the place of the C library's.
///
/// # Safety
///
/// As the system call of that name.
#[unsafe(no_mangle)]
unsafe extern "C" fn clock_gettime(
    clock: libc::clockid_t,
    time: *mut libc::timespec,
) -> libc::c_int {
    ASKED.set(ASKED.get() + 1);
    // SAFETY: the caller guarantees it.
    unsafe { libc::syscall(libc::SYS_clock_gettime, clock, time) as libc::c_int }
}

#[track_caller]
fn asks_no_clock<R>(call: impl FnOnce() -> R) -> R {
    let before = ASKED.get();
    let result = call();
    assert_eq!(ASKED.get(), before, "asked a clock");
    result
}

fn without_bypass() -> (Producer<u32>, Consumer<u32>) {
    Builder::new(1).bypass(0).build()
}

const ZERO: Duration = Duration::ZERO;

#[test]
fn this_test_counts() {
    let before = ASKED.get();
    let _ = Instant::now();
    assert_eq!(ASKED.get(), before + 1);
    let (producer, _consumer) = without_bypass();
    producer.push(1).unwrap();
    let _ = producer.push_timeout(2, Duration::from_nanos(1));
    assert!(ASKED.get() > before + 1);
}

#[test]
fn a_push_with_a_timeout_of_zero_asks_no_clock() {
    let (producer, mut consumer) = without_bypass();
    let pushes: [fn(&Producer<u32>, u32, Duration) -> _; 2] =
        [Producer::push_timeout, Producer::push_timeout_or_count];
    for push in pushes {
        let push = || asks_no_clock(|| push(&producer, 1, ZERO));
        consumer.unbind();
        assert_eq!(push(), Ok(()));
        assert_eq!(push(), Err(PushTimeoutError::Timeout(1)));
        consumer.bind();
        assert_eq!(push(), Err(PushTimeoutError::WouldDeadlock(1)));
        assert_eq!(consumer.try_pop(), Ok(1));
    }
    drop(consumer);
    let closed = asks_no_clock(|| producer.push_timeout(1, ZERO));
    assert_eq!(closed, Err(PushTimeoutError::Closed(1)));
}

#[test]
fn a_pop_with_a_timeout_of_zero_asks_no_clock() {
    let (producer, mut consumer) = without_bypass();
    let mut pop = || asks_no_clock(|| consumer.pop_timeout(ZERO));
    assert_eq!(pop(), Err(PopTimeoutError::Timeout));
    producer.push(1).unwrap();
    assert_eq!(pop(), Ok(1));
    drop(producer);
    assert_eq!(pop(), Err(PopTimeoutError::Closed));
}

#[test]
fn a_push_that_waits_for_no_time_to_be_popped_asks_no_clock() {
    let (producer, mut consumer) = without_bypass();
    let push = || asks_no_clock(|| producer.try_push_and_wait(1, ZERO));
    assert_eq!(push(), Ok(false));
    assert_eq!(push(), Err(TryPushError::Full(1)));
    assert_eq!(consumer.try_pop(), Ok(1));
}

#[test]
fn nor_does_a_static_queue() {
    static QUEUE: StaticQueue<u32, 1, 0> = StaticQueue::new();
    assert_eq!(asks_no_clock(|| QUEUE.push_timeout(1, ZERO)), Ok(()));
    let full = asks_no_clock(|| QUEUE.push_timeout_or_count(1, ZERO));
    assert_eq!(full, Err(PushTimeoutError::Timeout(1)));
}
