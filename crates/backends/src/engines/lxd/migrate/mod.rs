//! Copying a container from one server to another by the servers' own migration, or on one server.
//!
//! The two servers speak to each other over websockets of two background operations, one on each side. Which side
//! connects to which is the transport: with `pull` the target connects to the source, with `push` the source to the
//! target, with `relay` both sides wait and we carry every message between them. `original` reads what is copied and
//! `facts` what the target has; `fit` makes the one suit the other and tells what is lost; `reach` finds out who can
//! reach whom; `carry` does the copy and undoes it when it fails; `verify` looks at what came of it.

mod carry;
mod facts;
mod fit;
mod header;
mod original;
mod progress;
mod reach;
mod relay;
pub(super) mod settle;
mod verify;

use std::sync::Arc;

use roadstead_core::{
    CopyOptions, CopyProgress, CopyTransport, CopyWay, Error, ErrorKind, ItemStream, Node, NotCarried, Result,
};

use super::node::LxdNode;
use super::request::Request;
use super::shared::Lxd;
use facts::{Facts, Server};
use fit::Fitted;
use original::Original;

/// A server that shall receive can wait for the source to come.
const PUSH: &str = "container_push_target";

/// The server behind `source`, if it is one.
fn peer(source: &dyn Node) -> Option<&Arc<Lxd>> {
    source.engine().downcast_ref::<LxdNode>().map(|node| &node.0)
}

/// N60, N61.
pub(super) async fn copy_ways(lxd: &Arc<Lxd>, source: &dyn Node, container: &str) -> Result<Vec<CopyWay>> {
    let Some(peer) = peer(source) else {
        // There is none, but only of what there is.
        return source.container(container).inspect().await.map(|_| Vec::new());
    };
    let original = Original::read(peer, container).await?;
    if Arc::ptr_eq(lxd, peer) {
        let mut way = CopyWay::new(CopyTransport::Local);
        way.snapshots = true;
        way.not_carried =
            fit::on_the_same_server(lxd, &original, &CopyOptions::new(container, container, way.transport)).await?.lost;
        return Ok(vec![way]);
    }
    // What is mounted does not belong to the container, and would be another thing on another machine.
    if original.has_mounts() {
        return Ok(Vec::new());
    }
    let facts = Facts::read(lxd, &original).await?;
    if !facts.runs(&original.architecture) {
        return Ok(Vec::new());
    }
    let options = CopyOptions::new(container, container, CopyTransport::Relay);
    let source = Server::read(peer).await?;
    let fitted = fit::on_another_server(lxd, &original, &source, &facts, &options).await?;
    let (pull, push, live) =
        tokio::join!(reach::first(lxd, &source), reach::first(peer, &facts.server), can_run_on(peer, &original));
    let strange = original.strange_to(lxd, &facts).await?;
    let way = |transport, snapshots| {
        let mut way = CopyWay::new(transport);
        way.live = live;
        way.snapshots = snapshots;
        way.not_carried.clone_from(&fitted.lost);
        if snapshots {
            way.not_carried.extend(strange.iter().map(|what| what.not_carried()));
        } else if !original.snapshots.is_empty() {
            let reason = "the target refuses something that stands in them";
            way.not_carried.push(NotCarried::new("snapshots", reason));
        }
        way
    };
    let mut ways = Vec::new();
    if pull?.is_some() {
        ways.push(way(CopyTransport::Pull, strange.is_empty()));
    }
    if lxd.has(PUSH) {
        if push?.is_some() {
            ways.push(way(CopyTransport::Push, strange.is_empty()));
        }
        // The messages pass through our hands, and what the target would refuse is taken out of them.
        ways.push(way(CopyTransport::Relay, true));
    }
    // Without snapshots all of them do the same.
    if !strange.is_empty() && !original.snapshots.is_empty() {
        ways.sort_by_key(|way| !way.snapshots);
    }
    Ok(ways)
}

/// Whether the source can take a running container with its processes: it refuses at once where it has not what that
/// needs, and what it begins otherwise is given up before anybody connects.
async fn can_run_on(source: &Arc<Lxd>, original: &Original) -> bool {
    if !original.running {
        return false;
    }
    let asked = serde_json::json!({"migration": true, "live": true});
    match Request::post(&["instances", &original.name]).body(&asked).start(&source.client).await {
        Ok(operation) => operation.cancel().await.is_ok(),
        Err(_) => false,
    }
}

/// N62 to N64.
pub(super) async fn copy_container(
    lxd: &Arc<Lxd>,
    source: &dyn Node,
    options: &CopyOptions,
) -> Result<ItemStream<CopyProgress>> {
    options.validate()?;
    let peer = peer(source).ok_or_else(|| Error::unsupported("copying from a node of another engine"))?;
    let original = Original::read(peer, &options.container).await?;
    free(lxd, &options.name).await?;
    let local = Arc::ptr_eq(lxd, peer);
    if local != (options.transport == CopyTransport::Local) || local && options.live {
        return Err(Error::unsupported("this way of copying"));
    }
    let mut order = if local {
        let Fitted { body, .. } = fit::on_the_same_server(lxd, &original, options).await?;
        carry::Order::new(lxd, peer, options, original, body)
    } else {
        if original.has_mounts() {
            return Err(Error::unsupported("copying a container together with what is mounted in it"));
        }
        let facts = Facts::read(lxd, &original).await?;
        if !facts.runs(&original.architecture) {
            return Err(Error::unsupported("running a container of this architecture"));
        }
        let server = Server::read(peer).await?;
        let Fitted { body, .. } = fit::on_another_server(lxd, &original, &server, &facts, options).await?;
        let strange = if options.snapshots { original.strange_to(lxd, &facts).await? } else { Vec::new() };
        if !strange.is_empty() && options.transport != CopyTransport::Relay {
            return Err(Error::unsupported("taking these snapshots along without passing through this process"));
        }
        let mut order = carry::Order::new(lxd, peer, options, original, body);
        order.strange = strange;
        match options.transport {
            CopyTransport::Pull => order.meeting = Some(meeting(lxd, &server).await?),
            CopyTransport::Push if lxd.has(PUSH) => order.meeting = Some(meeting(peer, &facts.server).await?),
            CopyTransport::Relay if lxd.has(PUSH) => {}
            _ => return Err(Error::unsupported("this way of copying")),
        }
        order
    };
    order.live = options.live;
    Ok(carry::begin(order))
}

/// Where `who` shall connect to.
async fn meeting(who: &Arc<Lxd>, there: &Server) -> Result<carry::Meeting> {
    let address = reach::first(who, there).await?.ok_or_else(|| {
        let words = format!("{} cannot reach the other server over https", who.name);
        Error::new(ErrorKind::Unavailable, words)
    })?;
    Ok(carry::Meeting { address, certificate: there.certificate.clone() })
}

/// `AlreadyExists` when the name is taken.
async fn free(lxd: &Arc<Lxd>, name: &str) -> Result<()> {
    match Request::get(&["instances", name]).bytes(&lxd.client).await {
        Ok(_) => {
            let words = format!("the container name {name} is taken");
            Err(Error::new(ErrorKind::AlreadyExists, words).with_resource(name))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}
