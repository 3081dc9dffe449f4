//! All queues in turn: `cargo bench --bench compare`.
//!
//! The rounds go through all workloads, and for each workload through all queues, so that whatever
//! else happens on the machine meets all of them. A second process measures, and is replaced when a
//! queue hangs. It writes `benches/RESULTS.md`, the charts in `benches/charts/`, and
//! `benches/verdicts.txt`: the next run claims only what both say.

#[path = "../markdown.rs"]
mod markdown;
#[path = "../rivals/mod.rs"]
mod rivals;
#[path = "../workloads/mod.rs"]
mod workloads;

mod charts;
mod counts;
mod explanations;
mod idle;
mod machine;
mod options;
mod plan;
mod ratios;
mod report;
mod results;
mod rounds;
mod units;
mod upkeep;
mod worker;

use std::error::Error;
use std::fs;
use std::path::Path;
use std::time::Instant;

use options::Command;
use plan::Plan;
use report::verdicts::Before;

fn main() -> Result<(), Box<dyn Error>> {
    match options::parse()? {
        Command::Nothing => Ok(()),
        Command::Counts => counts::check(),
        Command::Serve => worker::serve(),
        Command::Run { workload, queue, items } => {
            worker::run_one(&workload, &queue, items).map(drop)
        }
        Command::Only { plan, pattern } => {
            let chosen = rounds::chosen(&pattern);
            eprintln!("{}", plan.announce(&chosen, false));
            report::print(&plan, &rounds::measure(&plan, chosen)?);
            Ok(())
        }
        Command::Everything { plan, folder } => everything(&plan, &folder),
    }
}

fn everything(plan: &Plan, folder: &Path) -> Result<(), Box<dyn Error>> {
    let (start, chosen) = (Instant::now(), rounds::chosen(""));
    eprintln!("{}", plan.announce(&chosen, true));
    let verdicts = folder.join("verdicts.txt");
    let measured = report::Measured {
        machine: machine::Machine::look(),
        counts: counts::count_all(),
        results: rounds::measure(plan, chosen)?,
        upkeep: upkeep::Upkeep::measure(plan)?,
        before: fs::read_to_string(&verdicts).ok().map(|lines| Before::read(&lines)),
    };
    fs::create_dir_all(folder.join("charts"))?;
    if plan.verdicts {
        fs::write(verdicts, report::verdicts::lines(&measured.results))?;
    }
    charts::write(&measured.results, &folder.join("charts"))?;
    let path = folder.join("RESULTS.md");
    fs::write(&path, report::markdown(plan, &measured))?;
    let seconds = start.elapsed().as_secs();
    println!("\n{}", report::short(plan, &measured));
    println!("Written to {}, after {seconds} s", path.display());
    Ok(())
}
