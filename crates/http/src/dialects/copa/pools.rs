//! The view of pools: which there are, and adding and removing them.

use actix_web::{HttpRequest, HttpResponse, web};
use roadstead_core::{ErrorKind, NodeUri};
use serde_json::json;

use super::answer::{Answer, Refusal, object, respond};
use super::form::Body;
use super::pool;
use crate::auth::Role;
use crate::dialects::{Address, Dialect, DialectConfig, Dialects, changing, nodes};
use crate::nodes::NodeSlot;
use crate::precondition::IfMatch;
use crate::state::App;

/// What the machine is called that a node without an address is on: this one.
const HERE: &str = "127.0.0.1";

/// The address of a pool, as it was added. The port is left out where it is the one that pools have anyway.
pub(super) fn address(app: &App, slot: &NodeSlot) -> String {
    let usual = app.dialect(Dialect::Copa).and_then(DialectConfig::usual_port);
    let uri = slot.uri().parse::<NodeUri>().ok();
    match uri.as_ref().and_then(|uri| Some((uri.host()?, uri.port()))) {
        None => HERE.to_owned(),
        Some((host, Some(port))) if Some(port) != usual => {
            if host.contains(':') {
                format!("[{host}]:{port}")
            } else {
                format!("{host}:{port}")
            }
        }
        Some((host, _)) => host.to_owned(),
    }
}

pub(super) async fn get(app: web::Data<App>) -> HttpResponse {
    let pools: Vec<_> = nodes(&app).iter().map(|slot| json!([slot.name(), address(&app, slot)])).collect();
    object(&json!({ "pools": pools, "success": "pools" }))
}

pub(super) async fn post(app: web::Data<App>, req: HttpRequest, payload: web::Payload) -> HttpResponse {
    respond(change(&app, &req, payload).await)
}

async fn change(app: &web::Data<App>, req: &HttpRequest, payload: web::Payload) -> Answer {
    let form = Body::read(app, req, &mut payload.into_inner()).await?.form()?;
    match form.required("operation")? {
        "add" => {
            let [name, ip] = form.all(["container_pool", "ip"])?;
            add(app, req, name, ip).await
        }
        // The document that users have says `delete`, the program says `remove`.
        "remove" | "delete" => remove(app, req, form.required("container_pool")?).await,
        other => Err(Refusal::new(format!("Operation '{other}' invalid"))),
    }
}

async fn add(app: &web::Data<App>, req: &HttpRequest, name: &str, ip: &str) -> Answer {
    let address = Address::parse("ip", ip)?;
    roadstead_core::names::node_name("container_pool", name)?;
    let Some(config) = app.dialect(Dialect::Copa) else { return Err(Refusal::new("COPA is not switched on")) };
    let (node, of_app) = (config.node(name, &address), app.clone());
    let work = async move { of_app.nodes.enrol(node).await.map(drop) };
    changing(app, req, Role::Admin, "copa.pools.add", &[("node", name)], work).await?;
    Ok(object(&json!({ "container_pool": name, "local_ip": ip, "success": "Container pool added Successfully" })))
}

async fn remove(app: &web::Data<App>, req: &HttpRequest, name: &str) -> Answer {
    pool(app, name)?;
    let (of_app, of_name) = (app.clone(), name.to_owned());
    let work = async move {
        match of_app.nodes.remove(&of_name, &IfMatch::default()).await {
            // Another caller was faster.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            removed => removed,
        }?;
        // The pool is removed by now: that what was measured on it is not, is no failure.
        Ok(Dialects::forget(&of_app, &of_name).await.err())
    };
    let left = changing(app, req, Role::Admin, "copa.pools.remove", &[("node", name)], work).await?;
    let mut answer = json!({ "container_pool": name, "success": "Container pool removed successfully." });
    if let (Some(members), Some(error)) = (answer.as_object_mut(), left) {
        let words = format!("what was measured on it stays until it is too old: {}", error.message());
        members.insert("warning".to_owned(), words.into());
    }
    Ok(object(&answer))
}
