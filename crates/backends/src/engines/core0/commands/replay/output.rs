//! Output of several commands at once, of which one is not read, cannot be read, or never stops; more of it than a link carries,
//! and faster than a node keeps.

use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::narrow::{Link, Narrow};
use super::node::{Node, PATIENCE};

fn entry(id: &str, text: &str, end: bool) -> String {
    let meta = if end { 65_538 } else { 65_536 };
    format!(r#"{{"core":0,"command":"{id}","message":{{"message":"{text}","epoch":1,"meta":{meta}}}}}"#)
}

async fn write(node: &Node, id: &str, entries: &[String]) {
    let key = format!("stream:{id}");
    let mut words = vec!["RPUSH", &key];
    words.extend(entries.iter().map(String::as_str));
    let _: i64 = node.ask(&words).await;
}

/// So many lines, the last of which is the end.
fn lines(id: &str, count: usize) -> Vec<String> {
    (1..=count).map(|number| entry(id, &number.to_string(), number == count)).collect()
}

#[tokio::test]
async fn a_reader_that_does_not_read_holds_up_nobody() {
    const LINES: usize = 3000;
    let node = Node::start().await;
    let client = node.client();
    write(&node, "slow", &lines("slow", LINES)).await;
    let mut slow = client.streams().read("slow", false);
    let full = async {
        while slow.len() < 1000 {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, full).await.expect("as much is read ahead as there is room for");
    for id in ["quick", "zealous"] {
        let mut quick = client.streams().read(id, false);
        write(&node, id, &lines(id, 3)).await;
        for number in 1..=3 {
            let entry = timeout(PATIENCE, quick.recv()).await.expect("it is not held up").expect("an entry");
            assert_eq!(entry.text, number.to_string());
        }
        assert_eq!(quick.recv().await, None);
    }
    for number in 1..=LINES {
        let entry = timeout(PATIENCE, slow.recv()).await.expect("it goes on").expect("an entry");
        assert_eq!(entry.text, number.to_string(), "nothing is lost, told twice or out of order");
    }
    assert_eq!(slow.recv().await, None);
}

#[tokio::test]
async fn what_an_older_memory_has_once_more_is_told_once() {
    let node = Node::start().await;
    let client = node.client();
    let mut reader = client.streams().read("job", false);
    let lines = lines("job", 5);
    for (written, told) in [(&lines[..3], &["1", "2", "3"][..]), (&lines[1..], &["4", "5"])] {
        write(&node, "job", written).await;
        for text in told {
            let entry = timeout(PATIENCE, reader.recv()).await.expect("soon").expect("an entry");
            assert_eq!(entry.text, *text);
        }
    }
    assert_eq!(reader.recv().await, None);
    // Of those without a time it is not known whether they were told.
    let mut reader = client.streams().read("old", false);
    let untimed = entry("old", "same", false).replace("\"epoch\":1,", "");
    write(&node, "old", &[untimed.clone(), untimed, entry("old", "", true)]).await;
    for text in ["same", "same", ""] {
        assert_eq!(timeout(PATIENCE, reader.recv()).await.expect("soon").expect("an entry").text, text);
    }
}

#[tokio::test]
async fn a_command_that_never_stops_writing_is_left_for_others() {
    const LINES: usize = 20_000;
    let node = Node::start().await;
    let client = node.client();
    write(&node, "endless", &lines("endless", LINES)).await;
    let mut quick = client.streams().read("quick", false);
    let mut endless = client.streams().read("endless", false);
    endless.recv().await.expect("an entry");
    write(&node, "quick", &lines("quick", 1)).await;
    let mut before = 1;
    loop {
        tokio::select! {
            biased;
            entry = quick.recv() => {
                assert_eq!(entry.expect("an entry").text, "1");
                break;
            }
            entry = endless.recv() => {
                assert!(entry.is_some(), "all of the one was read before anything of the other");
                before += 1;
            }
        }
    }
    assert!(before < LINES / 2, "{before} lines of the one before the first of the other");
}

#[tokio::test]
async fn a_list_that_cannot_be_read_holds_up_nobody() {
    let node = Node::start().await;
    let client = node.client();
    let _: String = node.ask(&["SET", "stream:bad", "no list"]).await;
    let mut bad = client.streams().read("bad", false);
    let mut good = client.streams().read("good", false);
    write(&node, "good", &lines("good", 3)).await;
    for number in 1..=3 {
        let entry = timeout(PATIENCE, good.recv()).await.expect("it is not held up").expect("an entry");
        assert_eq!(entry.text, number.to_string());
    }
    assert_eq!(good.recv().await, None);
    // Should it become one, it is read.
    let _: i64 = node.ask(&["DEL", "stream:bad"]).await;
    write(&node, "bad", &lines("bad", 2)).await;
    for number in 1..=2 {
        let entry = timeout(PATIENCE, bad.recv()).await.expect("it is read in the end").expect("an entry");
        assert_eq!(entry.text, number.to_string());
    }
    assert_eq!(bad.recv().await, None);
}

#[tokio::test]
async fn a_link_is_asked_for_no_more_than_it_carries() {
    const LISTS: usize = 100;
    const LINES: usize = 10;
    const LENGTH: usize = 10_000;
    let node = Node::start().await;
    let most = 200_000;
    let link = Link::to(&node, Narrow { delay: Duration::ZERO, most }).await;
    let client = link.client();
    let long = |number: usize| format!("{number:0LENGTH$}");
    let ids: Vec<String> = (0..LISTS).map(|number| format!("job-{number}")).collect();
    for id in &ids {
        let entries: Vec<_> = (1..=LINES).map(|number| entry(id, &long(number), number == LINES)).collect();
        write(&node, id, &entries).await;
    }
    let mut readers: Vec<_> = ids.iter().map(|id| client.streams().read(id, false)).collect();
    for reader in &mut readers {
        for number in 1..=LINES {
            let entry = timeout(PATIENCE, reader.recv()).await.expect("it gets through").expect("an entry");
            assert_eq!(entry.text, long(number), "in order, once");
        }
        assert_eq!(reader.recv().await, None);
    }
}

/// How often the node was asked for output.
async fn looks(node: &Node) -> u64 {
    let stats: String = node.ask(&["INFO", "commandstats"]).await;
    let calls = |line: &str| line.strip_prefix("cmdstat_lrange:calls=")?.split(',').next()?.parse().ok();
    stats.lines().find_map(calls).unwrap_or(0)
}

#[tokio::test]
async fn a_burst_after_a_silence_is_read_whole() {
    const BURST: usize = 4000;
    const EACH: usize = 100;
    let node = Node::start().await;
    let client = node.client();
    let mut reader = client.streams().read("job", false);
    let read = tokio::spawn(async move {
        let mut lines = Vec::new();
        while let Some(entry) = reader.recv().await {
            lines.push(entry.text);
        }
        lines
    });
    // It has been silent for so long that nothing is looked at less often; and it was looked at just now.
    while looks(&node).await < 15 {
        tokio::task::yield_now().await;
    }
    let before = looks(&node).await;
    while looks(&node).await == before {
        tokio::task::yield_now().await;
    }
    for entries in lines("job", BURST).chunks(EACH) {
        write(&node, "job", entries).await;
        // As nodes do it.
        let _: String = node.ask(&["LTRIM", "stream:job", "-1000", "-1"]).await;
        // Ten thousand in a second at most.
        sleep(Duration::from_millis(10)).await;
    }
    let lines = timeout(PATIENCE, read).await.expect("it ends").unwrap();
    assert_eq!(lines.first().map(String::as_str), Some("1"), "the beginning is not lost: {} of {BURST}", lines.len());
    assert_eq!(lines.len(), BURST, "nor is anything else");
}
