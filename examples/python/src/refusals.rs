//! The exceptions. All are subclasses of those of the module `queue`, so that code which knows that
//! module handles them.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyTuple, PyType};

pyo3::import_exception!(queue, Empty);
pyo3::import_exception!(queue, Full);
pyo3::create_exception!(
    bywash,
    WouldDeadlock,
    Full,
    "There is no room, and a wait for it could never end. The text says why."
);

static CLOSED: PyOnceLock<Py<PyType>> = PyOnceLock::new();

/// The class `Closed`, which has several bases: it ends loops that catch either.
fn closed_type(py: Python<'_>) -> PyResult<&Bound<'_, PyType>> {
    let class = CLOSED.get_or_try_init(py, || {
        let mut bases = vec![py.get_type::<Full>(), py.get_type::<Empty>()];
        // From Python 3.13 on.
        if let Ok(shut_down) = py.import("queue")?.getattr("ShutDown") {
            bases.insert(0, shut_down.cast_into()?);
        }
        let dict = PyDict::new(py);
        dict.set_item("__module__", "bywash")?;
        let doc = "The queue was closed; and, if get raises it, everything has been taken out.";
        dict.set_item("__doc__", doc)?;
        let class = py.get_type::<PyType>();
        let class = class.call1(("Closed", PyTuple::new(py, bases)?, dict))?;
        Ok::<_, PyErr>(class.cast_into()?.unbind())
    })?;
    Ok(class.bind(py))
}

/// Of a call on a closed queue.
pub(crate) fn closed(py: Python<'_>) -> PyErr {
    match closed_type(py) {
        Ok(class) => PyErr::from_type(class.clone(), "the queue is closed"),
        Err(error) => error,
    }
}

pub(crate) fn add(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    module.add("Full", py.get_type::<Full>())?;
    module.add("Empty", py.get_type::<Empty>())?;
    module.add("WouldDeadlock", py.get_type::<WouldDeadlock>())?;
    module.add("Closed", closed_type(py)?)
}
