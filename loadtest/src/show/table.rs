//! A report as text.

use crate::measure::report::Report;

/// The table of a report.
pub(crate) fn table(report: &Report) -> String {
    let settings: Vec<_> = report.settings.iter().map(|(name, value)| format!("{name} {value}")).collect();
    let mut text = format!("{}: {}\n", report.scenario, settings.join(", "));
    let head = ["ms", "count", "mean", "p50", "p90", "p99", "p99.9", "max"].map(str::to_owned).to_vec();
    let rows = report.latencies.iter().map(|it| {
        let times = [it.mean, it.p50, it.p90, it.p99, it.p999, it.max].map(|ms| format!("{ms:.2}"));
        [it.name.to_owned(), it.count.to_string()].into_iter().chain(times).collect()
    });
    text += &columns(&[head], rows);
    let head = ["process", "CPU s", "CPU %", "RSS MiB"].map(str::to_owned).to_vec();
    let rows = report.processes.iter().map(|process| {
        let figures = [process.cpu_seconds, process.cpu_percent, process.rss_mib];
        [process.name.clone()].into_iter().chain(figures.map(|figure| format!("{figure:.1}"))).collect()
    });
    text += &columns(&[head], rows);
    let figures = report.figures.iter().map(|it| vec![it.name.to_owned(), format!("{:.1}", it.value), it.unit.into()]);
    let counts = report.counts.iter().map(|(name, count)| vec![(*name).to_owned(), count.to_string(), String::new()]);
    let lost = vec!["lost".to_owned(), report.lost.to_string(), String::new()];
    text += &columns(&[], figures.chain(counts).chain([lost]));
    for violation in &report.violations {
        text += &format!("\nnot kept: {violation}");
    }
    text
}

/// Rows in columns, numbers to the right; empty without rows.
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
    use crate::measure::report::Latency;

    #[test]
    fn a_report_is_shown_with_everything_that_matters() {
        let mut report = Report { scenario: "relay", lost: 2, ..Report::default() };
        report.latencies.push(Latency { name: "offer", count: 12_345, p99: 6.789, ..Latency::default() });
        report.figure("CPU of nodes", 14.25, "us/relay");
        report.violations.push("lost: 2, at most 0 asked for".into());
        let text = table(&report);
        for expected in ["offer", "12345", "6.79", "14.2", "us/relay", "not kept: lost: 2"] {
            assert!(text.contains(expected), "{expected} is missing in\n{text}");
        }
    }

    #[test]
    fn columns_line_up() {
        let row = |a: &str, b: &str| vec![a.to_owned(), b.to_owned()];
        assert_eq!(
            columns(&[row("a", "b")], [row("long", "1"), row("x", "22")].into_iter()),
            "\n  a      b\n  long   1\n  x     22\n"
        );
        assert_eq!(columns(&[row("a", "b")], std::iter::empty()), "");
    }
}
