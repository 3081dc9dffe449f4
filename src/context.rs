//! Who is the consumer? Asked by a push that finds the ring full, maybe in a signal handler.
//!
//! * **I1** Every thread that was ever bound or entered a domain has a number of its own, given out
//!   once in normal code and never again (on 32 bits: not before 2^32 such threads). So a thread
//!   that comes later, at the same address, is nobody; and a guard that was forgotten names nobody
//!   else.
//! * **I2** A handler reads the number with `pthread_getspecific`, which neither allocates nor
//!   locks, also where this crate is in a library that was loaded at run time. (POSIX does not list
//!   it for handlers; glibc, musl and the BSDs read an array.) A thread-local would be allocated
//!   when a thread first touches it, in such a library, maybe inside the handler. It has no
//!   destructor there, which an unloaded library would leave behind; so at the very end of a
//!   thread, while its specific data is being destroyed, it may be nobody already. Before a push
//!   waits, it asks the thread-local too.
//! * **I3** What is read first is cheaper: the thread pointer, which tells all threads apart that
//!   live at the same time. Only where it is the bound thread's, or where a domain is in use, is
//!   the number asked for.
//! * **I4** A pop compares the number on every call, so it reads a thread-local of its own; no
//!   handler does.
//!
//! The domain of a consumer is a list of numbers. It only grows, so a handler on any thread may
//! walk it at any instruction; places that were left are used again.
//!
//! All accesses are `Relaxed` but those that publish a pointer. What matters is what a thread reads
//! of its own binding and of its own guards, and that is ordered by program order.

use alloc::boxed::Box;
use core::fmt;
use core::marker::PhantomData;
use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

// Not the facade's: what is here orders nothing else, and is no part of the models.
use alloc::sync::Arc;

/// The threads on which waiting for the consumer would be waiting for oneself.
#[derive(Debug)]
pub(crate) struct Context {
    /// The consumer's thread: first what tells most other threads apart, then what tells all.
    token: AtomicUsize,
    consumer: AtomicUsize,
    /// Null until a domain is asked for.
    members: AtomicPtr<Members>,
}

impl Context {
    pub(crate) const fn new() -> Self {
        Self {
            token: AtomicUsize::new(0),
            consumer: AtomicUsize::new(0),
            members: AtomicPtr::new(ptr::null_mut()),
        }
    }

    /// Makes the calling thread the consumer's, and returns its number.
    #[cold]
    pub(crate) fn bind(&self) -> usize {
        let id = thread::enroll();
        self.token.store(thread::token(), Ordering::Relaxed);
        self.consumer.store(id, Ordering::Relaxed);
        id
    }

    /// Leaves the consumer without a thread.
    pub(crate) fn unbind(&self) {
        self.consumer.store(0, Ordering::Relaxed);
        self.token.store(0, Ordering::Relaxed);
    }

    /// Whether it is worth asking for the number: `false` is `false`.
    #[inline]
    pub(crate) fn may_be_inside(&self) -> bool {
        self.token.load(Ordering::Relaxed) == thread::token()
            || !self.members.load(Ordering::Relaxed).is_null()
    }

    /// Whether the calling thread is the consumer's, or in its domain. For signal handlers too.
    pub(crate) fn is_inside(&self) -> bool {
        self.may_be_inside() && self.is_one_of_us(thread::number())
    }

    /// As [`is_inside`](Self::is_inside), and right to the very end of a thread. Not for signal
    /// handlers.
    pub(crate) fn is_inside_for_sure(&self) -> bool {
        self.is_one_of_us(own_number())
    }

    fn is_one_of_us(&self, number: usize) -> bool {
        // SAFETY: null or a list, which is not dropped before the context.
        let members = unsafe { self.members.load(Ordering::Acquire).as_ref() };
        let is_number = |member: &Member| member.thread.load(Ordering::Relaxed) == number;
        number != 0
            && (self.consumer.load(Ordering::Relaxed) == number
                || members.is_some_and(|members| members.iter().any(is_number)))
    }

    /// The consumer's domain.
    pub(crate) fn domain(&self) -> Domain {
        let mut members = self.members.load(Ordering::Acquire);
        if members.is_null() {
            let new = Arc::into_raw(Arc::<Members>::default()).cast_mut();
            // There is one consumer, but what allocates may come here again.
            members = match self.members.compare_exchange(
                members,
                new,
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) => new,
                Err(now) => {
                    // SAFETY: from `into_raw`, and seen by nobody.
                    drop(unsafe { Arc::from_raw(new) });
                    now
                }
            };
        }
        // SAFETY: from `into_raw`, and this context holds one count until it is dropped.
        unsafe { Arc::increment_strong_count(members) };
        // SAFETY: the count is the one just added.
        Domain { members: unsafe { Arc::from_raw(members) } }
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        let members = *self.members.get_mut();
        if !members.is_null() {
            // SAFETY: from `into_raw`; the count is this context's.
            drop(unsafe { Arc::from_raw(members) });
        }
    }
}

/// A list that only grows, so that a handler can walk it at any instruction. Places are used again.
#[derive(Default)]
struct Members {
    first: AtomicPtr<Member>,
}

/// The place of one guard: the number of its thread, or 0.
struct Member {
    thread: AtomicUsize,
    next: *const Member,
}

// SAFETY: members are atomic, but for `next`, which is written before a member is shared.
unsafe impl Send for Members {}
// SAFETY: as for `Send`.
unsafe impl Sync for Members {}

impl Members {
    fn iter(&self) -> impl Iterator<Item = &Member> {
        let mut next = self.first.load(Ordering::Acquire).cast_const();
        core::iter::from_fn(move || {
            // SAFETY: null or a member, and members are freed only with the list.
            let member = unsafe { next.as_ref() }?;
            next = member.next;
            Some(member)
        })
    }

    /// Enters the thread of `number`, in a place that was left or a new one.
    fn enter(&self, number: usize) -> &Member {
        let enter = |member: &&Member| {
            member.thread.compare_exchange(0, number, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        };
        if let Some(member) = self.iter().find(enter) {
            return member;
        }
        let new =
            Box::into_raw(Box::new(Member { thread: AtomicUsize::new(number), next: ptr::null() }));
        let mut first = self.first.load(Ordering::Relaxed);
        loop {
            // SAFETY: nobody else sees it before it is in the list.
            unsafe { (*new).next = first };
            match self.first.compare_exchange_weak(first, new, Ordering::Release, Ordering::Relaxed)
            {
                // SAFETY: members are freed only with the list.
                Ok(_) => return unsafe { &*new },
                Err(now) => first = now,
            }
        }
    }
}

impl Drop for Members {
    fn drop(&mut self) {
        let mut next = *self.first.get_mut();
        while !next.is_null() {
            // SAFETY: from `Box::into_raw`; nobody else has the list any more.
            let member = unsafe { Box::from_raw(next) };
            next = member.next.cast_mut();
        }
    }
}

/// The threads that a consumer depends on: a `push` from inside refuses to wait, as it does on the
/// consumer's thread.
///
/// A consumer that hands work to other threads and waits for them must not be waited for by those
/// threads: a helper that compresses what the consumer writes, or a client library's own thread
/// that logs. Such a thread enters the domain for as long as the consumer may wait for it; its
/// pushes into a full queue then take the bypass, and with the bypass full return
/// [`WouldDeadlock`](crate::PushError::WouldDeadlock).
///
/// From [`Consumer::domain`](crate::Consumer::domain). It may outlive its queue, and then does
/// nothing.
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
///     producer.push("beside it").unwrap();
///     assert_eq!(producer.push("no room"), Err(PushError::WouldDeadlock("no room")));
/// }).join().unwrap();
/// ```
#[derive(Clone)]
pub struct Domain {
    members: Arc<Members>,
}

impl Domain {
    /// Enters the domain with the calling thread, until the guard is dropped. May be nested.
    ///
    /// Never waits. May allocate, so it is not for signal handlers. A guard that is forgotten
    /// leaves its thread, and no other, inside.
    ///
    /// # Panics
    ///
    /// Where the system has no thread-specific key left, on the first use in a process.
    #[must_use = "the thread leaves the domain when the guard is dropped: give it a name"]
    pub fn enter(&self) -> DomainGuard {
        let member = ptr::from_ref(self.members.enter(thread::enroll()));
        DomainGuard { domain: self.clone(), member, _not_send: PhantomData }
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
pub struct DomainGuard {
    domain: Domain,
    member: *const Member,
    _not_send: PhantomData<*const ()>,
}

impl Drop for DomainGuard {
    fn drop(&mut self) {
        // SAFETY: a member of the list that `domain` keeps.
        let member = unsafe { &*self.member };
        member.thread.store(0, Ordering::Relaxed);
    }
}

impl fmt::Debug for DomainGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DomainGuard").field("domain", &self.domain).finish_non_exhaustive()
    }
}

pub(crate) use thread::own_number;

/// Who is the calling thread?
mod thread {
    use core::cell::Cell;
    use core::sync::atomic::{AtomicUsize, Ordering};

    #[cfg(not(loom))]
    std::thread_local! {
        static NUMBER: Cell<usize> = const { Cell::new(0) };
    }
    #[cfg(loom)]
    loom::thread_local! {
        static NUMBER: Cell<usize> = Cell::new(0);
    }

    /// The number of the calling thread, or 0 where it has none. Not for signal handlers: the
    /// thread-local of a library that was loaded at run time is allocated when a thread first comes
    /// here.
    #[inline]
    pub(crate) fn own_number() -> usize {
        NUMBER.with(Cell::get)
    }

    /// The number of the calling thread, which no other thread has had or will have. Gives one to a
    /// thread without.
    pub(super) fn enroll() -> usize {
        static LAST: AtomicUsize = AtomicUsize::new(0);
        if NUMBER.with(Cell::get) == 0 {
            let number = LAST.fetch_add(1, Ordering::Relaxed) + 1;
            handler::set(number);
            NUMBER.with(|own| own.set(number));
        }
        NUMBER.with(Cell::get)
    }

    pub(super) use handler::{number, token};

    /// Where signal handlers can read it.
    #[cfg(all(unix, not(loom), not(bywash_portable)))]
    mod handler {
        use core::ptr;
        use core::sync::atomic::{AtomicUsize, Ordering};

        /// The thread-specific key, plus one.
        static KEY: AtomicUsize = AtomicUsize::new(0);

        /// The number of the calling thread, or 0 where it has none.
        pub(crate) fn number() -> usize {
            let key = KEY.load(Ordering::Acquire);
            if key == 0 {
                return 0;
            }
            // SAFETY: keys are never deleted once they are in `KEY`.
            unsafe { libc::pthread_getspecific((key - 1) as libc::pthread_key_t) }.addr()
        }

        pub(crate) fn set(number: usize) {
            // SAFETY: as in `number`.
            let error =
                unsafe { libc::pthread_setspecific(key(), ptr::without_provenance(number)) };
            assert_eq!(error, 0, "bywash: no memory for thread-specific data");
        }

        fn key() -> libc::pthread_key_t {
            if KEY.load(Ordering::Acquire) == 0 {
                let mut key = 0;
                // SAFETY: the address is valid, and there is no destructor.
                let error = unsafe { libc::pthread_key_create(&mut key, None) };
                assert_eq!(error, 0, "bywash: no thread-specific key left");
                let new = key as usize + 1;
                if KEY.compare_exchange(0, new, Ordering::AcqRel, Ordering::Acquire).is_err() {
                    // SAFETY: just created, and seen by nobody.
                    unsafe { libc::pthread_key_delete(key) };
                }
            }
            (KEY.load(Ordering::Acquire) - 1) as libc::pthread_key_t
        }

        /// A number that no two threads have at the same time. A thread may have that of one that
        /// has ended.
        #[inline]
        pub(crate) fn token() -> usize {
            #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
            {
                let token;
                // SAFETY: the ABI of thread-local storage has the thread pointer at its own
                // address.
                unsafe {
                    core::arch::asm!("mov {}, fs:[0]", out(reg) token, options(nostack, preserves_flags, readonly))
                };
                token
            }
            #[cfg(all(target_arch = "aarch64", target_os = "linux"))]
            {
                let token;
                // SAFETY: the thread pointer may always be read.
                unsafe {
                    core::arch::asm!("mrs {}, tpidr_el0", out(reg) token, options(nostack, preserves_flags, nomem))
                };
                token
            }
            #[cfg(not(all(
                any(target_arch = "x86_64", target_arch = "aarch64"),
                target_os = "linux"
            )))]
            {
                // SAFETY: it has no preconditions.
                unsafe { libc::pthread_self() as usize }
            }
        }
    }

    /// Where it is not known what a handler may read: the thread-local.
    #[cfg(any(not(unix), loom, bywash_portable))]
    mod handler {
        pub(crate) use super::own_number as number;

        pub(crate) fn set(_number: usize) {}

        /// No other way to tell threads apart.
        pub(crate) fn token() -> usize {
            0
        }
    }
}
