//! How a container's file system lies on its node: where its mounts really are, and what they hold.
//!
//! A mount is where the links on the way lead: with `/var/run -> /run` what is mounted at `/var/run/app` is at `/run/app`, and an
//! archive that had it at `var/run/app` could not be unpacked. The files are looked at one by one, the first entry of each
//! archive only.

use std::collections::VecDeque;
use std::sync::Arc;

use super::archive::{Look, look};
use super::facts::handle;
use super::fit::is_the_machines;
use crate::container::{Container, ContainerDetails, ContainerSpec, Mount, MountKind};
use crate::error::{Error, ErrorKind, Result};
use crate::node::Node;

/// As many links as Linux follows.
const LINKS_MAX: usize = 40;

/// What is looked at before anything is drafted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Layout {
    /// In the order of the container's mounts.
    pub(super) mounts: Vec<Spot>,
    /// The root directory itself, if the engine tells.
    pub(super) root: Option<Look>,
}

/// Where a mount is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Spot {
    /// Its path with all links followed.
    pub(super) at: String,
    pub(super) holds: Holds,
}

/// What is at a spot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Holds {
    /// The engine shows it as files.
    Files,
    /// Something that no archive has, as a socket.
    Nothing,
    /// It is not shown, at least not now.
    Unknown,
    /// The engine refuses to show it, for this reason.
    Refused(String),
}

impl Layout {
    /// Without a look: every mount is where the specification says.
    pub(super) fn as_written(spec: &ContainerSpec) -> Self {
        Layout { mounts: spec.mounts.iter().map(Spot::as_written).collect(), root: None }
    }

    /// Looks at a container of this node.
    ///
    /// # Errors
    /// When the node does not answer; a volume that the engine refuses to show.
    pub(super) async fn of(node: &dyn Node, details: &ContainerDetails) -> Result<Self> {
        let mut layout = Layout::as_written(&details.spec);
        let able = node.capabilities();
        if !able.files {
            return Ok(layout);
        }
        let container = handle(node, details);
        if let Seen::Entry(root) = see(&container, "/".to_owned()).await? {
            layout.root = Some(root);
        }
        if !able.binds_at_rest {
            // Such engines take no links on the way to a mount, and show nothing there, or at some expense, at rest.
            return Ok(layout);
        }
        for (spot, mount) in layout.mounts.iter_mut().zip(&details.spec.mounts) {
            let own = mount.kind != MountKind::Bind || !is_the_machines(mount.source.as_deref().unwrap_or_default());
            if own {
                *spot = find(|path| see(&container, path), &mount.target).await?;
            }
            if let (MountKind::Volume, Holds::Refused(why)) = (mount.kind, &spot.holds) {
                return Err(Error::new(
                    ErrorKind::Unexpected,
                    format!("the source does not show what is at {}: {why}", mount.target),
                )
                .with_node(node.name()));
            }
        }
        Ok(layout)
    }
}

impl Spot {
    fn as_written(mount: &Mount) -> Self {
        Spot { at: join("", parts(&mount.target)), holds: Holds::Unknown }
    }
}

fn parts(path: &str) -> impl DoubleEndedIterator<Item = &str> {
    path.split('/').filter(|part| !matches!(*part, "" | "."))
}

fn join<'a>(above: &str, rest: impl Iterator<Item = &'a str>) -> String {
    rest.fold(above.to_owned(), |path, part| format!("{path}/{part}"))
}

/// Follows the links on the way to `target`, and at its end.
async fn find<S: Future<Output = Result<Seen>>>(see: impl Fn(String) -> S, target: &str) -> Result<Spot> {
    let mut at = String::new();
    let mut rest: VecDeque<String> = parts(target).map(str::to_owned).collect();
    let mut holds = Holds::Unknown;
    let mut links = 0;
    while let Some(part) = rest.pop_front() {
        if part == ".." {
            at.truncate(at.rfind('/').unwrap_or_default());
            continue;
        }
        let path = format!("{at}/{part}");
        holds = match see(path.clone()).await? {
            Seen::Entry(Look { link: Some(link), .. }) => {
                links += 1;
                let Some(link) = String::from_utf8(link).ok().filter(|_| links <= LINKS_MAX) else {
                    return Ok(Spot { at: join("", parts(target)), holds: Holds::Unknown });
                };
                if link.starts_with('/') {
                    at.clear();
                }
                parts(&link).rev().for_each(|part| rest.push_front(part.to_owned()));
                continue;
            }
            Seen::Entry(_) => Holds::Files,
            Seen::Nothing => Holds::Nothing,
            Seen::Absent => Holds::Unknown,
            Seen::Refused(why) => Holds::Refused(why),
        };
        at = path;
    }
    Ok(Spot { at, holds })
}

/// What an engine shows at a path.
enum Seen {
    Entry(Look),
    Nothing,
    Absent,
    Refused(String),
}

async fn see(container: &Arc<dyn Container>, path: String) -> Result<Seen> {
    let seen = async { look(container.copy_out(&path).await?).await }.await;
    match seen {
        Ok(Some(entry)) => Ok(Seen::Entry(entry)),
        Ok(None) => Ok(Seen::Nothing),
        Err(error) => match error.kind() {
            ErrorKind::NotFound => Ok(Seen::Absent),
            ErrorKind::InvalidInput | ErrorKind::Unsupported | ErrorKind::Unexpected | ErrorKind::Conflict => {
                Ok(Seen::Refused(error.message().to_owned()))
            }
            _ => Err(error),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where `target` is with these links, and two directories.
    async fn found(links: &[(&str, &[u8])], target: &str) -> Spot {
        let see = |path: String| {
            let link = links.iter().find(|(at, _)| *at == path).map(|(_, link)| link.to_vec());
            let seen = match path.as_str() {
                _ if link.is_some() => Seen::Entry(Look { link, mode: 0o777, uid: 0, gid: 0 }),
                "/socket" => Seen::Nothing,
                "/refused" => Seen::Refused("no".to_owned()),
                "/run" | "/run/app" | "/a" | "/a/b" => Seen::Entry(Look { link, mode: 0o755, uid: 0, gid: 0 }),
                _ => Seen::Absent,
            };
            async move { Ok(seen) }
        };
        find(see, target).await.unwrap()
    }

    #[tokio::test]
    async fn mounts_are_where_the_links_lead() {
        let links: &[(&str, &[u8])] = &[
            ("/var", b"."),
            ("/r", b"/run"),
            ("/a/up", b"../run/"),
            ("/last", b"a/b"),
            ("/round", b"round"),
            ("/bytes", b"\xff"),
        ];
        for (target, at, holds) in [
            ("/a//b/", "/a/b", Holds::Files),
            ("/r/app", "/run/app", Holds::Files),
            ("/var/r/app", "/run/app", Holds::Files),
            ("/a/up/app", "/run/app", Holds::Files),
            ("/last", "/a/b", Holds::Files),
            ("/r/new/x", "/run/new/x", Holds::Unknown),
            ("/round/x", "/round/x", Holds::Unknown),
            ("/bytes/x", "/bytes/x", Holds::Unknown),
            ("/socket", "/socket", Holds::Nothing),
            ("/refused", "/refused", Holds::Refused("no".to_owned())),
        ] {
            assert_eq!(found(links, target).await, Spot { at: at.to_owned(), holds }, "{target}");
        }
    }
}
