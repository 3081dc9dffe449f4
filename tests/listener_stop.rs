//! A stop reaches a handler that is about to sleep for long, and counts tell at any time what
//! became of the items.
#![cfg(all(feature = "std", not(bywash_loom)))]

mod support;

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use bywash::{Listener, StopToken, bounded};
use support::{settle, watch};

/// So long that it never ends: the watchdog ends the test before.
const LONG: Duration = Duration::from_secs(3_600);
const SHORT: Duration = Duration::from_millis(20);

#[test]
fn a_handler_that_backs_off_hears_of_the_stop_and_saves_what_is_left() {
    watch();
    let stop = StopToken::new();
    let theirs = stop.clone();
    let (saves, saved) = channel();
    let (begins, has_begun) = channel();
    let handler = move |item: u32| {
        let _ = begins.send(());
        // Its server is down, and it would try again later.
        assert!(theirs.wait(LONG));
        saves.send((item, theirs.deadline().is_some())).unwrap();
    };
    let (producer, consumer) = bounded(8);
    let listener = Listener::builder().stop_token(stop).spawn(consumer, handler).unwrap();
    (0..3).for_each(|item| producer.push(item).unwrap());
    has_begun.recv().unwrap();
    settle();
    assert_eq!(listener.stop(LONG), Ok(()));
    assert_eq!(saved.iter().collect::<Vec<_>>(), [(0, true), (1, true), (2, true)]);
}

#[test]
fn it_hears_of_a_drop_and_until_when_that_waits_for_it() {
    watch();
    let (before, limit) = (Instant::now(), LONG / 2);
    assert!(deadline_of_a_drop(limit).is_some_and(|deadline| deadline >= before + limit));
    assert_eq!(deadline_of_a_drop(Duration::MAX), None);
}

/// The deadline that a handler finds while its listener is dropped.
fn deadline_of_a_drop(limit: Duration) -> Option<Instant> {
    let stop = StopToken::new();
    let theirs = stop.clone();
    let (sender, heard) = channel();
    let (producer, consumer) = bounded(8);
    let handler = move |()| sender.send((theirs.wait(LONG), theirs.deadline())).unwrap();
    let builder = Listener::builder().stop_token(stop.clone()).drop_timeout(limit);
    let listener = builder.spawn(consumer, handler).unwrap();
    producer.push(()).unwrap();
    drop(listener);
    assert!(stop.is_stopping());
    let (is_stopping, deadline) = heard.recv().unwrap();
    assert!(is_stopping && heard.recv().is_err());
    deadline
}

#[test]
fn it_hears_of_a_stop_in_the_handler_itself_and_of_the_latest_deadline() {
    watch();
    let stop = StopToken::new();
    let (producer, consumer) = bounded(8);
    let own = Arc::new(Mutex::new(None::<Listener>));
    let (theirs, is_stopping) = (own.clone(), stop.clone());
    let (sender, stopped) = channel();
    let handler = move |()| {
        let listener = theirs.lock().unwrap();
        let listener = listener.as_ref().unwrap();
        assert!(!is_stopping.is_stopping());
        for timeout in [Duration::ZERO, LONG, SHORT] {
            assert!(listener.stop(timeout).unwrap_err().is_would_deadlock());
            sender.send(is_stopping.deadline().unwrap()).unwrap();
        }
        assert!(is_stopping.wait(LONG));
    };
    let before = Instant::now();
    let builder = Listener::builder().stop_token(stop.clone()).drop_timeout(Duration::MAX);
    let listener = builder.spawn(consumer, handler).unwrap();
    *own.lock().unwrap() = Some(listener);
    producer.push(()).unwrap();
    let [zero, long, short] = [(); 3].map(|()| stopped.recv().unwrap());
    assert!(before <= zero && before + LONG <= long);
    assert_eq!(long, short, "others still wait");
    drop(own.lock().unwrap().take());
    assert_eq!(stop.deadline(), None, "the drop waits without a limit");
}

#[test]
fn without_a_stop_the_wait_ends_in_time_and_says_so() {
    watch();
    let stop = StopToken::new();
    assert!(!stop.wait(Duration::ZERO) && !stop.wait(SHORT));
    assert!(!stop.is_stopping() && stop.deadline().is_none());
    assert_eq!(format!("{stop:?}"), "StopToken { is_stopping: false, .. }");
    let (producer, consumer) = bounded::<()>(1);
    let listener = Listener::builder().stop_token(stop.clone()).spawn(consumer, |()| ()).unwrap();
    drop(producer);
    // It has ended, and nobody has stopped it.
    listener.flush(LONG).unwrap();
    assert!(!stop.is_stopping());
    drop(listener);
}

#[test]
fn after_a_stop_that_timed_out_dropping_the_listener_leaves_the_deadline_alone() {
    watch();
    let stop = StopToken::new();
    let (go_on, may_go_on) = channel::<()>();
    let stuck = move |()| _ = may_go_on.recv();
    let (producer, consumer) = bounded(4);
    let listener = Listener::builder().stop_token(stop.clone()).spawn(consumer, stuck).unwrap();
    producer.push(()).unwrap();
    assert!(listener.stop(SHORT).unwrap_err().is_timeout());
    let deadline = stop.deadline().unwrap();
    drop(listener);
    assert_eq!(stop.deadline(), Some(deadline));
    drop(go_on);
}

#[test]
fn several_threads_that_wait_for_a_stop_all_hear_of_it() {
    watch();
    let stop = StopToken::new();
    let (_producer, consumer) = bounded::<()>(1);
    let listener = Listener::builder().stop_token(stop.clone()).spawn(consumer, |()| ()).unwrap();
    thread::scope(|scope| {
        let waiting = [(); 4].map(|()| scope.spawn(|| stop.wait(LONG)));
        settle();
        listener.stop(LONG).unwrap();
        assert!(waiting.into_iter().all(|thread| thread.join().unwrap()));
    });
}

#[test]
fn what_was_handled_what_is_left_and_what_was_lost_is_counted_at_any_time() {
    watch();
    let (begins, has_begun) = channel();
    let (go_on, may_go_on) = channel::<()>();
    let handler = move |item: u32| {
        begins.send(()).unwrap();
        let _ = may_go_on.recv();
        assert_ne!(item, 1, "on purpose");
    };
    let (producer, consumer) = bounded(2);
    let listener = Listener::spawn("test", consumer, handler).unwrap();
    let counted = || {
        let counts = listener.counts();
        (listener.handled(), listener.left(), counts.lost, counts.unreported, counts.high_water)
    };
    producer.push(0).unwrap();
    has_begun.recv().unwrap();
    assert_eq!(counted(), (0, 1, 0, 0, 1));
    (1..7).for_each(|item| _ = producer.try_push_or_count(item));
    let (_, left, lost, unreported, high_water) = counted();
    assert_eq!((left, lost, unreported), (3, 4, 4));
    // The first item may have been popped before the consumer had found nothing.
    assert_eq!(high_water, 2);
    assert!(listener.stop(SHORT).unwrap_err().is_timeout());
    assert_eq!(counted(), (0, 3, 4, 4, 2));
    drop(go_on);
    listener.stop(LONG).unwrap();
    assert_eq!((counted(), listener.panics()), ((3, 0, 4, 0, 2), 1));
}

#[test]
fn what_a_listener_dropped_that_gave_up_is_left() {
    struct GivesUp;

    impl bywash::Handler<u32> for GivesUp {
        fn handle(&mut self, item: u32) {
            assert_ne!(item, 1, "on purpose");
        }

        fn on_panic(&mut self, _: Box<dyn std::any::Any + Send>) -> std::ops::ControlFlow<()> {
            std::ops::ControlFlow::Break(())
        }
    }

    watch();
    let (producer, consumer) = bounded(8);
    (0..5).for_each(|item| producer.push(item).unwrap());
    let listener = Listener::builder().spawn(consumer, GivesUp).unwrap();
    assert!(listener.stop(LONG).unwrap_err().is_closed());
    assert_eq!((listener.handled(), listener.left()), (2, 3));
}

#[test]
fn what_is_to_be_done_at_the_start_comes_first_on_the_thread_itself() {
    watch();
    let has_begun = Arc::new(AtomicBool::new(false));
    let theirs = has_begun.clone();
    let (sender, handled) = channel();
    let (producer, consumer) = bounded(8);
    producer.push(1).unwrap();
    let own = producer.downgrade();
    let start = move || {
        assert_eq!(thread::current().name(), Some("a name"));
        assert!(own.must_not_wait(), "it is the consumer's thread");
        theirs.store(true, SeqCst);
    };
    let handler = move |item: u32| sender.send((item, has_begun.load(SeqCst))).unwrap();
    let builder = Listener::builder().name("a name").on_start(start);
    assert!(format!("{builder:?}").contains("a name"));
    let listener = builder.spawn(consumer, handler).unwrap();
    listener.stop(LONG).unwrap();
    assert_eq!((handled.recv(), listener.panics()), (Ok((1, true)), 0));
}

#[test]
fn a_panic_at_the_start_is_counted_and_the_listener_goes_on() {
    watch();
    let (sender, handled) = channel();
    let (producer, consumer) = bounded(8);
    let handler = move |item: u32| sender.send(item).unwrap();
    let builder = Listener::builder().on_start(|| panic!("on purpose"));
    let listener = builder.spawn(consumer, handler).unwrap();
    producer.push(1).unwrap();
    listener.stop(LONG).unwrap();
    assert_eq!((handled.recv(), listener.panics()), (Ok(1), 1));
}
