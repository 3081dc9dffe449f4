//! The results as pictures.

use std::error::Error;
use std::ops::Range;
use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::plan::{self, LATENCIES, PRODUCERS, blocking};
use crate::report::nanos;
use crate::rivals::Role;
use crate::rounds::Results;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), Box<dyn Error>>;

const INK: RGBColor = RGBColor(0x24, 0x29, 0x2f);
const PALE: RGBColor = RGBColor(0x8c, 0x95, 0x9f);
const GRID: RGBColor = RGBColor(0xe4, 0xe7, 0xeb);

/// Told apart by people who do not see all colours, too; ours first.
const COLOURS: [RGBColor; 12] = [
    RGBColor(0xd1, 0x24, 0x2f),
    RGBColor(0x1f, 0x77, 0xb4),
    RGBColor(0x2c, 0xa0, 0x2c),
    RGBColor(0xff, 0x9f, 0x1c),
    RGBColor(0x94, 0x67, 0xbd),
    RGBColor(0x8c, 0x56, 0x4b),
    RGBColor(0xe3, 0x77, 0xc2),
    RGBColor(0x17, 0xbe, 0xcf),
    RGBColor(0x7f, 0x7f, 0x7f),
    RGBColor(0xbc, 0xbd, 0x22),
    RGBColor(0x1b, 0x4d, 0x3e),
    RGBColor(0xa0, 0xa0, 0xf0),
];

pub(crate) fn write(results: &[Results], folder: &Path) -> Drawn {
    ratio(results, &folder.join("ratio.svg"))?;
    throughput(results, &folder.join("throughput.svg"))?;
    latency(results, &folder.join("latency.svg"))
}

fn text(size: i32, colour: RGBColor) -> TextStyle<'static> {
    ("sans-serif", size).into_font().color(&colour)
}

fn anchored(size: i32, colour: RGBColor, h: HPos, v: VPos) -> TextStyle<'static> {
    text(size, colour).pos(Pos::new(h, v))
}

fn find<'a>(results: &'a [Results], workload: &crate::workloads::Workload) -> Option<&'a Results> {
    results.iter().find(|results| results.workload == *workload)
}

/// A queue keeps its colour in all charts.
fn colour(name: &str) -> RGBColor {
    let position =
        crate::workloads::contestants().iter().position(|contestant| contestant.name == name);
    COLOURS[position.unwrap_or(0) % COLOURS.len()]
}

/// The time of every queue as a multiple of bywash's, a row for each workload.
fn ratio(results: &[Results], path: &Path) -> Drawn {
    const LEFT: i32 = 330;
    const TOP: i32 = 118;
    const CELL: (i32, i32) = (78, 24);

    let rows: Vec<_> = plan::targets()
        .into_iter()
        .filter_map(|t| Some((find(results, &t.workload)?, t.name)))
        .collect();
    let contestants = crate::workloads::contestants();
    let columns: Vec<_> = contestants
        .iter()
        .filter(|c| matches!(c.role, Role::Ours | Role::Peer))
        .map(|c| c.name)
        .collect();
    let size = (LEFT + CELL.0 * columns.len() as i32 + 20, TOP + CELL.1 * rows.len() as i32 + 40);
    let area = SVGBackend::new(path, (size.0 as u32, size.1 as u32)).into_drawing_area();
    area.fill(&WHITE)?;
    area.draw(&Text::new("Time per item as a multiple of bywash's", (20, 18), text(21, INK)))?;
    let note =
        "bywash itself in nanoseconds; green: slower than bywash; red: faster; empty: cannot do it";
    area.draw(&Text::new(note, (20, 48), text(13, PALE)))?;
    for (x, name) in columns.iter().enumerate() {
        let style = anchored(12, INK, HPos::Center, VPos::Bottom);
        let middle = LEFT + CELL.0 * x as i32 + CELL.0 / 2;
        let (first, second) = name.split_once(['-', ' ']).unwrap_or(("", name));
        area.draw(&Text::new(first, (middle, TOP - 22), style.clone()))?;
        area.draw(&Text::new(second, (middle, TOP - 7), style))?;
    }
    for (y, (results, name)) in rows.iter().enumerate() {
        let top = TOP + CELL.1 * y as i32;
        let style = anchored(13, INK, HPos::Right, VPos::Center);
        area.draw(&Text::new(name.replace('`', ""), (LEFT - 10, top + CELL.1 / 2), style))?;
        for (x, column) in columns.iter().enumerate() {
            let left = LEFT + CELL.0 * x as i32;
            ratio_cell(
                &area,
                results,
                column,
                [(left + 1, top + 1), (left + CELL.0 - 1, top + CELL.1 - 1)],
            )?;
        }
    }
    Ok(area.present()?)
}

fn ratio_cell(area: &Area<'_>, results: &Results, name: &str, corners: [(i32, i32); 2]) -> Drawn {
    let (Some(ours), line) = (results.ours(), results.line(name)) else { return Ok(()) };
    let (fill, ink, label) = match line {
        None => (RGBColor(0xf6, 0xf8, 0xfa), INK, String::new()),
        Some(line) if line.role() == Role::Ours => {
            (INK, WHITE, format!("{} ns", nanos(line.median())))
        }
        Some(line) => {
            let ratio = line.median() / ours.median();
            let decimals = usize::from(ratio < 9.95) + usize::from(ratio < 0.995);
            (shade(ratio), INK, format!("{ratio:.decimals$}"))
        }
    };
    area.draw(&Rectangle::new(corners, fill.filled()))?;
    let [(left, top), (right, bottom)] = corners;
    let middle = ((left + right) / 2, (top + bottom) / 2 + 1);
    Ok(area.draw(&Text::new(label, middle, anchored(13, ink, HPos::Center, VPos::Center)))?)
}

/// White at 1, and as deep as it gets at 16 times and at a quarter.
fn shade(ratio: f64) -> RGBColor {
    let (depth, deepest) = match ratio.log2() {
        slower if slower >= 0.0 => (slower / 4.0, (0x57, 0xb8, 0x6b)),
        faster => (-faster / 2.0, (0xef, 0x6c, 0x6c)),
    };
    let mix = |to: u8| (255.0 + (f64::from(to) - 255.0) * depth.min(1.0)) as u8;
    RGBColor(mix(deepest.0), mix(deepest.1), mix(deepest.2))
}

/// A line in a chart.
struct Series {
    name: &'static str,
    points: Vec<(f64, f64)>,
}

/// Items per second of the blocking queues, by number of producers.
fn throughput(results: &[Results], path: &Path) -> Drawn {
    let mut all: Vec<Series> = Vec::new();
    for producers in PRODUCERS {
        let found = find(results, &blocking(producers));
        for line in found
            .iter()
            .flat_map(|results| &results.lines)
            .filter(|line| line.role() != Role::Batches)
        {
            let point = (producers as f64, 1e3 / line.median());
            match all.iter_mut().find(|series| series.name == line.name()) {
                Some(series) => series.points.push(point),
                None => all.push(Series { name: line.name(), points: vec![point] }),
            }
        }
    }
    let highest =
        all.iter().flat_map(|series| &series.points).map(|point| point.1).fold(0.0, f64::max);
    let area = SVGBackend::new(path, (860, 480)).into_drawing_area();
    area.fill(&WHITE)?;
    let plot = titled(&area, "Throughput by number of producers", "blocking, u64, capacity 1024")?;
    let mut chart = ChartBuilder::on(&plot);
    chart.margin_left(15).margin_right(190).x_label_area_size(45).y_label_area_size(55);
    let last = PRODUCERS[PRODUCERS.len() - 1] as f64;
    let x = (1.0..last).log_scale().base(2.0).with_key_points(PRODUCERS.map(|n| n as f64).into());
    let mut chart = chart.build_cartesian_2d(x, 0.0..highest * 1.05)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .bold_line_style(GRID)
        .light_line_style(WHITE)
        .axis_style(PALE)
        .label_style(text(13, INK))
        .x_label_formatter(&|producers| format!("{producers:.0}"))
        .y_label_formatter(&|items| format!("{items:.0}"))
        .x_desc("producers")
        .y_desc("million items per second")
        .draw()?;
    for series in all.iter().rev() {
        let style = stroke(series.name);
        chart.draw_series(LineSeries::new(series.points.iter().copied(), style))?;
        chart.draw_series(
            series.points.iter().map(|&point| Circle::new(point, 3, style.filled())),
        )?;
    }
    let ends = all
        .iter()
        .map(|series| (series.name, chart.backend_coord(&series.points[series.points.len() - 1])));
    name_ends(&area, ends.collect())?;
    Ok(area.present()?)
}

fn titled<'a>(area: &Area<'a>, title: &str, below: &str) -> Result<Area<'a>, Box<dyn Error>> {
    area.draw(&Text::new(title, (20, 15), text(20, INK)))?;
    area.draw(&Text::new(below, (20, 41), text(13, PALE)))?;
    Ok(area.margin(68, 5, 0, 0))
}

fn stroke(name: &str) -> ShapeStyle {
    let width = if name == "bywash" { 4 } else { 2 };
    colour(name).stroke_width(width)
}

/// Writes each line's name beside its end, moved so that the names do not overlap.
fn name_ends(area: &Area<'_>, mut ends: Vec<(&str, (i32, i32))>) -> Drawn {
    const LINE: i32 = 17;
    ends.sort_by_key(|&(_, (_, y))| y);
    let mut places: Vec<_> = ends.iter().map(|&(_, (_, y))| y).collect();
    for i in 1..places.len() {
        places[i] = places[i].max(places[i - 1] + LINE);
    }
    // Those that were pushed down too far go up again.
    let lowest = area.dim_in_pixel().1 as i32 - 48;
    for i in (0..places.len()).rev() {
        let most = places.get(i + 1).map_or(lowest, |below| below - LINE);
        places[i] = places[i].min(most);
    }
    for ((name, (x, y)), place) in ends.into_iter().zip(places) {
        let pointer = [(x + 5, y), (x + 14, place), (x + 22, place)];
        area.draw(&PathElement::new(pointer, colour(name).stroke_width(1)))?;
        area.draw(&Text::new(
            name,
            (x + 27, place),
            anchored(14, colour(name), HPos::Left, VPos::Center),
        ))?;
    }
    Ok(())
}

/// A panel for each kind of latency.
fn latency(results: &[Results], path: &Path) -> Drawn {
    let panels: Vec<_> = LATENCIES
        .iter()
        .filter_map(|(name, workload)| Some((*name, find(results, workload)?)))
        .collect();
    let area = SVGBackend::new(path, (860, 400 * panels.len() as u32 + 70)).into_drawing_area();
    area.fill(&WHITE)?;
    titled(&area, "Latency", "so many of all took at most so long; both axes are logarithmic")?;
    let (_, rest) = area.split_vertically(68);
    for ((name, results), panel) in panels.into_iter().zip(rest.split_evenly((LATENCIES.len(), 1)))
    {
        latency_panel(&panel, name, results)?;
    }
    Ok(area.present()?)
}

fn latency_panel(panel: &Area<'_>, name: &str, results: &Results) -> Drawn {
    /// One of so many is slower.
    const RARITIES: [f64; 4] = [2.0, 10.0, 100.0, 1000.0];
    let steps =
        (0..=45).map(|i| RARITIES[0] * (RARITIES[3] / RARITIES[0]).powf(f64::from(i) / 45.0));
    let rarities: Vec<_> = steps.collect();
    let at = |line: &crate::rounds::Line, rarity: f64| {
        line.histogram.value_at_quantile(1.0 - 1.0 / rarity).max(1) as f64
    };
    let series = results.lines.iter().map(|line| Series {
        name: line.name(),
        points: rarities.iter().map(|&rarity| (rarity, at(line, rarity))).collect(),
    });
    let all: Vec<_> = series.collect();
    let mut chart = ChartBuilder::on(panel);
    chart
        .margin_left(15)
        .margin_right(190)
        .margin_bottom(12)
        .x_label_area_size(40)
        .y_label_area_size(65);
    chart.caption(name, text(16, INK));
    let x = (RARITIES[0]..RARITIES[3]).log_scale().with_key_points(RARITIES.into());
    let mut chart = chart.build_cartesian_2d(x, extent(&all).log_scale())?;
    chart
        .configure_mesh()
        .bold_line_style(GRID)
        .light_line_style(WHITE)
        .axis_style(PALE)
        .label_style(text(13, INK))
        .x_label_formatter(&|rarity| format!("{} %", 100.0 - 100.0 / rarity))
        .y_label_formatter(&|time| duration(*time))
        .draw()?;
    for series in all.iter().rev() {
        chart.draw_series(LineSeries::new(series.points.iter().copied(), stroke(series.name)))?;
    }
    let ends = all
        .iter()
        .map(|series| (series.name, chart.backend_coord(&series.points[series.points.len() - 1])));
    let top = panel.get_base_pixel();
    name_ends(panel, ends.map(|(name, (x, y))| (name, (x - top.0, y - top.1))).collect())
}

/// Whole powers of ten around all points.
fn extent(all: &[Series]) -> Range<f64> {
    let values = || all.iter().flat_map(|series| &series.points).map(|point| point.1);
    let [low, high] = [values().fold(f64::MAX, f64::min), values().fold(1.0, f64::max)];
    10f64.powf(low.log10().floor())..10f64.powf(high.log10().ceil())
}

fn duration(nanos: f64) -> String {
    match nanos {
        n if n < 1e3 => format!("{n:.0} ns"),
        n if n < 1e6 => format!("{:.0} µs", n / 1e3),
        n => format!("{:.0} ms", n / 1e6),
    }
}
