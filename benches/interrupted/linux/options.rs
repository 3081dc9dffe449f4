//! The command line.

use lexopt::prelude::*;

const HELP: &str = "\
Interrupts bywash and its rivals at every machine instruction, and writes benches/INTERRUPTED.md.

Usage: cargo bench --bench interrupted -- [OPTIONS]

  --check         Fails unless nothing is found of bywash, and something of a queue that is known
                  to hang: a part of it all, in less than a minute.
  --only PATTERN  Only queues whose names contain PATTERN. Writes nothing but what it prints.
";

pub(crate) enum Command {
    /// What was asked for is not a run.
    Nothing,
    Check,
    Only(String),
    Everything,
}

pub(crate) fn parse() -> Result<Command, lexopt::Error> {
    let (mut bench, mut command, mut unexpected) = (false, Command::Everything, None);
    let mut arguments = lexopt::Parser::from_env();
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("bench") => bench = true,
            Long("check") => command = Command::Check,
            Long("only") => command = Command::Only(arguments.value()?.string()?),
            // `cargo bench NAME`
            Value(pattern) => command = Command::Only(pattern.string()?),
            Long("help") => {
                print!("{HELP}");
                return Ok(Command::Nothing);
            }
            // Cargo's own option comes last, so it is not known yet who calls.
            _ => unexpected = Some(argument.unexpected()),
        }
    }
    // `cargo test --benches`, which may pass options of its own.
    if !bench {
        println!("To run it: cargo bench --bench interrupted");
        return Ok(Command::Nothing);
    }
    unexpected.map_or(Ok(command), Err)
}
