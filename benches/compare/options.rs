//! The command line.

use std::path::PathBuf;

use lexopt::prelude::*;

use crate::plan::Plan;

const HELP: &str = "\
Measures bywash and its rivals in turn, and writes benches/RESULTS.md and benches/charts/.

Usage: cargo bench --bench compare -- [OPTIONS]

  --quick         A look in a minute, after about three minutes of building from nothing. Tells only
                  who is at least twice as fast, and writes into the target folder instead.
  --only PATTERN  Only where PATTERN is part of workload/queue, as in
                  blocking/2_to_1/u64,capacity_1024/kanal. Writes nothing but what it prints.
  --rounds N      How often everything is measured. With less than 15 it says nothing of who is
                  faster.
  --counts        Counts the instructions of calls, which no noise touches. Fails where bywash takes
                  more than is written down in benches/compare/counts/. x86-64 Linux only.
  --run WORKLOAD QUEUE ITEMS
                  One queue on one workload, to be watched from outside (perf, strace).

Environment:
  BYWASH_CONSUMER_PAUSES=N  How often a spinning consumer calls `spin_loop` after it has found
                  nothing. Once, if this is not set.
";

pub(crate) enum Command {
    /// What was asked for is not a measurement.
    Nothing,
    Counts,
    /// Do what another process asks for.
    Serve,
    /// One queue on one workload, to be watched from outside.
    Run {
        workload: String,
        queue: String,
        items: u64,
    },
    Only {
        plan: Plan,
        pattern: String,
    },
    Everything {
        plan: Plan,
        folder: PathBuf,
    },
}

pub(crate) fn parse() -> Result<Command, lexopt::Error> {
    let (mut bench, mut quick, mut counts) = (false, false, false);
    let (mut only, mut rounds) = (None, None);
    let mut arguments = lexopt::Parser::from_env();
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("bench") => bench = true,
            Long("quick") => quick = true,
            Long("counts") => counts = true,
            Long("only") => only = Some(arguments.value()?.string()?),
            Long("rounds") => rounds = Some(arguments.value()?.parse()?),
            Long("worker") => return Ok(Command::Serve),
            Long("run") => {
                return Ok(Command::Run {
                    workload: arguments.value()?.string()?,
                    queue: arguments.value()?.string()?,
                    items: arguments.value()?.parse()?,
                });
            }
            // `cargo bench NAME`
            Value(pattern) => only = Some(pattern.string()?),
            Long("help") => {
                print!("{HELP}");
                return Ok(Command::Nothing);
            }
            // `cargo test --benches`, which may pass options of its own.
            _ if !bench => return Ok(Command::Nothing),
            _ => return Err(argument.unexpected()),
        }
    }
    if !bench {
        println!("To measure: cargo bench --bench compare");
        return Ok(Command::Nothing);
    }
    if counts {
        return Ok(Command::Counts);
    }
    let mut plan = if quick { Plan::QUICK } else { Plan::FULL };
    plan.rounds = rounds.unwrap_or(plan.rounds).max(1);
    plan.verdicts &= plan.rounds >= Plan::FEWEST_FOR_VERDICTS;
    Ok(match only {
        Some(pattern) => Command::Only { plan, pattern },
        None => Command::Everything { folder: folder(quick), plan },
    })
}

fn folder(quick: bool) -> PathBuf {
    if quick {
        concat!(env!("CARGO_TARGET_TMPDIR"), "/compare").into()
    } else {
        env!("CARGO_MANIFEST_DIR").into()
    }
}
