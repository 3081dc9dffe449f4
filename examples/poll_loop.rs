//! An event loop without a library: one `poll` waits for a queue, a socket and a timer at once.
//!
//! ```text
//! cargo run --example poll_loop --features eventfd
//! ```
//!
//! Prints what came from each of the three.

#[cfg(not(all(target_os = "linux", not(any(bywash_loom, bywash_portable)))))]
fn main() {
    eprintln!("poll_loop is for Linux");
}

#[cfg(all(target_os = "linux", not(any(bywash_loom, bywash_portable))))]
fn main() -> std::io::Result<()> {
    event_loop::run()
}

#[cfg(all(target_os = "linux", not(any(bywash_loom, bywash_portable))))]
mod event_loop {
    use std::io::{self, Read, Write};
    use std::os::fd::{AsRawFd, OwnedFd};
    use std::os::unix::net::UnixStream;
    use std::thread;
    use std::time::{Duration, Instant};

    use bywash::{Consumer, bounded};

    const THREADS: u32 = 3;
    const ITEMS: u32 = 1000;
    const TICK: Duration = Duration::from_millis(2);

    /// Pops everything in the queue. Returns whether the queue is closed and empty. If it is not,
    /// the next push makes its descriptor readable.
    fn drain(queue: &mut Consumer<u32>, popped: &mut u32) -> bool {
        loop {
            match queue.try_pop() {
                Ok(_) => *popped += 1,
                Err(error) if error.is_closed() => return true,
                // The loop may wait only if the consumer is armed. If it is not, there is something
                // to pop by now.
                Err(_) if queue.arm() => return false,
                Err(_) => {}
            }
        }
    }

    /// Waits until one of the two is readable, or for `timeout`. Returns whether the second is, or
    /// nobody will write to it.
    fn wait(queue: &OwnedFd, socket: Option<&UnixStream>, timeout: Duration) -> io::Result<bool> {
        // Negative descriptors are passed over.
        let descriptors = [queue.as_raw_fd(), socket.map_or(-1, AsRawFd::as_raw_fd)];
        let mut entries =
            descriptors.map(|fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 });
        // Rounded up. Otherwise `poll` would return too early, again and again.
        let timeout = timeout.as_micros().div_ceil(1000) as i32;
        // SAFETY: the entries are valid for the call.
        let count =
            unsafe { libc::poll(entries.as_mut_ptr(), entries.len() as libc::nfds_t, timeout) };
        match io::Error::last_os_error() {
            error if count < 0 && error.kind() != io::ErrorKind::Interrupted => Err(error),
            _ => Ok(count > 0 && entries[1].revents != 0),
        }
    }

    pub(crate) fn run() -> io::Result<()> {
        let (producer, mut queue) = bounded(16);
        // First of all: this thread is the consumer's. From here on, nothing that it pushes itself,
        // in a destructor or a signal handler, waits for room that only it could make.
        queue.bind();
        let descriptor = queue.event_fd()?;
        let (reader, mut writer) = UnixStream::pair()?;
        for thread in 0..THREADS {
            let producer = producer.clone();
            thread::spawn(move || {
                (0..ITEMS).for_each(|item| producer.push(thread * ITEMS + item).unwrap())
            });
        }
        thread::spawn(move || {
            for word in ["one ", "two ", "three"] {
                writer.write_all(word.as_bytes()).unwrap();
                thread::sleep(Duration::from_millis(5));
            }
            drop(producer); // The last one: this closes the queue.
        });

        let (mut popped, mut text, mut ticks) = (0, String::new(), 0);
        let (mut socket, mut is_closed) = (Some(reader), false);
        let mut next_tick = Instant::now() + TICK;
        while !is_closed || socket.is_some() {
            is_closed = drain(&mut queue, &mut popped);
            if wait(
                &descriptor,
                socket.as_ref(),
                next_tick.saturating_duration_since(Instant::now()),
            )? {
                let mut buffer = [0; 64];
                match socket.as_mut().map_or(Ok(0), |socket| socket.read(&mut buffer))? {
                    0 => socket = None,
                    count => text += &String::from_utf8_lossy(&buffer[..count]),
                }
            }
            if Instant::now() >= next_tick {
                ticks += 1;
                next_tick += TICK;
            }
        }
        println!("queue: {popped} items");
        println!("socket: {text}");
        println!("timer: {ticks} ticks");
        Ok(())
    }
}
