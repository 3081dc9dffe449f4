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
//!
//! # Without a lock
//!
//! What the thread and the others share has no lock, as a fork could leave that locked for ever
//! (`fork.rs`, F5).
//!
//! * **L4** `has_ended`, `has_left` and `flushed` are stored with Release after what they say, and
//!   read with Acquire before what they are the condition of. A thread that waits takes a key,
//!   reads, and sleeps on the key. The listener's thread notifies after it has stored.
//! * **L5** *Closing.* A listener that has left its queue must not close it: a static one may have
//!   another consumer by then. A thread that closes raises `closers` and reads `has_left`; the
//!   listener's sets `has_left` and reads `closers`, all sequentially consistent. So the first sees
//!   that the listener has left, or the listener sees the first, and waits until it has closed
//!   before it drops the consumer. In a child there is no waiting: a thread closes there only if
//!   the listener's thread is gone, or is that very thread.

use core::any::Any;
use core::error::Error;
use core::fmt;
use core::mem;
use core::ops::ControlFlow;
use core::panic::{RefUnwindSafe, UnwindSafe};
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use core::time::Duration;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Instant;

use crate::shared::Control;
use crate::wait::{Changes, is_over};
use crate::{Consumer, PopError, Queue, fork, identity};

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
/// # After a fork
///
/// The listener's thread stays in the parent, and handles what was pushed before. In the child,
/// [`flush`](Self::flush), [`stop`](Self::stop) and dropping end at once; the latter two close the
/// child's copy of the queue. Nothing is handled there, nor dropped: it would be done twice. Only
/// if the handler itself forks and returns in the child, its thread goes on there with a copy of
/// all that is in the queue, until that is closed by a `stop` in the handler or by the last
/// producer. To handle nothing twice, let such a child end inside the handler.
///
/// # Examples
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
    /// The number of its thread.
    thread: usize,
    /// Whether a stop has waited in vain.
    gave_up: AtomicBool,
}

/// What the listener's thread and others share.
#[derive(Debug)]
struct State {
    /// The process that the thread was started in, F1.
    process: u64,
    /// How many flushes were asked for.
    tickets: AtomicU64,
    panics: AtomicU64,
    /// Whether the handler has an item.
    is_handling: AtomicBool,
    /// So many flushes were served.
    flushed: AtomicU64,
    /// How many calls are about to close the queue, L5.
    closers: AtomicUsize,
    /// The consumer is being dropped, and the queue of no concern any more: a static one may have
    /// another.
    has_left: AtomicBool,
    has_ended: AtomicBool,
    /// How many items were dropped without being handled, once it has left.
    dropped: AtomicUsize,
    changes: Changes,
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
        let (queue, state) = (consumer.control(), Arc::new(State::new()));
        let (has_bound, is_bound) = channel();
        let theirs = state.clone();
        thread::Builder::new().name(name.into()).spawn(move || {
            consumer.bind();
            let _ = has_bound.send(identity::own_number());
            drop(has_bound);
            Loop { state: theirs, consumer, handler, on_panic }.run();
        })?;
        let thread = is_bound
            .recv()
            .map_err(|_| io::Error::other("the consumer could not be bound to its thread"))?;
        Ok(Self { queue, state, thread, gave_up: AtomicBool::new(false) })
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
    /// listener has given up after a panic, and dropped items. [`Forked`](ListenerError::Forked),
    /// at once, in a child of the process that started the listener.
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
        // [L4] Acquire; pairs with the Release in `Loop::listen`
        self.wait(timeout, |state| state.flushed.load(Ordering::Acquire) >= ticket)
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
    /// after a panic, and dropped items. [`Forked`](ListenerError::Forked), at once, in a child of
    /// the process that started the listener.
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
        let state = &*self.state;
        if state.is_forked() {
            let is_its_thread = identity::own_number() == self.thread;
            let is_alone = is_its_thread || fork::is_gone(|| (self.thread, state.process));
            if is_alone && self.queue.is_bound_to(self.thread) {
                self.queue.close();
            }
            return;
        }
        // [L5] SeqCst, with `Loop::run`
        state.closers.fetch_add(1, Ordering::SeqCst);
        if !state.has_left.load(Ordering::SeqCst) {
            self.queue.close();
        }
        // [L5] Release; pairs with the load in `Loop::run`
        state.closers.fetch_sub(1, Ordering::Release);
    }

    /// Waits until `is_done` or the end, but not where that would never come.
    fn wait(
        &self,
        timeout: Duration,
        is_done: impl Fn(&State) -> bool,
    ) -> Result<(), ListenerError> {
        let state = &*self.state;
        let is_inside = self.queue.must_not_wait();
        let deadline = Instant::now().checked_add(timeout);
        loop {
            let key = state.changes.key();
            // [L4] Acquire; pairs with the Release in `Loop::run`
            let has_ended = state.has_ended.load(Ordering::Acquire);
            let is_done = !is_inside && is_done(state);
            // Also after each sleep: a signal handler may have forked, F4.
            let is_forked = state.is_forked();
            if has_ended || is_done || is_forked || is_inside || is_over(deadline) {
                let left = self.left();
                return match has_ended {
                    true if left == 0 => Ok(()),
                    _ if is_done => Ok(()),
                    true => Err(ListenerError::Closed(left)),
                    false if is_forked => Err(ListenerError::Forked(left)),
                    false if is_inside => Err(ListenerError::WouldDeadlock(left)),
                    false => Err(ListenerError::Timeout(left)),
                };
            }
            state.changes.wait(key, deadline);
        }
    }

    /// How many items are in the queue and with the handler, or were dropped unhandled.
    fn left(&self) -> usize {
        let handling = usize::from(self.state.is_handling.load(Ordering::Relaxed));
        let in_queue = self.queue.len();
        // Read last: while it has not left, what is in the queue is its own.
        // [L4] Acquire; pairs with the store in `Loop::run`
        match self.state.has_left.load(Ordering::Acquire) {
            true => self.state.dropped.load(Ordering::Relaxed),
            false => in_queue + handling,
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
    fn new() -> Self {
        Self {
            process: fork::process(),
            tickets: AtomicU64::new(0),
            panics: AtomicU64::new(0),
            is_handling: AtomicBool::new(false),
            flushed: AtomicU64::new(0),
            closers: AtomicUsize::new(0),
            has_left: AtomicBool::new(false),
            has_ended: AtomicBool::new(false),
            dropped: AtomicUsize::new(0),
            changes: Changes::new(),
        }
    }

    /// Whether this is a child of the process that the thread was started in, or a child's.
    fn is_forked(&self) -> bool {
        fork::process() != self.process
    }

    /// Says that the queue is of no concern any more, and waits until nobody closes it on behalf of
    /// the listener, L5.
    fn leave(&self, dropped: usize) {
        self.dropped.store(dropped, Ordering::Relaxed);
        // [L4] Release; pairs with the load in `Listener::left`
        // [L5] SeqCst, with `Listener::close`
        self.has_left.store(true, Ordering::SeqCst);
        while self.closers.load(Ordering::SeqCst) != 0 && !self.is_forked() {
            thread::yield_now();
        }
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
        state.leave(dropped);
        // What handler and items do here must not be missing when a stop has returned.
        quietly(|| drop(consumer));
        quietly(|| drop(handler));
        quietly(|| drop(on_panic));
        // [L4] Release; pairs with the load in `Listener::wait`
        state.has_ended.store(true, Ordering::Release);
        state.changes.notify_all();
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
                // [L4] Release; pairs with the load in `Listener::flush`
                self.state.flushed.store(served, Ordering::Release);
                self.state.changes.notify_all();
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
    /// This is a forked child, and the listener's thread stayed in its parent. What is left is this
    /// process' copy, which nobody handles here. What was pushed before the fork is handled in the
    /// parent.
    Forked(usize),
}

impl ListenerError {
    /// How many items were left.
    pub fn left(&self) -> usize {
        let (Self::Timeout(left)
        | Self::WouldDeadlock(left)
        | Self::Closed(left)
        | Self::Forked(left)) = *self;
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

    /// Whether it is [`Forked`](Self::Forked).
    pub fn is_forked(&self) -> bool {
        matches!(self, Self::Forked(_))
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
            Self::Forked(_) => {
                write!(f, "cannot wait in a forked child, with {left} {items} left to the parent")
            }
        }
    }
}

impl Error for ListenerError {}
