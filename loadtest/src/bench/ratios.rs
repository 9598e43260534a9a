//! Ratios between contenders in the same round, and their spread. Pure.

use super::METRICS;

/// Direction in which a metric improves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Better {
    More,
    Less,
}

/// Median, minimum and maximum.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Spread {
    pub(super) median: f64,
    low: f64,
    high: f64,
}

impl Spread {
    /// Spread of these values; `None` without finite values.
    pub(super) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<_> = values.into_iter().filter(|value| value.is_finite()).collect();
        values.sort_by(f64::total_cmp);
        let median = (values.get(values.len() / 2)? + values.get((values.len() - 1) / 2)?) / 2.0;
        Some(Self { median, low: *values.first()?, high: *values.last()? })
    }

    /// Spread of the ratios by which `ours` is better than `theirs`, round by round.
    fn of_ratios(ours: &[f64], theirs: &[f64], better: Better) -> Option<Self> {
        Self::of(ours.iter().zip(theirs).map(|(ours, theirs)| match better {
            Better::More => ours / theirs,
            Better::Less => theirs / ours,
        }))
    }
}

/// A contender in the table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column<'a> {
    pub(super) name: &'a str,
    /// Whether the column is the baseline: the first contender is then shown as a multiple of it.
    pub(super) is_baseline: bool,
    /// Values of each metric, one per round.
    pub(super) metrics: &'a [(&'static str, Vec<f64>)],
}

impl Column<'_> {
    fn values(&self, metric: &str) -> &[f64] {
        self.metrics.iter().find(|(known, _)| *known == metric).map_or(&[], |(_, values)| values)
    }
}

/// Formats a Markdown table that compares the first contender with each of the others.
pub(super) fn table(columns: &[Column<'_>]) -> String {
    let [ours, others @ ..] = columns else { return String::new() };
    let mut text = format!("| | {} |", ours.name);
    for other in others {
        text +=
            &format!(" {} | {} |", other.name, if other.is_baseline { "times the baseline" } else { "times better" });
    }
    text += &format!("\n|---|---|{}\n", "---|---|".repeat(others.len()));
    for (name, unit, better) in METRICS {
        let shown = |column: &Column<'_>| {
            let spread = Spread::of(column.values(name).iter().copied());
            spread.map(|it| format!("{} {unit}", number(it.median))).unwrap_or_default()
        };
        text += &format!("| {name} | {} |", shown(ours));
        for other in others {
            let (ours, theirs) = (ours.values(name), other.values(name));
            let ratio = if other.is_baseline {
                Spread::of_ratios(theirs, ours, better)
            } else {
                Spread::of_ratios(ours, theirs, better)
            };
            let ratio = ratio.map(|it| format!("**{:.2}** ({:.2} to {:.2})", it.median, it.low, it.high));
            text += &format!(" {} | {} |", shown(other), ratio.unwrap_or_default());
        }
        text.push('\n');
    }
    text
}

fn number(value: f64) -> String {
    if value >= 1000.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_ignores_non_finite_values() {
        let spread = Spread::of([3.0, f64::NAN, 1.0, 2.0, 10.0]).unwrap();
        assert_eq!(spread, Spread { median: 2.5, low: 1.0, high: 10.0 });
        assert_eq!(Spread::of([f64::INFINITY]), None);
    }

    #[test]
    fn ratios_compare_the_same_round_and_exceed_one_when_the_first_is_better() {
        let more = Spread::of_ratios(&[20.0, 40.0], &[10.0, 10.0], Better::More).unwrap();
        assert_eq!((more.low, more.high), (2.0, 4.0));
        let less = Spread::of_ratios(&[5.0, 5.0], &[10.0, 20.0], Better::Less).unwrap();
        assert_eq!((less.low, less.high), (2.0, 4.0));
    }

    #[test]
    fn the_table_has_a_row_per_metric_and_empty_cells_without_values() {
        let latency = METRICS.iter().find(|(_, unit, _)| *unit == "ms").unwrap().0;
        let ours = [(METRICS[0].0, vec![200.0, 400.0]), (latency, vec![1.5])];
        let (theirs, baseline) = ([(METRICS[0].0, vec![100.0, 100.0])], [(latency, vec![1.0])]);
        let column = |name, metrics, is_baseline| Column { name, is_baseline, metrics };
        let text = table(&[
            column("ours", &ours, false),
            column("theirs", &theirs, false),
            column("baseline", &baseline, true),
        ]);
        assert_eq!(text.lines().count(), METRICS.len() + 2);
        assert!(text.contains("| 300.00 /s | 100.00 /s | **3.00** (2.00 to 4.00) |  |  |"), "{text}");
        assert!(text.contains("| 1.50 ms |  |  | 1.00 ms | **1.50** (1.50 to 1.50) |"), "{text}");
    }
}
