//! A bounded lock-free MPSC queue that cannot deadlock on itself.
//!
//! A push that interrupts another call of the queue never waits for that call, and a push on the
//! consumer's thread never waits for the consumer. So code that you do not control may push:
//! destructors, signal handlers, allocator and panic hooks.
//!
//! ```
//! let (producer, mut consumer) = bywash::bounded(1000);
//! let writer = std::thread::spawn(move || {
//!     consumer.bind(); // The first thing that a consumer's thread does.
//!     consumer.iter().for_each(|line: String| println!("{line}"));
//! });
//! producer.push("hello".to_string()).unwrap();
//! drop(producer); // Without producers, the loop ends when all is written.
//! writer.join().unwrap();
//! ```
//!
//! # Guides
//!
//! | if you | page |
//! |---|---|
//! | push in signal and crash handlers, hooks or interrupts | [signal handlers and hooks](signal_handlers) |
//! | write a logger | [a logger](logger) |
//! | pop in an event loop or a task | [event loops and executors](event_loops) |
//! | fork, or have threads that end | [forks, and threads that end](forks) |
//! | choose sizes, and what to do when the queue is full | [capacity, bypass and policy](capacity) |
//! | run it in production | [in production](in_production) |
//! | build it into an interpreter | [embedding in a language runtime](embedding) |
//! | have another queue now | [porting from other queues](porting) |
//! | build for another system, or without `std` | [systems](systems) |
//!
//! # Bind first
//!
//! A log queue must be bounded, or memory runs out. So when it is full, a thread that pushes waits.
//! But if the thread that drains the queue pushes, too, it waits for room that only it can make.
//! This queue recognises that thread, and lets it push into a second ring, the
//! [bypass](capacity#full-bypass-refusal).
//!
#![doc = concat!("<div>", include_str!("../docs/bypass.svg"), "</div>")]
//!
//! The *consumer's thread* is the one that last popped or called [`bind`](Consumer::bind). The
//! queue cannot know which thread *will* pop. **So a thread that is going to pop calls `bind`
//! first.** A thread that owns the consumer, has neither popped nor called `bind`, and pushes into
//! its own full queue, waits for itself and hangs. Moving the consumer to another thread does not
//! make that thread the consumer's. [`set_long_wait_hook`] sets a hook that reports such a wait,
//! and any other long one.
//!
//! A [`Listener`] runs a consumer on a thread of its own, and binds it. Its `flush` and `stop` wait
//! no longer than the time that you give them, and dropping it abandons a handler that is stuck.
//! Its [`Handler`] is told of panics, of losses and of when to flush. A [`StopToken`] tells it that
//! it is being stopped.
//!
//! # What may be called from where
//!
//! **Anywhere**, even in a signal handler (1) or an [allocator
//! hook](signal_handlers#allocator-hooks) that interrupted another call on the same queue. These
//! calls are async-signal-safe. No others are, and no method of a [`Consumer`] or [`Listener`] is.
//! They never allocate, and never wait, the last one excepted:
//!
//! * [`try_push`](Producer::try_push), [`try_push_within`](Producer::try_push_within),
//!   [`try_push_or_count`](Producer::try_push_or_count), [`try_push_many`](Producer::try_push_many)
//! * `len`, `bypass_len`, `capacity`, `bypassed`, `counts`, `is_empty`, `is_full`, `is_closed`,
//!   `is_consumer_gone`, `must_not_wait` and `is_consumer_thread`, of a producer or a static queue
//! * `close` of a [producer](Producer::close) or a [static queue](StaticQueue::close)
//! * `wake_consumer` of a [producer](Producer::wake_consumer) or a [static
//!   queue](StaticQueue::wake_consumer)
//! * [`StopToken::is_stopping`], [`StopToken::deadline`]
//! * [`try_push_and_wait`](Producer::try_push_and_wait), but not in allocator hooks: it waits until
//!   the item is popped or the timeout has passed, except on the consumer's thread and in its
//!   [`Domain`] (2)
//!
//! **Anywhere except in signal handlers and allocator hooks**: also in destructors and panic hooks,
//! even if they run in the middle of another call on the same queue:
//!
//! | call | waits | allocates |
//! |---|---|---|
//! | `push…` (3) on the consumer's thread or in its domain (2) | never: bypass, then `WouldDeadlock` | never |
//! | `push…` (3) elsewhere | for room; never if that would close a [cycle of waits](capacity#several-queues) | never |
//! | [`close`](Consumer::close), [`StaticQueue::consumer`], cloning and dropping an end | never, apart from destructors of items that are left | never; the last drop frees |
//! | [`bounded`], [`Builder::build`], [`Consumer::domain`], [`Domain::enter`] | never | yes |
//! | [`Listener::len`], [`Listener::is_empty`], [`Listener::left`], [`Listener::handled`], [`Listener::counts`], [`Listener::flush_error`], [`Listener::panics`], [`Listener::domain`] | never | never; the first `domain` of a queue does |
//! | [`set_long_wait_hook`] | never | yes |
//! | [`StopToken::wait`] | for a stop | never |
//! | [`Listener::spawn`], [`ListenerBuilder::spawn`] | never | yes |
//! | [`Listener::flush`], [`Listener::stop`], dropping a [`Listener`] | for the handler, except on its thread, in its domain (2), or if the handler waits for the caller | only to report a stuck handler on drop; the last drop frees |
//!
//! No push allocates, not even a thread's first. (When a `push…` finds the ring full, the system may
//! allocate for thread-locals: on macOS, and in a library that is loaded at run time.) Any push may
//! run in the destructor of a thread-local.
//!
//! **With a `&mut Consumer`**, and in neither signal handlers nor allocator hooks:
//!
//! | call | waits | allocates |
//! |---|---|---|
//! | [`try_pop`](Consumer::try_pop), [`try_iter`](Consumer::try_iter), [`bind`](Consumer::bind), [`unbind`](Consumer::unbind), [`recover`](Consumer::recover), [`arm`](struct.Consumer.html#method.arm) | never, not for a stopped producer either | the first on a thread may |
//! | [`pop`](Consumer::pop), [`pop_timeout`](Consumer::pop_timeout), [`pop_deadline`](Consumer::pop_deadline), [`pop_or_sleep`](Consumer::pop_or_sleep), [`iter`](Consumer::iter) | for an item | the first on a thread may |
//! | [`try_pop_many`](Consumer::try_pop_many) | never | if the buffer is too small; the first on a thread may |
//! | [`pop_many`](Consumer::pop_many) | for an item | the same |
//! | [`take_lost`](Consumer::take_lost), [`visit`](Consumer::visit), [`linger`](Consumer::linger) | never | never |
//! | [`event_fd`](struct.Consumer.html#method.event_fd) | never | the first in a process may |
//!
//! 1. See [what a handler must observe](signal_handlers#signal-handlers): items whose destructor
//!    does nothing, a queue that outlives the handler, and no jump out of it.
//! 2. A thread that the consumer waits for must not wait for the consumer. So it
//!    [enters](Domain::enter) the consumer's domain. [`must_not_wait`](Producer::must_not_wait)
//!    tells whether the calling thread is the consumer's thread or in its domain.
//!    [`is_consumer_thread`](Producer::is_consumer_thread) tells whether it is the consumer's
//!    thread.
//! 3. [`push`](Producer::push), [`push_timeout`](Producer::push_timeout),
//!    [`push_timeout_or_count`](Producer::push_timeout_or_count),
//!    [`push_deadline`](Producer::push_deadline), [`push_or_sleep`](Producer::push_or_sleep),
//!    [`push_many`](Producer::push_many). With a timeout of zero, none of them waits. Whether they
//!    wait when the consumer's thread is gone: [a table](forks#whether-a-push-waits).
//!
//! # Guarantees
//!
//! * Every accepted item is popped exactly once, or dropped with the consumer, whatever the
//!   destructors of items do. ([After a fork](forks), that holds for each process and its copy.)
//! * If one push returned before another began, its item is popped first, whether the two went
//!   through the ring or the bypass.
//! * The bound is exact, for any capacity.
//! * If a producer is stopped in the middle of a push, by a debugger or a handler that never
//!   returns, it hides only its own item: the consumer pops the others ahead of it. Its slot and
//!   those behind it stay in use meanwhile. Once the others are used up, pushes wait or are
//!   refused.
//! * No wake-up is lost, and closing leaves no thread asleep.
//! * When either end closes the queue, or the consumer is dropped, every waiting and later push
//!   gets its item back. When a producer closes it, or the last producer is dropped, the consumer
//!   pops the items that are left and then gets `Closed`.
//!
//! The file [`tests/README.md`] in the repository says how each of these is checked: models of
//! every schedule, tests that interrupt one operation at every machine instruction to run another,
//! signal storms, recorded histories and fuzzing. It also says what is not checked.
//!
//! A push into a ring that is not full takes one locked instruction, and a pop from a ring that is
//! not empty takes none: see [what it costs](porting#what-it-costs).
//!
#![doc = concat!("<div>", include_str!("../docs/queue.svg"), "</div>")]
//!
#![doc = concat!("<div>", include_str!("../docs/slot.svg"), "</div>")]
//!
//! # Features
//!
//! * `std` (default): everything except the descriptor for event loops.
//! * `eventfd`: that descriptor, on Linux.
//! * `alloc` alone, or none of these: see [without `std`](systems#without-std).
//! * `unsafe-assume-single-core`: with none of the others, on targets without 64-bit atomics; see
//!   [bare metal](signal_handlers#bare-metal). Elsewhere it does nothing.
//!
//! [`tests/README.md`]: https://docs.rs/crate/bywash/latest/source/tests/README.md
#![cfg_attr(not(feature = "std"), no_std)]
#![cfg_attr(bywash_docs, feature(doc_cfg))]
// A model has no listener and no static queue.
#![cfg_attr(bywash_loom, allow(dead_code, unreachable_pub, unused_imports))]

#[cfg(all(doctest, feature = "std"))]
#[doc = include_str!("../README.md")]
struct Readme;

/// The guides are modules of the documentation only: each is a page in `docs/`.
macro_rules! guides {
    ($($name:ident: $page:literal)*) => {$(
        #[cfg(all(any(doc, doctest), feature = "std"))]
        #[doc = include_str!($page)]
        pub mod $name {}
    )*};
}

guides! {
    capacity: "../docs/capacity.md"
    embedding: "../docs/embedding.md"
    event_loops: "../docs/event_loops.md"
    forks: "../docs/forks.md"
    in_production: "../docs/in_production.md"
    logger: "../docs/logger.md"
    porting: "../docs/porting.md"
    signal_handlers: "../docs/signal_handlers.md"
    systems: "../docs/systems.md"
}

#[cfg(all(not(target_has_atomic = "64"), not(feature = "unsafe-assume-single-core")))]
compile_error!(
    "bywash counts with 64-bit atomics, which this target does not have: narrower ones would wrap. \
     On a single core, the feature `unsafe-assume-single-core` masks interrupts instead: see \"Bare \
     metal\" in the documentation"
);

#[cfg(all(not(target_has_atomic = "64"), feature = "alloc"))]
compile_error!(
    "on targets without 64-bit atomics bywash has `StaticQueue` only: use `default-features = false`"
);

#[cfg(feature = "alloc")]
extern crate alloc;

#[macro_use]
mod cfg;

#[cfg(feature = "alloc")]
mod builder;
mod consumer;
mod counts;
#[cfg(feature = "std")]
mod cycles;
#[cfg(all(feature = "std", target_os = "linux", not(bywash_loom)))]
mod errno;
mod error;
mod iter;
mod lanes;
#[cfg(all(feature = "std", not(bywash_loom)))]
mod listener;
#[cfg(feature = "std")]
mod long_wait;
#[cfg(feature = "alloc")]
mod producer;
mod queue;
mod ring;
mod shared;
#[cfg(feature = "std")]
mod sleep;
mod slots;
#[cfg(not(bywash_loom))]
mod static_queue;
#[cfg(bywash_steps)]
#[doc(hidden)]
pub mod steps;
mod sync;
#[cfg(feature = "std")]
mod threads;
#[cfg(all(windows, feature = "std", not(any(bywash_loom, bywash_portable))))]
mod windows;
#[cfg(not(feature = "std"))]
mod without_std;

cfg_event_fd! {
    mod event_loop;
}

#[cfg(not(feature = "std"))]
use without_std::{sleep, threads};

#[cfg(feature = "alloc")]
pub use builder::{Builder, bounded};
pub use consumer::Consumer;
pub use counts::Counts;
pub use error::{
    PopError, PopTimeoutError, PushError, PushTimeoutError, TryPopError, TryPushError,
};
pub use iter::TryIter;
#[cfg(feature = "std")]
pub use iter::{IntoIter, Iter};
#[cfg(all(feature = "std", not(bywash_loom)))]
pub use listener::{
    Handler, Listener, ListenerBuilder, ListenerError, ListenerErrorKind, StopToken,
};
#[cfg(feature = "std")]
pub use long_wait::{LongWait, set_long_wait_hook};
#[cfg(feature = "alloc")]
pub use producer::Producer;
pub use queue::{Heap, Queue};
#[cfg(not(bywash_loom))]
pub use static_queue::{Claimed, StaticConsumer, StaticQueue};
#[cfg(feature = "std")]
pub use threads::{Domain, DomainGuard};
