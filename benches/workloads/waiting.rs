//! How a thread waits for its queue.

use std::hint::spin_loop;
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

impl Spinning {
    const FAILURES: u32 = 100;

    #[inline]
    fn pause(failures: &mut u32) {
        *failures += 1;
        if failures.is_multiple_of(Self::FAILURES) {
            thread::yield_now();
        } else {
            spin_loop();
        }
    }
}

impl Waiting for Spinning {
    #[inline]
    fn send<T, S: Sender<T>>(sender: &mut S, mut item: T) {
        let mut failures = 0;
        while let Err(back) = sender.try_put(item) {
            item = back;
            Self::pause(&mut failures);
        }
    }

    #[inline]
    fn receive<T, R: Receiver<T>>(receiver: &mut R) -> T {
        let mut failures = 0;
        loop {
            if let Some(item) = receiver.try_take() {
                return item;
            }
            Self::pause(&mut failures);
        }
    }
}
