//! How a thread waits for its queue.

use std::env;
use std::hint::spin_loop;
use std::sync::LazyLock;
use std::thread;

use crate::rivals::{Receiver, Sender};

pub(super) trait Waiting {
    fn send<T, S: Sender<T>>(sender: &mut S, item: T);
    fn receive<T, R: Receiver<T>>(receiver: &mut R) -> T;
}

/// As the queue does it.
pub(super) struct Sleeping;

impl Waiting for Sleeping {
    #[inline]
    fn send<T, S: Sender<T>>(sender: &mut S, item: T) {
        sender.put(item);
    }

    #[inline]
    fn receive<T, R: Receiver<T>>(receiver: &mut R) -> T {
        receiver.take()
    }
}

/// Tries again and again, and lets others run after many failures: they may be what it waits for.
pub(super) struct Spinning;

/// How often a spinning consumer pauses after it has found nothing: once, or as the variable says.
/// To see what a consumer that polls less often is worth.
static CONSUMER_PAUSES: LazyLock<u32> = LazyLock::new(|| {
    let pauses = env::var("BYWASH_CONSUMER_PAUSES");
    pauses.map_or(1, |pauses| pauses.parse().expect("BYWASH_CONSUMER_PAUSES is a number"))
});

impl Spinning {
    const FAILURES: u32 = 100;

    #[inline]
    fn pause(failures: &mut u32, pauses: u32) {
        *failures += 1;
        if failures.is_multiple_of(Self::FAILURES) {
            thread::yield_now();
        } else {
            (0..pauses).for_each(|_| spin_loop());
        }
    }
}

impl Waiting for Spinning {
    #[inline]
    fn send<T, S: Sender<T>>(sender: &mut S, mut item: T) {
        let mut failures = 0;
        while let Err(back) = sender.try_put(item) {
            item = back;
            Self::pause(&mut failures, 1);
        }
    }

    #[inline]
    fn receive<T, R: Receiver<T>>(receiver: &mut R) -> T {
        let mut failures = 0;
        let pauses = *CONSUMER_PAUSES;
        loop {
            if let Some(item) = receiver.try_take() {
                return item;
            }
            Self::pause(&mut failures, pauses);
        }
    }
}
