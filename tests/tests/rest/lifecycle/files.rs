//! Files in and out, the whole file system, and the image that is made of it.

use std::io::{Read, Write};
use std::process::{Command, Stdio};

use roadstead_tests::{ServerOptions, TestEngine};
use serde_json::json;

use super::{archive, create, done, on};

/// What `sha256sum` on this machine says: another program than the one in the container, and than the ones under test.
fn checksum(bytes: &[u8]) -> String {
    let mut child = Command::new("sha256sum")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("sha256sum is everywhere");
    child.stdin.take().expect("piped").write_all(bytes).expect("it reads all");
    let output = child.wait_with_output().expect("it ends");
    String::from_utf8_lossy(&output.stdout).split(' ').next().unwrap_or_default().to_owned()
}

/// Bytes of every value in no order that a compressor knows.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// Content and mode of the file of this name in an archive.
fn find(archive: &[u8], name: &str) -> Option<(Vec<u8>, u32)> {
    let mut archive = tar::Archive::new(archive);
    for entry in archive.entries().expect("an archive") {
        let mut entry = entry.expect("an entry");
        if entry.path().expect("a path").to_string_lossy().trim_start_matches("./") == name {
            let mode = entry.header().mode().expect("a mode") & 0o7777;
            let mut content = Vec::new();
            entry.read_to_end(&mut content).expect("its content");
            return Some((content, mode));
        }
    }
    None
}

async fn files_come_out_as_they_went_in(engine: &TestEngine) {
    let _cleaner = engine.cleaner();
    let server = ServerOptions::with(engine).start();
    let id = engine.run(&engine.name("files"));
    let path = on(engine, &format!("/containers/{id}"));
    let content = noise(3 * 1024 * 1024 + 17);

    let put = server
        .send_bytes("PUT", &format!("{path}/files?path=/tmp"), "application/x-tar", archive("noise.bin", &content))
        .await;
    done(&put);
    let job = server
        .post_json(&format!("{path}/jobs"), &json!({"command": ["sha256sum", "/tmp/noise.bin"]}))
        .await
        .expect(202);
    let job = job.header("location").expect("where it is").to_owned();
    let status = server.get(&format!("{job}?wait=30")).await.expect(200).json();
    assert_eq!(status["state"], "succeeded", "{status}");
    let output =
        server.send(server.request("GET", &format!("{job}/output")).header("accept", "text/plain")).await.expect(200);
    assert_eq!(output.text(), format!("{}  /tmp/noise.bin\n", checksum(&content)));

    let got = server.get(&format!("{path}/files?path=/tmp/noise.bin")).await.expect(200);
    assert_eq!(got.header("content-type"), Some("application/x-tar"));
    let (back, mode) = find(&got.body, "noise.bin").expect("the file is in the archive");
    assert_eq!((checksum(&back), back.len(), mode), (checksum(&content), content.len(), 0o640));

    // A directory comes with what is in it.
    let got = server.get(&format!("{path}/files?path=/tmp")).await.expect(200);
    assert!(find(&got.body, "tmp/noise.bin").is_some());

    // Compressed archives are taken, too.
    let mut child = Command::new("gzip").arg("-c").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(&archive("small", b"small")).unwrap();
    let compressed = child.wait_with_output().unwrap().stdout;
    done(&server.send_bytes("PUT", &format!("{path}/files?path=/tmp"), "application/gzip", compressed).await);

    let exported = server.get(&format!("{path}/export")).await.expect(200);
    let (back, _) = find(&exported.body, "tmp/noise.bin").expect("the file is in the export");
    assert_eq!(checksum(&back), checksum(&content));
    assert_eq!(find(&exported.body, "tmp/small").map(|(content, _)| content), Some(b"small".to_vec()));
}

async fn a_committed_image_has_the_files(engine: &TestEngine) {
    let _cleaner = engine.cleaner();
    let server = ServerOptions::with(engine).start();
    let id = engine.run(&engine.name("commit"));
    let path = on(engine, &format!("/containers/{id}"));
    done(
        &server
            .send_bytes("PUT", &format!("{path}/files?path=/etc"), "application/x-tar", archive("mark", b"made here"))
            .await,
    );
    let reference = format!("roadstead/{}:v1", engine.name("committed"));
    let committed =
        server.post_json(&format!("{path}/commit"), &json!({"image": reference, "message": "from a test"})).await;
    assert_eq!(committed.status, 201, "{}", committed.text());
    assert!(committed.json()["id"].as_str().is_some_and(|id| !id.is_empty()));
    let spec = json!({"image": reference, "name": engine.name("copy"), "command": ["cat", "/etc/mark"]});
    let made = create(&server, engine, &spec).await;
    let copy = on(engine, &format!("/containers/{}", made["id"].as_str().expect("an id")));
    done(&server.post(&format!("{copy}/start")).await);
    assert_eq!(server.post(&format!("{copy}/wait")).await.expect(200).json()["exit_code"], 0);
    assert_eq!(server.get(&format!("{copy}/logs")).await.expect(200).text(), "made here");
}

crate::on_both_engines! { files_come_out_as_they_went_in a_committed_image_has_the_files }
