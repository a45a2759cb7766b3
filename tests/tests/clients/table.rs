//! Every operation of the traits, and every method that only this engine has, with what is done by one side and seen by the
//! other, or why it cannot be seen.

use std::collections::BTreeSet;
use std::path::Path;

use futures_util::future::LocalBoxFuture;
use roadstead_core::{Capability, operation};

use crate::scene::Scene;
use crate::{cluster, containers, copies, events, files, images, jobs, lifecycle, networks, node, pools, profiles};
use crate::{snapshots, streams, usage, volumes};

pub(crate) type Test = for<'a> fn(&'a Scene) -> LocalBoxFuture<'a, ()>;

/// What becomes of an operation that one side does.
#[derive(Clone, Copy)]
pub(crate) enum Side {
    /// The other side sees it.
    Shown(Test),
    /// The other side sees it where the engine does it: when it is on this machine.
    Here(Capability, Test),
    /// The row of this operation, or the other direction of it, shows this one as well.
    With(&'static str),
    /// The other side cannot see it, for this reason.
    Hidden(&'static str),
    /// The engine does not do it.
    Lacking(Capability),
}

/// An operation in both directions.
#[derive(Clone, Copy)]
pub(crate) struct Row {
    /// Its name: of [`operation::ALL`], or `lxd.` and a method that only this engine's node has.
    pub(crate) operation: &'static str,
    /// We do it, and their client sees it.
    pub(crate) ours: Side,
    /// Their client does it, and we see it.
    pub(crate) theirs: Side,
}

/// Looking leaves nothing behind. What it tells is compared under `theirs` with what their client did and tells.
const LOOKS: Side = Side::Hidden("looking leaves nothing behind that their client could see");
/// A job is an exec of ours with what we keep of it.
const OUR_JOBS: Side =
    Side::Hidden("their client knows no jobs: what runs through it ends with it and is kept nowhere");
const OUR_INPUT: Side = Side::Hidden("only the process that began an exec holds its input and its terminal");

macro_rules! test {
    ($test:path) => {
        |scene| Box::pin($test(scene))
    };
}

macro_rules! shown {
    ($test:path) => {
        Side::Shown(test!($test))
    };
}

/// Every row.
pub(crate) fn rows() -> Vec<Row> {
    let row = |operation, ours, theirs| Row { operation, ours, theirs };
    let with = Side::With;
    vec![
        row("node.ping", LOOKS, shown!(node::answers)),
        row("node.info", LOOKS, shown!(node::says_the_same)),
        row("node.list_containers", LOOKS, shown!(containers::they_change_the_list)),
        row("node.create_container", shown!(containers::we_create), shown!(containers::they_create)),
        row("node.check_container", LOOKS, shown!(containers::they_refuse_what_we_do)),
        row("node.restore_container", shown!(copies::we_restore), shown!(copies::they_import)),
        row("node.copy_ways", LOOKS, shown!(copies::ways_for_theirs)),
        row("node.copy_container", shown!(copies::we_copy), shown!(copies::they_copy)),
        row("node.events", shown!(events::their_monitor), shown!(events::our_stream)),
        row("node.run", Side::Lacking(Capability::NodeJobs), Side::Lacking(Capability::NodeJobs)),
        row("node.jobs", OUR_JOBS, with("container.jobs::theirs")),
        row("node.job", OUR_JOBS, OUR_JOBS),
        row("node.pool", LOOKS, with("lxd.cluster::theirs")),
        row("metrics.host", LOOKS, Side::Here(Capability::Host, test!(usage::tells_of_the_same_machine))),
        row("metrics.usage", LOOKS, shown!(usage::counts_the_same)),
        row("metrics.watch", LOOKS, shown!(usage::shows_what_they_start_and_stop)),
        row("metrics.history", LOOKS, Side::Here(Capability::UsageHistory, test!(usage::remembers_theirs))),
        row("metrics.processes", LOOKS, shown!(usage::lists_their_processes)),
        row("container.inspect", LOOKS, shown!(containers::they_change_one)),
        row("container.start", shown!(lifecycle::we_start), shown!(lifecycle::they_start)),
        row("container.stop", shown!(lifecycle::we_stop), shown!(lifecycle::they_stop)),
        row("container.restart", shown!(lifecycle::we_restart), shown!(lifecycle::they_restart)),
        row("container.kill", Side::Here(Capability::Kill, test!(lifecycle::we_kill)), shown!(lifecycle::they_kill)),
        row("container.freeze", shown!(lifecycle::we_freeze), shown!(lifecycle::they_freeze)),
        row("container.unfreeze", shown!(lifecycle::we_unfreeze), shown!(lifecycle::they_unfreeze)),
        row("container.rename", shown!(lifecycle::we_rename), shown!(lifecycle::they_rename)),
        row("container.update", shown!(lifecycle::we_update), shown!(lifecycle::they_update)),
        row("container.delete", shown!(lifecycle::we_delete), shown!(lifecycle::they_delete)),
        row("container.wait", LOOKS, shown!(lifecycle::they_end_what_we_wait_for)),
        row("container.commit", shown!(copies::we_commit), shown!(copies::they_publish)),
        row("container.export", LOOKS, shown!(files::they_push_what_we_export)),
        row("container.snapshots", LOOKS, shown!(snapshots::we_list_theirs)),
        row("container.create_snapshot", shown!(snapshots::we_create), shown!(snapshots::they_create)),
        row("container.restore_snapshot", shown!(snapshots::we_restore), shown!(snapshots::they_restore)),
        row("container.delete_snapshot", shown!(snapshots::we_delete), shown!(snapshots::they_delete)),
        row("container.backup", with("node.restore_container::theirs"), with("node.restore_container::ours")),
        row("container.copy_out", LOOKS, shown!(files::they_push)),
        row("container.copy_in", shown!(files::they_pull), with("container.copy_out::theirs")),
        row("container.logs", shown!(streams::they_read_the_console), shown!(streams::we_read_the_console)),
        row("container.attach", shown!(streams::we_type), Side::Hidden(CONSOLE)),
        row("container.resize", shown!(streams::we_resize), Side::Hidden(CONSOLE)),
        row("container.stats", LOOKS, shown!(node::counts_the_same)),
        row("container.processes", LOOKS, shown!(jobs::we_see_their_processes)),
        row("container.run", shown!(jobs::they_see_our_job), with("container.jobs::theirs")),
        row("container.jobs", OUR_JOBS, shown!(jobs::theirs_are_none_of_ours)),
        row("job.status", OUR_JOBS, with("job.kill::theirs")),
        row("job.output", OUR_JOBS, shown!(jobs::they_feed)),
        row("job.write_stdin", shown!(jobs::we_write), OUR_INPUT),
        row("job.close_stdin", shown!(jobs::we_close), OUR_INPUT),
        row("job.resize", shown!(jobs::we_resize), OUR_INPUT),
        row("job.kill", shown!(jobs::we_kill), shown!(jobs::they_kill)),
        row("job.wait", OUR_JOBS, with("job.kill::theirs")),
        row("image.list", LOOKS, shown!(images::we_list_theirs)),
        row("image.inspect", LOOKS, with("image.import::theirs")),
        row("image.pull", shown!(images::we_pull), shown!(images::they_copy)),
        row("image.import", shown!(images::we_import), shown!(images::they_import)),
        row("image.load", shown!(images::we_load), shown!(images::we_load_theirs)),
        row("image.save", shown!(images::they_import_what_we_saved), LOOKS),
        row("image.tag", shown!(images::we_tag), shown!(images::they_tag)),
        row("image.delete", shown!(images::we_delete), shown!(images::they_delete)),
        row("network.list", LOOKS, with("network.create::theirs")),
        row("network.inspect", LOOKS, with("network.create::theirs")),
        row("network.create", shown!(networks::we_create), shown!(networks::they_create)),
        row("network.delete", shown!(networks::we_delete), shown!(networks::they_delete)),
        row("volume.list", LOOKS, with("volume.create::theirs")),
        row("volume.inspect", LOOKS, with("volume.create::theirs")),
        row("volume.create", shown!(volumes::we_create), shown!(volumes::they_create)),
        row("volume.delete", shown!(volumes::we_delete), shown!(volumes::they_delete)),
        // What only this engine has.
        row("lxd.create_instance", shown!(profiles::we_use), with("node.create_container::theirs")),
        row("lxd.storage_pools", LOOKS, with("lxd.create_storage_pool::theirs")),
        row("lxd.storage_pool", LOOKS, with("lxd.create_storage_pool::theirs")),
        row("lxd.create_storage_pool", shown!(pools::we_create), shown!(pools::they_create)),
        row("lxd.delete_storage_pool", shown!(pools::we_delete), shown!(pools::they_delete)),
        row("lxd.copy_image", shown!(images::we_copy), with("image.pull::theirs")),
        row("lxd.profiles", LOOKS, with("lxd.profile::theirs")),
        row("lxd.profile", LOOKS, shown!(profiles::they_create)),
        row("lxd.projects", LOOKS, with("lxd.project::theirs")),
        row("lxd.project", LOOKS, shown!(profiles::they_create_a_project)),
        row("lxd.cluster_members", LOOKS, with("lxd.cluster::theirs")),
        row("lxd.cluster", shown!(cluster::we_work_on_a_member), shown!(cluster::they_make_one)),
        row("lxd.resources", LOOKS, shown!(node::is_made_of_the_same)),
        row("lxd.metrics", LOOKS, shown!(node::measures_the_same)),
        row("lxd.all_networks", LOOKS, with("lxd.network_details::theirs")),
        row("lxd.network_details", LOOKS, shown!(networks::they_see_interfaces)),
    ]
}

const CONSOLE: &str = "their client's console wants a terminal, and a console has one reader: whoever reads it takes the \
                       output away from the other";

fn names(own: bool) -> Vec<&'static str> {
    rows().iter().map(|row| row.operation).filter(|name| name.starts_with("lxd.") == own).collect()
}

pub(crate) fn names_every_operation_once() {
    let all: Vec<_> = operation::ALL.iter().map(|operation| operation.name).collect();
    assert_eq!(names(false), all);
}

/// Nothing is left out without a reason, and nobody points at what is not there.
pub(crate) fn shows_every_operation_in_some_direction() {
    let shown: Vec<String> = rows()
        .iter()
        .flat_map(|row| [("ours", row.operation, row.ours), ("theirs", row.operation, row.theirs)])
        .filter(|(_, _, side)| matches!(side, Side::Shown(_) | Side::Here(..)))
        .map(|(direction, operation, _)| format!("{operation}::{direction}"))
        .collect();
    let mut in_none = Vec::new();
    for row in rows() {
        for side in [row.ours, row.theirs] {
            match side {
                Side::With(other) => assert!(shown.iter().any(|name| name == other), "{} with {other}", row.operation),
                Side::Hidden(reason) => assert!(reason.len() > 20, "{}: {reason:?}", row.operation),
                Side::Shown(_) | Side::Here(..) | Side::Lacking(_) => {}
            }
        }
        if [row.ours, row.theirs].iter().all(|side| matches!(side, Side::Hidden(_))) {
            in_none.push(row.operation);
        }
    }
    // Looking up what the list of jobs holds is nothing that anybody outside could do or see.
    assert_eq!(in_none, ["node.job"]);
}

/// The public asynchronous methods that the engine's node has beside the traits, by its sources.
fn extensions_of_the_engine() -> BTreeSet<String> {
    fn read(directory: &Path, found: &mut BTreeSet<String>) {
        for file in std::fs::read_dir(directory).expect("the sources").flatten() {
            let path = file.path();
            if path.is_dir() {
                read(&path, found);
                continue;
            }
            let source = std::fs::read_to_string(&path).expect("a source");
            let blocks =
                source.split("\nimpl LxdNode {").skip(1).map(|rest| rest.split("\n}\n").next().unwrap_or(rest));
            let methods = blocks.flat_map(str::lines).filter_map(|line| line.trim().strip_prefix("pub async fn "));
            found.extend(methods.filter_map(|rest| rest.split(['(', '<']).next()).map(|name| format!("lxd.{name}")));
        }
    }
    let mut found = BTreeSet::new();
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/backends/src/engines/lxd");
    read(&directory, &mut found);
    found
}

pub(crate) fn names_every_extension_once() {
    let listed = names(true);
    let once: BTreeSet<String> = listed.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(listed.len(), once.len());
    assert_eq!(once, extensions_of_the_engine());
}
