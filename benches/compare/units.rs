//! Times as text.

/// With three significant digits or so.
pub(crate) fn nanos(time: f64) -> String {
    let decimals = usize::from(time < 99.95) + usize::from(time < 9.995);
    format!("{time:.decimals$}")
}

/// In the unit that fits.
pub(crate) fn duration(time: f64) -> String {
    match time {
        n if n < 1e3 => format!("{} ns", nanos(n)),
        n if n < 1e6 => format!("{} µs", nanos(n / 1e3)),
        n => format!("{} ms", nanos(n / 1e6)),
    }
}
