//! Which thread is which: who is calling, whom it must not wait for, and who is in this process.
//!
//! | file | what |
//! |---|---|
//! | `identity.rs` | the number of the calling thread, also at its very end and in handlers |
//! | `records.rs` | what each thread shows to others: its number, its domains, what it waits for |
//! | `members.rs` | which threads must not wait for a consumer |
//! | `fork.rs` | which threads are in this process |
//! | `pool.rs` | memory that keeps its type, for records and what stands for queues |

pub(crate) mod fork;
pub(crate) mod identity;
pub(crate) mod members;
pub(crate) mod pool;
pub(crate) mod records;

pub use members::{Domain, DomainGuard};
