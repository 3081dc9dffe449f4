//! A test program without the standard harness: its cases fork, so no other thread may run, and
//! they print figures.

/// Runs the cases whose names contain the argument, or all if there is none, but not those whose
/// names contain what follows a `--skip`. A case fails by panicking.
pub(crate) fn run(cases: &[(&str, fn())]) {
    let (mut filter, mut skipped) = (String::new(), Vec::new());
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--skip" => skipped.extend(arguments.next()),
            option if option.starts_with('-') => {}
            _ => filter = argument,
        }
    }
    let runs = |name: &str| name.contains(&filter) && !skipped.iter().any(|s| name.contains(s));
    for (name, case) in cases.iter().filter(|(name, _)| runs(name)) {
        println!("test {name} ...");
        case();
        println!("test {name} ... ok");
    }
}
