//! What a queue costs while nothing happens.

use std::thread;
use std::time::Duration;

use crate::rivals::{Queue, Receiver, Sender, for_each_queue};
use crate::workloads::threads::thread_time;

/// Processor time of threads that wait.
pub(crate) struct Idle {
    /// A consumer of an empty queue.
    pub(crate) consumer: Duration,
    /// A producer before a full queue.
    pub(crate) producer: Duration,
}

/// Watches the queue of this name.
pub(crate) fn idle(queue: &str, watch: Duration) -> Option<Idle> {
    let position = names().iter().position(|name| *name == queue)?;
    for_each_queue!(idle_queue)[position](watch)
}

fn idle_queue<Q: Queue>(watch: Duration) -> Option<Idle> {
    if !Q::SLEEPS {
        return None;
    }
    let (mut empty_senders, mut empty) = Q::bounded::<u64>(2, 1);
    let (mut full_senders, mut full) = Q::bounded::<u64>(2, 1);
    thread::scope(|scope| {
        let consumer = scope.spawn(move || {
            let start = thread_time();
            empty.take();
            thread_time() - start
        });
        let producer = scope.spawn(move || {
            while full_senders[0].try_put(0).is_ok() {}
            let start = thread_time();
            full_senders[0].put(0);
            thread_time() - start
        });
        thread::sleep(watch);
        empty_senders[0].put(0);
        full.take();
        let time =
            |thread: thread::ScopedJoinHandle<'_, _>| thread.join().expect("no rival panics");
        Some(Idle { consumer: time(consumer), producer: time(producer) })
    })
}

/// Of all queues.
pub(crate) fn names() -> Vec<&'static str> {
    for_each_queue!(name).map(|name| name()).into()
}

fn name<Q: Queue>() -> &'static str {
    Q::NAME
}
