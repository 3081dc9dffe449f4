//! A finaliser queue: one thread does the expensive drops of all others. A dropped node pushes its
//! children into the queue, so the thread that drains the queue also pushes into it. On an ordinary
//! bounded queue that thread would wait for itself.
//!
//! ```text
//! cargo run --example finalisers
//! ```
//!
//! Some threads build trees and drop them. The program prints which way the nodes took, and checks
//! that each was freed once.

use std::iter;
use std::mem;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::thread;

use bywash::{Builder, Consumer, Producer};

const CAPACITY: usize = 64;
/// Holds what the finaliser's thread pushes while the ring is full. That is a lot, since most nodes
/// of a tree are in its lowest level. The same thread frees at once what does not fit.
const BYPASS: usize = 256;

const THREADS: usize = 4;
const TREES: usize = 8;
const CHILDREN: usize = 4;
const DEPTH: u32 = 4;
const NODES_PER_TREE: usize = (CHILDREN.pow(DEPTH + 1) - 1) / (CHILDREN - 1);
const NODES: usize = THREADS * TREES * NODES_PER_TREE;

/// How often each node was freed.
static FREED: [AtomicU32; NODES] = [const { AtomicU32::new(0) }; NODES];

/// Each node holds a reference to it, so the queue stays open until the last node is freed.
struct Finaliser {
    queue: Producer<Node>,
    freed_at_once: Arc<AtomicU64>,
}

struct Node {
    id: usize,
    children: Vec<Node>,
    finaliser: Arc<Finaliser>,
    /// Makes the node expensive to drop.
    _payload: Box<[u8]>,
}

impl Node {
    fn tree(depth: u32, ids: &mut impl Iterator<Item = usize>, finaliser: &Arc<Finaliser>) -> Self {
        let id = ids.next().expect("there is an id for each node");
        let children = if depth == 0 { 0 } else { CHILDREN };
        let children =
            iter::repeat_with(|| Self::tree(depth - 1, ids, finaliser)).take(children).collect();
        Self { id, children, finaliser: finaliser.clone(), _payload: vec![0; 1000].into() }
    }
}

impl Drop for Node {
    /// On other threads the push waits while the queue is full. On the finaliser's own thread it
    /// never waits.
    fn drop(&mut self) {
        FREED[self.id].fetch_add(1, Relaxed);
        let mut children = mem::take(&mut self.children);
        while let Some(child) = children.pop() {
            if let Err(refused) = self.finaliser.queue.push(child) {
                // A loop instead of a recursion: a tree may be deeper than the stack.
                let mut child = refused.into_inner();
                children.append(&mut child.children);
                self.finaliser.freed_at_once.fetch_add(1, Relaxed);
            }
        }
    }
}

/// The finaliser's thread. Returns how many nodes it popped, and how many of them had come through
/// the bypass.
fn finalise(mut nodes: Consumer<Node>) -> (u64, u64) {
    nodes.bind(); // From here on, a drop on this thread never waits.
    let mut popped = 0;
    while let Ok(node) = nodes.pop() {
        popped += 1;
        drop(node);
    }
    (popped, nodes.bypassed())
}

fn main() -> ExitCode {
    let (queue, nodes) = Builder::new(CAPACITY).bypass(BYPASS).build();
    let freed_at_once = Arc::default();
    let finaliser = Arc::new(Finaliser { queue, freed_at_once: Arc::clone(&freed_at_once) });
    let thread = thread::spawn(|| finalise(nodes));
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let finaliser = &finaliser;
            scope.spawn(move || {
                let mut ids = thread * TREES * NODES_PER_TREE..;
                for _ in 0..TREES {
                    drop(Node::tree(DEPTH, &mut ids, finaliser));
                }
            });
        }
    });
    drop(finaliser); // The last node drops the last reference, which ends the thread.
    let (popped, bypassed) = thread.join().expect("no destructor panics");

    println!("{NODES} nodes were built, and freed:");
    println!("{:>6} as roots, by the threads that built them", THREADS * TREES);
    println!("{:>6} through the ring", popped - bypassed);
    println!("{bypassed:>6} through the bypass");
    println!("{:>6} at once, because both were full", freed_at_once.load(Relaxed));
    let wrong = FREED.iter().filter(|freed| freed.load(Relaxed) != 1).count();
    if wrong != 0 {
        eprintln!("{wrong} nodes were not freed exactly once");
        return ExitCode::FAILURE;
    }
    println!("each was freed once");
    ExitCode::SUCCESS
}
