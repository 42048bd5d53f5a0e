//! The drawing, on any backend.

use super::points::{FREQUENCY_BINS, ManhattanPoints, QuantilePoints, as_f64};
use plotters::{
    coord::Shift,
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};

type Drawn<B> = Result<(), DrawingAreaErrorKind<<B as DrawingBackend>::ErrorType>>;

const FONT: &str = "sans-serif";
const DARK: RGBColor = RGBColor(38, 70, 116);
const LIGHT: RGBColor = RGBColor(110, 150, 200);
const LINE: RGBColor = RGBColor(180, 60, 50);

pub(super) fn manhattan<B: DrawingBackend>(
    area: &DrawingArea<B, Shift>,
    points: &ManhattanPoints,
    title: &str,
) -> Drawn<B> {
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(area)
        .caption(title, (FONT, 20))
        .margin(12)
        .x_label_area_size(46)
        .y_label_area_size(56)
        .build_cartesian_2d(0.0..points.end, 0.0..points.highest)?;
    let mesh = |name| (FONT, 14).into_font().color(&BLACK).pos(name);
    chart
        .configure_mesh()
        .disable_x_mesh()
        .x_labels(0)
        .x_desc("chromosome")
        .y_desc("-log10 p")
        .label_style(mesh(Pos::default()))
        .light_line_style(WHITE)
        .draw()?;
    for (number, (_, positions)) in points.by_chrom.iter().enumerate() {
        let color = if number % 2 == 0 { DARK } else { LIGHT };
        chart.draw_series(positions.iter().map(|point| Circle::new(*point, 2, color.filled())))?;
    }
    chart.draw_series(LineSeries::new([(0.0, points.threshold), (points.end, points.threshold)], LINE))?;
    let label = (FONT, 13).into_font().color(&BLACK).pos(Pos::new(HPos::Center, VPos::Top));
    let plane = chart.plotting_area();
    for (place, chrom) in &points.middles {
        let (x, y) = plane.map_coordinate(&(*place, 0.0));
        area.draw(&Text::new(chrom.to_string(), (x, y + 6), label.clone()))?;
    }
    Ok(())
}

pub(super) fn quantiles<B: DrawingBackend>(
    area: &DrawingArea<B, Shift>,
    points: &QuantilePoints,
    title: &str,
) -> Drawn<B> {
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(area)
        .caption(title, (FONT, 20))
        .margin(12)
        .x_label_area_size(46)
        .y_label_area_size(56)
        .build_cartesian_2d(0.0..points.widest, 0.0..points.highest)?;
    chart
        .configure_mesh()
        .x_desc("expected -log10 p")
        .y_desc("observed -log10 p")
        .label_style((FONT, 14))
        .light_line_style(WHITE)
        .draw()?;
    let end = points.widest.min(points.highest);
    chart.draw_series(LineSeries::new([(0.0, 0.0), (end, end)], LINE))?;
    chart.draw_series(points.points.iter().map(|point| Circle::new(*point, 2, DARK.filled())))?;
    if let Some(lambda) = points.lambda {
        let text = format!("lambda = {lambda:.4}");
        let place = (points.widest * 0.05, points.highest * 0.95);
        chart.draw_series(std::iter::once(Text::new(text, place, (FONT, 16))))?;
    }
    Ok(())
}

pub(super) fn frequencies<B: DrawingBackend>(area: &DrawingArea<B, Shift>, bins: &[u32], title: &str) -> Drawn<B> {
    area.fill(&WHITE)?;
    let highest = bins.iter().copied().max().unwrap_or(1).max(1);
    let mut chart = ChartBuilder::on(area)
        .caption(title, (FONT, 20))
        .margin(12)
        .x_label_area_size(46)
        .y_label_area_size(64)
        .build_cartesian_2d(0.0..1.0, 0.0..f64::from(highest) * 1.05)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .x_desc("frequency of the alternate allele")
        .y_desc("variants")
        .label_style((FONT, 14))
        .light_line_style(WHITE)
        .draw()?;
    let width = 1.0 / as_f64(FREQUENCY_BINS);
    chart.draw_series(bins.iter().enumerate().map(|(bin, count)| {
        let start = as_f64(bin) * width;
        Rectangle::new([(start, 0.0), (start + 0.9 * width, f64::from(*count))], DARK.filled())
    }))?;
    Ok(())
}
