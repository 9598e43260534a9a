//! Line charts as inline SVG. Colors come from the page's style sheet, so that they suit light and
//! dark mode.

use std::fmt::Write as _;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 260.0;
/// Margins around the plot, for the labels on the left and at the bottom.
const LEFT: f64 = 76.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 34.0;
/// Number of points above which a series has no markers with tooltips.
const MARKERS_MAX: usize = 120;
/// Approximate number of horizontal grid lines.
const GRID_LINES: f64 = 4.0;

/// A series of a chart.
#[derive(Debug)]
pub(crate) struct Series {
    pub(crate) name: String,
    /// Points in ascending order of x.
    pub(crate) points: Vec<(f64, f64)>,
}

/// Scale of the horizontal axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Axis {
    /// Seconds.
    Time,
    /// Quantiles on a logarithmic scale: 90 %, 99 % and 99.9 % are at equal distances.
    Percentiles,
}

impl Axis {
    fn position(self, x: f64) -> f64 {
        match self {
            Self::Time => x,
            Self::Percentiles => -(1.0 - x).max(1e-6).log10(),
        }
    }

    fn labels(self, end: f64) -> Vec<(f64, String)> {
        match self {
            Self::Time => ticks(end).into_iter().map(|tick| (tick, format!("{} s", number(tick)))).collect(),
            Self::Percentiles => {
                [(0.0, "0%"), (0.5, "50%"), (0.9, "90%"), (0.99, "99%"), (0.999, "99.9%"), (0.9999, "99.99%")]
                    .into_iter()
                    .map(|(quantile, text)| (self.position(quantile), text.to_owned()))
                    .filter(|(tick, _)| *tick <= end + 1e-9)
                    .collect()
            }
        }
    }
}

/// Draws a chart with its legend; `unit` follows each number of the vertical axis. Returns an empty
/// string without points.
pub(crate) fn chart(series: &[Series], axis: Axis, unit: &str) -> String {
    let points = || series.iter().flat_map(|one| one.points.iter().map(|(x, y)| (axis.position(*x), *y)));
    let end = points().map(|(x, _)| x).fold(0.0, f64::max);
    let high = points().map(|(_, y)| y).fold(0.0, f64::max);
    if end <= 0.0 {
        return String::new();
    }
    let top = ticks(if high > 0.0 { high } else { 1.0 }).last().copied().unwrap_or(high).max(high);
    let x = |value: f64| LEFT + value / end * (WIDTH - LEFT - RIGHT);
    let y = |value: f64| HEIGHT - BOTTOM - value / top * (HEIGHT - TOP - BOTTOM);
    let mut svg = format!(r#"<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img">"#);
    // Writing to a string does not fail.
    for tick in ticks(top) {
        let (at, end, text) = (y(tick), WIDTH - RIGHT, escape(&format!("{}{unit}", number(tick))));
        let _ = write!(svg, r#"<path class="grid" d="M{LEFT} {at:.1}H{end}"/>"#);
        let _ = write!(svg, r#"<text x="{:.1}" y="{:.1}" text-anchor="end">{text}</text>"#, LEFT - 8.0, at + 4.0);
    }
    for (tick, text) in axis.labels(end) {
        let (at, low) = (x(tick), HEIGHT - BOTTOM + 20.0);
        let _ = write!(svg, r#"<text x="{at:.1}" y="{low}" text-anchor="middle">{text}</text>"#);
    }
    for (index, one) in series.iter().enumerate() {
        let mut path = String::new();
        for (index, (px, py)) in one.points.iter().enumerate() {
            let (px, py) = (x(axis.position(*px)), y(*py));
            let _ = write!(path, "{}{px:.1} {py:.1}", if index == 0 { 'M' } else { 'L' });
        }
        let _ = write!(svg, r#"<path class="line c{}" d="{path}"/>"#, index % 6);
        if one.points.len() <= MARKERS_MAX {
            for (px, py) in &one.points {
                let tooltip = escape(&format!("{}: {}{unit}", one.name, number(*py)));
                let (class, px, py) = (index % 6, x(axis.position(*px)), y(*py));
                let _ = write!(
                    svg,
                    r#"<circle class="dot c{class}" cx="{px:.1}" cy="{py:.1}" r="6"><title>{tooltip}</title></circle>"#
                );
            }
        }
    }
    svg.push_str("</svg><p class=\"legend\">");
    for (index, one) in series.iter().enumerate() {
        let _ = write!(svg, r#"<span class="c{}">{}</span>"#, index % 6, escape(&one.name));
    }
    svg.push_str("</p>");
    svg
}

/// Returns about [`GRID_LINES`] round numbers from 0 to at least `high`.
fn ticks(high: f64) -> Vec<f64> {
    if !(high.is_finite() && high > 0.0) {
        return vec![0.0];
    }
    let rough = high / GRID_LINES;
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 2.5, 5.0, 10.0].map(|times| times * power).into_iter().find(|step| *step >= rough * 0.999);
    let step = step.unwrap_or(rough);
    (0..=12).map(|index| f64::from(index) * step).take_while(|tick| *tick < high + step * 0.999).collect()
}

/// Formats a number with few digits.
pub(crate) fn number(value: f64) -> String {
    let digits = match value.abs() {
        big if big >= 100.0 => 0,
        middle if middle >= 10.0 => 1,
        small if small >= 1.0 => 2,
        _ => 3,
    };
    let text = format!("{value:.digits$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    group_thousands(text)
}

/// Inserts thousands separators.
fn group_thousands(text: &str) -> String {
    let whole = text.split('.').next().unwrap_or_default().trim_start_matches('-').len();
    let sign = text.len() - text.trim_start_matches('-').len();
    let mut grouped = String::new();
    for (index, digit) in text.chars().enumerate() {
        let place = index.wrapping_sub(sign);
        if index > sign && place < whole && (whole - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// Escapes a text for HTML.
pub(crate) fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            other => safe.push(other),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_in_the_page() {
        assert_eq!(escape(r#"<a href="x">'&"#), "&lt;a href=&quot;x&quot;&gt;&#39;&amp;");
        let line = Series { name: "</svg><script>".into(), points: vec![(0.0, 1.0), (1.0, 2.0)] };
        let svg = chart(&[line], Axis::Time, "<ms>");
        assert!(!svg.contains("<script>") && !svg.contains("<ms>"));
    }

    #[test]
    fn axes_have_round_numbers_and_include_the_maximum() {
        assert_eq!(ticks(7.3), [0.0, 2.0, 4.0, 6.0, 8.0]);
        assert_eq!(ticks(0.0), [0.0]);
        for high in [0.001, 1.0, 99.9, 12_345.0] {
            let ticks = ticks(high);
            assert!(ticks.last().is_some_and(|last| *last >= high) && ticks.len() <= 8, "{high}: {ticks:?}");
        }
    }

    #[test]
    fn numbers_have_few_digits_and_thousands_separators() {
        for (value, text) in [
            (0.0, "0"),
            (0.25, "0.25"),
            (12.34, "12.3"),
            (1234.5, "1,234"),
            (-1_234_567.0, "-1,234,567"),
            (100.0, "100"),
        ] {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn the_90th_99th_and_999th_percentiles_are_equally_spaced() {
        let place = |quantile| Axis::Percentiles.position(quantile);
        assert!((place(0.99) - place(0.9) - (place(0.999) - place(0.99))).abs() < 1e-9);
        assert!(place(1.0).is_finite());
    }

    #[test]
    fn a_chart_without_points_is_empty() {
        assert_eq!(chart(&[], Axis::Time, ""), "");
        assert_eq!(chart(&[Series { name: "a".into(), points: vec![] }], Axis::Percentiles, ""), "");
    }
}
