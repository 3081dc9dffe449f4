//! A listener handles every item once and in order, and neither its handler nor a thread that waits
//! for it can hang.
#![cfg(all(feature = "std", not(bywash_loom)))]

mod support;

use std::any::Any;
use std::ops::{ControlFlow, Range};
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Barrier, Mutex, OnceLock};
use std::thread;
use std::time::Duration;

use bywash::{
    Builder, Handler, Listener, ListenerErrorKind as Kind, Producer, PushError, StaticQueue,
    bounded,
};
use support::{Tally, Tracked, assert_left, pin, settle, watch};

/// So long that it never ends: the watchdog ends the test before.
const LONG: Duration = Duration::from_secs(3_600);
const SHORT: Duration = Duration::from_millis(20);

/// A handler that sends on what it gets.
fn into<T>(sender: Sender<T>) -> impl FnMut(T) {
    move |item| sender.send(item).unwrap()
}

/// A handler that reports that it has begun, and then waits for permission to go on.
fn stuck<T>() -> (impl FnMut(T) + Send, Receiver<()>, Sender<()>) {
    let (begins, has_begun) = channel();
    let (go_on, may_go_on) = channel();
    let handler = move |_item| {
        let _ = begins.send(());
        let _ = may_go_on.recv();
    };
    (handler, has_begun, go_on)
}

type Payload = Box<dyn Any + Send>;

/// A handler that calls these: with an item, with how many were lost, with the payload of a panic.
struct Calls<H, L, P>(H, L, P);

impl<T, H, L, P> Handler<T> for Calls<H, L, P>
where
    H: FnMut(T),
    L: FnMut(u64),
    P: FnMut(Payload) -> ControlFlow<()>,
{
    fn handle(&mut self, item: T) {
        self.0(item);
    }

    fn on_lost(&mut self, count: u64) {
        self.1(count);
    }

    fn on_panic(&mut self, payload: Payload) -> ControlFlow<()> {
        self.2(payload)
    }
}

/// Where a handler finds its own listener, once it exists.
type Own = Arc<Mutex<Option<Listener>>>;

#[test]
fn everything_pushed_before_stop_is_handled_once_and_in_order() {
    watch();
    for capacity in [1, 7, 1000] {
        let (sender, handled) = channel();
        let (producer, consumer) = bounded(capacity);
        let listener = Listener::spawn("test", consumer, into(sender)).unwrap();
        thread::scope(|scope| {
            for id in 0..3 {
                let producer = &producer;
                scope.spawn(move || (0..1000).for_each(|i| producer.push((id, i)).unwrap()));
            }
        });
        assert_eq!(listener.stop(LONG), Ok(()));
        assert_eq!(producer.push((0, 0)), Err(PushError::Closed((0, 0))));
        let handled: Vec<_> = handled.iter().collect();
        assert_eq!(handled.len(), 3000);
        for id in 0..3 {
            assert!(handled.iter().filter(|item| item.0 == id).map(|item| item.1).eq(0..1000));
        }
    }
}

#[test]
fn what_stop_refuses_is_handed_back_and_the_rest_is_handled() {
    watch();
    let (sender, handled) = channel();
    let (producer, consumer) = bounded(4);
    let listener = Listener::spawn("test", consumer, into(sender)).unwrap();
    let accepted = thread::scope(|scope| {
        let pushers = [0, 1].map(|id| {
            let producer = &producer;
            scope.spawn(move || {
                (0_u32..).take_while(|&i| producer.push((id, i)).is_ok()).count() as u32
            })
        });
        settle();
        listener.stop(LONG).unwrap();
        pushers.map(|pusher| pusher.join().unwrap())
    });
    let handled: Vec<_> = handled.iter().collect();
    for id in 0..2 {
        let of_one = handled.iter().filter(|item| item.0 == id).map(|item| item.1);
        assert!(of_one.eq(0..accepted[id]), "{accepted:?}");
    }
}

#[test]
fn the_thread_has_its_name_and_is_the_consumers_before_spawn_returns() {
    watch();
    let (sender, handled) = channel();
    let (producer, consumer) = Builder::new(1).bypass(0).build();
    let own = producer.clone();
    let handler = move |()| {
        let name = thread::current().name().map(str::to_owned);
        sender.send((name, own.must_not_wait())).unwrap();
    };
    let listener = Listener::spawn("a name", consumer, handler).unwrap();
    assert!(!producer.must_not_wait());
    producer.push(()).unwrap();
    listener.stop(LONG).unwrap();
    assert_eq!(handled.recv(), Ok((Some("a name".into()), true)));
}

#[test]
fn a_name_with_a_zero_byte_is_an_error() {
    let (producer, consumer) = bounded::<u8>(1);
    let error = Listener::spawn("a\0b", consumer, |_| ()).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    assert!(producer.is_closed());
}

#[test]
fn the_handlers_own_pushes_into_a_full_ring_take_the_bypass_or_are_refused() {
    watch();
    let (sender, handled) = channel();
    let (producer, consumer) = Builder::new(2).bypass(1).build();
    let own = producer.clone();
    let is_full = Arc::new(Barrier::new(2));
    let theirs = is_full.clone();
    let handler = move |item: u32| {
        if item == 0 {
            theirs.wait();
            theirs.wait();
            sender.send((10, own.push(10).is_ok())).unwrap();
            let refused = own.push(11);
            assert_eq!(refused, Err(PushError::WouldDeadlock(11)));
            sender.send((11, refused.is_ok())).unwrap();
        }
        sender.send((item, true)).unwrap();
    };
    let listener = Listener::spawn("test", consumer, handler).unwrap();
    producer.push(0).unwrap();
    is_full.wait();
    (1..=2).for_each(|item| producer.push(item).unwrap());
    assert!(producer.is_full());
    is_full.wait();
    // First a flush, because `stop` closes the queue.
    listener.flush(LONG).unwrap();
    listener.stop(LONG).unwrap();
    assert_eq!(listener.panics(), 0);
    let handled: Vec<_> = handled.iter().collect();
    // The second 10 is the item itself, which came out after all that was in the ring.
    assert_eq!(handled, [(10, true), (11, false), (0, true), (1, true), (2, true), (10, true)]);
}

#[test]
fn the_thread_ends_with_the_last_producer() {
    watch();
    let (sender, handled) = channel();
    let (producer, consumer) = bounded(4);
    let listener = Listener::spawn("test", consumer, into(sender)).unwrap();
    producer.push('a').unwrap();
    drop(producer);
    // Ends when the handler is dropped.
    assert!(handled.iter().eq(['a']));
    assert_eq!(listener.stop(LONG), Ok(()));
    assert_eq!(listener.flush(LONG), Ok(()));
}

#[test]
fn dropping_the_listener_waits_until_everything_is_handled() {
    watch();
    let handled = Arc::new(AtomicU32::new(0));
    let count = handled.clone();
    let (producer, consumer) = bounded(100);
    let listener = Listener::spawn("test", consumer, move |()| {
        thread::sleep(Duration::from_millis(1));
        count.fetch_add(1, Ordering::Relaxed);
    })
    .unwrap();
    (0..50).for_each(|_| producer.push(()).unwrap());
    drop(listener);
    assert_eq!(handled.load(Ordering::Relaxed), 50);
    assert!(producer.push(()).unwrap_err().is_closed());
}

#[test]
fn dropping_the_listener_by_unwinding_waits_until_everything_is_handled() {
    watch();
    let (sender, handled) = channel();
    let (producer, consumer) = bounded(100);
    let listener = Listener::spawn("test", consumer, into(sender)).unwrap();
    catch_unwind(AssertUnwindSafe(|| {
        let _listener = listener;
        (0..50).for_each(|i| producer.push(i).unwrap());
        panic!("with items in the queue");
    }))
    .unwrap_err();
    assert!(handled.try_iter().eq(0..50));
}

#[test]
fn stop_with_a_stuck_handler_says_what_is_left_and_dropping_does_not_wait_then() {
    watch();
    let (handler, has_begun, go_on) = stuck();
    let (producer, consumer) = bounded(4);
    let listener = Listener::spawn("test", consumer, handler).unwrap();
    (0..4).for_each(|i| producer.push(i).unwrap());
    has_begun.recv().unwrap();
    assert_left(listener.flush(SHORT), Kind::Timeout, 4);
    assert_eq!(producer.try_push(4), Ok(()));
    assert_left(listener.stop(SHORT), Kind::Timeout, 5);
    assert!(producer.push(5).unwrap_err().is_closed());
    assert_left(listener.stop(Duration::ZERO), Kind::Timeout, 5);
    drop(listener);
    drop(go_on);
    // The thread goes on with what is left.
    assert_eq!(has_begun.iter().count(), 4);
}

#[test]
fn a_stop_that_timed_out_may_be_waited_for_again() {
    watch();
    let (handler, has_begun, go_on) = stuck();
    let (producer, consumer) = bounded(4);
    let listener = Listener::spawn("test", consumer, handler).unwrap();
    producer.push(()).unwrap();
    has_begun.recv().unwrap();
    assert_left(listener.stop(SHORT), Kind::Timeout, 1);
    drop(go_on);
    assert_eq!(listener.stop(LONG), Ok(()));
}

#[test]
fn stop_from_inside_the_handler_closes_and_the_rest_is_handled_afterwards() {
    watch();
    assert_inside(|own| {
        let own = own.lock().unwrap();
        let left = own.as_ref().unwrap().stop(LONG);
        assert_left(left, Kind::WouldDeadlock, 3);
    });
}

#[test]
fn dropping_the_listener_inside_the_handler_closes_and_the_rest_is_handled_afterwards() {
    watch();
    assert_inside(|own| drop(own.lock().unwrap().take().unwrap()));
}

/// Calls `close` with the handler's own listener, in a handler that has two more items to come.
fn assert_inside(close: fn(&Own)) {
    let own = Own::default();
    let theirs = own.clone();
    let (sender, handled) = channel();
    let (producer, consumer) = bounded(4);
    let pusher = producer.clone();
    let barrier = Arc::new(Barrier::new(2));
    let all_pushed = barrier.clone();
    let handler = move |item| {
        if item == 0 {
            all_pushed.wait();
            close(&theirs);
            assert_eq!(pusher.push(9), Err(PushError::Closed(9)));
        }
        sender.send(item).unwrap();
    };
    *own.lock().unwrap() = Some(Listener::spawn("test", consumer, handler).unwrap());
    (0..3).for_each(|item| producer.push(item).unwrap());
    barrier.wait();
    // Ends when the handler is dropped. An item whose handling panics is not sent.
    assert!(handled.iter().eq(0..3));
    if let Some(listener) = own.lock().unwrap().take() {
        assert_eq!(listener.stop(LONG), Ok(()));
    }
}

#[test]
fn a_handler_that_owns_its_listener_ends_with_the_last_producer() {
    watch();
    let own = Arc::new(OnceLock::<Listener>::new());
    let (sender, handled) = channel();
    let (producer, consumer) = bounded(4);
    let theirs = own.clone();
    let handler = move |item| {
        let _keep = &theirs;
        sender.send(item).unwrap();
    };
    own.set(Listener::spawn("test", consumer, handler).unwrap()).unwrap();
    drop(own);
    producer.push(1).unwrap();
    drop(producer);
    assert!(handled.iter().eq([1]));
}

#[test]
fn flush_inside_the_handler_is_refused_at_once() {
    watch();
    let own = Own::default();
    let theirs = own.clone();
    let (sender, handled) = channel();
    let (producer, consumer) = bounded(4);
    let handler = move |()| {
        sender.send(theirs.lock().unwrap().as_ref().unwrap().flush(LONG)).unwrap();
    };
    let mut place = own.lock().unwrap();
    *place = Some(Listener::spawn("test", consumer, handler).unwrap());
    producer.push(()).unwrap();
    drop(place);
    assert_left(handled.recv().unwrap(), Kind::WouldDeadlock, 1);
    let listener = own.lock().unwrap().take().unwrap();
    assert_eq!(listener.stop(LONG), Ok(()));
}

#[test]
fn flush_and_stop_inside_the_domain_are_refused_at_once() {
    watch();
    let (producer, consumer) = bounded::<u8>(4);
    let domain = consumer.domain();
    let listener = Listener::spawn("test", consumer, |_| ()).unwrap();
    {
        let _inside = domain.enter();
        assert!(listener.flush(LONG).unwrap_err().is_would_deadlock());
        // Here the thread still runs. `stop` closes the queue, so the thread may end before it
        // looks.
        assert!(listener.stop(LONG).err().is_none_or(|error| error.is_would_deadlock()));
        assert!(producer.is_closed());
    }
    assert_eq!(listener.stop(LONG), Ok(()));
}

#[test]
fn flush_returns_when_what_was_pushed_before_is_handled() {
    watch();
    let (producer, consumer) = bounded(16);
    let handled = Arc::new(AtomicU32::new(0));
    let count = handled.clone();
    let listener = Listener::spawn("test", consumer, move |yields| {
        (0..yields).for_each(|_| thread::yield_now());
        count.fetch_add(1, Ordering::Relaxed);
    })
    .unwrap();
    assert_eq!(listener.flush(LONG), Ok(()));
    for i in 0..100_u32 {
        (0..i % 20).for_each(|yields| producer.push(yields).unwrap());
        let before = (0..=i).map(|i| i % 20).sum::<u32>();
        assert_eq!(listener.flush(LONG), Ok(()));
        assert_eq!(handled.load(Ordering::Relaxed), before);
    }
}

#[test]
fn flush_ends_under_a_constant_stream_from_two_producers() {
    watch();
    let (producer, consumer) = bounded(8);
    let handled = Arc::new([0, 1, 2].map(|_| AtomicU32::new(0)));
    let counts = handled.clone();
    let own = producer.clone();
    // The handler pushes an item of its own for each one, so that the bypass is never empty for
    // long.
    let listener = Listener::spawn("test", consumer, move |id: usize| {
        counts[id].fetch_add(1, Ordering::Relaxed);
        if id == 1 {
            let _ = own.push(2);
        }
    })
    .unwrap();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    producer.push(1).unwrap();
                }
            });
        }
        for i in 1..=200 {
            producer.push(0).unwrap();
            assert_eq!(listener.flush(LONG), Ok(()));
            assert_eq!(handled[0].load(Ordering::Relaxed), i);
        }
        is_over.store(true, Ordering::Relaxed);
    });
    listener.stop(LONG).unwrap();
}

#[test]
fn several_threads_flush_at_the_same_time() {
    watch();
    let (producer, consumer) = bounded(8);
    let handled = Arc::new([0, 1, 2].map(|_| AtomicU32::new(0)));
    let counts = handled.clone();
    let listener = Listener::spawn("test", consumer, move |id: usize| {
        counts[id].fetch_add(1, Ordering::Relaxed);
    })
    .unwrap();
    thread::scope(|scope| {
        for id in 0..3 {
            let (producer, listener, handled) = (&producer, &listener, &handled);
            scope.spawn(move || {
                for i in 1..=200 {
                    producer.push(id).unwrap();
                    assert_eq!(listener.flush(LONG), Ok(()));
                    assert_eq!(handled[id].load(Ordering::Relaxed), i);
                }
            });
        }
    });
}

#[test]
fn after_a_panic_the_next_item_is_handled() {
    watch();
    let (sender, handled) = channel();
    let (producer, consumer) = bounded(8);
    let listener = Listener::spawn("test", consumer, move |item| {
        assert!(item % 2 == 0, "odd");
        sender.send(item).unwrap();
    })
    .unwrap();
    (0..6).for_each(|item| producer.push(item).unwrap());
    assert_eq!(listener.flush(LONG), Ok(()));
    assert_eq!(listener.panics(), 3);
    assert!(handled.try_iter().eq([0, 2, 4]));
    assert_eq!(listener.stop(LONG), Ok(()));
}

#[test]
fn after_a_panic_the_queue_is_closed_if_that_was_chosen() {
    watch();
    let tally: &'static Tally = Box::leak(Box::new(Tally::new()));
    let (producer, consumer) = bounded(2);
    let (sender, payloads) = channel();
    let is_full = Arc::new(Barrier::new(2));
    let theirs = is_full.clone();
    let handler = move |_item: Tracked<'static>| {
        theirs.wait();
        panic!("the handler's");
    };
    let on_panic = move |payload: Payload| {
        sender.send(*payload.downcast::<&str>().unwrap()).unwrap();
        ControlFlow::Break(())
    };
    let listener = Listener::builder().spawn(consumer, Calls(handler, |_| (), on_panic)).unwrap();
    thread::scope(|scope| {
        (0..3).for_each(|_| producer.push(tally.item()).unwrap());
        let blocked = scope.spawn(|| producer.push(tally.item()).unwrap_err().is_closed());
        settle();
        is_full.wait();
        assert!(blocked.join().unwrap());
    });
    assert_left(listener.stop(LONG), Kind::Closed, 2);
    assert_left(listener.flush(LONG), Kind::Closed, 2);
    assert_eq!(listener.panics(), 1);
    assert!(payloads.iter().eq(["the handler's"]));
    tally.assert_each_dropped_once(4);
}

/// Panics when it is dropped, if its field is true.
struct Bomb(bool);

impl Drop for Bomb {
    fn drop(&mut self) {
        assert!(!self.0, "a bomb");
    }
}

#[test]
fn a_panic_in_an_items_destructor_counts_as_the_handlers() {
    watch();
    let (producer, consumer) = bounded(8);
    let listener = Listener::spawn("test", consumer, drop).unwrap();
    [true, false, true].into_iter().for_each(|bomb| producer.push(Bomb(bomb)).unwrap());
    assert_eq!(listener.stop(LONG), Ok(()));
    assert_eq!(listener.panics(), 2);
}

#[test]
fn payloads_items_and_handlers_that_panic_do_no_harm() {
    watch();
    let (producer, consumer) = bounded(8);
    let bomb = Bomb(true);
    let listener = Listener::spawn("test", consumer, move |item: Bomb| {
        let _owned = &bomb;
        drop(item);
        panic_any(Bomb(true));
    })
    .unwrap();
    [false, false].into_iter().for_each(|bomb| producer.push(Bomb(bomb)).unwrap());
    assert_eq!(listener.stop(LONG), Ok(()));
    assert_eq!(listener.panics(), 2);

    let (producer, consumer) = bounded(8);
    (0..3).for_each(|i| producer.push(Bomb(i == 1)).unwrap());
    let handler = Calls(|_| panic!("the handler's"), |_| (), |_| panic!("on panic"));
    let listener = Listener::builder().spawn(consumer, handler).unwrap();
    assert_left(listener.stop(LONG), Kind::Closed, 2);
}

#[test]
fn a_listener_of_a_static_queue_leaves_the_next_consumer_alone() {
    watch();
    static QUEUE: StaticQueue<u32, 4, 4> = StaticQueue::new();
    let (sender, handled) = channel();
    let listener = Listener::spawn("test", QUEUE.consumer().unwrap(), into(sender)).unwrap();
    (0..100).for_each(|i| QUEUE.push(i).unwrap());
    assert_eq!(listener.flush(LONG), Ok(()));
    assert!(handled.try_iter().eq(0..100));
    assert_eq!(listener.stop(LONG), Ok(()));
    let mut next = QUEUE.consumer().expect("the listener gave it back");
    QUEUE.push(7).unwrap();
    assert_eq!(listener.stop(LONG), Ok(()));
    drop(listener);
    assert!(!QUEUE.is_closed());
    assert_eq!(next.pop(), Ok(7));
}

#[test]
fn a_listener_can_be_shared() {
    fn assert<
        T: Send + Sync + std::panic::UnwindSafe + std::panic::RefUnwindSafe + std::fmt::Debug,
    >() {
    }
    assert::<Listener>();
}

/// Producers that are stopped in the middle of a push. Run with
/// `RUSTFLAGS="--cfg bywash_steps" cargo test --test listener`.
#[cfg(bywash_steps)]
mod stopped {
    use super::*;
    use std::iter;

    use bywash::steps::hooked;

    /// The step at which a push stops, and the channels that report the stop and resume the push.
    struct Stop {
        at: u32,
        step: AtomicU32,
        is_there: Sender<()>,
        go_on: Receiver<()>,
    }

    impl Stop {
        fn new(at: u32) -> (Self, Receiver<()>, Sender<()>) {
            let (is_there, arrives) = channel();
            let (goes, go_on) = channel();
            (Self { at, step: AtomicU32::new(0), is_there, go_on }, arrives, goes)
        }

        /// Calls `run`, and stops before the step. Returns whether `run` came to that step.
        fn push(self, run: impl FnOnce()) -> bool {
            let hook = || {
                if self.step.fetch_add(1, Ordering::Relaxed) == self.at {
                    self.is_there.send(()).unwrap();
                    let _ = self.go_on.recv();
                }
            };
            hooked(&hook, run);
            let was_there = self.step.load(Ordering::Relaxed) > self.at;
            if !was_there {
                self.is_there.send(()).unwrap();
            }
            was_there
        }
    }

    #[test]
    fn flush_does_not_wait_for_a_stopped_push() {
        watch();
        for at in 0.. {
            let (sender, handled) = channel();
            // The slots after a stopped push are not freed before it goes on.
            let (producer, consumer) = bounded(16);
            let listener = Listener::spawn("test", consumer, into(sender)).unwrap();
            let (stop, is_there, go_on) = Stop::new(at);
            let other = producer.clone();
            let stopped = thread::spawn(move || stop.push(|| other.push(9).unwrap()));
            is_there.recv().unwrap();
            for round in 0..3 {
                (0..4).for_each(|i| producer.push(i).unwrap());
                assert_eq!(listener.flush(LONG), Ok(()), "stopped before step {at}");
                let handled: Vec<_> = handled.try_iter().filter(|&i| i != 9).collect();
                assert_eq!(handled, [0, 1, 2, 3], "stopped before step {at}, round {round}");
            }
            drop(go_on);
            let was_there = stopped.join().unwrap();
            assert_eq!(listener.stop(LONG), Ok(()));
            if !was_there {
                assert!(at > 3, "a push has more steps");
                return;
            }
        }
    }

    /// A push that has claimed is accepted, however late it goes on.
    #[test]
    fn what_a_stopped_push_has_claimed_is_left_when_the_handler_gives_up() {
        struct GivesUp;

        impl Handler<u32> for GivesUp {
            fn handle(&mut self, _item: u32) {
                panic!("on purpose");
            }

            fn on_panic(&mut self, _payload: Box<dyn Any + Send>) -> ControlFlow<()> {
                ControlFlow::Break(())
            }
        }

        watch();
        for at in 0.. {
            let (producer, consumer) = bounded(4);
            let listener = Listener::builder().spawn(consumer, GivesUp).unwrap();
            let (stop, is_there, go_on) = Stop::new(at);
            let (tell, accepted) = channel();
            let other = producer.clone();
            let stopped = thread::spawn(move || {
                stop.push(|| tell.send(u64::from(other.push(9).is_ok())).unwrap())
            });
            is_there.recv().unwrap();
            let pushed = u64::from(producer.push(1).is_ok());
            let left = listener.stop(LONG).err().map_or(0, |error| error.left()) as u64;
            drop(go_on);
            let was_there = stopped.join().unwrap();
            let pushed = pushed + accepted.recv().unwrap();
            assert_eq!(listener.handled() + left, pushed, "stopped before step {at}");
            if !was_there {
                assert!(at > 3, "a push has more steps");
                return;
            }
        }
    }

    #[test]
    fn flush_is_not_deceived_by_a_push_of_the_domain_that_comes_late() {
        assert_flush_waits_despite_late_pushes(1, |log| log.push('d').unwrap());
    }

    #[test]
    fn flush_is_not_deceived_by_a_batch_of_the_domain_that_comes_late() {
        for count in [2, 64, 70, 1000] {
            assert_flush_waits_despite_late_pushes(1, move |log| {
                log.try_push_many(&mut iter::repeat_n('d', count).collect()).unwrap();
            });
        }
    }

    #[test]
    fn flush_is_not_deceived_by_200_threads_of_the_domain_that_come_late() {
        assert_flush_waits_despite_late_pushes(200, |log| log.push('d').unwrap());
    }

    /// L2: `threads` threads of the domain see that the ring is full, and are stopped. Then `a` is
    /// pushed and a flush begins. When the listener has noted the tails, the threads go on, and
    /// what they push is popped before `a`.
    fn assert_flush_waits_despite_late_pushes(
        threads: usize,
        push: impl Fn(&Producer<char>) + Clone + Send + 'static,
    ) {
        watch();
        for at in 0.. {
            let (producer, consumer) = Builder::new(2).bypass(1000).build();
            let domain = consumer.domain();
            let (stops, are_there, go_on): (Vec<_>, Vec<_>, Vec<_>) =
                iter::repeat_with(|| Stop::new(at)).take(threads).collect();
            let mut goes_on = Some(go_on);
            let (begins, has_begun) = channel();
            let (ends, may_end) = channel::<()>();
            let (finishes, has_finished) = channel::<()>();
            let a_is_handled = Arc::new(AtomicBool::new(false));
            let is_handled = a_is_handled.clone();
            let handler = move |item| match item {
                '0' | '1' => {
                    begins.send(item).unwrap();
                    may_end.recv().unwrap();
                }
                '2' => {
                    drop(goes_on.take());
                    let _ = has_finished.recv();
                }
                'a' => {
                    settle();
                    is_handled.store(true, Ordering::Relaxed);
                }
                _ => {}
            };
            let listener = Listener::spawn("test", consumer, handler).unwrap();
            producer.push('0').unwrap();
            assert_eq!(has_begun.recv(), Ok('0'));
            producer.push('1').unwrap();
            producer.push('2').unwrap();
            let stopped: Vec<_> = stops
                .into_iter()
                .map(|stop| {
                    let (domain, log, push) = (domain.clone(), producer.clone(), push.clone());
                    let finishes = finishes.clone();
                    thread::spawn(move || {
                        let _inside = domain.enter();
                        let _finishes = finishes;
                        stop.push(|| push(&log))
                    })
                })
                .collect();
            drop(finishes);
            are_there.iter().for_each(|is_there| is_there.recv().unwrap());
            ends.send(()).unwrap();
            assert_eq!(has_begun.recv(), Ok('1'));
            producer.push('a').unwrap();
            let goes = thread::spawn(move || {
                settle();
                ends.send(()).unwrap();
            });
            assert_eq!(listener.flush(LONG), Ok(()));
            assert!(a_is_handled.load(Ordering::Relaxed), "stopped before step {at}");
            goes.join().unwrap();
            let ends_before = stopped.into_iter().map(|thread| thread.join().unwrap());
            let were_there = ends_before.fold(false, |any, was_there| any | was_there);
            assert_eq!(listener.stop(LONG), Ok(()));
            // The steps of a batch after the first eight are those of its other items.
            if !were_there || at == 16 {
                return;
            }
        }
    }

    /// L7: a push of the domain sees the ring full and is stopped, and a flush begins. When the
    /// listener has noted the tails, the push goes on into the bypass, to a place in front of what
    /// was lost.
    #[test]
    fn flush_reports_what_was_lost_beside_a_push_of_the_domain_that_comes_late() {
        watch();
        for at in 0.. {
            let (producer, consumer) = Builder::new(1).bypass(10).build();
            let (stop, is_there, go_on) = Stop::new(at);
            let mut goes_on = Some(go_on);
            let (finishes, has_finished) = channel::<()>();
            let (begins, has_begun) = channel();
            let (ends, may_end) = channel::<()>();
            let lost = Arc::new(AtomicU64::new(0));
            let sum = lost.clone();
            let handler = Calls(
                move |item| match item {
                    '0' => {
                        begins.send(()).unwrap();
                        may_end.recv().unwrap();
                    }
                    '1' => {
                        drop(goes_on.take());
                        let _ = has_finished.recv();
                    }
                    _ => settle(),
                },
                move |count| _ = sum.fetch_add(count, Ordering::Relaxed),
                |_| ControlFlow::Continue(()),
            );
            let listener = Listener::builder().spawn(consumer, handler).unwrap();
            producer.push('0').unwrap();
            has_begun.recv().unwrap();
            producer.push('1').unwrap();
            assert!(producer.try_push_or_count('2').unwrap_err().is_full());
            let (domain, log) = (listener.domain(), producer.clone());
            let stopped = thread::spawn(move || {
                let _inside = domain.enter();
                let _finishes = finishes;
                stop.push(|| log.push('d').unwrap())
            });
            is_there.recv().unwrap();
            let goes = thread::spawn(move || {
                settle();
                ends.send(()).unwrap();
            });
            assert_eq!(listener.flush(LONG), Ok(()));
            assert_eq!(lost.load(Ordering::Relaxed), 1, "stopped before step {at}");
            goes.join().unwrap();
            let was_there = stopped.join().unwrap();
            assert_eq!(listener.stop(LONG), Ok(()));
            assert_eq!(lost.load(Ordering::Relaxed), 1, "stopped before step {at}");
            if !was_there {
                assert!(at > 3, "a push has more steps");
                return;
            }
        }
    }

    /// L6: a push sees the ring full and is stopped, all is handled, and then it raises the count.
    #[test]
    fn what_is_counted_late_is_reported_before_a_flush_and_a_stop_end() {
        watch();
        for (at, flushes) in (0..).flat_map(|at| [(at, true), (at, false)]) {
            let (producer, consumer) = Builder::new(1).bypass(0).build();
            let (handler, record) = recorder(|_| (), ControlFlow::Continue(()));
            let listener = Listener::builder().spawn(consumer, handler).unwrap();
            producer.push(GATE).unwrap();
            record.at_gate.recv().unwrap();
            producer.push(0).unwrap();
            let (stop, is_there, go_on) = Stop::new(at);
            let (results, result) = channel();
            let pusher = producer.clone();
            let stopped = thread::spawn(move || {
                stop.push(|| results.send(pusher.try_push_or_count(1).is_err()).unwrap())
            });
            is_there.recv().unwrap();
            record.open.send(()).unwrap();
            assert_eq!(listener.flush(LONG), Ok(()));
            drop(go_on);
            let was_there = stopped.join().unwrap();
            let is_refused = result.recv().unwrap();
            let end = if flushes { listener.flush(LONG) } else { listener.stop(LONG) };
            assert_eq!(end, Ok(()));
            let last = if is_refused { Lost(1) } else { Item(1) };
            let calls: Vec<_> = record.calls.try_iter().collect();
            assert_eq!(calls, [Item(GATE), Item(0), last], "stopped before step {at}");
            if !was_there {
                assert!(at > 3, "a push that is refused and counted has more steps");
                return;
            }
        }
    }
}

/// What a handler was called with.
#[derive(Clone, Debug, PartialEq)]
enum Call {
    Item(u32),
    Lost(u64),
    Panic(&'static str),
}

use Call::{Item, Lost, Panic};

/// An item at which [`recorder`] says that it has begun, and then waits for a word.
const GATE: u32 = 1_000;

/// What the test sees of a [`recorder`].
struct Record {
    calls: Receiver<Call>,
    at_gate: Receiver<()>,
    open: Sender<()>,
}

/// A handler that records its calls. `on_lost` is called at the end of each `Lost`.
fn recorder(
    mut on_lost: impl FnMut(u64) + Send + 'static,
    policy: ControlFlow<()>,
) -> (impl Handler<u32> + Send + 'static, Record) {
    let (sender, calls) = channel();
    let (arrive, at_gate) = channel();
    let (open, opens) = channel();
    let (items, losses, panics) = (sender.clone(), sender.clone(), sender);
    let handler = Calls(
        move |item| {
            items.send(Item(item)).unwrap();
            if item == GATE {
                arrive.send(()).unwrap();
                let _ = opens.recv();
            }
        },
        move |count| {
            // What waits for this must not have gone on by now.
            settle();
            losses.send(Lost(count)).unwrap();
            on_lost(count);
        },
        move |payload: Payload| {
            panics.send(Panic(payload.downcast_ref::<&str>().unwrap())).unwrap();
            policy
        },
    );
    (handler, Record { calls, at_gate, open })
}

/// With the handler at the gate, pushes `items`, of which the last `refused` find no room.
fn overflow(producer: &Producer<u32>, record: &Record, items: Range<u32>, refused: usize) {
    producer.push(GATE).unwrap();
    record.at_gate.recv().unwrap();
    let results: Vec<_> = items.map(|item| producer.try_push_or_count(item).is_err()).collect();
    let accepted = results.len() - refused;
    assert!(results.iter().enumerate().all(|(i, &is_refused)| is_refused == (i >= accepted)));
}

#[test]
fn what_was_lost_is_reported_where_it_would_have_been_handled() {
    watch();
    for capacity in [1, 2, 7] {
        let (producer, consumer) = Builder::new(capacity as usize).bypass(0).build();
        let (handler, record) = recorder(|_| (), ControlFlow::Continue(()));
        let listener = Listener::builder().spawn(consumer, handler).unwrap();
        let mut expected = Vec::new();
        for round in 0..3 {
            let first = 100 * round;
            overflow(&producer, &record, first..first + capacity + 3, 3);
            record.open.send(()).unwrap();
            // Waits for room, and comes after what was lost.
            producer.push(first + 99).unwrap();
            expected.push(Item(GATE));
            expected.extend((first..first + capacity).map(Item));
            expected.extend([Lost(3), Item(first + 99)]);
        }
        assert_eq!(listener.stop(LONG), Ok(()));
        assert_eq!(record.calls.iter().collect::<Vec<_>>(), expected, "capacity {capacity}");
        assert_eq!(listener.panics(), 0);
    }
}

#[test]
fn a_flush_ends_after_what_was_lost_before_it_is_reported() {
    watch();
    let (producer, consumer) = Builder::new(2).bypass(0).build();
    let (handler, record) = recorder(|_| (), ControlFlow::Continue(()));
    let listener = Listener::builder().spawn(consumer, handler).unwrap();
    for _ in 0..3 {
        overflow(&producer, &record, 0..5, 3);
        assert_left(listener.flush(Duration::ZERO), Kind::Timeout, 3);
        record.open.send(()).unwrap();
        assert_eq!(listener.flush(LONG), Ok(()));
        assert!(record.calls.try_iter().eq([Item(GATE), Item(0), Item(1), Lost(3)]));
    }
}

#[test]
fn a_flush_reports_what_was_lost_before_the_items_that_follow() {
    watch();
    let (producer, consumer) = Builder::new(2).bypass(0).build();
    let (handler, record) = recorder(|_| (), ControlFlow::Continue(()));
    let listener = Listener::builder().spawn(consumer, handler).unwrap();
    producer.push(GATE).unwrap();
    record.at_gate.recv().unwrap();
    producer.push(GATE).unwrap();
    producer.push(0).unwrap();
    assert!(producer.try_push_or_count(1).unwrap_err().is_full());
    record.open.send(()).unwrap();
    record.at_gate.recv().unwrap();
    // The flush finds the lost one between the 0 and the 2.
    producer.push(2).unwrap();
    assert_left(listener.flush(Duration::ZERO), Kind::Timeout, 3);
    record.open.send(()).unwrap();
    assert_eq!(listener.flush(LONG), Ok(()));
    assert!(record.calls.try_iter().eq([Item(GATE), Item(GATE), Item(0), Lost(1), Item(2)]));
}

#[test]
fn a_flush_does_not_report_early_what_is_lost_while_it_waits() {
    watch();
    let (producer, consumer) = Builder::new(2).bypass(0).build();
    let (handler, record) = recorder(|_| (), ControlFlow::Continue(()));
    let listener = Listener::builder().spawn(consumer, handler).unwrap();
    producer.push(GATE).unwrap();
    record.at_gate.recv().unwrap();
    producer.push(GATE).unwrap();
    thread::scope(|scope| {
        let flush = scope.spawn(|| listener.flush(LONG));
        settle();
        // At the second gate the listener has noted the tails. What comes now is behind them.
        record.open.send(()).unwrap();
        record.at_gate.recv().unwrap();
        assert_eq!((0..5).filter(|&item| producer.try_push_or_count(item).is_err()).count(), 3);
        record.open.send(()).unwrap();
        assert_eq!(flush.join().unwrap(), Ok(()));
    });
    assert_eq!(listener.stop(LONG), Ok(()));
    assert!(record.calls.iter().eq([Item(GATE), Item(GATE), Item(0), Item(1), Lost(3)]));
}

#[test]
fn what_is_lost_at_the_end_is_reported_before_the_thread_ends() {
    watch();
    for stops in [false, true] {
        let (producer, consumer) = Builder::new(2).bypass(0).build();
        let (handler, record) = recorder(|_| (), ControlFlow::Continue(()));
        let listener = Listener::builder().spawn(consumer, handler).unwrap();
        overflow(&producer, &record, 0..6, 4);
        if stops {
            assert_left(listener.stop(Duration::ZERO), Kind::Timeout, 3);
            // What finds the queue closed is not lost: its producer knows that nobody handles it.
            assert!(producer.try_push_or_count(9).unwrap_err().is_closed());
        }
        drop(producer);
        record.open.send(()).unwrap();
        assert_eq!(listener.stop(LONG), Ok(()));
        assert!(record.calls.try_iter().eq([Item(GATE), Item(0), Item(1), Lost(4)]));
    }
}

#[test]
fn a_handler_that_does_not_ask_hears_of_no_loss() {
    watch();
    let (begins, has_begun) = channel();
    let (go_on, may_go_on) = channel::<()>();
    let (producer, consumer) = Builder::new(1).bypass(0).build();
    let listener = Listener::spawn("test", consumer, move |item: u32| {
        begins.send(item).unwrap();
        let _ = may_go_on.recv();
    })
    .unwrap();
    producer.push(0).unwrap();
    has_begun.recv().unwrap();
    assert_eq!([1, 2, 3].map(|i| producer.try_push_or_count(i).is_ok()), [true, false, false]);
    drop(go_on);
    assert_eq!(listener.flush(LONG), Ok(()));
    assert_eq!(listener.stop(LONG), Ok(()));
    assert!(has_begun.iter().eq([1]));
    assert_eq!(listener.panics(), 0);
}

#[test]
fn after_a_panic_in_on_lost_the_next_item_is_handled() {
    watch();
    let (producer, consumer) = Builder::new(2).bypass(0).build();
    let (handler, record) = recorder(|_| panic!("on lost"), ControlFlow::Continue(()));
    let listener = Listener::builder().spawn(consumer, handler).unwrap();
    overflow(&producer, &record, 0..5, 3);
    record.open.send(()).unwrap();
    producer.push(9).unwrap();
    assert_eq!(listener.flush(LONG), Ok(()));
    assert_eq!(listener.panics(), 1);
    // The count was reported, if badly: once.
    let expected = [Item(GATE), Item(0), Item(1), Lost(3), Panic("on lost"), Item(9)];
    assert!(record.calls.try_iter().eq(expected));
    assert_eq!(listener.stop(LONG), Ok(()));
}

#[test]
fn after_a_panic_in_on_lost_the_queue_is_closed_where_that_was_chosen() {
    assert_on_lost_can_give_up(|| ControlFlow::Break(()));
}

#[test]
fn after_panics_in_on_lost_and_in_on_panic_the_queue_is_closed() {
    assert_on_lost_can_give_up(|| panic!("on panic"));
}

/// The listener gives up in a call of `on_lost`, with two items left.
fn assert_on_lost_can_give_up(on_panic: fn() -> ControlFlow<()>) {
    watch();
    let tally: &'static Tally = Box::leak(Box::new(Tally::new()));
    let (begins, has_begun) = channel();
    let (go_on, may_go_on) = channel::<()>();
    let (refilled, is_refilled) = channel::<()>();
    let (producer, consumer) = Builder::new(2).bypass(0).build();
    let handler = Calls(
        move |_item: Tracked<'static>| {
            let _ = begins.send(());
            let _ = may_go_on.recv();
        },
        move |_| {
            let _ = is_refilled.recv();
            panic!("on lost");
        },
        move |_| on_panic(),
    );
    let listener = Listener::builder().spawn(consumer, handler).unwrap();
    producer.push(tally.item()).unwrap();
    has_begun.recv().unwrap();
    (0..2).for_each(|_| producer.push(tally.item()).unwrap());
    assert!(producer.try_push_or_count(tally.item()).unwrap_err().is_full());
    drop((go_on, has_begun));
    (0..2).for_each(|_| producer.push(tally.item()).unwrap());
    drop(refilled);
    // It gives up because of the panic, and not because of the stop.
    while !producer.is_closed() {
        thread::yield_now();
    }
    assert_left(listener.stop(LONG), Kind::Closed, 2);
    assert_eq!(listener.panics(), 1);
    tally.assert_each_dropped_once(6);
}

#[test]
fn a_listener_that_gave_up_reports_nothing_and_leaves_the_count_to_the_next_consumer() {
    watch();
    static QUEUE: StaticQueue<u32, 2, 0> = StaticQueue::new();
    let (begins, has_begun) = channel();
    let (go_on, may_go_on) = channel::<()>();
    let (reports, reported) = channel();
    let handler = Calls(
        move |item| {
            begins.send(()).unwrap();
            let _ = may_go_on.recv();
            if item == 2 {
                // So that the next thing to do would be to report.
                QUEUE.push(9).unwrap();
                panic!("the handler's");
            }
        },
        move |count| reports.send(count).unwrap(),
        |_| ControlFlow::Break(()),
    );
    let listener = Listener::builder().spawn(QUEUE.consumer().unwrap(), handler).unwrap();
    QUEUE.push(0).unwrap();
    has_begun.recv().unwrap();
    assert_eq!((1..6).filter(|&item| QUEUE.try_push_or_count(item).is_err()).count(), 3);
    drop(go_on);
    // It gives up because of the panic, and not because of the stop.
    while !QUEUE.is_closed() {
        thread::yield_now();
    }
    assert_left(listener.stop(LONG), Kind::Closed, 1);
    assert_eq!(reported.iter().count(), 0);
    assert_eq!(QUEUE.consumer().unwrap().take_lost(), 3);
}

#[test]
fn on_lost_may_push_and_cannot_hang_on_its_own_listener() {
    watch();
    let own = Own::default();
    let theirs = own.clone();
    let (sender, results) = channel();
    let (producer, consumer) = Builder::new(2).bypass(2).build();
    let pusher = producer.clone();
    let (handler, record) = recorder(
        move |_| {
            let own = theirs.lock().unwrap();
            sender.send(own.as_ref().unwrap().flush(LONG)).unwrap();
            (10..12).for_each(|item| pusher.push(item).unwrap());
            sender.send(own.as_ref().unwrap().stop(LONG)).unwrap();
        },
        ControlFlow::Continue(()),
    );
    *own.lock().unwrap() = Some(Listener::builder().spawn(consumer, handler).unwrap());
    overflow(&producer, &record, 0..3, 1);
    record.open.send(()).unwrap();
    assert_left(results.recv().unwrap(), Kind::WouldDeadlock, 0);
    assert_left(results.recv().unwrap(), Kind::WouldDeadlock, 2);
    // The thread ends when the handler is dropped.
    let expected = [Item(GATE), Item(0), Item(1), Lost(1), Item(10), Item(11)];
    assert!(record.calls.iter().eq(expected));
    assert_eq!(own.lock().unwrap().take().unwrap().stop(LONG), Ok(()));
}

#[test]
fn every_flush_finds_all_reported_that_its_thread_has_lost() {
    watch();
    for capacity in [1, 3] {
        let reported = Arc::new(AtomicU64::new(0));
        let sum = reported.clone();
        let on_lost = move |count| _ = sum.fetch_add(count, Ordering::Relaxed);
        let handler = Calls(|_| (), on_lost, |_| ControlFlow::Continue(()));
        let (producer, consumer) = Builder::new(capacity).bypass(0).build();
        let listener = Listener::builder().spawn(consumer, handler).unwrap();
        let refused = AtomicU64::new(0);
        thread::scope(|scope| {
            for core in 0..2 {
                let (producer, listener) = (&producer, &listener);
                let (refused, reported) = (&refused, &reported);
                scope.spawn(move || {
                    pin(core);
                    for round in 0..1_000 {
                        let lost = (0..20).filter(|_| producer.try_push_or_count(round).is_err());
                        let lost = lost.count() as u64;
                        let before = refused.fetch_add(lost, Ordering::Relaxed) + lost;
                        assert_eq!(listener.flush(LONG), Ok(()));
                        assert!(reported.load(Ordering::Relaxed) >= before);
                    }
                });
            }
        });
        assert_eq!(listener.stop(LONG), Ok(()));
        let [reported, refused] = [&*reported, &refused].map(|sum| sum.load(Ordering::Relaxed));
        assert_eq!(reported, refused);
        assert_ne!(refused, 0, "nothing was lost");
    }
}

#[test]
fn len_counts_what_is_in_the_queue_and_nothing_once_the_consumer_has_left() {
    watch();
    static QUEUE: StaticQueue<u32, 4, 0> = StaticQueue::new();
    let (handler, has_begun, go_on) = stuck();
    let listener = Listener::spawn("test", QUEUE.consumer().unwrap(), handler).unwrap();
    assert_eq!((listener.len(), listener.is_empty()), (0, true));
    QUEUE.push(0).unwrap();
    has_begun.recv().unwrap();
    // The handler has it.
    assert_eq!((listener.len(), listener.is_empty()), (0, true));
    (1..4).for_each(|item| QUEUE.push(item).unwrap());
    assert_eq!((listener.len(), listener.is_empty()), (3, false));
    drop(go_on);
    assert_eq!(listener.stop(LONG), Ok(()));
    assert_eq!((listener.len(), listener.is_empty()), (0, true));
    // The next consumer's items are not the listener's.
    let _next = QUEUE.consumer().unwrap();
    QUEUE.push(5).unwrap();
    assert_eq!((listener.len(), listener.is_empty()), (0, true));
}

#[test]
fn in_the_listeners_domain_a_push_does_not_wait() {
    watch();
    let (handler, has_begun, go_on) = stuck();
    let (producer, consumer) = Builder::new(1).bypass(1).build();
    let listener = Listener::spawn("test", consumer, handler).unwrap();
    let domain = listener.domain();
    producer.push(0).unwrap();
    has_begun.recv().unwrap();
    {
        let _inside = domain.enter();
        assert_eq!([1, 2].map(|item| producer.push(item)), [Ok(()); 2]);
        assert_eq!(producer.push(3), Err(PushError::WouldDeadlock(3)));
        assert_left(listener.flush(LONG), Kind::WouldDeadlock, 3);
    }
    drop(go_on);
    assert_eq!(listener.stop(LONG), Ok(()));
    // It is a domain still, of a queue without a consumer.
    let _inside = listener.domain().enter();
    assert!(producer.push(4).unwrap_err().is_closed());
}

#[test]
fn a_builder_names_the_thread_or_leaves_it_nameless() {
    watch();
    for name in [None, Some("a name")] {
        let (sender, names) = channel();
        let (producer, consumer) = bounded(1);
        let builder =
            name.into_iter().fold(Listener::builder(), |builder, name| builder.name(name));
        let handler = move |()| sender.send(thread::current().name().map(str::to_owned)).unwrap();
        let listener = builder.spawn(consumer, handler).unwrap();
        producer.push(()).unwrap();
        listener.stop(LONG).unwrap();
        assert_eq!(names.recv().unwrap().as_deref(), name);
    }
}

#[test]
fn a_builder_sets_the_size_of_the_stack() {
    watch();
    let (producer, consumer) = bounded(1);
    // More than a thread has without it.
    let handler = |()| _ = std::hint::black_box([1_u8; 8 << 20]);
    let listener = Listener::builder().stack_size(64 << 20).spawn(consumer, handler).unwrap();
    producer.push(()).unwrap();
    assert_eq!(listener.stop(LONG), Ok(()));
    assert_eq!(listener.panics(), 0);
}

#[cfg(target_os = "linux")]
#[test]
fn a_stack_that_is_too_large_is_an_error() {
    let (producer, consumer) = bounded::<u8>(1);
    let builder = Listener::builder().stack_size(usize::MAX & !0xFFFF);
    builder.spawn(consumer, |_: u8| ()).unwrap_err();
    assert!(producer.is_closed());
}
