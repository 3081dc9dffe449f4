//! Which threads must not wait: exactly the consumer's thread and those in its domain, whichever
//! threads come and go.
#![cfg(all(feature = "std", not(bywash_loom)))]

mod support;

use std::cell::RefCell;
use std::collections::HashSet;
use std::mem::forget;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

use bywash::{Builder, Consumer, Producer, PushError, StaticQueue, bounded};

/// Runs `f` on a new thread.
fn elsewhere<R: Send>(f: impl FnOnce() -> R + Send) -> R {
    thread::scope(|scope| scope.spawn(f).join().unwrap())
}

fn queue() -> (Producer<u8>, Consumer<u8>) {
    support::watch();
    Builder::new(1).bypass(1).build()
}

/// One thread is the consumer's; the threads of the domain must not wait either.
#[test]
fn a_thread_in_the_domain_is_not_the_consumers_thread() {
    let (producer, mut consumer) = bounded::<u8>(1);
    let domain = consumer.domain();
    let guard = domain.enter();
    assert!(producer.must_not_wait() && !producer.is_consumer_thread());
    consumer.bind();
    drop(guard);
    assert!(producer.must_not_wait() && producer.is_consumer_thread());
    assert!(!elsewhere(|| producer.is_consumer_thread()));
}

#[test]
fn an_unbound_consumer_has_no_thread() {
    let (producer, consumer) = queue();
    assert!(!producer.must_not_wait());
    assert!(!elsewhere(|| producer.must_not_wait()));
    drop(consumer);
}

#[test]
fn the_latest_pop_or_bind_decides_which_thread_it_is() {
    let (producer, mut consumer) = queue();
    for _ in 0..3 {
        consumer.bind();
        assert!(producer.must_not_wait());
        assert!(!elsewhere(|| producer.must_not_wait()));
        elsewhere(|| {
            consumer.try_pop().unwrap_err();
            assert!(producer.must_not_wait());
        });
        assert!(!producer.must_not_wait());
    }
}

#[test]
fn moving_a_consumer_without_a_pop_leaves_it_bound_where_it_was() {
    let (producer, mut consumer) = queue();
    consumer.bind();
    let consumer = elsewhere(|| {
        let here = consumer;
        assert!(!producer.must_not_wait());
        here
    });
    assert!(producer.must_not_wait());
    drop(consumer);
}

#[test]
fn each_of_two_queues_knows_its_own_thread() {
    let (one, mut here) = queue();
    let (other, mut there) = queue();
    here.bind();
    elsewhere(|| {
        there.bind();
        assert_eq!((one.must_not_wait(), other.must_not_wait()), (false, true));
    });
    assert_eq!((one.must_not_wait(), other.must_not_wait()), (true, false));
    there.bind();
    assert!(one.must_not_wait() && other.must_not_wait());
}

/// Each thread becomes somebody's consumer while the one before it is at its very end, and so not
/// gone yet. What that one has given back is used again all the same, a little later.
#[cfg(target_os = "linux")]
#[test]
fn threads_that_come_while_others_end_do_not_use_up_the_numbers() {
    /// Of a thread-local that is destroyed after those of this crate, where that is known.
    struct AtTheEnd(Sender<()>, Receiver<()>);

    impl Drop for AtTheEnd {
        fn drop(&mut self) {
            self.0.send(()).unwrap();
            assert!(self.1.recv().is_err());
        }
    }

    thread_local!(static AT_THE_END: RefCell<Option<AtTheEnd>> = const { RefCell::new(None) });

    support::watch();
    let mut last = None::<(Sender<()>, JoinHandle<()>)>;
    for _ in 0..17_000 {
        let ((tells, is_at_its_end), (ends, end)) = (channel(), channel());
        let thread = thread::Builder::new().stack_size(64 << 10);
        let thread = thread.spawn(move || {
            AT_THE_END.set(Some(AtTheEnd(tells, end)));
            let (_producer, mut consumer) = queue();
            consumer.bind();
        });
        is_at_its_end.recv().unwrap();
        if let Some((ends, last)) = last.replace((ends, thread.unwrap())) {
            drop(ends);
            last.join().unwrap();
        }
    }
    drop(last);
    let (producer, mut consumer) = queue();
    consumer.bind();
    assert!(producer.is_consumer_thread());
}

/// An address that no two threads have at the same time, and that a new thread may get after this
/// one has ended.
fn address_of_own_memory() -> usize {
    thread_local!(static MEMORY: u8 = const { 0 });
    MEMORY.with(|memory| std::ptr::from_ref(memory).addr())
}

#[test]
fn a_new_thread_in_the_memory_of_a_dead_one_is_not_the_consumers() {
    let (producer, mut consumer) = queue();
    let domain = consumer.domain();
    let mut memories = HashSet::new();
    let mut reused = 0;
    for _ in 0..200 {
        let memory = elsewhere(|| {
            assert!(!producer.must_not_wait());
            consumer.bind();
            forget(domain.enter());
            assert!(producer.must_not_wait());
            address_of_own_memory()
        });
        reused += usize::from(!memories.insert(memory));
    }
    // Shows that the case occurred, on systems that are known to reuse the memory.
    assert!(
        reused > 0 || cfg!(not(all(target_os = "linux", target_env = "gnu"))),
        "no thread had old memory"
    );
}

#[test]
fn a_consumer_moved_to_a_thread_in_the_memory_of_its_last_one_is_bound_by_its_pop() {
    let (producer, mut consumer) = queue();
    for _ in 0..100 {
        elsewhere(|| {
            consumer.try_pop().unwrap_err();
            producer.push(1).unwrap();
            producer.push(2).unwrap();
            assert_eq!(producer.push(3), Err(PushError::WouldDeadlock(3)));
            assert!(consumer.try_iter().eq(1..3));
        });
    }
}

#[test]
fn a_consumers_thread_is_known_until_its_very_end() {
    struct AtExit(Producer<u8>, Consumer<u8>);
    impl Drop for AtExit {
        fn drop(&mut self) {
            self.1.try_pop().unwrap_err();
            assert!(self.0.must_not_wait());
            self.0.push(1).unwrap();
            self.0.push(2).unwrap();
            assert_eq!(self.0.push(3), Err(PushError::WouldDeadlock(3)));
        }
    }
    thread_local!(static KEPT: std::cell::RefCell<Option<AtExit>> = const { std::cell::RefCell::new(None) });
    let (producer, mut consumer) = queue();
    // Joined rather than scoped: a scope does not wait for thread-locals.
    let thread = thread::spawn(move || {
        consumer.bind();
        KEPT.set(Some(AtExit(producer, consumer)));
    });
    thread.join().unwrap();
}

/// The thread's specific data is destroyed after its thread-locals, in passes and in no particular
/// order, which includes the queue's own.
#[cfg(unix)]
#[test]
fn a_push_does_not_wait_for_its_own_thread_while_thread_specific_data_is_destroyed() {
    static REFUSED: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);

    extern "C" fn destroy(ends: *mut libc::c_void) {
        // SAFETY: `ends` is from `Box::into_raw`, with this type.
        let mut ends = unsafe { Box::from_raw(ends.cast::<(Producer<u8>, Consumer<u8>)>()) };
        ends.1.try_pop().unwrap_err();
        while ends.0.push(1).map_err(|error| assert!(error.is_would_deadlock())).is_ok() {}
        REFUSED.store(true, std::sync::atomic::Ordering::SeqCst);
    }

    queue().1.bind();
    let mut key = 0;
    // SAFETY: the address is valid for the call.
    assert_eq!(unsafe { libc::pthread_key_create(&mut key, Some(destroy)) }, 0);
    let thread = thread::spawn(move || {
        let mut ends = queue();
        ends.1.bind();
        let ends = Box::into_raw(Box::new(ends)).cast();
        // SAFETY: the key was created.
        assert_eq!(unsafe { libc::pthread_setspecific(key, ends) }, 0);
    });
    thread.join().unwrap();
    assert!(REFUSED.load(std::sync::atomic::Ordering::SeqCst));
}

#[test]
fn in_the_domain_pushes_never_wait_and_take_the_bypass() {
    let (producer, consumer) = queue();
    let domain = consumer.domain();
    let guard = domain.enter();
    assert!(producer.must_not_wait());
    assert!(!elsewhere(|| producer.must_not_wait()));
    producer.push(1).unwrap();
    producer.push(2).unwrap();
    assert_eq!(producer.push(3), Err(PushError::WouldDeadlock(3)));
    assert_eq!(consumer.bypassed(), 1);
    drop(guard);
    assert!(!producer.must_not_wait());
}

#[test]
fn nested_guards_keep_the_thread_inside_until_the_last_is_dropped_in_any_order() {
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let (producer, consumer) = queue();
        let domain = consumer.domain();
        let mut guards =
            [domain.enter(), domain.clone().enter(), consumer.domain().enter()].map(Some);
        for i in order {
            assert!(producer.must_not_wait());
            guards[i] = None;
        }
        assert!(!producer.must_not_wait());
    }
}

#[test]
fn a_domain_has_as_many_threads_as_enter_it() {
    let (producer, consumer) = queue();
    let domain = consumer.domain();
    let barrier = std::sync::Barrier::new(4);
    thread::scope(|scope| {
        for inside in [true, false, true] {
            let (producer, domain, barrier) = (&producer, &domain, &barrier);
            scope.spawn(move || {
                for _ in 0..50 {
                    let guard = inside.then(|| domain.enter());
                    barrier.wait();
                    assert_eq!(producer.must_not_wait(), inside);
                    drop(guard);
                    assert!(!producer.must_not_wait());
                }
            });
        }
        for _ in 0..50 {
            barrier.wait();
        }
    });
}

#[test]
fn a_forgotten_guard_leaves_its_own_thread_inside_and_no_other() {
    let (producer, consumer) = queue();
    let domain = consumer.domain();
    elsewhere(|| {
        forget(domain.enter());
        drop(domain.enter());
        assert!(producer.must_not_wait());
    });
    (0..20).for_each(|_| assert!(!elsewhere(|| producer.must_not_wait())));
    assert!(!producer.must_not_wait());
}

#[test]
fn a_guard_is_left_by_unwinding() {
    let (producer, consumer) = queue();
    let domain = consumer.domain();
    let unwound = std::panic::catch_unwind(|| {
        let _inside = domain.enter();
        panic!("inside");
    });
    assert!(unwound.is_err() && !producer.must_not_wait());
}

#[test]
fn a_domain_may_outlive_its_queue() {
    let (producer, consumer) = queue();
    let domain = consumer.domain();
    let guard = domain.enter();
    drop((producer, consumer));
    drop(domain.enter());
    let clone = domain.clone();
    let _ = domain;
    drop(guard);
    elsewhere(move || drop(clone.enter()));
}

#[test]
fn two_queues_have_two_domains() {
    let (one, consumer) = queue();
    let (other, other_consumer) = queue();
    let guard = consumer.domain().enter();
    assert_eq!((one.must_not_wait(), other.must_not_wait()), (true, false));
    let other_guard = other_consumer.domain().enter();
    drop(guard);
    assert_eq!((one.must_not_wait(), other.must_not_wait()), (false, true));
    drop(other_guard);
    assert_eq!((one.must_not_wait(), other.must_not_wait()), (false, false));
}

#[test]
fn a_domain_keeps_its_threads_when_the_consumer_moves() {
    let (producer, mut consumer) = queue();
    let domain = consumer.domain();
    let _inside = domain.enter();
    elsewhere(|| {
        consumer.bind();
        assert!(producer.must_not_wait());
    });
    assert!(producer.must_not_wait());
    drop(consumer);
}

#[test]
fn a_domain_asked_for_twice_is_the_same() {
    let (producer, consumer) = bounded::<u8>(1);
    let (first, second) = (consumer.domain(), consumer.domain());
    drop((first.enter(), second.enter()));
    assert!(!producer.must_not_wait());
    let _inside = second.enter();
    let _ = first;
    assert!(producer.must_not_wait());
}

#[test]
fn a_static_queue_knows_its_consumers_thread_too() {
    static QUEUE: StaticQueue<u8, 1, 1> = StaticQueue::new();
    let mut consumer = QUEUE.consumer().unwrap();
    for _ in 0..20 {
        elsewhere(|| {
            assert!(!QUEUE.must_not_wait());
            consumer.bind();
            assert!(QUEUE.must_not_wait());
        });
        assert!(!QUEUE.must_not_wait());
    }
}
