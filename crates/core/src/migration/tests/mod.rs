//! Moves on the reference engine: cut at every point, at every call, and at random.

mod calls;
mod changes;
mod cuts;
mod given_back;
mod lost;
mod once;
mod plans;
mod stops;
mod worked;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};

use super::archive::{Manifest, scan};
use super::*;
use crate::memory::{MemoryNode, MemoryOptions, PRESET_IMAGE};
use crate::*;

/// What the container is moved by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Engines,
    Files,
}

/// Two nodes, a container on the first, and the log of moves.
struct Rig {
    source: Arc<MemoryNode>,
    target: Arc<MemoryNode>,
    log: Arc<MemoryLog>,
    /// What the source's file system held when it was stopped.
    content: Content,
    ran: bool,
    by: By,
}

const NAME: &str = "web";

fn node(name: &str) -> Arc<MemoryNode> {
    Arc::new(MemoryNode::new(name, MemoryOptions::default()).unwrap())
}

fn as_node(node: &Arc<MemoryNode>) -> Arc<dyn Node> {
    Arc::clone(node) as Arc<dyn Node>
}

async fn content(node: &dyn Node, name: &str) -> Content {
    scan(node.container(name).export().await.unwrap(), Manifest::default()).await.unwrap().content()
}

fn files(entries: &[(&str, u32, &[u8])]) -> ByteStream {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, mode, data) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_mode(*mode);
        header.set_uid(1000);
        header.set_gid(1001);
        header.set_size(data.len() as u64);
        builder.append_data(&mut header, path, *data).unwrap();
    }
    let archive = Bytes::from(builder.into_inner().unwrap());
    stream::once(async { Ok(archive) }).boxed()
}

impl Rig {
    /// A container with files of its own and, where it is carried as files, a volume.
    async fn new(ran: bool, by: By) -> Self {
        Self::with(ran, by, &["sleep", "100000"], 0).await
    }

    /// The same with this command and so many seconds to stop.
    async fn with(ran: bool, by: By, command: &[&str], stop_timeout_seconds: u32) -> Self {
        let (source, target) = (node("source"), node("target"));
        let mut spec =
            ContainerSpec::new(PRESET_IMAGE).name(NAME).command(command.iter().copied()).label("team", "sea");
        spec.env.insert("KEY".to_owned(), "value".to_owned());
        spec.restart = RestartPolicy::Always;
        spec.limits.memory_bytes = Some(64 << 20);
        spec.stop_timeout_seconds = Some(stop_timeout_seconds);
        if by == By::Files {
            spec.mounts.push(Mount {
                kind: MountKind::Volume,
                source: Some("store".to_owned()),
                target: "/srv/store".to_owned(),
                read_only: false,
                size_bytes: None,
            });
        }
        source.create_container(&spec).await.unwrap();
        let container = source.container(NAME);
        let own =
            files(&[("root/notes", 0o600, b"kept"), ("root/big", 0o644, &[7; 100_000]), ("root/run", 0o4755, b"#!")]);
        container.copy_in("/", own, &CopyInOptions::default()).await.unwrap();
        if by == By::Files {
            let stored = files(&[("row", 0o640, b"of the volume")]);
            container.copy_in("/srv/store", stored, &CopyInOptions::default()).await.unwrap();
        }
        if ran {
            container.start().await.unwrap();
        }
        let content = content(&*source, NAME).await;
        Rig { source, target, log: Arc::default(), content, ran, by }
    }

    fn spec(&self) -> MoveSpec {
        let way = if self.by == By::Files { WayChoice::Portable } else { WayChoice::Auto };
        MoveSpec { way, check: Some(true), ..MoveSpec::new(NAME) }
    }

    async fn planned(&self) -> MoveRecord {
        let plan = plan(&as_node(&self.source), &as_node(&self.target), &self.spec()).await.unwrap();
        MoveRecord::new(plan)
    }

    fn mover(&self) -> Mover {
        self.mover_between(as_node(&self.source), as_node(&self.target))
    }

    fn mover_between(&self, source: Arc<dyn Node>, target: Arc<dyn Node>) -> Mover {
        let log = Arc::clone(&self.log) as Arc<dyn MoveLog>;
        Mover::new(source, target, log).grace(Duration::ZERO)
    }

    fn come_back(&self) {
        self.source.faults().come_back();
        self.target.faults().come_back();
    }

    async fn all(&self, node: &MemoryNode) -> Vec<ContainerDetails> {
        let mut all = Vec::new();
        for item in node.list_containers(&ContainerFilter::all()).await.unwrap() {
            all.push(node.container(&item.id).inspect().await.unwrap());
        }
        all
    }

    /// Whatever was cut: exactly one copy is the container, it is complete, and no other one runs or would be started.
    async fn one_runnable_copy(&self, record: &MoveRecord) {
        self.come_back();
        let place = source_place(record, &*self.source).await.unwrap();
        let copy = target_has_copy(record, &*self.target).await.unwrap();
        let side = runnable_copy(place, copy).unwrap_or_else(|| panic!("no copy is left: {record:#?}"));
        let (node, name) = match side {
            Side::Source => (&self.source, NAME),
            Side::Target => (&self.target, record.plan.name.as_str()),
        };
        match side {
            Side::Source => assert_eq!(content(&**node, name).await, self.content, "{record:#?}"),
            // The volume's content is a part of the copy's own file system.
            Side::Target if self.by == By::Engines => assert_eq!(content(&**node, name).await, self.content),
            Side::Target => self.volume_came_along(name).await,
        }
        for (here, node) in [(Side::Source, &self.source), (Side::Target, &self.target)] {
            for found in self.all(node).await {
                if here == side && found.summary.name == name {
                    continue;
                }
                assert!(!found.summary.state.has_processes(), "{} runs, too: {record:#?}", found.summary.name);
                assert_eq!(found.spec.restart, RestartPolicy::Never, "{} would run, too", found.summary.name);
            }
        }
    }

    async fn volume_came_along(&self, name: &str) {
        for (path, wanted) in [("/srv/store/row", &b"of the volume"[..]), ("/root/notes", b"kept")] {
            let mut archive = self.target.container(name).copy_out(path).await.unwrap();
            let mut bytes = Vec::new();
            while let Some(piece) = archive.next().await {
                bytes.extend_from_slice(&piece.unwrap());
            }
            let mut archive = tar::Archive::new(&bytes[..]);
            let mut entry = archive.entries().unwrap().next().unwrap().unwrap();
            let mut data = Vec::new();
            std::io::Read::read_to_end(&mut entry, &mut data).unwrap();
            assert_eq!(data, wanted, "{path}");
            assert_eq!((entry.header().uid().unwrap(), entry.header().gid().unwrap()), (1000, 1001));
        }
    }

    /// It is on the target, as it was, and nowhere else.
    async fn moved(&self, record: &MoveRecord) {
        assert_eq!(record.state, MoveState::Done);
        assert!(record.steps.iter().all(|step| step.finished_at.is_some()), "{record:#?}");
        self.one_runnable_copy(record).await;
        assert!(self.all(&self.source).await.is_empty(), "the source is still there");
        let all = self.all(&self.target).await;
        assert_eq!(all.len(), 1);
        let copy = &all[0];
        let state = if self.ran { ContainerState::Running } else { ContainerState::Created };
        assert_eq!((copy.summary.name.as_str(), copy.summary.state), (record.plan.name.as_str(), state));
        assert_eq!(copy.spec.restart, RestartPolicy::Always);
        assert_eq!(copy.spec.limits.memory_bytes, Some(64 << 20));
        assert_eq!(copy.spec.env.get("KEY").map(String::as_str), Some("value"));
        assert_eq!(copy.spec.command.as_deref(), Some(&["sleep".to_owned(), "100000".to_owned()][..]));
        assert_eq!(copy.summary.labels.get("team").map(String::as_str), Some("sea"));
        assert_eq!(copy.summary.labels.get(MARK).map(String::as_str), Some(record.id()));
        assert_eq!(self.target.list_images().await.unwrap().len(), 1, "the temporary image is still there");
        let kept = self.log.load(record.id()).await.unwrap();
        assert_eq!(kept.as_ref(), Some(record));
    }

    /// It is on the source, as it was, and nowhere else.
    async fn back(&self, record: &MoveRecord) {
        assert_eq!(record.state, MoveState::RolledBack);
        self.one_runnable_copy(record).await;
        assert!(self.all(&self.target).await.is_empty(), "the copy is still there");
        assert_eq!(self.target.list_images().await.unwrap().len(), 1, "the temporary image is still there");
        let all = self.all(&self.source).await;
        assert_eq!((all.len(), all[0].summary.name.as_str()), (1, NAME));
        assert_eq!(all[0].summary.state.has_processes(), self.ran);
        assert_eq!(all[0].spec.restart, RestartPolicy::Always);
    }

    async fn kept(&self) -> MoveRecord {
        self.log.list().await.unwrap().pop().unwrap()
    }
}
