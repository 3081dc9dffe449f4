//! The results as pictures. Each has a background of its own, so that it can be read on light and
//! dark pages, and is so narrow that it can be read on a phone, which shows it smaller.

mod bars;
mod lines;
mod page;

use std::path::Path;

use page::Drawn;

use crate::results::Results;

pub(crate) fn write(results: &[Results], folder: &Path) -> Drawn {
    bars::ratio(results, &folder.join("ratio.svg"))?;
    bars::light(results, &folder.join("light.svg"))?;
    lines::throughput(results, &folder.join("throughput.svg"))?;
    lines::latency(results, &folder.join("latency.svg"))
}
