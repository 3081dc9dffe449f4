//! A thread of its own for a consumer.
//!
//! # What a flush waits for
//!
//! * **L1** *The listener sees the flush.* A flush takes a ticket: it adds to `tickets`, and then
//!   it wakes the listener, which reads `tickets` between two items. If the listener reads what the
//!   flush wrote (Release, Acquire), then it sees all that was pushed before the flush. If it falls
//!   asleep instead, it had announced that before it read `tickets`. Then the flush must see the
//!   announcement. That is W1 of `sleep/mod.rs`: the addition takes the place of the claim, so it is
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
//! (`threads/fork.rs`, F5). The one exception is that of the last failure, which is held for a moment, and
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
//! # How a drop tells slow from stuck
//!
//! * **L9** The listener's thread counts its `steps`: calls of the handler that have returned, and
//!   items that it has dropped unhandled. A drop waits in parts, and reads the count between two of
//!   them. It gives up after ten parts in a row without a step. So the thread reads no clock, and a
//!   process that was stopped for long has lost one part.
//!
//! `panics`, `steps` and `is_handling` are Relaxed: while the thread runs they are estimates, and once a
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
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

use ListenerErrorKind as Kind;

use crate::cycles::{Answer, Wait};
use crate::shared::Handle;
use crate::sleep::{Changes, LONGEST_SLEEP, Naps, is_over, sleep_briefly};
use crate::threads::{fork, identity};
use crate::{Consumer, Counts, Domain, PopError, Queue, StopToken, thread_signals};

/// How many parts without a step end a drop, L9.
const DROP_PARTS: u32 = 10;

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
/// Dropping a listener closes the queue and **waits until everything in it has been handled**, also
/// while unwinding: the last lines before a crash are the ones that people want to read. However
/// long that takes, it waits for a handler that goes on: one that is slow loses nothing. A handler
/// that returns from no call for [ten seconds](ListenerBuilder::drop_timeout) counts as stuck, as
/// one that waits for something that the dropping thread holds: then the drop ends, and a line on
/// the standard error says how many items were left. The thread goes on with them, if the program
/// does.
///
/// To be told by a result instead, or to wait for a time in all, call [`stop`](Self::stop) first:
/// after a stop that timed out, dropping neither waits nor says anything. On the listener's own
/// thread and inside the consumer's [`Domain`] waiting could never end, so there a drop only closes
/// the queue, and what is left is handled after the handler has returned.
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
    stop_token: StopToken,
    drop_timeout: Duration,
    thread: thread::Thread,
    /// Whether a stop has waited in vain.
    gave_up: AtomicBool,
}

/// What the listener's thread and others share.
#[derive(Debug, Default)]
struct State {
    /// The process that the thread was started in, F1.
    process: u64,
    /// The number of the thread.
    thread: AtomicU64,
    /// How many flushes have begun.
    tickets: AtomicU64,
    panics: AtomicU64,
    /// How far the thread has come, L9.
    steps: AtomicU64,
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
    /// How many items were dropped after the handler had broken it off.
    dropped: AtomicU64,
    changes: Changes,
}

/// A call of `on_flush` that failed.
#[derive(Clone, Debug)]
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
        ListenerBuilder {
            thread: thread::Builder::new(),
            has_valid_name: true,
            stop_token: None,
            drop_timeout: Duration::from_secs(10),
            on_start: None,
        }
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
    /// [`Timeout`](ListenerErrorKind::Timeout) if the time was over first.
    /// [`WouldDeadlock`](ListenerErrorKind::WouldDeadlock), at once, on the listener's own thread and
    /// inside the consumer's [`Domain`]. [`Closed`](ListenerErrorKind::Closed) if the listener has
    /// given up after a panic, and dropped items. [`Unflushed`](ListenerErrorKind::Unflushed) with the
    /// handler's error, if it could not flush. [`Forked`](ListenerErrorKind::Forked), at once, in a
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
        // L4. Acquire; pairs with the Release in `Loop::listen`
        self.wait(timeout, false, |state| state.flushed.load(Ordering::Acquire) >= ticket)?;
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
    /// [`Timeout`](ListenerErrorKind::Timeout) if the handler was stuck or too slow, or a push was
    /// stopped in the middle. The thread goes on, and dropping the listener does not wait for it.
    /// [`WouldDeadlock`](ListenerErrorKind::WouldDeadlock), at once, on the listener's own thread and
    /// inside the consumer's [`Domain`]: what is left is handled after the handler has returned.
    /// [`Closed`](ListenerErrorKind::Closed) if the listener has given up after a panic, and dropped
    /// items. [`Unflushed`](ListenerErrorKind::Unflushed) with the handler's error, if it could not
    /// flush at the end, or earlier and no flush has told. [`Forked`](ListenerErrorKind::Forked), at
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
        self.close(timeout);
        let result = self.wait(timeout, false, |_| false);
        let is_late = result.is_err_and(|error| error.is_timeout());
        self.gave_up.fetch_or(is_late, Ordering::Relaxed);
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
        let dropped = || self.state.dropped.load(Ordering::Relaxed) as usize;
        self.in_queue().map_or_else(dropped, |in_queue| in_queue + handling)
    }

    /// The error of the last [`on_flush`](Handler::on_flush) that failed, whether it was told to a
    /// flush or not. Waits for a moment at most.
    pub fn flush_error(&self) -> Option<Arc<io::Error>> {
        Some(self.state.with_failure(|failure| failure.clone())??.error)
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
        self.in_queue().unwrap_or(0)
    }

    /// Whether nothing is in the queue at the moment, not even claimed, or the consumer is gone.
    /// The handler may still be busy with the last item. Never waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many items are in the queue, if the listener has not left it.
    fn in_queue(&self) -> Option<usize> {
        let len = self.queue.len_of_both();
        // Read last: while it has not left, what is in the queue is its own.
        // L4. Acquire; pairs with the store in `State::leave`
        (!self.state.has_left.load(Ordering::Acquire)).then_some(len)
    }

    /// Closes the queue on behalf of a caller that waits for so long.
    fn close(&self, timeout: Duration) {
        self.stop_token.begin(timeout);
        let state = &*self.state;
        // L5. SeqCst, with `State::leave`
        state.closers.fetch_add(1, Ordering::SeqCst);
        let may_close = if state.is_forked() {
            let is_gone = fork::is_gone(|| state.thread());
            let is_alone = is_gone || identity::own_number() == state.thread();
            is_alone && self.queue.members.is_bound_to(state.thread())
        } else {
            !state.has_left.load(Ordering::SeqCst)
        };
        if may_close {
            self.queue.close();
        }
        // L5. Release; pairs with the load in `State::leave`
        state.closers.fetch_sub(1, Ordering::Release);
    }

    /// Waits until `is_done` or the end of the thread, unless that could never come. A drop is
    /// patient: for others who wait, it waits without a deadline.
    fn wait(
        &self,
        timeout: Duration,
        is_drop: bool,
        is_done: impl Fn(&State) -> bool,
    ) -> Result<(), ListenerError> {
        let state = &*self.state;
        let is_inside =
            self.queue.members.is_member_or_joining() || identity::own_number() == state.thread();
        let deadline = Instant::now().checked_add(timeout);
        let mut wait = Wait::for_listener(&self.queue.members, deadline.is_some() && !is_drop);
        let mut would_deadlock = is_inside;
        let mut naps = Naps::new();
        loop {
            let key = state.changes.key();
            // L4. Acquire; pairs with the Release in `Loop::run`
            let has_ended = state.has_ended.load(Ordering::Acquire);
            if !is_inside && is_done(state) || has_ended && self.left() == 0 {
                return Ok(());
            }
            // Also after each sleep: a signal handler may have forked, F4.
            let ends = [
                (has_ended, Kind::Closed),
                (state.is_elsewhere(), Kind::Forked),
                (would_deadlock, Kind::WouldDeadlock),
                (is_over(deadline), Kind::Timeout),
            ];
            if let Some((_, kind)) = ends.into_iter().find(|(has_come, _)| *has_come) {
                return Err(ListenerError { kind, left: self.left() });
            }
            // Once the consumer was given back, nothing that the queue's members do matters. Until
            // then the listener's thread still runs destructors, which may push and wait.
            let has_left = state.has_left.load(Ordering::Acquire)
                && !self.queue.members.is_bound_to(state.thread());
            let answer = if has_left {
                wait.withdraw();
                Answer::Ends
            } else {
                wait.look(|| true)
            };
            would_deadlock = answer == Answer::Never;
            if !would_deadlock {
                let naps = wait.must_look_again(answer).then_some(&mut naps);
                let end = naps.map_or(deadline, |naps| naps.next_end(deadline));
                state.changes.wait(key, end);
            }
        }
    }

    /// Says on the standard error what a drop leaves.
    fn report(&self, error: ListenerError) {
        let (name, timeout) = (self.thread.name().unwrap_or_default(), self.drop_timeout);
        let line = format!("bywash: dropped listener {name:?}, stuck for {timeout:?}: {error}\n");
        // The handler may be stuck in there, with the lock, so this thread must not wait for it.
        let say = thread::Builder::new().spawn(move || _ = io::stderr().write_all(line.as_bytes()));
        let deadline = Instant::now().checked_add(LONGEST_SLEEP);
        while say.as_ref().is_ok_and(|say| !say.is_finished()) && !is_over(deadline) {
            sleep_briefly();
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if *self.gave_up.get_mut() {
            return;
        }
        self.close(self.drop_timeout);
        // L9
        let wait = || self.wait(self.drop_timeout / DROP_PARTS, true, |_| false).err();
        let (mut seen, mut idle) = (self.state.steps.load(Ordering::Relaxed), 0);
        while let Some(error) = wait().filter(ListenerError::is_timeout) {
            idle += 1;
            let steps = self.state.steps.load(Ordering::Relaxed);
            if steps != seen {
                (seen, idle) = (steps, 0);
                self.stop_token.begin(self.drop_timeout);
            }
            if idle == DROP_PARTS {
                return self.report(error);
            }
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
    fn thread(&self) -> u64 {
        self.thread.load(Ordering::Relaxed)
    }

    /// Whether this is a child of the process that the thread was started in, or a child's.
    fn is_forked(&self) -> bool {
        fork::process() != self.process
    }

    /// Whether nobody here is to wait for the thread. It may be in this process all the same, if its
    /// handler has forked.
    fn is_elsewhere(&self) -> bool {
        self.is_forked() || fork::is_gone(|| self.thread())
    }

    /// What became of the flush with this ticket, L8.
    fn result_of(&self, ticket: u64) -> Result<(), ListenerError> {
        match self.with_failure(|failure| failure.clone()).flatten() {
            Some(Failure { ticket: last, error }) if last >= ticket => {
                Err(ListenerError { kind: Kind::Unflushed(error.kind()), left: 0 })
            }
            _ => Ok(()),
        }
    }

    /// Calls `with` with the last failure, unless a thread that stayed in the parent has it.
    fn with_failure<R>(&self, with: impl FnOnce(&mut Option<Failure>) -> R) -> Option<R> {
        loop {
            // It is never poisoned: what is done with it does not panic.
            if let Ok(mut failure) = self.failure.try_lock() {
                return Some(with(&mut failure));
            }
            if self.is_elsewhere() {
                return None;
            }
            sleep_briefly();
        }
    }

    /// Says that the queue is of no concern any more, and waits until nobody closes it on behalf of
    /// the listener, L5.
    fn leave(&self) {
        // L4. Release; pairs with the load in `Listener::in_queue`
        // L5. SeqCst, with `Listener::close`
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
pub struct ListenerBuilder {
    thread: thread::Builder,
    has_valid_name: bool,
    stop_token: Option<StopToken>,
    drop_timeout: Duration,
    on_start: Option<OnStart>,
}

type OnStart = Box<dyn FnOnce() + Send>;

impl ListenerBuilder {
    /// Names the thread. Without this it has no name.
    #[must_use]
    pub fn name(self, name: impl Into<String>) -> Self {
        let name = name.into();
        Self { has_valid_name: !name.contains('\0'), thread: self.thread.name(name), ..self }
    }

    /// Sets the size of the thread's stack, in bytes. Without this it is that of
    /// [`std::thread::Builder`].
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
    /// It counts anew whenever a call of the handler has returned, of [`handle`](Handler::handle) as
    /// well as of [`on_lost`](Handler::on_lost) and [`on_flush`](Handler::on_flush). So it is a limit
    /// for the longest call, and not for all that is left: a sink that takes a second for each of a
    /// thousand items is waited for, and one that is stuck does not keep the program from ending.
    /// Ten seconds are more than a slow disk takes for a write or a server for an answer, and less
    /// than service managers give a program to end. A handler whose calls may take longer needs
    /// more. With [`Duration::MAX`] the drop waits for ever.
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
        let Self { thread, has_valid_name, stop_token, drop_timeout, on_start } = self;
        if !has_valid_name {
            // The standard library would panic.
            let text = "the name of a thread contains a zero byte";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
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
        let started = thread_signals::with_signals_blocked(|| thread.spawn(run));
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

/// What the thread has, beside its consumer.
struct Loop<T, H> {
    state: Arc<State>,
    handler: H,
    /// How many lost items the handler was told of.
    reported: u64,
    /// Whether the handler has done something since it flushed the last time.
    must_flush: bool,
    _items: PhantomData<fn(T)>,
}

impl<T, H: Handler<T>> Loop<T, H> {
    fn new(state: Arc<State>, handler: H) -> Self {
        Self { state, handler, reported: 0, must_flush: false, _items: PhantomData }
    }

    fn run(mut self, mut consumer: Consumer<T, impl Queue<Item = T>>, on_start: Option<OnStart>) {
        if on_start.is_some_and(|run| quietly(run).is_none()) {
            add_one(&self.state.panics);
        }
        let _ = self.listen(&mut consumer);
        consumer.close();
        while let Ok(item) = consumer.try_pop() {
            self.drop_unhandled(item);
        }
        self.state.leave();
        // A stop returns after this, so that it has seen what the destructors do. The handler is
        // first: as long as the consumer is bound, this thread is found in a cycle of waits.
        quietly(|| drop(self.handler));
        quietly(|| drop(consumer));
        // L4. Release; pairs with the load in `Listener::wait`
        self.state.has_ended.store(true, Ordering::Release);
        self.state.changes.notify_all();
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
                // L4. Release; pairs with the load in `Listener::flush`
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
        add_one(&self.state.handled);
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
        let mut result = Ok(());
        let call = catch_unwind(AssertUnwindSafe(|| result = self.handler.on_flush()));
        if call.is_err() {
            result = Err(io::Error::other("the handler panicked while it flushed"));
        }
        let flow = self.after(call);
        let Err(error) = result else { return flow };
        // Who gives up never flushes again.
        let ticket = if flow.is_break() { u64::MAX } else { ticket };
        let failure = Failure { ticket, error: Arc::new(error) };
        // The destructor of the one before is the handler's code, too.
        quietly(|| drop(self.state.with_failure(|last| last.replace(failure))));
        flow
    }

    fn drop_unhandled(&mut self, item: T) {
        add_one(&self.state.dropped);
        quietly(|| drop(item));
        add_one(&self.state.steps);
    }

    /// Whether to go on after a call of the handler: it decides itself if it panicked.
    fn after(&mut self, result: thread::Result<()>) -> ControlFlow<()> {
        add_one(&self.state.steps);
        let Err(payload) = result else { return ControlFlow::Continue(()) };
        add_one(&self.state.panics);
        quietly(|| self.handler.on_panic(payload)).unwrap_or(ControlFlow::Break(()))
    }
}

/// Only the listener's thread adds to a count.
fn add_one(count: &AtomicU64) {
    count.store(count.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
}

/// Runs what may panic. The payload is not dropped: that may panic too.
fn quietly<R>(run: impl FnOnce() -> R) -> Option<R> {
    catch_unwind(AssertUnwindSafe(run)).map_err(mem::forget).ok()
}

/// Why [`Listener::flush`] or [`Listener::stop`] did not see everything handled, and how many items
/// were left.
///
/// ```
/// use std::time::Duration;
/// use bywash::{Listener, ListenerErrorKind};
///
/// let (producer, consumer) = bywash::bounded(8);
/// let stuck = |_| loop { std::thread::park() };
/// let listener = Listener::spawn("stuck", consumer, stuck)?;
/// (0..7).for_each(|i| producer.push(i).unwrap());
/// let error = listener.stop(Duration::from_millis(20)).unwrap_err();
/// assert_eq!((error.kind(), error.left()), (ListenerErrorKind::Timeout, 7));
/// assert_eq!(error.to_string(), "timed out with 7 items left");
/// # std::io::Result::Ok(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenerError {
    kind: Kind,
    left: usize,
}

/// Why, of a [`ListenerError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ListenerErrorKind {
    /// It was not done in time. What is left will be handled if the program and the handler go on.
    Timeout,
    /// This is the listener's thread, or one that it depends on, so waiting here could never end.
    /// What is left will be handled when the handler has returned.
    WouldDeadlock,
    /// The listener has given up after a panic, and dropped what is left unhandled.
    Closed,
    /// Everything was handled, and then the handler could not [flush](Handler::on_flush) it, for
    /// this reason. The error itself is [`Listener::flush_error`].
    Unflushed(io::ErrorKind),
    /// The listener's thread is not in this process. Mostly this is a forked child, and the thread
    /// stayed in its parent. What is left is this process' copy, which nobody handles here; what was
    /// pushed before the fork is handled in the parent. Or the system has ended the thread without
    /// unwinding (a filter, `SYS_exit`): [`reclaim_consumer`](crate::Producer::reclaim_consumer)
    /// takes its consumer over.
    Forked,
}

impl ListenerError {
    /// Why it is.
    pub fn kind(&self) -> ListenerErrorKind {
        self.kind
    }

    /// How many items were left: those in the queue, and the one that the handler was busy with.
    pub fn left(&self) -> usize {
        self.left
    }

    /// Whether it is [`Timeout`](ListenerErrorKind::Timeout).
    pub fn is_timeout(&self) -> bool {
        self.kind == Kind::Timeout
    }

    /// Whether it is [`WouldDeadlock`](ListenerErrorKind::WouldDeadlock).
    pub fn is_would_deadlock(&self) -> bool {
        self.kind == Kind::WouldDeadlock
    }

    /// Whether it is [`Closed`](ListenerErrorKind::Closed).
    pub fn is_closed(&self) -> bool {
        self.kind == Kind::Closed
    }

    /// Whether it is [`Unflushed`](ListenerErrorKind::Unflushed).
    pub fn is_unflushed(&self) -> bool {
        matches!(self.kind, Kind::Unflushed(_))
    }

    /// Whether it is [`Forked`](ListenerErrorKind::Forked).
    pub fn is_forked(&self) -> bool {
        self.kind == Kind::Forked
    }
}

impl fmt::Display for ListenerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            Kind::Timeout => "timed out",
            Kind::WouldDeadlock => "cannot wait on the listener's own thread,",
            Kind::Closed => "gave up after a panic",
            Kind::Forked => "the listener's thread is not in this process,",
            Kind::Unflushed(kind) => return write!(f, "could not flush: {kind}"),
        })?;
        write!(f, " with {} item{} left", self.left, if self.left == 1 { "" } else { "s" })
    }
}

impl Error for ListenerError {}
