//! Which threads must not wait for a consumer: its own, and those in its domain. (A push has two
//! more reasons not to wait: a cycle of waits, `cycles.rs`, and a consumer that is not in this
//! process, `fork.rs`.)
//!
//! A domain is a number. A thread notes in its own record which domains it is in (`records.rs`), so
//! a handler on any thread can ask at any instruction, and what threads leave behind by forgetting
//! their guards goes with them.
//!
//! What matters is mostly what a thread reads of its own binding and of its own guards, and program
//! order takes care of that: those accesses are Relaxed. The number of the consumer's thread is
//! published for others, too:
//!
//! | label | site | operation and ordering | pairs with | publishes | model that fails if weakened |
//! |---|---|---|---|---|---|
//! | [bind:R] | binding | store of the number, Release | [bound:A] | the process in which the thread is: without it, it would be taken for a thread of another process | `memory_model`: `a_thread_that_binds_is_in_this_process`, if the number in the record is Relaxed, too |
//! | [bound:A] | asking where the thread is | load of the number, Acquire | [bind:R] | the same | the same |

use core::fmt;
use core::marker::PhantomData;
use core::ptr;
// But for the post, not those of `sync`: they order nothing else, and are no part of loom's models.
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::{fork, identity};
use crate::cycles::{Post, new_number};
use crate::sync::{AtomicPtr, const_fn};
use crate::threads::records;

/// A number that no thread has. A thread that has none has 0.
pub(crate) const NO_THREAD: u64 = u64::MAX;

/// The threads for which waiting for the consumer would be waiting for themselves: the consumer's
/// thread, and the threads in its domain.
pub(crate) struct Members {
    /// The token of the consumer's thread, I3, and its number. Both are 0 while it has none.
    token: AtomicUsize,
    consumer: AtomicU64,
    /// The number of the domain, or 0 until it is asked for.
    domain: AtomicU64,
    /// What stands for the queue in the graph of waits, or null until somebody binds or asks for
    /// the domain.
    post: AtomicPtr<Post>,
}

impl Members {
    const_fn! {
        pub(crate) fn new() -> Self {
            Self {
                token: AtomicUsize::new(0),
                consumer: AtomicU64::new(0),
                domain: AtomicU64::new(0),
                post: AtomicPtr::new(ptr::null_mut()),
            }
        }
    }

    /// Makes the calling thread the consumer's, and returns its number. If it has none, I1, the
    /// consumer has no thread, and it returns [`NO_THREAD`].
    #[cold]
    pub(crate) fn bind(&self) -> u64 {
        identity::joining(|| {
            let number = identity::register();
            if let Some(record) = records::of(number) {
                // Of a push that was left by a jump.
                record.withdraw();
            }
            self.bind_to(number, if number == 0 { 0 } else { identity::token() });
            if number == 0 { NO_THREAD } else { number }
        })
    }

    /// Makes a thread the consumer's that will begin with `bind`. Its token may be unknown.
    pub(crate) fn bind_to(&self, number: u64, token: usize) {
        let post = self.existing_post();
        fork::watch();
        self.token.store(token, Ordering::Relaxed);
        // [bind:R] Release; pairs with [bound:A]
        self.consumer.store(number, Ordering::Release);
        post.set_consumer(number);
    }

    /// Leaves the consumer without a thread.
    pub(crate) fn unbind(&self) {
        self.consumer.store(0, Ordering::Relaxed);
        self.token.store(0, Ordering::Relaxed);
        if let Some(post) = self.post() {
            post.set_consumer(0);
        }
    }

    /// Whether the calling thread is the consumer's. For signal handlers too.
    pub(crate) fn is_consumer(&self) -> bool {
        let number = identity::number();
        number != 0 && self.consumer.load(Ordering::Relaxed) == number
    }

    /// Whether the consumer is bound to a thread that is not in this process: F3. Asks the system
    /// for the process. For signal handlers too.
    pub(crate) fn consumer_is_gone(&self) -> bool {
        // [bound:A] Acquire; pairs with [bind:R]
        fork::is_gone(|| self.consumer.load(Ordering::Acquire))
    }

    /// Whether the thread to which the consumer is bound has not ended, if that can be told.
    pub(crate) fn has_living_thread(&self) -> Option<bool> {
        match records::of(self.consumer.load(Ordering::Acquire)) {
            None => Some(false),
            Some(record) if record.has_ended() => Some(false),
            Some(record) if record.system_id() == 0 => None,
            Some(record) => Some(fork::thread_exists(record.system_id())),
        }
    }

    /// Whether the consumer is bound to the thread of this number.
    pub(crate) fn is_bound_to(&self, number: u64) -> bool {
        self.consumer.load(Ordering::Relaxed) == number
    }

    /// Whether it is worth asking for the number of the calling thread: `false` says that it is no
    /// member.
    #[inline]
    pub(crate) fn may_be_member(&self) -> bool {
        self.token.load(Ordering::Relaxed) == identity::token()
            || self.domain.load(Ordering::Relaxed) != 0
    }

    /// Whether the calling thread is the consumer's or in its domain. For signal handlers too.
    pub(crate) fn is_member(&self) -> bool {
        self.may_be_member() && self.contains(identity::number())
    }

    /// As [`is_member`](Self::is_member), but also right to the very end of a thread, I2, and while
    /// it becomes a member, I5. Not for signal handlers.
    pub(crate) fn is_member_or_joining(&self) -> bool {
        identity::is_joining() || self.contains(identity::own_number())
    }

    /// Whether the calling thread, whose number this is, is a member.
    fn contains(&self, number: u64) -> bool {
        let domain = self.domain.load(Ordering::Relaxed);
        number != 0
            && (self.consumer.load(Ordering::Relaxed) == number
                || domain != 0 && records::of(number).is_some_and(|own| own.is_in(domain)))
    }

    /// The consumer's domain.
    pub(crate) fn domain(&self) -> Domain {
        if self.domain.load(Ordering::Relaxed) == 0 {
            let new = new_number();
            // There is one consumer, but its `Listener` may come here as well.
            let _ = self.domain.compare_exchange(0, new, Ordering::Relaxed, Ordering::Relaxed);
        }
        let number = self.domain.load(Ordering::Relaxed);
        self.existing_post().set_domain(number);
        Domain { number }
    }

    /// What stands for the queue in the graph of waits.
    pub(crate) fn post(&self) -> Option<&'static Post> {
        // SAFETY: null, or a post, which is never freed.
        unsafe { self.post.load(Ordering::Acquire).as_ref() }
    }

    /// Closes the queue by `close`, and tells the graph of waits.
    pub(crate) fn closing(&self, close: impl FnOnce()) {
        let queue = self.post().map(Post::queue);
        close();
        if let (Some(post), Some(queue)) = (self.post(), queue) {
            post.set_closed(queue);
        }
    }

    /// Tells the graph of waits that the ring was seen full at this head.
    pub(crate) fn note_full(&self, head: u64) {
        if let Some(post) = self.post() {
            post.note_full(head);
        }
    }

    /// Tells the graph of waits that the consumer has moved the head.
    pub(crate) fn announce(&self, head: u64) {
        if let Some(post) = self.post() {
            post.announce(head);
        }
        // Whoever drops the consumer, or the last items, calls this as well, E3.
        let number = identity::own_number();
        if let Some(record) = records::of(number).filter(|_| self.is_bound_to(number)) {
            // Of a push that was left by a jump.
            record.withdraw();
        }
    }

    /// Takes out of the graph of waits who was left in a wait for this queue, and that it was
    /// closed.
    pub(crate) fn renew(&self) {
        if let Some(post) = self.post() {
            post.renew();
        }
    }

    /// The post; may allocate.
    fn existing_post(&self) -> &'static Post {
        if let Some(post) = self.post() {
            return post;
        }
        let new = Post::claim();
        let (null, new_ptr) = (ptr::null_mut(), ptr::from_ref(new).cast_mut());
        // Another thread, or an allocator hook, may have come here meanwhile.
        match self.post.compare_exchange(null, new_ptr, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => new,
            Err(_) => {
                new.give_back();
                self.existing_post()
            }
        }
    }
}

impl Drop for Members {
    fn drop(&mut self) {
        if let Some(post) = self.post() {
            post.give_back();
        }
    }
}

/// The threads that a consumer depends on. On them, [`push`](crate::Producer::push) never waits, as
/// on the consumer's thread.
///
/// If a consumer hands work to another thread and waits for it, that thread must not wait for the
/// consumer. Examples are a helper that compresses what the consumer writes, and a thread of a
/// client library that logs. Such a thread enters the domain for as long as the consumer may wait
/// for it. Its pushes into a full queue then use the bypass. If that is full, too, they return
/// [`WouldDeadlock`](crate::PushError::WouldDeadlock).
///
/// [`Consumer::domain`](crate::Consumer::domain) returns it. It may outlive its queue, and then
/// does nothing.
///
/// ```
/// use bywash::{Builder, PushError};
///
/// let (producer, mut consumer) = Builder::new(1).bypass(1).build();
/// consumer.bind();
/// let domain = consumer.domain();
/// std::thread::spawn(move || {
///     let _inside = domain.enter();
///     producer.push("in the ring").unwrap();
///     producer.push("in the bypass").unwrap();
///     assert_eq!(producer.push("no room"), Err(PushError::WouldDeadlock("no room")));
/// }).join().unwrap();
/// ```
#[derive(Clone)]
pub struct Domain {
    number: u64,
}

impl Domain {
    /// Enters the domain with the calling thread, until the guard is dropped. Guards may be nested.
    ///
    /// Never waits. It may allocate, so do not call it in a signal handler. A guard that is
    /// forgotten leaves its thread, and no other, inside.
    ///
    /// A thread that enters while 16,320 others are bound to consumers or have entered stays
    /// outside: its pushes never wait anyway, and never use the bypass.
    ///
    /// # Panics
    ///
    /// If the system has no thread-specific key left, on the first use in a process.
    #[must_use = "the thread leaves the domain when the guard is dropped: give it a name"]
    pub fn enter(&self) -> DomainGuard {
        identity::joining(|| {
            let thread = identity::register();
            if let Some(record) = records::of(thread) {
                record.enter(self.number);
            }
            DomainGuard { domain: self.clone(), thread, _not_send: PhantomData }
        })
    }
}

impl fmt::Debug for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Domain").finish_non_exhaustive()
    }
}

/// Keeps its thread in a [`Domain`], until it is dropped.
///
/// It cannot be sent to another thread:
///
/// ```compile_fail,E0277
/// fn send<T: Send>() {}
/// send::<bywash::DomainGuard>();
/// ```
#[must_use = "the thread leaves the domain when the guard is dropped: give it a name"]
pub struct DomainGuard {
    domain: Domain,
    /// The number of its thread, whose record may be another's already.
    thread: u64,
    _not_send: PhantomData<*const ()>,
}

impl Drop for DomainGuard {
    fn drop(&mut self) {
        // At its very end a thread may have given the record back already.
        if self.thread != identity::own_number() {
            return;
        }
        if let Some(record) = records::of(self.thread) {
            record.leave(self.domain.number);
        }
    }
}

impl fmt::Debug for DomainGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DomainGuard").field("domain", &self.domain).finish_non_exhaustive()
    }
}
