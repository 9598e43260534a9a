//! Values for the chart. Pure.

use super::plan::{Load, Plan};

/// Share of a core that an api pod requests, in thousandths: it may use more when others do not.
const API_REQUEST_MILLIS: u32 = 500;

/// Returns a file of values for the chart. It is added to the file with names and secrets.
pub(super) fn values(load: &Load, plan: &Plan) -> String {
    let Load { sockets, calls_per_second, room, node_memory_mib, .. } = load;
    let Plan { nodes, apis, shards, shard_memory_mib, .. } = plan;
    let node_millis = (load.node_cores * 1e3).round();
    format!(
        "# {sockets} participants, {calls_per_second} calls of {room} people a second. Redis needs {shards} shard(s)
# with a maxmemory of {shard_memory_mib} MiB each. One pod of each kind may be lost.
node:
  replicas: {nodes}
  resources:
    requests:
      cpu: {node_millis}m
      memory: {node_memory_mib}Mi
    limits:
      memory: {node_memory_mib}Mi
api:
  replicas: {apis}
  resources:
    requests:
      cpu: {API_REQUEST_MILLIS}m
      memory: 256Mi
    limits:
      memory: 512Mi
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::size::plan::tests::{COSTS, LOAD};

    /// The chart's tests render and check every file of its folder `ci`.
    #[test]
    fn the_values_are_a_file_that_the_tests_of_the_chart_render() {
        let rendered = include_str!("../../../helm/switchboard/ci/sized-values.yaml");
        let written = values(&LOAD, &Plan::new(&LOAD, &COSTS));
        assert!(rendered.ends_with(&written), "the end of ci/sized-values.yaml is to be:\n{written}");
    }
}
