//! Another process of this program that measures, so that a queue that hangs hangs nothing else.

use std::error::Error;
use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::idle::{self, Idle};
use crate::plan::workloads;
use crate::workloads::{Contestant, Sample, Workload, contestants, new_histogram};

/// Why there is no figure.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Failure {
    Hung(Duration),
    Died,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Hung(limit) => write!(f, "did not end within {} s", limit.as_secs()),
            Self::Died => f.write_str("panicked or crashed"),
        }
    }
}

pub(crate) struct Worker {
    child: Child,
    replies: Receiver<String>,
}

impl Worker {
    pub(crate) fn start() -> io::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("--worker")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (sender, replies) = channel();
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        // It ends with the child.
        thread::spawn(move || {
            output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        Ok(Self { child, replies })
    }

    /// A worker that has failed is replaced.
    pub(crate) fn measure(
        &mut self,
        contestant: &Contestant,
        workload: &Workload,
        items: u64,
        limit: Duration,
    ) -> io::Result<Result<Sample, Failure>> {
        self.send(&format!("measure\t{workload}\t{}\t{items}", contestant.name));
        let reply = self.receive(limit);
        if reply.is_err() {
            *self = Self::start()?;
        }
        Ok(reply.and_then(|reply| decode(&reply).ok_or(Failure::Died)))
    }

    /// Begins to watch a queue whose threads wait.
    pub(crate) fn watch(&mut self, queue: &str, watch: Duration) {
        self.send(&format!("watch\t{queue}\t{}", watch.as_millis()));
    }

    /// What was seen.
    pub(crate) fn watched(&mut self, limit: Duration) -> Result<Idle, Failure> {
        let reply = self.receive(limit)?;
        let mut times = reply.split(' ').map(|nanos| nanos.parse().map(Duration::from_nanos));
        match [times.next(), times.next()] {
            [Some(Ok(consumer)), Some(Ok(producer))] => Ok(Idle { consumer, producer }),
            _ => Err(Failure::Died),
        }
    }

    /// Where it cannot be sent, there will be no reply.
    fn send(&mut self, request: &str) {
        let _ = writeln!(self.child.stdin.as_ref().expect("it is piped"), "{request}");
    }

    /// Waits in slices. While the whole machine stands still the clock may go on, but this uses up
    /// no more than a slice, and the queue is not blamed.
    fn receive(&self, limit: Duration) -> Result<String, Failure> {
        const SLICE: Duration = Duration::from_millis(250);
        for _ in 0..limit.div_duration_f64(SLICE).ceil() as u64 {
            match self.replies.recv_timeout(SLICE) {
                Ok(reply) => return Ok(reply),
                Err(RecvTimeoutError::Disconnected) => return Err(Failure::Died),
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
        Err(Failure::Hung(limit))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a worker does: a reply for each request, until there are no more.
pub(crate) fn serve() -> Result<(), Box<dyn Error>> {
    for request in io::stdin().lines() {
        let request = request?;
        let reply = match request.split('\t').collect::<Vec<_>>()[..] {
            ["measure", workload, queue, items] => {
                encode(&run_one(workload, queue, items.parse()?)?)
            }
            ["watch", queue, millis] => {
                let idle = idle::idle(queue, Duration::from_millis(millis.parse()?));
                let Idle { consumer, producer } =
                    idle.ok_or("no such queue, or it never sleeps")?;
                format!("{} {}", consumer.as_nanos(), producer.as_nanos())
            }
            _ => return Err(format!("no such request: {request}").into()),
        };
        println!("{reply}");
    }
    Ok(())
}

/// Runs one queue on one workload, and nothing else.
pub(crate) fn run_one(workload: &str, queue: &str, items: u64) -> Result<Sample, Box<dyn Error>> {
    let all = workloads();
    let workload = all.iter().find(|known| known.to_string() == workload);
    let workload = workload.ok_or("no such workload")?;
    let contestant = contestants().into_iter().find(|known| known.name == queue);
    Ok(contestant.ok_or("no such queue")?.run(workload, items))
}

fn encode(sample: &Sample) -> String {
    let histogram = |histogram: &Histogram<u64>| {
        let values = histogram.iter_recorded();
        let counts = values.map(|v| format!("{}:{}", v.value_iterated_to(), v.count_at_value()));
        counts.collect::<Vec<_>>().join(",")
    };
    let [call, delivery] = [&sample.call, &sample.delivery].map(histogram);
    format!("{} {} {call} {delivery}", sample.nanos_per_item, sample.switches_per_item)
}

fn decode(reply: &str) -> Option<Sample> {
    let histogram = |text: &str| {
        let mut histogram = new_histogram();
        for pair in text.split(',').filter(|pair| !pair.is_empty()) {
            let (value, count) = pair.split_once(':')?;
            histogram.record_n(value.parse().ok()?, count.parse().ok()?).ok()?;
        }
        Some(histogram)
    };
    let [nanos, switches, call, delivery] = reply.split(' ').collect::<Vec<_>>()[..] else {
        return None;
    };
    let (nanos_per_item, switches_per_item) = (nanos.parse().ok()?, switches.parse().ok()?);
    let (call, delivery) = (histogram(call)?, histogram(delivery)?);
    Some(Sample { nanos_per_item, switches_per_item, call, delivery })
}
