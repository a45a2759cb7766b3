//! A store, its key and what older versions left belong together.

use std::collections::BTreeMap;

use super::*;

fn config(directory: &tempfile::TempDir) -> Config {
    let (state_dir, key_file) = (directory.path().join("state"), directory.path().join("key"));
    Config { state_dir, key_file, ..Config::default() }
}

fn node(name: &str) -> StoredNode {
    StoredNode {
        name: name.to_owned(),
        uri: "x://me:hunter2@h".to_owned(),
        certificate: None,
        key: None,
        authority: None,
        labels: BTreeMap::new(),
        id: String::new(),
        place: None,
    }
}

async fn names(records: &Records) -> Vec<String> {
    let (nodes, _) = records.nodes().unwrap().all().await.unwrap();
    nodes.into_iter().map(|(name, node)| (name, node.unwrap()).0).collect()
}

#[tokio::test]
async fn what_is_kept_is_sealed_and_can_be_looked_at_beside_its_server() {
    let directory = tempfile::tempdir().unwrap();
    let config = config(&directory);
    let state_dir = StateDir::open(&config.state_dir).unwrap();
    assert!(names(&Records::peek(&config, &state_dir).await.unwrap()).await.is_empty());
    assert!(!config.key_file.exists() && !state_dir.store_path().exists(), "looking makes nothing");
    let records = Records::open(&config, &state_dir).await.unwrap();
    records.nodes().unwrap().create("a", &node("a")).await.unwrap();
    assert_eq!(names(&Records::peek(&config, &state_dir).await.unwrap()).await, ["a"]);
    records.close().await.unwrap();
    for entry in std::fs::read_dir(state_dir.path()).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        assert!(!bytes.windows(7).any(|bytes| bytes == b"hunter2"));
    }
    let records = Records::open(&config, &state_dir).await.unwrap();
    assert_eq!(names(&records).await, ["a"]);
}

#[tokio::test]
async fn another_key_none_and_newer_records_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = config(&directory);
    let state_dir = StateDir::open(&config.state_dir).unwrap();
    let records = Records::open(&config, &state_dir).await.unwrap();
    records.close().await.unwrap();
    let right = std::mem::replace(&mut config.key_file, directory.path().join("other"));
    for told in ["there is no key file", "do not belong together"] {
        for error in [Records::open(&config, &state_dir).await, Records::peek(&config, &state_dir).await] {
            let error = error.unwrap_err();
            assert_eq!((error.kind(), error.field()), (ErrorKind::Conflict, Some("key_file")), "{error}");
            assert!(error.to_string().contains(told), "{error}");
        }
        SealKeys::read_or_make(&config.key_file).unwrap();
    }
    config.key_file = right;
    let records = Records::open(&config, &state_dir).await.unwrap();
    records.table("meta/", "schema").unwrap().put("schema", &Schema { version: 7 }).await.unwrap();
    records.close().await.unwrap();
    let error = Records::open(&config, &state_dir).await.unwrap_err();
    assert!(error.to_string().contains("version 7"), "{error}");
}

#[tokio::test]
async fn files_of_older_versions_are_taken_in_once() {
    let directory = tempfile::tempdir().unwrap();
    let config = config(&directory);
    let state_dir = StateDir::open(&config.state_dir).unwrap();
    let file = config.state_dir.join("nodes.json");
    for bad in [r#"{"version":2,"things":[]}"#, r#"{"version":1,"nodes":[],"more":1}"#] {
        std::fs::write(&file, bad).unwrap();
        Records::open(&config, &state_dir).await.unwrap_err();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), bad, "it is still there");
    }
    std::fs::write(&file, r#"{"version":1,"nodes":[{"name":"old","uri":"memory:"}]}"#).unwrap();
    let moves = config.state_dir.join("moves");
    std::fs::create_dir(&moves).unwrap();
    std::fs::write(moves.join("damaged.json"), "{").unwrap();
    std::fs::write(moves.join(".half.json"), "{").unwrap();
    assert_eq!(names(&Records::peek(&config, &state_dir).await.unwrap()).await, ["old"]);
    assert!(file.exists());
    let records = Records::open(&config, &state_dir).await.unwrap();
    assert!(!file.exists() && moves.join("damaged.json").exists());
    records.nodes().unwrap().remove("old").await.unwrap();
    records.close().await.unwrap();
    let records = Records::open(&config, &state_dir).await.unwrap();
    assert!(names(&records).await.is_empty(), "it was taken in again");
}
