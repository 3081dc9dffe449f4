//! Checks what the example `logging` shows, and that its check of the log can fail.
#![cfg(all(feature = "std", not(bywash_loom)))]

use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::{env, fs};

#[path = "support/example.rs"]
mod example;
// The parts that read the log back, to try them on wrong logs.
#[allow(dead_code)]
#[path = "../examples/logging/logger.rs"]
mod logger;
#[allow(dead_code)]
#[path = "../examples/logging/queues.rs"]
mod queues;
#[allow(dead_code)]
#[path = "../examples/logging/record.rs"]
mod record;
#[allow(dead_code)]
#[path = "../examples/logging/text.rs"]
mod text;
#[path = "../examples/logging/verify.rs"]
mod verify;

use example::{example, output_of};
use record::{Body, Kind, Range, Record};
use text::Text;

/// Runs the example, which `cargo test` has built, and kills it if it hangs.
fn run(arguments: &[&str]) -> Output {
    let mut command = example("logging");
    let child =
        command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    output_of(child)
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// The first number on the line that starts with `name`.
fn number(text: &str, name: &str) -> u64 {
    let line = text
        .lines()
        .find(|line| line.starts_with(name))
        .unwrap_or_else(|| panic!("no {name} in {text}"));
    let number =
        line[name.len()..].split_whitespace().next().expect("there is a number on the line");
    number.replace(',', "").parse().expect("it is a number")
}

const KINDS: [&str; 5] = [
    "lines by the producers",
    "finalisers on the producers",
    "finalisers on the consumer",
    "handlers on the producers",
    "handlers on the consumer",
];

#[test]
fn every_kind_of_producer_logs_through_ring_and_bypass_and_all_of_it_is_found() {
    let output = run(&["--queue=bywash", "--seconds=1", "--capacity=8", "--producers=3"]);
    let shown = stdout(&output);
    assert!(output.status.success(), "{shown}");
    let verified = number(&shown, "verified: each of the");
    assert_eq!(KINDS.iter().map(|kind| number(&shown, kind)).sum::<u64>(), verified, "{shown}");
    assert_eq!(
        number(&shown, "through the ring") + number(&shown, "through the bypass"),
        verified,
        "{shown}"
    );
    assert!(number(&shown, KINDS[0]) > number(&shown, KINDS[2]), "{shown}");
    assert!(number(&shown, KINDS[1]) > 0 && number(&shown, KINDS[2]) > 0, "{shown}");
    assert!(number(&shown, "through the bypass") > 0, "{shown}");
    if cfg!(target_os = "linux") {
        assert!(number(&shown, "signals handled") > 0 && number(&shown, KINDS[4]) > 0, "{shown}");
    }
}

#[test]
fn a_log_that_was_asked_for_is_kept_and_has_all_lines() {
    let log = scratch("kept.log");
    let output =
        run(&["--queue=bywash", "--seconds=0.2", "--output", log.to_str().unwrap(), file!()]);
    let shown = stdout(&output);
    let lines = fs::read_to_string(&log).unwrap().lines().count() as u64;
    fs::remove_file(log).unwrap();
    assert!(output.status.success(), "{shown}");
    assert_eq!(lines, number(&shown, "verified: each of the"), "{shown}");
}

#[test]
fn the_channel_of_std_is_found_frozen() {
    is_found_frozen("--queue=std");
}

#[test]
fn the_channel_of_crossbeam_is_found_frozen() {
    is_found_frozen("--queue=crossbeam");
}

fn is_found_frozen(queue: &str) {
    let output = run(&[queue, "--seconds=1", "--capacity=8"]);
    let shown = stdout(&output);
    assert_eq!(output.status.code(), Some(3), "{shown}");
    let verdict = shown.lines().last().unwrap();
    assert!(
        verdict.starts_with("FROZEN after ") && verdict.contains("the consumer, in "),
        "{shown}"
    );
    assert!(shown.contains("producer 4, in "), "{shown}");
}

#[test]
fn bad_options_get_a_message_and_exit_code_2() {
    for (arguments, message) in [
        (&["--capacity=0"][..], "--capacity must be a number from 1 to "),
        (&["--producers=many"], "--producers must be a number from 1 to "),
        (&["--seconds=nan"], "--seconds must be a number from "),
        (&["--queue=kanal"], "--queue must be bywash, std, crossbeam or all, not \"kanal\""),
        (&["--colour"], "invalid option '--colour'"),
        (&["--bypass"], "missing argument for option '--bypass'"),
        (&["no/such/file"], "cannot read no/such/file: "),
        (&["--output=no/such/file"], "cannot write no/such/file: "),
        (&["--output=Cargo.toml", "Cargo.toml"], "--output would overwrite what is to be logged"),
    ] {
        let output = run(arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(
            said.starts_with(&format!("logging: {message}")) && said.ends_with("See --help.\n"),
            "{said}"
        );
    }
}

#[test]
fn help_names_every_option() {
    let shown = stdout(&run(&["--help"]));
    for option in [
        "queue",
        "capacity",
        "bypass",
        "producers",
        "seconds",
        "signals-per-second",
        "output",
        "help",
    ] {
        assert!(shown.contains(&format!("\n  --{option} ")), "{option}");
    }
}

fn scratch(name: &str) -> PathBuf {
    env::temp_dir().join(format!("bywash-test-{}-{name}", std::process::id()))
}

/// Makes a right log, in which two producers take turns, with a signal and a finaliser in between.
/// Then `damage` changes it. Returns the faults that the check finds.
fn faults_after(name: &str, damage: impl FnOnce(&mut Vec<Vec<u8>>)) -> Vec<String> {
    let text = Text::read(&["Cargo.toml".into(), "README.md".into()]).unwrap();
    let places =
        |producer| text.sources_for(producer).flat_map(|source| text.places_in(source)).take(100);
    let mut log = Vec::new();
    for (sequence, (one, two)) in places(1).zip(places(2)).enumerate() {
        for (kind, thread, body) in [
            (Kind::Line, 1, Body::Line { place: one, _ends: None }),
            (Kind::Signal, 0, Body::Signal),
            (Kind::Line, 2, Body::Line { place: two, _ends: None }),
            (Kind::Finaliser, 2, Body::Done(Range { first: two, last: two.line })),
        ] {
            let mut line = Vec::new();
            Record { kind, thread, sequence: sequence as u64, body }
                .write(&text, &mut line)
                .unwrap();
            log.push(line);
        }
    }
    damage(&mut log);
    let path = scratch(name);
    fs::write(&path, log.concat()).unwrap();
    let findings =
        verify::verify(&path, &text, &[[0, 0, 100], [100, 0, 0], [100, 100, 0]]).unwrap();
    fs::remove_file(path).unwrap();
    assert_eq!(
        (findings.records, findings.faults),
        (log.len() as u64, findings.described.len() as u64)
    );
    findings.described
}

#[test]
fn a_right_log_has_no_faults() {
    assert_eq!(faults_after("right", |_| ()), [""; 0]);
}

#[test]
fn a_lost_line_is_found() {
    let faults = faults_after("lost", |log| drop(log.remove(4 * 50)));
    assert_eq!(faults.len(), 1);
    assert!(faults[0].contains(": number 50 should have come before: line-1 51 "), "{faults:?}");
}

#[test]
fn a_lost_last_line_is_found() {
    let faults = faults_after("last", |log| drop(log.remove(4 * 99 + 1)));
    assert_eq!(faults, ["signal-0: 100 were accepted, 99 have arrived"]);
}

#[test]
fn a_line_that_came_twice_is_found() {
    let faults = faults_after("twice", |log| log.push(log[4 * 50 + 3].clone()));
    assert_eq!(faults.len(), 1);
    assert!(
        faults[0].contains(": number 100 should have come before: finaliser-2 50 "),
        "{faults:?}"
    );
}

#[test]
fn lines_out_of_order_are_found() {
    assert_eq!(faults_after("order", |log| log.swap(4 * 50 + 2, 4 * 51 + 2)).len(), 2);
}

#[test]
fn a_changed_text_is_found() {
    let faults = faults_after("text", |log| log[4 * 50].insert(20, b'!'));
    assert_eq!(faults.len(), 1);
    assert!(faults[0].contains("the text is not what was logged: line-1 50 "), "{faults:?}");
}
