//! The `_id` of documents: 24 hexadecimal digits as those of a document database, but derived and not given out, so that they are the
//! same at every server, and after every restart.

use sha2::{Digest, Sha256};

/// So many bytes of a digest are an `_id`.
const BYTES: usize = 12;

/// What has an `_id`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A node, by its name.
    Node,
    /// The metrics of a node, by its name.
    NodeMetrics,
    /// A container, by node and id.
    Container,
    /// The metrics of a container, by node and id.
    ContainerMetrics,
    /// An event, by its cursor.
    Event,
}

impl Kind {
    /// Never changed: the digest is made of it.
    const fn word(self) -> &'static str {
        match self {
            Kind::Node => "node",
            Kind::NodeMetrics => "node_metrics",
            Kind::Container => "container",
            Kind::ContainerMetrics => "container_metrics",
            Kind::Event => "event",
        }
    }
}

/// The `_id` of what has this key.
pub(super) fn id(kind: Kind, key: &[&str]) -> String {
    let mut digest = Sha256::new();
    digest.update(b"pharos");
    for part in std::iter::once(&kind.word()).chain(key) {
        // No part has a NUL, so that no two keys are one.
        digest.update(b"\0");
        digest.update(part.as_bytes());
    }
    let digest = digest.finalize();
    digest.iter().take(BYTES).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_the_same_wherever_it_is_asked_for() {
        let known = id(Kind::Node, &["ubuntu-dev"]);
        assert_eq!(known, "86ae23651ac0c24423fcae10");
        assert!(known.len() == 24 && known.bytes().all(|byte| byte.is_ascii_hexdigit()));
    }

    #[test]
    fn what_is_not_the_same_has_another_one() {
        let ids = [
            id(Kind::Node, &["a"]),
            id(Kind::NodeMetrics, &["a"]),
            id(Kind::Container, &["a", "b"]),
            id(Kind::ContainerMetrics, &["a", "b"]),
            id(Kind::Container, &["ab", ""]),
            id(Kind::Container, &["", "ab"]),
            id(Kind::Event, &["a"]),
        ];
        let different: std::collections::BTreeSet<_> = ids.iter().collect();
        assert_eq!(different.len(), ids.len());
    }
}
