//! Lists over all nodes.

use std::time::Duration;

use roadstead_benches::fleet::Mood;
use tokio::time::{sleep, timeout};

use crate::{Fleet, QUICK, SOON};

const DEAD: usize = 41;
const SLOW: usize = 7;

/// An hour would not be enough for a list that waits for the dead node; the client waits for a minute.
const FOREVER: u32 = 300;

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_node_costs_nothing_once_it_is_known_and_a_slow_one_is_not_broken() {
    let Some(fleet) = Fleet::start(100, 2).await else { return };
    fleet.nodes[SLOW].be(Mood::Answers(Duration::from_millis(300)));
    fleet.holds_all_but(&fleet.list(FOREVER).await, &[]);

    fleet.nodes[DEAD].be(Mood::Silent);
    let list = fleet.list(1).await;
    fleet.holds_all_but(&list, &[DEAD]);
    assert_eq!((&list["errors"][0]["node"], &list["errors"][0]["code"]), (&"n041".into(), &"deadline_exceeded".into()));

    let opened = async {
        loop {
            let list = fleet.list(1).await;
            fleet.holds_all_but(&list, &[DEAD]);
            if list["errors"][0]["code"] == "unavailable" {
                break list;
            }
            assert_eq!(list["errors"][0]["code"], "deadline_exceeded");
            sleep(Duration::from_millis(50)).await;
        }
    };
    let list = timeout(SOON, opened).await.expect("the breaker opens");
    let detail = list["errors"][0]["detail"].as_str().unwrap();
    assert!(detail.contains("no answer since 20") && detail.contains("no answer within 2 s"), "{detail}");

    // From now on it is asked by probes alone, and no list waits for it.
    let (asked, asked_slow) = (fleet.nodes[DEAD].requests(), fleet.nodes[SLOW].requests());
    for _ in 0..20 {
        let list = fleet.list(FOREVER).await;
        fleet.holds_all_but(&list, &[DEAD]);
        assert_eq!(list["errors"][0]["code"], "unavailable");
    }
    let (asked, asked_slow) = (fleet.nodes[DEAD].requests() - asked, fleet.nodes[SLOW].requests() - asked_slow);
    assert!(asked_slow >= 20, "the slow node was asked {asked_slow} times");
    assert!(asked < 10, "the dead node was asked {asked} times");

    fleet.nodes[DEAD].be(Mood::Answers(QUICK));
    let back = async {
        while !fleet.list(FOREVER).await["errors"].as_array().unwrap().is_empty() {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(SOON, back).await.expect("it is seen that it is back");
    fleet.holds_all_but(&fleet.list(FOREVER).await, &[]);
    fleet.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_refuses_is_an_error_and_no_wait() {
    let Some(fleet) = Fleet::start(10, 2).await else { return };
    fleet.nodes[3].leave();
    for _ in 0..20 {
        let list = fleet.list(FOREVER).await;
        fleet.holds_all_but(&list, &[3]);
        assert_eq!(list["errors"][0]["code"], "unavailable");
    }
    fleet.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_nodes_are_listed_whole_and_in_order() {
    // The server, its thousand nodes and what else the machine does share two processors while all mirrors fill at once.
    let Some(fleet) = Fleet::start(1000, 60).await else { return };
    for _ in 0..3 {
        fleet.holds_all_but(&fleet.list(FOREVER).await, &[]);
    }
    fleet.end().await;
}
