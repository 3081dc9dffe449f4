//! A thread of its own for a consumer.
//!
//! # What a flush waits for
//!
//! * **L1** A flush takes a ticket: it adds to `tickets`, sequentially consistent, and wakes the
//!   listener, which reads `tickets` between two items. If the listener reads the ticket, it sees
//!   all that was pushed before the flush. And if it falls asleep instead, it has announced that
//!   before it read `tickets`, so the flush sees the announcement: the addition stands for a claim
//!   and the read for the look after `[sleep:F]`, see `wait/mod.rs`, W1.
//! * **L2** When it reads the ticket, the listener notes the tail indices of ring and bypass. All
//!   that was pushed before the flush lies below them. The flush is served when nothing that is
//!   published lies below them any more. So an item that comes late and is popped early, as that of
//!   a push in the domain which saw the ring full long ago, takes nobody's place: no number of
//!   pops is counted. A stopped push below the tails is not published, and is not waited for.
//! * **L3** A flush ends however fast others push. The items below the tails are so many as there
//!   were. An item from above them is popped before one of those only if it is in the bypass, and
//!   its push saw the ring full before the tails were noted; of such pushes each thread has one.

use core::any::Any;
use core::error::Error;
use core::fmt;
use core::mem;
use core::ops::ControlFlow;
use core::panic::{RefUnwindSafe, UnwindSafe};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use core::time::Duration;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::channel;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use crate::shared::Control;
use crate::wait::{self, Deadline};
use crate::waits::{Answer, Until, Wait};
use crate::{Consumer, PopError, Queue};

/// How long a handler waits for another listener before it looks again who waits for whom.
const FIRST_NAP: Duration = Duration::from_millis(1);
const LONGEST_NAP: Duration = Duration::from_millis(16);

/// A thread that pops from a queue and hands each item to a handler.
///
/// The handler may push into the very queue: its thread is the consumer's, so a push there
/// [never waits](crate::Producer::push).
///
/// The thread ends when the queue is closed and all that was pushed has been handled: when the last
/// [`Producer`](crate::Producer) is gone, or after [`stop`](Self::stop).
///
/// # Dropping it
///
/// closes the queue and **waits until everything in it has been handled**, however long that takes,
/// also while unwinding: the last lines before a crash are those that one wants to read. So a
/// handler that is stuck, or that waits for something that the dropping thread holds, makes it wait
/// for ever. To wait for a limited time, call [`stop`](Self::stop) first: after a stop that timed
/// out, dropping does not wait. On the listener's own thread, and inside the consumer's
/// [`Domain`](crate::Domain), where to wait would be to wait for oneself, it only closes, and what
/// is left is handled after the handler has returned.
///
/// What is in a `static` is not dropped when the program ends, and threads are not waited for: stop
/// it before `main` returns.
///
/// No method is for signal handlers, nor for allocator hooks.
///
/// ```
/// use std::sync::mpsc::channel;
/// use std::time::Duration;
/// use bywash::Listener;
///
/// let (lines, written) = channel();
/// let (log, consumer) = bywash::bounded(100);
/// let listener = Listener::spawn("log", consumer, move |line: String| lines.send(line).unwrap())?;
/// log.push("hello".to_string()).unwrap();
/// listener.stop(Duration::from_secs(10)).unwrap();
/// assert!(written.iter().eq(["hello"]));
/// # std::io::Result::Ok(())
/// ```
pub struct Listener {
    queue: Box<dyn Control>,
    state: Arc<State>,
    /// Whether a stop has waited in vain.
    gave_up: AtomicBool,
}

/// What the listener's thread and others share.
#[derive(Debug, Default)]
struct State {
    /// How many flushes were asked for.
    tickets: AtomicU64,
    panics: AtomicU64,
    /// Whether the handler has an item.
    is_handling: AtomicBool,
    progress: Mutex<Progress>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Progress {
    /// So many flushes were served.
    flushed: u64,
    /// The consumer is being dropped, and the queue of no concern any more: a static one may have
    /// another.
    has_left: bool,
    has_ended: bool,
    /// How many items were dropped without being handled.
    dropped: usize,
}

impl Listener {
    /// Starts a thread of that name, which calls `handler` with each item that it pops, in order.
    ///
    /// The thread is the consumer's from before this returns: no push of the handler's ever waits.
    /// The handler and the consumer are dropped on that thread, when all has been handled.
    ///
    /// Where the handler panics, the panic hook says so, [`panics`](Self::panics) counts it, and
    /// the next item gets the same handler, as the panic has left it.
    /// [`spawn_with`](Self::spawn_with) has it otherwise.
    ///
    /// Waits until the thread has begun to run.
    ///
    /// # Errors
    ///
    /// Where no thread can be started, or the name contains a zero byte. The consumer is dropped
    /// then, and the queue is closed.
    pub fn spawn<T, Q>(
        name: &str,
        consumer: Consumer<T, Q>,
        handler: impl FnMut(T) + Send + 'static,
    ) -> io::Result<Self>
    where
        T: Send + 'static,
        Q: Queue<Item = T> + Send + 'static,
    {
        Self::spawn_with(name, consumer, handler, |payload| {
            quietly(|| drop(payload));
            ControlFlow::Continue(())
        })
    }

    /// As [`spawn`](Self::spawn), and after a panic of the handler's calls `on_panic` with its
    /// payload, on the same thread. With [`Continue`](ControlFlow::Continue) the next item is
    /// handled. With [`Break`](ControlFlow::Break), or if `on_panic` panics as well, the queue is
    /// closed: pushes get their items back, and what is left is dropped, unhandled.
    ///
    /// # Errors
    ///
    /// As [`spawn`](Self::spawn).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::ops::ControlFlow;
    /// use std::time::Duration;
    /// use bywash::Listener;
    ///
    /// let (producer, consumer) = bywash::bounded(8);
    /// (0..4).for_each(|i| producer.push(i).unwrap());
    /// let handler = |i: i32| println!("{}", 10 / i);
    /// let listener = Listener::spawn_with("divider", consumer, handler, |_payload| ControlFlow::Break(()))?;
    /// let error = listener.stop(Duration::from_secs(10)).unwrap_err();
    /// assert!(error.is_closed());
    /// assert_eq!(error.left(), 3);
    /// assert!(producer.push(5).unwrap_err().is_closed());
    /// # std::io::Result::Ok(())
    /// ```
    pub fn spawn_with<T, Q>(
        name: &str,
        mut consumer: Consumer<T, Q>,
        handler: impl FnMut(T) + Send + 'static,
        on_panic: impl FnMut(Box<dyn Any + Send>) -> ControlFlow<()> + Send + 'static,
    ) -> io::Result<Self>
    where
        T: Send + 'static,
        Q: Queue<Item = T> + Send + 'static,
    {
        if name.contains('\0') {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the name of a thread contains a zero byte",
            ));
        }
        let (queue, state) = (consumer.control(), Arc::<State>::default());
        let (has_bound, is_bound) = channel();
        let theirs = state.clone();
        thread::Builder::new().name(name.into()).spawn(move || {
            consumer.bind();
            let _ = has_bound.send(());
            drop(has_bound);
            Loop { state: theirs, consumer, handler, on_panic }.run();
        })?;
        is_bound
            .recv()
            .map_err(|_| io::Error::other("the consumer could not be bound to its thread"))?;
        Ok(Self { queue, state, gave_up: AtomicBool::new(false) })
    }

    /// Waits until everything that was pushed before has been handled, but not much longer than
    /// `timeout`.
    ///
    /// What others push meanwhile is not waited for, nor is a push that has not returned. Pushing
    /// costs nothing more for it.
    ///
    /// # Errors
    ///
    /// [`Timeout`](ListenerError::Timeout) where it was not in time.
    /// [`WouldDeadlock`](ListenerError::WouldDeadlock), at once, on the listener's own thread and
    /// inside the consumer's [`Domain`](crate::Domain). [`Closed`](ListenerError::Closed) where the
    /// listener has given up after a panic, and dropped items.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::Arc;
    /// use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
    /// use std::time::Duration;
    /// use bywash::Listener;
    ///
    /// let sum = Arc::new(AtomicU32::new(0));
    /// let (producer, consumer) = bywash::bounded(8);
    /// let total = sum.clone();
    /// let listener = Listener::spawn("adder", consumer, move |i| { total.fetch_add(i, Relaxed); })?;
    /// (1..=100).for_each(|i| producer.push(i).unwrap());
    /// listener.flush(Duration::from_secs(10)).unwrap();
    /// assert_eq!(sum.load(Relaxed), 5050);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn flush(&self, timeout: Duration) -> Result<(), ListenerError> {
        // L1. SeqCst; pairs with the loads in `Loop::listen`, and as a claim does with [sleep:F].
        let ticket = self.state.tickets.fetch_add(1, Ordering::SeqCst) + 1;
        self.queue.notify_consumer();
        self.wait(timeout, |progress| progress.flushed >= ticket)
    }

    /// Closes the queue, and waits until everything in it has been handled and the handler is
    /// dropped, but not much longer than `timeout`.
    ///
    /// Pushes get their items back from here on, those that wait for room included. May be called
    /// again, to wait on. The thread ends right after; it is not joined, as a destructor of its
    /// thread-locals could be stuck as well.
    ///
    /// # Errors
    ///
    /// [`Timeout`](ListenerError::Timeout) where the handler was stuck or too slow, or a push was
    /// stopped in the middle. The thread goes on, and dropping the listener does not wait for it.
    /// [`WouldDeadlock`](ListenerError::WouldDeadlock), at once, on the listener's own thread and
    /// inside the consumer's [`Domain`](crate::Domain): what is left will be handled after the
    /// handler has returned. [`Closed`](ListenerError::Closed) where the listener has given up
    /// after a panic, and dropped items.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use bywash::Listener;
    ///
    /// let (producer, consumer) = bywash::bounded(8);
    /// (0..3).for_each(|i| producer.push(i).unwrap());
    /// let stuck = |_| loop { std::thread::park() };
    /// let listener = Listener::spawn("stuck", consumer, stuck)?;
    /// let error = listener.stop(Duration::from_millis(20)).unwrap_err();
    /// assert!(error.is_timeout());
    /// eprintln!("log: {error}"); // log: timed out with 3 items left
    /// # std::io::Result::Ok(())
    /// ```
    pub fn stop(&self, timeout: Duration) -> Result<(), ListenerError> {
        self.close();
        let result = self.wait(timeout, |_| false);
        if let Err(ListenerError::Timeout(_)) = result {
            self.gave_up.store(true, Ordering::Relaxed);
        }
        result
    }

    /// How often the handler has panicked. Never waits.
    ///
    /// ```
    /// use std::time::Duration;
    /// use bywash::Listener;
    ///
    /// let (producer, consumer) = bywash::bounded(8);
    /// let listener = Listener::spawn("divider", consumer, |i: i32| println!("{}", 10 / i))?;
    /// [1, 0, 2].into_iter().for_each(|i| producer.push(i).unwrap());
    /// listener.flush(Duration::from_secs(10)).unwrap();
    /// assert_eq!(listener.panics(), 1);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn panics(&self) -> u64 {
        self.state.panics.load(Ordering::Relaxed)
    }

    fn close(&self) {
        let progress = self.state.progress();
        if !progress.has_left {
            self.queue.close();
        }
    }

    /// Waits until `is_done` or the end, but not where that would never come.
    fn wait(
        &self,
        timeout: Duration,
        is_done: impl Fn(&Progress) -> bool,
    ) -> Result<(), ListenerError> {
        let deadline = Instant::now().checked_add(timeout);
        let mut wait = Wait::begin(self.queue.node(), Until::End, deadline.is_some());
        let mut would_deadlock = self.queue.must_not_wait();
        let mut progress = self.state.progress();
        let mut nap = FIRST_NAP;
        let has_come = |progress: &Progress| progress.has_ended || is_done(progress);
        while !(would_deadlock || has_come(&progress) || wait::is_over(deadline)) {
            // Once the consumer has left, nothing that the queue's members do matters.
            let answer = if progress.has_left { Answer::Ends } else { wait.look() };
            would_deadlock = answer == Answer::Never;
            if !would_deadlock {
                let nap_end = wait.must_look_again(answer).then(|| Instant::now() + nap);
                let end = deadline.into_iter().chain(nap_end).min();
                progress = self.state.wait_for_change(progress, end);
                nap = (nap * 2).min(LONGEST_NAP);
            }
        }
        let handling = usize::from(self.state.is_handling.load(Ordering::Relaxed));
        let left = if progress.has_left { progress.dropped } else { self.queue.len() + handling };
        match progress.has_ended {
            true if left == 0 => Ok(()),
            _ if is_done(&progress) && !would_deadlock => Ok(()),
            true => Err(ListenerError::Closed(left)),
            false if would_deadlock => Err(ListenerError::WouldDeadlock(left)),
            false => Err(ListenerError::Timeout(left)),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.close();
        if !*self.gave_up.get_mut() {
            let _ = self.wait(Duration::MAX, |_| false);
        }
    }
}

// As for `Producer`: no user code runs in the middle of a call.
impl UnwindSafe for Listener {}
impl RefUnwindSafe for Listener {}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").field("panics", &self.panics()).finish_non_exhaustive()
    }
}

impl State {
    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the progress changes or the deadline is over; maybe less.
    fn wait_for_change<'a>(
        &'a self,
        progress: MutexGuard<'a, Progress>,
        deadline: Deadline,
    ) -> MutexGuard<'a, Progress> {
        let Some(deadline) = deadline else {
            return self.changed.wait(progress).unwrap_or_else(PoisonError::into_inner);
        };
        let left = deadline.saturating_duration_since(Instant::now());
        self.changed.wait_timeout(progress, left).unwrap_or_else(PoisonError::into_inner).0
    }

    /// Changes the progress, and tells those who wait for it.
    fn advance(&self, change: impl FnOnce(&mut Progress)) {
        change(&mut self.progress());
        self.changed.notify_all();
    }
}

/// What the thread has.
struct Loop<T, Q: Queue<Item = T>, H, P> {
    state: Arc<State>,
    consumer: Consumer<T, Q>,
    handler: H,
    on_panic: P,
}

impl<T, Q, H, P> Loop<T, Q, H, P>
where
    Q: Queue<Item = T>,
    H: FnMut(T),
    P: FnMut(Box<dyn Any + Send>) -> ControlFlow<()>,
{
    fn run(mut self) {
        let _ = self.listen();
        let Self { state, mut consumer, handler, on_panic } = self;
        consumer.close();
        let mut dropped = 0;
        while let Ok(item) = consumer.try_pop() {
            dropped += 1;
            quietly(|| drop(item));
        }
        state.advance(|progress| (progress.has_left, progress.dropped) = (true, dropped));
        // What handler and items do here must not be missing when a stop has returned.
        quietly(|| drop(consumer));
        quietly(|| drop(handler));
        quietly(|| drop(on_panic));
        state.advance(|progress| progress.has_ended = true);
    }

    /// Handles items until the queue is closed and drained, or a panic breaks it off.
    fn listen(&mut self) -> ControlFlow<()> {
        let mut served = 0;
        loop {
            // L1. SeqCst; pairs with the addition in `Listener::flush`.
            let tickets = self.state.tickets.load(Ordering::SeqCst);
            if tickets != served {
                self.handle_what_is_in()?;
                served = tickets;
                self.state.advance(|progress| progress.flushed = served);
            }
            match self.consumer.pop_unless(|| self.state.tickets.load(Ordering::SeqCst) != served) {
                Ok(Some(item)) => self.handle(item)?,
                Ok(None) => {}
                Err(PopError) => return ControlFlow::Continue(()),
            }
        }
    }

    /// Handles at least all that was pushed by now, L2.
    fn handle_what_is_in(&mut self) -> ControlFlow<()> {
        let tails = self.consumer.tails();
        while !self.consumer.all_popped_below(tails) {
            let Ok(item) = self.consumer.try_pop() else { break };
            self.handle(item)?;
        }
        ControlFlow::Continue(())
    }

    fn handle(&mut self, item: T) -> ControlFlow<()> {
        self.state.is_handling.store(true, Ordering::Relaxed);
        let result = catch_unwind(AssertUnwindSafe(|| (self.handler)(item)));
        self.state.is_handling.store(false, Ordering::Relaxed);
        let Err(payload) = result else { return ControlFlow::Continue(()) };
        self.state.panics.fetch_add(1, Ordering::Relaxed);
        quietly(|| (self.on_panic)(payload)).unwrap_or(ControlFlow::Break(()))
    }
}

/// Runs what may panic. The payload is not dropped: that may panic too.
fn quietly<R>(run: impl FnOnce() -> R) -> Option<R> {
    catch_unwind(AssertUnwindSafe(run)).map_err(mem::forget).ok()
}

/// Why [`Listener::flush`] or [`Listener::stop`] did not see everything handled; with the number of
/// items that were left: those in the queue, and the one that the handler was busy with.
///
/// ```
/// use bywash::ListenerError;
///
/// let error = ListenerError::Timeout(7);
/// assert!(error.is_timeout());
/// assert_eq!(error.left(), 7);
/// assert_eq!(error.to_string(), "timed out with 7 items left");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenerError {
    /// It was not done in time. What is left will be handled, if the program goes on and the
    /// handler does.
    Timeout(usize),
    /// This is the listener's thread, or one that it depends on, and to wait here would be to wait
    /// for ever. What is left will be handled when the handler has returned.
    WouldDeadlock(usize),
    /// The listener has given up after a panic, and so many items were dropped without being
    /// handled.
    Closed(usize),
}

impl ListenerError {
    /// How many items were left.
    pub fn left(&self) -> usize {
        let (Self::Timeout(left) | Self::WouldDeadlock(left) | Self::Closed(left)) = *self;
        left
    }

    /// Whether it is [`Timeout`](Self::Timeout).
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::Timeout(_))
    }

    /// Whether it is [`WouldDeadlock`](Self::WouldDeadlock).
    pub fn is_would_deadlock(&self) -> bool {
        matches!(self, Self::WouldDeadlock(_))
    }

    /// Whether it is [`Closed`](Self::Closed).
    pub fn is_closed(&self) -> bool {
        matches!(self, Self::Closed(_))
    }
}

impl fmt::Display for ListenerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let left = self.left();
        let items = if left == 1 { "item" } else { "items" };
        match self {
            Self::Timeout(_) => write!(f, "timed out with {left} {items} left"),
            Self::WouldDeadlock(_) => {
                write!(f, "cannot wait on the listener's own thread, with {left} {items} left")
            }
            Self::Closed(_) => write!(f, "gave up after a panic with {left} {items} left"),
        }
    }
}

impl Error for ListenerError {}
