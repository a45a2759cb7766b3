//! What an engine can do, known without I/O once it is connected.
//!
//! One list makes the struct, the enum and the table in the documentation, so that none can forget a member.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

macro_rules! capabilities {
    ($($(#[doc = $doc:literal])+ $field:ident = $variant:ident, $text:literal;)+) => {
        /// One thing that an engine may be able to do.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        #[non_exhaustive]
        pub enum Capability {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Capability {
            /// Every capability, in the order of the documentation.
            pub const ALL: &'static [Capability] = &[$(Capability::$variant),+];

            /// The member of [`Capabilities`] and of its JSON.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Capability::$variant => stringify!($field),)+ }
            }

            /// What it is, in words that follow "this engine does not support".
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self { $(Capability::$variant => $text,)+ }
            }
        }

        /// What a connected engine can do. Derived from what the engine reports, never from its product name.
        #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(default)]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        #[non_exhaustive]
        pub struct Capabilities {
            $($(#[doc = $doc])+ pub $field: bool,)+
            /// How long the result of a finished job is kept, in seconds; 0 when the engine has no jobs.
            pub jobs_kept_seconds: u64,
            /// How many jobs are kept at most, finished ones included.
            pub jobs_kept_max: u64,
        }

        impl Capabilities {
            /// Whether the engine has `capability`.
            #[must_use]
            pub const fn has(&self, capability: Capability) -> bool {
                match capability { $(Capability::$variant => self.$field,)+ }
            }

            /// Sets one capability.
            pub fn set(&mut self, capability: Capability, value: bool) {
                match capability { $(Capability::$variant => self.$field = value,)+ }
            }

            /// All capabilities true; limits zero. The reference engine begins with this.
            #[must_use]
            pub fn all() -> Self {
                Capabilities { $($field: true,)+ jobs_kept_seconds: 0, jobs_kept_max: 0 }
            }
        }
    };
}

capabilities! {
    /// Containers can be created and deleted.
    create = Create, "creating and deleting containers";
    /// Running containers can be restarted in one call.
    restart = Restart, "restarting containers";
    /// A signal can be sent to the container's main process.
    kill = Kill, "sending signals to containers";
    /// All processes of a container can be frozen and unfrozen.
    freeze = Freeze, "freezing containers";
    /// A container can be given another name.
    rename = Rename, "renaming containers";
    /// Limits and restart policy of an existing container can be changed.
    update = Update, "updating containers";
    /// The end of a container can be waited for.
    wait = Wait, "waiting for containers";
    /// The exit code of a container's main process is told.
    exit_codes = ExitCodes, "exit codes of containers";
    /// A container's file system can become an image.
    commit = Commit, "committing containers to images";
    /// A container's file system can be read as one tar stream.
    export = Export, "exporting containers";
    /// Whole containers can be copied by the engine itself, on one node or between nodes that have a way in common.
    copy = Copy, "copying containers by the engine itself";
    /// Files can be copied into and out of a container as tar streams.
    files = Files, "copying files into and out of containers";
    /// The state of a container can be kept under a name, and brought back.
    snapshots = Snapshots, "snapshots of containers";
    /// Snapshots can hold the running processes, too.
    snapshots_stateful = SnapshotsStateful, "snapshots with running processes";
    /// Snapshots can be deleted by the engine when their time is over.
    snapshots_expire = SnapshotsExpire, "snapshots that expire";
    /// A whole container can be read as one archive, and made again from it.
    backups = Backups, "backups of containers";
    /// Files that are copied out bear their owners and groups; otherwise they all seem to belong to root.
    file_owners = FileOwners, "telling the owners of files that are copied out";
    /// Files that are exported or copied out bear all their extended attributes; otherwise their kernel capabilities alone.
    file_attributes = FileAttributes, "telling the extended attributes of files";
    /// The output of the main process is kept and can be read.
    logs = Logs, "container logs";
    /// Standard output and standard error are told apart in logs.
    logs_split = LogsSplit, "telling stdout and stderr of logs apart";
    /// Records of logs have times, and can be chosen by them.
    log_times = LogTimes, "times in logs";
    /// The terminal or the streams of the main process can be attached to.
    attach = Attach, "attaching to containers";
    /// Resource use is given as numbers.
    stats = Stats, "container statistics";
    /// Processes of a container are listed as typed values.
    processes = Processes, "listing processes of containers";
    /// What the machine is: processors, disks, interfaces, system.
    host = Host, "facts of the machine";
    /// What all running containers use, in one answer.
    usage = Usage, "usage of all containers";
    /// What the machine itself uses.
    usage_machine = UsageMachine, "usage of the machine";
    /// What was used before is kept and can be read.
    usage_history = UsageHistory, "usage of the past";
    /// Processes of all containers are listed in one answer.
    node_processes = NodeProcesses, "listing processes of the node";
    /// Open files and connections of processes are told.
    process_files = ProcessFiles, "open files and connections of processes";
    /// Commands run inside a container as jobs.
    jobs = Jobs, "running jobs in containers";
    /// Jobs take standard input.
    job_stdin = JobStdin, "standard input of jobs";
    /// Jobs can have a terminal, which can be resized.
    job_tty = JobTty, "terminals for jobs";
    /// Jobs can be sent signals.
    job_kill = JobKill, "sending signals to jobs";
    /// Output is bytes of any kind; otherwise what is no UTF-8 text arrives as U+FFFD.
    output_bytes = OutputBytes, "output that is no UTF-8 text";
    /// Processes, of containers and of jobs, can run as a user of choice.
    users = Users, "running processes as another user";
    /// Commands run on the node itself as jobs.
    node_jobs = NodeJobs, "running jobs on the node itself";
    /// Images can be listed, inspected, tagged and deleted.
    images = Images, "images";
    /// Images can be pulled from a registry.
    image_pull = ImagePull, "pulling images";
    /// A root file system tar becomes an image.
    image_import = ImageImport, "importing root file systems as images";
    /// Images can be saved to and loaded from an archive.
    image_archive = ImageArchive, "saving and loading image archives";
    /// Networks can be listed, inspected, created and deleted.
    networks = Networks, "networks";
    /// Containers on one network reach each other by name.
    network_names = NetworkNames, "names of containers on networks";
    /// Volumes can be listed, inspected, created and deleted.
    volumes = Volumes, "volumes";
    /// The node can be a member of a pool of the engine's own: a cluster, a swarm.
    pools = Pools, "pools of the engine's own";
    /// Changes arrive as a stream of events.
    events = Events, "events";
    /// The event stream can begin in the past.
    events_since = EventsSince, "events of the past";
    /// Memory limits take effect.
    limit_memory = LimitMemory, "memory limits";
    /// Swap limits take effect.
    limit_swap = LimitSwap, "swap limits";
    /// CPU limits (a number of cores) take effect.
    limit_cpu = LimitCpu, "cpu limits";
    /// Limits on the number of processes take effect.
    limit_pids = LimitPids, "limits on the number of processes";
    /// The engine restarts containers by policy.
    restart_policy = RestartPolicy, "restart policies";
    /// The engine checks the health of containers.
    health_check = HealthCheck, "health checks";
    /// Ports of a container can be published on the node.
    ports = Ports, "published ports";
    /// Directories of the node and volumes can be mounted.
    mounts = Mounts, "mounts";
    /// What directories of the node that are mounted hold is read in containers that do not run, too.
    binds_at_rest = BindsAtRest, "reading directories of the node that are mounted in containers that do not run";
    /// Containers can be privileged, and can be given or denied single kernel capabilities.
    privileges = Privileges, "changing the privileges of containers";
}

impl Capabilities {
    /// `Ok` when the engine has `capability`, otherwise [`crate::ErrorKind::Unsupported`].
    ///
    /// Engines call this before they send anything, which is how an unsupported call changes nothing.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Unsupported`].
    pub fn require(&self, capability: Capability) -> Result<()> {
        if self.has(capability) {
            Ok(())
        } else {
            Err(Error::unsupported(capability.text()).with_context("capability", capability.name()))
        }
    }

    /// The same for a capability that one member of the caller's input asks for: the error names it.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Unsupported`] with `field`.
    pub fn require_for(&self, field: &str, capability: Capability) -> Result<()> {
        if self.has(capability) {
            Ok(())
        } else {
            Err(Error::unsupported_field(field, capability.text()).with_context("capability", capability.name()))
        }
    }

    /// Every capability with its value, for tables.
    pub fn iter(&self) -> impl Iterator<Item = (Capability, bool)> + '_ {
        Capability::ALL.iter().map(|capability| (*capability, self.has(*capability)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_names_and_enum_names_are_the_same_set() {
        let json = serde_json::to_value(Capabilities::all()).unwrap();
        let members = json.as_object().unwrap();
        for capability in Capability::ALL {
            assert_eq!(members.get(capability.name()), Some(&true.into()), "{capability:?}");
            assert_eq!(serde_json::to_value(capability).unwrap(), capability.name());
        }
        assert_eq!(members.len(), Capability::ALL.len() + 2);
    }

    #[test]
    fn what_is_missing_is_refused_by_name() {
        let mut capabilities = Capabilities::all();
        capabilities.set(Capability::Freeze, false);
        let error = capabilities.require(Capability::Freeze).unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::Unsupported);
        assert!(error.to_string().contains("freezing"));
        assert!(capabilities.require(Capability::Kill).is_ok());
    }
}
