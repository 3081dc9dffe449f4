//! A test program without the standard harness: its cases fork, so no other thread may run, and
//! they print figures.

/// Runs the cases whose names contain the first argument, or all if there is none. A case fails by
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
