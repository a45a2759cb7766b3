use crate::rig::Rig;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn streams_end_and_requests_finish() {
    let rig = Rig::start().await;
    let id = rig.container("web").await;
    let mut events = rig.events("/v1/events", None).await;
    let job =
        rig.post(&format!("/v1/nodes/sea/containers/{id}/jobs"), json!({"command": ["sleep", "600"]})).await.is(202);
    let place = job.header("location").to_owned();
    let waiting = rig.request(reqwest::Method::GET, &format!("{place}?wait=600"));
    let waiting = tokio::spawn(waiting.send());
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    let begun = std::time::Instant::now();
    let (ended, ()) = tokio::join!(rig.running.shutdown(), async { while events.next().await.is_some() {} });
    ended.unwrap();
    assert!(begun.elapsed() < std::time::Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_eq!(waiting.await.unwrap().unwrap().status(), 200, "a long poll is answered with what is known");
}
