//! Files of containers, in and out.

use roadstead_core::CopyInOptions;

use crate::scene::{Entry, Scene, archive, contents, stream_of, whole};

const CONTENT: &str = "from one side\nto the other: ü\n";

/// What we copy in, with owner and mode, they pull and see.
pub(crate) async fn they_pull(scene: &Scene) {
    let container = scene.we_run("c").await;
    let mut entry = Entry::new("sub/file", CONTENT);
    (entry.mode, entry.owner) = (0o640, (12, 34));
    let archive = archive(&[entry, Entry::new("plain", "")]);
    container.copy_in("/root", stream_of(archive), &CopyInOptions::default()).await.expect("we copy in");
    assert_eq!(scene.they_pull(container.id(), "/root/sub/file"), CONTENT);
    let seen = scene.they_run(container.id(), "cd /root; stat -c '%n %a %u %g %s' sub/file plain");
    assert_eq!(seen, format!("sub/file 640 12 34 {}\nplain 644 0 0 0\n", CONTENT.len()));
    let _ = scene.client(&["stop", container.id(), "--force"]);
    assert_eq!(scene.they_pull(container.id(), "/root/sub/file"), CONTENT);
}

/// What they push, with owner and mode, we copy out, whether it runs or not.
pub(crate) async fn they_push(scene: &Scene) {
    let name = scene.they_init("c");
    scene.they_push(&name, "/root/file", CONTENT, &["--mode", "640", "--uid", "12", "--gid", "34"]);
    for running in [false, true] {
        if running {
            let _ = scene.client(&["start", &name]);
        }
        let archive = whole(scene.container(&name).copy_out("/root/file").await.expect("we copy out")).await;
        let files = contents(&archive);
        let file = files.get("file").unwrap_or_else(|| panic!("{files:?}"));
        assert_eq!((file.content.as_str(), file.mode, file.owner), (CONTENT, 0o640, (12, 34)), "running: {running}");
    }
    // And what we copied in, they replace.
    scene.we_write(&name, "both", "ours").await;
    scene.they_push(&name, "/both", "theirs", &[]);
    assert_eq!(scene.we_read(&name, "/both").await, "theirs");
}

pub(crate) async fn they_push_what_we_export(scene: &Scene) {
    let name = scene.they_init("c");
    scene.they_push(&name, "/root/file", CONTENT, &["--mode", "640", "--uid", "12", "--gid", "34"]);
    let archive = whole(scene.container(&name).export().await.expect("we export")).await;
    let files = contents(&archive);
    let file = files.get("root/file").unwrap_or_else(|| panic!("{:?}", files.keys()));
    assert_eq!((file.content.as_str(), file.mode, file.owner), (CONTENT, 0o640, (12, 34)));
    assert_eq!(files.get("etc/passwd").map(|file| file.content.clone()), Some(scene.they_pull(&name, "/etc/passwd")));
}
