//! What a node of a server can do from here: what it can do there, but for what the server's API does not carry.

use roadstead_core::{Capabilities, Capability};

/// What has no way through the API:
///
/// * `copy`: copying a container by the engines' own means needs both engines in one process, and the API has no route for
///   it. Containers move to and from the node as files and configuration; a move between two nodes of one server by their own
///   means is asked of that server (`/v1/migrations`).
/// * `pools`: the members of a node's own pool would be nodes that the other server does not serve by themselves.
const NOT_CARRIED: [Capability; 2] = [Capability::Copy, Capability::Pools];

/// The capabilities as they are from here.
pub(super) fn from_here(mut there: Capabilities) -> Capabilities {
    for capability in NOT_CARRIED {
        there.set(capability, false);
    }
    there
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_but_copying_and_pools_is_carried() {
        let here = from_here(Capabilities::all());
        let lacking: Vec<_> = here.iter().filter(|(_, has)| !has).map(|(capability, _)| capability).collect();
        assert_eq!(lacking, NOT_CARRIED);
    }

    #[test]
    fn what_a_newer_server_can_do_beyond_is_passed_over() {
        let told = serde_json::json!({"create": true, "time_travel": true, "jobs_kept_seconds": 5, "limits": {"x": 1}});
        let told: Capabilities = serde_json::from_value(told).unwrap();
        assert!(told.create && !told.freeze && told.jobs_kept_seconds == 5);
    }
}
