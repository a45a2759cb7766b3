//! The products, and how we reach them.

use std::sync::Arc;

use roadstead_core::{ConnectOptions, Node, Result};
use roadstead_tests::TestEngine;
use roadstead_tests::engines::{self, OwnEngine};

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// A product, and our way to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Product {
    /// LXD by its socket.
    Lxd,
    /// LXD by TLS with a client certificate, where we see nothing of its machine.
    LxdTls,
    /// Incus by its socket.
    Incus,
}

impl Product {
    pub(crate) const ALL: [Product; 3] = [Product::Lxd, Product::LxdTls, Product::Incus];

    /// What its trials begin with, and its node is called.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Product::Lxd => "lxd",
            Product::LxdTls => "lxd-tls",
            Product::Incus => "incus",
        }
    }

    /// Whether the tests have no engine of it.
    pub(crate) fn is_missing(self) -> bool {
        let name = if self == Product::Incus { "ROADSTEAD_TEST_INCUS_URI" } else { "ROADSTEAD_TEST_LXD_URI" };
        variable(name).is_none()
    }

    /// The variables of the clients that name their configuration, with what they must be for the tests' engines.
    pub(crate) fn directories() -> Vec<(&'static str, String)> {
        let pairs = [("LXD_CONF", "ROADSTEAD_TEST_LXD_CONF"), ("INCUS_CONF", "ROADSTEAD_TEST_INCUS_CONF")];
        pairs.into_iter().filter_map(|(name, from)| Some((name, variable(from)?))).collect()
    }

    /// The engine; noted as left out when there is none.
    pub(crate) fn engine(self) -> Option<TestEngine> {
        if self == Product::Incus { engines::incus() } else { engines::lxd() }
    }

    /// Another server of the product, which knows the first one as the remote `main`; noted as left out when there is none.
    /// `purpose` is what it is for, and no other test.
    pub(crate) fn another(self, purpose: &str) -> Option<Another> {
        match self {
            Product::Incus => OwnEngine::incus(&format!("clients-{purpose}")).map(Another::Own),
            Product::Lxd | Product::LxdTls => engines::lxd_second().map(Another::Shared),
        }
    }

    /// Connects us.
    pub(crate) async fn connect(self, engine: &TestEngine) -> Result<Arc<dyn Node>> {
        self.connect_to(engine, None).await
    }

    /// Connects us, to work in a project.
    pub(crate) async fn connect_to(self, engine: &TestEngine, project: Option<&str>) -> Result<Arc<dyn Node>> {
        let mut options = ConnectOptions::default();
        let mut uri = engine.uri().to_owned();
        if self == Product::LxdTls {
            let directory = engine.client_directory();
            options.certificate = Some(directory.join("client.crt"));
            options.key = Some(directory.join("client.key"));
            uri = format!("{}?server_certificate={}", engine.tls_uri(), directory.join("server.crt").display());
        }
        if let Some(project) = project {
            let separator = if uri.contains('?') { '&' } else { '?' };
            uri = format!("{uri}{separator}project={project}");
        }
        roadstead_backends::registry().connect(self.name(), &uri, &options).await
    }
}

/// See [`Product::another`].
pub(crate) enum Another {
    Shared(TestEngine),
    Own(OwnEngine),
}

impl Another {
    pub(crate) fn engine(&self) -> &TestEngine {
        match self {
            Another::Shared(engine) => engine,
            Another::Own(own) => own.engine(),
        }
    }
}
