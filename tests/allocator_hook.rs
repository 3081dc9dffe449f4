//! An allocator hook pushes while its thread becomes a member of the queue, which allocates.
#![cfg(all(feature = "std", not(bywash_loom)))]

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::thread;

use bywash::{PushError, StaticQueue, bounded};

type Pushed = Result<(), PushError<&'static str>>;

static QUEUE: StaticQueue<&str, 2, 1> = StaticQueue::new();

thread_local! {
    /// What the next allocation of this thread pushes.
    static HOOK: Cell<Option<&'static str>> = const { Cell::new(None) };
    static PUSHED: Cell<Option<Pushed>> = const { Cell::new(None) };
}

struct Hooked;

// SAFETY: the system's allocator does the work.
unsafe impl GlobalAlloc for Hooked {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if let Some(item) = HOOK.take() {
            PUSHED.set(Some(QUEUE.push(item)));
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

/// Calls `join`, with a hook that pushes `item`. Returns what that push returned.
fn with_hook<R>(item: &'static str, join: impl FnOnce() -> R) -> (R, Pushed) {
    HOOK.set(Some(item));
    let result = join();
    (result, PUSHED.take().expect("no allocation"))
}

/// To get a number allocates, and so does a place in the domain, as long as nobody has left one.
#[test]
fn a_push_inside_bind_or_enter_is_refused() {
    support::watch();
    let mut consumer = QUEUE.consumer().unwrap();
    let domain = consumer.domain();
    QUEUE.push("a").unwrap();
    QUEUE.push("b").unwrap();
    let refused = |item| Err(PushError::WouldDeadlock(item));
    let ((), pushed) = with_hook("in bind", || consumer.bind());
    assert_eq!(pushed, refused("in bind"));
    thread::scope(|scope| {
        let helper = scope.spawn(|| {
            let (_inside, pushed) = with_hook("in enter", || domain.enter());
            assert_eq!(pushed, refused("in enter"));
            let with_number = scope.spawn(|| {
                bounded::<()>(1).1.bind();
                assert_eq!(with_hook("in enter", || domain.enter()).1, refused("in enter"));
            });
            with_number.join().unwrap();
        });
        helper.join().unwrap();
    });
    assert_eq!(QUEUE.push("in the bypass"), Ok(()));
    assert_eq!(consumer.try_iter().collect::<Vec<_>>(), ["a", "b", "in the bypass"]);
}
