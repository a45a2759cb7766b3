//! Containers.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use roadstead_core::{
    AttachOptions, BackupOptions, CommitOptions, Container as CoreContainer, ContainerSummary, ContainerUpdate,
    CopyInOptions, CreatedContainer, DeleteOptions, Error, JobSpec, LogOptions, Signal, SnapshotOptions, StopOptions,
    TerminalSize, WaitFor,
};
use serde_json::{Map, Value, json};

use crate::archives::Archived;
use crate::attachment::Attached;
use crate::error::raised;
use crate::give::{Give, Plain, moment};
use crate::given::{Given, maybe};
use crate::job::{Begun, WAIT_MAX, signal};
use crate::session::{Of, twins};
use crate::sources::archive;
use crate::streams::Streamed;
use crate::take;

/// A container of a node. Making one asks nobody: whether it exists, its first call tells.
///
/// What its calls raise beside what each of them says: `NotFoundError` when there is no such container, `UnavailableError` when the engine
/// does not answer, `DeadlineExceededError` when it does not in time (30 seconds for each question that reads, two minutes for each that
/// changes something, an hour for archives), and `ConflictError` when the connection was closed.
///
/// >>> import roadstead
/// >>> with roadstead.connect("memory:") as node:
/// ...     web = node.create_container("roadstead/busybox:latest", name="web", command=["sleep", "60"])
/// ...     web.start()
/// ...     print(web.inspect().state)
/// running
#[pyclass(frozen, subclass, module = "roadstead", name = "Container")]
#[derive(Debug)]
pub(crate) struct Container(Of<Arc<dyn CoreContainer>>);

/// A container of a node: `roadstead.Container`, whose calls are awaited.
///
/// >>> import asyncio
/// >>> from roadstead import aio
/// >>> async def main():
/// ...     async with aio.connect("memory:") as node:
/// ...         web = await node.create_container("roadstead/busybox:latest", name="web", command=["sleep", "60"])
/// ...         await web.start()
/// ...         print((await web.inspect()).state)
/// >>> asyncio.run(main())
/// running
#[pyclass(frozen, subclass, module = "roadstead.aio", name = "Container")]
#[derive(Debug)]
pub(crate) struct AioContainer(Of<Arc<dyn CoreContainer>>);

/// A container that is to be handed out.
pub(crate) fn handle(py: Python<'_>, of: Of<Arc<dyn CoreContainer>>) -> PyResult<Py<PyAny>> {
    Ok(if of.awaited { Py::new(py, AioContainer(of))?.into_any() } else { Py::new(py, Container(of))?.into_any() })
}

macro_rules! listed {
    ($name:ident, $class:literal, $base:ident, $base_name:literal, $module:literal) => {
        /// A container as it stood in a list.
        #[pyclass(frozen, module = $module, name = "ListedContainer", extends = $base)]
        #[derive(Debug)]
        pub(crate) struct $name {
            summary: Arc<ContainerSummary>,
        }

        #[pymethods]
        impl $name {
            /// What the list showed of it.
            #[getter]
            fn summary(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
                Plain(&*self.summary).give(py)
            }

            /// Its name.
            #[getter]
            fn name(&self) -> &str {
                &self.summary.name
            }

            /// The name of its node.
            #[getter]
            fn node(&self) -> &str {
                &self.summary.node
            }

            /// The image as it was asked for.
            #[getter]
            fn image(&self) -> &str {
                &self.summary.image
            }

            /// Its state when it was listed.
            #[getter]
            fn state(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
                Plain(self.summary.state).give(py)
            }

            /// Its labels when it was listed.
            #[getter]
            fn labels(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
                Plain(&self.summary.labels).give(py)
            }

            /// When it was created, if told.
            #[getter]
            fn created_at<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
                self.summary.created_at.map(|time| moment(py, time)).transpose()
            }

            fn __repr__(&self) -> String {
                let ContainerSummary { id, name, state, .. } = &*self.summary;
                format!("ListedContainer(id={id:?}, name={name:?}, state={:?})", state.name()).replace('"', "'")
            }
        }
    };
}
listed!(ListedContainer, "ListedContainer", Container, "Container", "roadstead");
listed!(AioListedContainer, "ListedContainer", AioContainer, "Container", "roadstead.aio");

macro_rules! created {
    ($name:ident, $base:ident, $module:literal) => {
        /// A container that was just made.
        #[pyclass(frozen, module = $module, name = "CreatedContainer", extends = $base)]
        #[derive(Debug)]
        pub(crate) struct $name {
            created: CreatedContainer,
        }

        #[pymethods]
        impl $name {
            /// Its name, which the engine made up if none was given.
            #[getter]
            fn name(&self) -> &str {
                &self.created.name
            }

            /// What the engine did not do as asked.
            #[getter]
            fn warnings<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
                PyList::new(py, &self.created.warnings)
            }

            fn __repr__(&self) -> String {
                let CreatedContainer { id, name, .. } = &self.created;
                format!("CreatedContainer(id={id:?}, name={name:?})").replace('"', "'")
            }
        }
    };
}
created!(NewContainer, Container, "roadstead");
created!(AioNewContainer, AioContainer, "roadstead.aio");

/// A container of a list that is to be handed out.
pub(crate) struct Listed(pub(crate) Of<Arc<dyn CoreContainer>>, pub(crate) ContainerSummary);

impl Give for Listed {
    fn give(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let Listed(of, summary) = self;
        let summary = Arc::new(summary);
        Ok(if of.awaited {
            let made = PyClassInitializer::from(AioContainer(of)).add_subclass(AioListedContainer { summary });
            Py::new(py, made)?.into_any()
        } else {
            let made = PyClassInitializer::from(Container(of)).add_subclass(ListedContainer { summary });
            Py::new(py, made)?.into_any()
        })
    }
}

/// A container that was made and is to be handed out.
pub(crate) struct Created(pub(crate) Of<Arc<dyn CoreContainer>>, pub(crate) CreatedContainer);

impl Give for Created {
    fn give(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let Created(of, created) = self;
        Ok(if of.awaited {
            let made = PyClassInitializer::from(AioContainer(of)).add_subclass(AioNewContainer { created });
            Py::new(py, made)?.into_any()
        } else {
            Py::new(py, PyClassInitializer::from(Container(of)).add_subclass(NewContainer { created }))?.into_any()
        })
    }
}

/// A job's specification, of a command and keyword arguments.
pub(crate) fn job_spec(command: &Bound<'_, PyAny>, options: Option<&Bound<'_, PyDict>>) -> PyResult<JobSpec> {
    let mut fields = take::fields(options)?;
    fields.insert("command".to_owned(), take::list(command, "command")?);
    take::of_fields(command.py(), fields)
}

fn members(members: impl IntoIterator<Item = (&'static str, Value)>) -> Map<String, Value> {
    members.into_iter().filter(|(_, value)| !value.is_null()).map(|(name, value)| (name.to_owned(), value)).collect()
}

impl Container {
    fn of(&self) -> &Of<Arc<dyn CoreContainer>> {
        &self.0
    }
}

impl AioContainer {
    fn of(&self) -> &Of<Arc<dyn CoreContainer>> {
        &self.0
    }
}

macro_rules! own {
    ($($class:ident),*) => {$(
        #[pymethods]
        impl $class {
            /// The id or name by which it is asked for.
            #[getter]
            fn id(&self) -> &str {
                self.0.noun.id()
            }

            fn __repr__(&self) -> String {
                format!("Container({:?})", self.0.noun.id()).replace('"', "'")
            }
        }
    )*};
}
own!(Container, AioContainer);

twins! { Container, AioContainer {
    /// Everything that the engine tells of it.
    ///
    /// Raises `UnavailableError` when the engine does not answer.
    ///
    /// >>> details = web.inspect()
    /// >>> details.name, details.state.value, details.spec.command
    /// ('web', 'running', ['sh', '-c', 'echo hello; sleep 60'])
    fn inspect(&self, py) {
        let container = Arc::clone(&self.of().noun);
        async move { container.inspect().await.map(Plain) }
    }

    /// Starts its main process; starting one that runs does nothing.
    ///
    /// Raises `ConflictError` when it is frozen, and `InvalidInputError` when its command does not exist.
    ///
    /// >>> made = node.create_container("roadstead/busybox:latest", command=["sleep", "60"])
    /// >>> made.start()
    /// >>> made.inspect().state.value
    /// 'running'
    fn start(&self, py) {
        let container = Arc::clone(&self.of().noun);
        async move { container.start().await }
    }

    /// Asks its main process to end, and kills it after `timeout` whole seconds; the engine's own time when none is given.
    ///
    /// Raises `ConflictError` when it is frozen and the engine cannot stop it so, and `InvalidInputError` for a time that is too long.
    ///
    /// >>> web.stop(timeout=5)
    /// >>> web.inspect().state.value
    /// 'stopped'
    #[pyo3(signature = (*, timeout = None))]
    fn stop(&self, py; timeout: Option<Given<u32>>) {
        let (container, options) = (Arc::clone(&self.of().noun), stop_options(py, timeout, "timeout")?);
        async move { container.stop(&options).await }
    }

    /// Stops it if it runs, as `stop` does, and starts it.
    ///
    /// Raises `UnsupportedError` where the engine cannot, and `InvalidInputError` for a time that is too long.
    ///
    /// >>> web.restart(timeout=5)
    /// >>> web.inspect().state.value
    /// 'running'
    #[pyo3(signature = (*, timeout = None))]
    fn restart(&self, py; timeout: Option<Given<u32>>) {
        let (container, options) = (Arc::clone(&self.of().noun), stop_options(py, timeout, "timeout")?);
        async move { container.restart(&options).await }
    }

    /// Sends a signal to its main process, by name or number; SIGKILL when none is given.
    ///
    /// Raises `ConflictError` when it does not run.
    ///
    /// >>> web.kill("SIGUSR1")
    /// >>> web.kill(9)
    /// >>> web.wait(timeout=10).exit_code
    /// 137
    #[pyo3(signature = (signal = None))]
    fn kill(&self, py; signal: Option<&Bound<'_, PyAny>>) {
        let signal = signal.map(self::signal).transpose()?.unwrap_or(Signal::KILL);
        let container = Arc::clone(&self.of().noun);
        async move { container.kill(signal).await }
    }

    /// Stops all its processes in place.
    ///
    /// Raises `ConflictError` when it does not run, and `UnsupportedError` where the engine cannot.
    ///
    /// >>> web.freeze()
    /// >>> web.inspect().state.value
    /// 'frozen'
    fn freeze(&self, py) {
        let container = Arc::clone(&self.of().noun);
        async move { container.freeze().await }
    }

    /// Lets all its processes go on.
    ///
    /// One that is not frozen stays as it is. Raises `UnsupportedError` where the engine cannot.
    ///
    /// >>> web.freeze()
    /// >>> web.unfreeze()
    /// >>> web.inspect().state.value
    /// 'running'
    fn unfreeze(&self, py) {
        let container = Arc::clone(&self.of().noun);
        async move { container.unfreeze().await }
    }

    /// Gives it another name.
    ///
    /// Raises `AlreadyExistsError` when the name is taken, `InvalidInputError` for one that is no name there, and `ConflictError` where the
    /// engine renames only what is stopped.
    ///
    /// >>> web.rename("site")
    /// >>> [container.name for container in node.containers()]
    /// ['site']
    fn rename(&self, py; name: &Bound<'_, PyAny>) {
        let (container, name) = (Arc::clone(&self.of().noun), take::text(name, "name")?);
        async move { container.rename(&name).await }
    }

    /// Changes limits and restart policy; what is not given stays as it is. `hold` keeps an engine from starting it.
    ///
    /// Raises `InvalidInputError` for values that make no sense, and `UnsupportedError` for what the engine cannot limit.
    ///
    /// >>> web.update(limits=roadstead.Limits(memory_bytes=64 * 2**20), restart="always")
    /// >>> web.inspect().spec.limits.memory_bytes
    /// 67108864
    #[pyo3(signature = (*, limits = None, restart = None, hold = None))]
    fn update(&self, py; limits: Option<&Bound<'_, PyAny>>, restart: Option<&Bound<'_, PyAny>>, hold: Option<bool>) {
        let mut changes = ContainerUpdate::default();
        if let Some(limits) = limits {
            changes.limits = take::data(limits, "limits")?;
        }
        changes.restart = restart.map(take::restart).transpose()?;
        changes.hold = hold;
        let container = Arc::clone(&self.of().noun);
        async move { container.update(&changes).await }
    }

    /// Deletes it; with `force` also one that runs, and with `volumes` its anonymous volumes, too.
    ///
    /// Raises `ConflictError` when it runs and `force` is not set.
    ///
    /// >>> web.delete(force=True)
    /// >>> node.containers()
    /// []
    #[pyo3(signature = (*, force = false, volumes = false))]
    fn delete(&self, py; force: bool, volumes: bool) {
        let mut options = DeleteOptions::default();
        (options.force, options.volumes) = (force, volumes);
        let container = Arc::clone(&self.of().noun);
        async move { container.delete(&options).await }
    }

    /// Waits until it is as `condition` says ("stopped", "next_end" or "deleted"), at most `timeout` seconds (at most a day).
    ///
    /// Raises `DeadlineExceededError` when the time is over; the container is not touched.
    ///
    /// >>> web.kill()
    /// >>> web.wait(timeout=10).exit_code
    /// 137
    #[pyo3(
        signature = (*, timeout = 60.0, condition = Given::of("stopped")),
        text_signature = "($self, *, timeout=60.0, condition='stopped')"
    )]
    fn wait(&self, py; #[pyo3(from_py_with = take::number)] timeout: f64, condition: Given<String>) {
        let deadline = take::seconds(py, timeout, "timeout", WAIT_MAX)?;
        let condition: WaitFor = take::word(py, condition, "condition")?;
        let container = Arc::clone(&self.of().noun);
        async move { container.wait(condition, deadline).await.map(Plain) }
    }

    /// Makes an image of its file system, and gives the image's id. With `freeze` it is frozen meanwhile, where the engine can.
    ///
    /// Raises `UnsupportedError` where the engine cannot, and `InvalidInputError` for a reference that is none.
    ///
    /// >>> image = web.commit("roadstead/site:latest", message="as it is now")
    /// >>> node.inspect_image(image).references
    /// ['roadstead/site:latest']
    #[pyo3(signature = (image, *, message = None, author = None, freeze = None))]
    fn commit(
        &self, py; image: &Bound<'_, PyAny>, message: Option<Given<String>>,
        author: Option<Given<String>>, freeze: Option<bool>
    ) {
        let fields = members([
            ("image", take::text(image, "image")?.into()),
            ("message", json!(maybe(py, message, "message")?)),
            ("author", json!(maybe(py, author, "author")?)),
            ("freeze", json!(freeze)),
        ]);
        let (container, options) = (Arc::clone(&self.of().noun), take::of_fields::<CommitOptions>(py, fields)?);
        async move { container.commit(&options).await }
    }

    /// Its file system as one tar archive, without mounts.
    ///
    /// Raises `UnsupportedError` where the engine cannot; what breaks it off raises while it is read.
    ///
    /// >>> archive = web.export().read()
    /// >>> len(archive) % 512
    /// 0
    fn export(&self, py) {
        let of = self.of().clone();
        async move { Ok(Archived(of.with(of.noun.export().await?))) }
    }

    /// Its snapshots, oldest first.
    ///
    /// Raises `UnsupportedError` where the engine has none.
    ///
    /// >>> snapshot = web.create_snapshot("before")
    /// >>> [snapshot.name for snapshot in web.snapshots()]
    /// ['before']
    fn snapshots(&self, py) {
        let container = Arc::clone(&self.of().noun);
        async move { container.snapshots().await.map(Plain) }
    }

    /// Keeps its state under a name: files and configuration, without mounts.
    ///
    /// Raises `AlreadyExistsError` when it has a snapshot of this name.
    ///
    /// >>> web.create_snapshot("before").name
    /// 'before'
    #[pyo3(signature = (name, *, stateful = false, expires_at = None))]
    fn create_snapshot(&self, py; name: &Bound<'_, PyAny>, stateful: bool, expires_at: Option<&Bound<'_, PyAny>>) {
        let mut options = SnapshotOptions::new(take::text(name, "name")?);
        options.stateful = stateful;
        options.expires_at = take::maybe_time(expires_at, "expires_at")?;
        let container = Arc::clone(&self.of().noun);
        async move { container.create_snapshot(&options).await.map(Plain) }
    }

    /// Brings it back to a snapshot, which stays.
    ///
    /// Raises `NotFoundError` when there is no such snapshot.
    ///
    /// >>> snapshot = web.create_snapshot("before")
    /// >>> web.run(["touch", "/new"]).wait(timeout=10).exit_code
    /// 0
    /// >>> web.stop(timeout=0)
    /// >>> web.restore_snapshot("before")
    /// >>> web.copy_out("/new")
    /// Traceback (most recent call last):
    /// ...
    /// roadstead.NotFoundError: ...
    fn restore_snapshot(&self, py; name: &Bound<'_, PyAny>) {
        let (container, name) = (Arc::clone(&self.of().noun), take::text(name, "name")?);
        async move { container.restore_snapshot(&name).await }
    }

    /// Deletes a snapshot.
    ///
    /// Raises `NotFoundError` when there is no such snapshot.
    ///
    /// >>> snapshot = web.create_snapshot("before")
    /// >>> web.delete_snapshot("before")
    /// >>> web.snapshots()
    /// []
    fn delete_snapshot(&self, py; name: &Bound<'_, PyAny>) {
        let (container, name) = (Arc::clone(&self.of().noun), take::text(name, "name")?);
        async move { container.delete_snapshot(&name).await }
    }

    /// All of it as one archive in the engine's own format. `Node.restore_container` makes a container of it.
    ///
    /// Raises `UnsupportedError` where the engine cannot; what breaks it off raises while it is read.
    ///
    /// >>> restored = other.restore_container(web.backup(), name="copy")
    /// >>> restored.inspect().name
    /// 'copy'
    #[pyo3(signature = (*, snapshots = true))]
    fn backup(&self, py; snapshots: bool) {
        let of = self.of().clone();
        let options = if snapshots { BackupOptions::default() } else { BackupOptions::without_snapshots() };
        async move { Ok(Archived(of.with(of.noun.backup(&options).await?))) }
    }

    /// A file or directory of it as a tar archive; the entries begin with the last part of `path`.
    ///
    /// Raises `NotFoundError` when there is no such file; what breaks it off raises while it is read.
    ///
    /// >>> import io, tarfile
    /// >>> archive = tarfile.open(fileobj=io.BytesIO(web.copy_out("/bin/sh").read()))
    /// >>> archive.getnames()
    /// ['sh']
    fn copy_out(&self, py; path: &Bound<'_, PyAny>) {
        let (of, path) = (self.of().clone(), take::path(path, "path")?);
        async move { Ok(Archived(of.with(of.noun.copy_out(&path).await?))) }
    }

    /// Unpacks a tar archive into the directory `path`: bytes, a path of this machine, an open file, or an iterable of bytes.
    ///
    /// Raises `NotFoundError` when there is no such directory, `InvalidInputError` for what is no archive, and what the given object itself
    /// raises.
    ///
    /// An archive that the package gives is handed on as it arrives. On Docker a container whose `copy_out` is not read to its end does
    /// nothing else meanwhile, so that is for another container, or read before.
    ///
    /// >>> made = other.create_container("roadstead/busybox:latest", command=["sleep", "60"])
    /// >>> made.copy_in("/tmp", web.copy_out("/bin/sh"))
    #[pyo3(signature = (path, archive, *, no_overwrite_dir_with_file = false))]
    fn copy_in(&self, py; path: &Bound<'_, PyAny>, archive: &Bound<'_, PyAny>, no_overwrite_dir_with_file: bool) {
        let (path, archive) = (take::path(path, "path")?, self::archive(archive, "archive")?);
        let mut options = CopyInOptions::default();
        options.no_overwrite_dir_with_file = no_overwrite_dir_with_file;
        let container = Arc::clone(&self.of().noun);
        async move { archive.taken(|bytes| container.copy_in(&path, bytes, &options)).await }
    }

    /// The kept output of its main process, and with `follow` also what comes until it ends.
    ///
    /// Raises `InvalidInputError` when neither stream is asked for, and `UnsupportedError` where the engine keeps none; what breaks it off
    /// raises while it is read.
    ///
    /// >>> with web.logs(follow=True) as records:
    /// ...     print(next(records).data)
    /// b'hello\n'
    #[pyo3(signature = (*, stdout = true, stderr = true, follow = false, tail = None, since = None, until = None, timestamps = false))]
    fn logs(
        &self, py; stdout: bool, stderr: bool, follow: bool, tail: Option<Given<u64>>,
        since: Option<&Bound<'_, PyAny>>, until: Option<&Bound<'_, PyAny>>, timestamps: bool
    ) {
        let mut options = LogOptions::default();
        (options.stdout, options.stderr, options.follow) = (stdout, stderr, follow);
        options.tail = maybe(py, tail, "tail")?;
        (options.since, options.until) = (take::maybe_time(since, "since")?, take::maybe_time(until, "until")?);
        options.timestamps = timestamps;
        let of = self.of().clone();
        async move {
            Ok(Streamed(of.with(of.noun.logs(&options).await?)))
        }
    }

    /// Connects to the streams of its main process.
    ///
    /// Raises `UnsupportedError` where the engine cannot; some attach to what does not run yet, others raise `ConflictError`.
    ///
    /// >>> attached = web.attach(logs=True)
    /// >>> next(attached.output).data
    /// b'hello\n'
    #[pyo3(signature = (*, stdin = false, stdout = true, stderr = true, logs = false))]
    fn attach(&self, py; stdin: bool, stdout: bool, stderr: bool, logs: bool) {
        let mut options = AttachOptions::default();
        (options.stdin, options.stdout, options.stderr, options.logs) = (stdin, stdout, stderr, logs);
        let of = self.of().clone();
        async move {
            let attached = of.noun.attach(&options).await?;
            Ok(Attached::new(&of, attached))
        }
    }

    /// Sets the size of its main process's terminal.
    ///
    /// Raises `ConflictError` when it has no terminal.
    ///
    /// >>> made = node.create_container("roadstead/busybox:latest", command=["sleep", "60"], tty=True)
    /// >>> made.start()
    /// >>> made.resize(120, 40)
    fn resize(&self, py; columns: Given<u16>, rows: Given<u16>) {
        let size = TerminalSize { columns: columns.named(py, "columns")?, rows: rows.named(py, "rows")? };
        let container = Arc::clone(&self.of().noun);
        async move { container.resize(size).await }
    }

    /// What it uses at this moment.
    ///
    /// Raises `ConflictError` when it does not run.
    ///
    /// >>> web.stats().memory.usage_bytes > 0
    /// True
    fn stats(&self, py) {
        let container = Arc::clone(&self.of().noun);
        async move { container.stats().await.map(Plain) }
    }

    /// Its processes, by ascending pid as the node counts.
    ///
    /// Raises `ConflictError` when it does not run.
    ///
    /// >>> web.processes()[0].cmdline
    /// ['sh', '-c', 'echo hello; sleep 60']
    fn processes(&self, py) {
        let container = Arc::clone(&self.of().noun);
        async move { container.processes().await.map(Plain) }
    }

    /// Runs a command inside it, and gives the job at once. Keywords: `env` (a mapping), `working_directory`, `user` ("1000:1000" or a
    /// name), `stdin` (whether it can be written to), `tty` and `terminal_size` (`{"columns": 80, "rows": 24}`), `privileged`,
    /// `timeout_seconds` (it is killed when it takes longer), `tags` (texts that are kept with it).
    ///
    /// Raises `ConflictError` when it does not run.
    ///
    /// >>> job = web.run(["sh", "-c", "echo $WHO; exit 3"], env={"WHO": "me"})
    /// >>> job.wait(timeout=10).exit_code, job.output()
    /// (3, b'me\n')
    #[pyo3(signature = (command, **options))]
    fn run(&self, py; command: &Bound<'_, PyAny>, options: Option<&Bound<'_, PyDict>>) {
        let (of, spec) = (self.of().clone(), job_spec(command, options)?);
        async move { Ok(Begun(of.with(of.noun.run(&spec).await?))) }
    }

    /// The jobs of it that are known, oldest first.
    ///
    /// Raises `NotFoundError` when there is no such container.
    ///
    /// >>> job = web.run(["true"])
    /// >>> [one.id == job.id for one in web.jobs()]
    /// [True]
    fn jobs(&self, py) {
        let container = Arc::clone(&self.of().noun);
        async move { container.jobs().await.map(Plain) }
    }
}}

/// How to stop, after the argument that is called `what`.
pub(crate) fn stop_options(py: Python<'_>, timeout: Option<Given<u32>>, what: &str) -> PyResult<StopOptions> {
    let Some(seconds) = maybe(py, timeout, what)? else { return Ok(StopOptions::default()) };
    // The library looks at it, too, but has another name for it.
    if seconds > StopOptions::TIMEOUT_MAX_SECONDS {
        let words = format!("must be from 0 to {} seconds, and is {seconds}", StopOptions::TIMEOUT_MAX_SECONDS);
        return Err(raised(py, &Error::invalid(what, words)));
    }
    Ok(StopOptions::after_seconds(seconds))
}
