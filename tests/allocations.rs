//! No call of a producer allocates or frees memory, and neither does the pop of a batch into a
//! buffer with room.
#![cfg(all(feature = "alloc", not(bywash_loom)))]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::VecDeque;

use bywash::{Builder, TryPopError, TryPushError};

thread_local! {
    /// How often this thread has allocated or freed memory.
    static CALLS: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: the system's allocator does the work.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        CALLS.set(CALLS.get() + 1);
        // SAFETY: the caller guarantees it.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        CALLS.set(CALLS.get() + 1);
        // SAFETY: the caller guarantees it.
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        CALLS.set(CALLS.get() + 1);
        // SAFETY: the caller guarantees it.
        unsafe { System.realloc(place, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Returns what `call` returns, and checks that `call` does not use the allocator.
#[track_caller]
fn without_memory<R>(call: impl FnOnce() -> R) -> R {
    let before = CALLS.get();
    let result = call();
    assert_eq!(CALLS.get() - before, 0, "calls of the allocator");
    result
}

/// Items on the heap, so that the count shows when one is dropped.
fn batch(count: usize) -> VecDeque<Box<usize>> {
    (0..count).map(Box::new).collect()
}

#[test]
fn the_allocator_is_counted() {
    let before = CALLS.get();
    drop(batch(3));
    assert_eq!(CALLS.get() - before, 8);
}

#[test]
fn no_push_calls_the_allocator() {
    let (producer, mut consumer) = Builder::new(4).bypass(0).build();
    let mut items = batch(7);
    let first = items.pop_front().unwrap();
    assert_eq!(without_memory(|| producer.try_push(first)), Ok(()));
    assert_eq!(without_memory(|| producer.try_push_many(&mut items)), Ok(3));
    assert_eq!(without_memory(|| producer.try_push_many(&mut items)), Err(TryPushError::Full(())));
    consumer.close();
    assert_eq!(
        without_memory(|| producer.try_push_many(&mut items)),
        Err(TryPushError::Closed(()))
    );
    assert_eq!(without_memory(|| producer.try_push_many(&mut VecDeque::new())), Ok(0));
    assert_eq!(items, [Box::new(4), Box::new(5), Box::new(6)]);
}

#[test]
fn no_pop_of_a_batch_calls_the_allocator_where_the_buffer_has_room() {
    let (producer, mut consumer) = Builder::new(4).build();
    // Sets up what a thread needs once.
    assert!(consumer.try_pop().is_err());
    producer.try_push_many(&mut batch(4)).unwrap();
    // One more, because a pop that finds nothing also reserves room for one item.
    let mut buffer = Vec::with_capacity(5);
    assert_eq!(without_memory(|| consumer.try_pop_many(&mut buffer, 3)), Ok(3));
    assert_eq!(without_memory(|| consumer.try_pop_many(&mut buffer, 3)), Ok(1));
    assert_eq!(without_memory(|| consumer.try_pop_many(&mut buffer, 3)), Err(TryPopError::Empty));
}

#[cfg(feature = "std")]
#[test]
fn no_push_into_the_bypass_calls_the_allocator() {
    let (producer, mut consumer) = Builder::new(2).bypass(3).build();
    consumer.bind();
    let mut items = batch(6);
    assert_eq!(without_memory(|| producer.try_push_many(&mut items)), Ok(5));
    assert_eq!(without_memory(|| producer.try_push_many(&mut items)), Err(TryPushError::Full(())));
    assert!(without_memory(|| producer.push_many(&mut items)).is_err());
    let mut buffer = Vec::with_capacity(6);
    while without_memory(|| consumer.try_pop_many(&mut buffer, 5)).is_ok() {}
    assert!(buffer.into_iter().map(|item| *item).eq(0..5));
}
