//! All records are taken: a thread that comes later gets no number, and waits nowhere. The process
//! stays so, which is why this is one of its own.
#![cfg(all(
    feature = "std",
    target_os = "linux",
    target_env = "gnu",
    not(any(bywash_loom, bywash_portable))
))]

mod support;

use std::thread;
use std::time::Duration;

use bywash::{Builder, Consumer, Listener, PushError, PushTimeoutError, TryPushError, bounded};
use support::watch;

/// More than there are records: each keeps the one of a thread that ran no destructor.
const THREADS: usize = 16_400;
const LONG: Duration = Duration::from_secs(60);

/// Binds the consumer, and ends without unwinding.
extern "C" fn bind_and_end(consumer: *mut libc::c_void) -> *mut libc::c_void {
    let consumer = consumer.cast::<Consumer<u32>>();
    // SAFETY: the thread that has it waits until this one is gone.
    unsafe { &mut *consumer }.bind();
    // SAFETY: no destructor runs, and nothing of this thread is used any more.
    unsafe { libc::syscall(libc::SYS_exit, 0) };
    unreachable!()
}

/// Runs it on a thread with a small stack, and waits until that is gone. The thread has to be the C
/// library's: the standard library waits for a result.
fn run_to_its_end(consumer: &mut Consumer<u32>) {
    // SAFETY: zeros are memory for it.
    let mut attributes = unsafe { std::mem::zeroed::<libc::pthread_attr_t>() };
    // SAFETY: the address is valid.
    assert_eq!(unsafe { libc::pthread_attr_init(&mut attributes) }, 0);
    // SAFETY: it was initialised.
    assert_eq!(unsafe { libc::pthread_attr_setstacksize(&mut attributes, 128 << 10) }, 0);
    // SAFETY: a number or a pointer, which may be zero.
    let mut thread = unsafe { std::mem::zeroed::<libc::pthread_t>() };
    let consumer = std::ptr::from_mut(consumer).cast();
    // SAFETY: the addresses are valid, the last one until the thread is gone.
    let error = unsafe { libc::pthread_create(&mut thread, &attributes, bind_and_end, consumer) };
    assert_eq!(error, 0);
    // SAFETY: it was created, and is joined once.
    assert_eq!(unsafe { libc::pthread_join(thread, std::ptr::null_mut()) }, 0);
    // SAFETY: it is not used any more.
    assert_eq!(unsafe { libc::pthread_attr_destroy(&mut attributes) }, 0);
}

#[test]
fn a_thread_that_gets_no_number_waits_nowhere() {
    watch();
    let (early, mut early_consumer) = Builder::new(1).bypass(1).build::<u32>();
    early_consumer.bind();
    let (producer, mut consumer) = Builder::new(1).bypass(1).build::<u32>();
    producer.try_push(0).unwrap();
    (0..THREADS).for_each(|_| run_to_its_end(&mut consumer));

    let (other, other_consumer) = bounded::<u32>(1);
    let error = Listener::spawn("none", other_consumer, |_| ()).unwrap_err();
    println!("{error}");
    assert!(other.push(1).unwrap_err().is_closed());

    thread::scope(|scope| {
        scope.spawn(|| {
            consumer.bind();
            // Also into a queue that others may wait for.
            early.try_push(0).unwrap();
            for into in [&producer, &early] {
                assert!(!into.must_not_wait() && !into.is_consumer_thread());
                assert_eq!(into.push(1), Err(PushError::WouldDeadlock(1)));
                let result = into.push_timeout(1, LONG);
                assert_eq!(result, Err(PushTimeoutError::WouldDeadlock(1)));
                assert_eq!(into.try_push(1), Err(TryPushError::Full(1)));
            }
            let _guard = consumer.domain().enter();
            assert_eq!(producer.push(1), Err(PushError::WouldDeadlock(1)));
            assert_eq!((consumer.try_pop(), producer.push(2)), (Ok(0), Ok(())));
            assert_eq!(consumer.pop(), Ok(2));
        });
    });

    // Who has a number keeps it.
    assert!(early.is_consumer_thread());
    assert_eq!(early.push(1), Ok(()));
    assert_eq!((early.bypassed(), early.push(2)), (1, Err(PushError::WouldDeadlock(2))));
    assert_eq!([early_consumer.pop(), early_consumer.pop()], [Ok(0), Ok(1)]);

    // The consumer has no thread any more, so it is waited for.
    producer.try_push(3).unwrap();
    let waits = thread::spawn(move || producer.push(4));
    let popped = [consumer.pop(), consumer.pop()];
    assert_eq!((popped, waits.join().unwrap()), ([Ok(3), Ok(4)], Ok(())));
}
