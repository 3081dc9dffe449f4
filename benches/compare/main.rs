//! All queues beside one another in one process: `cargo bench --bench compare`.
//!
//! The rounds go through all workloads, and for each workload through all queues in turn, so that
//! whatever else happens on the machine meets all of them. It writes `benches/RESULTS.md` and the
//! charts in `benches/charts/`.

#[path = "../rivals/mod.rs"]
mod rivals;
#[path = "../workloads/mod.rs"]
mod workloads;

mod charts;
mod machine;
mod options;
mod plan;
mod report;
mod rounds;
mod upkeep;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    use options::Command;

    let (plan, folder) = match options::parse()? {
        Command::Nothing => return Ok(()),
        Command::Run { workload, queue, items } => {
            return upkeep::run_one(&workload, &queue, items);
        }
        Command::Only { plan, pattern } => {
            report::print(&rounds::measure(&plan, &pattern));
            return Ok(());
        }
        Command::Everything { plan, folder } => (plan, folder),
    };
    let machine = machine::Machine::look();
    let results = rounds::measure(&plan, "");
    let upkeep = upkeep::Upkeep::measure(&plan);
    std::fs::create_dir_all(folder.join("charts"))?;
    charts::write(&results, &folder.join("charts"))?;
    let path = folder.join("RESULTS.md");
    std::fs::write(&path, report::markdown(&machine, &plan, &results, &upkeep))?;
    println!("\n{}\nWritten to {}", report::targets(&results, &upkeep), path.display());
    Ok(())
}
