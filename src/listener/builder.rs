//! How a listener is started.

use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use std::io;
use std::sync::Arc;
use std::thread;

use super::thread::{Loop, State};
use super::{Handler, Listener, StopToken, signals};
use crate::threads::{fork, identity};
use crate::{Consumer, Queue};

/// Starts a [`Listener`] with options for its thread. From [`Listener::builder`].
///
/// What happens to items, after panics and with what was lost is up to the [`Handler`].
///
/// ```
/// use bywash::Listener;
///
/// let (producer, consumer) = bywash::bounded(8);
/// let listener = Listener::builder()
///     .name("recursive")
///     .stack_size(16 << 20)
///     .spawn(consumer, |text: String| println!("{text}"))?;
/// # drop((producer, listener));
/// # std::io::Result::Ok(())
/// ```
pub struct ListenerBuilder {
    thread: thread::Builder,
    has_valid_name: bool,
    stop_token: Option<StopToken>,
    drop_timeout: Duration,
    linger: Option<(Duration, usize)>,
    on_start: Option<OnStart>,
}

pub(super) type OnStart = Box<dyn FnOnce() + Send>;

impl ListenerBuilder {
    pub(super) fn new() -> Self {
        Self {
            thread: thread::Builder::new(),
            has_valid_name: true,
            stop_token: None,
            drop_timeout: Duration::from_secs(10),
            linger: None,
            on_start: None,
        }
    }

    /// Names the thread. Without this it has no name.
    #[must_use]
    pub fn name(self, name: impl Into<String>) -> Self {
        let name = name.into();
        Self { has_valid_name: !name.contains('\0'), thread: self.thread.name(name), ..self }
    }

    /// Sets the size of the thread's stack, in bytes. Without this it is that of
    /// [`std::thread::Builder`]. For how large: [the stack that a handler
    /// needs](crate::in_production#the-stack-that-a-handler-needs).
    #[must_use]
    pub fn stack_size(self, size: usize) -> Self {
        Self { thread: self.thread.stack_size(size), ..self }
    }

    /// Sets the token by which the handler, which has a clone of it, hears that the listener is
    /// being stopped.
    #[must_use]
    pub fn stop_token(self, token: StopToken) -> Self {
        Self { stop_token: Some(token), ..self }
    }

    /// Sets how long the listener's thread may get no further before a
    /// [drop](Listener#dropping-it) of the listener waits no more. Without this it is ten seconds.
    ///
    /// It counts anew whenever a call of the handler has returned, of [`handle`](Handler::handle)
    /// as well as of [`on_lost`](Handler::on_lost) and [`on_flush`](Handler::on_flush). So it is a
    /// limit for the longest call, and not for all that is left: a sink that takes a second for
    /// each of a thousand items is waited for, and one that is stuck does not keep the program from
    /// ending. Ten seconds are more than a slow disk takes for a write or a server for an answer,
    /// and less than service managers give a program to end. A handler whose calls may take longer
    /// needs more. With [`Duration::MAX`] the drop waits for ever.
    ///
    /// The drop takes up to a tenth longer.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use bywash::Listener;
    ///
    /// let (producer, consumer) = bywash::bounded(8);
    /// let stuck = |_| loop { std::thread::park() };
    /// let builder = Listener::builder().name("log").drop_timeout(Duration::from_millis(20));
    /// let listener = builder.spawn(consumer, stuck)?;
    /// (0..3).for_each(|i| producer.push(i).unwrap());
    /// drop(listener); // Says on the standard error:
    /// // bywash: dropped listener "log", stuck for 20ms: timed out with 3 items left
    /// # std::io::Result::Ok(())
    /// ```
    #[must_use]
    pub fn drop_timeout(self, timeout: Duration) -> Self {
        Self { drop_timeout: timeout, ..self }
    }

    /// Asks for fewer wake-ups, for items that may be late, as [`Consumer::linger`] does: when all
    /// is handled, the thread sleeps for `time`, and no push wakes it until `items` slots of the
    /// ring are in use. Without this it is as the consumer was told.
    ///
    /// [`flush`](Listener::flush), [`stop`](Listener::stop), dropping the listener and what else
    /// ends a linger are not late. [`Handler::on_flush`] is called before each linger with something
    /// to flush.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use bywash::Listener;
    ///
    /// let (log, lines) = bywash::bounded(1000);
    /// let listener = Listener::builder()
    ///     .name("log")
    ///     .linger(Duration::from_millis(10), 64)
    ///     .spawn(lines, |line: &str| println!("{line}"))?;
    /// log.push("This may come out 10 ms later.").unwrap();
    /// listener.flush(Duration::from_secs(10)).unwrap(); // Does not wait for that.
    /// # std::io::Result::Ok(())
    /// ```
    #[must_use]
    pub fn linger(self, time: Duration, items: usize) -> Self {
        Self { linger: Some((time, items)), ..self }
    }

    /// Sets what the thread does first, before it handles anything: for its priority, its affinity,
    /// its signal mask. If it panics, that is [counted](Listener::panics), and the listener goes
    /// on.
    ///
    /// # Examples
    ///
    /// With the crate `libc` as a dependency:
    ///
    /// ```
    /// # #[cfg(target_os = "linux")] {
    /// use bywash::Listener;
    ///
    /// let (producer, consumer) = bywash::bounded(8);
    /// let listener = Listener::builder()
    ///     .name("idle")
    ///     // SAFETY: it has no preconditions. On Linux, it is about the calling thread alone.
    ///     .on_start(|| assert_eq!(unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, 19) }, 0))
    ///     .spawn(consumer, |text: String| println!("{text}"))?;
    /// # drop((producer, listener));
    /// # }
    /// # std::io::Result::Ok(())
    /// ```
    #[must_use]
    pub fn on_start(self, run: impl FnOnce() + Send + 'static) -> Self {
        Self { on_start: Some(Box::new(run)), ..self }
    }

    /// Starts the thread, which hands each item that it pops to `handler`, in order.
    ///
    /// All that [`Listener::spawn`] says holds here.
    ///
    /// # Errors
    ///
    /// As [`Listener::spawn`].
    pub fn spawn<T, Q>(
        self,
        mut consumer: Consumer<T, Q>,
        handler: impl Handler<T> + Send + 'static,
    ) -> io::Result<Listener>
    where
        T: Send + 'static,
        Q: Queue<Item = T> + Send + 'static,
    {
        let Self { thread, has_valid_name, stop_token, drop_timeout, linger, on_start } = self;
        if !has_valid_name {
            // The standard library would panic.
            let text = "the name of a thread contains a zero byte";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        if let Some((time, items)) = linger {
            consumer.linger(time, items);
        }
        // Bound here, and not only there: in the constructor of a library the thread does not run
        // before this has returned, as it waits for the loader's lock.
        let number = identity::reserve();
        if number == 0 {
            return Err(io::Error::other("too many threads are bound to consumers"));
        }
        consumer.bind_to(number);
        let (process, thread_number) = (fork::process(), AtomicU64::new(number));
        let state = Arc::new(State { process, thread: thread_number, ..State::default() });
        let (queue, theirs) = (consumer.handle(), state.clone());
        let run = move || {
            theirs.thread.store(identity::adopt(number), Ordering::Relaxed);
            consumer.bind();
            Loop::new(theirs, handler).run(consumer, on_start);
        };
        let started = signals::with_signals_blocked(|| thread.spawn(run));
        if started.is_err() {
            identity::release(number);
        }
        let thread = started?.thread().clone();
        let (stop_token, gave_up) = (stop_token.unwrap_or_else(StopToken::new), false.into());
        Ok(Listener { queue, state, stop_token, drop_timeout, thread, gave_up })
    }
}

impl fmt::Debug for ListenerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ListenerBuilder").field("thread", &self.thread).finish_non_exhaustive()
    }
}
