//! What a node would push while its Redis is away is lost, as its source says. A harsher one also uses connections, its proxy's
//! and its own, that nobody knows to be broken.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use roadstead_core::{ContainerSpec, ErrorKind, Job, Mount, MountKind, Node, WaitFor};
use roadstead_tests::engines::{OwnEngine, flist};

use crate::check;
use crate::world::{SOON, begun, connect, mark, said, shell, tls};

async fn answers_again(node: &dyn Node) {
    let again = async {
        while let Err(error) = node.ping().await {
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(SOON, again).await.expect("soon");
}

/// Notes that it runs, ends with this code when there is such a file, and notes that before.
fn script(directory: &str, file: &str, code: i32) -> String {
    format!(
        "echo run >>{directory}/runs; echo begun; while [ ! -e {directory}/{file} ]; do sleep 0.2; done; \
         echo end >>{directory}/ends-{file}; exit {code}"
    )
}

fn lines(file: &str) -> usize {
    std::fs::read_to_string(file).map_or(0, |text| text.lines().count())
}

/// Waits until the node has given up the results of all of these.
async fn given_up(engine: &OwnEngine, ids: &[String]) {
    let log = engine.verb("dir") + "/core0.log";
    let all = async {
        loop {
            let log = std::fs::read_to_string(&log).expect("the log");
            if ids.iter().all(|id| log.contains(&format!("lost the result of {id}:"))) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(SOON, all).await.expect("soon");
}

/// Which of the jobs that end while the Redis is away, and of the four that end when it is back, are known in the end. None is
/// told wrongly.
async fn known_after_an_outage(engine: &OwnEngine) -> [usize; 2] {
    let directory = engine.verb("dir") + "/shared";
    std::fs::create_dir(&directory).expect("a directory");
    let node = connect(&tls(engine)).await;
    let mut spec =
        ContainerSpec::new(flist()).name("ends").command(["sh", "-c", script("/shared", "away", 7).as_str()]);
    spec.mounts = vec![Mount {
        kind: MountKind::Bind,
        source: Some(directory.clone()),
        target: "/shared".to_owned(),
        read_only: false,
        size_bytes: None,
    }];
    let ends = node.create_container(&spec).await.expect("it is created").id;
    spec = spec.name("host").command(["sleep", "600"]);
    let host = node.create_container(&spec).await.expect("it is created").id;
    for id in [&ends, &host] {
        node.container(id).start().await.expect("it starts");
    }
    said(&*node.container(&ends), "begun").await;
    let mut away = Vec::new();
    let mut back = Vec::new();
    for code in 0..4 {
        for (file, jobs) in [("away", &mut away), ("back", &mut back)] {
            jobs.push((code, node.run(&shell(&script(&directory, file, code))).await.expect("it starts")));
        }
        let inside = shell(&script("/shared", "away", code));
        away.push((code, node.container(&host).run(&inside).await.expect("it starts")));
    }
    begun(&away).await;
    begun(&back).await;
    let mut ending: Vec<String> = away.iter().map(|(_, job)| job.id().to_owned()).collect();
    ending.push(mark(&node, &ends).await + "-1");
    let _ = engine.verb("stop-redis");
    let say = |file: &str| std::fs::write(format!("{directory}/{file}"), "").expect("the file");
    say("away");
    given_up(engine, &ending).await;
    assert_eq!(lines(&format!("{directory}/ends-away")), ending.len());
    let _ = engine.verb("start-redis");
    answers_again(&*node).await;
    say("back");
    let known = [known(&away).await, known(&back).await];
    let exit = node.container(&ends).wait(WaitFor::Stopped, SOON).await.expect("somebody sees that it has ended");
    assert_eq!(exit.exit_code, None, "which nobody can know");
    assert_eq!(lines(&format!("{directory}/runs")), away.len() + back.len() + 1, "each ran once");
    known
}

async fn known(jobs: &[(i32, Arc<dyn Job>)]) -> usize {
    let told = join_all(jobs.iter().map(|(_, job)| job.wait(SOON))).await;
    jobs.iter().zip(&told).filter(|((code, _), told)| check(*code, told)).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ends_while_the_redis_is_away_is_lost_and_nothing_else() {
    let Some(engine) = OwnEngine::core0("drops") else { return };
    assert_eq!(known_after_an_outage(&engine).await, [0, 4]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_tries_no_connection_out_has_nothing_told_wrongly() {
    let Some(engine) = OwnEngine::core0("tries-nothing-blind") else { return };
    let [away, back] = known_after_an_outage(&engine).await;
    println!("{back} of 4 ends are known");
    assert_eq!(away, 0);
}
