//! What the documents say of the engines is what the engines say of themselves.

use std::path::{Path, PathBuf};

use roadstead_core::{Capability, ConnectOptions, Node};
use roadstead_tests::engines;

const BEGIN: &str = "<!-- capabilities: written by a test, see tests/tests/rest/documents.rs -->\n";
const END: &str = "<!-- end of capabilities -->";

fn readme() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md")
}

async fn connect(uri: &str) -> std::sync::Arc<dyn Node> {
    roadstead_backends::registry().connect("readme", uri, &ConnectOptions::default()).await.expect("the engine answers")
}

/// The table of engines and capabilities in the README; `ROADSTEAD_BLESS=1` writes it.
#[tokio::test(flavor = "multi_thread")]
async fn the_readme_tells_what_each_engine_can_do() {
    let engines = [engines::docker(), engines::podman(), engines::lxd(), engines::incus(), engines::core0()];
    let mut nodes = Vec::new();
    for engine in engines {
        let Some(engine) = engine else { return };
        nodes.push(connect(engine.uri()).await);
    }
    nodes.push(connect("memory:").await);
    let mut head = "| |".to_owned();
    for node in &nodes {
        let info = node.info().await.unwrap();
        // A distribution's suffix says nothing here.
        let version = info.engine_version.split(['+', '-', '~']).next().unwrap_or_default();
        head.push_str(&format!(" {} {version} |", info.engine));
    }
    let mut table = format!("{head}\n|---|{}\n", "---|".repeat(nodes.len()));
    for capability in Capability::ALL {
        table.push_str(&format!("| {} |", capability.text()));
        for node in &nodes {
            table.push_str(if node.capabilities().has(*capability) { " yes |" } else { " – |" });
        }
        table.push('\n');
    }

    let text = std::fs::read_to_string(readme()).unwrap();
    let (before, rest) = text.split_once(BEGIN).expect("the README has the mark of the table's begin");
    let (written, after) = rest.split_once(END).expect("the README has the mark of the table's end");
    if std::env::var("ROADSTEAD_BLESS").as_deref() == Ok("1") {
        std::fs::write(readme(), format!("{before}{BEGIN}{table}{END}{after}")).unwrap();
    } else {
        assert_eq!(written, table, "the README is out of date: run this test with ROADSTEAD_BLESS=1");
    }
}
