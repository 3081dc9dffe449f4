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
//! | | in a signal handler | on top of an interrupted call | may wait | allocates |
//! |---|---|---|---|---|
//! | [`try_push`](Producer::try_push), `is_*`, `len`, `capacity`, `bypassed` | yes | yes | never | never |
//! | [`push`](Producer::push) on the consumer's thread or in its [`Domain`] | no | from destructors and hooks | never: bypass, then `WouldDeadlock` | never |
//! | [`push`](Producer::push), [`push_timeout`](Producer::push_timeout), [`push_deadline`](Producer::push_deadline) elsewhere | no | from destructors and hooks | for room | never |
//! | [`try_pop`](Consumer::try_pop), [`try_iter`](Consumer::try_iter), [`drain`](Consumer::drain) | no | – | never | the first on a thread |
//! | [`pop`](Consumer::pop), [`pop_timeout`](Consumer::pop_timeout), [`pop_deadline`](Consumer::pop_deadline), [`iter`](Consumer::iter) | no | – | for an item | the first on a thread |
//! | [`close`](Consumer::close), dropping and cloning an end | no | – | never | the last drop frees |
//! | [`bounded`], [`Builder::build`], [`Domain::enter`] | no | – | never | yes |
//!
//! The types keep most of this: there is one [`Consumer`], and its methods take it by `&mut`.
//!
//! In a handler: the item must not own memory that its destructor frees, for `try_push` may hand it back; the queue must outlive the
//! handler (a `static`, or a `Producer` in one); and nothing may jump or unwind out of a push, or its slot stays claimed. After a
//! `fork` of a process with several threads, what other threads had claimed stays claimed in the child: its pushes and pops go
//! on, and those slots do not come back.
//!
//! # Full, bypass, refusal
//!
//! With the ring full, `try_push` hands the item back and `push` waits. On the consumer's thread, or inside its [`Domain`], both
//! put the item into the bypass instead, a second, small ring that was allocated with the first. Order holds across both.
//! With the bypass full, `try_push` says [`Full`](TryPushError::Full) and `push` says
//! [`WouldDeadlock`](PushError::WouldDeadlock), at once.
//!
//! The consumer's thread is the one that popped last, or called [`bind`](Consumer::bind). A consumer that was sent to a thread
//! and has not popped there is bound to no thread, so `bind` is the first thing that a consumer's thread does.
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
//! When the consumer closes or is dropped, every waiting and later push gets its item back. What is left is dropped then, once
//! each, whatever its destructors do. When the last producer is dropped, the consumer pops what is left and is told `Closed`.
//!
//! # Statics and signals
//!
//! A [`StaticQueue`] lives in a `static`, needs no allocator, and is pushed into directly. There is a [`Consumer`] to be claimed from it, one
//! at a time.
//!
//! # Features
//!
//! `std` (default): everything. `alloc`: [`bounded`], and what never waits. Neither: [`StaticQueue`], and what never waits, in
//! `no_std`. Without `std` threads cannot be told apart, so the bypass is not used.
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
pub use queue::{Consumer, Drain, Queue, TryIter};
#[cfg(feature = "alloc")]
pub use queue::{Heap, Producer};
#[cfg(feature = "std")]
pub use queue::{IntoIter, Iter};
#[cfg(not(loom))]
pub use static_queue::{Claimed, StaticConsumer, StaticQueue};
