//! The small examples print what they are meant to show. `example_logging.rs` tests `logging`.
#![cfg(all(feature = "std", not(bywash_loom)))]

#[path = "support/example.rs"]
mod example;
mod support;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use std::{env, fs};

use example::example;

const LIMIT: Duration = Duration::from_secs(60);

/// How a program ended, and what it printed.
#[derive(Debug)]
struct Ended {
    code: Option<i32>,
    out: String,
    err: String,
}

fn start(command: &mut Command) -> Child {
    support::watch();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Waits for the program to end, and kills it if it hangs.
fn end(mut child: Child) -> Ended {
    let out = child.stdout.take().map(read);
    let err = child.stderr.take().map(read);
    let begin = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if begin.elapsed() > LIMIT {
            child.kill().unwrap();
        }
        thread::sleep(Duration::from_millis(5));
    }
    let text = |reader: Option<JoinHandle<String>>| {
        reader.map_or_else(String::new, |reader| reader.join().unwrap())
    };
    let ended = Ended { code: child.wait().unwrap().code(), out: text(out), err: text(err) };
    assert!(begin.elapsed() <= LIMIT, "still running after {LIMIT:?}: {ended:?}");
    ended
}

/// Reads while the program runs, so that the program does not wait for its reader.
fn read(mut pipe: impl Read + Send + 'static) -> JoinHandle<String> {
    thread::spawn(move || {
        let mut text = String::new();
        pipe.read_to_string(&mut text).map(|_| text).unwrap()
    })
}

fn run(command: &mut Command) -> Ended {
    let ended = end(start(command));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    ended
}

/// The numbers of a line, in order.
fn numbers(line: &str) -> Vec<usize> {
    line.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).collect()
}

/// The numbers of the only line that contains `part`.
#[track_caller]
fn numbers_on_line_with(text: &str, part: &str) -> Vec<usize> {
    let lines: Vec<&str> = text.lines().filter(|line| line.contains(part)).collect();
    assert_eq!(lines.len(), 1, "lines with {part:?} in {text}");
    numbers(lines[0])
}

/// Checks that each line is whole, and in its thread's order. Returns how many were written and
/// dropped.
#[track_caller]
fn check_log(lines: &str, said: &str) -> (usize, usize) {
    assert_eq!(numbers_on_line_with(said, "logged by"), [4000, 4], "{said}");
    let [written, dropped, _bypassed] = numbers_on_line_with(said, " lines written")[..] else {
        panic!("{said}")
    };
    let mut by_thread = BTreeMap::<usize, Vec<usize>>::new();
    let (mut by_writer, mut lost) = (0, 0);
    for line in lines.lines() {
        if let Some((_, hello)) = line.split_once(" INFO tracing_writer: hello ") {
            let [thread, number] = numbers(hello)[..] else { panic!("{line}") };
            by_thread.entry(thread).or_default().push(number);
        } else if let Some(count) = line.strip_suffix(" lines lost here") {
            lost += count.parse::<usize>().unwrap();
        } else {
            assert!(line.contains(" INFO tracing_writer: the writer logs, too written="), "{line}");
            by_writer += 1;
        }
    }
    // What the writer itself logs after the end was refused, and counts as dropped only.
    assert!((lost..=lost + written / 768).contains(&dropped), "{lost} lost: {said}");
    assert!(
        by_thread.values().all(|numbers| numbers.is_sorted_by(|one, next| one < next)),
        "{lines}"
    );
    assert_eq!(by_thread.values().map(Vec::len).sum::<usize>() + by_writer, written);
    // The writer logs one line for each 768 that it has written.
    assert_eq!(written + dropped, 4000 + written / 768, "{said}");
    (written, dropped)
}

#[test]
fn tracing_writer_loses_nothing() {
    let Ended { out, err, .. } = run(&mut example("tracing_writer"));
    assert_eq!(check_log(&out, &err), (4005, 0));
}

#[test]
fn tracing_writer_writes_into_a_file() {
    let log = env::temp_dir().join(format!("bywash-test-{}-tracing.log", std::process::id()));
    let Ended { out, err, .. } = run(example("tracing_writer").arg(&log));
    let lines = fs::read_to_string(&log).unwrap();
    fs::remove_file(log).unwrap();
    assert_eq!((out.as_str(), check_log(&lines, &err)), ("", (4005, 0)));
}

/// Reads the first line that the program prints, and leaves the rest.
fn first_line(from: &mut BufReader<ChildStderr>) -> String {
    let mut line = String::new();
    from.read_line(&mut line).unwrap();
    line
}

#[test]
fn tracing_writer_drops_and_counts_while_the_output_is_stuck() {
    assert_drops_while_the_output_is_stuck(example("tracing_writer").arg("--drop"));
}

#[test]
fn tracing_writer_waits_and_then_drops_and_counts_while_the_output_is_stuck() {
    assert_drops_while_the_output_is_stuck(&mut example("tracing_writer"));
}

fn assert_drops_while_the_output_is_stuck(command: &mut Command) {
    let mut child = start(command);
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    // All threads have logged before anyone reads their lines, which are more than a pipe holds.
    let logged = first_line(&mut stderr);
    let said = read(stderr);
    let Ended { code, out, .. } = end(child);
    let said = logged + &said.join().unwrap();
    assert_eq!(code, Some(0), "{said}");
    let (_, dropped) = check_log(&out, &said);
    assert!(dropped > 0, "{said}");
}

#[test]
fn tracing_writer_ends_when_nobody_reads_its_output() {
    let mut child = start(&mut example("tracing_writer"));
    drop(child.stdout.take());
    let ended = end(child);
    // This would hang if the lines that are left waited for the writer.
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert_eq!(numbers_on_line_with(&ended.err, "logged by"), [4000, 4], "{ended:?}");
    assert!(ended.err.contains("cannot write: "), "{ended:?}");
}

#[test]
fn tracing_writer_refuses_options_that_it_does_not_have() {
    let ended = end(start(example("tracing_writer").arg("--dorp")));
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.err.contains("usage: tracing_writer [--drop] [FILE]"), "{ended:?}");
}

#[cfg(windows)]
#[test]
fn crash_reporter_reports_an_exception_and_ends_by_it() {
    let ended = end(start(example("crash_reporter").arg("segv")));
    assert_eq!(ended.code, Some(0xC000_0005_u32 as i32), "{ended:?}");
    let report = "crashed: EXCEPTION_ACCESS_VIOLATION, address 0x8, process ";
    let reports = ended.err.lines().filter(|line| line.starts_with(report)).count();
    assert_eq!((reports, ended.out.trim_end()), (1, "about to crash"), "{ended:?}");
}

#[cfg(unix)]
#[test]
fn profiler_counts_each_sample_and_finds_the_hot_phase() {
    let Ended { out, .. } = run(&mut example("profiler"));
    let taken = numbers_on_line_with(&out, " samples taken, ")[0];
    assert!(taken >= 300, "{out}");
    let phase = |name: &str| {
        out.lines().find(|line| line.ends_with(name)).map_or(0, |line| numbers(line)[0])
    };
    let (waiting, reading, compressing) =
        (phase(" waiting"), phase(" reading"), phase(" compressing"));
    assert_eq!(waiting + reading + compressing, taken, "{out}");
    assert!(compressing > waiting.max(reading), "{out}");
    let (_, addresses) = out.split_once("hottest addresses:\n").expect("there is a second table");
    let hits: Vec<usize> = addresses.lines().map(|line| numbers(line)[0]).collect();
    assert!(!hits.is_empty() && hits.is_sorted_by(|one, next| one >= next), "{out}");
    assert!(hits.iter().sum::<usize>() <= taken, "{out}");
}

#[test]
fn finalisers_free_each_node_once_through_ring_and_bypass() {
    let Ended { out, .. } = run(&mut example("finalisers"));
    let count = |part| numbers_on_line_with(&out, part)[0];
    let (ring, bypass) = (count(" through the ring"), count(" through the bypass"));
    assert_eq!(
        count(" as roots, ") + ring + bypass + count(" at once, "),
        count(" nodes were built"),
        "{out}"
    );
    assert!(ring > 0 && bypass > 0, "{out}");
    assert!(out.ends_with("each was freed once\n"), "{out}");
}

#[test]
fn join_children_gets_each_result_and_does_not_hang() {
    let Ended { out, .. } = run(&mut example("join_children"));
    let (timed, closed) = out.split_once("The parent has enough").expect("there are two parts");
    // Nobody drains, so the queue holds as much as it can, and no child gets all of its results in.
    assert_eq!(numbers_on_line_with(timed, "joined"), [4, 26], "{out}");
    assert_eq!(timed.matches(": timed out while the queue was full\n").count(), 3, "{out}");
    // The parent has taken five results before. How many the queue holds then is left to chance.
    let [popped, kept] = numbers_on_line_with(closed, "joined")[..] else { panic!("{out}") };
    assert_eq!((popped <= 4, popped + kept), (true, 25), "{out}");
    assert!(closed.contains(": queue is closed, or its consumer is gone\n"), "{out}");
    assert_eq!(out.matches("each of the 30 results is here once\n").count(), 2, "{out}");
}

/// Reads the messages in the lines, as thread and request.
fn messages<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<(usize, usize)> {
    let message = |line| match numbers(line)[..] {
        [thread, request] => (thread, request),
        _ => panic!("not a message: {line}"),
    };
    lines.map(message).collect()
}

/// Runs the slow sink. Returns how many messages were delivered, and how many were not.
fn run_sink(command: &mut Command) -> (usize, usize) {
    let Ended { out, err, .. } = run(command);
    let delivered = messages(out.lines());
    let undelivered = messages(err.lines().filter(|line| line.starts_with("not delivered: ")));
    let [requests, accepted, ..] = numbers_on_line_with(&err, " accepted; ")[..] else {
        panic!("{err}")
    };
    let all = [delivered.clone(), undelivered.clone()].concat();
    assert_eq!((requests, accepted), (200, all.len()), "{err}");
    // The messages are in order, so none is there twice, and what was not delivered comes last.
    for thread in 0..4 {
        let requests = all.iter().filter(|message| message.0 == thread).map(|message| message.1);
        assert!(requests.is_sorted_by(|one, next| one < next), "{all:?}");
    }
    let said = numbers_on_line_with(&err, " retries, ");
    assert_eq!((said[0], said[2]), (delivered.len(), undelivered.len()), "{err}");
    assert!(said[1] > 0, "no message was tried again: {err}");
    (delivered.len(), undelivered.len())
}

#[test]
fn slow_sink_delivers_what_was_accepted_in_order() {
    let (delivered, undelivered) = run_sink(&mut example("slow_sink"));
    assert!(delivered > 0 && undelivered == 0);
}

#[test]
fn slow_sink_keeps_what_it_cannot_deliver() {
    let (delivered, undelivered) = run_sink(example("slow_sink").arg("--down"));
    // Of the first 10 calls 2 fail, and then all; the queue accepts 16 messages before it refuses
    // any.
    assert_eq!(delivered, 8);
    assert!(delivered + undelivered >= 16);
}

#[cfg(unix)]
#[test]
fn no_std_builds_and_pushes_from_a_handler() {
    use std::path::Path;

    let source = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest = source.join("examples/no_std/Cargo.toml");
    let Ok(manifest) = fs::read_to_string(&manifest) else {
        // `cargo package` leaves out packages inside a package.
        return eprintln!("not tried: there is no {}", manifest.display());
    };
    // Builds a copy, so that nothing is written into the sources, with the same versions of
    // dependencies as this package.
    let package = Path::new(env!("CARGO_TARGET_TMPDIR")).join("no_std");
    fs::create_dir_all(package.join("src")).unwrap();
    let (here, there) = (r#"path = "../..""#, format!("path = {source:?}"));
    assert!(manifest.contains(here), "{manifest}");
    fs::write(package.join("Cargo.toml"), manifest.replace(here, &there)).unwrap();
    fs::copy(source.join("examples/no_std/src/main.rs"), package.join("src/main.rs")).unwrap();
    let _ = fs::copy(source.join("Cargo.lock"), package.join("Cargo.lock"));

    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .args(["run", "--offline", "--quiet", "--target-dir"])
        .arg(package.join("target"))
        .current_dir(&package);
    // For this system.
    for variable in ["CARGO_BUILD_TARGET", "CARGO_UNSTABLE_BUILD_STD", "RUSTFLAGS"] {
        cargo.env_remove(variable);
    }
    let Ended { out, .. } = run(&mut cargo);
    let four = "signal 15\nsignal 2\nsignal 15\nsignal 2\n";
    assert_eq!(out, format!("{four}0 of 4 refused\n{four}3 of 7 refused\n"));
}

#[test]
fn two_services_that_report_to_each_other_get_done_on_bywash_only() {
    // Whether the others freeze is up to the scheduler: once in a while they get done.
    let mut still_to_freeze = vec!["std", "crossbeam"];
    for _ in 0..20 {
        let ended = end(start(&mut example("two_services")));
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let lines: Vec<_> = ended.out.lines().collect();
        assert_eq!(lines.len(), 3, "{ended:?}");
        assert!(lines[0].starts_with("bywash: 20000 lines, "), "{ended:?}");
        still_to_freeze.retain(|queue| {
            !lines.iter().any(|line| line.starts_with(&format!("{queue}: FROZEN after ")))
        });
        if still_to_freeze.is_empty() {
            return;
        }
    }
    panic!("in none of 20 runs has {still_to_freeze:?} frozen");
}
