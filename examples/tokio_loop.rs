//! A queue in a tokio program: threads push, and so may signal handlers and destructors; a task
//! pops, and sleeps in the runtime meanwhile, beside other tasks.
//!
//! ```text
//! cargo run --example tokio_loop --features eventfd
//! ```
//!
//! Prints what the task has popped, and how often another one had its turn.

#[cfg(not(all(target_os = "linux", not(any(loom, bywash_portable)))))]
fn main() {
    eprintln!("tokio_loop is for Linux");
}

#[cfg(all(target_os = "linux", not(any(loom, bywash_portable))))]
fn main() -> std::io::Result<()> {
    tasks::run()
}

#[cfg(all(target_os = "linux", not(any(loom, bywash_portable))))]
mod tasks {
    use std::os::fd::OwnedFd;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::{io, thread};

    use bywash::{Consumer, TryPopError, bounded};
    use tokio::io::unix::AsyncFd;

    const THREADS: u64 = 4;
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
                // What the runtime knows may be of before the arming, which has cleared the
                // descriptor. Then it comes here once more. A push after that makes an event of its
                // own.
                self.descriptor.readable().await?.clear_ready();
            }
        }
    }

    async fn sum(queue: Consumer<u64>) -> io::Result<(u64, u64)> {
        let mut receiver = Receiver::new(queue)?;
        let (mut count, mut sum) = (0, 0);
        while let Some(item) = receiver.recv().await? {
            count += 1;
            sum += item;
            if count % 64 == 0 {
                tokio::task::yield_now().await; // The runtime does not see how long there was always something to pop.
            }
        }
        Ok((count, sum))
    }

    static TURNS: AtomicU64 = AtomicU64::new(0);

    async fn take_turns() {
        loop {
            TURNS.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
        }
    }

    pub(crate) fn run() -> io::Result<()> {
        let (producer, queue) = bounded(16);
        for thread in 0..THREADS {
            let producer = producer.clone();
            thread::spawn(move || {
                (0..ITEMS).for_each(|item| producer.push(thread * ITEMS + item).unwrap())
            });
        }
        drop(producer);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let (count, sum) = runtime.block_on(async {
            tokio::spawn(take_turns());
            sum(queue).await
        })?;
        println!("{count} items, sum {sum}");
        println!("the other task ran {} times meanwhile", TURNS.load(Ordering::Relaxed));
        Ok(())
    }
}
