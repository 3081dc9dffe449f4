//! bywash, the best peer and the median peer as bars, for a few workloads.

use std::path::Path;

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::page::{Area, COLOURS, Drawn, INK, PALE, TITLE, WIDTH, anchored, find, page};
use crate::plan::{HEADLINES, describe};
use crate::results::{Figure, Line, Results};
use crate::units::duration;
use crate::workloads::paced;

const LEFT: i32 = 215;
/// What is written after a bar has so much room.
const RIGHT: i32 = 195;
const LEGEND: i32 = 30;
const BAR: i32 = 17;
const GAP: i32 = 15;
const ROW: i32 = 3 * BAR + GAP;

/// bywash, the best, and the one in the middle.
const PLACES: [(&str, RGBColor); 3] = [
    ("bywash", COLOURS[0]),
    ("the best peer", RGBColor(0x1f, 0x77, 0xb4)),
    ("the median peer", RGBColor(0x9a, 0xa4, 0xae)),
];

/// For the head of RESULTS.md: how long an item takes.
pub(super) fn ratio(results: &[Results], path: &Path) -> Drawn {
    let rows: Vec<_> =
        HEADLINES.into_iter().filter_map(|workload| find(results, workload)).collect();
    let below = "The shortest bar of three is the best. The last row is processor time.";
    chart(path, "Time per item: bywash, the best and the median peer", below, &rows)
}

/// Where threads rest: how much processor time an item takes.
pub(super) fn light(results: &[Results], path: &Path) -> Drawn {
    let rows: Vec<_> =
        paced::ALL.into_iter().filter_map(|workload| find(results, workload)).collect();
    let below = "Of all threads, with the producers' sleep and wake-up. The shortest bar is best.";
    chart(path, "Processor time per item, as users load it", below, &rows)
}

fn chart(path: &Path, title: &str, below: &str, rows: &[&Results]) -> Drawn {
    let height = TITLE + LEGEND + ROW * rows.len() as i32 + GAP;
    let (area, rest) = page(path, height as u32, title, below)?;
    let (legend_area, rest) = rest.split_vertically(LEGEND);
    legend(&legend_area)?;
    for (results, row) in rows.iter().zip(rest.split_evenly((rows.len(), 1))) {
        draw_row(&row, results)?;
    }
    Ok(area.present()?)
}

fn legend(area: &Area<'_>) -> Drawn {
    for (i, (name, colour)) in PLACES.into_iter().enumerate() {
        let left = 16 + 150 * i as i32;
        area.draw(&Rectangle::new([(left, 3), (left + 13, 16)], colour.filled()))?;
        let style = anchored(14, INK, HPos::Left, VPos::Center);
        area.draw(&Text::new(name, (left + 20, 10), style))?;
    }
    Ok(())
}

fn draw_row(row: &Area<'_>, results: &Results) -> Drawn {
    label(row, &describe(&results.workload).replace('`', ""))?;
    let peers = results.peers(Figure::Time);
    let (Some(ours), false) = (results.ours(), peers.is_empty()) else { return Ok(()) };
    let shown = [ours, peers[0], peers[peers.len() / 2]];
    let median = |line: &Line| line.median(Figure::Time);
    let longest = shown.into_iter().map(median).fold(0.0, f64::max);
    for ((line, (_, colour)), i) in shown.into_iter().zip(PLACES).zip(0..) {
        let full = WIDTH as i32 - LEFT - RIGHT;
        let length = (f64::from(full) * median(line) / longest).max(1.0) as i32;
        let (top, right) = (i * BAR, LEFT + length);
        let corners = [(LEFT, top + 1), (right, top + BAR - 1)];
        row.draw(&Rectangle::new(corners, colour.filled()))?;
        let what = format!("{}  {}", duration(median(line)), line.name());
        let place = (right + 6, top + BAR / 2 + 1);
        row.draw(&Text::new(what, place, anchored(13, INK, HPos::Left, VPos::Center)))?;
    }
    Ok(())
}

/// To the left of the bars, a line for each part.
fn label(row: &Area<'_>, what: &str) -> Drawn {
    let parts: Vec<_> = what.split(", ").collect();
    let top = (3 - parts.len() as i32) * BAR / 2 + BAR / 2;
    for (part, i) in parts.into_iter().zip(0..) {
        let (height, colour) = if i == 0 { (14, INK) } else { (12, PALE) };
        let style = anchored(height, colour, HPos::Right, VPos::Center);
        row.draw(&Text::new(part.to_string(), (LEFT - 12, top + i * BAR), style))?;
    }
    Ok(())
}
