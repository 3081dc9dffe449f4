//! Where it was measured.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::thread;

const CRATES: [&str; 12] = [
    "bywash",
    "crossbeam-channel",
    "crossbeam-queue",
    "concurrent-queue",
    "flume",
    "kanal",
    "thingbuf",
    "crossfire",
    "async-channel",
    "tokio",
    "rtrb",
    "crossbeam-utils",
];

pub(crate) struct Machine {
    cpu: String,
    cores: usize,
    system: String,
    /// How busy the machine was before.
    load: String,
    rustc: String,
    crates: Vec<(&'static str, String)>,
}

impl Machine {
    pub(crate) fn look() -> Self {
        Self::look_with(&CRATES)
    }

    /// With the versions of these crates.
    pub(crate) fn look_with(crates: &[&'static str]) -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let cpu =
            cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let versions = locked_versions();
        let version = |name| versions.get(name).cloned().unwrap_or_else(|| "?".into());
        Self {
            cpu: cpu.map_or("unknown processor", |(_, name)| name).into(),
            cores: thread::available_parallelism().map_or(1, |count| count.get()),
            system: output("uname", &["-s", "-r", "-m"]),
            load: load.split(' ').next().unwrap_or("?").into(),
            rustc: output("rustc", &["--version"]),
            crates: crates.iter().map(|&name| (name, version(name))).collect(),
        }
    }

    pub(crate) fn markdown(&self) -> String {
        let crates: Vec<_> =
            self.crates.iter().map(|(name, version)| format!("{name} {version}")).collect();
        format!(
            "- {}, {} cores; {}; load before the run {}\n- {}; {}\n",
            self.cpu,
            self.cores,
            self.system,
            self.load,
            self.rustc,
            crates.join(", "),
        )
    }
}

fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    output
        .map_or_else(|_| "?".into(), |output| String::from_utf8_lossy(&output.stdout).trim().into())
}

/// From `Cargo.lock`: a version stands on the line after its name.
fn locked_versions() -> BTreeMap<String, String> {
    let lock = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.lock"))
        .unwrap_or_default();
    let value = |line: &str, key| Some(line.strip_prefix(key)?.trim_matches('"').to_string());
    let pairs = lock.lines().zip(lock.lines().skip(1));
    pairs
        .filter_map(|(first, second)| {
            Some((value(first, "name = ")?, value(second, "version = ")?))
        })
        .collect()
}
