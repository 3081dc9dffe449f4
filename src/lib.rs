//! A bounded lock-free MPSC queue that cannot deadlock on itself.
#![cfg_attr(not(feature = "std"), no_std)]
#![cfg_attr(docsrs, feature(doc_cfg))]

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
