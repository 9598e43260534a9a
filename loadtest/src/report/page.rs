//! Self-contained HTML page: no scripts, fonts or pictures from other places.

use std::fmt::Write as _;

use super::chart::{Axis, Series, chart, escape, number};
use crate::measure::summary::{RunSummary, TimelinePoint};
use crate::measure::threshold::PER_SECOND;

const STYLE: &str = include_str!("page.css");

/// Formats a summary as an HTML page.
pub(crate) fn page(summary: &RunSummary) -> String {
    let verdict = if summary.violations.is_empty() {
        r#"<p class="verdict passed">No threshold was violated.</p>"#.to_owned()
    } else {
        let items: String = summary.violations.iter().map(|text| format!("<li>{}</li>", escape(text))).collect();
        format!(r#"<div class="verdict failed"><p>Violated thresholds:</p><ul>{items}</ul></div>"#)
    };
    let settings: Vec<_> = summary.settings.iter().map(|(name, value)| format!("{name} {value}")).collect();
    let title = escape(summary.scenario);
    let mut html = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><title>Load: {title}</title>\
         <style>{STYLE}</style></head><body><main><header><h1>{title}</h1><p>{} &middot; {}</p></header>{verdict}",
        escape(&summary.started_at),
        escape(&settings.join(" · ")),
    );
    html += &tiles(summary);
    let charts = charts(summary);
    for (name, svg) in charts.iter().filter(|(_, svg)| !svg.is_empty()) {
        // Writing to a string does not fail.
        let _ = write!(html, "<figure><figcaption>{name}</figcaption>{svg}</figure>");
    }
    html += &tables(summary);
    html += "</main></body></html>\n";
    html
}

/// The most important figures.
fn tiles(summary: &RunSummary) -> String {
    let mut tiles = Vec::new();
    if let Some(latency) = summary.latencies.first() {
        for (name, value) in [("median", latency.p50), ("99th percentile", latency.p99)] {
            tiles.push((format!("{name}, {}", latency.name), format!("{} ms", number(value))));
        }
    }
    for figure in &summary.figures {
        let name = if figure.name == PER_SECOND { "completed" } else { figure.name };
        tiles.push((name.to_owned(), format!("{} {}", number(figure.value), figure.unit)));
    }
    tiles.push(("lost".to_owned(), summary.lost.to_string()));
    let cells = tiles.iter().map(|(name, value)| {
        format!("<div class=\"tile\"><b>{}</b><span>{}</span></div>", escape(value.trim()), escape(name))
    });
    format!("<section class=\"tiles\">{}</section>", cells.collect::<String>())
}

fn charts(summary: &RunSummary) -> Vec<(&'static str, String)> {
    let over_time = |name: &str, value: &dyn Fn(&TimelinePoint) -> f64| Series {
        name: name.to_owned(),
        points: summary.timeline.iter().map(|point| (point.at, value(point))).collect(),
    };
    let per_process = |value: &dyn Fn(&TimelinePoint, usize) -> f64| {
        let lines = summary.processes.iter().enumerate();
        lines.map(|(index, process)| over_time(&process.name, &|point| value(point, index))).collect::<Vec<_>>()
    };
    let at = |values: &[f64], index: usize| values.get(index).copied().unwrap_or_default();
    let distribution = summary.latencies.iter().map(|it| Series { name: it.name.to_owned(), points: it.curve.clone() });
    let latency = [over_time("99th percentile", &|it| it.p99), over_time("median", &|it| it.p50)];
    vec![
        ("Latency over time", chart(&latency, Axis::Time, " ms")),
        ("Latency by percentile", chart(&distribution.collect::<Vec<_>>(), Axis::Percentiles, " ms")),
        ("Completed per second", chart(&[over_time("completed", &|it| it.rate)], Axis::Time, "")),
        ("CPU, percent of a core", chart(&per_process(&|it, index| at(&it.cpu, index)), Axis::Time, "%")),
        ("Resident memory", chart(&per_process(&|it, index| at(&it.rss, index)), Axis::Time, " MiB")),
    ]
}

fn tables(summary: &RunSummary) -> String {
    let row = |cells: Vec<String>, tag: &str| {
        let cells: String = cells.iter().map(|cell| format!("<{tag}>{}</{tag}>", escape(cell))).collect();
        format!("<tr>{cells}</tr>")
    };
    let head = |names: &[&str]| row(names.iter().map(|name| (*name).to_owned()).collect(), "th");
    let times = summary.latencies.iter().map(|it| {
        let figures = [it.mean, it.p50, it.p90, it.p99, it.p999, it.max].map(number);
        row([it.name.to_owned(), it.count.to_string()].into_iter().chain(figures).collect(), "td")
    });
    let processes = summary
        .processes
        .iter()
        .map(|it| row(vec![it.name.clone(), number(it.cpu_seconds), number(it.cpu_percent), number(it.rss_mib)], "td"));
    let counts = summary.counts.iter().map(|(name, count)| row(vec![(*name).to_owned(), count.to_string()], "td"));
    format!(
        "<section class=\"tables\"><table>{}{}</table><table>{}{}</table><table>{}{}</table></section>",
        head(&["milliseconds", "count", "mean", "p50", "p90", "p99", "p99.9", "max"]),
        times.collect::<String>(),
        head(&["process", "CPU s", "CPU %", "RSS MiB"]),
        processes.collect::<String>(),
        head(&["count", ""]),
        counts.collect::<String>(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::machine::ProcessUsage;
    use crate::measure::summary::Latency;

    fn summary() -> RunSummary {
        let mut summary = RunSummary { scenario: "relay", ..RunSummary::default() };
        let curve = vec![(0.0, 0.2), (0.5, 0.4), (0.99, 3.0), (1.0, 8.0)];
        summary.latencies.push(Latency { name: "offer", count: 10, curve, ..Latency::default() });
        let point = |at| TimelinePoint { at, rate: 10.0, p50: 1.0, p99: 2.0, cpu: vec![50.0], rss: vec![20.0] };
        summary.timeline.extend([point(1.0), point(2.0)]);
        summary.processes.push(ProcessUsage { name: "node 1".into(), ..ProcessUsage::default() });
        summary
    }

    #[test]
    fn the_page_loads_no_external_resource() {
        let html = page(&summary());
        for external in ["http://", "https://", "src=", "<link", "<script", "@import", "url("] {
            assert!(!html.contains(external), "{external}");
        }
        assert_eq!(html.matches("<svg").count(), 5);
        assert!(html.contains("No threshold was violated"));
    }

    #[test]
    fn violations_are_shown_and_escaped() {
        let mut summary = summary();
        summary.violations.push("<b>lost</b>".into());
        summary.settings.push(("arrivals", "<i>".into()));
        let html = page(&summary);
        assert!(html.contains("&lt;b&gt;lost&lt;/b&gt;") && !html.contains("<i>"));
        assert!(!html.contains("No threshold was violated"));
    }
}
