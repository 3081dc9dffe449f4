//! Checks what the example `log_facade` writes, and that neither a full disk nor a stuck reader
//! freezes it.
#![cfg(all(feature = "std", not(bywash_loom)))]

#[path = "support/example.rs"]
mod example;

use std::ffi::OsStr;
use std::process::{Output, Stdio};
use std::{env, fs};

use example::{example, output_of};

/// Everything that it logs.
const LINES: &str = "\
INFO  main: ready
INFO  main: --------------------------------------------------------------------
WARN  log: cut a line of 173 bytes
INFO  worker: step 1
INFO  worker: step 2
INFO  worker: step 3
ERROR main: done
";

/// Runs the example, which `cargo test` has built, and kills it if it hangs.
fn run(argument: Option<&OsStr>) -> Output {
    let mut command = example("log_facade");
    let command = command.args(argument).stdout(Stdio::piped()).stderr(Stdio::piped());
    output_of(command.spawn().unwrap())
}

#[track_caller]
fn assert(output: &Output, code: i32, stdout: &str, stderr: &str) {
    assert_eq!(String::from_utf8_lossy(&output.stdout), stdout);
    assert_eq!(String::from_utf8_lossy(&output.stderr), stderr);
    assert_eq!(output.status.code(), Some(code));
}

#[test]
fn it_writes_every_line_to_the_standard_output() {
    assert(&run(None), 0, LINES, "log: all is written, 0 refused\n");
}

#[test]
fn it_writes_every_line_to_the_end_of_a_file() {
    let path = env::temp_dir().join(format!("bywash-test-{}-facade.log", std::process::id()));
    fs::write(&path, "before\n").unwrap();
    assert(&run(Some(path.as_os_str())), 0, "", "log: all is written, 0 refused\n");
    assert_eq!(fs::read_to_string(&path).unwrap(), format!("before\n{LINES}"));
    fs::remove_file(path).unwrap();
}

#[test]
fn a_file_that_cannot_be_opened_is_an_error() {
    let output = run(Some(OsStr::new("no/such/file")));
    assert_eq!(output.status.code(), Some(1));
    assert!(
        String::from_utf8_lossy(&output.stderr).starts_with("Error: Os { code: "),
        "{output:?}"
    );
}

#[test]
#[cfg(target_os = "linux")]
fn on_a_full_disk_every_line_goes_to_the_standard_error() {
    let failed: String = LINES
        .lines()
        .map(|line| format!("log: No space left on device (os error 28): {line}\n"))
        .collect();
    assert(
        &run(Some(OsStr::new("/dev/full"))),
        0,
        "",
        &format!("{failed}log: all is written, 0 refused\n"),
    );
}

#[test]
#[cfg(target_os = "linux")]
fn with_a_sink_that_is_stuck_it_ends_and_says_what_is_left() {
    use std::io::Write;
    use std::os::unix::{ffi::OsStrExt, fs::OpenOptionsExt};

    let path = env::temp_dir().join(format!("bywash-test-{}-facade.fifo", std::process::id()));
    let name = std::ffi::CString::new(path.as_os_str().as_bytes()).unwrap();
    // SAFETY: the name is valid for the call.
    assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
    // A full pipe that nobody reads.
    let options =
        fs::OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(&path);
    let mut pipe = options.unwrap();
    while pipe.write(&[b'.'; 4096]).is_ok() {}
    while pipe.write(b".").is_ok() {}
    let output = run(Some(path.as_os_str()));
    let said = String::from_utf8_lossy(&output.stderr);
    // It depends on when it began to write how many of the seven lines it has taken by then.
    assert!(
        said.starts_with("log: timed out with ") && said.ends_with(" left, 0 refused\n"),
        "{said}"
    );
    assert_eq!(output.status.code(), Some(1));
    fs::remove_file(path).unwrap();
}

#[test]
fn it_says_how_many_messages_were_lost_where_they_are_missing() {
    let (before, last) = LINES.split_at(LINES.find("ERROR").unwrap());
    // As many as there is room for while the sink waits, and then 37 more.
    let burst: String = (1..=100).map(|i| format!("INFO  main: line {i}\n")).collect();
    let waits = "INFO  main: the sink waits with this line\n";
    let stdout = format!("{before}{waits}{burst}37 messages lost here\n{last}");
    assert(&run(Some(OsStr::new("--burst"))), 1, &stdout, "log: all is written, 37 refused\n");
}
