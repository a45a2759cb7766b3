//! Images: pulled as a job with progress, imported, saved, loaded, tagged, deleted.

use roadstead_tests::{Server, ServerOptions, TestEngine, engines};
use serde_json::{Value, json};

use super::{create, done, on};
use crate::SOON;

async fn image(server: &Server, engine: &TestEngine, reference: &str) -> Value {
    server.get(&on(engine, &format!("/image?reference={reference}"))).await.expect(200).json()
}

async fn absent(server: &Server, engine: &TestEngine, reference: &str) {
    let answer = server.get(&on(engine, &format!("/image?reference={reference}"))).await;
    answer.expect_problem(404, "not_found");
}

async fn delete(server: &Server, engine: &TestEngine, reference: &str) {
    done(&server.delete(&on(engine, &format!("/image?reference={reference}"))).await);
}

/// Whether the list holds an image with this reference.
async fn listed(server: &Server, engine: &TestEngine, reference: &str) -> bool {
    let list = server.get(&on(engine, "/images")).await.expect(200).json();
    list["items"].as_array().expect("items").iter().any(|item| {
        item["references"]
            .as_array()
            .expect("references")
            .iter()
            .any(|known| known.as_str().is_some_and(|known| known.ends_with(reference)))
    })
}

async fn a_pull_is_a_job_with_progress(engine: &TestEngine) {
    let Some(registry) = engines::registry() else { return };
    let server = ServerOptions::with(engine).start();
    let reference = format!("{registry}/roadstead/layers:latest");
    // Of an earlier run.
    let _ = engine.ask("DELETE", &format!("/images/{reference}?force=true"), None);
    absent(&server, engine, &reference).await;

    let job = server.post_json(&on(engine, "/images/pull"), &json!({"reference": reference})).await.expect(202);
    let job = job.header("location").expect("where it is").to_owned();
    let progress = server.events(&format!("{job}/output"), None).await.rest(SOON).await;
    let status = server.get(&format!("{job}?wait=60")).await.expect(200).json();
    assert_eq!(status["state"], "succeeded", "{status}: {progress:#?}");
    assert!(progress.iter().filter(|event| event.event == "output").count() > 1, "no progress: {progress:?}");
    let pulled = image(&server, engine, &reference).await;
    assert!(pulled["size_bytes"].as_u64() > Some(24_000_000), "{pulled}");
    assert!(pulled["layers"].as_array().map(Vec::len) >= Some(4), "{pulled}");
    assert!(listed(&server, engine, &reference).await);
    let jobs = server.get(&on(engine, "/jobs")).await.expect(200).json();
    assert!(jobs["items"].as_array().expect("items").iter().any(|job| job["id"] == status["id"]), "{jobs}");
    delete(&server, engine, &reference).await;
    absent(&server, engine, &reference).await;

    // What the registry does not have fails, and says so.
    let missing = format!("{registry}/roadstead/missing:latest");
    let job = server.post_json(&on(engine, "/images/pull?wait=60"), &json!({"reference": missing})).await.expect(200);
    assert_eq!(job.json()["state"], "failed", "{}", job.text());
    let job = format!("/v1/jobs/{}", job.json()["id"].as_str().expect("an id"));
    let words = server.send(server.request("GET", &format!("{job}/output")).header("accept", "text/plain")).await;
    let last = words.text();
    let last: Value = serde_json::from_str(last.lines().last().expect("it says why")).expect("a problem document");
    assert!(last["code"] == "not_found" || last["code"] == "permission_denied", "{last}");
    absent(&server, engine, &missing).await;
}

async fn imported_saved_loaded_tagged_deleted(engine: &TestEngine) {
    let _cleaner = engine.cleaner();
    let server = ServerOptions::with(engine).start();
    // The root file system that the test image was made from: what a container holds of it, exported.
    let source = engine.create(&engine.name("source"), &["true"]);
    let exported = server.get(&on(engine, &format!("/containers/{source}/export"))).await.expect(200);

    let first = format!("roadstead/{}:first", engine.name("import"));
    let path = on(engine, &format!("/images/import?reference={first}&command=echo&command=from%20the%20image"));
    let made = server.send_bytes("POST", &path, "application/x-tar", exported.body).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let shown = image(&server, engine, &first).await;
    assert_eq!(shown["command"], json!(["echo", "from the image"]), "{shown}");
    let run = async |name: &str, reference: &str| {
        let made = create(&server, engine, &json!({"image": reference, "name": engine.name(name)})).await;
        let path = on(engine, &format!("/containers/{}", made["id"].as_str().expect("an id")));
        done(&server.post(&format!("{path}/start")).await);
        assert_eq!(server.post(&format!("{path}/wait")).await.expect(200).json()["exit_code"], 0);
        let log = server.get(&format!("{path}/logs")).await.expect(200).text();
        done(&server.delete(&path).await);
        log
    };
    assert_eq!(run("imported", &first).await, "from the image\n");

    let second = format!("roadstead/{}:second", engine.name("import"));
    done(&server.post_json(&on(engine, "/images/tag"), &json!({"reference": first, "new_reference": second})).await);
    assert_eq!(image(&server, engine, &second).await["id"], shown["id"]);
    assert!(listed(&server, engine, &second).await);

    let saved = server.get(&on(engine, &format!("/images/save?reference={second}"))).await.expect(200);
    assert_eq!(saved.header("content-type"), Some("application/x-tar"));
    delete(&server, engine, &second).await;
    absent(&server, engine, &second).await;
    assert_eq!(image(&server, engine, &first).await["id"], shown["id"], "the other reference stays");
    delete(&server, engine, &first).await;
    absent(&server, engine, &first).await;

    let loaded =
        server.send_bytes("POST", &on(engine, "/images/load"), "application/x-tar", saved.body).await.expect(200);
    let references = loaded.json();
    assert_eq!(references["references"].as_array().map(Vec::len), Some(1), "{references}");
    let back = references["references"][0].as_str().expect("a reference").to_owned();
    assert!(back.ends_with(&second), "{references}");
    assert_eq!(run("loaded", &back).await, "from the image\n");
    delete(&server, engine, &back).await;
    absent(&server, engine, &back).await;
}

crate::on_both_engines! { a_pull_is_a_job_with_progress imported_saved_loaded_tagged_deleted }
