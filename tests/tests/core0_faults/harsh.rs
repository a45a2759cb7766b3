//! A node that is as harsh as its sources allow: what it would push while its Redis is away is lost, and its proxy uses
//! connections of a Redis that is gone.

use std::time::Duration;

use futures_util::future::join_all;
use roadstead_core::{ContainerSpec, ErrorKind, Mount, MountKind, Node, WaitFor};
use roadstead_tests::engines::{OwnEngine, flist};

use crate::check;
use crate::world::{SOON, begun, connect, said, shell, tls};

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

#[tokio::test(flavor = "multi_thread")]
async fn what_a_node_drops_is_lost_and_never_told_wrongly() {
    let Some(engine) = OwnEngine::core0("drops-harsh") else { return };
    let directory = engine.verb("dir") + "/shared";
    std::fs::create_dir(&directory).expect("a directory");
    let node = connect(&tls(&engine)).await;
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
    let mut jobs = Vec::new();
    for code in 0..4 {
        // Some end while it is away, and some afterwards.
        for file in ["away", "back"] {
            jobs.push((code, node.run(&shell(&script(&directory, file, code))).await.expect("it starts")));
        }
        let inside = shell(&script("/shared", "away", code));
        jobs.push((code, node.container(&host).run(&inside).await.expect("it starts")));
    }
    begun(&jobs).await;
    let _ = engine.verb("stop-redis");
    let say = |file: &str| std::fs::write(format!("{directory}/{file}"), "").expect("the file");
    say("away");
    let ended = format!("{directory}/ends-away");
    let all = async {
        while lines(&ended) < 9 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(SOON, all).await.expect("soon");
    // An outage is nothing but time, here as much as the node needs to see the ends.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let _ = engine.verb("start-redis");
    answers_again(&*node).await;
    say("back");
    let told = join_all(jobs.iter().map(|(_, job)| job.wait(SOON))).await;
    let known = jobs.iter().zip(&told).filter(|((code, _), told)| check(*code, told)).count();
    println!("{known} of {} ends are known", jobs.len());
    assert!((1..=4).contains(&known), "those that ended afterwards, at most");
    let exit = node.container(&ends).wait(WaitFor::Stopped, SOON).await.expect("somebody sees that it has ended");
    assert_eq!(exit.exit_code, None, "which nobody can know");
    assert_eq!(lines(&format!("{directory}/runs")), jobs.len() + 1, "each ran once");
}
