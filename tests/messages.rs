//! What the compiler and the crate say of the commonest mistakes.
//!
//! Each program in `tests/messages/` makes one. `//~ TEXT` on a line means that the compiler must
//! point to that line, and that its message must contain the text; on a line of its own, that the
//! message must contain this, too. Only what a user has to read is compared: the rest of a message
//! changes with the compiler. But nothing may be named that users cannot know.
#![cfg(all(feature = "std", not(bywash_loom), not(miri)))]

mod support;

use std::any::Any;
use std::fmt::Write;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::channel;
use std::time::Duration;
use std::{env, fs, thread};

use bywash::{Builder, StaticQueue, bounded};
use support::watch;

/// What is in `src/`, and has no page in the documentation.
const PRIVATE: [&str; 5] = ["bywash::ring", "bywash::slots", "src/shared", "src/slots", "Places"];

fn source() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Makes the package that the programs are in, one at a time.
fn package() -> PathBuf {
    let package = Path::new(env!("CARGO_TARGET_TMPDIR")).join("messages");
    fs::create_dir_all(package.join("src/bin")).unwrap();
    let manifest = format!(
        "[package]\nname = \"mistakes\"\nedition = \"2024\"\n[workspace]\n\
         [dependencies]\nbywash.path = {:?}\n",
        source(),
    );
    fs::write(package.join("Cargo.toml"), manifest).unwrap();
    // Without a lock file, any versions at hand will do.
    let _ = fs::copy(source().join("Cargo.lock"), package.join("Cargo.lock"));
    package
}

/// A line of a program without what is expected, which a message would repeat.
fn code(line: &str) -> &str {
    line.split_once("//~ ").map_or(line, |(code, _)| code)
}

/// Checks the message of the program at `path`, and adds what is wrong with it to `wrong`.
fn check(package: &Path, path: &Path, wrong: &mut String) {
    let name = path.file_stem().unwrap().to_str().unwrap();
    let program = fs::read_to_string(path).unwrap();
    let copy: Vec<_> = program.lines().map(code).collect();
    fs::write(package.join(format!("src/bin/{name}.rs")), copy.join("\n")).unwrap();
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["check", "--offline", "--quiet", "--color=never", "--target-dir=target"]);
    let output = cargo.args(["--bin", name]).current_dir(package).output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    let place = message.split_once("--> ").map_or("", |(_, rest)| rest.lines().next().unwrap());
    let mut missing = Vec::new();
    for (number, line) in (1..).zip(program.lines()) {
        let Some((code, text)) = line.split_once("//~ ") else { continue };
        let is_here = code.trim().is_empty() || place.contains(&format!("{name}.rs:{number}:"));
        if !is_here || !message.contains(text) {
            missing.push(line);
        }
    }
    let errors = message.lines().filter(|line| line.starts_with("error")).count();
    let named: Vec<_> = PRIVATE.into_iter().filter(|name| message.contains(name)).collect();
    // One is cargo's own.
    if output.status.success() || errors != 2 || !missing.is_empty() || !named.is_empty() {
        writeln!(wrong, "{name}: {errors} errors, not said {missing:#?}, named {named:?}").unwrap();
        writeln!(wrong, "{message}").unwrap();
    }
}

#[test]
fn the_compiler_points_to_the_mistake_and_names_nothing_private() {
    watch();
    let package = package();
    let (mut count, mut wrong) = (0, String::new());
    for program in fs::read_dir(source().join("tests/messages")).unwrap() {
        check(&package, &program.unwrap().path(), &mut wrong);
        count += 1;
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(count >= 10, "{count}");
}

/// The text of a panic.
fn text(panic: Box<dyn Any + Send>) -> String {
    *panic.downcast().expect("it is formatted")
}

#[test]
fn a_capacity_of_0_says_what_to_use() {
    let panic = catch_unwind(|| bounded::<u8>(0)).unwrap_err();
    let text = panic.downcast_ref::<&str>().unwrap();
    assert_eq!(*text, "bywash: the capacity of a queue must not be 0: use 1 or more");
}

#[test]
fn a_capacity_or_a_bypass_that_is_too_large_says_which_and_how_large() {
    const MAX: usize = usize::MAX / 2;
    let panic = catch_unwind(|| bounded::<[u8; 8]>(MAX)).unwrap_err();
    assert_eq!(
        text(panic),
        format!("bywash: a capacity of {MAX} items, 16 bytes each, is too large to allocate")
    );
    let panic = catch_unwind(|| Builder::new(1).bypass(MAX).build::<[u8; 8]>()).unwrap_err();
    assert_eq!(
        text(panic),
        format!(
            "bywash: a bypass of {MAX} items, 24 bytes each, is too large to allocate: \
             `Builder::bypass` sets a smaller one"
        )
    );
}

#[test]
fn a_push_says_that_the_consumer_is_gone() {
    let (producer, _) = bounded(1);
    let error = producer.push(1).unwrap_err();
    assert_eq!(error.to_string(), "queue is closed, or its consumer is gone");
    let error = producer.try_push(1).unwrap_err();
    assert_eq!(error.to_string(), "queue is closed, or its consumer is gone");
}

#[test]
fn a_pop_says_that_nothing_is_left() {
    let (producer, mut consumer) = bounded::<u8>(1);
    drop(producer);
    let error = consumer.pop().unwrap_err();
    assert_eq!(error.to_string(), "queue is closed, and all that was pushed has been popped");
}

#[test]
fn a_push_on_the_consumers_thread_says_why_it_does_not_wait() {
    static QUEUE: StaticQueue<u8, 1, 0> = StaticQueue::new();
    let mut consumer = QUEUE.consumer().unwrap();
    consumer.bind();
    QUEUE.push(1).unwrap();
    let error = QUEUE.push(2).unwrap_err();
    assert_eq!(error.to_string(), "queue is full, and cannot be drained while this thread waits");
}

#[test]
fn the_hook_says_that_bind_was_forgotten() {
    watch();
    let (tell, told) = channel();
    bywash::set_long_wait_hook(Duration::from_millis(1), move |wait| {
        tell.send(wait.to_string()).unwrap();
    });
    let (producer, mut consumer) = Builder::new(1).name("log").build();
    producer.push(1).unwrap();
    // As if the consumer were this thread's, which would hang.
    let waiting = thread::spawn(move || producer.push(2));
    let line = told.recv().unwrap();
    assert!(line.starts_with("a push into the queue log has waited for "), "{line}");
    let why = ": 1 of 1 slots are in use, and its consumer has no thread: \
               a thread that is going to pop calls `bind` first";
    assert!(line.ends_with(why), "{line}");
    assert_eq!(consumer.pop(), Ok(1));
    waiting.join().unwrap().unwrap();
}
