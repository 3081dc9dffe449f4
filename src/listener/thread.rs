//! The listener's thread, and what it shares with others. The essay is in `mod.rs`.

use core::marker::PhantomData;
use core::mem;
use core::ops::ControlFlow;
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::thread;

use super::builder::OnStart;
use super::{Handler, Kind, ListenerError};
use crate::sleep::{Changes, sleep_briefly};
use crate::threads::fork;
use crate::{Consumer, PopError, Queue};

/// What the listener's thread and others share.
#[derive(Debug, Default)]
pub(super) struct State {
    /// The process that the thread was started in, F1.
    pub(super) process: u64,
    /// The number of the thread.
    pub(super) thread: AtomicU64,
    /// How many flushes have begun.
    pub(super) tickets: AtomicU64,
    pub(super) panics: AtomicU64,
    /// How far the thread has come, L9.
    pub(super) steps: AtomicU64,
    /// Whether the handler has an item.
    pub(super) is_handling: AtomicBool,
    /// How many items the handler was given and is done with.
    pub(super) handled: AtomicU64,
    /// How many flushes were served.
    pub(super) flushed: AtomicU64,
    /// The last failure of `on_flush`, L8.
    pub(super) failure: Mutex<Option<Failure>>,
    /// How many calls are about to close the queue, L5.
    pub(super) closers: AtomicUsize,
    /// Whether the consumer is about to be dropped. From then on the listener leaves the queue
    /// alone: a static one may have another consumer.
    pub(super) has_left: AtomicBool,
    pub(super) has_ended: AtomicBool,
    /// How many items were dropped after the handler had broken it off.
    pub(super) dropped: AtomicU64,
    pub(super) changes: Changes,
}

/// A call of `on_flush` that failed.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    /// The last ticket that it concerns.
    ticket: u64,
    pub(super) error: Arc<io::Error>,
}

impl State {
    pub(super) fn thread(&self) -> u64 {
        self.thread.load(Ordering::Relaxed)
    }

    /// Whether this is a child of the process that the thread was started in, or a child's.
    pub(super) fn is_forked(&self) -> bool {
        fork::process() != self.process
    }

    /// Whether nobody here is to wait for the thread. It may be in this process all the same, if
    /// its handler has forked.
    pub(super) fn is_elsewhere(&self) -> bool {
        self.is_forked() || fork::is_gone(|| self.thread())
    }

    /// What became of the flush with this ticket, L8.
    pub(super) fn result_of(&self, ticket: u64) -> Result<(), ListenerError> {
        match self.with_failure(|failure| failure.clone()).flatten() {
            Some(Failure { ticket: last, error }) if last >= ticket => {
                Err(ListenerError { kind: Kind::Unflushed(error.kind()), left: 0 })
            }
            _ => Ok(()),
        }
    }

    /// Calls `with` with the last failure, unless a thread that stayed in the parent has it.
    pub(super) fn with_failure<R>(
        &self,
        with: impl FnOnce(&mut Option<Failure>) -> R,
    ) -> Option<R> {
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
    pub(super) fn leave(&self) {
        // L4. Release; pairs with the load in `Listener::in_queue`
        // L5. SeqCst, with `Listener::close`
        self.has_left.store(true, Ordering::SeqCst);
        while self.closers.load(Ordering::SeqCst) != 0 && !self.is_forked() {
            sleep_briefly();
        }
    }
}

/// What the thread has, beside its consumer.
pub(super) struct Loop<T, H> {
    state: Arc<State>,
    handler: H,
    /// How many lost items the handler was told of.
    reported: u64,
    /// Whether the handler has done something since it flushed the last time.
    must_flush: bool,
    _items: PhantomData<fn(T)>,
}

impl<T, H: Handler<T>> Loop<T, H> {
    pub(super) fn new(state: Arc<State>, handler: H) -> Self {
        Self { state, handler, reported: 0, must_flush: false, _items: PhantomData }
    }

    pub(super) fn run(
        mut self,
        mut consumer: Consumer<T, impl Queue<Item = T>>,
        on_start: Option<OnStart>,
    ) {
        if on_start.is_some_and(|run| quietly(run).is_none()) {
            add_one(&self.state.panics);
        }
        let _ = self.listen(&mut consumer);
        consumer.close();
        while let Ok(item) = consumer.try_pop() {
            self.drop_unhandled(item);
        }
        // Those whose push has not finished are dropped by whoever comes last.
        add(&self.state.dropped, consumer.count_left());
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

fn add_one(count: &AtomicU64) {
    add(count, 1);
}

/// Only the listener's thread adds to a count.
fn add(count: &AtomicU64, number: u64) {
    count.store(count.load(Ordering::Relaxed) + number, Ordering::Relaxed);
}

/// Runs what may panic. The payload is not dropped: that may panic too.
pub(super) fn quietly<R>(run: impl FnOnce() -> R) -> Option<R> {
    catch_unwind(AssertUnwindSafe(run)).map_err(mem::forget).ok()
}
