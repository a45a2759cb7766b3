use crate::rig::Rig;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn events_arrive_and_are_resumed_without_gap() {
    let rig = Rig::start().await;
    for path in ["/v1/nodes/sea/events", "/v1/events"] {
        let mut events = rig.events(path, None).await;
        // The stream of all nodes is opened in the background.
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        let id = rig.container("web").await;
        let created = events.next().await.unwrap();
        assert_eq!((&created.data["action"], &created.data["id"]), (&json!("created"), &json!(id)), "{path}");
        let started = events.next().await.unwrap();
        assert_eq!(started.data["action"], "started");
        drop(events);
        rig.delete(&format!("/v1/nodes/sea/containers/{id}?force=true")).await.is(204);
        let mut resumed = rig.events(path, Some(&created.id)).await;
        let mut seen = Vec::new();
        while seen.last().is_none_or(|action| action != "deleted") {
            let event = resumed.next().await.unwrap();
            // What happened to others shortly before may come, too.
            if event.data["id"] == json!(id) {
                seen.push(event.data["action"].as_str().unwrap().to_owned());
            }
        }
        assert_eq!(seen[0], "started", "{path}: {seen:?}");
        assert_eq!(seen.iter().filter(|action| *action == "created").count(), 0, "{path}: {seen:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_sick_node_does_not_hide_the_events_of_others() {
    let rig = Rig::with(|config| {
        let uri = "memory:?fault=node.events:refuse:unavailable".to_owned();
        config.nodes.insert("pit".to_owned(), roadstead_http::NodeConfig::Uri(uri));
    })
    .await;
    let mut events = rig.events("/v1/events", None).await;
    let error = events.next().await.unwrap();
    assert_eq!((error.event.as_str(), &error.data["node"]), ("node_error", &json!("pit")));
    rig.container("web").await;
    assert_eq!(events.next().await.unwrap().data["node"], "sea");
    // A node that is added while the stream is open is in it, too.
    rig.post("/v1/nodes", json!({"name": "bay", "uri": "memory:"})).await.is(201);
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    let spec = json!({"image": "roadstead/busybox:latest"});
    rig.post("/v1/nodes/bay/containers", spec).await.is(201);
    loop {
        if events.next().await.unwrap().data["node"] == "bay" {
            break;
        }
    }
}
