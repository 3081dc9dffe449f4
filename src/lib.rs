//! A bounded lock-free MPSC queue that cannot deadlock on itself.
//!
//! # The problem
//!
//! A log queue must be bounded, or memory runs out; so when it is full, those who push must wait. But destructors, signal
//! handlers, allocator and panic hooks push as well, on *any* thread and at *any* instruction: on the thread that drains
//! the queue, and on top of a push or pop that they interrupted. With an ordinary queue the reader then waits for room that only
//! it can make, or the handler waits for a lock or a slot that the code beneath it holds.
//!
//! # Use
//!
#![cfg_attr(feature = "std", doc = "```")]
#![cfg_attr(not(feature = "std"), doc = "```ignore")]
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
//! # What may be called from where
//!
//! | | in a signal handler | re-entrant (1) | may wait | allocates |
//! |---|---|---|---|---|
//! | [`try_push`](Producer::try_push); `len`, `capacity`, `bypassed`, `is_empty`, `is_full`, `is_closed`, `is_consumer_thread` of a producer or static queue | yes (2) | yes | never | never |
//! | [`push`](Producer::push), [`push_timeout`](Producer::push_timeout), [`push_deadline`](Producer::push_deadline) on the consumer's thread (3) or in its [`Domain`] (4) | no, use `try_push` | yes | never: bypass, then `WouldDeadlock` | never |
//! | [`push`](Producer::push), [`push_timeout`](Producer::push_timeout), [`push_deadline`](Producer::push_deadline) elsewhere | no, use `try_push` | yes | for room | never |
//! | [`try_pop`](Consumer::try_pop), [`try_iter`](Consumer::try_iter), [`drain`](Consumer::drain), [`bind`](Consumer::bind) | no | does not arise: `&mut` | never, not for a stopped producer either | the first on a thread may |
//! | [`pop`](Consumer::pop), [`pop_timeout`](Consumer::pop_timeout), [`pop_deadline`](Consumer::pop_deadline), [`iter`](Consumer::iter) | no | does not arise: `&mut` | for an item | the first on a thread may |
//! | [`close`](Consumer::close), [`StaticQueue::consumer`], cloning and dropping an end | no | yes | never | never; the last drop frees |
//! | [`bounded`], [`Builder::build`], [`Consumer::domain`], [`Domain::enter`] | no | yes | never | yes |
//! | [`Listener::spawn`] | no | yes | for the thread to begin | yes |
//! | [`Listener::flush`], [`Listener::stop`], dropping a [`Listener`] | no | yes | for the handler; never on its thread (3) or in its domain (4) | never; the last drop frees |
//!
//! 1. From inside another call on the same queue that it interrupted: from a destructor, a panic hook or an allocator hook.
//! 2. A refused item is handed back, and dropped by you: in a handler use items whose destructor does nothing. The queue must outlive
//!    the handler (a `static`, or a `Producer` in one), and nothing may unwind or jump out of it, or the slot stays claimed.
//! 3. The thread that last popped, or called `bind`. Moving the consumer does not change it. So `bind` is the first thing that a
//!    thread does which will drain: until then, its own push into the full queue waits for ever.
//! 4. A thread that the consumer waits for must not wait for the consumer.
//!
//! After a `fork` of a process with several threads, what other threads had claimed stays claimed in the child: its pushes and
//! pops go on, and those slots do not come back.
//!
//! # Full, bypass, refusal
//!
//! With the ring full, `try_push` hands the item back and `push` waits. On the consumer's thread, or inside its [`Domain`], both
//! put the item into the bypass instead, a second, small ring that was allocated with the first. Order holds across both.
//! With the bypass full, `try_push` says [`Full`](TryPushError::Full) and `push` says
//! [`WouldDeadlock`](PushError::WouldDeadlock), at once.
//!
//! How large? The ring for the largest burst that should not wait; 1 works. The bypass for what the consumer pushes while it handles
//! a full ring of items, because what goes beside a full ring comes out after all that is in it: see [`Builder::bypass`].
//!
//! # Order
//!
//! If one push returned before another began, its item is popped first. A producer that was stopped in mid-push hides
//! its own item only: others are popped ahead of it. While it is stopped, the slots behind its own are not used again.
//!
//! # Closing
//!
//! When the consumer closes or is dropped, every waiting and later push gets its item back. What is left can be popped after
//! closing, and is dropped with the consumer, once each, whatever its destructors do. When the last producer is dropped, the consumer pops what is left and is told `Closed`.
//!
//! # Statics and signals
//!
//! A [`StaticQueue`] lives in a `static`, needs no allocator, and is pushed into directly. There is a [`Consumer`] to be claimed
//! from it, one at a time. Pushers never close it: a loop over it ends with an item that says so, or with
//! [`close`](Consumer::close).
//!
//! # Features
//!
//! `std` (default): everything. `alloc` alone: [`bounded`] and [`Builder`], with `try_push`, `try_pop`, `try_iter`, `drain`, `close`
//! and the counters. Neither: [`StaticQueue`] with the same, in `no_std` and without an allocator. What binds, sleeps or knows
//! threads needs `std`; without it threads cannot be told apart, so the bypass is not used.
//!
//! # Cost
//!
//! A push into a ring that is not full is one locked instruction, without fence, thread-local or system call; a pop from one that
//! is not empty has none. A queue takes the next power of two of its capacity times the size of an item and 8 bytes, the same
//! for the bypass (16 bytes there), and less than 2 KiB.
#![cfg_attr(not(feature = "std"), no_std)]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(all(doctest, feature = "std"))]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(not(target_has_atomic = "64"))]
compile_error!("bywash counts with 64-bit atomics, which this target does not have: narrower ones would wrap");

#[cfg(feature = "alloc")]
extern crate alloc;

#[cfg(feature = "alloc")]
mod builder;
mod bypass;
#[cfg(feature = "std")]
mod context;
mod error;
#[cfg(all(feature = "eventfd", target_os = "linux", not(any(loom, bywash_portable))))]
mod event_fd;
#[cfg(all(feature = "std", not(loom)))]
mod listener;
mod lost;
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

#[cfg(feature = "alloc")]
pub use builder::{Builder, bounded};
#[cfg(feature = "std")]
pub use context::{Domain, DomainGuard};
pub use error::{PopError, PopTimeoutError, PushError, PushTimeoutError, TryPopError, TryPushError};
#[cfg(all(feature = "std", not(loom)))]
pub use listener::{Listener, ListenerError};
pub use queue::{Consumer, Drain, Queue, TryIter};
#[cfg(feature = "alloc")]
pub use queue::{Heap, Producer};
#[cfg(feature = "std")]
pub use queue::{IntoIter, Iter};
#[cfg(not(loom))]
pub use static_queue::{Claimed, StaticConsumer, StaticQueue};
