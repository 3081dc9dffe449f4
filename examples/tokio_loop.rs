//! A queue in a tokio program. Threads push, and so may signal handlers and destructors. A task
//! pops, and while it waits for an item, the runtime runs other tasks.
//!
//! ```text
//! cargo run --example tokio_loop --features eventfd
//! ```
//!
//! Prints what the task popped, and how often another task ran meanwhile.

#[cfg(not(all(target_os = "linux", not(any(bywash_loom, bywash_portable)))))]
fn main() {
    eprintln!("tokio_loop is for Linux");
}

#[cfg(all(target_os = "linux", not(any(bywash_loom, bywash_portable))))]
fn main() -> std::io::Result<()> {
    tasks::run()
}

#[cfg(all(target_os = "linux", not(any(bywash_loom, bywash_portable))))]
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
        /// Must be called inside the runtime.
        fn new(mut queue: Consumer<T>) -> io::Result<Self> {
            // SAFETY: an `OwnedFd` stays open, and the same, for as long as it lives.
            let descriptor = unsafe { AsyncFd::register(queue.event_fd()?) }?;
            Ok(Self { queue, descriptor })
        }

        /// Returns the next item, or `None` once the queue is closed and empty. If this future is
        /// dropped, no item is lost.
        async fn recv(&mut self) -> io::Result<Option<T>> {
            loop {
                match self.queue.try_pop() {
                    Ok(item) => return Ok(Some(item)),
                    Err(TryPopError::Closed) => return Ok(None),
                    // The task may wait only if the consumer is armed. If it is not, there is
                    // something to pop by now.
                    Err(TryPopError::Empty) if !self.queue.arm() => continue,
                    Err(TryPopError::Empty) => {}
                }
                // The runtime may still hold an event from before `arm` cleared the descriptor.
                // Then the task comes here once more. A push after `arm` makes an event of its own.
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
                // While there is something to pop, `recv` never waits, and no other task would run.
                tokio::task::yield_now().await;
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
        let (producer, mut queue) = bounded(16);
        // First of all: this thread runs the task, so it is the consumer's. From here on, nothing
        // that it pushes itself waits for room that only it could make. On a multi-threaded runtime
        // the consumer's thread is the worker that popped last.
        queue.bind();
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
