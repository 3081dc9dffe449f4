//! What is done with the items.

use core::any::Any;
use core::ops::ControlFlow;
use std::io;

use super::thread::quietly;

/// What a [`Listener`](crate::Listener) does with the items of its queue. A closure that takes an
/// item is one.
///
/// The listener calls all methods on its own thread, one at a time. So they can share a writer
/// without a lock, and they may push into the queue.
///
/// # Examples
///
/// ```
/// use std::io::{self, Write};
/// use std::time::Duration;
/// use bywash::{Handler, Listener};
///
/// struct Lines<W> {
///     out: W,
/// }
///
/// impl<W: Write> Handler<String> for Lines<W> {
///     fn handle(&mut self, line: String) {
///         let _ = writeln!(self.out, "{line}");
///     }
///
///     fn on_lost(&mut self, count: u64) {
///         let _ = writeln!(self.out, "{count} messages lost here");
///     }
/// }
///
/// let (log, consumer) = bywash::bounded(2);
/// (1..=5).for_each(|i| _ = log.try_push_or_count(format!("line {i}")));
/// let listener = Listener::builder().name("log").spawn(consumer, Lines { out: io::stdout() })?;
/// // line 1
/// // line 2
/// // 3 messages lost here
/// listener.stop(Duration::from_secs(10)).unwrap();
/// # std::io::Result::Ok(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not handle items of type `{T}`",
    label = "is not a handler of `{T}`",
    note = "implement `Handler<{T}>` for it, or use a closure that takes a `{T}`"
)]
pub trait Handler<T> {
    /// Handles the next item.
    fn handle(&mut self, item: T);

    /// Learns that `count` pushes were
    /// [refused and counted](crate::Producer::try_push_or_count) since the last time. Does nothing,
    /// unless you write it.
    ///
    /// The call comes where the lost items would have come: after the items that were pushed before
    /// them, and in front of those that were pushed later. As
    /// [`Consumer::take_lost`](crate::Consumer::take_lost), it tells of a run of refusals at the
    /// place of the first, and under contention the place is exact to a lap of the ring. The sum is
    /// exact: a [`flush`](crate::Listener::flush) ends after what was lost before it was reported,
    /// and the thread ends after all was.
    ///
    /// If this panics, the count was reported all the same, and [`on_panic`](Self::on_panic) is
    /// called as after a panic in [`handle`](Self::handle).
    fn on_lost(&mut self, count: u64) {
        let _ = count;
    }

    /// Writes out what the handler keeps back, such as the content of a
    /// [`BufWriter`](std::io::BufWriter). Does nothing, unless you write it.
    ///
    /// It is called
    ///
    /// * for each [`flush`](crate::Listener::flush), before that returns, and after all that was
    ///   pushed before was handled. One call may serve several flushes;
    /// * when nothing is left to handle, before the thread sleeps. So a handler need not flush
    ///   after each item: in a stream of them it is called now and then, and soon after the last
    ///   one;
    /// * at the end, before the handler is dropped, but not after the listener has given up.
    ///
    /// If it pushes into its own queue each time, the thread never rests.
    ///
    /// # Errors
    ///
    /// An error goes to the flushes that the call was for; if there were none, to the next
    /// [`flush`](crate::Listener::flush) or [`stop`](crate::Listener::stop), even if later calls
    /// succeed. The listener goes on. After a panic it asks [`on_panic`](Self::on_panic), and those
    /// who flush get an error that says so.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::{self, BufWriter, Write, stdout};
    /// use std::time::Duration;
    /// use bywash::{Handler, Listener};
    ///
    /// struct Lines<W: Write>(BufWriter<W>);
    ///
    /// impl<W: Write> Handler<String> for Lines<W> {
    ///     fn handle(&mut self, line: String) {
    ///         let _ = writeln!(self.0, "{line}");
    ///     }
    ///
    ///     fn on_flush(&mut self) -> io::Result<()> {
    ///         self.0.flush()
    ///     }
    /// }
    ///
    /// let (log, consumer) = bywash::bounded(100);
    /// let handler = Lines(BufWriter::new(stdout()));
    /// let listener = Listener::builder().name("log").spawn(consumer, handler)?;
    /// log.push("hello".to_string()).unwrap();
    /// listener.flush(Duration::from_secs(10)).unwrap(); // Written, or the disk's error.
    /// # std::io::Result::Ok(())
    /// ```
    fn on_flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Decides what to do after a panic in [`handle`](Self::handle), [`on_lost`](Self::on_lost) or
    /// [`on_flush`](Self::on_flush), given its payload. Drops the payload and goes on, unless you
    /// write it.
    ///
    /// After [`Continue`](ControlFlow::Continue) the listener goes on with the next item and the
    /// same handler, as the panic left it. After [`Break`](ControlFlow::Break), or if this panics
    /// as well, the listener gives up. It closes the queue, so that pushes get their items back,
    /// and drops what is left. It does not call the handler again: what was lost and not reported
    /// by then is never reported. (In a [`StaticQueue`](crate::StaticQueue) the next consumer gets
    /// that count.)
    ///
    /// # Examples
    ///
    /// ```
    /// use std::any::Any;
    /// use std::ops::ControlFlow;
    /// use std::time::Duration;
    /// use bywash::{Handler, Listener};
    ///
    /// struct Divider;
    ///
    /// impl Handler<i32> for Divider {
    ///     fn handle(&mut self, i: i32) {
    ///         println!("{}", 10 / i);
    ///     }
    ///
    ///     fn on_panic(&mut self, _payload: Box<dyn Any + Send>) -> ControlFlow<()> {
    ///         ControlFlow::Break(())
    ///     }
    /// }
    ///
    /// let (producer, consumer) = bywash::bounded(8);
    /// (0..4).for_each(|i| producer.push(i).unwrap());
    /// let listener = Listener::builder().name("divider").spawn(consumer, Divider)?;
    /// let error = listener.stop(Duration::from_secs(10)).unwrap_err();
    /// assert!(error.is_closed());
    /// assert_eq!(error.left(), 3);
    /// assert!(producer.push(5).unwrap_err().is_closed());
    /// # std::io::Result::Ok(())
    /// ```
    fn on_panic(&mut self, payload: Box<dyn Any + Send>) -> ControlFlow<()> {
        quietly(|| drop(payload));
        ControlFlow::Continue(())
    }
}

#[diagnostic::do_not_recommend]
impl<T, F: FnMut(T)> Handler<T> for F {
    fn handle(&mut self, item: T) {
        self(item);
    }
}
