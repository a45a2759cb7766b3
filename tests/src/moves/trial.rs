//! One kind of move, tried with every cut.

use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use roadstead_core::migration::{
    self, MARK, MemoryLog, MoveLog, MoveRecord, MoveSpec, MoveState, Mover, Observer, Phase, Point, Side, Step,
};
use roadstead_core::{
    ByteStream, ContainerDetails, ContainerFilter, ContainerSpec, ContainerState, CopyInOptions, DeleteOptions,
    ErrorKind, LabelSelector, Mount, MountKind, Node, RestartPolicy, StopOptions, VolumeSpec,
};
use tokio::sync::Notify;

use super::content::{Content, Item, content, is_within};
use super::end::{Away, End};

/// What is cut at a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// This process dies: the move is dropped, and a new one begins with the log and new connections.
    Server,
    /// The source's engine goes away.
    Source(Away),
    /// The target's engine goes away.
    Target(Away),
}

impl Cut {
    /// Every cut.
    pub const ALL: [Cut; 5] = [
        Cut::Server,
        Cut::Source(Away::Unreachable),
        Cut::Target(Away::Unreachable),
        Cut::Source(Away::Killed),
        Cut::Target(Away::Killed),
    ];

    /// The cuts that leave the engines alone.
    pub const GENTLE: [Cut; 3] = [Cut::Server, Cut::Source(Away::Unreachable), Cut::Target(Away::Unreachable)];
}

/// A container that is moved, the ends between which it is moved, and how.
#[derive(Debug)]
pub struct Trial<'a> {
    source: &'a End,
    target: &'a End,
    spec: ContainerSpec,
    running: bool,
    how: MoveSpec,
}

/// Marks the containers of trials, so that they are found again whatever they are called by then.
const LABEL: &str = "trial";

/// Passes points, and dies or lets an engine go at one of them.
#[derive(Debug)]
struct Cutter {
    passed: Mutex<Vec<Point>>,
    at: Option<usize>,
    dead: Notify,
    /// The trial waits for this before it goes on.
    cutting: tokio::sync::mpsc::UnboundedSender<tokio::sync::oneshot::Sender<()>>,
    dies: bool,
}

#[async_trait]
impl Observer for Cutter {
    async fn reached(&self, point: Point) {
        let number = {
            let mut passed = self.passed.lock().expect("no panic");
            passed.push(point);
            passed.len() - 1
        };
        if self.at != Some(number) {
            return;
        }
        if self.dies {
            self.dead.notify_one();
            std::future::pending::<()>().await;
        }
        let (done, cut) = tokio::sync::oneshot::channel();
        self.cutting.send(done).expect("the trial listens");
        cut.await.expect("the trial cuts");
    }

    fn changed(&self, _: &MoveRecord) {}

    fn copied(&self, _: u64) {}
}

/// Files with everything that may get lost: owners, modes, links, names that do not fit, content in sizes that are no block.
fn files() -> ByteStream {
    let mut builder = tar::Builder::new(Vec::new());
    let raw = |name: &[u8]| std::path::PathBuf::from(std::ffi::OsStr::from_bytes(name));
    let mut add = |kind: tar::EntryType, path: &[u8], mode: u32, link: &[u8], data: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(1234);
        header.set_gid(4321);
        header.set_mtime(1_600_000_000);
        header.set_size(data.len() as u64);
        let added = if link.is_empty() {
            builder.append_data(&mut header, raw(path), data)
        } else {
            builder.append_link(&mut header, raw(path), raw(link))
        };
        added.expect("an archive in memory");
    };
    let long = format!("moved/{}", "long".repeat(40));
    let large: Vec<u8> = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
    add(tar::EntryType::Directory, b"moved/", 0o2750, b"", b"");
    add(tar::EntryType::Regular, b"moved/text", 0o640, b"", b"kept");
    add(tar::EntryType::Regular, b"moved/empty", 0o600, b"", b"");
    add(tar::EntryType::Regular, b"moved/setuid", 0o4755, b"", &[7; 511]);
    add(tar::EntryType::Regular, b"moved/large", 0o644, b"", &large);
    add(tar::EntryType::Regular, "moved/ümläut und leer".as_bytes(), 0o644, b"", b"name");
    add(tar::EntryType::Regular, b"moved/caf\xe9", 0o644, b"", b"a name that is no text");
    add(tar::EntryType::Regular, long.as_bytes(), 0o644, b"", b"a long name");
    add(tar::EntryType::Symlink, b"moved/link", 0o777, b"text", b"");
    add(tar::EntryType::Symlink, b"moved/bytes", 0o777, b"ziel\xff", b"");
    add(tar::EntryType::Link, b"moved/hard", 0o640, b"moved/text", b"");
    let archive = Bytes::from(builder.into_inner().expect("an archive in memory"));
    stream::once(async { Ok(archive) }).boxed()
}

/// What a trial has before the move.
struct Ready {
    name: String,
    content: Content,
    before: ContainerDetails,
    mounts: Vec<String>,
    /// The volumes that it shall leave on the source, and those that go with it.
    named: Vec<String>,
    anonymous: Vec<String>,
}

impl<'a> Trial<'a> {
    /// Moves a running container made by `spec`, whose name the trial chooses; its command must stay up, and is a shell
    /// script unless `spec` has one.
    #[must_use]
    pub fn new(source: &'a End, target: &'a End, mut spec: ContainerSpec) -> Self {
        if spec.command.is_none() {
            let script = "trap 'exit 0' TERM; while :; do sleep 0.1; done";
            spec = spec.command(["sh", "-c", script]);
        }
        Trial { source, target, spec: spec.label(LABEL, "yes"), running: true, how: MoveSpec::default() }
    }

    /// Moves a container that does not run instead; one that was never started, where the engine lets its mounts be filled.
    #[must_use]
    pub fn stopped(mut self) -> Self {
        self.running = false;
        self
    }

    /// Moves it in this way; container and content check are the trial's business.
    #[must_use]
    pub fn how(mut self, how: MoveSpec) -> Self {
        self.how = how;
        self
    }

    /// Deletes what earlier trials left, and makes the container. Volumes that `spec` names are made for it, with its name in
    /// front. Where an engine shows what is mounted only in containers that run, it is written and read in one.
    async fn ready(&self) -> Ready {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        for end in [self.source, self.target] {
            end.come_back();
            let node = end.direct().await;
            for found in trials(&*node).await {
                let _ = node.container(&found.summary.name).delete(&DeleteOptions::force()).await;
            }
            for volume in volumes(&*node).await.into_iter().filter(|volume| volume.starts_with(&prefix())) {
                node.delete_volume(&volume, true).await.expect("a volume of an earlier trial is deleted");
            }
        }
        let node = self.source.direct().await;
        let name = format!("{}{}", prefix(), NEXT.fetch_add(1, Ordering::Relaxed));
        let mut spec = self.spec.clone().name(&name);
        let mut named = Vec::new();
        for mount in spec.mounts.iter_mut().filter(|mount| mount.kind == MountKind::Volume) {
            if let Some(source) = &mut mount.source {
                *source = format!("{name}-{source}");
                node.create_volume(&VolumeSpec::new(&*source)).await.expect("a volume is made");
                named.push(source.clone());
            }
        }
        node.create_container(&spec).await.expect("the container is made");
        let container = node.container(&name);
        container.copy_in("/", files(), &CopyInOptions::default()).await.expect("files are put into it");
        let at_rest = node.capabilities().binds_at_rest;
        let carried = |mount: &&Mount| match mount.kind {
            MountKind::Tmpfs => false,
            MountKind::Bind => at_rest,
            _ => true,
        };
        let mounts: Vec<String> = spec.mounts.iter().filter(carried).map(|mount| mount.target.clone()).collect();
        let shown_by_running = !at_rest && !mounts.is_empty();
        if shown_by_running {
            container.start().await.expect("it starts");
        }
        for mount in &mounts {
            container.copy_in(mount, files(), &CopyInOptions::default()).await.expect("files are put into its mount");
        }
        let content = content(&*node, &name, &mounts).await;
        assert!(content.contains_key(&b"moved/text"[..]));
        if self.running && !shown_by_running {
            container.start().await.expect("it starts");
        } else if shown_by_running && !self.running {
            container.stop(&StopOptions::after_seconds(0)).await.expect("it stops");
        }
        let before = container.inspect().await.expect("it is there");
        let of_volumes = before.spec.mounts.iter().filter(|mount| mount.kind == MountKind::Volume);
        let anonymous: Vec<String> =
            of_volumes.filter_map(|mount| mount.source.clone()).filter(|source| !named.contains(source)).collect();
        let without_name = spec.mounts.iter().filter(|mount| mount.kind == MountKind::Volume && mount.source.is_none());
        assert_eq!(anonymous.len(), without_name.count(), "{:?}", before.spec.mounts);
        Ready { name, content, before, mounts, named, anonymous }
    }

    async fn planned(&self, ready: &Ready) -> MoveRecord {
        let mut how = self.how.clone();
        how.container.clone_from(&ready.name);
        how.check = Some(true);
        let plan = migration::plan(&self.source.direct().await, &self.target.direct().await, &how).await;
        MoveRecord::new(plan.expect("a plan"))
    }

    async fn mover(&self, log: &Arc<MemoryLog>, observer: Option<Arc<dyn Observer>>) -> Mover {
        let log = Arc::clone(log) as Arc<dyn MoveLog>;
        let mover = Mover::new(self.source.connect().await, self.target.connect().await, log);
        let mover = mover.grace(Duration::from_secs(1));
        match observer {
            Some(observer) => mover.observed_by(observer),
            None => mover,
        }
    }

    /// Moves without a cut, checks everything, and gives the points that were passed.
    ///
    /// # Panics
    /// When something is not as it should be.
    pub async fn uncut(&self) -> Vec<Point> {
        let ready = self.ready().await;
        let log = Arc::new(MemoryLog::default());
        let (cutting, _listens) = tokio::sync::mpsc::unbounded_channel();
        let passes = Cutter { passed: Mutex::default(), at: None, dead: Notify::new(), cutting, dies: false };
        let watch = Arc::new(passes);
        let mover = self.mover(&log, Some(Arc::clone(&watch) as Arc<dyn Observer>)).await;
        let record = mover.apply(self.planned(&ready).await).await.expect("the move");
        self.moved(&ready, &record, self.running).await;
        let passed = watch.passed.lock().expect("no panic").clone();
        for point in Point::all().filter(|point| record.plan.steps.contains(&point.step)) {
            assert!(passed.contains(&point), "{point} is not passed");
        }
        passed
    }

    /// Makes each of `cuts` at each point that the move passes; after each there is exactly one runnable copy with all of the
    /// content, and applying the move again completes it. Gives the number of cuts that were made.
    ///
    /// # Panics
    /// When something is not as it should be.
    pub async fn cut_everywhere(&self, cuts: &[Cut]) -> usize {
        let points = self.uncut().await;
        let mut made = 0;
        for (at, point) in points.iter().enumerate() {
            for cut in cuts {
                self.cut(at, *point, *cut).await;
                eprintln!("{cut:?} cut {point} ({at} of {}): nothing lost", points.len());
                made += 1;
            }
        }
        made
    }

    async fn cut(&self, at: usize, point: Point, cut: Cut) {
        let told = format!("{cut:?} cut {point} ({at})");
        let ready = self.ready().await;
        let log = Arc::new(MemoryLog::default());
        let (cutting, mut asked) = tokio::sync::mpsc::unbounded_channel();
        let dies = cut == Cut::Server;
        let cutter = Arc::new(Cutter { passed: Mutex::default(), at: Some(at), dead: Notify::new(), cutting, dies });
        let mover = self.mover(&log, Some(Arc::clone(&cutter) as Arc<dyn Observer>)).await;
        let record = self.planned(&ready).await;
        // A server that is dead does nothing any more: what it was at stays as it is until all is over.
        let mut apply = Box::pin(mover.apply(record));
        loop {
            tokio::select! {
                () = cutter.dead.notified() => break,
                Some(done) = asked.recv() => {
                    match cut {
                        Cut::Server => {}
                        Cut::Source(how) => self.source.leave(how),
                        Cut::Target(how) => self.target.leave(how),
                    }
                    let _ = done.send(());
                }
                done = &mut apply => {
                    if let Err(error) = done {
                        let kinds = [ErrorKind::Unavailable, ErrorKind::DeadlineExceeded, ErrorKind::Unexpected];
                        assert!(kinds.contains(&error.kind()), "{told}: {error:?}");
                    }
                    break;
                }
            }
        }
        let kept = log.list().await.expect("the log").pop().expect("a record");
        self.one_runnable_copy(&ready, &kept, &told).await;
        let over = kept.state == MoveState::Done;
        let again = self.mover(&log, None).await.apply(kept).await;
        let again = again.unwrap_or_else(|error| panic!("{told}: applied again: {error:?}"));
        // An engine that was killed starts again what it has a policy for, and LXD what ran: the rest ended with it, after
        // it had been moved and started. What dockerd (20.10) finds running when it comes back it ends, and then takes for
        // stopped by hand; applying the move again starts it, but not when that was over.
        let starts_again = match self.spec.restart {
            RestartPolicy::Never => false,
            RestartPolicy::UnlessStopped => !over,
            _ => true,
        };
        let ended_with_its_engine = cut == Cut::Target(Away::Killed)
            && (point.step > Step::StartTarget || point == Point { step: Step::StartTarget, phase: Phase::After })
            && !self.target.engine().speaks_lxd()
            && !starts_again;
        self.moved(&ready, &again, self.running && !ended_with_its_engine).await;
        // Until now it was at it, as far as its own process knows.
        drop(apply);
        self.no_image_is_left(told.as_str()).await;
    }

    /// Of what was made on the way to the copy there is nothing without a name, on either side.
    async fn no_image_is_left(&self, told: &str) {
        for end in [&self.source, &self.target] {
            if !end.engine().speaks_lxd() {
                continue;
            }
            let until = Instant::now() + Duration::from_secs(60);
            loop {
                // What could not be deleted over the old line is, when somebody connects anew.
                let node = end.direct().await;
                let mut left = node.list_images().await.expect("images");
                left.retain(|image| image.references.is_empty());
                if left.is_empty() {
                    break;
                }
                assert!(Instant::now() < until, "{told}: {left:#?}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }

    /// Exactly one of all containers of the trial is the container, it is complete, and no other runs or would be started.
    async fn one_runnable_copy(&self, ready: &Ready, record: &MoveRecord, told: &str) {
        self.source.come_back();
        self.target.come_back();
        let (source, target) = (self.source.direct().await, self.target.direct().await);
        let place = migration::source_place(record, &*source).await.expect("the source tells");
        let copy = migration::target_has_copy(record, &*target).await.expect("the target tells");
        let side = migration::runnable_copy(place, copy).unwrap_or_else(|| panic!("{told}: no copy is left"));
        let (node, name) = match side {
            Side::Source => (&source, &ready.name),
            Side::Target => (&target, &record.plan.name),
        };
        if !node.container(name).inspect().await.expect("it is there").summary.state.has_processes() {
            let shown = node.container(name).inspect().await.expect("it is there");
            assert_eq_content(&read(&**node, name, &ready.mounts).await, &wanted(ready, &shown.spec), told);
        }
        for (here, node) in [(Side::Source, &source), (Side::Target, &target)] {
            for found in trials(&**node).await {
                if here == side && found.summary.name == *name {
                    continue;
                }
                let other = &found.summary.name;
                assert!(!found.summary.state.has_processes(), "{told}: {other} runs, too");
                let policy = found.spec.restart;
                assert!(policy == RestartPolicy::Never || !node.capabilities().update, "{told}: {other}: {policy:?}");
            }
        }
    }

    /// It is on the target as it was, and nowhere else.
    async fn moved(&self, ready: &Ready, record: &MoveRecord, runs: bool) {
        assert_eq!(record.state, MoveState::Done);
        let (source, target) = (self.source.direct().await, self.target.direct().await);
        let left: Vec<_> = trials(&*source).await.into_iter().map(|found| found.summary.name).collect();
        assert!(left.is_empty(), "left on the source: {left:?}");
        let container = target.container(&record.plan.name);
        let until = Instant::now() + Duration::from_secs(30);
        let copy = loop {
            let copy = container.inspect().await.expect("the copy is there");
            // An engine that was killed starts its containers again by their policy.
            if !runs || copy.summary.state == ContainerState::Running {
                break copy;
            }
            assert!(Instant::now() < until, "the copy does not run: {copy:#?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        };
        assert_eq!(copy.summary.labels.get(MARK).map(String::as_str), Some(record.id()));
        let lost = |field: &str| record.plan.not_carried.iter().any(|lost| lost.field.starts_with(field));
        let (was, is) = (&ready.before.spec, &copy.spec);
        // Engines add variables of their own, and say in one of them what they are.
        for (key, value) in was.env.iter().filter(|(key, _)| *key != "container") {
            assert_eq!(is.env.get(key), Some(value), "variable {key}");
        }
        assert_eq!((&is.user, &is.working_directory), (&was.user, &was.working_directory));
        assert_eq!((&is.entrypoint, &is.command, &is.hostname), (&was.entrypoint, &was.command, &was.hostname));
        for (key, value) in was.labels.iter().filter(|(key, _)| *key != MARK) {
            assert_eq!(is.labels.get(key), Some(value), "label {key}");
        }
        let (had, has) = (&was.limits, &is.limits);
        // What is not asked for is the engine's choice: Podman limits processes.
        let kept = (had.memory_bytes.is_none() || has.memory_bytes == had.memory_bytes)
            && (had.cpus.is_none() || has.cpus == had.cpus)
            && (had.pids.is_none() || has.pids == had.pids);
        assert!(kept || lost("limits"), "{had:?} became {has:?}");
        assert!(is.restart == was.restart || lost("restart"), "{:?} became {:?}", was.restart, is.restart);
        assert!(is.ports == was.ports || lost("ports"), "{:?} became {:?}", was.ports, is.ports);
        let (mut found, mut wanted) = (read(&*target, &record.plan.name, &ready.mounts).await, wanted(ready, is));
        if lost("mounts.owners") {
            for mount in &ready.mounts {
                disown(&mut found, mount);
                disown(&mut wanted, mount);
            }
        }
        assert_eq_content(&found, &wanted, "moved");
        self.left_on_the_source(&*source, ready, record).await;
    }

    /// Its anonymous volumes went with it, the others and directories of the node did not; the plan said so of the latter.
    async fn left_on_the_source(&self, source: &dyn Node, ready: &Ready, record: &MoveRecord) {
        let left = volumes(source).await;
        for volume in &ready.anonymous {
            assert!(!left.contains(volume), "the anonymous volume {volume} is left on the source");
        }
        for volume in &ready.named {
            assert!(left.contains(volume), "the volume {volume} was deleted with the source");
            source.delete_volume(volume, true).await.expect("the volume is deleted");
        }
        for mount in ready.before.spec.mounts.iter().filter(|mount| mount.kind == MountKind::Bind) {
            let told = record.plan.not_carried.iter().find(|lost| lost.reason.contains(&mount.target));
            let told = told.unwrap_or_else(|| panic!("nothing is told of {mount:?}"));
            let copied = record.plan.copied_mounts.iter().any(|copied| copied.target == mount.target);
            let at_rest = source.capabilities().binds_at_rest;
            assert_eq!(
                (copied, told.reason.contains("only while the container runs")),
                (at_rest, !at_rest),
                "{told:?}"
            );
        }
    }
}

/// The whole of a container, with those of `mounts` that are mounts there.
async fn read(node: &dyn Node, name: &str, mounts: &[String]) -> Content {
    let shown = node.container(name).inspect().await.expect("it is there").spec.mounts;
    let mounted = |target: &&String| shown.iter().any(|mount| mount.target == **target);
    let mounts: Vec<String> = mounts.iter().filter(mounted).cloned().collect();
    content(node, name, &mounts).await
}

/// What a container with this specification shall hold: directories for everybody where it has no temporary file system any
/// more, with nothing in them but what is mounted there.
fn wanted(ready: &Ready, spec: &ContainerSpec) -> Content {
    let mut content = ready.content.clone();
    let gone = |mount: &&Mount| {
        mount.kind == MountKind::Tmpfs && !spec.mounts.iter().any(|other| other.target == mount.target)
    };
    for mount in ready.before.spec.mounts.iter().filter(gone) {
        content.insert(mount.target.trim_matches('/').into(), ('d', 0o1777, 0, 0, Vec::new(), Vec::new()));
    }
    content
}

/// Forgets who owns what is below `mount`.
fn disown(content: &mut Content, mount: &str) {
    let place = mount.trim_matches('/').as_bytes();
    for (_, item) in content.iter_mut().filter(|(path, _)| is_within(path, place)) {
        (item.2, item.3) = (0, 0);
    }
}

/// What the names of this process's containers and volumes begin with.
fn prefix() -> String {
    format!("mv{}-", std::process::id())
}

/// The names of the volumes of a node.
async fn volumes(node: &dyn Node) -> Vec<String> {
    node.list_volumes().await.expect("a list of volumes").into_iter().map(|volume| volume.name).collect()
}

/// What trials have on a node.
async fn trials(node: &dyn Node) -> Vec<ContainerDetails> {
    let mut filter = ContainerFilter::all();
    filter.labels.push(LabelSelector::exists(LABEL));
    let mut found = Vec::new();
    for item in node.list_containers(&filter).await.expect("a list") {
        if let Ok(details) = node.container(&item.id).inspect().await {
            found.push(details);
        }
    }
    found
}

/// Names what differs instead of printing two whole file systems.
fn assert_eq_content(found: &Content, wanted: &Content, told: &str) {
    let shown = |path: &[u8]| path.escape_ascii().to_string();
    let differs: Vec<_> =
        wanted.iter().filter(|(path, item)| found.get(*path) != Some(*item)).map(|(path, _)| shown(path)).collect();
    // Directories to mount something on come with the engine.
    let is_new = |(path, item): &(&Vec<u8>, &Item)| item.0 != 'd' && !wanted.contains_key(*path);
    let new: Vec<_> = found.iter().filter(is_new).map(|(path, _)| shown(path)).collect();
    assert!(differs.is_empty() && new.is_empty(), "{told}: lost or changed {differs:?}, new {new:?}");
}
