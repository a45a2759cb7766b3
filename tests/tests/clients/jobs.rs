//! Jobs and processes. A job is an exec of ours; what belongs to it lives in the container, where their client sees it.

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use roadstead_core::{Job, JobSpec, JobState, OutputOptions, Signal, TerminalSize};

use crate::scene::{Scene, soon};

const PATIENCE: Duration = Duration::from_secs(30);

fn shell(script: &str) -> JobSpec {
    JobSpec::new(["sh", "-c", script])
}

/// The processes of a container with this in their command line, by their client: as the container counts.
fn seen(scene: &Scene, name: &str, mark: &str) -> Vec<String> {
    let table = scene.they_run(name, "ps -o pid,args");
    let lines = table.lines().filter(|line| line.split_whitespace().skip(1).collect::<Vec<_>>().join(" ") == mark);
    lines.filter_map(|line| line.split_whitespace().next().map(str::to_owned)).collect()
}

pub(crate) async fn they_see_our_job(scene: &Scene) {
    let name = scene.they_launch("c");
    let mut spec = shell("echo $COLOUR $(pwd) $(id -u) >/tmp/made; exec sleep 4322");
    spec.env.insert("COLOUR".to_owned(), "blue".to_owned());
    spec.working_directory = Some("/tmp".to_owned());
    let job = scene.container(&name).run(&spec).await.expect("we run a job");
    soon("they see its process", async || (seen(scene, &name, "sleep 4322").len() == 1).then_some(())).await;
    assert_eq!(scene.they_pull(&name, "/tmp/made"), "blue /tmp 0\n");
    let operations = scene.query("/1.0/operations?recursion=1");
    let runs = operations["running"].as_array().into_iter().flatten().any(|operation| {
        let instances = operation["resources"]["instances"].as_array();
        instances.into_iter().flatten().any(|path| path.as_str().is_some_and(|path| path.ends_with(&name)))
    });
    assert!(runs, "{operations}");
    job.kill(Signal::KILL).await.expect("we kill it");
}

/// What their client runs is no job of ours, but its process is there.
pub(crate) async fn theirs_are_none_of_ours(scene: &Scene) {
    let name = scene.they_launch("c");
    let mut theirs = scene.command(&["exec", &name, "--", "sleep", "4323"]);
    let mut theirs = theirs.stdout(std::process::Stdio::null()).spawn().expect("their client begins");
    let ours = scene.container(&name).run(&shell("exec sleep 4324")).await.expect("we run a job");
    soon("both run", async || {
        let processes = scene.container(&name).processes().await.expect("we list processes");
        let has = |number: &str| processes.iter().any(|process| process.cmdline == ["sleep", number]);
        (has("4323") && has("4324")).then_some(())
    })
    .await;
    let in_container: Vec<_> =
        scene.container(&name).jobs().await.expect("we list jobs").into_iter().map(|job| job.id).collect();
    let on_node: Vec<_> = scene.node().jobs().await.expect("we list jobs").into_iter().map(|job| job.id).collect();
    assert_eq!(
        (in_container.as_slice(), on_node.as_slice()),
        ([ours.id().to_owned()].as_slice(), [ours.id().to_owned()].as_slice())
    );
    let _ = theirs.kill();
    let _ = theirs.wait();
}

pub(crate) async fn we_see_their_processes(scene: &Scene) {
    let name = scene.they_launch("c");
    let _ = scene.they_run(&name, "sleep 4325 </dev/null >/dev/null 2>&1 &");
    let processes = scene.container(&name).processes().await.expect("we list processes");
    let found: Vec<_> = processes.iter().filter(|process| process.cmdline == ["sleep", "4325"]).collect();
    assert_eq!(found.len(), 1, "{processes:?}");
    let main = processes
        .iter()
        .find(|process| process.cmdline.iter().any(|word| word == "/sbin/init"))
        .expect("the main process");
    assert_eq!(found[0].name, "sleep");
    assert!(main.pid != found[0].pid && found[0].rss_bytes.is_some_and(|bytes| bytes > 0), "{processes:?}");
    let _ = scene.they_run(&name, &format!("kill {}", seen(scene, &name, "sleep 4325").join(" ")));
    soon("we see it gone", async || {
        let processes = scene.container(&name).processes().await.expect("we list processes");
        processes.iter().all(|process| process.cmdline != ["sleep", "4325"]).then_some(())
    })
    .await;
}

pub(crate) async fn we_kill(scene: &Scene) {
    let name = scene.they_launch("c");
    let job = scene.container(&name).run(&shell("exec sleep 4326")).await.expect("we run a job");
    soon("they see its process", async || (!seen(scene, &name, "sleep 4326").is_empty()).then_some(())).await;
    job.kill(Signal::TERM).await.expect("we kill it");
    soon("they see it gone", async || seen(scene, &name, "sleep 4326").is_empty().then_some(())).await;
    let status = job.wait(PATIENCE).await.expect("it ends");
    assert_eq!((status.state, status.exit_code), (JobState::Killed, Some(143)));
}

/// What they kill, has ended for us, by the signal.
pub(crate) async fn they_kill(scene: &Scene) {
    let name = scene.they_launch("c");
    let job = scene.container(&name).run(&shell("exec sleep 4327")).await.expect("we run a job");
    let pids =
        soon("they see its process", async || Some(seen(scene, &name, "sleep 4327")).filter(|pids| !pids.is_empty()))
            .await;
    assert_eq!(job.status().await.expect("its status").state, JobState::Running);
    let _ = scene.they_run(&name, &format!("kill -KILL {}", pids.join(" ")));
    let status = job.wait(PATIENCE).await.expect("it ends");
    assert_eq!((status.state, status.exit_code), (JobState::Failed, Some(137)));
    assert_eq!(job.status().await.expect("its status"), status);
}

/// What they write, our job reads and gives on.
pub(crate) async fn they_feed(scene: &Scene) {
    let name = scene.they_launch("c");
    let job = scene.container(&name).run(&shell("touch /fed; exec tail -f /fed")).await.expect("we run a job");
    soon("it waits", async || (!seen(scene, &name, "tail -f /fed").is_empty()).then_some(())).await;
    let mut output = job.output(OutputOptions::follow()).await.expect("we read its output");
    let _ = scene.they_run(&name, "echo from the client >>/fed");
    let chunk =
        tokio::time::timeout(PATIENCE, output.next()).await.expect("it arrives").expect("a chunk").expect("no error");
    assert_eq!(chunk.data, "from the client\n");
    job.kill(Signal::KILL).await.expect("we kill it");
}

async fn reader(scene: &Scene, name: &str) -> std::sync::Arc<dyn Job> {
    scene.container(name).run(&shell("cat >/read; touch /end").with_stdin()).await.expect("we run a job")
}

pub(crate) async fn we_write(scene: &Scene) {
    let name = scene.they_launch("c");
    let job = reader(scene, &name).await;
    job.write_stdin(Bytes::from_static(b"from us\n")).await.expect("we write");
    soon("they read it", async || (scene.they_run(&name, "cat /read || true") == "from us\n").then_some(())).await;
}

pub(crate) async fn we_close(scene: &Scene) {
    let name = scene.they_launch("c");
    let job = reader(scene, &name).await;
    job.close_stdin().await.expect("we close");
    soon("they see its end", async || (scene.they_run(&name, "ls /end 2>/dev/null || true") == "/end\n").then_some(()))
        .await;
    assert_eq!(job.wait(PATIENCE).await.expect("it ends").exit_code, Some(0));
}

pub(crate) async fn we_resize(scene: &Scene) {
    let name = scene.they_launch("c");
    let spec = shell("tty >/tty; exec sleep 4328").with_terminal(TerminalSize { columns: 80, rows: 24 });
    let job = scene.container(&name).run(&spec).await.expect("we run a job");
    let size = async || scene.they_run(&name, "stty size <\"$(cat /tty)\" 2>&1 || true");
    soon("they see the first size", async || (size().await == "24 80\n").then_some(())).await;
    job.resize(TerminalSize { columns: 111, rows: 33 }).await.expect("we resize");
    soon("they see the new size", async || (size().await == "33 111\n").then_some(())).await;
    job.kill(Signal::KILL).await.expect("we kill it");
}
