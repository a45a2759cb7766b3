//! What the suite is given: the node under test, and what it may be tried with.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::node::Node;

/// The node under test, and what it may be tried with.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Fixture {
    /// The node under test. It may be in use by others: the suite touches only what it made itself.
    pub node: Arc<dyn Node>,
    /// An image that is there, with a shell, the usual small programs and the users root and nobody; its command is
    /// replaced.
    pub image: String,
    /// A reference that no image has and that is asked of nobody.
    pub missing_image: String,
    /// What a registry that the engine reaches has and has not; clauses on pulling are gated without.
    pub pull: Option<PullReferences>,
    /// A way to the engine that can be cut; clauses on engines that go away are gated without.
    pub outage: Option<Outage>,
    /// Texts that must not be shown: passwords and tokens that the node was connected with; the clause on secrets is
    /// gated without.
    pub secrets: Vec<String>,
    /// Time for one clause (default 90 s).
    pub deadline: Duration,
}

impl Fixture {
    /// Tries `node` with containers from `image`.
    #[must_use]
    pub fn new(node: Arc<dyn Node>, image: impl Into<String>) -> Self {
        Fixture {
            node,
            image: image.into(),
            missing_image: "localhost/roadstead-conformance-missing:none".to_owned(),
            pull: None,
            outage: None,
            secrets: Vec::new(),
            deadline: Duration::from_secs(90),
        }
    }

    /// Tries pulling, too.
    #[must_use]
    pub fn pull(mut self, references: PullReferences) -> Self {
        self.pull = Some(references);
        self
    }

    /// Tries that `secret`, which the node was connected with, is shown nowhere.
    #[must_use]
    pub fn secret(mut self, secret: impl Into<String>) -> Self {
        self.secrets.push(secret.into());
        self
    }

    /// Tries an engine that goes away, too.
    #[must_use]
    pub fn outage(mut self, outage: Outage) -> Self {
        self.outage = Some(outage);
        self
    }
}

/// What a registry has and has not.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PullReferences {
    /// An image that the registry has. It is deleted from the node before and after, so nobody else may use it.
    pub present: String,
    /// An image that the registry does not have.
    pub missing: String,
}

impl PullReferences {
    /// The registry has `present`, and has no `missing`.
    #[must_use]
    pub fn new(present: impl Into<String>, missing: impl Into<String>) -> Self {
        PullReferences { present: present.into(), missing: missing.into() }
    }
}

/// A node of its own whose engine can be made to go away, once.
#[derive(Clone)]
#[non_exhaustive]
pub struct Outage {
    /// The node.
    pub node: Arc<dyn Node>,
    cut: Arc<dyn Fn() + Send + Sync>,
}

impl Outage {
    /// `cut` makes the engine of `node` go away, as if it was killed or the cable pulled.
    #[must_use]
    pub fn new(node: Arc<dyn Node>, cut: impl Fn() + Send + Sync + 'static) -> Self {
        Outage { node, cut: Arc::new(cut) }
    }

    /// Makes the engine go away.
    pub fn cut(&self) {
        (self.cut)();
    }
}

impl fmt::Debug for Outage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outage").field("node", &self.node).finish_non_exhaustive()
    }
}
