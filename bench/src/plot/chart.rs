//! Lines over an axis, as SVG.

use plotters::coord::ranged1d::ValueFormatter;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::error::{Context, Failure};

/// A picture.
#[derive(Debug)]
pub(super) struct Chart {
    pub(super) title: String,
    /// Date, machine and method, below the picture.
    pub(super) caption: String,
    pub(super) across: Axis,
    pub(super) up: &'static str,
    pub(super) lines: Vec<Line>,
}

/// What is across.
#[derive(Debug)]
pub(super) struct Axis {
    pub(super) name: &'static str,
    /// Steps of ten rather than of one.
    pub(super) logarithmic: bool,
}

/// One line.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) name: String,
    pub(super) points: Vec<(f64, f64)>,
}

const SIZE: (u32, u32) = (760, 440);
const CAPTION: u32 = 28;

impl Chart {
    /// The picture as the text of an SVG file.
    ///
    /// # Errors
    /// Where there is nothing to draw.
    pub(super) fn svg(&self) -> Result<String, Failure> {
        let points = || self.lines.iter().flat_map(|line| &line.points);
        let highest = |coordinate: fn(&(f64, f64)) -> f64| points().map(coordinate).reduce(f64::max);
        let (Some(right), Some(top)) = (highest(|point| point.0), highest(|point| point.1)) else {
            return Err(Failure(format!("{}: there are no points", self.title)));
        };
        let mut svg = String::new();
        {
            let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
            // Its own ground, so that it reads on a dark page too.
            root.fill(&WHITE).context("SVG")?;
            let (picture, below) = root.split_vertically(SIZE.1 - CAPTION);
            let grey = BLACK.mix(0.65);
            let style = ("sans-serif", 12).into_text_style(&root).color(&grey).pos(Pos::new(HPos::Center, VPos::Top));
            below.draw_text(&self.caption, &style, (SIZE.0.cast_signed() / 2, 4)).context("SVG")?;
            let mut builder = ChartBuilder::on(&picture);
            builder.caption(&self.title, ("sans-serif", 17)).margin(12).x_label_area_size(38).y_label_area_size(52);
            let up = 0.0..top * 1.05;
            if self.across.logarithmic {
                self.draw(builder.build_cartesian_2d((1.0..right * 1.3).log_scale(), up).context("SVG")?)?;
            } else {
                self.draw(builder.build_cartesian_2d(0.0..right * 1.03, up).context("SVG")?)?;
            }
            root.present().context("SVG")?;
        }
        Ok(svg)
    }

    fn draw<'a, X>(&self, mut chart: ChartContext<'a, SVGBackend<'a>, Cartesian2d<X, RangedCoordf64>>) -> Result<(), Failure>
    where
        X: Ranged<ValueType = f64> + ValueFormatter<f64>,
    {
        let whole = |value: &f64| format!("{value:.0}");
        let mut mesh = chart.configure_mesh();
        mesh.x_desc(self.across.name).y_desc(self.up).light_line_style(WHITE).x_label_formatter(&whole);
        mesh.draw().context("SVG")?;
        for (number, line) in self.lines.iter().enumerate() {
            let style = ShapeStyle::from(&Palette99::pick(number)).stroke_width(2);
            let series = LineSeries::new(line.points.iter().copied(), style).point_size(3);
            let series = chart.draw_series(series).context("SVG")?;
            series.label(&line.name).legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 20, y)], style));
        }
        let mut labels = chart.configure_series_labels();
        labels.border_style(BLACK.mix(0.3)).background_style(WHITE).position(SeriesLabelPosition::UpperRight);
        labels.draw().context("SVG")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(points: Vec<(f64, f64)>, logarithmic: bool) -> Chart {
        let lines = vec![Line { name: "ours & theirs".to_owned(), points }];
        Chart { title: "Rate".to_owned(), caption: "today".to_owned(), across: Axis { name: "SAs", logarithmic }, up: "Mpps", lines }
    }

    #[test]
    fn a_chart_names_its_axes_and_lines() {
        for logarithmic in [false, true] {
            let svg = chart(vec![(1.0, 12.0), (100_000.0, 3.0)], logarithmic).svg().unwrap();
            for text in ["<svg", "SAs", "Mpps", "ours &amp; theirs", "today", "</svg>"] {
                assert!(svg.contains(text), "{text}");
            }
        }
    }

    #[test]
    fn without_points_there_is_no_chart() {
        assert!(chart(Vec::new(), false).svg().is_err());
    }
}
