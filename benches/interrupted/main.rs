//! What happens to bywash and its rivals when they are interrupted, at every machine instruction:
//! `cargo bench --bench interrupted`.
//!
//! Each call is single-stepped, and at each step a process of its own does what interrupts it, so
//! that a hang or a crash is a result. It writes `benches/INTERRUPTED.md`. On x86-64 Linux only.

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod linux;

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    linux::main()
}

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
fn main() {
    println!("skipped: it takes x86-64 Linux");
}
