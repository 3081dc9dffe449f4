//! Programs in `examples/`, which `cargo test` has built.
#![allow(dead_code, reason = "each test file uses its own part of it")]

use std::env;
use std::process::{Child, Command, Output};
use std::thread;
use std::time::{Duration, Instant};

pub(crate) fn example(name: &str) -> Command {
    let test = env::current_exe().expect("a test knows its own path");
    let folder = test.ancestors().nth(2).expect("it is in target/debug/deps").join("examples");
    let example = folder.join(name).with_extension(env::consts::EXE_EXTENSION);
    assert!(
        example.exists(),
        "{} is missing: `cargo build --example {name}` builds it",
        example.display()
    );
    Command::new(example)
}

/// Waits for a program to end, and kills it if it hangs. What it prints must fit into its pipes.
pub(crate) fn output_of(mut child: Child) -> Output {
    let begin = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if begin.elapsed() > Duration::from_secs(100) {
            child.kill().unwrap();
        }
        thread::sleep(Duration::from_millis(20));
    }
    child.wait_with_output().unwrap()
}
