//! A logger on a bounded queue, run on real text, with everything that freezes other queues: the
//! records have finalisers that log when the consumer drops them, and signal handlers log on every
//! thread, the consumer's included.
//!
//! ```text
//! cargo run --release --example logging
//! cargo run --release --example logging -- --help
//! ```
//!
//! To see how bywash is used, read `queues.rs` (its methods), `logger.rs` (a producer for the whole
//! program), `consume` in `workload.rs` (the consumer's thread), and `signals.rs` (a handler).

mod logger;
mod options;
mod queues;
mod record;
mod report;
mod rivals;
mod signals;
mod text;
mod verify;
mod watchdog;
mod workload;

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{self, ExitCode};
use std::sync::Arc;
use std::{env, io};

use options::{HELP, Options};
use queues::Queue;
use text::Text;
use verify::verify;

const NOT_VERIFIED: u8 = 1;
const BAD_OPTIONS: u8 = 2;
const FROZEN: u8 = 3;

/// What the command line asked for.
struct Job {
    options: Options,
    text: Arc<Text>,
    output: PathBuf,
    log: File,
}

/// How a run ended: a line to print, and the exit code.
struct Outcome {
    verdict: String,
    code: u8,
}

fn main() -> ExitCode {
    match prepare() {
        Ok(Some(job)) => work(job).unwrap_or_else(|error| {
            eprintln!("logging: {error}");
            ExitCode::from(NOT_VERIFIED)
        }),
        Ok(None) => {
            print!("{HELP}");
            ExitCode::SUCCESS
        }
        Err(message) => {
            eprintln!("logging: {message}\nSee --help.");
            ExitCode::from(BAD_OPTIONS)
        }
    }
}

/// `None` if help was asked for.
fn prepare() -> Result<Option<Job>, String> {
    let Some(options) =
        Options::parse(lexopt::Parser::from_env()).map_err(|error| error.to_string())?
    else {
        return Ok(None);
    };
    let text = Arc::new(Text::read(&options.files)?);
    let temporary = || env::temp_dir().join(format!("bywash-logging-{}.log", process::id()));
    let output = options.output.clone().unwrap_or_else(temporary);
    let log = File::create(&output)
        .map_err(|error| format!("cannot write {}: {error}", output.display()))?;
    Ok(Some(Job { options, text, output, log }))
}

fn work(job: Job) -> io::Result<ExitCode> {
    let outcome = run(&job);
    if job.options.output.is_none() {
        // If this fails, no more than a temporary file is left behind.
        let _ = fs::remove_file(&job.output);
    }
    let Outcome { verdict, code } = outcome?;
    println!("{verdict}");
    if job.options.queue.is_none() {
        println!(
            "\nIn short, and the same on other queues:\n  {:<10} {verdict}",
            Queue::Bywash.name()
        );
        for queue in [Queue::Std, Queue::Crossbeam] {
            println!("  {:<10} {}", queue.name(), rivals::run(queue, &job.options)?);
        }
    }
    Ok(ExitCode::from(code))
}

/// Runs the program on one queue, and checks the log.
fn run(job: &Job) -> io::Result<Outcome> {
    let Job { options, text, output, log } = job;
    let queue = options.queue.unwrap_or(Queue::Bywash);
    report::heading(queue, options, text.size(), output);
    let (logger, conductor) = workload::start(options, queue, text.clone(), log.try_clone()?)?;
    if !watchdog::watch(&conductor, logger, options.seconds, output) {
        return Ok(Outcome { verdict: report::frozen(logger), code: FROZEN });
    }
    let busy = workload::join(conductor)?;
    report::table(logger);
    report::totals(logger, busy, fs::metadata(output)?.len());
    println!("\nreading the log back ...");
    let findings = verify(output, text, &logger.accepted())?;
    findings.described.iter().for_each(|fault| println!("{fault}"));
    let code = if findings.faults == 0 { 0 } else { NOT_VERIFIED };
    Ok(Outcome { verdict: report::verdict(&findings), code })
}
