//! Cases of images, and of containers that are made of them.

use roadstead_tests::dialects::Outcome;
use serde_json::json;

use super::cases::{done, is_error, missing, no_pool};
use super::stage::{Pair, Stage};

/// An alias of an image, as COPA's list of images tells it.
pub(super) async fn alias(stage: &Stage) -> String {
    let images = stage.get("/REST/image/").await;
    let wanted = stage.image("server1");
    let bare = wanted.trim_end_matches(":latest");
    let known = images["images"].as_object().expect("images");
    known
        .keys()
        .find(|alias| [wanted.as_str(), bare].iter().any(|wanted| alias.ends_with(wanted)))
        .unwrap_or_else(|| panic!("{wanted} in {images}"))
        .clone()
}

pub(super) async fn create(stage: &Stage) -> Outcome {
    if !stage.can("server1", "images").await {
        return Outcome::NotOffered("the engine has no images by name".to_owned());
    }
    let (name, alias) = (stage.name("create"), alias(stage).await);
    let form = |pool: &str| format!("container_name={name}&container_pool={pool}&operation=create&image_type={alias}");
    let made = json!({ "success": "Container created successfully." });
    assert_eq!(stage.post("/REST/container/", &form("server1")).await, made);
    // Its name is taken now.
    let again = stage.post("/REST/container/", &form("server1")).await;
    assert!(is_error(&again), "{again}");
    let state = stage.state("server1", &name).await;
    assert!(state.is_some_and(|state| state != "created"), "it was started");
    if stage.pair == Pair::Lxd {
        let images = stage.get("/REST/image/").await;
        let instance = stage.engine(0).get(&format!("/1.0/instances/{name}"));
        assert_eq!(instance["metadata"]["config"]["volatile.base_image"], images["images"][&alias]);
        on_the_other(stage, &form("server2"), &name).await;
    }
    stage.verb("server1", &name, "stop").await;
    assert_eq!(stage.verb("server1", &name, "delete").await, done());
    Outcome::Shown
}

/// Images of one pool make containers of the other.
async fn on_the_other(stage: &Stage, form: &str, name: &str) {
    assert_eq!(stage.post("/REST/container/", form).await, json!({ "success": "Container created successfully." }));
    assert!(stage.state("server2", name).await.is_some());
    stage.verb("server2", name, "stop").await;
    assert_eq!(stage.verb("server2", name, "delete").await, done());
}

pub(super) async fn create_ghost(stage: &Stage) -> Outcome {
    let form =
        format!("container_name={}&container_pool=server1&operation=create&image_type=ghost", stage.name("ghost"));
    let body = stage.post("/REST/container/", &form).await;
    assert_eq!(body, json!({ "error": "Image matching query does not exist." }));
    Outcome::Shown
}

pub(super) async fn create_without_image(stage: &Stage) -> Outcome {
    let body = stage.post("/REST/container/", "container_name=x&container_pool=server1&operation=create").await;
    assert_eq!(body, missing("image_type"));
    Outcome::Shown
}

pub(super) async fn aliases(stage: &Stage) -> Outcome {
    if !stage.can("server1", "images").await {
        let body = stage.get("/REST/image/").await;
        assert_eq!(body, json!({ "images": {}, "success": "Operation successful" }));
        return Outcome::NotOffered("the engine has no images by name".to_owned());
    }
    let first = alias(stage).await;
    let (a1, a2) = (stage.name("a1"), stage.name("a2"));
    for new in [&a1, &a2] {
        let body = json!({ "reference": first, "new_reference": new });
        let tagged = stage.server.post_json("/v1/nodes/server1/images/tag", &body).await;
        assert!(tagged.status < 300, "{}", tagged.text());
    }
    let images = stage.get("/REST/image").await;
    assert_eq!(images["success"], "Operation successful");
    let of = |alias: &str| {
        let known = images["images"].as_object().expect("images");
        let found = known.iter().find(|(known, _)| *known == alias || known.ends_with(&format!("{alias}:latest")));
        found.unwrap_or_else(|| panic!("{alias} in {images}")).1.clone()
    };
    assert_eq!(of(&a1), of(&first));
    assert_eq!(of(&a2), of(&first));
    another_image(stage, &first).await;
    // By the pool's name, by its address, and by what is no pool's.
    assert_eq!(stage.get("/REST/image/?image_pool=127.0.0.1").await["success"], "Operation successful");
    assert_eq!(stage.get("/REST/image/?image_pool=server1").await["images"][&first], of(&first));
    assert_eq!(stage.get("/REST/image/?image_pool=10.0.0.1").await, no_pool());
    for alias in [&a1, &a2] {
        let target = format!("/v1/nodes/server1/image?reference={alias}");
        assert!(stage.server.delete(&target).await.status < 300);
    }
    assert_eq!(stage.post("/REST/image/", "x=y").await, json!({}));
    Outcome::Shown
}

/// A second image, which has a fingerprint of its own; a pool that does not have it gets it for a container.
async fn another_image(stage: &Stage, first: &str) {
    if !stage.can("server1", "commit").await {
        return;
    }
    let (name, b) = (stage.make("committed", "server1").await, stage.name("b"));
    let body = json!({ "image": b });
    let path = format!("/v1/nodes/server1/containers/{name}/commit");
    let committed = stage.server.post_json(&path, &body).await;
    assert_eq!(committed.status, 201, "{}", committed.text());
    let images = stage.get("/REST/image").await["images"].as_object().expect("images").clone();
    let known = images.iter().find(|(alias, _)| alias.as_str() == b || alias.ends_with(&format!("{b}:latest")));
    let (alias, fingerprint) = known.unwrap_or_else(|| panic!("{b} in {images:?}"));
    assert_ne!(fingerprint, &images[first]);
    if stage.pair == Pair::Lxd {
        let there = format!("/1.0/images/{}", fingerprint.as_str().expect("text"));
        assert_eq!(stage.engine(1).ask("GET", &there, None).status, 404, "the other pool does not have it");
        let made = stage.name("brought");
        let form = format!("container_name={made}&container_pool=server2&operation=create&image_type={alias}");
        let answer = stage.post("/REST/container/", &form).await;
        assert_eq!(answer, json!({ "success": "Container created successfully." }));
        assert_eq!(stage.engine(1).ask("GET", &there, None).status, 200, "it was brought");
        stage.verb("server2", &made, "stop").await;
        assert_eq!(stage.verb("server2", &made, "delete").await, done());
        let _ = stage.server.delete(&format!("/v1/nodes/server2/image?reference={alias}")).await;
    }
    assert_eq!(stage.verb("server1", &name, "delete").await, done());
    assert!(stage.server.delete(&format!("/v1/nodes/server1/image?reference={alias}")).await.status < 300);
}
