//! Windows: exception handlers push, on the thread that they interrupt. What they may not: change
//! the last error, allocate, wait.
#![cfg(all(windows, feature = "std", not(bywash_loom)))]

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::ptr;
use std::sync::Once;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use bywash::StaticQueue;
use support::{settle, watch};
use windows_sys::Win32::Foundation::{GetLastError, SetLastError};
use windows_sys::Win32::System::Diagnostics::Debug::{
    AddVectoredExceptionHandler, EXCEPTION_CONTINUE_EXECUTION, EXCEPTION_CONTINUE_SEARCH,
    EXCEPTION_POINTERS, RaiseException,
};
use windows_sys::Win32::System::Threading::GetCurrentThreadId;

/// Counts the allocations of the thread that is in the handler.
struct Counting;

static IN_HANDLER: AtomicU32 = AtomicU32::new(0);
static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: the system's allocator does the work.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: it has no conditions.
        if IN_HANDLER.load(SeqCst) == unsafe { GetCurrentThreadId() } {
            ALLOCATIONS.fetch_add(1, SeqCst);
        }
        // SAFETY: as the caller guarantees.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as the caller guarantees.
        unsafe { System.dealloc(memory, layout) };
    }
}

/// An exception of our own, after which the program goes on.
const EXCEPTION: u32 = 0x2000_0001;
const LAST_ERROR: u32 = 37;

static QUEUE: StaticQueue<usize, 2, 1> = StaticQueue::new();
static REFUSED: AtomicU32 = AtomicU32::new(0);
static CHANGED: AtomicU32 = AtomicU32::new(0);

unsafe extern "system" fn handle(exception: *mut EXCEPTION_POINTERS) -> i32 {
    // SAFETY: Windows passes valid pointers.
    let record = unsafe { &*(*exception).ExceptionRecord };
    if record.ExceptionCode as u32 != EXCEPTION {
        return EXCEPTION_CONTINUE_SEARCH;
    }
    // SAFETY: they have no conditions.
    let thread = unsafe {
        SetLastError(LAST_ERROR);
        GetCurrentThreadId()
    };
    IN_HANDLER.store(thread, SeqCst);
    if QUEUE.try_push(record.ExceptionInformation[0]).is_err() {
        REFUSED.fetch_add(1, SeqCst);
    }
    IN_HANDLER.store(0, SeqCst);
    // SAFETY: it has no conditions.
    let last_error = unsafe { GetLastError() };
    CHANGED.fetch_add(u32::from(last_error != LAST_ERROR), SeqCst);
    EXCEPTION_CONTINUE_EXECUTION
}

/// Raises the exception on this thread, whose handler pushes `item`.
fn push_in_handler(item: usize) {
    static INSTALLED: Once = Once::new();
    // SAFETY: the handler does nothing but what it may do on a thread that was interrupted.
    INSTALLED.call_once(|| unsafe { _ = AddVectoredExceptionHandler(1, Some(handle)) });
    // SAFETY: the address is valid for the call.
    unsafe { RaiseException(EXCEPTION, 0, 1, ptr::from_ref(&item)) };
}

/// One test, as the queue and the handler are the process's.
#[test]
fn exception_handlers_push_and_change_nothing_else() {
    watch();
    let mut consumer = QUEUE.consumer().unwrap();
    consumer.bind();
    // On the consumer's thread, into ring and bypass, and then on a thread that has no number.
    (0..4).for_each(push_in_handler);
    thread::spawn(|| push_in_handler(4)).join().unwrap();
    assert_eq!(REFUSED.swap(0, SeqCst), 2);
    assert!(consumer.try_iter().eq(0..3));

    // It wakes the consumer, which sleeps sooner or later.
    for item in 0..100 {
        thread::scope(|scope| {
            scope.spawn(|| {
                if item % 10 == 0 {
                    settle();
                }
                push_in_handler(item);
            });
            assert_eq!(consumer.pop(), Ok(item));
        });
    }

    // And waits until its item is taken, but not on the consumer's thread.
    let wait = Duration::from_secs(60);
    assert_eq!(QUEUE.try_push_and_wait(0, wait), Ok(false));
    assert_eq!((consumer.pop(), consumer.pop_timeout(Duration::ZERO).is_err()), (Ok(0), true));
    assert_eq!([&REFUSED, &CHANGED].map(|count| count.load(SeqCst)), [0; 2]);
    assert_eq!(ALLOCATIONS.load(SeqCst), 0);
}
