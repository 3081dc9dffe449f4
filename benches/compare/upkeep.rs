//! What a queue costs besides time: system calls, processor time while nothing happens, memory.

use std::alloc::{GlobalAlloc, Layout, System};
use std::fs;
use std::io;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crate::idle::{self, Idle};
use crate::plan::{Plan, blocking};
use crate::rivals::{Queue, Sender, for_each_queue};
use crate::worker::Worker;
use crate::workloads::{Workload, contestants};

/// With so many producers system calls are counted.
pub(crate) const COUNTED_PRODUCERS: [usize; 4] = [1, 2, 4, 16];

pub(crate) struct Upkeep {
    pub(crate) lines: Vec<Line>,
    pub(crate) watched: Duration,
}

/// What one queue costs.
pub(crate) struct Line {
    pub(crate) name: &'static str,
    pub(crate) memory: Memory,
    pub(crate) idle: Option<Idle>,
    /// Per 1000 items, for each of [`COUNTED_PRODUCERS`]; where there is `strace`.
    pub(crate) futex_calls: Vec<Option<f64>>,
}

impl Upkeep {
    pub(crate) fn measure(plan: &Plan) -> io::Result<Self> {
        let names = idle::names();
        let memory = for_each_queue!(memory).map(|memory| memory());
        let idle = watch_all(&names, plan)?;
        let mut lines = Vec::new();
        for ((name, memory), idle) in names.into_iter().zip(memory).zip(idle) {
            eprintln!("counting system calls of {name}");
            let futex_calls =
                COUNTED_PRODUCERS.map(|producers| futex_calls(name, &blocking(producers), plan));
            lines.push(Line { name, memory, idle, futex_calls: futex_calls.into() });
        }
        Ok(Self { lines, watched: plan.watch })
    }
}

fn fits(queue: &str, workload: &Workload) -> bool {
    contestants().iter().any(|known| known.name == queue && known.fits(workload))
}

/// All at the same time, each in a process of its own.
fn watch_all(names: &[&str], plan: &Plan) -> io::Result<Vec<Option<Idle>>> {
    eprintln!("watching blocked threads for {} s", plan.watch.as_secs());
    let mut workers = Vec::new();
    for name in names {
        let sleeps = fits(name, &blocking(1));
        let mut worker = sleeps.then(Worker::start).transpose()?;
        if let Some(worker) = &mut worker {
            worker.watch(name, plan.watch);
        }
        workers.push(worker);
    }
    let mut all = Vec::new();
    for (name, worker) in names.iter().zip(workers) {
        let idle = worker.map(|mut worker| worker.watched(plan.watch + plan.limit));
        if let Some(Err(failure)) = &idle {
            eprintln!("{name}: watching it {failure}");
        }
        all.push(idle.and_then(Result::ok));
    }
    Ok(all)
}

/// Per 1000 items, by running this program under `strace`.
fn futex_calls(queue: &str, workload: &Workload, plan: &Plan) -> Option<f64> {
    if !fits(queue, workload) {
        return None;
    }
    let table = concat!(env!("CARGO_TARGET_TMPDIR"), "/strace");
    let items = plan.counted_items.to_string();
    let status = Command::new("strace")
        .args(["-f", "--seccomp-bpf", "-c", "-e", "trace=futex", "-o", table])
        .arg(std::env::current_exe().ok()?)
        .args(["--run", &workload.to_string(), queue, &items])
        .stderr(Stdio::null())
        .status();
    if !status.ok()?.success() {
        return None;
    }
    let table = fs::read_to_string(table).ok()?;
    // % time, seconds, microseconds a call, calls, perhaps errors, name
    let futex = table.lines().find(|line| line.ends_with(" futex"));
    let calls = futex.map_or(Some("0"), |line| line.split_whitespace().nth(3))?;
    Some(calls.parse::<f64>().ok()? * 1000.0 / plan.counted_items as f64)
}

/// Bytes on the heap for 1024 `u64`.
#[derive(Clone, Copy)]
pub(crate) struct Memory {
    /// After construction.
    pub(crate) new: usize,
    /// When it is full.
    pub(crate) full: usize,
}

fn memory<Q: Queue>() -> Memory {
    let before = LIVE.load(Ordering::Relaxed);
    let live = || LIVE.load(Ordering::Relaxed) - before;
    COUNTING.store(true, Ordering::Relaxed);
    let (mut senders, receiver) = Q::bounded::<u64>(1024, 1);
    let list = senders.capacity() * size_of::<Q::Sender<u64>>();
    let new = live() - list;
    while senders[0].try_put(0).is_ok() {}
    let full = live() - list;
    drop((senders, receiver));
    COUNTING.store(false, Ordering::Relaxed);
    LIVE.store(before, Ordering::Relaxed);
    Memory { new, full }
}

/// Counts while it is told to. Otherwise it must not: one counter would slow down all threads.
struct Counting;

static COUNTING: AtomicBool = AtomicBool::new(false);
static LIVE: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: as the system's.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if COUNTING.load(Ordering::Relaxed) {
            LIVE.fetch_add(layout.size(), Ordering::Relaxed);
        }
        // SAFETY: the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        if COUNTING.load(Ordering::Relaxed) {
            LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        }
        // SAFETY: the caller's.
        unsafe { System.dealloc(place, layout) }
    }
}
