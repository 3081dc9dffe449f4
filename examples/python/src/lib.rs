//! `bywash.Queue`, a bounded queue for CPython, to be used where `queue.Queue` is: see `help(bywash)`
//! and, for what embedding the crate takes, its documentation, "Embedding in a language runtime".
//!
//! Two rules keep it whole, whatever Python code runs in the middle of a call:
//!
//! * *Items move while this thread has the interpreter's lock (the GIL), and the thread lets go of
//!   it only to sleep.* A fork takes the GIL, too. So a child finds each item in the queue or out
//!   of it, and no push or pop half done.
//! * *Python code runs only between calls of the crate, when nothing is taken or borrowed.* It may
//!   run wherever a reference is dropped or signals are looked at, and may put, get, fork and raise.

mod reader;
mod refusals;

use std::time::{Duration, Instant};

use bywash::{
    Builder, Domain, PopTimeoutError, Producer, PushTimeoutError, TryPopError, TryPushError,
};
use pyo3::exceptions::{PyAttributeError, PyMemoryError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyTuple};
use pyo3::{PyTraverseError, PyVisit};

use reader::Reader;
use refusals::{Empty, Full, WouldDeadlock, closed};

type Item = Py<PyAny>;

/// A bounded queue that cannot deadlock on itself: a put in a finaliser, weakref callback or signal
/// handler may interrupt any other call of the same queue, on any thread.
///
/// The thread that last called get or bind is the reader's thread. A put there never waits. If the
/// queue is full, its item goes into the bypass, a second buffer, and comes out in order. With the
/// bypass full, too, put raises WouldDeadlock, a subclass of queue.Full that says why. A put of
/// another thread waits for room, but not if the wait could never end.
///
/// The bypass has one place more than the queue, and 16 at least, unless you say otherwise.
#[pyclass(frozen, weakref, module = "bywash")]
struct Queue {
    producer: Producer<Item>,
    reader: Reader,
    domain: Domain,
}

/// How long a call waits.
#[derive(Clone, Copy)]
enum Patience {
    None,
    Until(Option<Instant>),
}

/// Any object, as an `if` understands it.
struct Truth(bool);

impl<'py> FromPyObject<'_, 'py> for Truth {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        object.is_truthy().map(Self)
    }
}

#[pymethods]
impl Queue {
    #[new]
    #[pyo3(signature = (maxsize = 0, *, bypass = None))]
    fn new(maxsize: isize, bypass: Option<usize>) -> PyResult<Self> {
        let capacity = usize::try_from(maxsize).unwrap_or(0);
        if capacity == 0 {
            let words = "bywash.Queue has a bound: maxsize must be 1 or more";
            return Err(PyValueError::new_err(words));
        }
        let mut builder = Builder::new(capacity);
        if let Some(slots) = bypass {
            builder = builder.bypass(slots);
        }
        let Ok((producer, consumer)) = std::panic::catch_unwind(|| builder.build()) else {
            return Err(PyMemoryError::new_err("no memory for so many places"));
        };
        let domain = consumer.domain();
        Ok(Self { producer, reader: Reader::new(consumer), domain })
    }

    /// Puts an item in. If there is no room, waits for it, as long as timeout says, and raises
    /// queue.Full in the end.
    ///
    /// Raises WouldDeadlock at once if the wait could never end, and Closed after close.
    #[pyo3(signature = (item, block = Truth(true), timeout = None))]
    fn put(
        &self,
        py: Python<'_>,
        item: Item,
        block: Truth,
        timeout: Option<Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let patience = Patience::new(block, timeout)?;
        match self.producer.try_push(item) {
            Ok(()) => Ok(()),
            Err(TryPushError::Closed(_)) => Err(closed(py)),
            Err(TryPushError::Full(item)) => self.put_waiting(py, item, patience),
        }
    }

    /// As put(item, block=False): never waits.
    fn put_nowait(&self, py: Python<'_>, item: Item) -> PyResult<()> {
        match self.producer.try_push(item) {
            Ok(()) => Ok(()),
            Err(TryPushError::Closed(_)) => Err(closed(py)),
            Err(TryPushError::Full(_)) => Err(self.no_room()),
        }
    }

    /// Takes the next item out, and makes this thread the reader's. If there is none, waits for it,
    /// as long as timeout says, and raises queue.Empty in the end. Raises Closed if the queue is
    /// closed and empty.
    ///
    /// One thread may read at a time: while a thread waits here, others get a RuntimeError.
    #[pyo3(signature = (block = Truth(true), timeout = None))]
    fn get(
        &self,
        py: Python<'_>,
        block: Truth,
        timeout: Option<Bound<'_, PyAny>>,
    ) -> PyResult<Item> {
        let patience = Patience::new(block, timeout)?;
        self.take(py, patience)
    }

    /// As get(block=False): never waits.
    fn get_nowait(&self, py: Python<'_>) -> PyResult<Item> {
        self.take(py, Patience::None)
    }

    /// Makes this thread the reader's, before its first get.
    fn bind(&self) -> PyResult<()> {
        self.reader.take()?.bind();
        Ok(())
    }

    /// Calls the function. Meanwhile a put of this thread never waits, as on the reader's thread:
    /// for threads that the reader waits for, in a join for example.
    #[pyo3(signature = (function, *args, **kwargs))]
    fn inside(
        &self,
        function: Bound<'_, PyAny>,
        args: Bound<'_, PyTuple>,
        kwargs: Option<Bound<'_, PyDict>>,
    ) -> PyResult<Item> {
        let _guard = self.domain.enter();
        function.call(args, kwargs.as_ref()).map(Bound::unbind)
    }

    /// Refuses every put from now on, and wakes all who wait, on both ends. What is in the queue
    /// can still be taken out.
    fn close(&self) {
        self.producer.close();
    }

    /// How many items are in the queue, with those in the bypass.
    fn qsize(&self) -> usize {
        self.producer.len() + self.producer.bypass_len()
    }

    /// Whether nothing is in the queue.
    fn empty(&self) -> bool {
        self.producer.is_empty()
    }

    /// Whether a put would have to wait, or to take the bypass.
    fn full(&self) -> bool {
        self.producer.is_full()
    }

    /// How many items the queue holds, beside its bypass.
    #[getter]
    fn maxsize(&self) -> usize {
        self.producer.capacity()
    }

    /// For the garbage collector. While a thread waits with the reader, the queue is in use, and is
    /// no garbage.
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        let mut result = Ok(());
        if let Some(mut reader) = self.reader.try_take() {
            reader.visit(|item| {
                if result.is_ok() {
                    result = visit.call(item);
                }
            });
        }
        result
    }

    fn __clear__(&self) {
        for _ in 0..self.qsize() {
            // The item is dropped when the reader has been given back.
            let _item = self.reader.try_take().and_then(|mut reader| reader.try_pop().ok());
        }
    }

    // What `queue.Queue` has and this does not, in words. `hasattr` says that it is not there. (A
    // `__getattr__` would make every access of a method slower.)

    #[getter]
    fn task_done(&self) -> PyResult<Item> {
        Err(missing("task_done", "it counts no unfinished tasks"))
    }

    #[getter]
    fn join(&self) -> PyResult<Item> {
        let instead = "it counts no unfinished tasks: close it, and join the thread that reads";
        Err(missing("join", instead))
    }

    #[getter]
    fn shutdown(&self) -> PyResult<Item> {
        Err(missing("shutdown", "it is called close"))
    }

    fn __repr__(&self) -> String {
        let Self { producer, .. } = self;
        let closed = if producer.is_closed() { ", closed" } else { "" };
        format!("<bywash.Queue, {} of {}{closed}>", producer.len(), producer.capacity())
    }
}

impl Queue {
    fn put_waiting(&self, py: Python<'_>, mut item: Item, patience: Patience) -> PyResult<()> {
        let Patience::Until(deadline) = patience else {
            return Err(self.no_room());
        };
        loop {
            if is_finalizing(py)? {
                return Err(WouldDeadlock::new_err("the interpreter ends, so no thread will read"));
            }
            match self.producer.push_or_sleep(item, deadline, |sleep| py.detach(sleep)) {
                Ok(()) => return Ok(()),
                Err(PushTimeoutError::Closed(_)) => return Err(closed(py)),
                Err(PushTimeoutError::WouldDeadlock(_)) => return Err(self.would_deadlock()),
                Err(PushTimeoutError::Timeout(back)) => item = back,
            }
            if patience.is_over() {
                return Err(Full::new_err(()));
            }
            py.check_signals()?;
        }
    }

    fn take(&self, py: Python<'_>, patience: Patience) -> PyResult<Item> {
        loop {
            let mut reader = self.reader.take()?;
            let result = match patience {
                Patience::None => reader.try_pop().map_err(|error| match error {
                    TryPopError::Closed => PopTimeoutError::Closed,
                    TryPopError::Empty => PopTimeoutError::Timeout,
                }),
                Patience::Until(deadline) => {
                    reader.pop_or_sleep(deadline, |sleep| py.detach(sleep))
                }
            };
            drop(reader);
            match result {
                Ok(item) => return Ok(item),
                Err(PopTimeoutError::Closed) => return Err(closed(py)),
                Err(PopTimeoutError::Timeout) if patience.is_over() => {
                    return Err(Empty::new_err(()));
                }
                Err(PopTimeoutError::Timeout) => {}
            }
            if is_finalizing(py)? {
                return Err(Empty::new_err("the interpreter ends, so no thread will put"));
            }
            py.check_signals()?;
        }
    }

    /// The error of a put that does not wait.
    fn no_room(&self) -> PyErr {
        if self.producer.must_not_wait() { self.would_deadlock() } else { Full::new_err(()) }
    }

    /// The error of a put that would wait forever, with its reason.
    fn would_deadlock(&self) -> PyErr {
        WouldDeadlock::new_err(if self.producer.is_consumer_thread() {
            "queue and bypass are full, and this is the thread that reads"
        } else if self.producer.must_not_wait() {
            "queue and bypass are full, and the reader waits for this thread"
        } else if self.reader.stayed_in_parent() {
            "the queue is full, and its reader stayed in the parent process"
        } else {
            "queue and bypass are full, and their reader waits for this thread in another put"
        })
    }
}

impl Patience {
    /// As `queue.Queue` understands its arguments.
    fn new(block: Truth, timeout: Option<Bound<'_, PyAny>>) -> PyResult<Self> {
        if !block.0 {
            return Ok(Self::None);
        }
        let Some(timeout) = timeout else {
            return Ok(Self::Until(None));
        };
        let seconds: f64 = timeout.extract()?;
        if seconds.is_nan() || seconds < 0.0 {
            return Err(PyValueError::new_err("'timeout' must be a non-negative number"));
        }
        // What is longer than a clock can tell is forever.
        let duration = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
        Ok(Self::Until(Instant::now().checked_add(duration)))
    }

    fn is_over(self) -> bool {
        match self {
            Self::None => true,
            Self::Until(deadline) => deadline.is_some_and(|deadline| deadline <= Instant::now()),
        }
    }
}

fn missing(name: &str, why: &str) -> PyErr {
    PyAttributeError::new_err(format!("'bywash.Queue' object has no attribute '{name}': {why}"))
}

/// Whether the interpreter ends: then no other thread will run again, so nobody can be waited for.
fn is_finalizing(py: Python<'_>) -> PyResult<bool> {
    static IS_FINALIZING: PyOnceLock<Item> = PyOnceLock::new();
    // Kept, as `sys` may be gone by the time that it is asked.
    IS_FINALIZING.import(py, "sys", "is_finalizing")?.call0()?.is_truthy()
}

/// A bounded queue that cannot deadlock on itself, in place of queue.Queue where finalisers, weakref
/// callbacks and signal handlers put.
///
/// logging.handlers.QueueHandler and QueueListener work with it as they are: the handler calls
/// put_nowait, so it does not wait, and reports what was refused. If yours waits in put, it must not
/// hold a lock meanwhile that the listener's thread takes to log: let its handle just call emit.
#[pymodule(gil_used = true)]
#[pyo3(name = "bywash")]
fn fill(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    is_finalizing(py)?;
    reader::watch_forks(py)?;
    module.add_class::<Queue>()?;
    refusals::add(module)
}
