//! A bounded lock-free MPSC queue that cannot deadlock on itself.
//!
//! That means: a push that interrupts another call of the queue never waits for that call, and a
//! push on the consumer's thread never waits for the consumer. The consumer's thread is the one
//! that last popped or called [`bind`](Consumer::bind). The queue cannot know who *will* pop: so
//! the thread that is going to calls `bind` first.
//!
//! What people ask who run it in production, by question: [in production](in_production).
//!
//! # The problem
//!
//! A log queue must be bounded, or memory runs out. So when it is full, a thread that pushes must
//! wait. But destructors, signal handlers, allocator and panic hooks push as well, on *any* thread
//! and at *any* instruction: on the thread that drains the queue, and on top of a push or pop that
//! they interrupted. With an ordinary queue, the thread that drains it then waits for room that
//! only it can make, or the handler waits for a lock or a slot that the interrupted code holds.
//!
//! # Use
//!
//! ```
//! let (producer, mut consumer) = bywash::bounded(1000);
//! producer.push("hello").unwrap();
//! assert_eq!(consumer.pop(), Ok("hello"));
//! ```
//!
//! With a thread that drains the queue:
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
//! The *consumer's thread* is the one that last popped or called [`bind`](Consumer::bind). On it,
//! [`push`](Producer::push) never waits. A thread that owns a consumer and has done neither is not
//! the consumer's thread yet: if it pushes into its own full queue, it waits for itself and hangs.
//! So call `bind` first on that thread. Moving the consumer to another thread does not make that
//! thread the consumer's. [`set_long_wait_hook`] sets a hook that says so, or what else a push
//! waits for that waits for long.
//!
//! A [`Listener`] runs a consumer on a thread of its own. Its `flush` and `stop` wait no longer
//! than the time that you give them, and its drop leaves a handler that is stuck. Its [`Handler`]
//! hears of panics, of what was lost, and of when to flush, and by a [`StopToken`] that it is being
//! stopped.
//!
//! # What may be called from where
//!
//! **Anywhere**, even in a signal handler (1) that interrupted another call on the same queue. The
//! following never wait and never allocate:
//!
//! * [`try_push`](Producer::try_push), [`try_push_within`](Producer::try_push_within),
//!   [`try_push_or_count`](Producer::try_push_or_count), [`try_push_many`](Producer::try_push_many)
//! * `len`, `bypass_len`, `capacity`, `bypassed`, `counts`, `is_empty`, `is_full`, `is_closed`,
//!   `is_consumer_gone`, `must_not_wait` and `is_consumer_thread`, of a producer or a static queue
//! * `close` of a [producer](Producer::close) or a [static queue](StaticQueue::close)
//! * [`StopToken::is_stopping`], [`StopToken::deadline`]
//! * [`try_push_and_wait`](Producer::try_push_and_wait), with one exception: it waits until the
//!   item is popped or the timeout has passed. On the consumer's thread or in its [`Domain`] (2) it
//!   does not wait.
//!
//! **Anywhere except in signal handlers**: also in destructors, panic hooks and allocator hooks,
//! even if they run in the middle of another call on the same queue:
//!
//! | call | waits | allocates |
//! |---|---|---|
//! | `push…` (3) on the consumer's thread or in its domain (2) | never: bypass, then `WouldDeadlock` | never |
//! | `push…` (3) elsewhere | for room; never if that would close a [cycle of waits](#several-queues) | never |
//! | [`close`](Consumer::close), [`StaticQueue::consumer`], cloning and dropping an end | never, but in destructors of items that are left | never; the last drop frees |
//! | [`bounded`], [`Builder::build`], [`Consumer::domain`], [`Domain::enter`] (5) | never | yes |
//! | [`Listener::len`], [`Listener::is_empty`], [`Listener::left`], [`Listener::handled`], [`Listener::counts`], [`Listener::flush_error`], [`Listener::panics`], [`Listener::domain`] (4) | never | never; the first `domain` of a queue does |
//! | [`set_long_wait_hook`] (4) | never | yes |
//! | [`StopToken::wait`] (4) | for a stop | never |
//! | [`Listener::spawn`], [`ListenerBuilder::spawn`] (4) | never | yes |
//! | [`Listener::flush`], [`Listener::stop`], dropping a [`Listener`] (4) | for the handler; never on its thread or in its domain (2), nor if the handler waits for the caller | never, but to say that a drop left a stuck handler; the last drop frees |
//!
//! **With a `&mut Consumer`**, and not in signal handlers:
//!
//! | call | waits | allocates |
//! |---|---|---|
//! | [`try_pop`](Consumer::try_pop), [`try_iter`](Consumer::try_iter), [`bind`](Consumer::bind) (5), [`unbind`](Consumer::unbind), [`recover`](Consumer::recover), `arm` | never, not for a stopped producer either | the first on a thread may |
//! | [`pop`](Consumer::pop), [`pop_timeout`](Consumer::pop_timeout), [`pop_deadline`](Consumer::pop_deadline), [`pop_or_sleep`](Consumer::pop_or_sleep), [`iter`](Consumer::iter) | for an item | the first on a thread may |
//! | [`try_pop_many`](Consumer::try_pop_many) | never | if the buffer is too small; the first on a thread may |
//! | [`pop_many`](Consumer::pop_many) | for an item | the same |
//! | [`take_lost`](Consumer::take_lost), [`visit`](Consumer::visit) | never | never |
//! | `event_fd` | never | the first in a process may |
//!
//! 1. A refused item is handed back, and the caller drops it. So in a handler, use items whose
//!    destructor does nothing. The queue must outlive the handler: use a `static`, or a `Producer`
//!    stored in one. Nothing may unwind or jump out of the handler, or the slot stays claimed. If
//!    the handler pushes from a `VecDeque`, no other code may use that `VecDeque`.
//! 2. A thread that the consumer waits for must not wait for the consumer. So it
//!    [enters](Domain::enter) the consumer's domain. [`must_not_wait`](Producer::must_not_wait)
//!    tells whether the calling thread is the consumer's thread or in its domain.
//!    [`is_consumer_thread`](Producer::is_consumer_thread) tells whether it is the consumer's
//!    thread.
//! 3. [`push`](Producer::push), [`push_timeout`](Producer::push_timeout),
//!    [`push_timeout_or_count`](Producer::push_timeout_or_count),
//!    [`push_deadline`](Producer::push_deadline), [`push_or_sleep`](Producer::push_or_sleep),
//!    [`push_many`](Producer::push_many). In a signal handler, use `try_push`. With a timeout of
//!    zero, none of them waits.
//! 4. Not in allocator hooks.
//! 5. An allocator hook may run inside it, and push before the thread is the consumer's or in the
//!    domain. A `push` there waits for no queue's consumer: it is refused. But a thread allocates
//!    before it comes so far, and then a `push` waits as on any thread: in allocator hooks, prefer
//!    `try_push`.
//!
//! # Full, bypass, refusal
//!
#![doc = concat!("<div>", include_str!("../docs/queue.svg"), "</div>")]
//!
//! When the ring is full, `try_push` hands the item back and `push` waits. On the consumer's
//! thread, or inside its [`Domain`], both put the item into the *bypass* instead: a second ring
//! that was allocated with the first. Items keep their order across both rings. When the bypass is
//! full, too, `try_push` returns [`Full`](TryPushError::Full) and `push` returns
//! [`WouldDeadlock`](PushError::WouldDeadlock), at once.
//!
//! ```
//! use bywash::{Builder, PushError};
//!
//! let (producer, mut consumer) = Builder::new(2).bypass(1).build();
//! consumer.bind();
//! for text in ["one", "two", "in the bypass"] {
//!     producer.push(text).unwrap();
//! }
//! assert_eq!(producer.push("too many"), Err(PushError::WouldDeadlock("too many")));
//! assert!(consumer.try_iter().eq(["one", "two", "in the bypass"]));
//! ```
//!
//! Count refused items, and report the count when there is room again. Do not `unwrap` in a
//! destructor. [`try_push_or_count`](Producer::try_push_or_count) is a `try_push` that counts the
//! items that were refused because there was no room, and
//! [`push_timeout_or_count`](Producer::push_timeout_or_count) waits for a while first.
//! [`take_lost`](Consumer::take_lost) tells the consumer how many items were lost before the next
//! one, so that it can write "37 messages lost here" in the right place. A [`Listener`] hands that
//! number to [`Handler::on_lost`]. [`counts`](Producer::counts) has the sums, for metrics.
//!
//! [`try_push_within(item, limit)`](Producer::try_push_within) pushes only while fewer than `limit`
//! items are in the ring, and never uses the bypass. Use it for less important items. Then debug
//! lines cannot take the room that is needed for the error that explains the crash.
//!
//! # Several queues
//!
//! Services that report to each other can wait in a cycle: the sink of a logger waits for room in a
//! metrics queue, whose consumer waits for room in the log. A `push` looks for such a cycle before
//! it sleeps. The push that would close the cycle takes the bypass of its queue. If that bypass is
//! full, it returns [`WouldDeadlock`](PushError::WouldDeadlock). The other pushes continue to wait,
//! and get their room. Mostly the push is told at once. While other threads wait for the same room,
//! it may take some milliseconds, and if one of them is stopped, about a second. A wait with a
//! deadline ends by itself, so it is not counted as part of a cycle. (Of two handlers that
//! [`flush`](Listener::flush) or [`stop`](Listener::stop) each other's listeners, one is told,
//! although both have a timeout.) A queue cannot see other kinds of waits, such as a `join`: use a
//! [`Domain`] for those. The example `two_services` shows a cycle.
//!
//! ```
//! use std::thread;
//! use bywash::{Builder, PushError};
//!
//! let (log, mut lines) = Builder::new(1).bypass(0).build();
//! let (count, mut metrics) = Builder::new(1).bypass(0).build();
//! lines.bind();
//! log.push("the log is full").unwrap();
//! count.push(1).unwrap(); // So are the metrics.
//! let metrics_thread = thread::spawn(move || {
//!     metrics.bind();
//!     // Either this push or the one below would close the circle, whichever comes second.
//!     let result = log.push("one metric");
//!     (result, metrics.pop())
//! });
//! let result = count.push(2);
//! assert_eq!(lines.pop(), Ok("the log is full"));
//! let (other_result, metric) = metrics_thread.join().unwrap();
//! assert_eq!(metric, Ok(1));
//! assert!(result == Err(PushError::WouldDeadlock(2)) || other_result.is_err());
//! ```
//!
//! # Choosing capacities
//!
//! Make the ring large enough for the largest burst that should not wait. A capacity of 1 works.
//!
//! Make the bypass large enough for what the consumer pushes while it handles a full ring of items:
//! an item in the bypass comes out after the items that were in the ring when it was pushed. By
//! default the bypass is one larger than the ring, and has at least 16 slots. That is enough for a
//! consumer that pushes at most one item when it handles an item that others pushed, and none when
//! it handles its own: its pushes are never refused. [`Builder::bypass`] says when you need more.
//!
//! ```
//! let (producer, mut consumer) = bywash::bounded(100);
//! let others_fill_the_ring = || while producer.try_push_within("of others", 100).is_ok() {};
//! others_fill_the_ring();
//! for _ in 0..1000 {
//!     let item = consumer.pop().unwrap();
//!     others_fill_the_ring();
//!     if item == "of others" {
//!         producer.push("its own").unwrap(); // Is never refused.
//!     }
//! }
//! ```
//!
//! The ring has as many slots as its capacity, rounded up to a power of two. Each slot takes the
//! size of an item plus 8 bytes. Each slot of the bypass takes the size of an item plus 16 bytes.
//! The rest of a queue takes 1 KiB. All memory is allocated, zeroed, when the queue is built. For
//! a large queue, the system provides each page only when an item is first written to it, so an
//! unused bypass costs address space, but no memory.
//!
//! # Closing
//!
//! When either end closes the queue, or the consumer is dropped, every waiting and later push gets
//! its item back. The items that are left can still be popped. Those that are not popped are
//! dropped with the consumer, each exactly once, whatever their destructors do. When a producer
//! closes the queue, or the last producer is dropped, the consumer pops the items that are left and
//! then gets `Closed`. A consumer that itself holds a producer, to log what it does, never gets
//! there: give it one that does not count, by [`downgrade`](Producer::downgrade).
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
//! [`Listener::stop`] closes the queue and waits, for a limited time, until everything has been
//! handled.
//!
//! # Statics and signals
//!
//! A [`StaticQueue`] lives in a `static` and needs no allocator. Code pushes into it directly, and
//! claims a [`Consumer`] from it. There is only one consumer at a time. A static queue has no last
//! producer to drop, so a loop over its items ends only when a thread that pushes
//! [closes](StaticQueue::close) the queue, or the consumer does.
//!
//! With the crate `libc` as a dependency:
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
//! A crash handler needs its last message to be written before the process ends.
//! [`try_push_and_wait(item, timeout)`](Producer::try_push_and_wait) pushes the item and waits
//! until the consumer has taken it, but not much longer than the timeout. It does nothing that is
//! forbidden in a signal handler. On the consumer's thread or in its domain, where the wait could
//! never end, it returns `false` at once.
//!
//! # Bare metal
//!
//! An interrupt is a signal handler: it pushes into a [`StaticQueue`] on top of whatever it
//! interrupted, and the main loop pops. On processors with 64-bit atomics that needs nothing more
//! than `default-features = false`.
//!
//! On others, such as Cortex-M, the feature `unsafe-assume-single-core` builds each atomic
//! operation of the queue out of ordinary ones, with interrupts masked for their few instructions.
//! A push then still waits for nothing, and an interrupt of higher priority may push in the middle
//! of it. It is that feature of the crate `portable-atomic`. Without it the crate does not compile
//! there: the atomics that `portable-atomic` offers otherwise take a spinning lock, and an
//! interrupt on top of the code that holds the lock would spin forever. As in that crate, the
//! feature is **unsound** unless all of this holds:
//!
//! * The processor has one core, and nothing else, such as DMA, writes the queue.
//! * All code that uses the queue may mask interrupts. On Cortex-M it runs privileged: otherwise
//!   the instruction that masks does nothing, and reports nothing.
//! * What masking does not mask uses no queue at all, neither to push nor to look: on Cortex-M, the
//!   handlers of NMI and of HardFault, and other faults that become a HardFault while interrupts
//!   are masked.
//!
//! A `StaticQueue<u32, 8, 0>` has 296 bytes on Cortex-M3. Optimised for size, a push takes about
//! 200 bytes of code and a pop 1300. Nothing is padded to cache lines there, and nothing spins.
//! `examples/cortex_m` in the repository runs in QEMU: a million pushes of one interrupt on top of
//! those of another.
//!
//! # Windows
//!
//! Windows has no signals. What runs on top of other code there, or in its place:
//!
//! * **Exception handlers**, vectored ones and the filter of unhandled exceptions, run on the
//!   thread that failed, at the instruction that failed. They may do what signal handlers may:
//!   `try_push…` and the other calls that may be made anywhere. These leave the thread's last error
//!   alone. The example `crash_reporter` has such a filter. A program that aborts, also by a panic
//!   that cannot unwind, ends on Windows without asking any handler.
//! * **Console control handlers** run on a thread that Windows starts for them. There, everything
//!   may be called. But when a console is closed, Windows ends the process after some seconds,
//!   whatever the handler waits for: give [`Listener::stop`] less time.
//! * **`DllMain`**, and all that runs under the loader's lock, may push with `try_push…`.
//!   [`Listener::spawn`] hangs there: it waits for its thread, which cannot begin without that
//!   lock. [`Listener::flush`], [`Listener::stop`] and dropping a listener wait for a handler that
//!   may need the lock. When the process ends, the listener's thread is gone before `DllMain` is
//!   called, so a stop there waits in vain, and a drop for ten seconds. Stop listeners before.
//!
//! To wake a thread that sleeps, a push calls `WakeByAddressSingle`, and Windows promises nothing
//! about calling that in a handler. None of its calls raises an exception, so no handler runs in
//! the middle of one, except where the stack overflows or a debugger moves the thread.
//!
//! # Forked children
//!
//! When a process with several threads forks, the child gets a copy of the queue, but only one
//! thread: the one that called `fork`. If the consumer's thread stayed in the parent, a `push` in
//! the child that would sleep returns [`WouldDeadlock`](PushError::WouldDeadlock) instead.
//! [`Listener::flush`], [`Listener::stop`] and dropping a [`Listener`] end at once, with
//! [`Forked`](ListenerErrorKind::Forked), and nothing is handled twice. If the consumer's thread is
//! the one that forked, its copy in the child goes on as the consumer there. If the consumer had no
//! thread, because it was never bound or was [unbound](Consumer::unbind), a thread of the child may
//! yet become its thread. So a `push` waits for that: use `try_push` or a timeout there. An [event
//! descriptor](#event-loops) stays with the parent: the child asks for another one.
//!
//! A push that finds room in the child is accepted, although nobody is there to pop it. A producer
//! asks [`is_consumer_gone`](Producer::is_consumer_gone) where that matters: a program that becomes
//! a daemon starts its logger afterwards, or asks.
//!
//! The slots that other threads had claimed stay claimed in the child, and in time its ring fills
//! up. [`Consumer::recover`] makes those slots usable again. It also repairs a queue after a thread
//! was cancelled in the middle of a push, or after code jumped out of a signal handler. If the
//! consumer itself stayed in the parent, [`Producer::reclaim_consumer`] and
//! [`StaticQueue::reclaim_consumer`] give the child one.
//!
//! # Threads that are ended
//!
//! A thread that ends in the ordinary way leaves its consumer without a thread, for the next one
//! that binds it. A thread that the system ends without unwinding, by `SYS_exit` or a filter, drops
//! nothing. On Linux, what waits for it is told as in a child whose parent has the thread: a `push`
//! is refused, the [`Listener`]'s waits end, and `reclaim_consumer` is the way back. (The system
//! may give the id of a thread that has ended to another one. Then nobody can tell.) If such a
//! thread was in a [`Domain`] and waited in a push, it counts as waiting for good: a push that
//! would wait for it is refused.
//!
//! At most 16,320 threads of a process can be bound or in a domain at the same time. On a thread
//! that comes when there are as many, `push` never waits: where it would have to, it is refused.
//!
//! # Event loops
//!
//! With the feature `eventfd`, on Linux, `Consumer::event_fd` is a descriptor for `poll`, `epoll`
//! or tokio's `AsyncFd`. Call `bind` when the loop begins. Then pop until the queue is empty, and
//! call `Consumer::arm`. If it returns `true`, there is nothing to pop, and the descriptor becomes
//! readable with the next push or close: wait for that. If it returns `false`, pop again. While the
//! consumer is not armed, pushes cost nothing more. On other systems, give the consumer a thread of
//! its own.
//!
//! Other code that runs on the loop's thread may push, too. That is why the loop calls `bind`
//! first: before that, a `push` there into the full queue waits for the loop, and hangs.
//!
//! A multi-threaded executor moves a task between its worker threads, but the consumer's thread is
//! the worker that popped last. If the task awaits and stays bound to that worker, other tasks
//! there push into the bypass, and get `WouldDeadlock` when it is full, although they could wait
//! safely. So a task calls [`unbind`](Consumer::unbind) before it awaits, as in the example
//! `tokio_workers`. When it continues, perhaps on another worker, it must call `bind` or pop before
//! it pushes into its own queue. Otherwise that push may wait for its own task, and hang. On an
//! executor with one thread, stay bound: no task there may wait for the consumer. In any task,
//! prefer `try_push`: a `push` that waits blocks its worker.
//!
//! # Language runtimes
//!
//! A runtime with a global lock, signals of its own and a garbage collector that runs finalisers
//! anywhere waits with [`push_or_sleep`](Producer::push_or_sleep) and
//! [`pop_or_sleep`](Consumer::pop_or_sleep). See [Embedding in a language runtime](embedding), and
//! the example `python`.
//!
//! # Performance
//!
#![doc = concat!("<div>", include_str!("../docs/slot.svg"), "</div>")]
//!
//! A push into a ring that is not full takes one locked instruction, and no fence, access to a
//! thread-local or system call. A pop from a ring that is not empty has no locked instruction.
//! Pushing or popping many items at a time pays that cost once for all of them:
//!
//! ```
//! let (producer, mut consumer) = bywash::bounded(8);
//! producer.push_many(&mut (0..6).collect()).unwrap(); // One claim for all six.
//! let mut batch = Vec::new();
//! assert_eq!(consumer.pop_many(&mut batch, 100), Ok(6)); // Frees their room at once.
//! assert_eq!(batch, [0, 1, 2, 3, 4, 5]);
//! ```
//!
//! A thread that must wait spins or yields for a moment, and then sleeps. It learns for how long
//! that pays. A wake-up costs something only if a thread sleeps. On Linux, the thread sleeps on a
//! futex, on Windows with `WaitOnAddress`. On other systems it polls: it naps, and looks again. In
//! a clone of the repository, `cargo bench` measures the queue on your machine, next to others.
//!
//! How late a thread wakes that has waited:
//!
//! | system | late by |
//! |---|---|
//! | Linux | what the scheduler takes; where a sandbox forbids `futex`, 0.1 ms |
//! | Windows | what the scheduler takes |
//! | macOS, the BSDs and other Unixes | a quarter of the time that it has waited, 32 ms at most, and what the system adds to a sleep |
//! | `wasm32-unknown-unknown` | it cannot [wait](#features) |
//!
//! A thread that naps wakes about 40 times in the first eighth of a second, and then 30 times a
//! second. (That was measured on Linux, with `--cfg bywash_portable`. What other systems add was
//! not.)
//!
//! A thread that waits pauses and looks, each time for twice as long, until that has cost about as
//! much as a wake-up, some ten microseconds; then it sleeps. A consumer that has popped fewer than
//! two items since its last wait looks at once, because somebody may wait for an answer. In a
//! stream, its first look comes after one or two microseconds, so that a batch builds up: to look
//! more often delays the producers. If the last sleep was long, a thread sleeps again almost at
//! once.
//!
//! # Guarantees and their checks
//!
//! * Every accepted item is popped exactly once, or dropped with the consumer.
//! * If one push returned before another began, its item is popped first, whether the two went
//!   through the ring or the bypass.
//! * The bound is exact, for any capacity.
//! * If a producer is stopped in the middle of a push, by a debugger or a handler that never
//!   returns, it hides only its own item: the consumer pops the others ahead of it. While it is
//!   stopped, its slot and those behind it are not used again.
//! * No wake-up is lost, and closing leaves no thread asleep.
//!
//! The file [`tests/README.md`] in the repository says how each of these is checked: models of
//! every schedule, tests that interrupt one operation at every machine instruction to run another,
//! signal storms, recorded histories and fuzzing. It also says what is not checked.
//!
//! # Prior art
//!
//! The ring is related to Dmitry Vyukov's bounded MPMC queue, whose slots also carry the index that
//! they are published for. In the ring buffer of Linux's `printk`, too, a record is reserved, then
//! finished; its readers stop at one that is not finished (but for a processor that panics), and a
//! consumer here skips it. Threads sleep on an eventcount, after Vyukov and
//! folly's `EventCount`. The fast paths have no fences: the thread that falls asleep pays for them,
//! as with the asymmetric fences of folly and liburcu (`membarrier`). The ends have the names that
//! they have in `rtrb` and `heapless`. The `push` of `rtrb` and of `concurrent-queue` never waits:
//! that is `try_push` here.
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
//! | [`len`](Producer::len), [`capacity`](Producer::capacity) | – | `len`, `capacity` | `qsize`, `maxsize` |
//! | [`is_empty`](Producer::is_empty), [`is_full`](Producer::is_full) | – | `is_empty`, `is_full` | `empty`, `full` |
//! | [`Consumer::close`] | dropping the `Receiver` | dropping the last `Receiver` | – |
//! | [`close`](Producer::close) | – | – | `shutdown` |
//! | dropping the last [`Producer`] | dropping the last `SyncSender` | dropping the last `Sender` | – |
//! | [`Listener::flush`] | – | – | `join`, with `task_done` |
//!
//! and the errors:
//!
//! | bywash | `std::sync::mpsc` | `crossbeam-channel` | Python's `queue` |
//! |---|---|---|---|
//! | [`TryPushError::Full`] | `TrySendError::Full` | `TrySendError::Full` | `Full` |
//! | [`TryPushError::Closed`] | `TrySendError::Disconnected` | `TrySendError::Disconnected` | `ShutDown` |
//! | [`PushError::Closed`] | `SendError` | `SendError` | `ShutDown` |
//! | [`PushError::WouldDeadlock`] | – (hangs) | – (hangs) | – (hangs) |
//! | [`PushTimeoutError::Timeout`] | – | `SendTimeoutError::Timeout` | `Full` |
//! | [`PushTimeoutError::Closed`] | – | `SendTimeoutError::Disconnected` | `ShutDown` |
//! | [`TryPopError::Empty`] | `TryRecvError::Empty` | `TryRecvError::Empty` | `Empty` |
//! | [`TryPopError::Closed`] | `TryRecvError::Disconnected` | `TryRecvError::Disconnected` | `ShutDown` |
//! | [`PopError`] | `RecvError` | `RecvError` | `ShutDown` |
//! | [`PopTimeoutError::Timeout`] | `RecvTimeoutError::Timeout` | `RecvTimeoutError::Timeout` | `Empty` |
//! | [`PopTimeoutError::Closed`] | `RecvTimeoutError::Disconnected` | `RecvTimeoutError::Disconnected` | `ShutDown` |
//!
//! What differs: there is one consumer, its methods take `&mut`, and it binds to its thread. A
//! capacity of 0 panics. There is no `select`; see [event loops](#event-loops). Replace an
//! unbounded queue (`channel`, `unbounded`, `SimpleQueue`) with one that is large enough for the
//! largest burst, and decide what happens to refused items.
//!
//! # Features
//!
//! * `std` (default): everything except the descriptor for event loops.
//! * `eventfd`: that descriptor, on Linux.
//! * `alloc` alone: [`bounded`] and [`Builder`], with the methods that never wait: `try_push` and
//!   `try_pop`, the same for many items, `try_iter`, `close` and the counters.
//! * none of these: [`StaticQueue`], in `no_std` and without an allocator, with the same methods
//!   except those for many items.
//! * `unsafe-assume-single-core`: with none of the others, on targets without 64-bit atomics; see
//!   [bare metal](#bare-metal). Elsewhere it does nothing.
//!
//! Binding, sleeping and telling threads apart need `std`. Without it, the bypass is not used.
//!
//! On `wasm32-unknown-unknown`, which has neither threads nor a clock, a call that would have to
//! wait panics and says so: `push` into a full queue, `pop` from an empty one, and both with a
//! timeout. A timeout of zero asks no clock, so such calls work, as does all that never waits. A
//! `Listener` cannot be started: `spawn` returns the system's error.
//!
//! [`tests/README.md`]: https://docs.rs/crate/bywash/latest/source/tests/README.md
#![cfg_attr(not(feature = "std"), no_std)]
#![cfg_attr(bywash_docs, feature(doc_cfg))]
// A model has no listener and no static queue.
#![cfg_attr(bywash_loom, allow(dead_code, unreachable_pub, unused_imports))]

#[cfg(all(doctest, feature = "std"))]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(all(any(doc, doctest), feature = "std"))]
#[doc = include_str!("../docs/embedding.md")]
pub mod embedding {}

#[cfg(all(any(doc, doctest), feature = "std"))]
#[doc = include_str!("../docs/in_production.md")]
pub mod in_production {}

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
