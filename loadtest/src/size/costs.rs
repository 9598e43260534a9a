//! What Switchboard costs, as `make bench` measured it last.

use anyhow::Context;
use serde::{Deserialize, Serialize};

/// Medians of `loadtest bench`. Processor times are of one core, in microseconds. Those of a relay
/// and of a join are of all its nodes together.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Costs {
    /// A relay at the highest rate, where many share a pipeline.
    pub(crate) relay_nodes_micros: f64,
    pub(crate) relay_redis_micros: f64,
    /// A join and the leave, with what the others in the room are told.
    pub(crate) join_nodes_micros: f64,
    pub(crate) join_redis_micros: f64,
    /// A participant's share of a call: REST, and the record of the call.
    pub(crate) participant_api_micros: f64,
    pub(crate) participant_mongodb_micros: f64,
}

impl Costs {
    /// Returns the costs that were measured last.
    ///
    /// # Errors
    /// If the file that the program was built with has other fields.
    pub(crate) fn measured() -> anyhow::Result<Self> {
        serde_json::from_str(include_str!("../../costs.json")).context("loadtest/costs.json")
    }

    /// Returns the content of the file.
    pub(crate) fn to_json(self) -> anyhow::Result<String> {
        Ok(serde_json::to_string_pretty(&self)? + "\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_measured_costs_are_read_and_written_alike() {
        let costs = Costs::measured().unwrap();
        assert_eq!(serde_json::from_str::<Costs>(&costs.to_json().unwrap()).unwrap(), costs);
        assert!(costs.relay_redis_micros > 0.0 && costs.participant_api_micros > 0.0);
    }
}
