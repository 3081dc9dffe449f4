//! A bounded lock-free MPSC queue that cannot deadlock on itself.
//!
//! # The problem
//!
//! A log queue must be bounded, or memory runs out; so when it is full, those who push must wait.
//! But destructors, signal handlers, allocator and panic hooks push as well, on *any* thread and at
//! *any* instruction: on the thread that drains the queue, and on top of a push or pop that they
//! interrupted. With an ordinary queue the reader then waits for room that only it can make, or the
//! handler waits for a lock or a slot that the code beneath it holds.
//!
//! # Use
//!
//! ```
//! let (producer, mut consumer) = bywash::bounded(1000);
//! producer.push("hello").unwrap();
//! assert_eq!(consumer.pop(), Ok("hello"));
//! ```
//!
//! and with a thread that drains it:
//!
//! ```
//! let (producer, mut consumer) = bywash::bounded(1000);
//! let writer = std::thread::spawn(move || {
//!     consumer.bind(); // The first thing that a consumer's thread does.
//!     consumer.iter().for_each(|line: String| println!("{line}"));
//! });
//! producer.push("hello".to_string()).unwrap();
//! drop(producer); // The last one ends the loop, when all is written.
//! writer.join().unwrap();
//! ```
//!
//! A [`Listener`] is such a thread, with a `flush` and a `stop` that end in time.
//!
//! # What may be called from where
//!
//! | | in a signal handler | re-entrant (1) | may wait | allocates |
//! |---|---|---|---|---|
//! | [`try_push`](Producer::try_push), [`try_push_within`](Producer::try_push_within), [`try_push_or_count`](Producer::try_push_or_count), [`try_push_many`](Producer::try_push_many); `len`, `capacity`, `bypassed`, `is_empty`, `is_full`, `is_closed`, `is_consumer_thread` of a producer or static queue | yes (2) | yes | never | never |
//! | [`try_push_and_wait`](Producer::try_push_and_wait) | yes (2) | yes | until the item is popped, within the timeout; never on the consumer's thread (3) or in its domain (4) | never |
//! | [`push`](Producer::push), [`push_timeout`](Producer::push_timeout), [`push_deadline`](Producer::push_deadline), [`push_many`](Producer::push_many) on the consumer's thread (3) or in its [`Domain`] (4) | no, use `try_push` | yes | never: bypass, then `WouldDeadlock` | never |
//! | [`push`](Producer::push), [`push_timeout`](Producer::push_timeout), [`push_deadline`](Producer::push_deadline), [`push_many`](Producer::push_many) elsewhere | no, use `try_push` | yes | for room | never |
//! | [`try_pop`](Consumer::try_pop), [`try_iter`](Consumer::try_iter), [`drain`](Consumer::drain), [`bind`](Consumer::bind) | no | does not arise: `&mut` | never, not for a stopped producer either | the first on a thread may |
//! | [`pop`](Consumer::pop), [`pop_timeout`](Consumer::pop_timeout), [`pop_deadline`](Consumer::pop_deadline), [`iter`](Consumer::iter) | no | does not arise: `&mut` | for an item | the first on a thread may |
//! | [`try_pop_many`](Consumer::try_pop_many) | no | does not arise: `&mut` | never | so that the buffer is large enough |
//! | [`pop_many`](Consumer::pop_many) | no | does not arise: `&mut` | for an item | so that the buffer is large enough |
//! | [`take_lost`](Consumer::take_lost), `arm`, `event_fd` of a consumer | no | does not arise: `&mut` | never | never |
//! | `close` of a [producer](Producer::close) or [static queue](StaticQueue::close) | yes | yes | never | never |
//! | [`close`](Consumer::close) and [`unbind`](Consumer::unbind) of a consumer, [`StaticQueue::consumer`], cloning and dropping an end | no | yes | never | never; the last drop frees |
//! | [`bounded`], [`Builder::build`], [`Consumer::domain`], [`Domain::enter`] | no | yes | never | yes |
//! | [`Listener::spawn`], [`Listener::spawn_with`] | no | yes | for the thread to begin | yes |
//! | [`Listener::flush`], [`Listener::stop`], dropping a [`Listener`] | no | yes | for the handler; never on its thread (3) or in its domain (4) | never; the last drop frees |
//!
//! 1. From inside another call on the same queue that it interrupted: from a destructor, a panic
//!    hook or an allocator hook.
//! 2. A refused item is handed back, and dropped by you: in a handler use items whose destructor
//!    does nothing. The queue must outlive the handler (a `static`, or a `Producer` in one), and
//!    nothing may unwind or jump out of it, or the slot stays claimed. A `VecDeque` of items must
//!    be the handler's own.
//! 3. The thread that last popped, or called `bind`. Moving the consumer does not change it. So
//!    `bind` is the first thing that a thread does which will drain: until then, its own push into
//!    the full queue waits for ever.
//! 4. A thread that the consumer waits for must not wait for the consumer: it
//!    [enters](Domain::enter) its domain.
//!
//! # Full, bypass, refusal
//!
#![doc = concat!("<div>", include_str!("../docs/queue.svg"), "</div>")]
//!
//! With the ring full, `try_push` hands the item back and `push` waits. On the consumer's thread,
//! or inside its [`Domain`], both put the item into the *bypass* instead, a second, small ring that
//! was allocated with the first. Order holds across both. With the bypass full, `try_push` says
//! [`Full`](TryPushError::Full) and `push` says [`WouldDeadlock`](PushError::WouldDeadlock), at
//! once.
//!
//! ```
//! use bywash::{Builder, PushError};
//!
//! let (producer, mut consumer) = Builder::new(2).bypass(1).build();
//! consumer.bind();
//! for text in ["one", "two", "beside the ring"] {
//!     producer.push(text).unwrap();
//! }
//! assert_eq!(producer.push("too many"), Err(PushError::WouldDeadlock("too many")));
//! assert!(consumer.try_iter().eq(["one", "two", "beside the ring"]));
//! ```
//!
//! What to do with a refused item: count it, and say how many there were when there is room again.
//! Do not `unwrap` in a destructor. [`try_push_or_count`](Producer::try_push_or_count) does the
//! counting: it is `try_push`, and counts what is refused for want of room;
//! [`take_lost`](Consumer::take_lost) says how many were lost before the next item, so that "37
//! messages lost here" stands in the right place.
//!
//! [`try_push_within(item, limit)`](Producer::try_push_within) pushes only while fewer than `limit`
//! items are in the ring, and never uses the bypass. What matters less is refused earlier, so that
//! debug lines cannot take the room of the error that explains the crash.
//!
//! # Choosing capacities
//!
//! The ring: for the largest burst that should not wait; 1 works. The bypass: for what the consumer
//! pushes while it handles a full ring of items, because what goes beside a full ring comes out
//! after all that is in it. By default it is one larger than the ring, and 16 at least. Then a
//! consumer whose handling of an item that came from outside pushes at most one item, and of its
//! own items none, is never refused. [`Builder::bypass`] says what more takes.
//!
//! ```
//! let (producer, mut consumer) = bywash::bounded(100);
//! (0..100).for_each(|i| producer.push(i).unwrap());
//! for _ in 0..100 {
//!     let item = consumer.pop().unwrap();
//!     producer.push(item).unwrap(); // As if somebody else filled the ring again,
//!     producer.push(item).unwrap(); // and handling the item pushed one as well.
//! }
//! assert_eq!(producer.bypassed(), 100);
//! ```
//!
//! A queue takes the next power of two of its capacity times the size of an item and 8 bytes, the
//! size of the bypass times that of an item and 16 bytes, and less than 1 KiB. All of it is
//! allocated when the queue is built, zeroed. Of large queues the system hands out a page only when
//! an item first comes to it, so a bypass that is not used costs address space and no memory.
//!
//! # Closing
//!
//! When either end closes the queue, or the consumer is dropped, every waiting and later push gets
//! its item back. What is left can be popped after closing, and is dropped with the consumer, once
//! each, whatever its destructors do. When a producer closes the queue, or the last one is dropped,
//! the consumer pops what is left and is told `Closed`.
//!
//! ```
//! use bywash::{PopError, PushError};
//!
//! let (producer, mut consumer) = bywash::bounded(4);
//! producer.push("before").unwrap();
//! consumer.close();
//! assert_eq!(producer.push("after"), Err(PushError::Closed("after")));
//! assert_eq!(consumer.pop(), Ok("before"));
//! assert_eq!(consumer.pop(), Err(PopError));
//! ```
//!
//! [`Listener::stop`] closes, and waits for a limited time until everything has been handled.
//!
//! # Statics and signals
//!
//! A [`StaticQueue`] lives in a `static`, needs no allocator, and is pushed into directly. There is
//! a [`Consumer`] to be claimed from it, one at a time. It has no last producer, so a loop over it
//! ends when a pusher [closes](StaticQueue::close) it, or the consumer does.
//!
//! ```
//! # #[cfg(unix)] {
//! use bywash::StaticQueue;
//!
//! static EVENTS: StaticQueue<i32, 256, 16> = StaticQueue::new();
//!
//! extern "C" fn handler(signal: i32) {
//!     let _ = EVENTS.try_push(signal); // Never waits; 256 is for the largest burst.
//! }
//!
//! let handler = handler as extern "C" fn(i32) as libc::sighandler_t;
//! unsafe { libc::signal(libc::SIGUSR1, handler) };
//!
//! let mut events = EVENTS.consumer().expect("there is one at a time");
//! unsafe { libc::raise(libc::SIGUSR1) };
//! assert_eq!(events.pop(), Ok(libc::SIGUSR1));
//! # }
//! ```
//!
//! For the handler of a crash, which wants its last words written before the process ends:
//! [`try_push_and_wait(item, timeout)`](Producer::try_push_and_wait) pushes, and waits until the
//! consumer has taken the item, not much longer than the timeout, and with nothing that a handler
//! may not do. On the consumer's thread or in its domain, where that could never come, it returns
//! `false` at once.
//!
//! After a `fork` of a process with several threads, what other threads had claimed stays claimed
//! in the child: its pushes and pops go on, and those slots do not come back.
//!
//! # Event loops
//!
//! With the feature `eventfd`, on Linux, `Consumer::event_fd` is a descriptor for `poll`, `epoll`
//! or tokio's `AsyncFd`. Pop until there is nothing; then call `Consumer::arm`. If it returns
//! `true`, there is nothing to pop, and the descriptor becomes readable with the next push or
//! close: wait for that. If it returns `false`, pop again. While it is not armed, pushes cost
//! nothing more. In a runtime with several workers, call [`unbind`](Consumer::unbind) before each
//! `await`: the task may go on in another one, as in the example `tokio_workers`. Elsewhere, give
//! the consumer a thread of its own.
//!
//! # Performance
//!
#![doc = concat!("<div>", include_str!("../docs/slot.svg"), "</div>")]
//!
//! A push into a ring that is not full is one locked instruction, without fence, thread-local or
//! system call; a pop from one that is not empty has none. Who pushes or pops many at a time pays
//! it once for all:
//!
//! ```
//! let (producer, mut consumer) = bywash::bounded(8);
//! producer.push_many(&mut (0..6).collect()).unwrap(); // One claim for all six.
//! let mut batch = Vec::new();
//! assert_eq!(consumer.pop_many(&mut batch, 100), Ok(6)); // Frees their room at once.
//! assert_eq!(batch, [0, 1, 2, 3, 4, 5]);
//! ```
//!
//! Who has to wait spins a little, yields, and then sleeps; the cost of waking is paid where
//! somebody sleeps. On Linux that is a futex. Elsewhere sleepers look again in naps of a
//! millisecond at most. `cargo bench` in the repository measures it on your machine, beside other
//! queues.
//!
//! # Guarantees and their checks
//!
//! * Every accepted item is popped exactly once, or dropped with the consumer.
//! * If one push returned before another began, its item is popped first, through ring and bypass
//!   alike.
//! * The bound is exact, for any capacity.
//! * A producer that was stopped in mid-push, by a debugger or a handler that never returns, hides
//!   its own item only: others are popped ahead of it. While it is stopped, its slot and those
//!   behind it are not used again.
//! * Nothing sleeps that something could wake: no wake-up is lost, and closing strands nobody.
//!
//! `tests/README.md` in the repository says what checks each of these: models of every schedule, an
//! operation put at every machine instruction of another, storms of signals, recorded histories,
//! fuzzing; and what is not checked.
//!
//! # Porting from other queues
//!
//! | bywash | `std::sync::mpsc` | `crossbeam-channel` | Python's `queue` |
//! |---|---|---|---|
//! | [`bounded(n)`](bounded) | `sync_channel(n)` | `bounded(n)` | `Queue(n)` |
//! | [`push`](Producer::push) | `send` | `send` | `put` |
//! | [`try_push`](Producer::try_push) | `try_send` | `try_send` | `put_nowait` |
//! | [`push_timeout`](Producer::push_timeout), [`push_deadline`](Producer::push_deadline) | – | `send_timeout`, `send_deadline` | `put(timeout=…)` |
//! | [`pop`](Consumer::pop) | `recv` | `recv` | `get` |
//! | [`try_pop`](Consumer::try_pop) | `try_recv` | `try_recv` | `get_nowait` |
//! | [`pop_timeout`](Consumer::pop_timeout), [`pop_deadline`](Consumer::pop_deadline) | `recv_timeout` | `recv_timeout`, `recv_deadline` | `get(timeout=…)` |
//! | [`iter`](Consumer::iter), [`try_iter`](Consumer::try_iter) | `iter`, `try_iter` | `iter`, `try_iter` | `iter(q.get, sentinel)` |
//! | [`Full`](TryPushError::Full) | `Full` | `Full` | `queue.Full` |
//! | [`Closed`](TryPushError::Closed) | `Disconnected`, `SendError`, `RecvError` | the same | `queue.ShutDown` |
//! | [`close`](Consumer::close) | dropping the receiver | dropping the receiver | `shutdown` |
//! | [`Listener::flush`] | – | – | `join`, with `task_done` |
//!
//! What differs: there is one consumer, which is `&mut` and binds to its thread. A capacity of 0
//! panics. `push` can say `WouldDeadlock`, where `send` and `put` would hang. There is no `select`;
//! see [event loops](#event-loops). An unbounded queue (`channel`, `unbounded`, `SimpleQueue`)
//! becomes one with a bound for the largest burst, and a decision about what is refused.
//!
//! # Features
//!
//! `std` (default): everything but the descriptor for event loops, which is `eventfd`. `alloc`
//! alone: [`bounded`] and [`Builder`], with what never waits: `try_push`, `try_pop`, the like for
//! many, `try_iter`, `drain`, `close` and the counters. Neither: [`StaticQueue`] with the same but
//! for many, in `no_std` and without an allocator. What binds, sleeps or knows threads needs `std`;
//! without it threads cannot be told apart, so the bypass is not used. Targets without 64-bit
//! atomics are refused.
#![cfg_attr(not(feature = "std"), no_std)]
#![cfg_attr(docsrs, feature(doc_cfg))]
// A model has no listener and no static queue.
#![cfg_attr(loom, allow(dead_code, unreachable_pub, unused_imports))]

#[cfg(all(doctest, feature = "std"))]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(not(target_has_atomic = "64"))]
compile_error!(
    "bywash counts with 64-bit atomics, which this target does not have: narrower ones would wrap"
);

#[cfg(feature = "alloc")]
extern crate alloc;

#[macro_use]
mod cfg;

#[cfg(feature = "alloc")]
mod builder;
mod consumer;
#[cfg(feature = "std")]
mod domain;
mod error;
#[cfg(feature = "std")]
mod identity;
mod iter;
mod lanes;
#[cfg(all(feature = "std", not(loom)))]
mod listener;
mod lost;
#[cfg(feature = "alloc")]
mod producer;
mod queue;
mod ring;
mod shared;
mod slots;
#[cfg(not(loom))]
mod static_queue;
#[cfg(bywash_steps)]
#[doc(hidden)]
pub mod steps;
mod sync;
#[cfg(feature = "std")]
mod wait;
#[cfg(not(feature = "std"))]
mod without_std;

cfg_event_fd! {
    mod event_loop;
}

#[cfg(not(feature = "std"))]
use without_std::{domain, wait};

#[cfg(feature = "alloc")]
pub use builder::{Builder, bounded};
pub use consumer::Consumer;
#[cfg(feature = "std")]
pub use domain::{Domain, DomainGuard};
pub use error::{
    PopError, PopTimeoutError, PushError, PushTimeoutError, TryPopError, TryPushError,
};
pub use iter::{Drain, TryIter};
#[cfg(feature = "std")]
pub use iter::{IntoIter, Iter};
#[cfg(all(feature = "std", not(loom)))]
pub use listener::{Listener, ListenerError};
#[cfg(feature = "alloc")]
pub use producer::Producer;
pub use queue::{Heap, Queue};
#[cfg(not(loom))]
pub use static_queue::{Claimed, StaticConsumer, StaticQueue};
