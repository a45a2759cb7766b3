//! From a node's URI to a connected node: is it a Roadstead server, which of its nodes is meant, and what can that do.

use roadstead_core::{ConnectOptions, Error, ErrorKind, NodeUri, Result};
use serde_json::Value;

use super::address::Address;
use super::capabilities;
use super::lists;
use super::request::Request;
use super::shared::Remote;
use super::transport::Transport;
use crate::broken::nothing_changed;

/// Connects to the node at `uri`.
pub(super) async fn connect(name: &str, uri: &NodeUri, options: &ConnectOptions) -> Result<Remote> {
    let address = Address::read(uri, options)?;
    // A little less than the caller's, so that the words are about what happened.
    let deadline = options.deadline.mul_f32(0.9);
    let mut remote = Remote {
        name: name.to_owned(),
        there: address.node.clone().unwrap_or_default(),
        uri: shown(uri),
        transport: Transport::new(&address, deadline)?,
        capabilities: roadstead_core::Capabilities::default(),
        reconnect_deadline: options.reconnect_deadline,
    };
    if address.node.is_none() {
        remote.there = only_node(&remote).await?;
    }
    let there = Request::get(&remote.path(&["capabilities"])).within(deadline).json(&remote).await;
    let there = match there {
        Err(error) if error.kind() == ErrorKind::NotFound => return Err(no_such_node(&remote, error).await),
        answer => answer.map_err(not_a_server)?,
    };
    remote.capabilities = capabilities::from_here(there);
    tracing::debug!(node = name, there = remote.there, "connected");
    Ok(remote)
}

/// The names of the nodes of the server at `uri`, whichever of them it names.
pub(super) async fn node_names(uri: &NodeUri, options: &ConnectOptions) -> Result<Vec<String>> {
    let address = Address::read(uri, options)?;
    let remote = Remote {
        name: "server".to_owned(),
        there: String::new(),
        uri: shown(uri),
        transport: Transport::new(&address, options.deadline)?,
        capabilities: roadstead_core::Capabilities::default(),
        reconnect_deadline: options.reconnect_deadline,
    };
    names(&remote).await
}

/// The URI without secrets. Where the token is read from is none.
fn shown(uri: &NodeUri) -> String {
    let shown = uri.to_string();
    match uri.query().get("token_file") {
        Some(file) => shown.replacen("token_file=…", &format!("token_file={file}"), 1),
        None => shown,
    }
}

/// The names of the server's nodes.
async fn names(remote: &Remote) -> Result<Vec<String>> {
    let items =
        lists::all(remote, &["nodes"], |request| request.query("fields", "name")).await.map_err(not_a_server)?;
    Ok(items.iter().filter_map(|node| Some(node.get("name").and_then(Value::as_str)?.to_owned())).collect())
}

async fn only_node(remote: &Remote) -> Result<String> {
    let mut names = names(remote).await?;
    match (names.pop(), names.is_empty()) {
        (Some(only), true) => Ok(only),
        (None, _) => Err(Error::invalid("uri", "the server has no node")),
        (Some(last), false) => {
            names.push(last);
            Err(Error::invalid(
                "uri",
                format!(
                    "the server has several nodes, name one of them after the host, as /NAME: {}",
                    names.join(", ")
                ),
            ))
        }
    }
}

async fn no_such_node(remote: &Remote, error: Error) -> Error {
    match names(remote).await {
        Ok(names) => {
            Error::invalid("uri", format!("the server has no node {:?}; there are {}", remote.there, names.join(", ")))
        }
        Err(_) => not_a_server(error),
    }
}

/// Whatever answers otherwise than every server does.
fn not_a_server(error: Error) -> Error {
    let error = nothing_changed(error);
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::Unexpected => {
            Error::new(ErrorKind::Unexpected, format!("this is not a Roadstead server: {}", error.message()))
        }
        _ => error,
    }
}
