//! Summary as text for the terminal.

use crate::measure::summary::RunSummary;

/// Formats a summary as text.
pub(crate) fn table(summary: &RunSummary) -> String {
    let settings: Vec<_> = summary.settings.iter().map(|(name, value)| format!("{name} {value}")).collect();
    let mut text = format!("{}: {}\n", summary.scenario, settings.join(", "));
    let head = ["ms", "count", "mean", "p50", "p90", "p99", "p99.9", "max"].map(str::to_owned).to_vec();
    let rows = summary.latencies.iter().map(|it| {
        let times = [it.mean, it.p50, it.p90, it.p99, it.p999, it.max].map(|ms| format!("{ms:.2}"));
        [it.name.to_owned(), it.count.to_string()].into_iter().chain(times).collect()
    });
    text += &columns(&[head], rows);
    let head = ["process", "CPU s", "CPU %", "RSS MiB"].map(str::to_owned).to_vec();
    let rows = summary.processes.iter().map(|process| {
        let figures = [process.cpu_seconds, process.cpu_percent, process.rss_mib];
        [process.name.clone()].into_iter().chain(figures.map(|figure| format!("{figure:.1}"))).collect()
    });
    text += &columns(&[head], rows);
    let figures = summary.figures.iter().map(|it| vec![it.name.to_owned(), format!("{:.1}", it.value), it.unit.into()]);
    let counts = summary.counts.iter().map(|(name, count)| vec![(*name).to_owned(), count.to_string(), String::new()]);
    let lost = vec!["lost".to_owned(), summary.lost.to_string(), String::new()];
    text += &columns(&[], figures.chain(counts).chain([lost]));
    for violation in &summary.violations {
        text += &format!("\nthreshold violated: {violation}");
    }
    text
}

/// Aligns rows in columns, numbers to the right. Returns an empty string without rows.
pub(crate) fn columns(head: &[Vec<String>], rows: impl Iterator<Item = Vec<String>>) -> String {
    let rows: Vec<Vec<String>> = rows.collect();
    if rows.is_empty() {
        return String::new();
    }
    let all: Vec<_> = head.iter().chain(&rows).collect();
    let count = all.iter().map(|row| row.len()).max().unwrap_or_default();
    let width = |index| all.iter().filter_map(|row| row.get(index)).map(|cell: &String| cell.chars().count()).max();
    let widths: Vec<_> = (0..count).map(|index| width(index).unwrap_or_default()).collect();
    let mut text = String::from("\n");
    for row in all {
        let cells = row.iter().enumerate().map(|(index, cell)| match index {
            0 => format!("{cell:<0$}", widths[0]),
            _ if cell.starts_with(|first: char| first.is_ascii_digit()) => format!("{cell:>0$}", widths[index]),
            _ if head.is_empty() => cell.clone(),
            _ => format!("{cell:>0$}", widths[index]),
        });
        text += format!("  {}", cells.collect::<Vec<_>>().join("  ")).trim_end();
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::summary::Latency;

    #[test]
    fn the_table_shows_latencies_figures_and_violations() {
        let mut summary = RunSummary { scenario: "relay", lost: 2, ..RunSummary::default() };
        summary.latencies.push(Latency { name: "offer", count: 12_345, p99: 6.789, ..Latency::default() });
        summary.add_figure("CPU of nodes", 14.25, "us/relay");
        summary.violations.push("lost: 2, threshold 0".into());
        let text = table(&summary);
        for expected in ["offer", "12345", "6.79", "14.2", "us/relay", "threshold violated: lost: 2"] {
            assert!(text.contains(expected), "{expected} is missing in\n{text}");
        }
    }

    #[test]
    fn columns_are_aligned() {
        let row = |a: &str, b: &str| vec![a.to_owned(), b.to_owned()];
        assert_eq!(
            columns(&[row("a", "b")], [row("long", "1"), row("x", "22")].into_iter()),
            "\n  a      b\n  long   1\n  x     22\n"
        );
        assert_eq!(columns(&[row("a", "b")], std::iter::empty()), "");
    }
}
