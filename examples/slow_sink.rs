//! A slow sink behind a queue, such as a chat's webhook, which takes its time and fails now and
//! then. No request waits for it longer than a limit, the accepted messages are delivered in order,
//! and the program stops without losing any of them.
//!
//! ```text
//! cargo run --example slow_sink
//! cargo run --example slow_sink -- --down    # the sink fails for good after a while
//! ```
//!
//! Prints the messages as the sink takes them, and a summary to the standard error. The summary
//! lists the messages that were accepted and not delivered; a real program would save them.

use std::process::ExitCode;
use std::time::{Duration, Instant};
use std::{iter, thread};

use bywash::{Consumer, Producer, bounded};

/// How long a request may wait.
const PATIENCE: Duration = Duration::from_millis(20);
const CAPACITY: usize = 16;
const THREADS: u32 = 4;
const REQUESTS: u32 = 50;
const FIRST_BACKOFF: Duration = Duration::from_millis(1);
const LONGEST_BACKOFF: Duration = Duration::from_millis(20);
/// After so many failures in a row the sink is down.
const ATTEMPTS: u32 = 8;

struct Message {
    thread: u32,
    request: u32,
}

/// A stand-in for a client that sends messages over a network.
struct Webhook {
    calls: u32,
    down_after: u32,
}

impl Webhook {
    fn post(&mut self, message: &Message) -> Result<(), &'static str> {
        thread::sleep(Duration::from_millis(1));
        self.calls += 1;
        if self.calls > self.down_after || self.calls % 7 >= 5 {
            return Err("503 service unavailable");
        }
        println!("thread {} request {}", message.thread, message.request);
        Ok(())
    }
}

#[derive(Default)]
struct Report {
    delivered: usize,
    retries: u32,
    undelivered: Vec<Message>,
}

/// The sink's thread. While it tries one message again, those behind it wait, which keeps them in
/// order.
fn deliver(mut messages: Consumer<Message>, mut webhook: Webhook) -> Report {
    messages.bind(); // If this thread pushes too, it does not wait for itself.
    let mut report = Report::default();
    while let Ok(message) = messages.pop() {
        if let Err(error) = post_with_retries(&mut webhook, &message, &mut report.retries) {
            eprintln!("the sink is down: {error}");
            messages.close(); // From here on, requests are refused at once.
            report.undelivered.push(message);
            report.undelivered.extend(messages); // What was accepted before.
            return report;
        }
        report.delivered += 1;
    }
    report
}

fn post_with_retries(
    webhook: &mut Webhook,
    message: &Message,
    retries: &mut u32,
) -> Result<(), &'static str> {
    let mut backoff = FIRST_BACKOFF;
    for _ in 1..ATTEMPTS {
        if webhook.post(message).is_ok() {
            return Ok(());
        }
        *retries += 1;
        thread::sleep(backoff);
        backoff = LONGEST_BACKOFF.min(2 * backoff);
    }
    webhook.post(message)
}

/// A thread that answers requests. Returns how many messages were accepted, and how long the
/// longest push took.
fn serve(thread: u32, queue: Producer<Message>) -> (usize, Duration) {
    let (mut accepted, mut longest) = (0, Duration::ZERO);
    for request in 0..REQUESTS {
        let begin = Instant::now();
        // The push fails after this time, or at once if the sink is down. Either way the request is
        // answered.
        accepted += usize::from(queue.push_timeout(Message { thread, request }, PATIENCE).is_ok());
        longest = longest.max(begin.elapsed());
    }
    (accepted, longest)
}

fn main() -> ExitCode {
    let down_after =
        if std::env::args().any(|argument| argument == "--down") { 10 } else { u32::MAX };
    let (queue, messages) = bounded(CAPACITY);
    let sink = thread::spawn(move || deliver(messages, Webhook { calls: 0, down_after }));
    let spawn = |(number, queue)| thread::spawn(move || serve(number, queue));
    let threads: Vec<_> = (0..THREADS).zip(iter::repeat(&queue).cloned()).map(spawn).collect();
    // When the threads have dropped theirs, too, the sink's thread delivers what is left, and ends.
    drop(queue);
    let served: Vec<_> =
        threads.into_iter().map(|thread| thread.join().expect("it does not panic")).collect();
    let Report { delivered, retries, undelivered } = sink.join().expect("it does not panic");

    let accepted: usize = served.iter().map(|(accepted, _)| accepted).sum();
    let longest = served.iter().map(|(_, longest)| longest).max().expect("there are threads");
    eprintln!(
        "{} requests, {accepted} accepted; the longest push took {longest:.1?}",
        THREADS * REQUESTS
    );
    for Message { thread, request } in &undelivered {
        eprintln!("not delivered: thread {thread} request {request}");
    }
    eprintln!("{delivered} delivered with {retries} retries, {} not delivered", undelivered.len());
    if delivered + undelivered.len() == accepted { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
