//! A push that waits for long is told to the program's hook, with what it waits for.
#![cfg(all(feature = "std", not(bywash_loom)))]

mod support;

use std::sync::{Condvar, Mutex, Once};
use std::thread;
use std::time::{Duration, Instant};

use bywash::{Builder, Consumer, Producer, PushTimeoutError, bounded, set_long_wait_hook};
use support::watch;

/// So long that it never ends: the watchdog ends the test before.
const LONG: Duration = Duration::from_secs(3_600);
const AFTER: Duration = Duration::from_millis(20);

/// What the hook was told.
#[derive(Clone, Debug)]
struct Told {
    queue: String,
    is_bound: bool,
    is_alive: Option<bool>,
    len: usize,
    capacity: usize,
    since: Instant,
    line: String,
}

static ALL: Mutex<Vec<Told>> = Mutex::new(Vec::new());
static NEWS: Condvar = Condvar::new();
/// What the hook pushes into, in the test of that.
static OWN: Mutex<Option<Producer<u32>>> = Mutex::new(None);

/// There is one hook, so all tests have it in common, and know theirs by the name of the queue.
fn set_hook() {
    static SET: Once = Once::new();
    watch();
    SET.call_once(|| {
        let hook = |wait: &bywash::LongWait<'_>| {
            let told = Told {
                queue: wait.queue.unwrap().to_owned(),
                is_bound: wait.is_bound,
                is_alive: wait.is_alive,
                len: wait.len,
                capacity: wait.capacity,
                since: wait.since,
                line: wait.to_string(),
            };
            let pushes = wait.queue == Some("that the hook pushes into");
            let own = pushes.then(|| OWN.lock().unwrap());
            ALL.lock().unwrap().push(told);
            NEWS.notify_all();
            if let Some(own) = own {
                let timed_out = own.as_ref().unwrap().push_timeout(9, 3 * AFTER);
                assert_eq!(timed_out, Err(PushTimeoutError::Timeout(9)));
            }
            assert_ne!(wait.queue, Some("whose hook panics"), "on purpose");
        };
        assert!(set_long_wait_hook(AFTER, hook));
    });
}

/// What was told of pushes into the queue of this name, of which there is at least one.
fn told(name: &str) -> Vec<Told> {
    let mut all = ALL.lock().unwrap();
    loop {
        let told: Vec<_> = all.iter().filter(|told| told.queue == name).cloned().collect();
        if !told.is_empty() {
            return told;
        }
        all = NEWS.wait(all).unwrap();
    }
}

fn full(name: &str) -> (Producer<u32>, Consumer<u32>) {
    set_hook();
    let (producer, consumer) = Builder::new(1).name(name).build();
    producer.push(1).unwrap();
    (producer, consumer)
}

#[test]
fn an_owner_that_never_bound_and_waits_for_itself_is_told_so() {
    let begin = Instant::now();
    let (producer, mut consumer) = full("never bound");
    let waiting = thread::spawn(move || {
        // Here `bind` is missing.
        let result = producer.push(2);
        (result, Instant::now())
    });
    let told = told("never bound");
    let [Told { is_bound, is_alive, len, capacity, since, line, .. }] = &told[..] else {
        panic!("{told:?}")
    };
    assert_eq!((is_bound, is_alive, len, capacity), (&false, &None, &1, &1));
    assert!(begin <= *since && since.elapsed() >= AFTER);
    assert!(line.starts_with("a push into the queue never bound has waited for "), "{line}");
    assert!(
        line.contains("its consumer has no thread: a thread that is going to pop calls"),
        "{line}"
    );
    assert_eq!(consumer.pop(), Ok(1));
    let (result, end) = waiting.join().unwrap();
    assert_eq!(result, Ok(()));
    assert!(end >= *since);
}

#[test]
fn whether_the_consumers_thread_is_alive_is_told() {
    let knows = cfg!(all(target_os = "linux", not(miri)));
    for is_alive in [true, false] {
        let name = if is_alive { "alive" } else { "ended" };
        let (producer, mut consumer) = full(name);
        let (go_on, may_go_on) = std::sync::mpsc::channel::<()>();
        let (push, may_push) = std::sync::mpsc::channel();
        let (binds, bound) = std::sync::mpsc::channel();
        let binds_too = binds.clone();
        let thread = thread::spawn(move || {
            consumer.bind();
            binds.send(()).unwrap();
            let _ = may_go_on.recv();
            consumer
        });
        let waiting = thread::spawn(move || {
            // Bound as well, so that it does not get the number of the thread that ends.
            let (_own, mut own) = bounded::<u32>(1);
            own.bind();
            binds_too.send(()).unwrap();
            may_push.recv().unwrap();
            producer.push_timeout(2, LONG)
        });
        (0..2).for_each(|_| bound.recv().unwrap());
        let mut end = Some(|| {
            drop(go_on);
            thread.join().unwrap()
        });
        let ended = if is_alive { None } else { end.take().map(|end| end()) };
        push.send(()).unwrap();
        let told = told(name);
        assert!(told[0].is_bound);
        // A thread that has ended is known everywhere, as it has given back its number.
        assert_eq!(told[0].is_alive, (knows || !is_alive).then_some(is_alive));
        let what = if is_alive { "has a thread, which does not pop" } else { "that has ended" };
        assert!(told[0].line.contains(what), "{}", told[0].line);
        let mut consumer = ended.or_else(|| end.map(|end| end())).unwrap();
        assert_eq!(consumer.pop(), Ok(1));
        assert_eq!(waiting.join().unwrap(), Ok(()));
    }
}

#[test]
fn it_is_told_once_for_each_push() {
    let (producer, mut consumer) = full("told once");
    thread::scope(|scope| {
        for _ in 0..2 {
            let waiting = scope.spawn(|| producer.push(2));
            told("told once");
            // Longer than a push sleeps without looking again.
            thread::sleep(Duration::from_millis(1200));
            assert_eq!(told("told once").len(), 1);
            ALL.lock().unwrap().retain(|told| told.queue != "told once");
            consumer.pop().unwrap();
            waiting.join().unwrap().unwrap();
            consumer.unbind();
        }
    });
}

#[test]
fn a_hook_that_panics_leaves_the_push_as_it_was() {
    let (producer, mut consumer) = full("whose hook panics");
    let waiting = thread::spawn(move || producer.push(2));
    told("whose hook panics");
    assert_eq!((consumer.pop(), consumer.pop()), (Ok(1), Ok(2)));
    assert_eq!(waiting.join().unwrap(), Ok(()));
}

#[test]
fn a_hook_that_pushes_is_not_called_for_that() {
    let name = "that the hook pushes into";
    let (producer, mut consumer) = full(name);
    *OWN.lock().unwrap() = Some(producer.clone());
    let waiting = thread::spawn(move || producer.push(2));
    told(name);
    // Held while the hook pushes.
    *OWN.lock().unwrap() = None;
    assert_eq!(told(name).len(), 1);
    assert_eq!((consumer.pop(), consumer.pop()), (Ok(1), Ok(2)));
    assert_eq!(waiting.join().unwrap(), Ok(()));
}

#[test]
fn there_is_one_hook_the_first() {
    set_hook();
    assert!(!set_long_wait_hook(Duration::ZERO, |_| unreachable!("it is not set")));
}
