//! Figures that depend on something, as lines with a name at the end of each.

use std::path::Path;

use plotters::coord::combinators::WithKeyPoints;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::page::{Area, Drawn, GRID, INK, PALE, TITLE, anchored, colour, find, page, text};
use crate::plan::{LATENCIES, PRODUCERS, blocking, describe};
use crate::results::{Figure, Line, Results};
use crate::rivals::Role;

/// A line in a chart.
struct Series {
    name: &'static str,
    points: Vec<(f64, f64)>,
}

/// Items per second of the blocking queues, by number of producers.
pub(super) fn throughput(results: &[Results], path: &Path) -> Drawn {
    let all = by_producers(results);
    let below = "blocking, u64, capacity 1024, not pinned; both axes are logarithmic";
    let (area, rest) = page(path, 500, "Throughput by number of producers", below)?;
    let mut chart = ChartBuilder::on(&rest);
    chart.margin_left(15).margin_right(175).x_label_area_size(50).y_label_area_size(60);
    let last = PRODUCERS[PRODUCERS.len() - 1] as f64;
    let x = (1.0..last).log_scale().base(2.0).with_key_points(PRODUCERS.map(|n| n as f64).into());
    let mut chart = chart.build_cartesian_2d(x, logarithmic(&all))?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .bold_line_style(GRID)
        .light_line_style(WHITE)
        .axis_style(PALE)
        .label_style(text(13, INK))
        .x_label_formatter(&|producers| format!("{producers:.0}"))
        .y_label_formatter(&|items| items.to_string())
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
    let ends = all.iter().map(|series| (series.name, chart.backend_coord(&end(series))));
    name_ends(&rest, ends.collect())?;
    Ok(area.present()?)
}

fn by_producers(results: &[Results]) -> Vec<Series> {
    let mut all: Vec<Series> = Vec::new();
    for producers in PRODUCERS {
        let found = find(results, blocking(producers));
        let lines = found.iter().flat_map(|results| &results.lines);
        for line in lines.filter(|line| line.role() != Role::Variant) {
            let point = (producers as f64, 1e3 / line.median(Figure::Time));
            match all.iter_mut().find(|series| series.name == line.name()) {
                Some(series) => series.points.push(point),
                None => all.push(Series { name: line.name(), points: vec![point] }),
            }
        }
    }
    all
}

fn end(series: &Series) -> (f64, f64) {
    series.points[series.points.len() - 1]
}

fn stroke(name: &str) -> ShapeStyle {
    let width = if name == "bywash" { 4 } else { 2 };
    colour(name).stroke_width(width)
}

/// Writes each line's name next to its end, moved so that the names do not overlap. The ends are in
/// pixels of the whole picture.
fn name_ends(area: &Area<'_>, mut ends: Vec<(&str, (i32, i32))>) -> Drawn {
    const LINE: i32 = 18;
    let (base_x, base_y) = area.get_base_pixel();
    ends.iter_mut().for_each(|(_, (x, y))| (*x, *y) = (*x - base_x, *y - base_y));
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
        let style = anchored(14, colour(name), HPos::Left, VPos::Center);
        area.draw(&Text::new(name.to_string(), (x + 27, place), style))?;
    }
    Ok(())
}

/// A panel for each kind of latency.
pub(super) fn latency(results: &[Results], path: &Path) -> Drawn {
    let panels: Vec<_> =
        LATENCIES.into_iter().filter_map(|workload| find(results, workload)).collect();
    let height = TITLE as u32 + 330 * panels.len() as u32;
    let below = "so many of all took at most so long; both axes are logarithmic";
    let (area, rest) = page(path, height, "Latency of bywash and the best peers", below)?;
    for (results, panel) in panels.iter().zip(rest.split_evenly((panels.len(), 1))) {
        latency_panel(&panel, results)?;
    }
    Ok(area.present()?)
}

/// One of so many is slower.
const RARITIES: [f64; 4] = [2.0, 10.0, 100.0, 1000.0];

fn latency_panel(panel: &Area<'_>, results: &Results) -> Drawn {
    let all = percentiles(results);
    let mut chart = ChartBuilder::on(panel);
    chart
        .margin_left(15)
        .margin_right(175)
        .margin_bottom(12)
        .x_label_area_size(40)
        .y_label_area_size(60);
    chart.caption(describe(&results.workload), text(16, INK));
    let x = (RARITIES[0]..RARITIES[3]).log_scale().with_key_points(RARITIES.into());
    let mut chart = chart.build_cartesian_2d(x, logarithmic(&all))?;
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
    let ends = all.iter().map(|series| (series.name, chart.backend_coord(&end(series))));
    name_ends(panel, ends.collect())
}

/// Of bywash and the few best peers.
fn percentiles(results: &Results) -> Vec<Series> {
    const PEERS: usize = 3;
    const POINTS: i32 = 45;
    let steps = (0..=POINTS)
        .map(|i| RARITIES[0] * (RARITIES[3] / RARITIES[0]).powf(f64::from(i) / f64::from(POINTS)));
    let at = |line: &Line, rarity: f64| {
        line.delivery.value_at_quantile(1.0 - 1.0 / rarity).max(1) as f64
    };
    let lines =
        results.ours().into_iter().chain(results.peers(Figure::Time).into_iter().take(PEERS));
    let series = lines.map(|line| Series {
        name: line.name(),
        points: steps.clone().map(|rarity| (rarity, at(line, rarity))).collect(),
    });
    series.collect()
}

/// An axis for all points, with marks at 1, 2, 5, 10 and so on.
fn logarithmic(all: &[Series]) -> WithKeyPoints<LogCoord<f64>> {
    let values = || all.iter().flat_map(|series| &series.points).map(|point| point.1);
    let [low, high] = [values().fold(f64::MAX, f64::min), values().fold(0.0, f64::max)];
    let marks: Vec<_> =
        (-2..10).flat_map(|power| [1.0, 2.0, 5.0].map(|digit| digit * 10f64.powi(power))).collect();
    let first = marks.iter().rposition(|&mark| mark <= low).unwrap_or(0);
    let last = marks.iter().position(|&mark| mark >= high).unwrap_or(marks.len() - 1);
    let range = marks[first]..marks[last.max(first + 1)];
    range.log_scale().with_key_points(marks[first..=last].to_vec())
}

fn duration(nanos: f64) -> String {
    match nanos {
        n if n < 1e3 => format!("{n:.0} ns"),
        n if n < 1e6 => format!("{:.0} µs", n / 1e3),
        n => format!("{:.0} ms", n / 1e6),
    }
}
