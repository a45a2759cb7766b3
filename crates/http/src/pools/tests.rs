//! Who is taken by a selection.

use super::*;

fn settings(json: &str) -> Result<PoolSettings> {
    let settings: PoolSettings = serde_json::from_str(json).unwrap();
    settings.validate().map(|()| settings)
}

#[test]
fn a_selection_says_what_it_takes() {
    assert!(settings(r#"{"select": {"schemes": ["tide", "ebb+tls"]}}"#).is_ok());
    assert!(settings(r#"{"nodes": ["a", "b"]}"#).is_ok());
    assert!(settings("{}").is_ok(), "a pool may be empty");
    for (json, field) in [
        (r#"{"select": {}}"#, "select"),
        (r#"{"select": {"labels": ["=x"]}}"#, "select.labels"),
        (r#"{"select": {"schemes": [""]}}"#, "select.schemes"),
        (r#"{"nodes": ["a", "b", "a"]}"#, "nodes"),
        (r#"{"own_of": "/"}"#, "own_of"),
        (r#"{"own_of": "a", "nodes": ["a"]}"#, "own_of"),
    ] {
        assert_eq!(settings(json).unwrap_err().field(), Some(field), "{json}");
    }
}

#[tokio::test]
async fn schemes_are_whole_or_the_part_before_the_plus() {
    let registry = roadstead_core::Registry::new();
    let records = crate::records::Records::of(Arc::new(roadstead_core::store::MemoryStore::new()));
    let bounds = crate::nodes::Bounds { quick: Duration::from_secs(1), slow: Duration::from_secs(1) };
    let nodes = Nodes::load(
        registry,
        roadstead_core::ConnectOptions::default(),
        bounds,
        &records,
        crate::nodes::Place::default(),
    )
    .await
    .unwrap();
    for (name, uri) in [
        ("a", "tide+unix:///nowhere/a.sock"),
        ("b", "tide+tcp://127.0.0.1:1"),
        ("c", "tides+unix:///nowhere/c.sock"),
        ("d", "memory:"),
    ] {
        let node = crate::nodes::NewNode { name: name.to_owned(), uri: uri.to_owned(), ..Default::default() };
        nodes.serve(&node, crate::nodes::NodeSource::Configured);
    }
    let taken = |schemes: &[&str]| {
        let select =
            Select { schemes: schemes.iter().map(|scheme| (*scheme).to_owned()).collect(), ..Select::default() };
        let settings = PoolSettings { select: Some(select), ..PoolSettings::default() };
        let pool = StoredPool { name: "p".to_owned(), settings, cordons: BTreeMap::new() };
        let (slots, missing) = pool.slots(&nodes);
        assert!(missing.is_empty());
        slots.iter().map(|slot| slot.name().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(taken(&["tide"]), ["a", "b"]);
    assert_eq!(taken(&["tide+tcp", "memory"]), ["b", "d"]);
    assert!(taken(&["tid"]).is_empty());
}
