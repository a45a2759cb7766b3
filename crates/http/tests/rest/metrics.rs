//! `/metrics` as a scraper sees it.

use crate::rig::{Reply, Rig};
use roadstead_http::NodeConfig;
use serde_json::json;

fn text(reply: Reply) -> String {
    assert_eq!(reply.header("content-type"), "application/openmetrics-text; version=1.0.0; charset=utf-8");
    String::from_utf8(reply.is(200).body).unwrap()
}

/// What the form says of every line and of their order.
fn check(text: &str) {
    assert!(text.ends_with("# EOF\n") && text.matches("# EOF").count() == 1);
    let (mut family, mut kind, mut seen) = (String::new(), String::new(), Vec::new());
    let mut samples = Vec::new();
    for line in text.lines().take_while(|line| *line != "# EOF") {
        let words: Vec<_> = line.splitn(4, ' ').collect();
        match words.as_slice() {
            ["#", "TYPE", name, word] => {
                (family, kind) = ((*name).to_owned(), (*word).to_owned());
                assert!(!seen.contains(&family), "{family} is in two places");
                seen.push(family.clone());
            }
            ["#", "UNIT", name, unit] => assert!(*name == family && name.ends_with(&format!("_{unit}")), "{line}"),
            ["#", "HELP", name, _] => assert_eq!(*name, family),
            _ => {
                let (sample, value) = line.rsplit_once(' ').unwrap();
                let name = sample.split('{').next().unwrap();
                let end = match kind.as_str() {
                    "counter" => "_total",
                    "info" => "_info",
                    _ => "",
                };
                let wanted = format!("{family}{end}");
                assert_eq!(name, wanted, "{line}");
                assert!(value.parse::<f64>().is_ok(), "{line}");
                samples.push(sample.to_owned());
            }
        }
    }
    let count = samples.len();
    samples.sort();
    samples.dedup();
    assert_eq!(samples.len(), count, "a series is there twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_nodes_are_scraped_at_once() {
    let rig = Rig::with(|config| {
        config.nodes.insert("pit".to_owned(), NodeConfig::Uri("memory:?fault=metrics.usage:delay:60000".to_owned()));
        config.nodes.insert("lake".to_owned(), NodeConfig::Uri("memory:?seed=2".to_owned()));
    })
    .await;
    let web = rig.container_with("web", json!({"command": ["sleep", "600"], "labels": {"tier": "a"}})).await;
    rig.container("db").await;
    let all = text(rig.get("/metrics?timeout_seconds=1").await);
    check(&all);
    for (node, up) in [("sea", 1), ("lake", 1), ("pit", 0)] {
        assert!(all.contains(&format!("roadstead_node_up{{node=\"{node}\"}} {up}\n")), "{all}");
    }
    let series =
        format!("roadstead_container_memory_usage_bytes{{node=\"sea\",container=\"{:.12}\",name=\"web\"}} ", web);
    assert!(all.contains(&series) && all.contains("name=\"db\""), "{all}");
    assert!(all.contains("roadstead_container_cpu_seconds_total{"));
    for query in ["label=tier", "label=tier=a", "label=tier&node=sea"] {
        let chosen = text(rig.get(&format!("/metrics?{query}&timeout_seconds=1")).await);
        check(&chosen);
        assert!(chosen.contains(&series) && !chosen.contains("name=\"db\""), "{query}: {chosen}");
    }
    let one = text(rig.get("/metrics?node=lake").await);
    assert!(one.contains("node=\"lake\"") && !one.contains("node=\"sea\""));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scrape_needs_the_token_and_sense() {
    let rig = Rig::start().await;
    let reply = rig.send(rig.client.get(rig.url("/metrics"))).await;
    reply.problem(401, "unauthenticated");
    rig.get("/metrics?node=nowhere").await.problem(404, "not_found");
    for (query, field) in [("timeout_seconds=0", "timeout_seconds"), ("labels=x", "labels")] {
        assert_eq!(rig.get(&format!("/metrics?{query}")).await.problem(400, "invalid_input")["field"], field);
    }
    rig.leave();
    assert!(text(rig.get("/metrics").await).contains("roadstead_node_up{node=\"sea\"} 0\n"));
}
