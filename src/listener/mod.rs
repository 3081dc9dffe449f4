//! A thread of its own for a consumer.
//!
//! # What a flush waits for
//!
//! * **L1** *The listener sees the flush.* A flush takes a ticket: it adds to `tickets`, and then
//!   it wakes the listener, which reads `tickets` between two items. If the listener reads what the
//!   flush wrote (Release, Acquire), then it sees all that was pushed before the flush. If it falls
//!   asleep instead, it had announced that before it read `tickets`. Then the flush must see the
//!   announcement. That is W1 of `sleep/mod.rs`: the addition takes the place of the claim, so it
//!   is sequentially consistent like `[claim:C]`. The read takes the place of the consumer's last
//!   look before it sleeps. The fence `[sleep:F]` is in front of it, so Acquire is enough.
//! * **L2** When the listener reads the ticket, it notes the tail indices of ring and bypass. All
//!   that was pushed before the flush lies below them. The flush is served when nothing that is
//!   published lies below them any more. The listener counts no pops, so it makes no difference if
//!   an item comes late and is popped early, like that of a push in the domain which saw the ring
//!   full long ago. A stopped push below the tails is not published, so nobody waits for it.
//! * **L3** A flush ends however fast others push. The number of items below the tails only falls.
//!   An item from above them is popped before one of those only if it is in the bypass, and its
//!   push saw the ring full before the tails were noted. Each thread has at most one such push.
//!
//! * **L8** *What is flushed.* The handler's `on_flush` is called between L2 and the moment at
//!   which the ticket counts as served, so all that was pushed before the flush is handled by then.
//!   It is also called when the thread is about to sleep and has handled something since the last
//!   call, and at the end. If it fails, the error is kept with the last ticket that it concerns: of
//!   those being served; or, where nobody waits for a flush, the next one. Who waits for a ticket
//!   gets the error of that or a later one. So no failure goes untold, unless a later one takes its
//!   place first.
//!
//! # Without a lock
//!
//! What the thread and the others share has no lock, as a fork could leave a lock locked forever
//! (`threads/fork.rs`, F5). The one exception is that of the last failure, which is held for a
//! moment, and for which nobody waits in a child.
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
//! `panics`, `steps` and `is_handling` are Relaxed: while the thread runs they are estimates, and
//! once a flush or a stop has seen that it was served they are exact. No model has a listener, so
//! these orderings are argued.

mod builder;
mod error;
mod handler;
mod signals;
mod stop_token;
mod thread;

use core::fmt;
use core::panic::{RefUnwindSafe, UnwindSafe};
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::Instant;

use ListenerErrorKind as Kind;

use crate::cycles::{Answer, Wait};
use crate::shared::Handle;
use crate::sleep::{LONGEST_SLEEP, Naps, is_over, sleep_briefly};
use crate::threads::{fork, identity};
use crate::{Consumer, Counts, Domain, Queue};
use thread::State;

pub use builder::ListenerBuilder;
pub use error::{ListenerError, ListenerErrorKind};
pub use handler::Handler;
pub use stop_token::StopToken;

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
/// A program that ends does not drop what is in a `static`, such as a global logger, or in a panic
/// hook, and does not wait for its threads. So stop such a listener before `main` returns.
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
    thread: std::thread::Thread,
    /// Whether a stop has waited in vain.
    gave_up: AtomicBool,
}

impl Listener {
    /// Starts a thread of that name, which calls the closure `handler` with each item that it pops,
    /// in order. For a type that is a [`Handler`], use
    /// [`Listener::builder().spawn`](ListenerBuilder::spawn).
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
        ListenerBuilder::new()
    }

    /// Waits until everything that was pushed before has been handled, what was lost before has
    /// been [reported](Handler::on_lost), and the handler has [flushed](Handler::on_flush) what it
    /// keeps, but not much longer than `timeout`.
    ///
    /// It does not wait for what others push meanwhile, nor for a push that has not returned.
    /// Pushes cost no more for it. After a [`stop`](Self::stop) that succeeded it returns `Ok` at
    /// once.
    ///
    /// # Errors
    ///
    /// [`Timeout`](ListenerErrorKind::Timeout) if the time was over first.
    /// [`WouldDeadlock`](ListenerErrorKind::WouldDeadlock), at once, on the listener's own thread
    /// and inside the consumer's [`Domain`]. [`Closed`](ListenerErrorKind::Closed) if the listener
    /// has given up after a panic, and dropped items. [`Unflushed`](ListenerErrorKind::Unflushed)
    /// with the handler's error, if it could not flush. [`Forked`](ListenerErrorKind::Forked), at
    /// once, in a child of the process that started the listener.
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
        self.queue.parker.notify(|| true);
        // L4. Acquire; pairs with the Release in `Loop::listen`
        self.wait(timeout, false, |state| state.flushed.load(Ordering::Acquire) >= ticket)?;
        self.state.result_of(ticket)
    }

    /// Closes the queue, and waits until everything in it has been handled and the handler is
    /// dropped, but not much longer than `timeout`.
    ///
    /// From here on pushes get their items back, also those that wait for room. These items are not
    /// counted as lost: see [what may be lost](crate::logger#what-may-be-lost). To wait longer,
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
    /// [`WouldDeadlock`](ListenerErrorKind::WouldDeadlock), at once, on the listener's own thread
    /// and inside the consumer's [`Domain`]: what is left is handled after the handler has
    /// returned. [`Closed`](ListenerErrorKind::Closed) if the listener has given up after a panic,
    /// and dropped items. [`Unflushed`](ListenerErrorKind::Unflushed) with the handler's error, if
    /// it could not flush at the end, or earlier and no flush has told.
    /// [`Forked`](ListenerErrorKind::Forked), at once, in a child of the process that started the
    /// listener.
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
        let say =
            std::thread::Builder::new().spawn(move || _ = io::stderr().write_all(line.as_bytes()));
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
