//! A parent joins its children before it drains the queue that they push into. Once an ordinary
//! bounded queue is full, the children wait for room, the parent waits for the children, and the
//! program hangs. While all results fit into the queue, nobody notices the bug.
//!
//! ```text
//! cargo run --example join_children
//! ```
//!
//! Shows two ways out: the children wait for a limited time, or the parent closes the queue before
//! it joins. Either way a child returns to the parent what the queue did not take, so nothing is
//! lost. Prints where the results came from.
//!
//! If the parent can drain first, that is simpler: drop its own producer, loop with `for result in
//! &mut consumer`, then join.

use std::error::Error;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bywash::{Consumer, Producer, bounded};

const CAPACITY: usize = 4;
const CHILDREN: usize = 3;
const RESULTS: usize = 10;

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Output {
    child: usize,
    number: usize,
}

/// A child's work.
fn work(child: usize) -> impl Iterator<Item = Output> {
    (0..RESULTS).map(move |number| Output { child, number })
}

/// Waits for room once, for a limited time. Returns what the queue did not take, in order.
fn push_or_keep(child: usize, results: Producer<Output>) -> Vec<Output> {
    let mut kept = Vec::new();
    for result in work(child) {
        // After the first refusal it keeps all results, so that they stay in order.
        if !kept.is_empty() {
            kept.push(result);
        } else if let Err(refused) = results.push_timeout(result, Duration::from_millis(100)) {
            println!("child {child}: {refused}");
            kept.push(refused.into_inner());
        }
    }
    kept
}

/// Waits for room without a limit. Returns what the queue did not take before it was closed.
fn push_until_closed(child: usize, results: Producer<Output>) -> Vec<Output> {
    let mut kept = Vec::new();
    for result in work(child) {
        if let Err(refused) = results.push(result) {
            if kept.is_empty() {
                println!("child {child}: {refused}");
            }
            kept.push(refused.into_inner());
        }
    }
    kept
}

type Child = fn(usize, Producer<Output>) -> Vec<Output>;

fn spawn(child: Child) -> (Vec<JoinHandle<Vec<Output>>>, Consumer<Output>) {
    let (producer, mut consumer) = bounded(CAPACITY);
    consumer.bind(); // If this thread pushes too, it does not wait for itself.
    let children = (0..CHILDREN).map(|number| {
        let producer = producer.clone();
        thread::spawn(move || child(number, producer))
    });
    (children.collect(), consumer)
}

/// Joins the children while nobody drains the queue, and then drains it.
fn join(
    children: Vec<JoinHandle<Vec<Output>>>,
    mut consumer: Consumer<Output>,
) -> Result<Vec<Output>, Box<dyn Error>> {
    let mut kept = Vec::new();
    for child in children {
        kept.extend(child.join().map_err(|_| "a child panicked")?);
    }
    // All producers are gone, so this ends when the queue is empty.
    let mut results: Vec<Output> = consumer.iter().collect();
    println!(
        "parent: joined; {} results from the queue, {} handed over",
        results.len(),
        kept.len()
    );
    results.append(&mut kept);
    Ok(results)
}

fn check(mut results: Vec<Output>) -> Result<(), Box<dyn Error>> {
    results.sort();
    if !results.iter().eq(&(0..CHILDREN).flat_map(work).collect::<Vec<_>>()) {
        return Err(format!("results are missing or doubled: {results:?}").into());
    }
    println!("parent: each of the {} results is here once", results.len());
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    println!("The children wait for room, for a limited time:");
    let (children, consumer) = spawn(push_or_keep);
    check(join(children, consumer)?)?;

    println!("The parent has enough, closes the queue, and joins:");
    let (children, mut consumer) = spawn(push_until_closed);
    let mut results: Vec<Output> = consumer.iter().take(5).collect();
    consumer.close();
    results.append(&mut join(children, consumer)?);
    check(results)
}
