use crate::rig::Rig;
use reqwest::Method;
use serde_json::json;

fn text(events: &[crate::rig::SentEvent]) -> String {
    events.iter().filter_map(|event| event.data["text"].as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_runs_and_its_result_is_kept() {
    let rig = Rig::start().await;
    let id = rig.container("web").await;
    let jobs = format!("/v1/nodes/sea/containers/{id}/jobs");
    let body = json!({"command": ["sh", "-c", "echo out; echo err >&2; exit 3"], "tags": ["t"]});
    let reply = rig.post(&format!("{jobs}?wait=10"), body.clone()).await.is(200);
    assert_eq!(reply.header("preference-applied"), "wait=10");
    let job = reply.json();
    assert_eq!((&job["state"], &job["exit_code"]), (&json!("failed"), &json!(3)));
    let place = reply.header("location").to_owned();
    assert_eq!(rig.get(&place).await.is(200).json()["exit_code"], 3);

    let events = rig.events(&format!("{place}/output"), None).await.all().await;
    assert_eq!(events.last().unwrap().event, "end");
    let streams: Vec<_> = events.iter().filter_map(|event| event.data["stream"].as_str()).collect();
    assert!(streams.contains(&"stdout") && streams.contains(&"stderr"), "{events:?}");
    // Resume after each piece: what is left is the rest, without gap or repetition.
    for cut in 0..events.len() - 1 {
        let rest = rig.events(&format!("{place}/output"), Some(&events[cut].id)).await.all().await;
        assert_eq!(rest, events[cut + 1..], "after {cut}");
    }
    let raw =
        rig.send(rig.request(Method::GET, &format!("{place}/output")).header("Accept", "text/plain")).await.is(200);
    let mut lines: Vec<_> = std::str::from_utf8(&raw.body).unwrap().lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["err", "out"]);
    let lines = rig.request(Method::GET, &format!("{place}/output")).header("Accept", "application/x-ndjson");
    let lines = rig.send(lines).await.is(200);
    assert_eq!(lines.header("content-type"), "application/x-ndjson");
    assert_eq!(String::from_utf8(lines.body).unwrap().lines().count(), events.len() - 1);

    for list in [jobs.as_str(), "/v1/jobs", "/v1/nodes/sea/jobs"] {
        let page = rig.get(list).await.is(200).json();
        assert_eq!(page["items"][0]["id"], job["id"], "{list}");
    }
    let other = rig.container("other").await;
    assert_eq!(rig.get(&format!("/v1/nodes/sea/containers/{other}/jobs")).await.is(200).json()["items"], json!([]));
    rig.send(rig.request(Method::GET, &format!("{place}/output")).header("Last-Event-ID", "x"))
        .await
        .problem(400, "invalid_input");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_waited_for_and_killed() {
    let rig = Rig::start().await;
    let id = rig.container("web").await;
    let body = json!({"command": ["sleep", "600"]});
    let request = rig.request(Method::POST, &format!("/v1/nodes/sea/containers/{id}/jobs")).header("Prefer", "wait=1");
    let reply = rig.send(request.json(&body)).await.is(202);
    let place = reply.header("location").to_owned();
    assert_eq!(rig.get(&format!("{place}?wait=1")).await.is(200).json()["state"], "running");
    let long = format!("{place}?wait=15");
    let waiting = rig.get(&long);
    let killing = async {
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        rig.delete(&format!("{place}?signal=TERM")).await.is(204);
    };
    let (ended, ()) = tokio::join!(waiting, killing);
    let ended = ended.is(200).json();
    assert_eq!((&ended["state"], &ended["exit_code"]), (&json!("killed"), &json!(143)));
    rig.delete(&place).await.is(204);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_takes_input_and_streams_output_meanwhile() {
    let rig = Rig::start().await;
    let id = rig.container("web").await;
    let body = json!({"command": ["cat"], "stdin": true});
    let reply = rig.post(&format!("/v1/nodes/sea/containers/{id}/jobs"), body).await.is(202);
    let place = reply.header("location").to_owned();
    let mut output = rig.events(&format!("{place}/output"), None).await;
    rig.send(rig.request(Method::POST, &format!("{place}/stdin")).body("one\n")).await.is(204);
    let first = output.next().await.unwrap();
    assert_eq!(first.data["text"], "one\n");
    rig.send(rig.request(Method::POST, &format!("{place}/stdin?close=true")).body("two\n")).await.is(204);
    let rest = output.all().await;
    assert_eq!((text(&rest).as_str(), rest.last().unwrap().event.as_str()), ("two\n", "end"));
    assert_eq!(rig.get(&format!("{place}?wait=5")).await.json()["state"], "succeeded");
    rig.send(rig.request(Method::POST, &format!("{place}/stdin")).body("x")).await.problem(409, "conflict");
    rig.post(&format!("{place}/resize"), json!({"columns": 80, "rows": 24})).await.problem(409, "conflict");
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_run_on_the_node() {
    let rig = Rig::start().await;
    let reply = rig.post("/v1/nodes/sea/jobs?wait=5", json!({"command": ["echo", "hi"]})).await.is(200);
    assert_eq!(reply.json()["state"], "succeeded");
    assert!(reply.json()["container"].is_null());
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_no_text_come_as_base64() {
    let rig = Rig::start().await;
    let id = rig.container("web").await;
    let body = json!({"command": ["printf", "\\377"]});
    let reply = rig.post(&format!("/v1/nodes/sea/containers/{id}/jobs?wait=5"), body).await.is(200);
    let events = rig.events(&format!("{}/output", reply.header("location")), None).await.all().await;
    assert_eq!(events[0].data["base64"], "/w==");
}
