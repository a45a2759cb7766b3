//! The page of this engine tells the truth: its example is run as it stands there, but for host, files and fingerprint, and one
//! server works through the other.

use std::path::Path;
use std::process::Command;

use roadstead_core::ConnectOptions;
use roadstead_tests::ServerOptions;
use roadstead_tests::served::Served;
use serde_json::json;

fn page() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/roadstead.md")).unwrap()
}

/// What stands between `begin` and `end` on the page, both included but for the end.
fn between(page: &str, begin: &str, end: &str) -> String {
    let start = page.find(begin).unwrap_or_else(|| panic!("{begin} is not on the page"));
    let length = page[start..].find(end).expect("it has an end");
    page[start..start + length].to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_works() {
    let page = page();
    let directory = tempfile::tempdir().unwrap();
    // The certificate is made, and its fingerprint told, by the commands of the page.
    let make = between(&page, "openssl req", "\n");
    let tell = between(&page, "openssl x509", "\n");
    let run = |line: &str| {
        let done = Command::new("sh").args(["-c", line]).current_dir(directory.path()).output().unwrap();
        assert!(done.status.success(), "{line}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap()
    };
    run(&make);
    let fingerprint = run(&tell).trim().rsplit_once('=').unwrap().1.to_owned();
    let files = (directory.path().join("far.crt"), directory.path().join("far.key"));
    let far = Served::start_with(&directory.path().join("far"), &[("docker", "memory:")], &files).await.unwrap();
    // Here, with the line of the page.
    let line = between(&page, "roadstead serve --node '", "'\n");
    let node = line.trim_start_matches("roadstead serve --node '");
    let (name, uri) = node.split_once('=').unwrap();
    let uri = uri
        .replace("far.example:7070", &format!("127.0.0.1:{}", far.port()))
        .replace("token_file=far.token", &format!("token_file={}", far.token_file().display()))
        .replace(&"0".repeat(64), &fingerprint);
    let here = ServerOptions::default().node(name, &uri).start();
    let at = format!("/v1/nodes/{name}");
    let view = here.get(&at).await.expect(200).json();
    assert_eq!(
        (&view["state"], &view["info"]["name"], &view["info"]["local"]),
        (&json!("connected"), &json!(name), &json!(false))
    );
    assert!(!view.to_string().contains(far.token()) && !here.log().contains(far.token()));
    let spec = json!({"image": "roadstead/busybox:latest", "name": "site", "command": ["sleep", "60"]});
    let made = here.post_json(&format!("{at}/containers?start=true"), &spec).await.expect(201).json();
    let job = json!({"command": ["sh", "-c", "echo afar; exit 3"]});
    let job = here.post_json(&format!("{at}/containers/site/jobs?wait=20"), &job).await.expect(200).json();
    assert_eq!((&job["exit_code"], &job["node"], &job["container"]), (&json!(3), &json!(name), &made["id"]));
    let output = here.get(&format!("/v1/jobs/{}/output", job["id"].as_str().unwrap())).await.expect(200);
    assert!(output.text().contains("afar"), "{}", output.text());
    let listed = here.get("/v1/containers").await.expect(200).json();
    assert_eq!((&listed["items"][0]["node"], &listed["items"][0]["name"]), (&json!(name), &json!("site")));
    let missing = here.get(&format!("{at}/containers/missing")).await;
    let problem = missing.json();
    assert_eq!((missing.status, &problem["node"], &problem["resource"]), (404, &json!(name), &json!("missing")));
    let error = format!("{name}: no such container: missing");
    assert!(problem["detail"].as_str().unwrap().ends_with(&error), "{problem}");
    drop(here);
    far.end().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_addresses_of_the_page_are_understood() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "t0ken").unwrap();
    let page = page();
    let table = between(&page, "| URI | is |", "| parameter |");
    let uris: Vec<&str> = table.split('`').filter(|word| word.contains("://")).collect();
    assert!(uris.len() >= 4, "{uris:?}");
    let mut options = ConnectOptions::default();
    options.deadline = std::time::Duration::from_millis(300);
    for uri in uris {
        let uri = format!("{uri}?token_file={}", file.path().display());
        let error = roadstead_backends::registry().connect("near", &uri, &options).await.unwrap_err();
        // Nobody is there; the address itself is fine.
        assert_eq!(error.field(), None, "{uri}: {error:?}");
    }
}
