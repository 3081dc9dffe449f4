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
//! * **L8** *What is flushed.* The handler's `on_flush` is called between L2 and the moment at which
//!   the ticket counts as served, so all that was pushed before the flush is handled by then. It is
//!   also called when the thread is about to sleep and has handled something since the last call,
//!   and at the end. If it fails, the error is kept with the last ticket that it concerns: of those
//!   being served; or, where nobody waits for a flush, the next one. Who waits for a ticket gets
//!   the error of that or a later one. So no failure goes untold, unless a later one takes its
//!   place first.
//!
//! # Without a lock
//!
//! What the thread and the others share has no lock, as a fork could leave a lock locked forever
//! (`fork.rs`, F5). The one exception is that of the last failure, which is held for a moment, and
//! for which nobody waits in a child.
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
use core::marker::PhantomData;
use core::mem;
use core::ops::ControlFlow;
use core::panic::{RefUnwindSafe, UnwindSafe};
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use core::time::Duration;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, TryLockError};
use std::thread;
use std::time::Instant;

use crate::cycles::{Answer, Wait};
use crate::shared::Handle;
use crate::wait::{Changes, Naps, is_over, sleep_briefly};
use crate::{Consumer, Counts, Domain, PopError, Queue, StopToken, fork, identity, thread_signals};

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
/// A handler that holds a producer of the queue, to log what it does, keeps the queue open, and so
/// its own thread running. Give it one that [does not count](crate::Producer::downgrade).
///
/// # Signals
///
/// On Unix, the thread blocks the signals that ask a program to end (SIGHUP, SIGINT, SIGQUIT,
/// SIGTERM) and those that tell it of children, jobs and users (SIGCHLD, SIGCONT, SIGTSTP, SIGUSR1,
/// SIGUSR2), from its first instruction on. So they go to the program's other threads, and one that
/// waits for them with `sigwait` gets them. All others are as on the thread that called `spawn`:
/// faults, SIGPROF, which a profiler sends to every thread, and those that answer to what the
/// handler does (SIGPIPE, SIGTTIN, SIGTTOU). Threads and processes that the handler starts inherit
/// the mask. To change it, see [`ListenerBuilder::on_start`].
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
    queue: Handle,
    state: Arc<State>,
    stop_token: Option<StopToken>,
    /// Whether a stop has waited in vain.
    gave_up: AtomicBool,
}

/// What the listener's thread and others share.
#[derive(Debug)]
struct State {
    /// The process that the thread was started in, F1.
    process: u64,
    /// The number of the thread.
    thread: AtomicU64,
    /// How many flushes have begun.
    tickets: AtomicU64,
    panics: AtomicU64,
    /// Whether the handler has an item.
    is_handling: AtomicBool,
    /// How many items the handler was given and is done with.
    handled: AtomicU64,
    /// How many flushes were served.
    flushed: AtomicU64,
    /// The last failure of `on_flush`, L8.
    failure: Mutex<Option<Failure>>,
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

/// A call of `on_flush` that failed.
#[derive(Debug)]
struct Failure {
    /// The last ticket that it concerns.
    ticket: u64,
    error: Arc<io::Error>,
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
    /// Does not wait for the thread to run. Never waits, apart from what the system does to start a
    /// thread.
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

    /// Waits until everything that was pushed before has been handled, what was lost before has been
    /// [reported](Handler::on_lost), and the handler has [flushed](Handler::on_flush) what it
    /// keeps, but not much longer than `timeout`.
    ///
    /// It does not wait for what others push meanwhile, nor for a push that has not returned.
    /// Pushes cost no more for it.
    ///
    /// # Errors
    ///
    /// [`Timeout`](ListenerError::Timeout) if the time was over first.
    /// [`WouldDeadlock`](ListenerError::WouldDeadlock), at once, on the listener's own thread and
    /// inside the consumer's [`Domain`]. [`Closed`](ListenerError::Closed) if the listener has
    /// given up after a panic, and dropped items. [`Unflushed`](ListenerError::Unflushed) with the
    /// handler's error, if it could not flush. [`Forked`](ListenerError::Forked), at once, in a
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
        self.queue.parker.notify();
        // [L4] Acquire; pairs with the Release in `Loop::listen`
        self.wait(timeout, |state| state.flushed.load(Ordering::Acquire) >= ticket)?;
        self.state.result_of(ticket)
    }

    /// Closes the queue, and waits until everything in it has been handled and the handler is
    /// dropped, but not much longer than `timeout`.
    ///
    /// From here on pushes get their items back, also those that wait for room. To wait longer,
    /// call it again. The thread ends right after. It is not joined, because a destructor of its
    /// thread-locals could be stuck as well.
    ///
    /// A handler that is about to sleep for long hears of it by a [`StopToken`], and can use the
    /// time that is left.
    ///
    /// # Errors
    ///
    /// [`Timeout`](ListenerError::Timeout) if the handler was stuck or too slow, or a push was
    /// stopped in the middle. The thread goes on, and dropping the listener does not wait for it.
    /// [`WouldDeadlock`](ListenerError::WouldDeadlock), at once, on the listener's own thread and
    /// inside the consumer's [`Domain`]: what is left is handled after the handler has returned.
    /// [`Closed`](ListenerError::Closed) if the listener has given up after a panic, and dropped
    /// items. [`Unflushed`](ListenerError::Unflushed) with the handler's error, if it could not
    /// flush at the end, or earlier and no flush has told. [`Forked`](ListenerError::Forked), at
    /// once, in a child of the process that started the listener.
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
        self.begin_to_stop(timeout);
        let result = self.wait(timeout, |_| false);
        if let Err(ListenerError::Timeout(_)) = result {
            self.gave_up.store(true, Ordering::Relaxed);
        }
        result?;
        self.state.result_of(self.state.tickets.load(Ordering::Relaxed) + 1)
    }

    /// How often the handler has panicked, in [`Handler::handle`], [`Handler::on_lost`] or
    /// [`Handler::on_flush`], or what was to be done [at the start](ListenerBuilder::on_start).
    /// Never waits.
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

    /// How many items the handler was given, and has returned from or panicked with. Never waits.
    ///
    /// ```
    /// use std::time::Duration;
    /// use bywash::Listener;
    ///
    /// let (producer, consumer) = bywash::bounded(8);
    /// let listener = Listener::spawn("printer", consumer, |i: i32| println!("{i}"))?;
    /// (0..5).for_each(|i| producer.push(i).unwrap());
    /// listener.flush(Duration::from_secs(10)).unwrap();
    /// assert_eq!(listener.handled(), 5);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn handled(&self) -> u64 {
        self.state.handled.load(Ordering::Relaxed)
    }

    /// How many items are in the queue and with the handler, or were dropped without having been
    /// handled: what a [`stop`](Self::stop) that times out now would say. Never waits.
    ///
    /// ```
    /// use std::thread;
    /// use std::time::Duration;
    /// use bywash::Listener;
    ///
    /// let (producer, consumer) = bywash::bounded(4);
    /// let stuck = |_| loop { thread::park() };
    /// let listener = Listener::spawn("stuck", consumer, stuck)?;
    /// (0..3).for_each(|i| producer.push(i).unwrap());
    /// listener.stop(Duration::from_millis(20)).unwrap_err();
    /// assert_eq!((listener.left(), listener.handled()), (3, 0));
    /// # std::io::Result::Ok(())
    /// ```
    pub fn left(&self) -> usize {
        let handling = usize::from(self.state.is_handling.load(Ordering::Relaxed));
        let in_queue = self.queue.len_of_both();
        // Read last: while it has not left, what is in the queue is its own.
        // [L4] Acquire; pairs with the store in `Loop::run`
        match self.state.has_left.load(Ordering::Acquire) {
            true => self.state.dropped.load(Ordering::Relaxed),
            false => in_queue + handling,
        }
    }

    /// The error of the last [`on_flush`](Handler::on_flush) that failed, whether it was told to a
    /// flush or not. Waits for a moment at most.
    pub fn flush_error(&self) -> Option<Arc<io::Error>> {
        self.state.with_failure(|failure| Some(failure.as_ref()?.error.clone())).flatten()
    }

    /// What the queue has counted, as [`Producer::counts`](crate::Producer::counts) says. Never
    /// waits.
    ///
    /// ```
    /// use std::time::Duration;
    /// use bywash::Listener;
    ///
    /// let (log, consumer) = bywash::bounded(1);
    /// (0..3).for_each(|i| _ = log.try_push_or_count(i));
    /// let listener = Listener::spawn("log", consumer, |i: i32| println!("{i}"))?;
    /// listener.stop(Duration::from_secs(10)).unwrap();
    /// let counts = listener.counts();
    /// assert_eq!((counts.lost, counts.unreported, counts.high_water), (2, 0, 1));
    /// # std::io::Result::Ok(())
    /// ```
    pub fn counts(&self) -> Counts {
        self.queue.counts()
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
        self.queue.members.domain()
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
        let in_queue = self.queue.len_of_both();
        // Read last, as in `left`.
        // [L4] Acquire; pairs with the store in `Loop::run`
        if self.state.has_left.load(Ordering::Acquire) { 0 } else { in_queue }
    }

    /// Whether nothing is in the queue at the moment, not even claimed, or the consumer is gone.
    /// The handler may still be busy with the last item. Never waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Closes the queue on behalf of a caller that waits for so long.
    fn begin_to_stop(&self, timeout: Duration) {
        if let Some(token) = &self.stop_token {
            token.begin(timeout);
        }
        self.close();
    }

    fn close(&self) {
        let state = &*self.state;
        if state.is_forked() {
            let is_its_thread = identity::own_number() == state.thread();
            let is_alone = is_its_thread || state.is_gone();
            if is_alone && self.queue.members.is_bound_to(state.thread()) {
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
        let is_inside =
            self.queue.members.is_member_or_joining() || identity::own_number() == state.thread();
        let deadline = Instant::now().checked_add(timeout);
        let mut wait = Wait::for_listener(&self.queue.members, deadline.is_some());
        let mut would_deadlock = is_inside;
        let mut naps = Naps::new();
        loop {
            let key = state.changes.key();
            // [L4] Acquire; pairs with the Release in `Loop::run`
            let has_ended = state.has_ended.load(Ordering::Acquire);
            let is_done = !is_inside && is_done(state);
            // Also after each sleep: a signal handler may have forked, F4.
            let is_forked = state.is_forked() || state.is_gone();
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
            let has_left = state.has_left.load(Ordering::Acquire)
                && !self.queue.members.is_bound_to(state.thread());
            if has_left {
                wait.withdraw();
            }
            let answer = if has_left { Answer::Ends } else { wait.look(|| true) };
            would_deadlock = answer == Answer::Never;
            if !would_deadlock {
                let naps = wait.must_look_again(answer).then_some(&mut naps);
                let end = naps.map_or(deadline, |naps| naps.next_end(deadline));
                state.changes.wait(key, end);
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if *self.gave_up.get_mut() {
            return;
        }
        self.begin_to_stop(Duration::MAX);
        let _ = self.wait(Duration::MAX, |_| false);
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
    /// `thread` is the number of the thread that is about to be started.
    fn new(thread: u64) -> Self {
        Self {
            process: fork::process(),
            thread: AtomicU64::new(thread),
            tickets: AtomicU64::new(0),
            panics: AtomicU64::new(0),
            is_handling: AtomicBool::new(false),
            handled: AtomicU64::new(0),
            flushed: AtomicU64::new(0),
            failure: Mutex::new(None),
            closers: AtomicUsize::new(0),
            has_left: AtomicBool::new(false),
            has_ended: AtomicBool::new(false),
            dropped: AtomicUsize::new(0),
            changes: Changes::new(),
        }
    }

    fn thread(&self) -> u64 {
        self.thread.load(Ordering::Relaxed)
    }

    /// Whether this is a child of the process that the thread was started in, or a child's.
    fn is_forked(&self) -> bool {
        fork::process() != self.process
    }

    /// Whether the thread is not in this process.
    fn is_gone(&self) -> bool {
        fork::is_gone(|| self.thread())
    }

    /// What became of the flush with this ticket, L8.
    fn result_of(&self, ticket: u64) -> Result<(), ListenerError> {
        let kind = self.with_failure(|failure| {
            failure.as_ref().filter(|failure| failure.ticket >= ticket).map(|f| f.error.kind())
        });
        kind.flatten().map_or(Ok(()), |kind| Err(ListenerError::Unflushed(kind)))
    }

    /// Calls `with` with the last failure, unless a thread that stayed in the parent has it.
    fn with_failure<R>(&self, with: impl FnOnce(&mut Option<Failure>) -> R) -> Option<R> {
        loop {
            match self.failure.try_lock() {
                Ok(mut failure) => return Some(with(&mut failure)),
                Err(TryLockError::Poisoned(failure)) => {
                    return Some(with(&mut failure.into_inner()));
                }
                Err(TryLockError::WouldBlock) if self.is_forked() || self.is_gone() => return None,
                Err(TryLockError::WouldBlock) => sleep_briefly(),
            }
        }
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

    /// Writes out what the handler keeps back, such as the content of a
    /// [`BufWriter`](std::io::BufWriter). Does nothing, unless you write it.
    ///
    /// It is called
    ///
    /// * for each [`flush`](Listener::flush), before that returns, and after all that was pushed
    ///   before was handled. One call may serve several flushes;
    /// * when nothing is left to handle, before the thread sleeps. So a handler need not flush after
    ///   each item: in a stream of them it is called now and then, and soon after the last one;
    /// * at the end, before the handler is dropped, but not after the listener has given up.
    ///
    /// If it pushes into its own queue each time, the thread never rests.
    ///
    /// # Errors
    ///
    /// An error goes to the flushes that the call was for; if there were none, to the next
    /// [`flush`](Listener::flush) or [`stop`](Listener::stop), even if later calls succeed.
    /// The listener goes on. After a panic it asks [`on_panic`](Self::on_panic), and those who
    /// flush get an error that says so.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::{self, BufWriter, Write, stdout};
    /// use std::time::Duration;
    /// use bywash::{Handler, Listener};
    ///
    /// struct Lines<W: Write>(BufWriter<W>);
    ///
    /// impl<W: Write> Handler<String> for Lines<W> {
    ///     fn handle(&mut self, line: String) {
    ///         let _ = writeln!(self.0, "{line}");
    ///     }
    ///
    ///     fn on_flush(&mut self) -> io::Result<()> {
    ///         self.0.flush()
    ///     }
    /// }
    ///
    /// let (log, consumer) = bywash::bounded(100);
    /// let handler = Lines(BufWriter::new(stdout()));
    /// let listener = Listener::builder().name("log").spawn(consumer, handler)?;
    /// log.push("hello".to_string()).unwrap();
    /// listener.flush(Duration::from_secs(10)).unwrap(); // Written, or the disk's error.
    /// # std::io::Result::Ok(())
    /// ```
    fn on_flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Decides what to do after a panic in [`handle`](Self::handle), [`on_lost`](Self::on_lost) or
    /// [`on_flush`](Self::on_flush), given its payload. Drops the payload and goes on, unless you
    /// write it.
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
#[derive(Default)]
pub struct ListenerBuilder {
    name: Option<String>,
    stack_size: Option<usize>,
    stop_token: Option<StopToken>,
    on_start: Option<OnStart>,
}

type OnStart = Box<dyn FnOnce() + Send>;

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

    /// Sets the token by which the handler, which has a clone of it, hears that the listener is
    /// being stopped.
    #[must_use]
    pub fn stop_token(mut self, token: StopToken) -> Self {
        self.stop_token = Some(token);
        self
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
    pub fn on_start(mut self, run: impl FnOnce() + Send + 'static) -> Self {
        self.on_start = Some(Box::new(run));
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
        mut self,
        mut consumer: Consumer<T, Q>,
        handler: impl Handler<T> + Send + 'static,
    ) -> io::Result<Listener>
    where
        T: Send + 'static,
        Q: Queue<Item = T> + Send + 'static,
    {
        let (stop_token, on_start) = (self.stop_token.take(), self.on_start.take());
        let thread = self.thread()?;
        // Bound here, and not only there: in the constructor of a library the thread does not run
        // before this has returned, as it waits for the loader's lock.
        let number = identity::reserve();
        if number == 0 {
            return Err(io::Error::other("too many threads are bound to consumers"));
        }
        consumer.bind_to(number);
        let (queue, state) = (consumer.handle(), Arc::new(State::new(number)));
        let theirs = state.clone();
        let run = move || {
            theirs.thread.store(identity::adopt(number), Ordering::Relaxed);
            consumer.bind();
            Loop::new(theirs, handler).run(consumer, on_start);
        };
        let started = thread_signals::with_signals_blocked(|| thread.spawn(run));
        if started.is_err() {
            identity::release(number);
        }
        let gave_up = AtomicBool::new(false);
        started.map(|_| Listener { queue, state, stop_token, gave_up })
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

impl fmt::Debug for ListenerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ListenerBuilder")
            .field("name", &self.name)
            .field("stack_size", &self.stack_size)
            .finish_non_exhaustive()
    }
}

/// What the thread has, beside its consumer.
struct Loop<T, H> {
    state: Arc<State>,
    handler: H,
    /// How many lost items the handler was told of.
    reported: u64,
    /// How many items were dropped after the handler had broken it off.
    dropped: usize,
    /// Whether the handler has done something since it flushed the last time.
    must_flush: bool,
    _items: PhantomData<fn(T)>,
}

impl<T, H: Handler<T>> Loop<T, H> {
    fn new(state: Arc<State>, handler: H) -> Self {
        Self { state, handler, reported: 0, dropped: 0, must_flush: false, _items: PhantomData }
    }

    fn run(mut self, mut consumer: Consumer<T, impl Queue<Item = T>>, on_start: Option<OnStart>) {
        if on_start.is_some_and(|run| quietly(run).is_none()) {
            self.state.panics.fetch_add(1, Ordering::Relaxed);
        }
        let _ = self.listen(&mut consumer);
        consumer.close();
        while let Ok(item) = consumer.try_pop() {
            self.drop_unhandled(item);
        }
        let Self { state, handler, dropped, .. } = self;
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
    fn listen(&mut self, consumer: &mut Consumer<T, impl Queue<Item = T>>) -> ControlFlow<()> {
        let mut served = 0;
        loop {
            // L1. Acquire; pairs with the addition in `Listener::flush`.
            let tickets = self.state.tickets.load(Ordering::Acquire);
            if tickets != served {
                self.handle_what_is_in(consumer)?;
                self.flush(tickets)?;
                served = tickets;
                // [L4] Release; pairs with the load in `Listener::flush`
                self.state.flushed.store(served, Ordering::Release);
                self.state.changes.notify_all();
            }
            self.report(consumer.take_lost())?;
            let mut flow = ControlFlow::Continue(());
            let popped = consumer.pop_unless(|is_about_to_sleep| {
                if is_about_to_sleep && self.must_flush {
                    flow = self.flush(served + 1);
                }
                flow.is_break() || self.state.tickets.load(Ordering::Acquire) != served
            });
            match popped {
                Ok(Some(item)) if flow.is_break() => self.drop_unhandled(item),
                Ok(Some(item)) => self.handle(item)?,
                Err(PopError) if flow.is_continue() => {
                    self.report(consumer.take_lost())?;
                    return self.flush(u64::MAX);
                }
                Ok(None) | Err(PopError) => {}
            }
            flow?;
        }
    }

    /// Handles at least all that was pushed by now, L2, and reports at least what is lost by now,
    /// L7.
    fn handle_what_is_in(
        &mut self,
        consumer: &mut Consumer<T, impl Queue<Item = T>>,
    ) -> ControlFlow<()> {
        let lost = self.reported + consumer.lost();
        let tails = consumer.tails();
        while !consumer.all_popped_below(tails) {
            self.report(consumer.take_lost())?;
            let Ok(item) = consumer.try_pop() else { break };
            self.handle(item)?;
        }
        let count = if self.reported < lost { consumer.take_all_lost() } else { 0 };
        self.report(count)
    }

    fn handle(&mut self, item: T) -> ControlFlow<()> {
        self.state.is_handling.store(true, Ordering::Relaxed);
        let result = catch_unwind(AssertUnwindSafe(|| self.handler.handle(item)));
        self.state.is_handling.store(false, Ordering::Relaxed);
        // Only this thread writes it.
        let handled = self.state.handled.load(Ordering::Relaxed);
        self.state.handled.store(handled + 1, Ordering::Relaxed);
        self.must_flush = true;
        self.after(result)
    }

    /// Reports how many were lost before the item that is popped next, L6.
    fn report(&mut self, count: u64) -> ControlFlow<()> {
        if count == 0 {
            return ControlFlow::Continue(());
        }
        self.reported += count;
        self.must_flush = true;
        let result = catch_unwind(AssertUnwindSafe(|| self.handler.on_lost(count)));
        self.after(result)
    }

    /// Has the handler flush. An error is for who waits for this ticket, or an earlier one, L8.
    fn flush(&mut self, ticket: u64) -> ControlFlow<()> {
        self.must_flush = false;
        let (result, error) = match catch_unwind(AssertUnwindSafe(|| self.handler.on_flush())) {
            Ok(Ok(())) => return ControlFlow::Continue(()),
            Ok(Err(error)) => (Ok(()), error),
            Err(payload) => {
                (Err(payload), io::Error::other("the handler panicked while it flushed"))
            }
        };
        let flow = self.after(result);
        // Who gives up never flushes again.
        let ticket = if flow.is_break() { u64::MAX } else { ticket };
        let failure = Failure { ticket, error: Arc::new(error) };
        // The destructor of the one before is the handler's code, too.
        quietly(|| drop(self.state.with_failure(|last| last.replace(failure))));
        flow
    }

    fn drop_unhandled(&mut self, item: T) {
        self.dropped += 1;
        quietly(|| drop(item));
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
    /// Everything was handled, and then the handler could not [flush](Handler::on_flush) it, for
    /// this reason. The error itself is [`Listener::flush_error`].
    Unflushed(io::ErrorKind),
    /// The listener's thread is not in this process. Mostly this is a forked child, and the thread
    /// stayed in its parent. What is left is this process' copy, which nobody handles here; what was
    /// pushed before the fork is handled in the parent. Or the system has ended the thread without
    /// unwinding (a filter, `SYS_exit`): [`reclaim_consumer`](crate::Producer::reclaim_consumer)
    /// takes its consumer over.
    Forked(usize),
}

impl ListenerError {
    /// How many items were left.
    pub fn left(&self) -> usize {
        match *self {
            Self::Timeout(left)
            | Self::WouldDeadlock(left)
            | Self::Closed(left)
            | Self::Forked(left) => left,
            Self::Unflushed(_) => 0,
        }
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

    /// Whether it is [`Unflushed`](Self::Unflushed).
    pub fn is_unflushed(&self) -> bool {
        matches!(self, Self::Unflushed(_))
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
            Self::Unflushed(kind) => write!(f, "could not flush: {kind}"),
            Self::Forked(_) => {
                write!(f, "the listener's thread is not in this process, with {left} {items} left")
            }
        }
    }
}

impl Error for ListenerError {}
