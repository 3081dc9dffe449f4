//! `event_fd` and `arm`: a consumer in an event loop. It misses nothing that is pushed after
//! arming, no push writes to the descriptor for nothing, and a forked child leaves that of its
//! parent alone.
#![cfg(all(target_os = "linux", not(any(bywash_loom, bywash_portable))))]

#[path = "support/children.rs"]
mod children;
#[path = "support/handlers.rs"]
mod handlers;
#[allow(dead_code, reason = "other tests use the rest")]
#[path = "support/signals.rs"]
mod signals;
mod support;

use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::thread;
use std::time::Duration;

use bywash::{Builder, Consumer, Producer, Queue, StaticQueue, TryPopError, bounded};
use children::{copy_of, in_child};
use handlers::{at_next_signal, in_handler, install, send};
use signals::{errno, set_errno};
use support::{pin, settle, watch};

/// Whether the descriptor is readable, or becomes so within `timeout` milliseconds; -1 waits
/// forever.
fn poll(descriptor: &OwnedFd, timeout: i32) -> bool {
    let mut entry = libc::pollfd { fd: descriptor.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: there is one entry.
    unsafe { libc::poll(&mut entry, 1, timeout) };
    entry.revents == libc::POLLIN
}

fn is_readable(descriptor: &OwnedFd) -> bool {
    poll(descriptor, 0)
}

/// A `pop` that sleeps in `poll` only, and there without a timeout. Returns `None` once the queue
/// is closed.
fn pop_by_poll<T, Q: Queue<Item = T>>(
    consumer: &mut Consumer<T, Q>,
    descriptor: &OwnedFd,
) -> Option<T> {
    loop {
        match consumer.try_pop() {
            Ok(item) => return Some(item),
            Err(TryPopError::Closed) => return None,
            Err(TryPopError::Empty) if consumer.arm() => _ = poll(descriptor, -1),
            Err(TryPopError::Empty) => {}
        }
    }
}

/// An armed consumer, and its descriptor.
fn armed() -> (Producer<usize>, Consumer<usize>, OwnedFd) {
    watch();
    let (producer, mut consumer) = bounded(2);
    let descriptor = consumer.event_fd().unwrap();
    assert!(consumer.arm());
    assert!(!is_readable(&descriptor));
    (producer, consumer, descriptor)
}

#[test]
fn each_kind_of_push_makes_it_readable() {
    let pushes: [fn(&Producer<usize>); 8] = [
        |producer| producer.try_push(1).unwrap(),
        |producer| producer.push(1).unwrap(),
        |producer| producer.push_timeout(1, Duration::ZERO).unwrap(),
        |producer| producer.try_push_within(1, 1).unwrap(),
        |producer| producer.try_push_or_count(1).unwrap(),
        |producer| assert_eq!(producer.try_push_and_wait(1, Duration::ZERO), Ok(false)),
        |producer| assert_eq!(producer.try_push_many(&mut [1].into()), Ok(1)),
        |producer| producer.push_many(&mut [1].into()).unwrap(),
    ];
    for push in pushes {
        let (producer, mut consumer, descriptor) = armed();
        push(&producer);
        assert!(is_readable(&descriptor));
        assert_eq!(consumer.try_pop(), Ok(1));
    }
}

#[test]
fn poll_wakes_for_a_push_of_another_thread() {
    let (producer, mut consumer, descriptor) = armed();
    let polling = thread::spawn(move || (poll(&descriptor, -1), consumer.try_pop()));
    settle();
    producer.push(1).unwrap();
    assert_eq!(polling.join().unwrap(), (true, Ok(1)));
}

#[test]
fn a_push_from_a_handler_makes_it_readable_and_leaves_errno_alone() {
    let (producer, mut consumer, descriptor) = armed();
    in_handler(libc::SIGUSR1, &|| {
        set_errno(1234);
        producer.try_push(1).unwrap();
        assert_eq!(errno(), 1234);
    });
    assert!(is_readable(&descriptor));
    assert_eq!(consumer.try_pop(), Ok(1));
}

#[test]
fn a_handler_on_the_very_thread_that_sleeps_in_poll_wakes_it() {
    install(libc::SIGUSR2);
    for _ in 0..20 {
        let (producer, mut consumer, descriptor) = armed();
        let polling = thread::spawn(move || {
            at_next_signal(libc::SIGUSR2, move || producer.try_push(1).unwrap());
            pop_by_poll(&mut consumer, &descriptor)
        });
        // The handler does nothing until it has a job.
        thread::sleep(Duration::from_millis(2));
        while !polling.is_finished() {
            send(&polling, libc::SIGUSR2);
            thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(polling.join().unwrap(), Some(1));
    }
}

#[test]
fn closing_makes_it_readable() {
    let (producer, mut consumer, descriptor) = armed();
    consumer.close();
    assert!(is_readable(&descriptor));
    assert!(!consumer.arm());
    drop(producer);

    let (producer, mut consumer, descriptor) = armed();
    let polling = thread::spawn(move || (poll(&descriptor, -1), consumer.try_pop()));
    let last = producer.clone();
    drop(producer);
    settle();
    drop(last);
    assert_eq!(polling.join().unwrap(), (true, Err(TryPopError::Closed)));
}

#[test]
fn arming_is_refused_while_an_item_is_in_the_bypass() {
    watch();
    let (producer, mut consumer) = Builder::new(1).bypass(2).build();
    let descriptor = consumer.event_fd().unwrap();
    consumer.bind();
    assert!(consumer.arm());
    producer.try_push(1).unwrap();
    assert!(is_readable(&descriptor));
    producer.try_push(2).unwrap();
    assert_eq!(consumer.try_pop(), Ok(1));
    assert_eq!(producer.bypassed(), 1);
    assert!(!consumer.arm(), "an item is in the bypass");
    assert_eq!(consumer.try_pop(), Ok(2));
    assert!(consumer.arm());
}

#[test]
fn arming_is_refused_while_there_is_an_item_and_then_nothing_is_written() {
    let (producer, mut consumer, descriptor) = armed();
    producer.try_push(1).unwrap();
    assert!(!consumer.arm());
    assert!(!is_readable(&descriptor), "cleared, though not armed");
    producer.try_push(2).unwrap();
    assert!(!is_readable(&descriptor), "not armed");
    assert!(consumer.try_iter().eq(1..=2));

    drop(producer);
    assert!(!consumer.arm(), "closed and empty");
}

#[test]
fn arming_is_refused_while_a_closed_queue_is_not_drained() {
    let (producer, mut consumer) = bounded(2);
    producer.push(1).unwrap();
    drop(producer);
    assert!(!consumer.arm());
    assert_eq!(consumer.try_pop(), Ok(1));
    assert!(!consumer.arm());
    assert_eq!(consumer.try_pop(), Err(TryPopError::Closed));
}

#[test]
fn nothing_is_written_for_a_consumer_that_is_not_armed() {
    watch();
    let (producer, mut consumer) = bounded(2);
    let descriptor = consumer.event_fd().unwrap();
    for _ in 0..3 {
        producer.try_push(1).unwrap();
        assert!(!is_readable(&descriptor));
        assert_eq!(consumer.pop(), Ok(1));
        assert!(consumer.pop_timeout(Duration::from_millis(3)).is_err());
        assert!(!is_readable(&descriptor));
    }
}

#[test]
fn one_push_disarms() {
    let (producer, mut consumer, descriptor) = armed();
    producer.try_push(1).unwrap();
    let mut count = 0u64;
    // SAFETY: eight bytes are written.
    let read = unsafe { libc::read(descriptor.as_raw_fd(), (&raw mut count).cast(), 8) };
    assert_eq!((read, count), (8, 1));
    producer.try_push(2).unwrap();
    assert!(!is_readable(&descriptor));
    assert!(consumer.try_iter().eq(1..=2));
    assert!(consumer.arm());
    producer.try_push(3).unwrap();
    assert!(is_readable(&descriptor));
}

#[test]
fn arming_clears() {
    let (producer, mut consumer, descriptor) = armed();
    for _ in 0..3 {
        producer.try_push(1).unwrap();
        assert!(is_readable(&descriptor));
        assert_eq!(consumer.try_pop(), Ok(1));
        assert!(is_readable(&descriptor), "a pop does not clear it");
        assert!(consumer.arm());
        assert!(!is_readable(&descriptor));
        assert!(consumer.arm(), "arming again does no harm");
    }
}

#[test]
fn two_descriptors_are_the_same_one() {
    let (producer, mut consumer, one) = armed();
    let two = consumer.event_fd().unwrap();
    assert_ne!(one.as_raw_fd(), two.as_raw_fd());
    producer.try_push(1).unwrap();
    assert!(is_readable(&one) && is_readable(&two));
    drop(one);
    assert_eq!(consumer.try_pop(), Ok(1));
    assert!(consumer.arm());
    assert!(!is_readable(&two));
    producer.try_push(2).unwrap();
    assert!(is_readable(&two));
    for descriptor in [&two, &consumer.event_fd().unwrap()] {
        // SAFETY: the descriptor is open.
        let flags = unsafe { libc::fcntl(descriptor.as_raw_fd(), libc::F_GETFD) };
        assert_eq!(flags, libc::FD_CLOEXEC, "programs that this one starts do not inherit it");
    }
}

#[test]
fn a_descriptor_outlives_its_queue() {
    let (producer, consumer, descriptor) = armed();
    drop(consumer);
    assert!(is_readable(&descriptor), "closed");
    drop(producer);
    let (other, mut its) = bounded(1);
    let its_descriptor = its.event_fd().unwrap();
    assert!(its.arm());
    other.push(1).unwrap();
    assert!(is_readable(&its_descriptor) && is_readable(&descriptor));
}

#[test]
fn it_stays_with_a_consumer_that_is_moved_to_another_thread() {
    let (producer, consumer, descriptor) = armed();
    let consumer = thread::spawn(move || consumer).join().unwrap();
    producer.try_push(1).unwrap();
    assert!(is_readable(&descriptor));
    let polling = thread::spawn(move || {
        let mut consumer = consumer;
        let sum: usize = std::iter::from_fn(|| pop_by_poll(&mut consumer, &descriptor)).sum();
        sum
    });
    settle();
    (2..=10).for_each(|item| producer.push(item).unwrap());
    drop(producer);
    assert_eq!(polling.join().unwrap(), 55);
}

#[test]
fn arming_binds_the_consumer_to_its_thread() {
    watch();
    let (producer, mut consumer) = bounded::<u8>(1);
    assert!(!consumer.arm(), "no descriptor was asked for");
    assert!(producer.must_not_wait());
}

#[test]
fn the_next_consumer_of_a_static_queue_has_the_same_descriptor() {
    static QUEUE: StaticQueue<u8, 2, 0> = StaticQueue::new();
    watch();
    let mut first = QUEUE.consumer().unwrap();
    let descriptor = first.event_fd().unwrap();
    assert!(first.arm());
    drop(first);
    assert!(is_readable(&descriptor), "closed");
    let mut second = QUEUE.consumer().unwrap();
    let its = second.event_fd().unwrap();
    assert!(is_readable(&its), "not armed yet");
    assert!(second.arm());
    assert!(!is_readable(&its) && !is_readable(&descriptor));
    QUEUE.try_push(1).unwrap();
    assert!(is_readable(&its) && is_readable(&descriptor));
    assert_eq!(second.try_pop(), Ok(1));
}

#[test]
fn an_armed_consumer_may_also_pop() {
    let (producer, mut consumer, descriptor) = armed();
    let popping = thread::spawn(move || {
        (consumer.pop(), consumer.pop_timeout(Duration::from_millis(1)), consumer)
    });
    settle();
    producer.push(1).unwrap();
    let (popped, nothing, _consumer) = popping.join().unwrap();
    assert!(popped == Ok(1) && nothing.is_err());
    // The consumer was awake in between.
    let was_readable = is_readable(&descriptor);
    producer.push(2).unwrap();
    assert_eq!(is_readable(&descriptor), was_readable);
}

/// Closes what a daemon closes, and opens files under the numbers that are free now.
fn files_in_place_of_descriptors() -> Vec<File> {
    // SAFETY: this process, a child, uses none of them any more.
    (3..1024).for_each(|fd| _ = unsafe { libc::close(fd) });
    let open = |_| {
        // SAFETY: the name is a valid string.
        let fd = unsafe { libc::memfd_create(c"file".as_ptr(), 0) };
        assert!(fd >= 3);
        // SAFETY: it is open, and nobody else's.
        unsafe { File::from_raw_fd(fd) }
    };
    (0..256).map(open).collect()
}

#[test]
fn a_child_that_has_closed_the_descriptor_does_not_write_into_the_file_in_its_place() {
    let (producer, mut consumer, _descriptor) = armed();
    let mut untouched = |act: &mut dyn FnMut(&mut Consumer<usize>)| {
        in_child(|| {
            let files = files_in_place_of_descriptors();
            act(&mut consumer);
            for file in &files {
                assert_eq!(file.metadata().unwrap().len(), 0, "{file:?}");
            }
        });
    };
    untouched(&mut |_| producer.try_push(1).unwrap());
    untouched(&mut |consumer| consumer.close());
    untouched(&mut |consumer| assert!(!consumer.arm()));
}

#[test]
fn a_child_that_drops_the_queue_closes_no_file_in_the_place_of_the_descriptor() {
    let (producer, consumer, _descriptor) = armed();
    in_child(|| {
        let files = files_in_place_of_descriptors();
        drop((copy_of(&producer), copy_of(&consumer)));
        for file in &files {
            assert_eq!(file.metadata().expect("it was closed").len(), 0, "{file:?}");
        }
    });
}

#[test]
fn nothing_that_a_child_does_makes_the_descriptor_of_its_parent_readable_or_clears_it() {
    let (producer, mut consumer, descriptor) = armed();
    in_child(|| producer.try_push(1).unwrap());
    in_child(|| in_child(|| producer.try_push(1).unwrap()));
    in_child(|| consumer.close());
    in_child(|| drop((copy_of(&producer), copy_of(&consumer))));
    assert!(!is_readable(&descriptor));
    producer.try_push(1).unwrap();
    assert!(is_readable(&descriptor));
    assert_eq!(consumer.try_pop(), Ok(1));
    in_child(|| assert!(!consumer.arm()));
    assert!(is_readable(&descriptor), "cleared");
}

/// A child, or its child, makes its own, and closes none. `parents` is what it has a copy of.
fn uses_one_of_its_own(
    producer: &Producer<usize>,
    consumer: &mut Consumer<usize>,
    parents: &OwnedFd,
) {
    assert!(!consumer.arm(), "there is none in this process");
    let own = consumer.event_fd().unwrap();
    producer.try_push(1).unwrap();
    assert!(!is_readable(&own) && !is_readable(parents), "not armed");
    assert_eq!(consumer.try_pop(), Ok(1));
    assert!(consumer.arm());
    producer.try_push(2).unwrap();
    assert!(is_readable(&own) && !is_readable(parents));
    assert_eq!(consumer.try_pop(), Ok(2));

    assert!(consumer.arm());
    assert!(!is_readable(&own));
    thread::scope(|scope| {
        let polling = scope.spawn(|| pop_by_poll(consumer, &own));
        producer.push(3).unwrap();
        assert_eq!(polling.join().unwrap(), Some(3));
    });
    let again = consumer.event_fd().unwrap();
    assert!(consumer.arm());
    producer.try_push(4).unwrap();
    assert!(is_readable(&own) && is_readable(&again), "the same one");
    assert!(!is_readable(parents));
    assert_eq!(consumer.try_pop(), Ok(4));
    assert!(consumer.arm());
}

#[test]
fn a_child_has_a_descriptor_of_its_own() {
    let (producer, mut consumer, descriptor) = armed();
    in_child(|| {
        uses_one_of_its_own(&producer, &mut consumer, &descriptor);
        let own = consumer.event_fd().unwrap();
        in_child(|| uses_one_of_its_own(&producer, &mut consumer, &own));
    });
    in_child(|| {
        // SAFETY: no thread of this process is inside a push or pop.
        assert_eq!(unsafe { consumer.recover() }, 0);
        uses_one_of_its_own(&producer, &mut consumer, &descriptor);
    });
    in_child(|| {
        uses_one_of_its_own(&producer, &mut consumer, &descriptor);
        // SAFETY: as above.
        assert_eq!(unsafe { consumer.recover() }, 0);
        let own = consumer.event_fd().unwrap();
        assert!(consumer.arm());
        producer.try_push(1).unwrap();
        assert!(is_readable(&own) && !is_readable(&descriptor));
    });
    producer.try_push(1).unwrap();
    assert!(is_readable(&descriptor), "still armed");
}

#[test]
fn a_child_that_makes_its_descriptor_is_not_armed_though_its_parent_was() {
    let (producer, mut consumer, _descriptor) = armed();
    in_child(|| {
        let own = consumer.event_fd().unwrap();
        producer.try_push(1).unwrap();
        assert!(!is_readable(&own));
    });
}

/// Producers push against a consumer that waits in `poll` only, and there without a timeout.
fn storm(capacity: usize, producers: usize) {
    const ITEMS: usize = 20_000;
    watch();
    let (producer, mut consumer) = bounded(capacity);
    let descriptor = consumer.event_fd().unwrap();
    thread::scope(|scope| {
        for core in 0..producers {
            let producer = producer.clone();
            scope.spawn(move || {
                pin(core);
                (0..ITEMS).for_each(|item| producer.push(core * ITEMS + item).unwrap());
            });
        }
        drop(producer);
        let mut next = vec![0; producers];
        while let Some(item) = pop_by_poll(&mut consumer, &descriptor) {
            assert_eq!(item % ITEMS, next[item / ITEMS]);
            next[item / ITEMS] += 1;
        }
        assert_eq!(next, vec![ITEMS; producers]);
    });
}

#[test]
fn no_wake_is_lost_by_a_poll_without_a_timeout() {
    for (capacity, producers) in [(1, 1), (1, 3), (4, 2), (256, 2)] {
        storm(capacity, producers);
    }
}

#[test]
fn no_wake_is_lost_between_two_threads_that_answer_each_other() {
    watch();
    let (there, mut from_here) = bounded(1);
    let (back, mut from_there) = bounded(1);
    thread::scope(|scope| {
        scope.spawn(move || {
            pin(1);
            let descriptor = from_here.event_fd().unwrap();
            while let Some(item) = pop_by_poll(&mut from_here, &descriptor) {
                back.push(item + 1).unwrap();
            }
        });
        scope.spawn(move || {
            pin(0);
            let descriptor = from_there.event_fd().unwrap();
            for item in 0..10_000 {
                there.push(item).unwrap();
                assert_eq!(pop_by_poll(&mut from_there, &descriptor), Some(item + 1));
            }
        });
    });
}

/// Run with `RUSTFLAGS="--cfg bywash_steps"`.
#[cfg(bywash_steps)]
mod at_every_step {
    use super::*;
    use bywash::steps::hooked;
    use children::{assert_ended_well, end_with, limit_time};
    use std::cell::{Cell, RefCell};
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    /// Calls `run` with a queue and a hook that calls `nested` before step `at`, for each step in
    /// turn.
    fn interrupt(
        run: impl Fn(&Producer<usize>, &RefCell<Consumer<usize>>, &dyn Fn(), &OwnedFd),
        nested: impl Fn(&Producer<usize>, &RefCell<Consumer<usize>>),
    ) {
        watch();
        for at in 0.. {
            let (producer, mut consumer) = bounded(2);
            let descriptor = consumer.event_fd().unwrap();
            let (consumer, step) = (RefCell::new(consumer), Cell::new(0));
            let hook = || {
                if step.replace(step.get() + 1) == at {
                    nested(&producer, &consumer);
                }
            };
            run(&producer, &consumer, &hook, &descriptor);
            if step.get() <= at {
                break;
            }
        }
    }

    #[test]
    fn a_push_while_it_is_armed_is_not_missed() {
        let arm = |_: &Producer<usize>,
                   consumer: &RefCell<Consumer<usize>>,
                   hook: &dyn Fn(),
                   descriptor: &OwnedFd| {
            let mut consumer = consumer.borrow_mut();
            let is_armed = hooked(hook, || consumer.arm());
            let is_there = consumer.try_iter().count() == 1;
            assert!(!(is_armed && is_there) || is_readable(descriptor), "missed");
        };
        interrupt(arm, |producer, _| producer.try_push(1).unwrap());
        interrupt(arm, |producer, _| {
            _ = thread::scope(|scope| scope.spawn(|| producer.try_push(1)).join().unwrap())
        });
    }

    #[test]
    fn arming_at_any_step_of_a_push_does_not_miss_it() {
        let is_armed = Cell::new(false);
        let push = |producer: &Producer<usize>,
                    consumer: &RefCell<_>,
                    hook: &dyn Fn(),
                    descriptor: &OwnedFd| {
            is_armed.set(false);
            hooked(hook, || producer.try_push(1).unwrap());
            assert!(!is_armed.get() || is_readable(descriptor), "missed");
            let mut consumer: std::cell::RefMut<Consumer<usize>> = consumer.borrow_mut();
            assert_eq!(consumer.try_pop(), Ok(1));
        };
        interrupt(push, |_, consumer| is_armed.set(consumer.borrow_mut().arm()));
    }

    /// The waker is stopped after it has claimed the wake and before it has written. The next waker
    /// writes.
    #[test]
    fn a_push_on_top_of_a_stopped_waker_is_not_missed() {
        let push = |producer: &Producer<usize>,
                    consumer: &RefCell<Consumer<usize>>,
                    hook: &dyn Fn(),
                    _: &OwnedFd| {
            assert!(consumer.borrow_mut().arm());
            hooked(hook, || producer.try_push(1).unwrap());
        };
        interrupt(push, |producer, consumer| {
            producer.try_push(2).unwrap();
            // A handler that never returns would leave it like this.
            let descriptor = consumer.borrow_mut().event_fd().unwrap();
            assert!(is_readable(&descriptor));
        });
    }

    /// Something happens in between: another push, or a consumer that pops everything and arms
    /// again.
    #[test]
    fn a_push_that_finds_it_armed_leaves_errno_alone() {
        let push = |producer: &Producer<usize>,
                    consumer: &RefCell<Consumer<usize>>,
                    hook: &dyn Fn(),
                    _: &OwnedFd| {
            assert!(consumer.borrow_mut().arm());
            set_errno(1234);
            hooked(hook, || producer.try_push(1).unwrap());
            assert_eq!(errno(), 1234);
        };
        interrupt(push, |producer, _| {
            producer.try_push(2).unwrap();
            assert_eq!(errno(), 1234);
        });
        interrupt(push, |_, consumer| {
            let _ = consumer.borrow_mut().try_pop();
            let _ = consumer.borrow_mut().arm();
            // Another thread does this while the push is stopped.
            set_errno(1234);
        });
    }

    #[test]
    fn closing_while_it_is_armed_is_not_missed() {
        for at in 0.. {
            let (producer, mut consumer) = bounded::<usize>(2);
            let descriptor = consumer.event_fd().unwrap();
            let (producer, step) = (Cell::new(Some(producer)), Cell::new(0));
            let hook = || {
                if step.replace(step.get() + 1) == at {
                    drop(producer.take());
                }
            };
            let is_armed = hooked(&hook, || consumer.arm());
            let is_last = step.get() <= at;
            assert!(!is_armed || is_last || is_readable(&descriptor), "missed at step {at}");
            if is_last {
                break;
            }
        }
    }

    /// For each step of `act` in turn, a handler forks there, and returns in the child, too, once
    /// the parent has done what it does then. Each does that with a queue that has a descriptor if
    /// `is_made`.
    fn fork_at_each_step(
        is_made: bool,
        act: impl Fn(&mut Consumer<usize>),
        in_parent: impl Fn(&Producer<usize>, &mut Consumer<usize>),
        in_child: impl Fn(&Producer<usize>, &mut Consumer<usize>),
        in_parent_at_last: impl Fn(&mut Consumer<usize>),
    ) {
        watch();
        for at in 0.. {
            let (producer, mut consumer) = bounded(2);
            // The first time that a thread does so takes steps of its own.
            consumer.bind();
            let _descriptor = is_made.then(|| consumer.event_fd().unwrap());
            let (mut goes_on, waits) = UnixStream::pair().unwrap();
            let (step, forked) = (Cell::new(0), Cell::new(None));
            let hook = || {
                if step.replace(step.get() + 1) == at {
                    // SAFETY: the child has this thread, and ends below.
                    forked.set(Some(unsafe { libc::fork() }));
                    if forked.get() == Some(0) {
                        limit_time();
                        (&waits).read_exact(&mut [0]).unwrap();
                    }
                }
            };
            hooked(&hook, || act(&mut consumer));
            match forked.get() {
                None => break,
                Some(0) => end_with(|| in_child(&producer, &mut consumer)),
                Some(child) => {
                    in_parent(&producer, &mut consumer);
                    goes_on.write_all(&[0]).unwrap();
                    assert_ended_well(child);
                    in_parent_at_last(&mut consumer);
                }
            }
        }
    }

    /// Makes its descriptor readable, and says which it is.
    fn signalled(producer: &Producer<usize>, consumer: &mut Consumer<usize>) -> OwnedFd {
        let descriptor = consumer.event_fd().unwrap();
        assert!(consumer.arm());
        producer.try_push(1).unwrap();
        assert!(is_readable(&descriptor));
        descriptor
    }

    /// The child goes on with what its parent has interrupted: it clears no descriptor but its own.
    #[test]
    fn a_handler_may_fork_at_any_step_of_arming() {
        fork_at_each_step(
            true,
            |consumer| _ = consumer.arm(),
            |producer, consumer| _ = signalled(producer, consumer),
            |producer, consumer| _ = signalled(producer, consumer),
            |consumer| assert!(is_readable(&consumer.event_fd().unwrap()), "cleared"),
        );
    }

    /// The parent has armed, and nobody has pushed there.
    #[test]
    fn a_handler_may_fork_at_any_step_of_making_a_descriptor() {
        fork_at_each_step(
            false,
            |consumer| _ = consumer.event_fd().unwrap(),
            |_, consumer| assert!(consumer.event_fd().is_ok() && consumer.arm()),
            |producer, consumer| _ = signalled(producer, consumer),
            |consumer| assert!(!is_readable(&consumer.event_fd().unwrap()), "the child's"),
        );
    }
}
