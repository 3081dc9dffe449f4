//! What all pictures have in common.

use std::error::Error;
use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::results::Results;
use crate::workloads::{Workload, contestants};

pub(super) type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
pub(super) type Drawn = Result<(), Box<dyn Error>>;

pub(super) const WIDTH: u32 = 560;

pub(super) const INK: RGBColor = RGBColor(0x24, 0x29, 0x2f);
pub(super) const PALE: RGBColor = RGBColor(0x65, 0x6d, 0x76);
pub(super) const GRID: RGBColor = RGBColor(0xe4, 0xe7, 0xeb);

/// Told apart by people who do not see all colours, too; ours first.
pub(super) const COLOURS: [RGBColor; 12] = [
    RGBColor(0xd1, 0x24, 0x2f),
    RGBColor(0x1f, 0x77, 0xb4),
    RGBColor(0x2c, 0xa0, 0x2c),
    RGBColor(0xe6, 0x85, 0x00),
    RGBColor(0x94, 0x67, 0xbd),
    RGBColor(0x8c, 0x56, 0x4b),
    RGBColor(0xe3, 0x77, 0xc2),
    RGBColor(0x12, 0x9a, 0xa8),
    RGBColor(0x7f, 0x7f, 0x7f),
    RGBColor(0x9a, 0x9b, 0x1a),
    RGBColor(0x1b, 0x4d, 0x3e),
    RGBColor(0x80, 0x80, 0xf0),
];

/// An empty picture with a title, a line below it, and what is left to draw on.
pub(super) fn page<'a>(
    path: &'a Path,
    height: u32,
    title: &str,
    below: &str,
) -> Result<(Area<'a>, Area<'a>), Box<dyn Error>> {
    let area = SVGBackend::new(path, (WIDTH, height)).into_drawing_area();
    area.fill(&WHITE)?;
    area.draw(&Text::new(title.to_string(), (16, 14), text(18, INK)))?;
    area.draw(&Text::new(below.to_string(), (16, 42), text(13, PALE)))?;
    let (_, rest) = area.split_vertically(TITLE);
    Ok((area, rest))
}

/// The height of the title.
pub(super) const TITLE: i32 = 68;

/// Of this height in pixels.
pub(super) fn text(height: u32, colour: RGBColor) -> TextStyle<'static> {
    // The library writes sizes divided by this.
    const FACTOR: f64 = 1.24;
    ("sans-serif", f64::from(height) * FACTOR).into_font().color(&colour)
}

pub(super) fn anchored(height: u32, colour: RGBColor, h: HPos, v: VPos) -> TextStyle<'static> {
    text(height, colour).pos(Pos::new(h, v))
}

pub(super) fn find(results: &[Results], workload: Workload) -> Option<&Results> {
    results.iter().find(|results| results.workload == workload)
}

/// A queue keeps its colour in all charts.
pub(super) fn colour(name: &str) -> RGBColor {
    let position = contestants().iter().position(|contestant| contestant.name == name);
    COLOURS[position.unwrap_or(0) % COLOURS.len()]
}
