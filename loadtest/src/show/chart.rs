//! Line charts as inline SVG. Colours come from the page's style sheet, so that they suit light and dark.

use std::fmt::Write as _;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 260.0;
/// Around the plot: for the numbers on the left and below.
const LEFT: f64 = 76.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 34.0;
/// Points, beyond which they are too near to each other to be pointed at.
const DOTS: usize = 120;
/// Lines across, about.
const STEPS: f64 = 4.0;

/// A line of a chart.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) name: String,
    /// In the order of x.
    pub(crate) points: Vec<(f64, f64)>,
}

/// How the horizontal axis is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Axis {
    /// Seconds.
    Time,
    /// Quantiles, so that 90 %, 99 %, 99.9 % lie at equal distances: what matters is at the right end.
    Nines,
}

impl Axis {
    fn place(self, x: f64) -> f64 {
        match self {
            Self::Time => x,
            Self::Nines => -(1.0 - x).max(1e-6).log10(),
        }
    }

    fn marks(self, end: f64) -> Vec<(f64, String)> {
        match self {
            Self::Time => steps(end).into_iter().map(|mark| (mark, format!("{} s", number(mark)))).collect(),
            Self::Nines => {
                [(0.0, "0%"), (0.5, "50%"), (0.9, "90%"), (0.99, "99%"), (0.999, "99.9%"), (0.9999, "99.99%")]
                    .into_iter()
                    .map(|(quantile, text)| (self.place(quantile), text.to_owned()))
                    .filter(|(mark, _)| *mark <= end + 1e-9)
                    .collect()
            }
        }
    }
}

/// A chart with its legend; `unit` stands at each number on the left. Empty without points.
pub(crate) fn chart(lines: &[Line], axis: Axis, unit: &str) -> String {
    let points = || lines.iter().flat_map(|line| line.points.iter().map(|(x, y)| (axis.place(*x), *y)));
    let end = points().map(|(x, _)| x).fold(0.0, f64::max);
    let high = points().map(|(_, y)| y).fold(0.0, f64::max);
    if end <= 0.0 {
        return String::new();
    }
    let top = steps(if high > 0.0 { high } else { 1.0 }).last().copied().unwrap_or(high).max(high);
    let x = |value: f64| LEFT + value / end * (WIDTH - LEFT - RIGHT);
    let y = |value: f64| HEIGHT - BOTTOM - value / top * (HEIGHT - TOP - BOTTOM);
    let mut svg = format!(r#"<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img">"#);
    // Writing to a string does not fail.
    for mark in steps(top) {
        let (at, end, text) = (y(mark), WIDTH - RIGHT, escape(&format!("{}{unit}", number(mark))));
        let _ = write!(svg, r#"<path class="grid" d="M{LEFT} {at:.1}H{end}"/>"#);
        let _ = write!(svg, r#"<text x="{:.1}" y="{:.1}" text-anchor="end">{text}</text>"#, LEFT - 8.0, at + 4.0);
    }
    for (mark, text) in axis.marks(end) {
        let (at, low) = (x(mark), HEIGHT - BOTTOM + 20.0);
        let _ = write!(svg, r#"<text x="{at:.1}" y="{low}" text-anchor="middle">{text}</text>"#);
    }
    for (index, line) in lines.iter().enumerate() {
        let mut path = String::new();
        for (index, (px, py)) in line.points.iter().enumerate() {
            let (px, py) = (x(axis.place(*px)), y(*py));
            let _ = write!(path, "{}{px:.1} {py:.1}", if index == 0 { 'M' } else { 'L' });
        }
        let _ = write!(svg, r#"<path class="line c{}" d="{path}"/>"#, index % 6);
        if line.points.len() <= DOTS {
            for (px, py) in &line.points {
                let said = escape(&format!("{}: {}{unit}", line.name, number(*py)));
                let (class, px, py) = (index % 6, x(axis.place(*px)), y(*py));
                let _ = write!(
                    svg,
                    r#"<circle class="dot c{class}" cx="{px:.1}" cy="{py:.1}" r="6"><title>{said}</title></circle>"#
                );
            }
        }
    }
    svg.push_str("</svg><p class=\"legend\">");
    for (index, line) in lines.iter().enumerate() {
        let _ = write!(svg, r#"<span class="c{}">{}</span>"#, index % 6, escape(&line.name));
    }
    svg.push_str("</p>");
    svg
}

/// Round numbers from 0 to a little above `high`, about [`STEPS`] of them.
fn steps(high: f64) -> Vec<f64> {
    if !(high.is_finite() && high > 0.0) {
        return vec![0.0];
    }
    let rough = high / STEPS;
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 2.5, 5.0, 10.0].map(|times| times * power).into_iter().find(|step| *step >= rough * 0.999);
    let step = step.unwrap_or(rough);
    (0..=12).map(|index| f64::from(index) * step).take_while(|mark| *mark < high + step * 0.999).collect()
}

/// A number without needless digits.
pub(crate) fn number(value: f64) -> String {
    let digits = match value.abs() {
        big if big >= 100.0 => 0,
        middle if middle >= 10.0 => 1,
        small if small >= 1.0 => 2,
        _ => 3,
    };
    let text = format!("{value:.digits$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    group(text)
}

/// Thousands apart.
fn group(text: &str) -> String {
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

/// A text within HTML.
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
    fn whatever_is_named_cannot_leave_its_place_in_the_page() {
        assert_eq!(escape(r#"<a href="x">'&"#), "&lt;a href=&quot;x&quot;&gt;&#39;&amp;");
        let line = Line { name: "</svg><script>".into(), points: vec![(0.0, 1.0), (1.0, 2.0)] };
        let svg = chart(&[line], Axis::Time, "<ms>");
        assert!(!svg.contains("<script>") && !svg.contains("<ms>"));
    }

    #[test]
    fn axes_have_round_numbers_and_reach_past_the_highest_point() {
        assert_eq!(steps(7.3), [0.0, 2.0, 4.0, 6.0, 8.0]);
        assert_eq!(steps(0.0), [0.0]);
        for high in [0.001, 1.0, 99.9, 12_345.0] {
            let marks = steps(high);
            assert!(marks.last().is_some_and(|last| *last >= high) && marks.len() <= 8, "{high}: {marks:?}");
        }
    }

    #[test]
    fn numbers_are_short() {
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
    fn the_nines_are_at_equal_distances() {
        let place = |quantile| Axis::Nines.place(quantile);
        assert!((place(0.99) - place(0.9) - (place(0.999) - place(0.99))).abs() < 1e-9);
        assert!(place(1.0).is_finite());
    }

    #[test]
    fn a_chart_without_points_is_nothing() {
        assert_eq!(chart(&[], Axis::Time, ""), "");
        assert_eq!(chart(&[Line { name: "a".into(), points: vec![] }], Axis::Nines, ""), "");
    }
}
