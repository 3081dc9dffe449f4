//! A test program of its own, without threads before its cases run: they fork, and they print
//! figures.

/// Runs the cases whose names contain the first argument, all without one. A case fails by
/// panicking.
pub(crate) fn run(cases: &[(&str, fn())]) {
    let filter =
        std::env::args().skip(1).find(|argument| !argument.starts_with('-')).unwrap_or_default();
    for (name, case) in cases.iter().filter(|(name, _)| name.contains(&filter)) {
        println!("test {name} ...");
        case();
        println!("test {name} ... ok");
    }
}
