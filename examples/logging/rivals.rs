//! Runs the same program on other queues, each in a process of its own, because a frozen one never
//! ends by itself.

use std::io::{self, Read};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::options::Options;
use crate::queues::Queue;

/// How long rivals run if they do not freeze.
const SECONDS: f64 = 3.0;
/// When a process is killed, in case its own watchdog has frozen with it.
const LIMIT: Duration = Duration::from_secs(90);

/// Runs the program on `queue`, and returns the last line of what it prints.
pub(crate) fn run(queue: Queue, options: &Options) -> io::Result<String> {
    let mut command = Command::new(std::env::current_exe()?);
    let mut child =
        command.args(options.for_rival(queue, SECONDS)).stdout(Stdio::piped()).spawn()?;
    if !ends(&mut child)? {
        child.kill()?;
        child.wait()?;
        return Ok(format!("FROZEN, and killed after {} seconds", LIMIT.as_secs()));
    }
    let mut output = String::new();
    child.stdout.take().expect("it is piped").read_to_string(&mut output)?;
    Ok(output.lines().last().unwrap_or("it printed nothing").into())
}

fn ends(child: &mut Child) -> io::Result<bool> {
    let begin = Instant::now();
    while child.try_wait()?.is_none() {
        if begin.elapsed() > LIMIT {
            return Ok(false);
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(true)
}
