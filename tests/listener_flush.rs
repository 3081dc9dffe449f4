//! What a handler keeps back is written before a flush returns, when nothing is left to do, and at
//! the end, and whoever waits for it hears of failures.
#![cfg(all(feature = "std", not(bywash_loom)))]

mod support;

use std::any::Any;
use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use bywash::{Handler, Listener, ListenerError, ListenerErrorKind as Kind, Producer, bounded};
use support::watch;

/// So long that it never ends: the watchdog ends the test before.
const LONG: Duration = Duration::from_secs(3_600);

/// A file that all have in common, and a disk that may be full.
#[derive(Clone, Default)]
struct File {
    content: Arc<Mutex<Vec<u8>>>,
    is_full: Arc<AtomicBool>,
    writes: Arc<AtomicU64>,
}

impl File {
    fn lines(&self) -> usize {
        self.content.lock().unwrap().iter().filter(|&&byte| byte == b'\n').count()
    }
}

impl Write for File {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writes.fetch_add(1, SeqCst);
        if self.is_full.load(SeqCst) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.content.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes lines into a buffer larger than all of them.
struct Lines(BufWriter<File>);

impl Handler<u64> for Lines {
    fn handle(&mut self, line: u64) {
        writeln!(self.0, "line {line}").unwrap();
    }

    fn on_lost(&mut self, count: u64) {
        writeln!(self.0, "{count} lost").unwrap();
    }

    fn on_flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

fn lines_into(file: &File) -> (Producer<u64>, Listener) {
    let (producer, consumer) = bounded(100);
    let handler = Lines(BufWriter::with_capacity(1 << 20, file.clone()));
    (producer, Listener::builder().spawn(consumer, handler).unwrap())
}

#[test]
fn what_was_pushed_before_a_flush_is_in_the_file_after_it_at_rest_and_under_load() {
    watch();
    let file = File::default();
    let (producer, listener) = lines_into(&file);
    for i in 1..=10 {
        producer.push(i).unwrap();
        listener.flush(LONG).unwrap();
        assert_eq!(file.lines(), i as usize);
    }
    let is_over = AtomicBool::new(false);
    let pushed = AtomicU64::new(10);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(SeqCst) {
                producer.push(0).unwrap();
                pushed.fetch_add(1, SeqCst);
            }
        });
        for _ in 0..100 {
            let before = pushed.load(SeqCst);
            listener.flush(LONG).unwrap();
            assert!(file.lines() >= before as usize);
        }
        is_over.store(true, SeqCst);
    });
}

#[test]
fn what_was_lost_is_in_the_file_after_a_flush() {
    watch();
    let file = File::default();
    let (producer, consumer) = bounded(1);
    (0..3).for_each(|i| _ = producer.try_push_or_count(i));
    let handler = Lines(BufWriter::new(file.clone()));
    let listener = Listener::builder().spawn(consumer, handler).unwrap();
    listener.flush(LONG).unwrap();
    assert_eq!(*file.content.lock().unwrap(), b"line 0\n2 lost\n");
}

#[test]
fn what_was_handled_is_in_the_file_soon_after_the_last_item_and_not_written_for_each() {
    watch();
    let file = File::default();
    let (producer, consumer) = bounded(100);
    (0..100).for_each(|i| producer.push(i).unwrap());
    let handler = Lines(BufWriter::with_capacity(1 << 20, file.clone()));
    let listener = Listener::builder().spawn(consumer, handler).unwrap();
    // Nobody asks for it.
    while file.lines() != 100 {
        thread::yield_now();
    }
    assert_eq!(file.writes.load(SeqCst), 1);
    drop(listener);
}

#[test]
fn the_rest_is_in_the_file_after_a_stop_and_after_the_last_producer() {
    watch();
    for stops in [true, false] {
        let file = File::default();
        let (producer, listener) = lines_into(&file);
        (0..50).for_each(|i| producer.push(i).unwrap());
        if !stops {
            drop(producer);
        }
        listener.stop(LONG).unwrap();
        assert_eq!(file.lines(), 50);
    }
}

#[track_caller]
fn assert_is_full(result: Result<(), ListenerError>) {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), Kind::Unflushed(io::ErrorKind::StorageFull));
    assert!(error.is_unflushed());
    assert_eq!((error.left(), error.to_string()), (0, "could not flush: no storage space".into()));
}

#[test]
fn who_flushes_and_who_stops_gets_the_error_of_the_disk() {
    watch();
    let file = File::default();
    let (producer, listener) = lines_into(&file);
    assert!(listener.flush_error().is_none());
    file.is_full.store(true, SeqCst);
    producer.push(1).unwrap();
    assert_is_full(listener.flush(LONG));
    assert_is_full(listener.flush(LONG));
    file.is_full.store(false, SeqCst);
    // The first call after it may have to tell of an attempt that nobody had asked for.
    let _ = listener.flush(LONG);
    assert_eq!(listener.flush(LONG), Ok(()));
    assert_eq!(file.lines(), 1);
    file.is_full.store(true, SeqCst);
    producer.push(2).unwrap();
    assert_is_full(listener.stop(LONG));
    assert_is_full(listener.stop(LONG));
    assert_is_full(listener.flush(LONG));
}

/// What a handler does: what it is told to when it flushes.
struct Told {
    calls: Sender<()>,
    tell: Receiver<io::Result<()>>,
    on_panic: ControlFlow<()>,
}

impl Handler<u32> for Told {
    fn handle(&mut self, _item: u32) {}

    fn on_flush(&mut self) -> io::Result<()> {
        let _ = self.calls.send(());
        // Those of the end succeed.
        self.tell.recv().unwrap_or(Ok(()))
    }

    fn on_panic(&mut self, _payload: Box<dyn Any + Send>) -> ControlFlow<()> {
        self.on_panic
    }
}

fn told(
    on_panic: ControlFlow<()>,
) -> (Producer<u32>, Listener, Receiver<()>, Sender<io::Result<()>>) {
    let (producer, consumer) = bounded(4);
    let ((calls, called), (teller, tell)) = (channel(), channel());
    let handler = Told { calls, tell, on_panic };
    (producer, Listener::builder().spawn(consumer, handler).unwrap(), called, teller)
}

#[test]
fn a_failure_that_nobody_waits_for_goes_to_the_next_flush_or_stop_and_no_further() {
    watch();
    for stops in [false, true] {
        let (producer, listener, called, tell) = told(ControlFlow::Continue(()));
        producer.push(1).unwrap();
        // It found nothing left.
        called.recv().unwrap();
        tell.send(Err(io::Error::other("unasked"))).unwrap();
        tell.send(Ok(())).unwrap();
        tell.send(Ok(())).unwrap();
        let result = if stops { listener.stop(LONG) } else { listener.flush(LONG) };
        assert_eq!(result.unwrap_err().kind(), Kind::Unflushed(io::ErrorKind::Other));
        assert_eq!(listener.flush_error().unwrap().to_string(), "unasked");
        if !stops {
            assert_eq!(listener.flush(LONG), Ok(()));
            drop(tell);
            assert_eq!(listener.stop(LONG), Ok(()));
        }
    }
}

#[test]
fn without_items_nothing_is_flushed_unasked() {
    watch();
    let (_producer, listener, called, tell) = told(ControlFlow::Continue(()));
    for _ in 0..3 {
        tell.send(Ok(())).unwrap();
        listener.flush(LONG).unwrap();
    }
    assert_eq!(called.try_iter().count(), 3);
    drop(tell);
    listener.stop(LONG).unwrap();
    assert_eq!(called.iter().count(), 1, "at the end");
}

#[test]
fn a_flush_that_panics_is_an_error_for_who_waits_and_the_listener_goes_on_or_gives_up() {
    struct Panics(ControlFlow<()>);

    impl Handler<u32> for Panics {
        fn handle(&mut self, _item: u32) {}

        fn on_flush(&mut self) -> io::Result<()> {
            panic!("on purpose");
        }

        fn on_panic(&mut self, _payload: Box<dyn Any + Send>) -> ControlFlow<()> {
            self.0
        }
    }

    watch();
    for (on_panic, is_closed) in
        [(ControlFlow::Continue(()), false), (ControlFlow::Break(()), true)]
    {
        let (producer, consumer) = bounded(4);
        let listener = Listener::builder().spawn(consumer, Panics(on_panic)).unwrap();
        assert!(listener.flush(LONG).unwrap_err().is_unflushed());
        let text = listener.flush_error().unwrap().to_string();
        assert_eq!(text, "the handler panicked while it flushed");
        assert!(listener.panics() >= 1);
        if is_closed {
            // So it is when it has left.
            let _ = listener.stop(LONG);
        }
        assert_eq!(producer.push(1).is_err(), is_closed);
        assert!(listener.stop(LONG).unwrap_err().is_unflushed());
    }
}

#[test]
fn a_handler_that_gives_up_while_it_flushes_unasked_handles_nothing_more() {
    struct GivesUp(Arc<AtomicU64>);

    impl Handler<u32> for GivesUp {
        fn handle(&mut self, _item: u32) {
            self.0.fetch_add(1, SeqCst);
        }

        fn on_flush(&mut self) -> io::Result<()> {
            panic!("on purpose");
        }

        fn on_panic(&mut self, _payload: Box<dyn Any + Send>) -> ControlFlow<()> {
            ControlFlow::Break(())
        }
    }

    watch();
    for _ in 0..200 {
        let (producer, consumer) = bounded(4);
        let handled = Arc::new(AtomicU64::new(0));
        let listener = Listener::builder().spawn(consumer, GivesUp(handled.clone())).unwrap();
        let pushed = (0..10_000).take_while(|&i| producer.push(i).is_ok()).count() as u64;
        let left = listener.stop(LONG).unwrap_err().left() as u64;
        assert_eq!(handled.load(SeqCst) + left, pushed, "each is handled, or counted as left");
        assert_eq!(listener.handled(), handled.load(SeqCst));
    }
}

#[test]
fn a_handler_that_logs_while_it_flushes_does_not_hang() {
    struct Logs(Producer<u32>, Arc<AtomicU64>);

    impl Handler<u32> for Logs {
        fn handle(&mut self, item: u32) {
            self.1.fetch_add(item.into(), SeqCst);
        }

        fn on_flush(&mut self) -> io::Result<()> {
            if self.1.load(SeqCst) < 100 {
                self.0.push(1).map_err(io::Error::other)?;
            }
            Ok(())
        }
    }

    watch();
    let (producer, consumer) = bounded(1);
    let sum = Arc::new(AtomicU64::new(0));
    let handler = Logs(producer.downgrade(), sum.clone());
    let listener = Listener::builder().spawn(consumer, handler).unwrap();
    producer.push(1).unwrap();
    // Each flush pushes an item, which is handled, and flushed when nothing is left.
    while sum.load(SeqCst) != 100 {
        thread::yield_now();
    }
    listener.flush(LONG).unwrap();
    listener.stop(LONG).unwrap();
}
