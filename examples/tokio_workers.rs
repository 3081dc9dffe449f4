//! A queue in a tokio program with several workers: the task that pops goes on in another thread
//! after each `await`, and other tasks, which push, run in the one that it has left. So it gives up
//! its thread before it awaits.
//!
//! ```text
//! cargo run --example tokio_workers --features eventfd
//! ```
//!
//! Prints what the task has popped, and how much went through the bypass: nothing, as no other task
//! was taken for the consumer's.

#[cfg(not(all(target_os = "linux", not(any(bywash_loom, bywash_portable)))))]
fn main() {
    eprintln!("tokio_workers is for Linux");
}

#[cfg(all(target_os = "linux", not(any(bywash_loom, bywash_portable))))]
fn main() -> std::io::Result<()> {
    tasks::run()
}

#[cfg(all(target_os = "linux", not(any(bywash_loom, bywash_portable))))]
mod tasks {
    use std::io;
    use std::os::fd::OwnedFd;

    use bywash::{Consumer, Producer, TryPopError, bounded};
    use tokio::io::unix::AsyncFd;
    use tokio::task::yield_now;

    const WORKERS: usize = 2;
    const TASKS: u64 = 4;
    const ITEMS: u64 = 1000;

    /// The consumer as a task sees it.
    struct Receiver<T> {
        queue: Consumer<T>,
        descriptor: AsyncFd<OwnedFd>,
    }

    impl<T> Receiver<T> {
        /// To be called inside of the runtime.
        fn new(mut queue: Consumer<T>) -> io::Result<Self> {
            // SAFETY: an `OwnedFd` is open, and the same, for as long as it lives.
            let descriptor = unsafe { AsyncFd::register(queue.event_fd()?) }?;
            Ok(Self { queue, descriptor })
        }

        /// The next item, or `None` once the queue is closed. Where it is cancelled, no item is
        /// lost.
        async fn recv(&mut self) -> io::Result<Option<T>> {
            loop {
                match self.queue.try_pop() {
                    Ok(item) => return Ok(Some(item)),
                    Err(TryPopError::Closed) => return Ok(None),
                    // Only an armed consumer may wait: otherwise there is something to pop by now.
                    Err(TryPopError::Empty) if !self.queue.arm() => continue,
                    Err(TryPopError::Empty) => {}
                }
                // From here until the next pop this is any worker.
                self.queue.unbind();
                self.descriptor.readable().await?.clear_ready();
            }
        }

        /// Lets other tasks run. The runtime does not see how long there was always something to
        /// pop.
        async fn give_way(&mut self) {
            self.queue.unbind();
            yield_now().await;
        }
    }

    /// Returns how many items there were, their sum, and how many came through the bypass.
    async fn sum(queue: Consumer<u64>) -> io::Result<(u64, u64, u64)> {
        let mut receiver = Receiver::new(queue)?;
        let (mut count, mut sum) = (0, 0);
        while let Some(item) = receiver.recv().await? {
            count += 1;
            sum += item;
            if count % 64 == 0 {
                receiver.give_way().await;
            }
        }
        Ok((count, sum, receiver.queue.bypassed()))
    }

    /// Never blocks its worker: a task that waited there for room might wait for a task that only
    /// this worker would run.
    async fn push_all(producer: Producer<u64>, items: impl Iterator<Item = u64>) {
        for mut item in items {
            while let Err(refused) = producer.try_push(item) {
                item = refused.into_inner();
                yield_now().await;
            }
        }
    }

    pub(crate) fn run() -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(WORKERS)
            .enable_io()
            .build()?;
        let (count, sum, bypassed) = runtime.block_on(async {
            let (producer, queue) = bounded(16);
            let receiver = tokio::spawn(sum(queue));
            for task in 0..TASKS {
                let items = task * ITEMS..(task + 1) * ITEMS;
                tokio::spawn(push_all(producer.clone(), items));
            }
            drop(producer);
            receiver.await.expect("it does not panic")
        })?;
        println!("{count} items, sum {sum}, {bypassed} of them through the bypass");
        Ok(())
    }
}
