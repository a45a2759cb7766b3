//! Clauses of nodes: identity, lists, and what creating refuses.

use std::sync::atomic::{AtomicBool, Ordering};

use super::check::{Check, During, Failure, ensure, equal, refused, same_image};
use super::declare;
use super::scene::{Scene, details};
use crate::capabilities::Capability;
use crate::container::{ContainerFilter, ContainerState, ContainerSummary, DeleteOptions, LabelSelector};
use crate::error::ErrorKind;

declare! {
    N1 "name, URI and capabilities without I/O" [] + Outage known_without_asking;
    N2 "no secret is shown" [] no_secret_is_shown;
    N10 "ping" [] ping;
    N11 "info names engine, version and node" [] info;
    N20 "lists hold stopped and never started containers" [Create] lists_hold_all;
    N21 "states, ids, names and labels narrow a list exactly" [Create] filters_are_exact;
    N22 "containers that come and go never fail a list" [Create] lists_while_containers_vanish;
    N23 "list items equal what inspecting shows" [Create] items_equal_details;
    N30 "a new container is created, with name and labels" [Create] created_as_asked;
    N31 "a name that is taken" [Create] name_taken;
    N32 "an image that is not there" [Create] image_missing;
}

async fn known_without_asking(scene: &Scene) -> Check {
    let node = match &scene.fixture.outage {
        // Whoever asks an engine that is gone gets no answer.
        Some(outage) => &outage.node,
        None => &scene.fixture.node,
    };
    let known = (node.name().to_owned(), node.uri().to_owned(), node.capabilities().clone());
    ensure(!known.0.is_empty() && !known.1.is_empty(), "name or URI is empty")?;
    if let Some(outage) = &scene.fixture.outage {
        outage.cut();
        ensure(node.ping().await.is_err(), "the engine answers although it went away")?;
    }
    equal(
        "name, URI and capabilities",
        (node.name().to_owned(), node.uri().to_owned(), node.capabilities().clone()),
        known,
    )
}

async fn no_secret_is_shown(scene: &Scene) -> Check {
    let node = scene.node();
    let authority = node.uri().split("//").nth(1).unwrap_or_default().split('/').next().unwrap_or_default();
    let user = authority.rsplit_once('@').map_or("", |(user, _)| user);
    ensure(!user.contains(':'), "the URI shows a password")?;
    let secrets = &scene.fixture.secrets;
    if secrets.is_empty() {
        return Err(Failure::Gated("no secret to look for".to_owned()));
    }
    let missing = node.container(&scene.name("missing"));
    let not_found = refused("inspect", missing.inspect().await, ErrorKind::NotFound)?;
    let invalid = refused("inspect", node.container("a b").inspect().await, ErrorKind::InvalidInput)?;
    let info = node.info().await.during("info")?;
    for (what, shown) in [
        ("the URI", node.uri().to_owned()),
        ("the Debug text of the node", format!("{node:?} {node:#?}")),
        ("the Debug text of a container", format!("{missing:?} {missing:#?}")),
        ("the information on the node", format!("{info:?}")),
        ("an error on what does not exist", format!("{not_found} {not_found:?}")),
        ("an error on bad input", format!("{invalid} {invalid:?}")),
    ] {
        // The text itself would tell the secret once more.
        ensure(!secrets.iter().any(|secret| shown.contains(secret.as_str())), format!("{what} shows a secret"))?;
    }
    Ok(())
}

async fn ping(scene: &Scene) -> Check {
    scene.node().ping().await.during("ping")
}

async fn info(scene: &Scene) -> Check {
    let info = scene.node().info().await.during("info")?;
    equal("the name", info.name.as_str(), scene.node().name())?;
    ensure(!info.engine.is_empty(), "the engine has no name")?;
    equal("the engine's name", &info.engine.to_lowercase(), &info.engine)?;
    ensure(!info.engine_version.is_empty(), "the engine has no version")
}

async fn list(scene: &Scene, filter: &ContainerFilter) -> Check<Vec<ContainerSummary>> {
    scene.node().list_containers(filter).await.during("list")
}

fn find<'a>(list: &'a [ContainerSummary], id: &str) -> Check<&'a ContainerSummary> {
    match list.iter().find(|item| item.id == id) {
        Some(item) => Ok(item),
        None => super::check::failed(format!("container {id} is not in the list")),
    }
}

async fn lists_hold_all(scene: &Scene) -> Check {
    let created = scene.created("created").await?;
    let running = scene.running("running").await?;
    let stopped = scene.stopped("stopped").await?;
    let all = list(scene, &ContainerFilter::all()).await?;
    for (container, state) in
        [(&created, ContainerState::Created), (&running, ContainerState::Running), (&stopped, ContainerState::Stopped)]
    {
        equal("the state", find(&all, container.id())?.state, state)?;
    }
    Ok(())
}

async fn filters_are_exact(scene: &Scene) -> Check {
    let (label, other) = (scene.label(), format!("{}.other", scene.label()));
    let (web, web2, running) = (scene.spec("web"), scene.spec("web2"), scene.spec("running"));
    let names: Vec<String> = [&web, &web2, &running].into_iter().filter_map(|spec| spec.name.clone()).collect();
    let [a, b, c] = names.as_slice() else { return super::check::failed("three names") };
    let first = scene.create(&web.label(&label, "1")).await?;
    scene.create(&web2.label(&label, "12").label(&other, "x")).await?;
    scene.start(&running.label(&label, "1").label(&other, "")).await?;
    let has = LabelSelector::exists(&label);
    let filter = |states: &[ContainerState], names: &[&String], labels: &[LabelSelector]| ContainerFilter {
        states: states.to_vec(),
        names: names.iter().map(|name| (*name).clone()).collect(),
        labels: labels.to_vec(),
        ids: Vec::new(),
    };
    let with_ids = |filter: ContainerFilter, ids: &[&str]| ContainerFilter {
        ids: ids.iter().map(|id| (*id).to_owned()).collect(),
        ..filter
    };
    let (created, up) = (ContainerState::Created, ContainerState::Running);
    let cases: [(ContainerFilter, &[&String]); 15] = [
        (filter(&[], &[], std::slice::from_ref(&has)), &[a, b, c]),
        (filter(&[], &[a], &[]), &[a]),
        (filter(&[], &[a, c], &[]), &[a, c]),
        (filter(&[created], &[], std::slice::from_ref(&has)), &[a, b]),
        (filter(&[up], &[], std::slice::from_ref(&has)), &[c]),
        (filter(&[created, up], &[a, c], &[]), &[a, c]),
        (filter(&[ContainerState::Stopped], &[], std::slice::from_ref(&has)), &[]),
        (filter(&[], &[], &[LabelSelector::equals(&label, "1")]), &[a, c]),
        (filter(&[], &[], &[LabelSelector::equals(&label, "1"), LabelSelector::exists(&other)]), &[c]),
        (filter(&[], &[], &[LabelSelector::equals(&other, "")]), &[c]),
        (filter(&[created], &[c], &[]), &[]),
        (with_ids(filter(&[], &[], &[]), &[first.id()]), &[a]),
        (with_ids(filter(&[], &[], &[]), &[first.id(), "missing"]), &[a]),
        (with_ids(filter(&[], &[c], &[]), &[first.id()]), &[]),
        (with_ids(filter(&[], &[], &[]), &["missing"]), &[]),
    ];
    for (filter, expected) in cases {
        let mut found: Vec<String> = list(scene, &filter).await?.into_iter().map(|item| item.name).collect();
        found.sort();
        let mut expected: Vec<String> = expected.iter().map(|name| (*name).clone()).collect();
        expected.sort();
        equal(&format!("the list with {filter:?}"), found, expected)?;
    }
    Ok(())
}

async fn lists_while_containers_vanish(scene: &Scene) -> Check {
    let done = AtomicBool::new(false);
    let come_and_go = async {
        let result = async {
            for round in 0..5 {
                let container = scene.created(&format!("short{round}")).await?;
                container.delete(&DeleteOptions::force()).await.during("delete")?;
            }
            Ok(())
        }
        .await;
        done.store(true, Ordering::Release);
        result
    };
    let look = async {
        let mut lists = 0;
        while !done.load(Ordering::Acquire) || lists < 5 {
            list(scene, &ContainerFilter::all()).await?;
            lists += 1;
        }
        Ok(())
    };
    let (changed, looked): (Check, Check) = tokio::join!(come_and_go, look);
    changed.and(looked)
}

async fn items_equal_details(scene: &Scene) -> Check {
    let label = scene.label();
    let created = scene.create(&scene.spec("created").label(&label, "one")).await?;
    let running = scene.start(&scene.spec("running").label(&label, "two")).await?;
    let filter = ContainerFilter { labels: vec![LabelSelector::exists(&label)], ..ContainerFilter::default() };
    let found = list(scene, &filter).await?;
    for container in [created, running] {
        let item = find(&found, container.id())?;
        let shown = details(&*container).await?.summary;
        equal("the node", item.node.as_str(), scene.node().name())?;
        same_image("the image", &item.image, &scene.fixture.image)?;
        let essence = |of: &ContainerSummary| {
            (of.node.clone(), of.id.clone(), of.name.clone(), of.image.clone(), of.state, of.labels.clone())
        };
        equal("the item", essence(item), essence(&shown))?;
    }
    Ok(())
}

async fn created_as_asked(scene: &Scene) -> Check {
    let label = scene.label();
    let spec = scene.spec("new").label(&label, "a value, with = and ü");
    let made = scene.node().create_container(&spec).await.during("create")?;
    equal("the name given back", Some(&made.name), spec.name.as_ref())?;
    let all = list(scene, &ContainerFilter::all()).await?;
    let item = find(&all, &made.id)?;
    equal("the state", item.state, ContainerState::Created)?;
    equal("the name", Some(&item.name), spec.name.as_ref())?;
    equal("the label", item.labels.get(&label), spec.labels.get(&label).as_ref().copied())?;
    // Without a name the engine makes one up.
    let mut nameless = scene.spec("unused");
    nameless.name = None;
    let made = scene.node().create_container(&nameless).await.during("create without a name")?;
    let found = details(&*scene.node().container(&made.id)).await;
    scene.node().container(&made.id).delete(&DeleteOptions::force()).await.during("delete")?;
    let found = found?.summary;
    ensure(!found.name.is_empty() && !found.name.starts_with('/'), format!("the made up name is {:?}", found.name))?;
    equal("the made up name", found.name, made.name)
}

async fn name_taken(scene: &Scene) -> Check {
    let spec = scene.spec("taken");
    let first = scene.create(&spec).await?;
    let before = details(&*first).await?;
    refused("create", scene.node().create_container(&spec).await, ErrorKind::AlreadyExists)?;
    equal("the first container", details(&*first).await?, before)?;
    let filter = ContainerFilter { names: spec.name.into_iter().collect(), ..ContainerFilter::default() };
    let ids: Vec<String> = list(scene, &filter).await?.into_iter().map(|item| item.id).collect();
    equal("the containers of this name", ids, [first.id()])
}

async fn image_missing(scene: &Scene) -> Check {
    let missing = &scene.fixture.missing_image;
    let mut spec = scene.spec("none");
    spec.image.clone_from(missing);
    let name = spec.name.clone().unwrap_or_default();
    refused("create", scene.node().create_container(&spec).await, ErrorKind::NotFound)?;
    refused("inspect", scene.node().container(&name).inspect().await, ErrorKind::NotFound)?;
    if scene.has(Capability::Images) {
        refused("inspect image", scene.node().inspect_image(missing).await, ErrorKind::NotFound)?;
    }
    Ok(())
}
