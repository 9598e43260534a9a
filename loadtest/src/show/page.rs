//! A report as one page that needs nothing else: no script, no font, no picture from elsewhere.

use std::fmt::Write as _;

use super::chart::{Axis, Line, chart, escape, number};
use crate::measure::report::{Moment, Report};
use crate::measure::threshold::PER_SECOND;

const STYLE: &str = include_str!("page.css");

/// The page of a report.
pub(crate) fn page(report: &Report) -> String {
    let verdict = if report.violations.is_empty() {
        r#"<p class="verdict kept">Every threshold was kept.</p>"#.to_owned()
    } else {
        let broken: String = report.violations.iter().map(|text| format!("<li>{}</li>", escape(text))).collect();
        format!(r#"<div class="verdict broken"><p>Not kept:</p><ul>{broken}</ul></div>"#)
    };
    let settings: Vec<_> = report.settings.iter().map(|(name, value)| format!("{name} {value}")).collect();
    let title = escape(report.scenario);
    let mut html = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><title>Load: {title}</title>\
         <style>{STYLE}</style></head><body><main><header><h1>{title}</h1><p>{} &middot; {}</p></header>{verdict}",
        escape(&report.began),
        escape(&settings.join(" · ")),
    );
    html += &tiles(report);
    let charts = charts(report);
    for (name, svg) in charts.iter().filter(|(_, svg)| !svg.is_empty()) {
        // Writing to a string does not fail.
        let _ = write!(html, "<figure><figcaption>{name}</figcaption>{svg}</figure>");
    }
    html += &tables(report);
    html += "</main></body></html>\n";
    html
}

/// The figures that one looks for first.
fn tiles(report: &Report) -> String {
    let mut tiles = Vec::new();
    if let Some(latency) = report.latencies.first() {
        for (name, value) in [("median", latency.p50), ("99th percentile", latency.p99)] {
            tiles.push((format!("{name}, {}", latency.name), format!("{} ms", number(value))));
        }
    }
    for figure in &report.figures {
        let name = if figure.name == PER_SECOND { "done" } else { figure.name };
        tiles.push((name.to_owned(), format!("{} {}", number(figure.value), figure.unit)));
    }
    tiles.push(("lost".to_owned(), report.lost.to_string()));
    let cells = tiles.iter().map(|(name, value)| {
        format!("<div class=\"tile\"><b>{}</b><span>{}</span></div>", escape(value.trim()), escape(name))
    });
    format!("<section class=\"tiles\">{}</section>", cells.collect::<String>())
}

fn charts(report: &Report) -> Vec<(&'static str, String)> {
    let over_time = |name: &str, value: &dyn Fn(&Moment) -> f64| Line {
        name: name.to_owned(),
        points: report.timeline.iter().map(|moment| (moment.at, value(moment))).collect(),
    };
    let each = |value: &dyn Fn(&Moment, usize) -> f64| {
        let lines = report.processes.iter().enumerate();
        lines.map(|(index, process)| over_time(&process.name, &|moment| value(moment, index))).collect::<Vec<_>>()
    };
    let at = |values: &[f64], index: usize| values.get(index).copied().unwrap_or_default();
    let distribution = report.latencies.iter().map(|it| Line { name: it.name.to_owned(), points: it.curve.clone() });
    let latency = [over_time("99th percentile", &|it| it.p99), over_time("median", &|it| it.p50)];
    vec![
        ("Latency over time", chart(&latency, Axis::Time, " ms")),
        ("Latency by percentile", chart(&distribution.collect::<Vec<_>>(), Axis::Nines, " ms")),
        ("Done a second", chart(&[over_time("done", &|it| it.rate)], Axis::Time, "")),
        ("Processor, per cent of a core", chart(&each(&|it, index| at(&it.cpu, index)), Axis::Time, "%")),
        ("Memory, resident", chart(&each(&|it, index| at(&it.rss, index)), Axis::Time, " MiB")),
    ]
}

fn tables(report: &Report) -> String {
    let row = |cells: Vec<String>, tag: &str| {
        let cells: String = cells.iter().map(|cell| format!("<{tag}>{}</{tag}>", escape(cell))).collect();
        format!("<tr>{cells}</tr>")
    };
    let head = |names: &[&str]| row(names.iter().map(|name| (*name).to_owned()).collect(), "th");
    let times = report.latencies.iter().map(|it| {
        let figures = [it.mean, it.p50, it.p90, it.p99, it.p999, it.max].map(number);
        row([it.name.to_owned(), it.count.to_string()].into_iter().chain(figures).collect(), "td")
    });
    let processes = report
        .processes
        .iter()
        .map(|it| row(vec![it.name.clone(), number(it.cpu_seconds), number(it.cpu_percent), number(it.rss_mib)], "td"));
    let counts = report.counts.iter().map(|(name, count)| row(vec![(*name).to_owned(), count.to_string()], "td"));
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
    use crate::measure::machine::Spent;
    use crate::measure::report::Latency;

    fn report() -> Report {
        let mut report = Report { scenario: "relay", ..Report::default() };
        let curve = vec![(0.0, 0.2), (0.5, 0.4), (0.99, 3.0), (1.0, 8.0)];
        report.latencies.push(Latency { name: "offer", count: 10, curve, ..Latency::default() });
        let moment = |at| Moment { at, rate: 10.0, p50: 1.0, p99: 2.0, cpu: vec![50.0], rss: vec![20.0] };
        report.timeline.extend([moment(1.0), moment(2.0)]);
        report.processes.push(Spent { name: "node 1".into(), ..Spent::default() });
        report
    }

    #[test]
    fn the_page_needs_nothing_from_elsewhere() {
        let html = page(&report());
        for outside in ["http://", "https://", "src=", "<link", "<script", "@import", "url("] {
            assert!(!html.contains(outside), "{outside}");
        }
        assert_eq!(html.matches("<svg").count(), 5);
        assert!(html.contains("Every threshold was kept"));
    }

    #[test]
    fn what_was_not_kept_is_said_and_cannot_break_the_page() {
        let mut report = report();
        report.violations.push("<b>lost</b>".into());
        report.settings.push(("arrivals", "<i>".into()));
        let html = page(&report);
        assert!(html.contains("&lt;b&gt;lost&lt;/b&gt;") && !html.contains("<i>"));
        assert!(!html.contains("Every threshold was kept"));
    }
}
