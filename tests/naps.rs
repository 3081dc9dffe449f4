//! Where threads nap, because there is no better way to sleep, one that waits for long naps for
//! long. With `--cfg bywash_portable`, on Linux, which counts how often a thread gives up its core.
#![cfg(all(feature = "std", bywash_portable, target_os = "linux", not(bywash_loom)))]

mod support;

use std::time::Duration;

use bywash::{Builder, Listener, bounded};
use support::watch;

const A_SECOND: Duration = Duration::from_secs(1);
/// About 40 until they are 32 ms long, and 30 in each second after that. However busy the machine
/// is, a nap is no shorter than it should be.
const FEW: i64 = 90;

/// How often the calling thread has gone to sleep.
fn sleeps() -> i64 {
    // SAFETY: all zeros are a valid one.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: the address is valid.
    assert_eq!(unsafe { libc::getrusage(libc::RUSAGE_THREAD, &mut usage) }, 0);
    usage.ru_nvcsw.into()
}

#[track_caller]
fn assert_sleeps_seldom(wait: impl FnOnce()) {
    let before = sleeps();
    wait();
    let count = sleeps() - before;
    assert!((10..=FEW).contains(&count), "{count} times in a second");
}

#[test]
fn a_push_that_waits_for_a_second_wakes_seldom() {
    watch();
    let (producer, _consumer) = Builder::new(1).build();
    producer.push(1).unwrap();
    assert_sleeps_seldom(|| assert!(producer.push_timeout(2, A_SECOND).is_err()));
}

#[test]
fn a_pop_that_waits_for_a_second_wakes_seldom() {
    watch();
    let (_producer, mut consumer) = bounded::<u8>(1);
    assert_sleeps_seldom(|| assert!(consumer.pop_timeout(A_SECOND).is_err()));
}

#[test]
fn a_flush_that_waits_for_a_second_wakes_seldom() {
    watch();
    let (producer, consumer) = bounded(1);
    let (go_on, may_go_on) = std::sync::mpsc::channel::<()>();
    let listener = Listener::spawn("stuck", consumer, move |()| _ = may_go_on.recv()).unwrap();
    producer.push(()).unwrap();
    assert_sleeps_seldom(|| {
        let result = listener.flush(A_SECOND);
        drop(go_on);
        assert!(result.is_err());
    });
}

#[test]
fn after_a_long_wait_naps_are_short_again() {
    watch();
    let (producer, mut consumer) = Builder::new(1).bypass(0).build();
    for _ in 0..2 {
        assert!(consumer.pop_timeout(A_SECOND / 4).is_err());
        producer.push(1).unwrap();
        assert_eq!(consumer.pop(), Ok(1));
    }
    let before = sleeps();
    assert!(consumer.pop_timeout(A_SECOND / 50).is_err());
    assert!(sleeps() - before > 5, "the first are of 20 µs");
}
