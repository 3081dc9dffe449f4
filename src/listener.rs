//! A thread of its own for a consumer.
//!
//! # What a flush waits for
//!
//! * **L1** *The listener sees the flush.* A flush takes a ticket: it adds to `tickets`, and then
//!   it wakes the listener, which reads `tickets` between two items. If the listener reads what the
//!   flush wrote (Release, Acquire), then it sees all that was pushed before the flush. If it falls
//!   asleep instead, it had announced that before it read `tickets`. Then the flush must see the
//!   announcement. That is W1 of `wait/mod.rs`: the addition takes the place of the claim, so it is
//!   sequentially consistent like `[claim:C]`. The read takes the place of the consumer's last look
//!   before it sleeps. The fence `[sleep:F]` is in front of it, so Acquire is enough.
//! * **L2** When the listener reads the ticket, it notes the tail indices of ring and bypass. All
//!   that was pushed before the flush lies below them. The flush is served when nothing that is
//!   published lies below them any more. The listener counts no pops, so it makes no difference if
//!   an item comes late and is popped early, like that of a push in the domain which saw the ring
//!   full long ago. A stopped push below the tails is not published, so nobody waits for it.
//! * **L3** A flush ends however fast others push. The number of items below the tails only falls.
//!   An item from above them is popped before one of those only if it is in the bypass, and its
//!   push saw the ring full before the tails were noted. Each thread has at most one such push.
//!
//! # Without a lock
//!
//! What the thread and the others share has no lock, as a fork could leave a lock locked forever
//! (`fork.rs`, F5).
//!
//! * **L4** `has_ended`, `has_left` and `flushed` are stored with Release after what they tell of,
//!   and read with Acquire before what depends on them. A thread that waits takes a key, reads, and
//!   sleeps on the key. A thread that stores notifies afterwards.
//! * **L5** *Closing.* A listener that has left its queue must not close it: a static one may have
//!   another consumer by then. A thread that closes raises `closers` and reads `has_left`. The
//!   listener's thread sets `has_left` and reads `closers`. All of that is sequentially consistent.
//!   So the one that closes sees that the thread has left, or the thread sees it, and waits until
//!   it has closed before it drops the consumer. In a child there is no waiting: a thread closes
//!   there only if the listener's thread is gone, or if it is the listener's thread itself.
//!
//! # What was lost
//!
//! * **L6** *In its place.* Before each pop the listener asks for the count of lost items. A push
//!   is refused while the ring is full. A later push gets room in the ring only after a pop, and
//!   the listener asks between that pop and the pop of the later item. So nobody needs to wake it
//!   for a count. (If the count is raised while a pop makes room, its place is exact to a lap; see
//!   `lost.rs`.) After the last pop it asks once more, for a push that saw the ring full before
//!   that pop and raised the count after it.
//! * **L7** *Before the flush ends.* When the listener reads the ticket, it also notes how many are
//!   lost and not reported. Before the flush is served, that many are reported. Mostly L6 has done
//!   that. It has not if an item that came late (L2) has its place in front of them.
//!
//! `panics` and `is_handling` are Relaxed: while the thread runs they are estimates, and once a
//! flush or a stop has seen that it was served they are exact. No model has a listener, so these
//! orderings are argued.

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

use crate::cycles::{Answer, Until, Wait};
use crate::shared::Control;
use crate::wait::{Changes, is_over, sleep_briefly};
use crate::{Consumer, Domain, PopError, Queue, fork, identity};

/// How long a handler waits for another listener before it looks again who waits for whom.
const FIRST_NAP: Duration = Duration::from_millis(1);
const LONGEST_NAP: Duration = Duration::from_millis(16);

/// A thread that pops from a queue and hands each item to a [`Handler`].
///
/// The handler may push into the same queue: its thread is the consumer's, so a push there
/// [never waits](crate::Producer::push).
///
/// The thread ends when the queue is closed and all that was pushed has been handled: when the last
/// [`Producer`](crate::Producer) is gone, or after [`stop`](Self::stop).
///
/// # Dropping it
///
/// Dropping a listener closes the queue and **waits until everything in it has been handled**,
/// however long that takes, also while unwinding: the last lines before a crash are the ones that
/// people want to read. If the handler is stuck, or waits for something that the dropping thread
/// holds, the drop never ends. To wait for a limited time, call [`stop`](Self::stop) first: after a
/// stop that timed out, dropping does not wait. On the listener's own thread and inside the
/// consumer's [`Domain`] waiting could never end, so there a drop only closes the queue, and what
/// is left is handled after the handler has returned.
///
/// A program that ends does not drop what is in a `static`, and does not wait for its threads. So
/// stop such a listener before `main` returns.
///
/// No method of it is for signal handlers or allocator hooks.
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
    /// How many flushes have begun.
    tickets: AtomicU64,
    panics: AtomicU64,
    /// Whether the handler has an item.
    is_handling: AtomicBool,
    /// How many flushes were served.
    flushed: AtomicU64,
    /// How many calls are about to close the queue, L5.
    closers: AtomicUsize,
    /// Whether the consumer is about to be dropped. From then on the listener leaves the queue
    /// alone: a static one may have another consumer.
    has_left: AtomicBool,
    has_ended: AtomicBool,
    /// How many items were dropped without being handled, once it has left.
    dropped: AtomicUsize,
    changes: Changes,
}

impl Listener {
    /// Starts a thread of that name, which calls `handler` with each item that it pops, in order.
    ///
    /// The thread is the consumer's before this returns: no push of the handler ever waits. The
    /// handler and the consumer are dropped on that thread, when all has been handled.
    ///
    /// If the handler panics, the panic hook reports it, [`panics`](Self::panics) counts it, and
    /// the next item gets the same handler, as the panic left it. What was lost is not reported. To
    /// do more about either, write a [`Handler`] and start it with a [`builder`](Self::builder).
    ///
    /// Waits until the thread has begun to run.
    ///
    /// # Errors
    ///
    /// No thread could be started, or the name contains a zero byte. The consumer is dropped then,
    /// and the queue is closed.
    pub fn spawn<T, Q>(
        name: &str,
        consumer: Consumer<T, Q>,
        handler: impl FnMut(T) + Send + 'static,
    ) -> io::Result<Self>
    where
        T: Send + 'static,
        Q: Queue<Item = T> + Send + 'static,
    {
        Self::builder().name(name).spawn(consumer, handler)
    }

    /// A builder, for a [`Handler`] that hears of panics and of what was lost, and for options of
    /// the thread.
    pub fn builder() -> ListenerBuilder {
        ListenerBuilder::default()
    }

    /// Waits until everything that was pushed before has been handled, and what was lost before has
    /// been [reported](Handler::on_lost), but not much longer than `timeout`.
    ///
    /// It does not wait for what others push meanwhile, nor for a push that has not returned.
    /// Pushes cost no more for it.
    ///
    /// # Errors
    ///
    /// [`Timeout`](ListenerError::Timeout) if the time was over first.
    /// [`WouldDeadlock`](ListenerError::WouldDeadlock), at once, on the listener's own thread and
    /// inside the consumer's [`Domain`]. [`Closed`](ListenerError::Closed) if the listener has
    /// given up after a panic, and dropped items. [`Forked`](ListenerError::Forked), at once, in a
    /// child of the process that started the listener.
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
    /// let add = move |i| _ = total.fetch_add(i, Relaxed);
    /// let listener = Listener::spawn("adder", consumer, add)?;
    /// (1..=100).for_each(|i| producer.push(i).unwrap());
    /// listener.flush(Duration::from_secs(10)).unwrap();
    /// assert_eq!(sum.load(Relaxed), 5050);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn flush(&self, timeout: Duration) -> Result<(), ListenerError> {
        // L1. SeqCst; pairs with the loads in `Loop::listen` and, as a claim does, with [sleep:F].
        let ticket = self.state.tickets.fetch_add(1, Ordering::SeqCst) + 1;
        self.queue.notify_consumer();
        // [L4] Acquire; pairs with the Release in `Loop::listen`
        self.wait(timeout, |state| state.flushed.load(Ordering::Acquire) >= ticket)
    }

    /// Closes the queue, and waits until everything in it has been handled and the handler is
    /// dropped, but not much longer than `timeout`.
    ///
    /// From here on pushes get their items back, also those that wait for room. To wait longer,
    /// call it again. The thread ends right after. It is not joined, because a destructor of its
    /// thread-locals could be stuck as well.
    ///
    /// # Errors
    ///
    /// [`Timeout`](ListenerError::Timeout) if the handler was stuck or too slow, or a push was
    /// stopped in the middle. The thread goes on, and dropping the listener does not wait for it.
    /// [`WouldDeadlock`](ListenerError::WouldDeadlock), at once, on the listener's own thread and
    /// inside the consumer's [`Domain`]: what is left is handled after the handler has returned.
    /// [`Closed`](ListenerError::Closed) if the listener has given up after a panic, and dropped
    /// items. [`Forked`](ListenerError::Forked), at once, in a child of the process that started
    /// the listener.
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

    /// How often the handler has panicked, in [`Handler::handle`] or in [`Handler::on_lost`]. Never
    /// waits.
    ///
    /// # Examples
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

    /// The [`Domain`] of the consumer, for threads that the handler depends on: there, pushes into
    /// the queue do not wait. Never waits.
    ///
    /// # Examples
    ///
    /// The handler hands its work to a helper and waits for it, so the helper must not wait for the
    /// handler.
    ///
    /// ```
    /// use std::sync::mpsc::channel;
    /// use std::thread;
    /// use std::time::Duration;
    /// use bywash::Listener;
    ///
    /// let (log, consumer) = bywash::bounded(1);
    /// let (work, to_do) = channel();
    /// let (finish, finished) = channel();
    /// let listener = Listener::spawn("log", consumer, move |line: &str| {
    ///     work.send(line).unwrap();
    ///     finished.recv().unwrap();
    /// })?;
    /// let (domain, own) = (listener.domain(), log.clone());
    /// let helper = thread::spawn(move || {
    ///     let _guard = domain.enter();
    ///     for line in to_do {
    ///         if line == "a line" {
    ///             (0..3).for_each(|_| own.push("from the helper").unwrap());
    ///         }
    ///         finish.send(()).unwrap();
    ///     }
    /// });
    /// log.push("a line").unwrap();
    /// listener.flush(Duration::from_secs(10)).unwrap();
    /// listener.stop(Duration::from_secs(10)).unwrap();
    /// helper.join().unwrap();
    /// # std::io::Result::Ok(())
    /// ```
    pub fn domain(&self) -> Domain {
        self.queue.domain()
    }

    /// How many items are in the queue at the moment, as [`Producer::len`](crate::Producer::len)
    /// says. The item that the handler is busy with is not among them. 0 once the consumer is gone.
    /// Never waits.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::thread;
    /// use bywash::Listener;
    ///
    /// let (producer, consumer) = bywash::bounded(4);
    /// let stuck = |_| loop { thread::park() };
    /// let listener = Listener::spawn("stuck", consumer, stuck)?;
    /// producer.push("the first").unwrap();
    /// while !listener.is_empty() {
    ///     thread::yield_now(); // Until the handler has it.
    /// }
    /// producer.push("the next").unwrap();
    /// assert_eq!(listener.len(), 1);
    /// # std::mem::forget(listener); // Dropping it would wait for the handler.
    /// # std::io::Result::Ok(())
    /// ```
    pub fn len(&self) -> usize {
        let in_queue = self.queue.len();
        // Read last, as in `left`.
        // [L4] Acquire; pairs with the store in `Loop::run`
        if self.state.has_left.load(Ordering::Acquire) { 0 } else { in_queue }
    }

    /// Whether nothing is in the queue at the moment, not even claimed, or the consumer is gone.
    /// The handler may still be busy with the last item. Never waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
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

    /// Waits until `is_done` or the end of the thread, unless that could never come.
    fn wait(
        &self,
        timeout: Duration,
        is_done: impl Fn(&State) -> bool,
    ) -> Result<(), ListenerError> {
        let state = &*self.state;
        let is_inside = self.queue.must_not_wait() || identity::own_number() == self.thread;
        let deadline = Instant::now().checked_add(timeout);
        let mut wait = Wait::begin(self.queue.node(), Until::End, deadline.is_some());
        let mut would_deadlock = is_inside;
        let mut nap = FIRST_NAP;
        loop {
            let key = state.changes.key();
            // [L4] Acquire; pairs with the Release in `Loop::run`
            let has_ended = state.has_ended.load(Ordering::Acquire);
            let is_done = !is_inside && is_done(state);
            // Also after each sleep: a signal handler may have forked, F4.
            let is_forked = state.is_forked();
            if has_ended || is_done || is_forked || would_deadlock || is_over(deadline) {
                let left = self.left();
                return match has_ended {
                    true if left == 0 => Ok(()),
                    _ if is_done => Ok(()),
                    true => Err(ListenerError::Closed(left)),
                    false if is_forked => Err(ListenerError::Forked(left)),
                    false if would_deadlock => Err(ListenerError::WouldDeadlock(left)),
                    false => Err(ListenerError::Timeout(left)),
                };
            }
            // Once the consumer was given back, nothing that the queue's members do matters. Until
            // then the listener's thread still runs destructors, which may push and wait.
            let has_left =
                state.has_left.load(Ordering::Acquire) && !self.queue.is_bound_to(self.thread);
            if has_left {
                wait.withdraw();
            }
            let answer = if has_left { Answer::Ends } else { wait.look() };
            would_deadlock = answer == Answer::Never;
            if !would_deadlock {
                let nap_end = wait.must_look_again(answer).then(|| Instant::now() + nap);
                state.changes.wait(key, deadline.into_iter().chain(nap_end).min());
                nap = (nap * 2).min(LONGEST_NAP);
            }
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
            sleep_briefly();
        }
    }
}

/// What a [`Listener`] does with the items of its queue. A closure that takes an item is one.
///
/// The listener calls all methods on its own thread, one at a time. So they can share a writer
/// without a lock, and they may push into the queue.
///
/// # Examples
///
/// ```
/// use std::io::{self, Write};
/// use std::time::Duration;
/// use bywash::{Handler, Listener};
///
/// struct Lines<W> {
///     out: W,
/// }
///
/// impl<W: Write> Handler<String> for Lines<W> {
///     fn handle(&mut self, line: String) {
///         let _ = writeln!(self.out, "{line}");
///     }
///
///     fn on_lost(&mut self, count: u64) {
///         let _ = writeln!(self.out, "{count} messages lost here");
///     }
/// }
///
/// let (log, consumer) = bywash::bounded(2);
/// (1..=5).for_each(|i| _ = log.try_push_or_count(format!("line {i}")));
/// let listener = Listener::builder().name("log").spawn(consumer, Lines { out: io::stdout() })?;
/// // line 1
/// // line 2
/// // 3 messages lost here
/// listener.stop(Duration::from_secs(10)).unwrap();
/// # std::io::Result::Ok(())
/// ```
pub trait Handler<T> {
    /// Handles the next item.
    fn handle(&mut self, item: T);

    /// Learns that `count` pushes were
    /// [refused and counted](crate::Producer::try_push_or_count) since the last time. Does nothing,
    /// unless you write it.
    ///
    /// The call comes where the lost items would have come: after the items that were pushed before
    /// them, and in front of those that were pushed later. As
    /// [`Consumer::take_lost`](crate::Consumer::take_lost), it tells of a run of refusals at the
    /// place of the first, and under contention the place is exact to a lap of the ring. The sum is
    /// exact: a [`flush`](Listener::flush) ends after what was lost before it was reported, and the
    /// thread ends after all was.
    ///
    /// If this panics, the count was reported all the same, and [`on_panic`](Self::on_panic) is
    /// called as after a panic in [`handle`](Self::handle).
    fn on_lost(&mut self, count: u64) {
        let _ = count;
    }

    /// Decides what to do after a panic in [`handle`](Self::handle) or [`on_lost`](Self::on_lost),
    /// given its payload. Drops the payload and goes on, unless you write it.
    ///
    /// After [`Continue`](ControlFlow::Continue) the listener goes on with the next item and the
    /// same handler, as the panic left it. After [`Break`](ControlFlow::Break), or if this panics
    /// as well, the listener gives up. It closes the queue, so that pushes get their items back,
    /// and drops what is left. It does not call the handler again: what was lost and not reported
    /// by then is never reported. (In a [`StaticQueue`](crate::StaticQueue) the next consumer gets
    /// that count.)
    ///
    /// # Examples
    ///
    /// ```
    /// use std::any::Any;
    /// use std::ops::ControlFlow;
    /// use std::time::Duration;
    /// use bywash::{Handler, Listener};
    ///
    /// struct Divider;
    ///
    /// impl Handler<i32> for Divider {
    ///     fn handle(&mut self, i: i32) {
    ///         println!("{}", 10 / i);
    ///     }
    ///
    ///     fn on_panic(&mut self, _payload: Box<dyn Any + Send>) -> ControlFlow<()> {
    ///         ControlFlow::Break(())
    ///     }
    /// }
    ///
    /// let (producer, consumer) = bywash::bounded(8);
    /// (0..4).for_each(|i| producer.push(i).unwrap());
    /// let listener = Listener::builder().name("divider").spawn(consumer, Divider)?;
    /// let error = listener.stop(Duration::from_secs(10)).unwrap_err();
    /// assert!(error.is_closed());
    /// assert_eq!(error.left(), 3);
    /// assert!(producer.push(5).unwrap_err().is_closed());
    /// # std::io::Result::Ok(())
    /// ```
    fn on_panic(&mut self, payload: Box<dyn Any + Send>) -> ControlFlow<()> {
        quietly(|| drop(payload));
        ControlFlow::Continue(())
    }
}

impl<T, F: FnMut(T)> Handler<T> for F {
    fn handle(&mut self, item: T) {
        self(item);
    }
}

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
#[derive(Clone, Debug, Default)]
pub struct ListenerBuilder {
    name: Option<String>,
    stack_size: Option<usize>,
}

impl ListenerBuilder {
    /// Names the thread. Without this it has no name.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Sets the size of the thread's stack, in bytes. Without this it is that of
    /// [`std::thread::Builder`].
    #[must_use]
    pub fn stack_size(mut self, size: usize) -> Self {
        self.stack_size = Some(size);
        self
    }

    /// Starts the thread, which hands each item that it pops to `handler`, in order.
    ///
    /// All that [`Listener::spawn`] says holds here. A closure needs the type of its argument.
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
        let thread = self.thread()?;
        let (queue, state) = (consumer.control(), Arc::new(State::new()));
        let (has_bound, is_bound) = channel();
        let theirs = state.clone();
        thread.spawn(move || {
            consumer.bind();
            let _ = has_bound.send(identity::own_number());
            drop(has_bound);
            Loop { state: theirs, consumer, handler, reported: 0 }.run();
        })?;
        let thread = is_bound
            .recv()
            .map_err(|_| io::Error::other("the consumer could not be bound to its thread"))?;
        Ok(Listener { queue, state, thread, gave_up: AtomicBool::new(false) })
    }

    fn thread(self) -> io::Result<thread::Builder> {
        let mut thread = thread::Builder::new();
        if let Some(name) = self.name {
            // The standard library would panic.
            if name.contains('\0') {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    "the name of a thread contains a zero byte",
                ));
            }
            thread = thread.name(name);
        }
        if let Some(size) = self.stack_size {
            thread = thread.stack_size(size);
        }
        Ok(thread)
    }
}

/// What the thread has.
struct Loop<T, Q: Queue<Item = T>, H> {
    state: Arc<State>,
    consumer: Consumer<T, Q>,
    handler: H,
    /// How many lost items the handler was told of.
    reported: u64,
}

impl<T, Q: Queue<Item = T>, H: Handler<T>> Loop<T, Q, H> {
    fn run(mut self) {
        let _ = self.listen();
        let Self { state, mut consumer, handler, .. } = self;
        consumer.close();
        let mut dropped = 0;
        while let Ok(item) = consumer.try_pop() {
            dropped += 1;
            quietly(|| drop(item));
        }
        state.leave(dropped);
        // A stop returns after this, so that it has seen what the destructors do. The handler is
        // first: as long as the consumer is bound, this thread is found in a cycle of waits.
        quietly(|| drop(handler));
        quietly(|| drop(consumer));
        // [L4] Release; pairs with the load in `Listener::wait`
        state.has_ended.store(true, Ordering::Release);
        state.changes.notify_all();
    }

    /// Handles items until the queue is closed and drained, or the handler breaks it off.
    fn listen(&mut self) -> ControlFlow<()> {
        let mut served = 0;
        loop {
            // L1. Acquire; pairs with the addition in `Listener::flush`.
            let tickets = self.state.tickets.load(Ordering::Acquire);
            if tickets != served {
                self.handle_what_is_in()?;
                served = tickets;
                // [L4] Release; pairs with the load in `Listener::flush`
                self.state.flushed.store(served, Ordering::Release);
                self.state.changes.notify_all();
            }
            self.report_lost()?;
            match self.consumer.pop_unless(|_| self.state.tickets.load(Ordering::Acquire) != served)
            {
                Ok(Some(item)) => self.handle(item)?,
                Ok(None) => {}
                Err(PopError) => return self.report_lost(),
            }
        }
    }

    /// Handles at least all that was pushed by now, L2, and reports at least what is lost by now,
    /// L7.
    fn handle_what_is_in(&mut self) -> ControlFlow<()> {
        let lost = self.reported + self.consumer.lost();
        let tails = self.consumer.tails();
        while !self.consumer.all_popped_below(tails) {
            self.report_lost()?;
            let Ok(item) = self.consumer.try_pop() else { break };
            self.handle(item)?;
        }
        let count = if self.reported < lost { self.consumer.take_all_lost() } else { 0 };
        self.report(count)
    }

    fn handle(&mut self, item: T) -> ControlFlow<()> {
        self.state.is_handling.store(true, Ordering::Relaxed);
        let result = catch_unwind(AssertUnwindSafe(|| self.handler.handle(item)));
        self.state.is_handling.store(false, Ordering::Relaxed);
        self.after(result)
    }

    /// Reports what was lost before the item that is popped next, L6.
    fn report_lost(&mut self) -> ControlFlow<()> {
        let count = self.consumer.take_lost();
        self.report(count)
    }

    fn report(&mut self, count: u64) -> ControlFlow<()> {
        if count == 0 {
            return ControlFlow::Continue(());
        }
        self.reported += count;
        let result = catch_unwind(AssertUnwindSafe(|| self.handler.on_lost(count)));
        self.after(result)
    }

    /// Whether to go on after a call of the handler: it decides itself if it panicked.
    fn after(&mut self, result: thread::Result<()>) -> ControlFlow<()> {
        let Err(payload) = result else { return ControlFlow::Continue(()) };
        self.state.panics.fetch_add(1, Ordering::Relaxed);
        quietly(|| self.handler.on_panic(payload)).unwrap_or(ControlFlow::Break(()))
    }
}

/// Runs what may panic. The payload is not dropped: that may panic too.
fn quietly<R>(run: impl FnOnce() -> R) -> Option<R> {
    catch_unwind(AssertUnwindSafe(run)).map_err(mem::forget).ok()
}

/// Why [`Listener::flush`] or [`Listener::stop`] did not see everything handled, with the number of
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
    /// It was not done in time. What is left will be handled if the program and the handler go on.
    Timeout(usize),
    /// This is the listener's thread, or one that it depends on, so waiting here could never end.
    /// What is left will be handled when the handler has returned.
    WouldDeadlock(usize),
    /// The listener has given up after a panic, and dropped this many items unhandled.
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
