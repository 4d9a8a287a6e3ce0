//! The three plots: false alarms by weather, detection over time, harm by fault.

use std::path::Path;

use anyhow::anyhow;
use plotters::coord::Shift;
use plotters::prelude::*;

use crate::rules::Answer;
use crate::tournament::Tally;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Colours that people who see few of them can tell apart.
const COLOURS: [RGBColor; 9] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(100, 100, 100),
    RGBColor(0, 0, 0),
    RGBColor(150, 75, 0),
];

fn colour(index: usize) -> RGBColor {
    COLOURS[index % COLOURS.len()]
}

fn area(path: &Path, size: (u32, u32)) -> anyhow::Result<Area<'_>> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let area = SVGBackend::new(path, size).into_drawing_area();
    area.fill(&WHITE).map_err(|error| anyhow!("drawing {}: {error}", path.display()))?;
    Ok(area)
}

/// Draws, and names the file if that fails.
fn draw(
    path: &Path,
    size: (u32, u32),
    with: impl FnOnce(&Area<'_>) -> Result<(), Box<dyn std::error::Error>>,
) -> anyhow::Result<()> {
    let area = area(path, size)?;
    with(&area).map_err(|error| anyhow!("drawing {}: {error}", path.display()))?;
    area.present().map_err(|error| anyhow!("writing {}: {error}", path.display()))
}

/// A row of dots per weather and rate, on a logarithmic axis.
pub(crate) fn false_alarms(path: &Path, rows: &[(String, Vec<Tally>)]) -> anyhow::Result<()> {
    let height = 110 + 18 * rows.len() as u32;
    draw(path, (900, height), |area| {
        let rows_drawn = rows.len() as f64;
        let mut chart = ChartBuilder::on(area)
            .caption("Good releases taken back, in percent", ("sans-serif", 18))
            .margin(12)
            .x_label_area_size(36)
            .y_label_area_size(190)
            .build_cartesian_2d((0.01_f64..100.0).log_scale(), 0.0..rows_drawn)?;
        chart
            .configure_mesh()
            .disable_y_mesh()
            .y_labels(0)
            .x_desc("percent of rollouts; 0.01 stands for none")
            .light_line_style(TRANSPARENT)
            .draw()?;
        for (row, (name, _)) in rows.iter().enumerate() {
            let at = chart.backend_coord(&(0.01, rows_drawn - row as f64 - 0.5));
            let style = ("sans-serif", 12).into_font().color(&BLACK);
            area.draw(&Text::new(name.clone(), (14, at.1 - 6), style))?;
        }
        chart.draw_series(std::iter::once(PathElement::new(vec![(5.0, 0.0), (5.0, rows_drawn)], BLACK.mix(0.4))))?;
        for rule in 0..rows.first().map_or(0, |row| row.1.len()) {
            let colour = colour(rule);
            let dots = rows.iter().enumerate().map(|(row, (_, tallies))| {
                let percent = (tallies[rule].worse().value() * 100.0).max(0.01);
                Circle::new((percent, rows_drawn - row as f64 - 0.5), 4, colour.filled())
            });
            chart
                .draw_series(dots)?
                .label(rows[0].1[rule].name.clone())
                .legend(move |(x, y)| Circle::new((x + 8, y), 4, colour.filled()));
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::Coordinate(16, 60))
            .background_style(WHITE.mix(0.9))
            .border_style(BLACK.mix(0.3))
            .draw()?;
        Ok(())
    })
}

/// The share of bad releases that were taken back, over time.
pub(crate) fn detection(path: &Path, what: &str, tallies: &[Tally]) -> anyhow::Result<()> {
    draw(path, (800, 440), |area| {
        let mut chart = ChartBuilder::on(area)
            .caption(format!("Bad releases taken back: {what}"), ("sans-serif", 18))
            .margin(12)
            .x_label_area_size(36)
            .y_label_area_size(48)
            .build_cartesian_2d(0.0..30.0_f64, 0.0..100.0_f64)?;
        chart.configure_mesh().x_desc("minutes").y_desc("percent taken back").light_line_style(TRANSPARENT).draw()?;
        for (rule, tally) in tallies.iter().enumerate() {
            let mut times: Vec<f64> = tally
                .played
                .iter()
                .filter(|played| played.answer == Answer::Worse)
                .map(|played| f64::from(played.at) / 60.0)
                .collect();
            times.sort_unstable_by(f64::total_cmp);
            let share = |until: f64| times.partition_point(|time| *time <= until) as f64 / tally.played.len() as f64;
            let line = (0..=180).map(|bucket| f64::from(bucket) / 6.0).map(|minute| (minute, share(minute) * 100.0));
            let colour = colour(rule);
            let width = if rule == 0 { 3 } else { 2 };
            chart
                .draw_series(LineSeries::new(line, colour.stroke_width(width)))?
                .label(tally.name.clone())
                .legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 16, y)], colour.stroke_width(width)));
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::LowerRight)
            .background_style(WHITE.mix(0.9))
            .border_style(BLACK.mix(0.3))
            .draw()?;
        Ok(())
    })
}

/// Median failed requests by fault, as dots on a logarithmic axis.
pub(crate) fn harm(path: &Path, rows: &[(String, Vec<Tally>)]) -> anyhow::Result<()> {
    draw(path, (900, 120 + 34 * rows.len() as u32), |area| {
        let lanes = rows.len() as f64;
        let mut chart = ChartBuilder::on(area)
            .caption("Failed requests in the canary before it is taken back, median", ("sans-serif", 18))
            .margin(12)
            .x_label_area_size(36)
            .y_label_area_size(250)
            .build_cartesian_2d((1.0_f64..100_000.0).log_scale(), 0.0..lanes)?;
        chart
            .configure_mesh()
            .disable_y_mesh()
            .y_labels(0)
            .x_desc("failed requests")
            .light_line_style(TRANSPARENT)
            .draw()?;
        for (row, (name, _)) in rows.iter().enumerate() {
            let at = chart.backend_coord(&(1.0, lanes - row as f64 - 0.5));
            area.draw(&Text::new(name.clone(), (14, at.1 - 6), ("sans-serif", 12).into_font().color(&BLACK)))?;
        }
        for rule in 0..rows.first().map_or(0, |row| row.1.len()) {
            let colour = colour(rule);
            let dots = rows.iter().enumerate().filter_map(|(row, (_, tallies))| {
                let failed = tallies[rule].failed().value?.max(1.0);
                Some(Circle::new((failed, lanes - row as f64 - 0.5), 5, colour.filled()))
            });
            chart
                .draw_series(dots)?
                .label(rows[0].1[rule].name.clone())
                .legend(move |(x, y)| Circle::new((x + 8, y), 4, colour.filled()));
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::LowerRight)
            .background_style(WHITE.mix(0.9))
            .border_style(BLACK.mix(0.3))
            .draw()?;
        Ok(())
    })
}
