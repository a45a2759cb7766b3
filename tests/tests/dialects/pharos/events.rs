//! Cases about what happened.

use std::time::Duration;

use roadstead_tests::dialects::Outcome;
use serde_json::{Value, json};

use super::nodes::is_id;
use super::scene::{Engine, HOST, Scene, WAITS};

const SOON: Duration = Duration::from_secs(60);

/// Refuses where the engine tells no events.
async fn tells_events(engine: &Engine) -> Option<Outcome> {
    let has = engine.capabilities().await.events;
    (!has).then(|| Outcome::NotOffered("the engine tells no events".to_owned()))
}

fn events(list: &Value) -> Vec<Value> {
    let events = list["events"].as_array().expect("events").clone();
    assert_eq!(list["n"], events.len());
    events
}

pub(super) async fn of_one(engine: Engine) -> Outcome {
    if let Some(lacking) = tells_events(&engine).await {
        return lacking;
    }
    let scene = Scene::new(&engine).await;
    // What happens from now on is written down.
    let settled = scene.stream("/events/stream", None).await;
    let made = scene.run("p27", WAITS).await;
    scene.stop(&made).await;
    drop(settled);
    let beginning = if made.id.len() == 64 { &made.id[..8] } else { &made.id };
    let path = format!("/events?status=die&id={beginning}");
    let died = scene
        .soon("its death is written down", async || {
            let own: Vec<Value> =
                events(&scene.read(&path).await).into_iter().filter(|event| event["id"] == made.id.as_str()).collect();
            (!own.is_empty()).then_some(own)
        })
        .await;
    assert_eq!(died.len(), 1, "{died:?}");
    let members: Vec<_> = died[0].as_object().expect("an object").keys().map(String::as_str).collect();
    assert_eq!(members, ["Host", "_id", "from", "id", "status", "time"]);
    assert_eq!((&died[0]["status"], &died[0]["Host"]), (&json!("die"), &json!(HOST)));
    assert!(is_id(&died[0]["_id"]) && died[0]["time"].as_i64() > Some(1_500_000_000), "{died:?}");
    // All of its life, in the order in which it was lived.
    let all = events(&scene.read(&format!("/events?id={}", made.id)).await);
    let words: Vec<_> =
        all.iter().filter(|event| event["id"] == made.id.as_str()).map(|event| event["status"].clone()).collect();
    let at = |word: &str| words.iter().position(|own| own == word);
    assert!(at("start").is_some() && at("start") < at("die"), "{words:?}");
    // The word is whole, and the beginning is a text.
    for query in [
        format!("status=di&id={}", made.id),
        format!("status=die&id=.*{}", made.id),
        format!("status=die&id=%5E{}", made.id),
        "status=.*".to_owned(),
    ] {
        assert_eq!(scene.read(&format!("/events?{query}")).await, json!({ "events": [], "n": 0 }), "{query}");
    }
    assert_eq!(scene.read(&format!("/events?id={}&limit=1", made.id)).await["n"], 1);
    scene.end().await;
    Outcome::Shown
}

pub(super) async fn stream(engine: Engine) -> Outcome {
    if let Some(lacking) = tells_events(&engine).await {
        return lacking;
    }
    let scene = Scene::new(&engine).await;
    let mut stream = scene.stream("/events/stream?status=start", None).await;
    let made = scene.run("e07", WAITS).await;
    let is_own =
        |event: &roadstead_tests::sse::SseEvent| event.event == "message" && event.json()["id"] == made.id.as_str();
    let started = stream.find(SOON, is_own).await;
    let told = started.json();
    assert_eq!((&told["status"], &told["Host"]), (&json!("start"), &json!(HOST)));
    drop(stream);
    // It is the one of the list, and whoever comes back with it is told what came after it, and of nothing twice.
    let listed = events(&scene.read(&format!("/events?status=start&id={}", made.id)).await);
    assert!(listed.contains(&told), "{listed:?} {told}");
    scene.stop(&made).await;
    let mut again = scene.stream("/events/stream", started.id.as_deref()).await;
    let died = again
        .find(SOON, |event| {
            let repeated = event.id == started.id;
            assert!(!repeated, "it was told already");
            is_own(event) && event.json()["status"] == "die"
        })
        .await;
    assert_eq!(died.json()["Host"], HOST);
    let bad = scene.request("GET", "/events/stream").header("last-event-id", "nonsense");
    assert_eq!(scene.send(bad).await.expect(400).json()["return_code"], 400);
    scene.end().await;
    Outcome::Shown
}
