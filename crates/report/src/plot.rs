//! Plots: Manhattan, quantiles, allele frequencies; the same drawing as SVG and as PNG.

mod draw;
mod points;

use crate::{association::AssociationTable, error::ReportError};
use plotters::prelude::*;
use points::{ManhattanPoints, QuantilePoints};
use std::sync::OnceLock;

/// Which plot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlotKind {
    /// -log10 p along the genome.
    Manhattan,
    /// -log10 p against what the null hypothesis expects.
    Quantiles,
    /// Histogram of alternate allele frequencies.
    Frequencies,
}

/// A plot, ready to be drawn.
pub struct Plot {
    content: Content,
    title: String,
}

enum Content {
    Manhattan(ManhattanPoints),
    Quantiles(QuantilePoints),
    Frequencies(Vec<u32>),
}

/// Width and height in pixels.
const SIZE_WIDE: (u32, u32) = (1200, 480);
const SIZE_SQUARE: (u32, u32) = (600, 560);

impl Plot {
    /// The plot of a table. Points that would fall on the same pixel are drawn once.
    ///
    /// # Errors
    /// [`ReportError::NothingToPlot`].
    pub fn new(kind: PlotKind, table: &AssociationTable, title: &str) -> Result<Self, ReportError> {
        let content = match kind {
            PlotKind::Manhattan => Content::Manhattan(ManhattanPoints::new(table, SIZE_WIDE)?),
            PlotKind::Quantiles => Content::Quantiles(QuantilePoints::new(table, SIZE_SQUARE)?),
            PlotKind::Frequencies => Content::Frequencies(points::frequency_bins(table)?),
        };
        Ok(Self { content, title: title.to_owned() })
    }

    /// Width and height in pixels.
    pub fn size(&self) -> (u32, u32) {
        match self.content {
            Content::Manhattan(_) => SIZE_WIDE,
            Content::Quantiles(_) | Content::Frequencies(_) => SIZE_SQUARE,
        }
    }

    /// The plot as an SVG document.
    ///
    /// # Errors
    /// [`ReportError::Draw`].
    pub fn to_svg(&self) -> Result<String, ReportError> {
        register_font()?;
        let mut text = String::new();
        self.draw(SVGBackend::with_string(&mut text, self.size()).into_drawing_area())?;
        Ok(text)
    }

    /// The plot as a PNG file of 8-bit RGB.
    ///
    /// # Errors
    /// [`ReportError::Draw`], [`ReportError::Png`].
    pub fn to_png(&self) -> Result<Vec<u8>, ReportError> {
        register_font()?;
        let (width, height) = self.size();
        let mut pixels = vec![0; 3 * usize::try_from(width * height).unwrap_or(0)];
        self.draw(BitMapBackend::with_buffer(&mut pixels, (width, height)).into_drawing_area())?;
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, width, height);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        let mut writer = encoder.write_header()?;
        writer.write_image_data(&pixels)?;
        writer.finish()?;
        Ok(file)
    }

    fn draw<B: DrawingBackend>(&self, area: DrawingArea<B, plotters::coord::Shift>) -> Result<(), ReportError> {
        let drawn = match &self.content {
            Content::Manhattan(points) => draw::manhattan(&area, points, &self.title),
            Content::Quantiles(points) => draw::quantiles(&area, points, &self.title),
            Content::Frequencies(bins) => draw::frequencies(&area, bins, &self.title),
        };
        drawn.and_then(|()| area.present()).map_err(|error| ReportError::Draw(error.to_string()))
    }
}

/// The font travels with the program, so that plots are the same on every machine.
fn register_font() -> Result<(), ReportError> {
    static REGISTERED: OnceLock<bool> = OnceLock::new();
    let register = || {
        let font = epaint_default_fonts::UBUNTU_LIGHT;
        plotters::style::register_font("sans-serif", FontStyle::Normal, font).is_ok()
    };
    if *REGISTERED.get_or_init(register) {
        Ok(())
    } else {
        Err(ReportError::Draw("the font cannot be read".to_owned()))
    }
}
