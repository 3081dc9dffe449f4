//! An allocator hook pushes, enters or binds while its thread becomes a member of a queue, which may
//! allocate.
#![cfg(all(feature = "std", not(bywash_loom)))]

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use bywash::{Builder, Domain, PushError, StaticQueue, bounded};

static QUEUE: StaticQueue<&str, 2, 1> = StaticQueue::new();

thread_local! {
    /// What the next allocation of this thread does.
    static HOOK: Cell<Option<&'static dyn Fn()>> = const { Cell::new(None) };
}

struct Hooked;

// SAFETY: the system's allocator does the work.
unsafe impl GlobalAlloc for Hooked {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if let Some(hook) = HOOK.take() {
            hook();
        }
        // SAFETY: the caller guarantees it.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: the caller guarantees it.
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Hooked = Hooked;

/// Calls `join`, with a hook that does `run` when `join` first allocates. Returns whether it did.
fn with_hook(run: impl Fn() + 'static, join: impl FnOnce()) -> bool {
    let run: &'static dyn Fn() = Box::leak(Box::new(run));
    HOOK.set(Some(run));
    join();
    HOOK.take().is_none()
}

/// Does `run` on threads that live at the same time: more than before, as numbers are allocated many
/// at a time, and used again. Returns on how many it was true.
fn on_more_threads(run: impl Fn() -> bool + Sync) -> usize {
    static CALLS: AtomicUsize = AtomicUsize::new(0);
    let count = 250 << CALLS.fetch_add(1, Ordering::Relaxed);
    let done = Barrier::new(count);
    thread::scope(|scope| {
        let run = || {
            let result = run();
            done.wait();
            result
        };
        let threads: Vec<_> = (0..count).map(|_| scope.spawn(run)).collect();
        threads.into_iter().map(|thread| usize::from(thread.join().unwrap())).sum()
    })
}

/// One after the other.
#[test]
fn an_allocator_hook_may_push_enter_and_bind_while_its_thread_is_given_a_number() {
    support::watch();
    a_push_inside_bind_or_enter_is_refused();
    a_thread_that_enters_a_domain_inside_bind_is_in_it();
    a_thread_that_binds_inside_enter_is_the_consumers();
}

fn a_push_inside_bind_or_enter_is_refused() {
    let mut consumer = QUEUE.consumer().unwrap();
    let domain = consumer.domain();
    QUEUE.push("a").unwrap();
    QUEUE.push("b").unwrap();
    let push = || assert_eq!(QUEUE.push("c"), Err(PushError::WouldDeadlock("c")));
    consumer.bind();
    let binds = AtomicUsize::new(0);
    let pushes = on_more_threads(|| {
        let mut own = bounded::<()>(1).1;
        match binds.fetch_add(1, Ordering::Relaxed) % 2 {
            0 => with_hook(push, || own.bind()),
            _ => with_hook(push, || drop(domain.enter())),
        }
    });
    assert_ne!(pushes, 0, "no thread allocated");
    // A thread has room for some domains, and allocates for more.
    thread::scope(|scope| {
        scope.spawn(|| {
            let consumers: Vec<_> = (0..20).map(|_| bounded::<()>(1).1).collect();
            let mut guards = Vec::with_capacity(100);
            let domains: Vec<_> = consumers.iter().map(|consumer| consumer.domain()).collect();
            let mut enter = |domain: &Domain| guards.push(domain.enter());
            assert_ne!(
                domains.iter().filter(|domain| with_hook(push, || enter(domain))).count(),
                0
            );
        });
    });
    assert_eq!(QUEUE.push("in the bypass"), Ok(()));
    assert_eq!(consumer.try_iter().collect::<Vec<_>>(), ["a", "b", "in the bypass"]);
}

/// The hook enters a domain while its thread is given a number. The guard is good: the thread is in
/// the domain as long as the guard lives, and no longer.
fn a_thread_that_enters_a_domain_inside_bind_is_in_it() {
    let entered = on_more_threads(|| {
        let (producer, other_consumer) = Builder::new(1).bypass(0).build();
        producer.try_push(0).unwrap();
        let domain = other_consumer.domain();
        let (own, mut consumer) = bounded::<u8>(1);
        let guard = Rc::new(Cell::new(None));
        let slot = guard.clone();
        let has_entered = with_hook(move || slot.set(Some(domain.enter())), || consumer.bind());
        assert!(own.is_consumer_thread());
        if has_entered {
            assert!(producer.must_not_wait());
            assert_eq!(producer.push(1), Err(PushError::WouldDeadlock(1)));
        }
        drop(guard.take());
        assert!(!producer.must_not_wait());
        has_entered
    });
    assert_ne!(entered, 0, "no thread allocated in bind");
}

/// As above, the other way round.
fn a_thread_that_binds_inside_enter_is_the_consumers() {
    let bound = on_more_threads(|| {
        let (producer, other_consumer) = bounded::<u8>(1);
        let domain = other_consumer.domain();
        let (own, consumer) = bounded::<u8>(1);
        let consumer = RefCell::new(consumer);
        let mut guard = None;
        let has_bound = with_hook(
            move || consumer.borrow_mut().bind(),
            || {
                guard = Some(domain.enter());
            },
        );
        assert!(producer.must_not_wait());
        assert_eq!(own.is_consumer_thread(), has_bound);
        has_bound
    });
    assert_ne!(bound, 0, "no thread allocated in enter");
}
