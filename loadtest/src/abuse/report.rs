//! Result of each attack, its verdict, and the table. Pure.

use std::collections::BTreeMap;

use serde::Serialize;

use super::attack::{Achieved, OK};
use super::honest::HonestFigures;

/// Outcomes shown in the table; the rest are counted together.
const OUTCOMES_SHOWN: usize = 3;

/// Usage of a process in the quiet time and during the attack.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct ProcessCost {
    pub(crate) name: String,
    /// CPU time as a percentage of one core.
    pub(crate) cpu_quiet: f64,
    pub(crate) cpu_during: f64,
    /// Resident memory at its highest during the attack, less that before it.
    pub(crate) growth_mib: f64,
}

/// Result of one attack. More than eight fields, because it is a row of the table.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct AttackResult {
    pub(crate) attack: &'static str,
    pub(crate) sentence: &'static str,
    /// Length of the attack, and of the quiet time before it.
    pub(crate) seconds: f64,
    pub(crate) quiet: HonestFigures,
    pub(crate) during: HonestFigures,
    pub(crate) processes: Vec<ProcessCost>,
    /// Growth of `used_memory` of Redis.
    pub(crate) redis_growth_mib: f64,
    pub(crate) achieved: Achieved,
    /// One text for each violated guarantee.
    pub(crate) violations: Vec<String>,
}

impl AttackResult {
    /// Adds a violation for each guarantee that does not hold. Latencies are never judged, because
    /// they depend on the machine.
    pub(crate) fn judge(&mut self, growth_max_mib: f64) {
        for (when, figures) in [("before the attack", &self.quiet), ("during the attack", &self.during)] {
            if figures.relays_lost > 0 {
                let (lost, unanswered) = (figures.relays_lost, figures.relays_unanswered);
                self.violations.push(format!("{lost} honest relays lost {when}, {unanswered} not acknowledged"));
            }
            let troubles = figures.troubles.iter();
            self.violations.extend(troubles.map(|(text, times)| format!("honest, {when}: {text} ({times} times)")));
        }
        if self.during.relays == 0 || self.during.joins == 0 {
            self.violations.push("there was no honest load during the attack".into());
        }
        if self.achieved.attempts == 0 {
            self.violations.push("the strangers attempted nothing".into());
        }
        let grown = self.processes.iter().filter(|it| is_bounded(&it.name) && it.growth_mib > growth_max_mib);
        self.violations.extend(
            grown.map(|it| format!("{} grew by {:.0} MiB, bound {growth_max_mib:.0} MiB", it.name, it.growth_mib)),
        );
        let breaches = self.achieved.breaches.iter();
        self.violations.extend(breaches.map(|(text, times)| format!("{text} ({times} times)")));
    }

    /// CPU of all processes whose name starts with `name`, before and during the attack.
    fn cpu(&self, name: &str) -> String {
        let of = |value: fn(&ProcessCost) -> f64| {
            self.processes.iter().filter(|it| it.name.starts_with(name)).map(value).sum::<f64>()
        };
        format!("{:.0}>{:.0}", of(|it| it.cpu_quiet), of(|it| it.cpu_during))
    }

    /// Largest memory growth of a process whose name starts with `name`.
    fn growth(&self, name: &str) -> f64 {
        let grown = self.processes.iter().filter(|it| it.name.starts_with(name));
        grown.map(|it| it.growth_mib).fold(0.0, f64::max)
    }
}

/// Whether the memory of this process is bounded.
fn is_bounded(process: &str) -> bool {
    process.starts_with("node") || process == "api"
}

/// `before>during`, with their ratio.
fn ratio(before: f64, during: f64) -> String {
    if before > 0.0 && during > 0.0 {
        format!("{before:.1}>{during:.1} x{:.1}", during / before)
    } else {
        String::new()
    }
}

/// The most frequent refusals, each with its number.
fn refusals(outcomes: &BTreeMap<String, u64>) -> String {
    let mut refused: Vec<_> = outcomes.iter().filter(|(outcome, _)| *outcome != OK).collect();
    refused.sort_by(|(_, a), (_, b)| b.cmp(a));
    let rest: u64 = refused.iter().skip(OUTCOMES_SHOWN).map(|(_, count)| **count).sum();
    let mut shown: Vec<_> =
        refused.iter().take(OUTCOMES_SHOWN).map(|(outcome, count)| format!("{outcome}: {count}")).collect();
    if rest > 0 {
        shown.push(format!("others: {rest}"));
    }
    shown.join("; ")
}

/// Formats the results as a Markdown table. Times are in milliseconds, CPU in percent of one core,
/// memory in MiB; `a>b` is before and during the attack.
pub(crate) fn table(results: &[AttackResult]) -> String {
    let mut text = String::from(
        "| attack | relay p50 | relay p99 | join p99 | victim p99 | nodes CPU | +MiB | api CPU | +MiB | Redis CPU \
         | +MiB | MongoDB CPU | attempts | done | refused | honest |\n\
         |---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for result in results {
        let AttackResult { attack, quiet, during, achieved, violations, .. } = result;
        let columns = [
            (*attack).to_owned(),
            ratio(quiet.relay_p50, during.relay_p50),
            ratio(quiet.relay_p99, during.relay_p99),
            ratio(quiet.join_p99, during.join_p99),
            ratio(quiet.action_p99, during.action_p99),
            result.cpu("node"),
            format!("{:.0}", result.growth("node")),
            result.cpu("api"),
            format!("{:.0}", result.growth("api")),
            result.cpu("redis"),
            format!("{:.1}", result.redis_growth_mib),
            result.cpu("mongo"),
            achieved.attempts.to_string(),
            achieved.outcomes.get(OK).copied().unwrap_or_default().to_string(),
            refusals(&achieved.outcomes),
            if violations.is_empty() { "unhurt".to_owned() } else { violations.join("; ") },
        ];
        text += &format!("| {} |\n", columns.join(" | "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result() -> AttackResult {
        let figures = HonestFigures { relays: 10, joins: 2, relay_p99: 2.0, ..HonestFigures::default() };
        let achieved = Achieved { attempts: 5, ..Achieved::default() };
        let process = |name: &str| ProcessCost { name: name.into(), growth_mib: 5.0, ..ProcessCost::default() };
        let processes = ["node 1", "node 2", "api", "redis", "loadtest"].map(process).to_vec();
        AttackResult {
            attack: "frames",
            quiet: figures.clone(),
            during: figures,
            processes,
            achieved,
            ..AttackResult::default()
        }
    }

    fn violations(change: impl FnOnce(&mut AttackResult)) -> Vec<String> {
        let mut result = result();
        change(&mut result);
        result.judge(64.0);
        result.violations
    }

    #[test]
    fn only_honest_losses_refusals_growth_and_breaches_are_violations() {
        assert_eq!(violations(|_| {}), Vec::<String>::new());
        // Latencies depend on the machine.
        assert_eq!(violations(|it| it.during.relay_p99 = 9_000.0), Vec::<String>::new());
        // The stores and loadtest are reported only.
        assert_eq!(violations(|it| it.processes[3].growth_mib = 900.0), Vec::<String>::new());
        assert_eq!(
            violations(|it| it.during.relays_lost = 3),
            ["3 honest relays lost during the attack, 0 not acknowledged"]
        );
        assert_eq!(violations(|it| it.processes[1].growth_mib = 65.0), ["node 2 grew by 65 MiB, bound 64 MiB"]);
        assert_eq!(violations(|it| it.achieved.attempts = 0), ["the strangers attempted nothing"]);
        assert_eq!(violations(|it| it.during.joins = 0), ["there was no honest load during the attack"]);
        let refused = violations(|it| it.quiet.troubles = BTreeMap::from([("join 429".into(), 2)]));
        assert_eq!(refused, ["honest, before the attack: join 429 (2 times)"]);
        let breach = violations(|it| it.achieved.breaches = BTreeMap::from([("seated without a passcode".into(), 1)]));
        assert_eq!(breach, ["seated without a passcode (1 times)"]);
    }

    #[test]
    fn the_table_has_ratios_and_the_most_frequent_refusals() {
        let mut result = result();
        result.during.relay_p99 = 5.0;
        for (outcome, count) in [(OK, 9), ("a", 1), ("b", 7), ("c", 2), ("d", 3), ("e", 4)] {
            result.achieved.outcomes.insert(outcome.into(), count);
        }
        let text = table(&[result]);
        for expected in ["| frames |", "2.0>5.0 x2.5", "b: 7; e: 4; d: 3; others: 3", "| 9 |", "unhurt"] {
            assert!(text.contains(expected), "{expected} is missing in\n{text}");
        }
    }
}
