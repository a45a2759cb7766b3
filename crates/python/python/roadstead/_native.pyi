# The native half of the package. Written by tools/stubs.py from tools/native.pyi.in: change that, not this.
#
# Classes whose name begins with Aio are those of roadstead.aio: the same, awaited.

import os
import signal as signals
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from datetime import datetime
from types import GenericAlias
from typing import Any, Generic, Literal, Protocol, TypeVar, final, overload, type_check_only

from typing_extensions import Self, TypedDict, Unpack

from . import _models as m
from . import _types as t

_T = TypeVar("_T")
_T_co = TypeVar("_T_co", covariant=True)
# Awaited, or made a task of.
_Call = Coroutine[Any, Any, _T]
_Path = str | os.PathLike[str]
_Signal = str | int | signals.Signals
_StateWord = Literal["created", "running", "frozen", "restarting", "stopping", "stopped", "failed", "unknown"]
_State = m.ContainerState | _StateWord
_Restart = m.RestartPolicy | Literal["never", "always", "unless_stopped", "on_failure"]
_Labels = Mapping[str, str | None]
_Timeout = float

@type_check_only
class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...

_Bytes = bytes | bytearray | memoryview

@type_check_only
class _JobOptions(TypedDict, total=False):
    env: Mapping[str, str] | None
    working_directory: _Path | None
    user: str | None
    tty: bool
    terminal_size: Mapping[str, int] | None
    stdin: bool
    privileged: bool
    timeout_seconds: int | None
    tags: Sequence[str] | None

@type_check_only
class _SpecFields(TypedDict, total=False):
    name: str | None
    entrypoint: Sequence[str] | None
    command: Sequence[str] | None
    env: Mapping[str, str] | None
    working_directory: _Path | None
    user: str | None
    hostname: str | None
    labels: Mapping[str, str] | None
    mounts: Sequence[m.Mount | Mapping[str, Any]] | None
    ports: Sequence[m.PortMapping | Mapping[str, Any]] | None
    networks: Sequence[m.NetworkAttachment | Mapping[str, Any]] | None
    dns: m.Dns | Mapping[str, Any] | None
    limits: m.Limits | Mapping[str, Any] | None
    restart: _Restart | Mapping[str, Any] | None
    health_check: m.HealthCheck | Mapping[str, Any] | None
    capabilities_add: Sequence[str] | None
    capabilities_drop: Sequence[str] | None
    privileged: bool
    read_only_root: bool
    init: bool
    tty: bool
    stdin: bool
    stop_signal: str | None
    stop_timeout_seconds: int | None

@type_check_only
class _NetworkFields(TypedDict, total=False):
    driver: str | None
    internal: bool
    subnets: Sequence[m.Subnet | Mapping[str, Any]] | None
    labels: Mapping[str, str] | None
    options: Mapping[str, str] | None

@type_check_only
class _VolumeFields(TypedDict, total=False):
    driver: str | None
    labels: Mapping[str, str] | None
    options: Mapping[str, str] | None

__version__: str

@final
class Stream(Generic[_T_co]):
    """Items as they arrive. It is an iterator, and a context manager that ends it. Iterating waits for as long as it is open; `next` waits for
    a time. What breaks it off raises once all that came before was taken.

    >>> import roadstead
    >>> with roadstead.connect("memory:") as node, node.events() as events:
    ...     web = node.create_container("roadstead/busybox:latest", name="web")
    ...     print(next(events).action)
    created
    """
    def __iter__(self) -> Self: ...
    def __next__(self) -> _T_co: ...
    def next(self, *, timeout: _Timeout = 60.0) -> _T_co | None:
        """The next item, waited for at most `timeout` seconds (at most a day); None when the stream has ended.

        Raises `DeadlineExceededError` when nothing came in time; the stream goes on, and nothing of it is lost.

        >>> with node.events() as events:
        ...     web.rename("site")
        ...     events.next(timeout=10).action.value
        'renamed'
        """
    def __enter__(self) -> Self: ...
    def __exit__(self, *_exception: object) -> None: ...
    def close(self) -> None:
        """Ends it. What had arrived and was not taken is dropped; ending it twice does nothing."""
    def __class_getitem__(cls, key: Any) -> GenericAlias: ...

@final
class AioStream(Generic[_T_co]):
    """Items as they arrive: an asynchronous iterator, and an asynchronous context manager that ends it.

    >>> import asyncio
    >>> from roadstead import aio
    >>> async def main():
    ...     async with aio.connect("memory:") as node, await node.events() as events:
    ...         web = await node.create_container("roadstead/busybox:latest", name="web")
    ...         async for event in events:
    ...             print(event.action)
    ...             break
    >>> asyncio.run(main())
    created
    """
    def __aiter__(self) -> Self: ...
    def __anext__(self) -> _Call[_T_co]: ...
    def next(self, *, timeout: _Timeout = 60.0) -> _Call[_T_co | None]:
        """The next item, waited for at most `timeout` seconds (at most a day); None when the stream has ended.

        Raises `DeadlineExceededError` when nothing came in time; the stream goes on, and nothing of it is lost.

        >>> with node.events() as events:
        ...     web.rename("site")
        ...     events.next(timeout=10).action.value
        'renamed'
        """
    def __aenter__(self) -> _Call[Self]: ...
    def __aexit__(self, *_exception: object) -> _Call[None]: ...
    def aclose(self) -> _Call[None]:
        """Ends it. What had arrived and was not taken is dropped; ending it twice does nothing."""
    def __class_getitem__(cls, key: Any) -> GenericAlias: ...

@final
class ByteStream:
    """The bytes of an archive as they arrive: to be iterated over, read as a whole or saved. It is a context manager that ends it.

    >>> import roadstead
    >>> with roadstead.connect("memory:") as node:
    ...     web = node.create_container("roadstead/busybox:latest")
    ...     with web.copy_out("/bin/sh") as archive:
    ...         print(sum(map(len, archive)) % 512)
    0
    """
    def __iter__(self) -> Self: ...
    def __next__(self) -> bytes: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *_exception: object) -> None: ...
    def close(self) -> None:
        """Ends it."""
    def read(self, size: int = -1) -> bytes:
        """At most `size` bytes of it, none only at its end; all that is left, in memory, when `size` is negative or not given. So it can be
        read by what takes an open file, such as `tarfile.open(fileobj=…, mode="r|")`.

        Raises what breaks it off, also again, and `ConflictError` when it is closed meanwhile, or when a part of it was taken by a call
        that did not come to its end, such as a `save` that was cancelled.

        >>> import tarfile
        >>> with tarfile.open(fileobj=web.copy_out("/bin/sh"), mode="r|") as archive:
        ...     archive.getnames()
        ['sh']
        """
    def save(self, path: _Path) -> int:
        """Writes all that is left of it into a new file, and gives the number of bytes. A file that is there is replaced once
        everything has arrived; what breaks off leaves it as it was.

        Raises what breaks it off, `InvalidInputError` when there can be no file at `path`, `UnexpectedError` when it cannot be
        written to its end, and `ConflictError` when it is closed, or a part of it was taken by a call that did not come to its end.

        >>> import pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as directory:
        ...     path = pathlib.Path(directory, "sh.tar")
        ...     web.copy_out("/bin/sh").save(path) == path.stat().st_size
        True
        """

@final
class AioByteStream:
    """The bytes of an archive as they arrive: `roadstead.ByteStream`, whose calls are awaited."""
    def __aiter__(self) -> Self: ...
    def __anext__(self) -> _Call[bytes]: ...
    def __aenter__(self) -> _Call[Self]: ...
    def __aexit__(self, *_exception: object) -> _Call[None]: ...
    def aclose(self) -> _Call[None]:
        """Ends it."""
    def read(self, size: int = -1) -> _Call[bytes]:
        """At most `size` bytes of it, none only at its end; all that is left, in memory, when `size` is negative or not given. So it can be
        read by what takes an open file, such as `tarfile.open(fileobj=…, mode="r|")`.

        Raises what breaks it off, also again, and `ConflictError` when it is closed meanwhile, or when a part of it was taken by a call
        that did not come to its end, such as a `save` that was cancelled.

        >>> import tarfile
        >>> with tarfile.open(fileobj=web.copy_out("/bin/sh"), mode="r|") as archive:
        ...     archive.getnames()
        ['sh']
        """
    def save(self, path: _Path) -> _Call[int]:
        """Writes all that is left of it into a new file, and gives the number of bytes. A file that is there is replaced once
        everything has arrived; what breaks off leaves it as it was.

        Raises what breaks it off, `InvalidInputError` when there can be no file at `path`, `UnexpectedError` when it cannot be
        written to its end, and `ConflictError` when it is closed, or a part of it was taken by a call that did not come to its end.

        >>> import pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as directory:
        ...     path = pathlib.Path(directory, "sh.tar")
        ...     web.copy_out("/bin/sh").save(path) == path.stat().st_size
        True
        """

@final
class Job:
    r"""A command that runs over time and ends. It goes on whoever waits for it.

    What its calls raise beside what each of them says: as those of `Container`.

    >>> import roadstead
    >>> with roadstead.connect("memory:") as node:
    ...     web = node.create_container("roadstead/busybox:latest", command=["sleep", "60"])
    ...     web.start()
    ...     job = web.run(["sh", "-c", "echo hi; exit 3"])
    ...     print(job.wait(timeout=10).exit_code, job.output())
    3 b'hi\n'
    """
    @property
    def id(self) -> str:
        """Its id."""
    def status(self) -> m.JobStatus:
        """What is known of it now.

        Raises `NotFoundError` when it is not kept any more.

        >>> job = web.run(["sleep", "60"])
        >>> job.status().state.value
        'running'
        """
    def wait(self, *, timeout: _Timeout = 60.0) -> m.JobStatus:
        """Waits until it has ended, at most `timeout` seconds (at most a day), and gives its last status.

        Raises `DeadlineExceededError` when the time is over; the job goes on.

        >>> web.run(["sh", "-c", "exit 3"]).wait(timeout=10).exit_code
        3
        """
    def output(self, kind: Literal["stdout", "stderr", "console"] | None = None) -> bytes:
        r"""The bytes that are kept of its output, in order: of one stream ("stdout", "stderr", or "console" where it has a
        terminal), or of all. The last mebibyte is kept, and `status().output_dropped_bytes` tells how much went before it.

        Raises `NotFoundError` when it is not kept any more.

        >>> job = web.run(["sh", "-c", "echo out; echo err >&2"])
        >>> status = job.wait(timeout=10)
        >>> job.output("stderr")
        b'err\n'
        """
    def chunks(self, *, after: int = 0, follow: bool = False) -> Stream[t.OutputChunk]:
        r"""Its output in pieces, each with its number and its stream: those behind number `after`, and with `follow` also what
        comes until it ends. Whoever takes them more slowly than they come misses some, whose numbers are missing then.

        Raises `NotFoundError` when it is not kept any more; what breaks it off raises while it is read.

        >>> job = web.run(["echo", "hello"])
        >>> [chunk.data for chunk in job.chunks(follow=True)]
        [b'hello\n']
        """
    def write_stdin(self, data: _Bytes) -> None:
        """Writes to its standard input, in order.

        Raises `ConflictError` when it has none, it is closed, or the job has ended.

        >>> job = web.run(["cat"], stdin=True)
        >>> job.write_stdin(b"hello")
        >>> job.close_stdin()
        >>> job.wait(timeout=10).exit_code, job.output()
        (0, b'hello')
        """
    def close_stdin(self) -> None:
        """Closes its standard input; closing it twice, or what it does not have, does nothing.

        Raises `UnavailableError` when the connection is broken.

        >>> job = web.run(["cat"], stdin=True)
        >>> job.close_stdin()
        >>> job.wait(timeout=10).exit_code
        0
        """
    def resize(self, columns: int, rows: int) -> None:
        """Sets the size of its terminal.

        Raises `ConflictError` when it has none.

        >>> job = web.run(["sleep", "60"], tty=True)
        >>> job.resize(120, 40)
        """
    def kill(self, signal: _Signal | None = None) -> None:
        """Sends it a signal, by name or number. One that has ended stays as it is.

        Raises `InvalidInputError` for what is no signal.

        >>> job = web.run(["sleep", "60"])
        >>> job.kill()
        >>> job.wait(timeout=10).exit_code
        137
        """

@final
class AioJob:
    """A command that runs over time and ends: `roadstead.Job`, whose calls are awaited."""
    @property
    def id(self) -> str:
        """Its id."""
    def status(self) -> _Call[m.JobStatus]:
        """What is known of it now.

        Raises `NotFoundError` when it is not kept any more.

        >>> job = web.run(["sleep", "60"])
        >>> job.status().state.value
        'running'
        """
    def wait(self, *, timeout: _Timeout = 60.0) -> _Call[m.JobStatus]:
        """Waits until it has ended, at most `timeout` seconds (at most a day), and gives its last status.

        Raises `DeadlineExceededError` when the time is over; the job goes on.

        >>> web.run(["sh", "-c", "exit 3"]).wait(timeout=10).exit_code
        3
        """
    def output(self, kind: Literal["stdout", "stderr", "console"] | None = None) -> _Call[bytes]:
        r"""The bytes that are kept of its output, in order: of one stream ("stdout", "stderr", or "console" where it has a
        terminal), or of all. The last mebibyte is kept, and `status().output_dropped_bytes` tells how much went before it.

        Raises `NotFoundError` when it is not kept any more.

        >>> job = web.run(["sh", "-c", "echo out; echo err >&2"])
        >>> status = job.wait(timeout=10)
        >>> job.output("stderr")
        b'err\n'
        """
    def chunks(self, *, after: int = 0, follow: bool = False) -> _Call[AioStream[t.OutputChunk]]:
        r"""Its output in pieces, each with its number and its stream: those behind number `after`, and with `follow` also what
        comes until it ends. Whoever takes them more slowly than they come misses some, whose numbers are missing then.

        Raises `NotFoundError` when it is not kept any more; what breaks it off raises while it is read.

        >>> job = web.run(["echo", "hello"])
        >>> [chunk.data for chunk in job.chunks(follow=True)]
        [b'hello\n']
        """
    def write_stdin(self, data: _Bytes) -> _Call[None]:
        """Writes to its standard input, in order.

        Raises `ConflictError` when it has none, it is closed, or the job has ended.

        >>> job = web.run(["cat"], stdin=True)
        >>> job.write_stdin(b"hello")
        >>> job.close_stdin()
        >>> job.wait(timeout=10).exit_code, job.output()
        (0, b'hello')
        """
    def close_stdin(self) -> _Call[None]:
        """Closes its standard input; closing it twice, or what it does not have, does nothing.

        Raises `UnavailableError` when the connection is broken.

        >>> job = web.run(["cat"], stdin=True)
        >>> job.close_stdin()
        >>> job.wait(timeout=10).exit_code
        0
        """
    def resize(self, columns: int, rows: int) -> _Call[None]:
        """Sets the size of its terminal.

        Raises `ConflictError` when it has none.

        >>> job = web.run(["sleep", "60"], tty=True)
        >>> job.resize(120, 40)
        """
    def kill(self, signal: _Signal | None = None) -> _Call[None]:
        """Sends it a signal, by name or number. One that has ended stays as it is.

        Raises `InvalidInputError` for what is no signal.

        >>> job = web.run(["sleep", "60"])
        >>> job.kill()
        >>> job.wait(timeout=10).exit_code
        137
        """

@final
class Attachment:
    """The streams of a main process: its output, and its input where that was asked for."""
    @property
    def output(self) -> Stream[t.OutputChunk]:
        """Its output as it arrives."""
    def write(self, data: _Bytes) -> None:
        """Writes to the standard input of the main process.

        Raises `ConflictError` when it was not attached, or is closed.

        >>> made = node.create_container("roadstead/busybox:latest", command=["cat"], stdin=True)
        >>> made.start()
        >>> attached = made.attach(stdin=True)
        >>> attached.write(b"hello")
        >>> next(attached.output).data
        b'hello'
        """
    def close_input(self) -> None:
        """Closes the standard input of the main process; closing it twice does nothing.

        Raises `UnavailableError` when the connection is broken.

        >>> made = node.create_container("roadstead/busybox:latest", command=["cat"], stdin=True)
        >>> made.start()
        >>> made.attach(stdin=True).close_input()
        >>> made.wait(timeout=10).exit_code
        0
        """

@final
class AioAttachment:
    """The streams of a main process: `roadstead.Attachment`, whose calls are awaited."""
    @property
    def output(self) -> AioStream[t.OutputChunk]:
        """Its output as it arrives."""
    def write(self, data: _Bytes) -> _Call[None]:
        """Writes to the standard input of the main process.

        Raises `ConflictError` when it was not attached, or is closed.

        >>> made = node.create_container("roadstead/busybox:latest", command=["cat"], stdin=True)
        >>> made.start()
        >>> attached = made.attach(stdin=True)
        >>> attached.write(b"hello")
        >>> next(attached.output).data
        b'hello'
        """
    def close_input(self) -> _Call[None]:
        """Closes the standard input of the main process; closing it twice does nothing.

        Raises `UnavailableError` when the connection is broken.

        >>> made = node.create_container("roadstead/busybox:latest", command=["cat"], stdin=True)
        >>> made.start()
        >>> made.attach(stdin=True).close_input()
        >>> made.wait(timeout=10).exit_code
        0
        """

class Container:
    """A container of a node. Making one asks nobody: whether it exists, its first call tells.

    What its calls raise beside what each of them says: `NotFoundError` when there is no such container, `UnavailableError` when the engine
    does not answer, `DeadlineExceededError` when it does not in time (30 seconds for each question that reads, two minutes for each that
    changes something, an hour for archives), and `ConflictError` when the connection was closed.

    >>> import roadstead
    >>> with roadstead.connect("memory:") as node:
    ...     web = node.create_container("roadstead/busybox:latest", name="web", command=["sleep", "60"])
    ...     web.start()
    ...     print(web.inspect().state)
    running
    """
    @property
    def id(self) -> str:
        """The id or name by which it is asked for."""
    def inspect(self) -> m.ContainerDetails:
        """Everything that the engine tells of it.

        Raises `UnavailableError` when the engine does not answer.

        >>> details = web.inspect()
        >>> details.name, details.state.value, details.spec.command
        ('web', 'running', ['sh', '-c', 'echo hello; sleep 60'])
        """
    def start(self) -> None:
        """Starts its main process; starting one that runs does nothing.

        Raises `ConflictError` when it is frozen, and `InvalidInputError` when its command does not exist.

        >>> made = node.create_container("roadstead/busybox:latest", command=["sleep", "60"])
        >>> made.start()
        >>> made.inspect().state.value
        'running'
        """
    def stop(self, *, timeout: int | None = None) -> None:
        """Asks its main process to end, and kills it after `timeout` whole seconds; the engine's own time when none is given.

        Raises `ConflictError` when it is frozen and the engine cannot stop it so, and `InvalidInputError` for a time that is too long.

        >>> web.stop(timeout=5)
        >>> web.inspect().state.value
        'stopped'
        """
    def restart(self, *, timeout: int | None = None) -> None:
        """Stops it if it runs, as `stop` does, and starts it.

        Raises `UnsupportedError` where the engine cannot, and `InvalidInputError` for a time that is too long.

        >>> web.restart(timeout=5)
        >>> web.inspect().state.value
        'running'
        """
    def kill(self, signal: _Signal | None = None) -> None:
        """Sends a signal to its main process, by name or number; SIGKILL when none is given.

        Raises `ConflictError` when it does not run.

        >>> web.kill("SIGUSR1")
        >>> web.kill(9)
        >>> web.wait(timeout=10).exit_code
        137
        """
    def freeze(self) -> None:
        """Stops all its processes in place.

        Raises `ConflictError` when it does not run, and `UnsupportedError` where the engine cannot.

        >>> web.freeze()
        >>> web.inspect().state.value
        'frozen'
        """
    def unfreeze(self) -> None:
        """Lets all its processes go on.

        One that is not frozen stays as it is. Raises `UnsupportedError` where the engine cannot.

        >>> web.freeze()
        >>> web.unfreeze()
        >>> web.inspect().state.value
        'running'
        """
    def rename(self, name: str) -> None:
        """Gives it another name.

        Raises `AlreadyExistsError` when the name is taken, `InvalidInputError` for one that is no name there, and `ConflictError` where the
        engine renames only what is stopped.

        >>> web.rename("site")
        >>> [container.name for container in node.containers()]
        ['site']
        """
    def update(
        self,
        *,
        limits: m.Limits | Mapping[str, Any] | None = None,
        restart: _Restart | Mapping[str, Any] | None = None,
        hold: bool | None = None,
    ) -> None:
        """Changes limits and restart policy; what is not given stays as it is. `hold` keeps an engine from starting it.

        Raises `InvalidInputError` for values that make no sense, and `UnsupportedError` for what the engine cannot limit.

        >>> web.update(limits=roadstead.Limits(memory_bytes=64 * 2**20), restart="always")
        >>> web.inspect().spec.limits.memory_bytes
        67108864
        """
    def delete(self, *, force: bool = False, volumes: bool = False) -> None:
        """Deletes it; with `force` also one that runs, and with `volumes` its anonymous volumes, too.

        Raises `ConflictError` when it runs and `force` is not set.

        >>> web.delete(force=True)
        >>> node.containers()
        []
        """
    def wait(
        self,
        *,
        timeout: _Timeout = 60.0,
        condition: m.WaitFor | Literal["stopped", "next_end", "deleted"] = "stopped",
    ) -> m.ContainerExit:
        """Waits until it is as `condition` says ("stopped", "next_end" or "deleted"), at most `timeout` seconds (at most a day).

        Raises `DeadlineExceededError` when the time is over; the container is not touched.

        >>> web.kill()
        >>> web.wait(timeout=10).exit_code
        137
        """
    def commit(
        self, image: str, *, message: str | None = None, author: str | None = None, freeze: bool | None = None
    ) -> str:
        """Makes an image of its file system, and gives the image's id. With `freeze` it is frozen meanwhile, where the engine can.

        Raises `UnsupportedError` where the engine cannot, and `InvalidInputError` for a reference that is none.

        >>> image = web.commit("roadstead/site:latest", message="as it is now")
        >>> node.inspect_image(image).references
        ['roadstead/site:latest']
        """
    def export(self) -> ByteStream:
        """Its file system as one tar archive, without mounts.

        Raises `UnsupportedError` where the engine cannot; what breaks it off raises while it is read.

        >>> archive = web.export().read()
        >>> len(archive) % 512
        0
        """
    def snapshots(self) -> list[m.Snapshot]:
        """Its snapshots, oldest first.

        Raises `UnsupportedError` where the engine has none.

        >>> snapshot = web.create_snapshot("before")
        >>> [snapshot.name for snapshot in web.snapshots()]
        ['before']
        """
    def create_snapshot(
        self, name: str, *, stateful: bool = False, expires_at: datetime | None = None
    ) -> m.Snapshot:
        """Keeps its state under a name: files and configuration, without mounts.

        Raises `AlreadyExistsError` when it has a snapshot of this name.

        >>> web.create_snapshot("before").name
        'before'
        """
    def restore_snapshot(self, name: str) -> None:
        """Brings it back to a snapshot, which stays.

        Raises `NotFoundError` when there is no such snapshot.

        >>> snapshot = web.create_snapshot("before")
        >>> web.run(["touch", "/new"]).wait(timeout=10).exit_code
        0
        >>> web.stop(timeout=0)
        >>> web.restore_snapshot("before")
        >>> web.copy_out("/new")
        Traceback (most recent call last):
        ...
        roadstead.NotFoundError: ...
        """
    def delete_snapshot(self, name: str) -> None:
        """Deletes a snapshot.

        Raises `NotFoundError` when there is no such snapshot.

        >>> snapshot = web.create_snapshot("before")
        >>> web.delete_snapshot("before")
        >>> web.snapshots()
        []
        """
    def backup(self, *, snapshots: bool = True) -> ByteStream:
        """All of it as one archive in the engine's own format. `Node.restore_container` makes a container of it.

        Raises `UnsupportedError` where the engine cannot; what breaks it off raises while it is read.

        >>> restored = other.restore_container(web.backup(), name="copy")
        >>> restored.inspect().name
        'copy'
        """
    def copy_out(self, path: _Path) -> ByteStream:
        """A file or directory of it as a tar archive; the entries begin with the last part of `path`.

        Raises `NotFoundError` when there is no such file; what breaks it off raises while it is read.

        >>> import io, tarfile
        >>> archive = tarfile.open(fileobj=io.BytesIO(web.copy_out("/bin/sh").read()))
        >>> archive.getnames()
        ['sh']
        """
    def copy_in(self, path: _Path, archive: _Archive, *, no_overwrite_dir_with_file: bool = False) -> None:
        """Unpacks a tar archive into the directory `path`: bytes, a path of this machine, an open file, or an iterable of bytes.

        Raises `NotFoundError` when there is no such directory, `InvalidInputError` for what is no archive, and what the given object itself
        raises.

        An archive that the package gives is handed on as it arrives. On Docker a container whose `copy_out` is not read to its end does
        nothing else meanwhile, so that is for another container, or read before.

        >>> made = other.create_container("roadstead/busybox:latest", command=["sleep", "60"])
        >>> made.copy_in("/tmp", web.copy_out("/bin/sh"))
        """
    def logs(
        self,
        *,
        stdout: bool = True,
        stderr: bool = True,
        follow: bool = False,
        tail: int | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        timestamps: bool = False,
    ) -> Stream[t.LogRecord]:
        r"""The kept output of its main process, and with `follow` also what comes until it ends.

        Raises `InvalidInputError` when neither stream is asked for, and `UnsupportedError` where the engine keeps none; what breaks it off
        raises while it is read.

        >>> with web.logs(follow=True) as records:
        ...     print(next(records).data)
        b'hello\n'
        """
    def attach(
        self, *, stdin: bool = False, stdout: bool = True, stderr: bool = True, logs: bool = False
    ) -> Attachment:
        r"""Connects to the streams of its main process.

        Raises `UnsupportedError` where the engine cannot; some attach to what does not run yet, others raise `ConflictError`.

        >>> attached = web.attach(logs=True)
        >>> next(attached.output).data
        b'hello\n'
        """
    def resize(self, columns: int, rows: int) -> None:
        """Sets the size of its main process's terminal.

        Raises `ConflictError` when it has no terminal.

        >>> made = node.create_container("roadstead/busybox:latest", command=["sleep", "60"], tty=True)
        >>> made.start()
        >>> made.resize(120, 40)
        """
    def stats(self) -> m.ContainerStats:
        """What it uses at this moment.

        Raises `ConflictError` when it does not run.

        >>> web.stats().memory.usage_bytes > 0
        True
        """
    def processes(self) -> list[m.Process]:
        """Its processes, by ascending pid as the node counts.

        Raises `ConflictError` when it does not run.

        >>> web.processes()[0].cmdline
        ['sh', '-c', 'echo hello; sleep 60']
        """
    def run(self, command: Sequence[str], **options: Unpack[_JobOptions]) -> Job:
        r"""Runs a command inside it, and gives the job at once. Keywords: `env` (a mapping), `working_directory`, `user` ("1000:1000" or a
        name), `stdin` (whether it can be written to), `tty` and `terminal_size` (`{"columns": 80, "rows": 24}`), `privileged`,
        `timeout_seconds` (it is killed when it takes longer), `tags` (texts that are kept with it).

        Raises `ConflictError` when it does not run.

        >>> job = web.run(["sh", "-c", "echo $WHO; exit 3"], env={"WHO": "me"})
        >>> job.wait(timeout=10).exit_code, job.output()
        (3, b'me\n')
        """
    def jobs(self) -> list[m.JobStatus]:
        """The jobs of it that are known, oldest first.

        Raises `NotFoundError` when there is no such container.

        >>> job = web.run(["true"])
        >>> [one.id == job.id for one in web.jobs()]
        [True]
        """

class AioContainer:
    """A container of a node: `roadstead.Container`, whose calls are awaited.

    >>> import asyncio
    >>> from roadstead import aio
    >>> async def main():
    ...     async with aio.connect("memory:") as node:
    ...         web = await node.create_container("roadstead/busybox:latest", name="web", command=["sleep", "60"])
    ...         await web.start()
    ...         print((await web.inspect()).state)
    >>> asyncio.run(main())
    running
    """
    @property
    def id(self) -> str:
        """The id or name by which it is asked for."""
    def inspect(self) -> _Call[m.ContainerDetails]:
        """Everything that the engine tells of it.

        Raises `UnavailableError` when the engine does not answer.

        >>> details = web.inspect()
        >>> details.name, details.state.value, details.spec.command
        ('web', 'running', ['sh', '-c', 'echo hello; sleep 60'])
        """
    def start(self) -> _Call[None]:
        """Starts its main process; starting one that runs does nothing.

        Raises `ConflictError` when it is frozen, and `InvalidInputError` when its command does not exist.

        >>> made = node.create_container("roadstead/busybox:latest", command=["sleep", "60"])
        >>> made.start()
        >>> made.inspect().state.value
        'running'
        """
    def stop(self, *, timeout: int | None = None) -> _Call[None]:
        """Asks its main process to end, and kills it after `timeout` whole seconds; the engine's own time when none is given.

        Raises `ConflictError` when it is frozen and the engine cannot stop it so, and `InvalidInputError` for a time that is too long.

        >>> web.stop(timeout=5)
        >>> web.inspect().state.value
        'stopped'
        """
    def restart(self, *, timeout: int | None = None) -> _Call[None]:
        """Stops it if it runs, as `stop` does, and starts it.

        Raises `UnsupportedError` where the engine cannot, and `InvalidInputError` for a time that is too long.

        >>> web.restart(timeout=5)
        >>> web.inspect().state.value
        'running'
        """
    def kill(self, signal: _Signal | None = None) -> _Call[None]:
        """Sends a signal to its main process, by name or number; SIGKILL when none is given.

        Raises `ConflictError` when it does not run.

        >>> web.kill("SIGUSR1")
        >>> web.kill(9)
        >>> web.wait(timeout=10).exit_code
        137
        """
    def freeze(self) -> _Call[None]:
        """Stops all its processes in place.

        Raises `ConflictError` when it does not run, and `UnsupportedError` where the engine cannot.

        >>> web.freeze()
        >>> web.inspect().state.value
        'frozen'
        """
    def unfreeze(self) -> _Call[None]:
        """Lets all its processes go on.

        One that is not frozen stays as it is. Raises `UnsupportedError` where the engine cannot.

        >>> web.freeze()
        >>> web.unfreeze()
        >>> web.inspect().state.value
        'running'
        """
    def rename(self, name: str) -> _Call[None]:
        """Gives it another name.

        Raises `AlreadyExistsError` when the name is taken, `InvalidInputError` for one that is no name there, and `ConflictError` where the
        engine renames only what is stopped.

        >>> web.rename("site")
        >>> [container.name for container in node.containers()]
        ['site']
        """
    def update(
        self,
        *,
        limits: m.Limits | Mapping[str, Any] | None = None,
        restart: _Restart | Mapping[str, Any] | None = None,
        hold: bool | None = None,
    ) -> _Call[None]:
        """Changes limits and restart policy; what is not given stays as it is. `hold` keeps an engine from starting it.

        Raises `InvalidInputError` for values that make no sense, and `UnsupportedError` for what the engine cannot limit.

        >>> web.update(limits=roadstead.Limits(memory_bytes=64 * 2**20), restart="always")
        >>> web.inspect().spec.limits.memory_bytes
        67108864
        """
    def delete(self, *, force: bool = False, volumes: bool = False) -> _Call[None]:
        """Deletes it; with `force` also one that runs, and with `volumes` its anonymous volumes, too.

        Raises `ConflictError` when it runs and `force` is not set.

        >>> web.delete(force=True)
        >>> node.containers()
        []
        """
    def wait(
        self,
        *,
        timeout: _Timeout = 60.0,
        condition: m.WaitFor | Literal["stopped", "next_end", "deleted"] = "stopped",
    ) -> _Call[m.ContainerExit]:
        """Waits until it is as `condition` says ("stopped", "next_end" or "deleted"), at most `timeout` seconds (at most a day).

        Raises `DeadlineExceededError` when the time is over; the container is not touched.

        >>> web.kill()
        >>> web.wait(timeout=10).exit_code
        137
        """
    def commit(
        self, image: str, *, message: str | None = None, author: str | None = None, freeze: bool | None = None
    ) -> _Call[str]:
        """Makes an image of its file system, and gives the image's id. With `freeze` it is frozen meanwhile, where the engine can.

        Raises `UnsupportedError` where the engine cannot, and `InvalidInputError` for a reference that is none.

        >>> image = web.commit("roadstead/site:latest", message="as it is now")
        >>> node.inspect_image(image).references
        ['roadstead/site:latest']
        """
    def export(self) -> _Call[AioByteStream]:
        """Its file system as one tar archive, without mounts.

        Raises `UnsupportedError` where the engine cannot; what breaks it off raises while it is read.

        >>> archive = web.export().read()
        >>> len(archive) % 512
        0
        """
    def snapshots(self) -> _Call[list[m.Snapshot]]:
        """Its snapshots, oldest first.

        Raises `UnsupportedError` where the engine has none.

        >>> snapshot = web.create_snapshot("before")
        >>> [snapshot.name for snapshot in web.snapshots()]
        ['before']
        """
    def create_snapshot(
        self, name: str, *, stateful: bool = False, expires_at: datetime | None = None
    ) -> _Call[m.Snapshot]:
        """Keeps its state under a name: files and configuration, without mounts.

        Raises `AlreadyExistsError` when it has a snapshot of this name.

        >>> web.create_snapshot("before").name
        'before'
        """
    def restore_snapshot(self, name: str) -> _Call[None]:
        """Brings it back to a snapshot, which stays.

        Raises `NotFoundError` when there is no such snapshot.

        >>> snapshot = web.create_snapshot("before")
        >>> web.run(["touch", "/new"]).wait(timeout=10).exit_code
        0
        >>> web.stop(timeout=0)
        >>> web.restore_snapshot("before")
        >>> web.copy_out("/new")
        Traceback (most recent call last):
        ...
        roadstead.NotFoundError: ...
        """
    def delete_snapshot(self, name: str) -> _Call[None]:
        """Deletes a snapshot.

        Raises `NotFoundError` when there is no such snapshot.

        >>> snapshot = web.create_snapshot("before")
        >>> web.delete_snapshot("before")
        >>> web.snapshots()
        []
        """
    def backup(self, *, snapshots: bool = True) -> _Call[AioByteStream]:
        """All of it as one archive in the engine's own format. `Node.restore_container` makes a container of it.

        Raises `UnsupportedError` where the engine cannot; what breaks it off raises while it is read.

        >>> restored = other.restore_container(web.backup(), name="copy")
        >>> restored.inspect().name
        'copy'
        """
    def copy_out(self, path: _Path) -> _Call[AioByteStream]:
        """A file or directory of it as a tar archive; the entries begin with the last part of `path`.

        Raises `NotFoundError` when there is no such file; what breaks it off raises while it is read.

        >>> import io, tarfile
        >>> archive = tarfile.open(fileobj=io.BytesIO(web.copy_out("/bin/sh").read()))
        >>> archive.getnames()
        ['sh']
        """
    def copy_in(self, path: _Path, archive: _Archive, *, no_overwrite_dir_with_file: bool = False) -> _Call[None]:
        """Unpacks a tar archive into the directory `path`: bytes, a path of this machine, an open file, or an iterable of bytes.

        Raises `NotFoundError` when there is no such directory, `InvalidInputError` for what is no archive, and what the given object itself
        raises.

        An archive that the package gives is handed on as it arrives. On Docker a container whose `copy_out` is not read to its end does
        nothing else meanwhile, so that is for another container, or read before.

        >>> made = other.create_container("roadstead/busybox:latest", command=["sleep", "60"])
        >>> made.copy_in("/tmp", web.copy_out("/bin/sh"))
        """
    def logs(
        self,
        *,
        stdout: bool = True,
        stderr: bool = True,
        follow: bool = False,
        tail: int | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        timestamps: bool = False,
    ) -> _Call[AioStream[t.LogRecord]]:
        r"""The kept output of its main process, and with `follow` also what comes until it ends.

        Raises `InvalidInputError` when neither stream is asked for, and `UnsupportedError` where the engine keeps none; what breaks it off
        raises while it is read.

        >>> with web.logs(follow=True) as records:
        ...     print(next(records).data)
        b'hello\n'
        """
    def attach(
        self, *, stdin: bool = False, stdout: bool = True, stderr: bool = True, logs: bool = False
    ) -> _Call[AioAttachment]:
        r"""Connects to the streams of its main process.

        Raises `UnsupportedError` where the engine cannot; some attach to what does not run yet, others raise `ConflictError`.

        >>> attached = web.attach(logs=True)
        >>> next(attached.output).data
        b'hello\n'
        """
    def resize(self, columns: int, rows: int) -> _Call[None]:
        """Sets the size of its main process's terminal.

        Raises `ConflictError` when it has no terminal.

        >>> made = node.create_container("roadstead/busybox:latest", command=["sleep", "60"], tty=True)
        >>> made.start()
        >>> made.resize(120, 40)
        """
    def stats(self) -> _Call[m.ContainerStats]:
        """What it uses at this moment.

        Raises `ConflictError` when it does not run.

        >>> web.stats().memory.usage_bytes > 0
        True
        """
    def processes(self) -> _Call[list[m.Process]]:
        """Its processes, by ascending pid as the node counts.

        Raises `ConflictError` when it does not run.

        >>> web.processes()[0].cmdline
        ['sh', '-c', 'echo hello; sleep 60']
        """
    def run(self, command: Sequence[str], **options: Unpack[_JobOptions]) -> _Call[AioJob]:
        r"""Runs a command inside it, and gives the job at once. Keywords: `env` (a mapping), `working_directory`, `user` ("1000:1000" or a
        name), `stdin` (whether it can be written to), `tty` and `terminal_size` (`{"columns": 80, "rows": 24}`), `privileged`,
        `timeout_seconds` (it is killed when it takes longer), `tags` (texts that are kept with it).

        Raises `ConflictError` when it does not run.

        >>> job = web.run(["sh", "-c", "echo $WHO; exit 3"], env={"WHO": "me"})
        >>> job.wait(timeout=10).exit_code, job.output()
        (3, b'me\n')
        """
    def jobs(self) -> _Call[list[m.JobStatus]]:
        """The jobs of it that are known, oldest first.

        Raises `NotFoundError` when there is no such container.

        >>> job = web.run(["true"])
        >>> [one.id == job.id for one in web.jobs()]
        [True]
        """

@final
class ListedContainer(Container):
    """A container as it stood in a list."""
    @property
    def summary(self) -> m.ContainerSummary:
        """What the list showed of it."""
    @property
    def name(self) -> str:
        """Its name."""
    @property
    def node(self) -> str:
        """The name of its node."""
    @property
    def image(self) -> str:
        """The image as it was asked for."""
    @property
    def state(self) -> m.ContainerState:
        """Its state when it was listed."""
    @property
    def labels(self) -> dict[str, str]:
        """Its labels when it was listed."""
    @property
    def created_at(self) -> datetime | None:
        """When it was created, if told."""

@final
class AioListedContainer(AioContainer):
    """A container as it stood in a list."""
    @property
    def summary(self) -> m.ContainerSummary:
        """What the list showed of it."""
    @property
    def name(self) -> str:
        """Its name."""
    @property
    def node(self) -> str:
        """The name of its node."""
    @property
    def image(self) -> str:
        """The image as it was asked for."""
    @property
    def state(self) -> m.ContainerState:
        """Its state when it was listed."""
    @property
    def labels(self) -> dict[str, str]:
        """Its labels when it was listed."""
    @property
    def created_at(self) -> datetime | None:
        """When it was created, if told."""

@final
class CreatedContainer(Container):
    """A container that was just made."""
    @property
    def name(self) -> str:
        """Its name, which the engine made up if none was given."""
    @property
    def warnings(self) -> list[str]:
        """What the engine did not do as asked."""

@final
class AioCreatedContainer(AioContainer):
    """A container that was just made."""
    @property
    def name(self) -> str:
        """Its name, which the engine made up if none was given."""
    @property
    def warnings(self) -> list[str]:
        """What the engine did not do as asked."""

@final
class Node:
    """One machine reached through one engine endpoint. It is a context manager that closes the connection.

    What its calls raise beside what each of them says: `UnavailableError` when the engine does not answer, `DeadlineExceededError` when it
    does not in time (30 seconds for each question that reads, two minutes for each that changes something, an hour for archives), and
    `ConflictError` when the connection was closed.

    >>> import roadstead
    >>> with roadstead.connect("memory:") as node:
    ...     print(node.name, node.uri, node.can("freeze"))
    memory memory: True
    """
    def __enter__(self) -> Self: ...
    def __exit__(self, *_exception: object) -> None: ...
    def close(self) -> None:
        """Closes the connection: calls of it and of what came from it are refused from now on, and what goes on ends. Closing it
        twice does nothing.
        """
    @property
    def name(self) -> str:
        """The name under which it is known here."""
    @property
    def uri(self) -> str:
        """The URI it was connected with, without secrets."""
    @property
    def lasting_uri(self) -> str | None:
        """The URI to connect it by again, where that is another one."""
    @property
    def capabilities(self) -> m.Capabilities:
        """What it can do, found out when it was connected."""
    def can(self, capability: str) -> bool:
        """Whether it can do this, by the capability's name.

        Raises `InvalidInputError` for what is no capability.

        >>> node.can("freeze")
        True
        """
    def container(self, id: str) -> Container:
        """The container with this id or name. Asks nobody: whether it exists, its first call tells.

        Raises `ConflictError` when the connection is closed.

        >>> node.container("web").inspect().state.value
        'running'
        """
    def ping(self) -> None:
        """Asks the engine whether it is there.

        Raises `UnavailableError` when it is not.

        >>> node.ping()
        """
    def info(self) -> m.NodeInfo:
        """What the node is.

        Raises `UnavailableError` when the engine does not answer.

        >>> info = node.info()
        >>> info.engine, info.simulated
        ('memory', True)
        """
    def containers(
        self,
        *,
        states: Sequence[_State] | None = None,
        ids: Sequence[str] | None = None,
        names: Sequence[str] | None = None,
        labels: _Labels | None = None,
    ) -> list[ListedContainer]:
        """The containers, in one engine call, newest first where creation times are told: all of them, or those that have one of
        the states, ids and names, and all of the labels (None stands for any value).

        Raises `InvalidInputError` for states that there are not.

        >>> [container.name for container in node.containers(states=["running"])]
        ['web']
        """
    def create_container(self, image: str | m.ContainerSpec, **fields: Unpack[_SpecFields]) -> CreatedContainer:
        """Creates a container, which does not run yet: of an image and keyword arguments, which are the members of
        `ContainerSpec`, or of a `ContainerSpec`.

        Raises `NotFoundError` when the image is not there (nothing is pulled), and `AlreadyExistsError` when the name is taken.

        >>> made = node.create_container("roadstead/busybox:latest", name="db", command=["sleep", "60"], labels={"tier": "data"})
        >>> made.name
        'db'
        >>> spec = roadstead.ContainerSpec(image="roadstead/busybox:latest", command=["sleep", "60"])
        >>> node.create_container(spec).start()
        """
    def check_container(self, image: str | m.ContainerSpec, **fields: Unpack[_SpecFields]) -> None:
        """Refuses what `create_container` would refuse about the specification itself; nothing is created.

        Raises `InvalidInputError` whose `field` is what is wrong, and `UnsupportedError` for what the engine cannot do.

        >>> node.check_container("roadstead/busybox:latest", env={"A=B": "c"})
        Traceback (most recent call last):
        ...
        roadstead.InvalidInputError: ...
        """
    def restore_container(self, archive: _Archive, *, name: str | None = None) -> CreatedContainer:
        """Makes a container from what `Container.backup` gave; it does not run.

        Raises `AlreadyExistsError` when the name is taken, `InvalidInputError` for what is no backup, and what the given object itself
        raises.

        >>> restored = other.restore_container(web.backup(), name="copy")
        >>> restored.inspect().state.value
        'stopped'
        """
    def copy_ways(self, source: Node, container: str) -> list[t.CopyWay]:
        """The ways in which this node can take a container of `source` by the engines' own means, best first.

        Raises `NotFoundError` when there is no such container.

        >>> [way.transport.value for way in other.copy_ways(node, "web")]
        ['pull']
        """
    def copy_container(
        self,
        source: Node,
        container: str,
        name: str,
        transport: m.CopyTransport | Literal["local", "pull", "push", "relay"],
        *,
        live: bool = False,
        snapshots: bool = False,
        labels: Mapping[str, str] | None = None,
    ) -> Stream[t.CopyProgress]:
        """Copies a container of `source` to this node as `name`, by a transport that `copy_ways` gave. When the stream has ended
        without error, the copy is there and complete.

        Raises `AlreadyExistsError` when the name is taken, and `UnsupportedError` for a transport that `copy_ways` did not give; what
        breaks it off raises while it is read.

        >>> for progress in other.copy_container(node, "web", "copy", "pull"):
        ...     pass
        >>> [container.name for container in other.containers()]
        ['copy']
        """
    def events(self, *, since: datetime | None = None) -> Stream[m.Event]:
        """What happens on the node, from now on or from a moment in the past.

        Raises `UnsupportedError` for the past of an engine that keeps none; what breaks it off raises while it is read.

        >>> with node.events() as events:
        ...     web.rename("site")
        ...     print(next(events).action)
        renamed
        """
    def run(self, command: Sequence[str], **options: Unpack[_JobOptions]) -> Job:
        """Runs a command on the node itself, where the engine can, and gives the job at once. Keywords: as those of `Container.run`.

        Raises `UnsupportedError` where the engine cannot.

        >>> node.run(["echo", "hello"]).wait(timeout=10).exit_code
        0
        """
    def jobs(self) -> list[m.JobStatus]:
        """All jobs that are known, of containers and of the node itself, oldest first.

        Raises `UnavailableError` when the engine does not answer.

        >>> job = web.run(["true"])
        >>> [one.container for one in node.jobs()] == [web.id]
        True
        """
    def job(self, id: str) -> Job:
        """The job with this id.

        Raises `NotFoundError` when it is not known, or not kept any more.

        >>> job = web.run(["sh", "-c", "exit 3"])
        >>> node.job(job.id).wait(timeout=10).exit_code
        3
        """
    def pool(self, name: str) -> Pool:
        """The pool of the engine's own that the node is in: a cluster, a swarm.

        Raises `ConflictError` for a node that is in none, and `UnsupportedError` where the engine has none.

        >>> node.pool("swarm")
        Traceback (most recent call last):
        ...
        roadstead.UnsupportedError: ...
        """
    def images(self) -> list[m.ImageSummary]:
        """All images, in one engine call.

        Raises `UnavailableError` when the engine does not answer.

        >>> [image.references for image in node.images()]
        [['roadstead/busybox:latest']]
        """
    def inspect_image(self, reference: str) -> m.ImageDetails:
        """Everything that the engine tells of the image with this reference or id.

        Raises `NotFoundError` when it is not there.

        >>> node.inspect_image("roadstead/busybox:latest").references
        ['roadstead/busybox:latest']
        """
    def pull_image(
        self,
        reference: str,
        *,
        platform: str | None = None,
        username: str | None = None,
        password: str | None = None,
    ) -> Stream[t.ImageProgress]:
        """Pulls an image from a registry. When the stream has ended without error, the image is there.

        Raises `InvalidInputError` when only one of `username` and `password` is given; what breaks it off raises while it is read, as does
        `NotFoundError` when the registry has no such image.

        >>> for progress in node.pull_image("registry.example/roadstead/hello:latest"):
        ...     pass
        >>> len(node.images())
        2
        """
    def import_image(
        self,
        archive: _Archive,
        reference: str,
        *,
        command: Sequence[str] | None = None,
        message: str | None = None,
    ) -> str:
        """Makes an image from the tar archive of a root file system, and gives its id.

        Raises `InvalidInputError` for what is no archive, and what the given object itself raises.

        >>> image = node.import_image(web.export(), "roadstead/site:latest", command=["sh"])
        >>> node.inspect_image(image).references
        ['roadstead/site:latest']
        """
    def load_images(self, archive: _Archive) -> list[str]:
        """Loads an archive made by `save_images`, and gives the references or ids loaded.

        Raises `InvalidInputError` for what is no such archive, and what the given object itself raises.

        >>> other.load_images(node.save_images(["roadstead/busybox:latest"]))
        ['roadstead/busybox:latest']
        """
    def save_images(self, references: Sequence[str]) -> ByteStream:
        """The images with these references as one archive.

        Raises `NotFoundError` when one is not there; what breaks it off raises while it is read.

        >>> len(node.save_images(["roadstead/busybox:latest"]).read()) % 512
        0
        """
    def tag_image(self, reference: str, new_reference: str) -> None:
        """Gives an image a further reference.

        Raises `NotFoundError` when it is not there.

        >>> node.tag_image("roadstead/busybox:latest", "site:1")
        >>> node.inspect_image("site:1").references
        ['roadstead/busybox:latest', 'site:1']
        """
    def delete_image(self, reference: str, *, force: bool = False) -> None:
        """Takes a reference away, and deletes the image with its last one; with `force` also when containers use it.

        Raises `NotFoundError` when it is not there, and `ConflictError` when a container uses it and `force` is not set.

        >>> node.tag_image("roadstead/busybox:latest", "site:1")
        >>> node.delete_image("site:1")
        """
    def networks(self) -> list[m.Network]:
        """All networks.

        Raises `UnsupportedError` where the engine has none.

        >>> network = node.create_network("backend")
        >>> "backend" in [network.name for network in node.networks()]
        True
        """
    def inspect_network(self, name: str) -> m.Network:
        """The network with this name or id.

        Raises `NotFoundError` when it is not there.

        >>> network = node.create_network("backend")
        >>> node.inspect_network("backend").name
        'backend'
        """
    def create_network(self, name: str, **fields: Unpack[_NetworkFields]) -> str:
        """Makes a network, and gives its id. Keywords: `driver`, `internal` (whether it leads nowhere else), `subnets` (`Subnet`), `labels`,
        `options` (the driver's own).

        Raises `AlreadyExistsError` when the name is taken, and `InvalidInputError` for what makes no sense.

        >>> network = node.create_network("backend", subnets=[roadstead.Subnet(cidr="10.99.0.0/24")])
        >>> node.inspect_network("backend").subnets[0].cidr
        '10.99.0.0/24'
        """
    def delete_network(self, name: str) -> None:
        """Deletes a network.

        Raises `NotFoundError` when it is not there, and `ConflictError` when a container is in it.

        >>> network = node.create_network("backend")
        >>> node.delete_network("backend")
        """
    def volumes(self) -> list[m.Volume]:
        """All volumes.

        Raises `UnsupportedError` where the engine has none.

        >>> volume = node.create_volume("data")
        >>> [volume.name for volume in node.volumes()]
        ['data']
        """
    def inspect_volume(self, name: str) -> m.Volume:
        """The volume with this name.

        Raises `NotFoundError` when it is not there.

        >>> volume = node.create_volume("data")
        >>> node.inspect_volume("data").name
        'data'
        """
    def create_volume(self, name: str, **fields: Unpack[_VolumeFields]) -> m.Volume:
        """Makes a volume. Keywords: `driver`, `labels`, `options` (the driver's own).

        Raises `AlreadyExistsError` when the name is taken, and `InvalidInputError` for what makes no sense.

        >>> node.create_volume("data", labels={"tier": "data"}).labels
        {'tier': 'data'}
        """
    def delete_volume(self, name: str, *, force: bool = False) -> None:
        """Deletes a volume; with `force` as far as the engine can force it.

        Raises `NotFoundError` when it is not there, and `ConflictError` when a container uses it.

        >>> volume = node.create_volume("data")
        >>> node.delete_volume("data")
        """
    def host(self) -> m.HostFacts:
        """What the machine is made of.

        Raises `UnsupportedError` where the engine does not tell.

        >>> facts = node.host() if node.can("host") else None
        """
    def usage(self, *, containers: Sequence[str] | None = None) -> m.NodeUsage:
        """What the machine and its containers use; only these containers when some are named. It is looked at every few seconds, from the first
        question on: `observed_at` says when, and `rates` are there from the second look on.

        Raises `UnsupportedError` where the engine does not tell.

        >>> [one.name for one in node.usage().containers]
        ['web']
        """
    def watch_usage(self, *, containers: Sequence[str] | None = None) -> Stream[m.NodeUsage]:
        """The same again and again, as often as it is looked.

        Raises `UnsupportedError` where the engine does not tell.

        >>> with node.watch_usage() as usages:
        ...     print(len(next(usages).containers))
        1
        """
    def usage_history(
        self,
        *,
        containers: Sequence[str] | None = None,
        processes: Sequence[str] | None = None,
        since: datetime | None = None,
        step_seconds: float | None = None,
    ) -> m.UsageHistory:
        """What was used over time: by the machine and all containers, by these `containers`, or by the `processes` of these.

        Raises `UnsupportedError` where the engine does not tell, and `InvalidInputError` for a step that is none.

        >>> if node.can("usage_history"):
        ...     history = node.usage_history(containers=[web.id], step_seconds=1.0)
        """
    def processes(
        self, *, containers: Sequence[str] | None = None, open_files: bool = False, connections: bool = False
    ) -> list[m.Process]:
        """The processes of all containers, or of these, and with `open_files` and `connections` what they have open.

        Raises `UnsupportedError` where the engine does not tell.

        >>> node.processes(containers=[web.id])[0].cmdline
        ['sh', '-c', 'echo hello; sleep 60']
        """

@final
class AioNode:
    """One machine reached through one engine endpoint: `roadstead.Node`, whose calls are awaited. It is an asynchronous context manager that
    closes the connection.

    >>> import asyncio
    >>> from roadstead import aio
    >>> async def main():
    ...     async with aio.connect("memory:") as node:
    ...         info, containers = await asyncio.gather(node.info(), node.containers())
    ...         print(info.engine, containers)
    >>> asyncio.run(main())
    memory []
    """
    def __aenter__(self) -> _Call[Self]: ...
    def __aexit__(self, *_exception: object) -> _Call[None]: ...
    def aclose(self) -> _Call[None]:
        """Closes the connection: calls of it and of what came from it are refused from now on, and what goes on ends. Closing it
        twice does nothing.
        """
    @property
    def name(self) -> str:
        """The name under which it is known here."""
    @property
    def uri(self) -> str:
        """The URI it was connected with, without secrets."""
    @property
    def lasting_uri(self) -> str | None:
        """The URI to connect it by again, where that is another one."""
    @property
    def capabilities(self) -> m.Capabilities:
        """What it can do, found out when it was connected."""
    def can(self, capability: str) -> bool:
        """Whether it can do this, by the capability's name.

        Raises `InvalidInputError` for what is no capability.

        >>> node.can("freeze")
        True
        """
    def container(self, id: str) -> AioContainer:
        """The container with this id or name. Asks nobody: whether it exists, its first call tells.

        Raises `ConflictError` when the connection is closed.

        >>> node.container("web").inspect().state.value
        'running'
        """
    def ping(self) -> _Call[None]:
        """Asks the engine whether it is there.

        Raises `UnavailableError` when it is not.

        >>> node.ping()
        """
    def info(self) -> _Call[m.NodeInfo]:
        """What the node is.

        Raises `UnavailableError` when the engine does not answer.

        >>> info = node.info()
        >>> info.engine, info.simulated
        ('memory', True)
        """
    def containers(
        self,
        *,
        states: Sequence[_State] | None = None,
        ids: Sequence[str] | None = None,
        names: Sequence[str] | None = None,
        labels: _Labels | None = None,
    ) -> _Call[list[AioListedContainer]]:
        """The containers, in one engine call, newest first where creation times are told: all of them, or those that have one of
        the states, ids and names, and all of the labels (None stands for any value).

        Raises `InvalidInputError` for states that there are not.

        >>> [container.name for container in node.containers(states=["running"])]
        ['web']
        """
    def create_container(self, image: str | m.ContainerSpec, **fields: Unpack[_SpecFields]) -> _Call[AioCreatedContainer]:
        """Creates a container, which does not run yet: of an image and keyword arguments, which are the members of
        `ContainerSpec`, or of a `ContainerSpec`.

        Raises `NotFoundError` when the image is not there (nothing is pulled), and `AlreadyExistsError` when the name is taken.

        >>> made = node.create_container("roadstead/busybox:latest", name="db", command=["sleep", "60"], labels={"tier": "data"})
        >>> made.name
        'db'
        >>> spec = roadstead.ContainerSpec(image="roadstead/busybox:latest", command=["sleep", "60"])
        >>> node.create_container(spec).start()
        """
    def check_container(self, image: str | m.ContainerSpec, **fields: Unpack[_SpecFields]) -> _Call[None]:
        """Refuses what `create_container` would refuse about the specification itself; nothing is created.

        Raises `InvalidInputError` whose `field` is what is wrong, and `UnsupportedError` for what the engine cannot do.

        >>> node.check_container("roadstead/busybox:latest", env={"A=B": "c"})
        Traceback (most recent call last):
        ...
        roadstead.InvalidInputError: ...
        """
    def restore_container(self, archive: _Archive, *, name: str | None = None) -> _Call[AioCreatedContainer]:
        """Makes a container from what `Container.backup` gave; it does not run.

        Raises `AlreadyExistsError` when the name is taken, `InvalidInputError` for what is no backup, and what the given object itself
        raises.

        >>> restored = other.restore_container(web.backup(), name="copy")
        >>> restored.inspect().state.value
        'stopped'
        """
    def copy_ways(self, source: AioNode, container: str) -> _Call[list[t.CopyWay]]:
        """The ways in which this node can take a container of `source` by the engines' own means, best first.

        Raises `NotFoundError` when there is no such container.

        >>> [way.transport.value for way in other.copy_ways(node, "web")]
        ['pull']
        """
    def copy_container(
        self,
        source: AioNode,
        container: str,
        name: str,
        transport: m.CopyTransport | Literal["local", "pull", "push", "relay"],
        *,
        live: bool = False,
        snapshots: bool = False,
        labels: Mapping[str, str] | None = None,
    ) -> _Call[AioStream[t.CopyProgress]]:
        """Copies a container of `source` to this node as `name`, by a transport that `copy_ways` gave. When the stream has ended
        without error, the copy is there and complete.

        Raises `AlreadyExistsError` when the name is taken, and `UnsupportedError` for a transport that `copy_ways` did not give; what
        breaks it off raises while it is read.

        >>> for progress in other.copy_container(node, "web", "copy", "pull"):
        ...     pass
        >>> [container.name for container in other.containers()]
        ['copy']
        """
    def events(self, *, since: datetime | None = None) -> _Call[AioStream[m.Event]]:
        """What happens on the node, from now on or from a moment in the past.

        Raises `UnsupportedError` for the past of an engine that keeps none; what breaks it off raises while it is read.

        >>> with node.events() as events:
        ...     web.rename("site")
        ...     print(next(events).action)
        renamed
        """
    def run(self, command: Sequence[str], **options: Unpack[_JobOptions]) -> _Call[AioJob]:
        """Runs a command on the node itself, where the engine can, and gives the job at once. Keywords: as those of `Container.run`.

        Raises `UnsupportedError` where the engine cannot.

        >>> node.run(["echo", "hello"]).wait(timeout=10).exit_code
        0
        """
    def jobs(self) -> _Call[list[m.JobStatus]]:
        """All jobs that are known, of containers and of the node itself, oldest first.

        Raises `UnavailableError` when the engine does not answer.

        >>> job = web.run(["true"])
        >>> [one.container for one in node.jobs()] == [web.id]
        True
        """
    def job(self, id: str) -> _Call[AioJob]:
        """The job with this id.

        Raises `NotFoundError` when it is not known, or not kept any more.

        >>> job = web.run(["sh", "-c", "exit 3"])
        >>> node.job(job.id).wait(timeout=10).exit_code
        3
        """
    def pool(self, name: str) -> _Call[AioPool]:
        """The pool of the engine's own that the node is in: a cluster, a swarm.

        Raises `ConflictError` for a node that is in none, and `UnsupportedError` where the engine has none.

        >>> node.pool("swarm")
        Traceback (most recent call last):
        ...
        roadstead.UnsupportedError: ...
        """
    def images(self) -> _Call[list[m.ImageSummary]]:
        """All images, in one engine call.

        Raises `UnavailableError` when the engine does not answer.

        >>> [image.references for image in node.images()]
        [['roadstead/busybox:latest']]
        """
    def inspect_image(self, reference: str) -> _Call[m.ImageDetails]:
        """Everything that the engine tells of the image with this reference or id.

        Raises `NotFoundError` when it is not there.

        >>> node.inspect_image("roadstead/busybox:latest").references
        ['roadstead/busybox:latest']
        """
    def pull_image(
        self,
        reference: str,
        *,
        platform: str | None = None,
        username: str | None = None,
        password: str | None = None,
    ) -> _Call[AioStream[t.ImageProgress]]:
        """Pulls an image from a registry. When the stream has ended without error, the image is there.

        Raises `InvalidInputError` when only one of `username` and `password` is given; what breaks it off raises while it is read, as does
        `NotFoundError` when the registry has no such image.

        >>> for progress in node.pull_image("registry.example/roadstead/hello:latest"):
        ...     pass
        >>> len(node.images())
        2
        """
    def import_image(
        self,
        archive: _Archive,
        reference: str,
        *,
        command: Sequence[str] | None = None,
        message: str | None = None,
    ) -> _Call[str]:
        """Makes an image from the tar archive of a root file system, and gives its id.

        Raises `InvalidInputError` for what is no archive, and what the given object itself raises.

        >>> image = node.import_image(web.export(), "roadstead/site:latest", command=["sh"])
        >>> node.inspect_image(image).references
        ['roadstead/site:latest']
        """
    def load_images(self, archive: _Archive) -> _Call[list[str]]:
        """Loads an archive made by `save_images`, and gives the references or ids loaded.

        Raises `InvalidInputError` for what is no such archive, and what the given object itself raises.

        >>> other.load_images(node.save_images(["roadstead/busybox:latest"]))
        ['roadstead/busybox:latest']
        """
    def save_images(self, references: Sequence[str]) -> _Call[AioByteStream]:
        """The images with these references as one archive.

        Raises `NotFoundError` when one is not there; what breaks it off raises while it is read.

        >>> len(node.save_images(["roadstead/busybox:latest"]).read()) % 512
        0
        """
    def tag_image(self, reference: str, new_reference: str) -> _Call[None]:
        """Gives an image a further reference.

        Raises `NotFoundError` when it is not there.

        >>> node.tag_image("roadstead/busybox:latest", "site:1")
        >>> node.inspect_image("site:1").references
        ['roadstead/busybox:latest', 'site:1']
        """
    def delete_image(self, reference: str, *, force: bool = False) -> _Call[None]:
        """Takes a reference away, and deletes the image with its last one; with `force` also when containers use it.

        Raises `NotFoundError` when it is not there, and `ConflictError` when a container uses it and `force` is not set.

        >>> node.tag_image("roadstead/busybox:latest", "site:1")
        >>> node.delete_image("site:1")
        """
    def networks(self) -> _Call[list[m.Network]]:
        """All networks.

        Raises `UnsupportedError` where the engine has none.

        >>> network = node.create_network("backend")
        >>> "backend" in [network.name for network in node.networks()]
        True
        """
    def inspect_network(self, name: str) -> _Call[m.Network]:
        """The network with this name or id.

        Raises `NotFoundError` when it is not there.

        >>> network = node.create_network("backend")
        >>> node.inspect_network("backend").name
        'backend'
        """
    def create_network(self, name: str, **fields: Unpack[_NetworkFields]) -> _Call[str]:
        """Makes a network, and gives its id. Keywords: `driver`, `internal` (whether it leads nowhere else), `subnets` (`Subnet`), `labels`,
        `options` (the driver's own).

        Raises `AlreadyExistsError` when the name is taken, and `InvalidInputError` for what makes no sense.

        >>> network = node.create_network("backend", subnets=[roadstead.Subnet(cidr="10.99.0.0/24")])
        >>> node.inspect_network("backend").subnets[0].cidr
        '10.99.0.0/24'
        """
    def delete_network(self, name: str) -> _Call[None]:
        """Deletes a network.

        Raises `NotFoundError` when it is not there, and `ConflictError` when a container is in it.

        >>> network = node.create_network("backend")
        >>> node.delete_network("backend")
        """
    def volumes(self) -> _Call[list[m.Volume]]:
        """All volumes.

        Raises `UnsupportedError` where the engine has none.

        >>> volume = node.create_volume("data")
        >>> [volume.name for volume in node.volumes()]
        ['data']
        """
    def inspect_volume(self, name: str) -> _Call[m.Volume]:
        """The volume with this name.

        Raises `NotFoundError` when it is not there.

        >>> volume = node.create_volume("data")
        >>> node.inspect_volume("data").name
        'data'
        """
    def create_volume(self, name: str, **fields: Unpack[_VolumeFields]) -> _Call[m.Volume]:
        """Makes a volume. Keywords: `driver`, `labels`, `options` (the driver's own).

        Raises `AlreadyExistsError` when the name is taken, and `InvalidInputError` for what makes no sense.

        >>> node.create_volume("data", labels={"tier": "data"}).labels
        {'tier': 'data'}
        """
    def delete_volume(self, name: str, *, force: bool = False) -> _Call[None]:
        """Deletes a volume; with `force` as far as the engine can force it.

        Raises `NotFoundError` when it is not there, and `ConflictError` when a container uses it.

        >>> volume = node.create_volume("data")
        >>> node.delete_volume("data")
        """
    def host(self) -> _Call[m.HostFacts]:
        """What the machine is made of.

        Raises `UnsupportedError` where the engine does not tell.

        >>> facts = node.host() if node.can("host") else None
        """
    def usage(self, *, containers: Sequence[str] | None = None) -> _Call[m.NodeUsage]:
        """What the machine and its containers use; only these containers when some are named. It is looked at every few seconds, from the first
        question on: `observed_at` says when, and `rates` are there from the second look on.

        Raises `UnsupportedError` where the engine does not tell.

        >>> [one.name for one in node.usage().containers]
        ['web']
        """
    def watch_usage(self, *, containers: Sequence[str] | None = None) -> _Call[AioStream[m.NodeUsage]]:
        """The same again and again, as often as it is looked.

        Raises `UnsupportedError` where the engine does not tell.

        >>> with node.watch_usage() as usages:
        ...     print(len(next(usages).containers))
        1
        """
    def usage_history(
        self,
        *,
        containers: Sequence[str] | None = None,
        processes: Sequence[str] | None = None,
        since: datetime | None = None,
        step_seconds: float | None = None,
    ) -> _Call[m.UsageHistory]:
        """What was used over time: by the machine and all containers, by these `containers`, or by the `processes` of these.

        Raises `UnsupportedError` where the engine does not tell, and `InvalidInputError` for a step that is none.

        >>> if node.can("usage_history"):
        ...     history = node.usage_history(containers=[web.id], step_seconds=1.0)
        """
    def processes(
        self, *, containers: Sequence[str] | None = None, open_files: bool = False, connections: bool = False
    ) -> _Call[list[m.Process]]:
        """The processes of all containers, or of these, and with `open_files` and `connections` what they have open.

        Raises `UnsupportedError` where the engine does not tell.

        >>> node.processes(containers=[web.id])[0].cmdline
        ['sh', '-c', 'echo hello; sleep 60']
        """

_Strategy = m.Strategy | Literal["spread", "pack"]

@final
class Pool:
    """A named set of nodes that is addressed as one. A member that does not answer makes none of its calls raise.

    >>> import roadstead
    >>> with roadstead.connect("memory:", name="a") as a, roadstead.connect("memory:", name="b") as b:
    ...     pool = roadstead.Pool("both", [a, b])
    ...     pool.create_container("roadstead/busybox:latest", name="web").node
    ...     [container.name for container in pool.containers().items]
    'a'
    ['web']
    """
    def __enter__(self) -> Self: ...
    def __exit__(self, *_exception: object) -> None: ...
    def close(self) -> None:
        """Closes it, and the nodes that came with it; those that were given stay as they are."""
    def __new__(cls, name: str, nodes: Iterable[Node] | None = None) -> Self: ...
    @property
    def name(self) -> str:
        """Its name."""
    @property
    def unreachable(self) -> dict[str, str]:
        """Engines that were found and cannot be reached, with the reason."""
    def nodes(self) -> list[Node]:
        """Its nodes as they are now.

        Raises `ConflictError` when it is closed.

        >>> [node.name for node in pool.nodes()]
        ['memory', 'other']
        """
    def node(self, name: str) -> Node:
        """The node with this name.

        Raises `NotFoundError` when it has none.

        >>> pool.node("other").info().engine
        'memory'
        """
    def members(self) -> list[t.Member]:
        """Its nodes with their labels, and why they take no new containers where they do not.

        Raises `ConflictError` when it is closed.

        >>> pool.label("other", {"zone": "b"})
        >>> [(member.node, member.labels) for member in pool.members()]
        [('memory', {}), ('other', {'zone': 'b'})]
        """
    def add(self, node: Node) -> None:
        """Adds a node.

        Raises `AlreadyExistsError` when it has one of this name.

        >>> third = roadstead.connect("memory:", name="third")
        >>> pool.add(third)
        >>> len(pool.nodes())
        3
        """
    def remove(self, name: str) -> None:
        """Takes a node out of it; the node stays connected.

        Raises `NotFoundError` when it has none of this name.

        >>> pool.remove("other")
        >>> [node.name for node in pool.nodes()]
        ['memory']
        """
    def label(self, name: str, labels: Mapping[str, str]) -> None:
        """Gives a node other labels.

        Raises `NotFoundError` when it has none of this name.

        >>> pool.label("other", {"zone": "b"})
        >>> pool.place("roadstead/busybox:latest", node_labels={"zone": "b"}).node
        'other'
        """
    def cordon(self, name: str, reason: str | None = None) -> None:
        """Keeps new containers from a node, for a reason; without one it takes them again.

        Raises `NotFoundError` when it has none of this name.

        >>> pool.cordon("other", "it is being mended")
        >>> pool.create_container("roadstead/busybox:latest").node
        'memory'
        """
    def containers(
        self,
        *,
        states: Sequence[_State] | None = None,
        ids: Sequence[str] | None = None,
        names: Sequence[str] | None = None,
        labels: _Labels | None = None,
        timeout: _Timeout = 30.0,
    ) -> t.Listing[ListedContainer]:
        """The containers of all members, each asked at once: what came within `timeout` seconds, and an error for each that did not.

        Raises `InvalidInputError` for states that there are not; a member that does not answer is in `errors`.

        >>> listing = pool.containers(timeout=10)
        >>> [(container.node, container.name) for container in listing.items], listing.errors
        ([('memory', 'web')], [])
        """
    def act(
        self,
        verb: Literal["start", "stop", "restart", "kill", "freeze", "unfreeze", "delete"],
        *,
        states: Sequence[_State] | None = None,
        ids: Sequence[str] | None = None,
        names: Sequence[str] | None = None,
        labels: _Labels | None = None,
        timeout: _Timeout = 60.0,
        concurrency: int = 16,
        per_node: int = 4,
        dry_run: bool = False,
        stop_timeout: int | None = None,
        signal: _Signal | None = None,
        force: bool = False,
        volumes: bool = False,
    ) -> t.Listing[m.ActedItem]:
        """Does one thing ("start", "stop", "restart", "kill", "freeze", "unfreeze" or "delete") to many containers, several at a
        time, and tells the outcome for each; with `dry_run` it tells only what would be done.

        Raises `InvalidInputError` for a verb that there is not; what fails is in the items.

        >>> done = pool.act("stop", names=["web"], stop_timeout=5)
        >>> [(item.node, item.outcome.value) for item in done.items]
        [('memory', 'done')]
        """
    def totals(self, *, timeout: _Timeout = 30.0) -> m.PoolTotals:
        """What all members have together, as far as they answered within `timeout` seconds.

        Raises nothing of the members: who does not answer is in `errors`.

        >>> totals = pool.totals(timeout=10)
        >>> totals.containers, totals.running
        (1, 1)
        """
    def place(
        self,
        image: str | m.ContainerSpec,
        *,
        strategy: _Strategy = "spread",
        node_labels: _Labels | None = None,
        nodes: Sequence[str] | None = None,
        memory_bytes: int | None = None,
        timeout: _Timeout = 30.0,
        **fields: Unpack[_SpecFields],
    ) -> m.Decision:
        """Which member would take a new container, and why: `strategy` is "spread" or "pack".

        Raises `InvalidInputError` for what makes no sense; where nobody would, `node` is None.

        >>> decision = pool.place("roadstead/busybox:latest", strategy="spread")
        >>> decision.node
        'other'
        """
    def create_container(
        self,
        image: str | m.ContainerSpec,
        *,
        strategy: _Strategy = "spread",
        node_labels: _Labels | None = None,
        nodes: Sequence[str] | None = None,
        memory_bytes: int | None = None,
        timeout: _Timeout = 60.0,
        **fields: Unpack[_SpecFields],
    ) -> t.PlacedContainer[CreatedContainer]:
        """Creates a container on the member that `place` would name.

        Raises `ConflictError` when no member may take it, and what the last one that was tried raised.

        >>> placed = pool.create_container("roadstead/busybox:latest", name="db")
        >>> placed.node, placed.container.name
        ('other', 'db')
        """
    def plan_drain(
        self,
        node: str,
        *,
        strategy: _Strategy = "spread",
        node_labels: _Labels | None = None,
        nodes: Sequence[str] | None = None,
        timeout: _Timeout = 60.0,
    ) -> m.DrainPlan:
        """What it takes to empty a member: where each of its containers goes, and how. Nothing is done.

        Raises `NotFoundError` when it has none of this name.

        >>> plan = pool.plan_drain("memory")
        >>> [(move.plan.name, move.plan.target) for move in plan.moves], plan.stays
        ([('web', 'other')], [])
        """
    def plan_relief(
        self,
        loads: Sequence[t.MemberLoad],
        *,
        criterion: Literal["cpu", "latency", "cpu_or_latency"] = "cpu",
        cpu_percent: float = 80.0,
        latency_ms: float = 100.0,
        margin_percent: float = 10.0,
        resting: Sequence[str] | None = None,
        timeout: _Timeout = 60.0,
    ) -> t.Relief:
        """What it takes to relieve the members that bear too much by these loads (`MemberLoad`): one container of each, and where
        it goes. `criterion` is "cpu", "latency" or "cpu_or_latency". Nothing is done.

        Raises `InvalidInputError` for loads of who is no member.

        >>> loads = [
        ...     roadstead.MemberLoad("memory", cpu_percent=95.0, cpus=2, containers=[
        ...         roadstead.ContainerLoad(web.id, "web", 60.0)]),
        ...     roadstead.MemberLoad("other", cpu_percent=5.0, cpus=2),
        ... ]
        >>> [(move.plan.name, move.plan.target) for move in pool.plan_relief(loads, cpu_percent=80.0).moves]
        [('web', 'other')]
        """

@final
class AioPool:
    """A named set of nodes that is addressed as one: `roadstead.Pool`, whose calls are awaited.

    >>> import asyncio
    >>> from roadstead import aio
    >>> async def main():
    ...     async with aio.connect("memory:", name="a") as a, aio.connect("memory:", name="b") as b:
    ...         placed = await aio.Pool("both", [a, b]).create_container("roadstead/busybox:latest")
    ...         print(placed.node)
    >>> asyncio.run(main())
    a
    """
    def __aenter__(self) -> _Call[Self]: ...
    def __aexit__(self, *_exception: object) -> _Call[None]: ...
    def aclose(self) -> _Call[None]:
        """Closes it, and the nodes that came with it; those that were given stay as they are."""
    def __new__(cls, name: str, nodes: Iterable[AioNode] | None = None) -> Self: ...
    @property
    def name(self) -> str:
        """Its name."""
    @property
    def unreachable(self) -> dict[str, str]:
        """Engines that were found and cannot be reached, with the reason."""
    def nodes(self) -> list[AioNode]:
        """Its nodes as they are now.

        Raises `ConflictError` when it is closed.

        >>> [node.name for node in pool.nodes()]
        ['memory', 'other']
        """
    def node(self, name: str) -> AioNode:
        """The node with this name.

        Raises `NotFoundError` when it has none.

        >>> pool.node("other").info().engine
        'memory'
        """
    def members(self) -> list[t.Member]:
        """Its nodes with their labels, and why they take no new containers where they do not.

        Raises `ConflictError` when it is closed.

        >>> pool.label("other", {"zone": "b"})
        >>> [(member.node, member.labels) for member in pool.members()]
        [('memory', {}), ('other', {'zone': 'b'})]
        """
    def add(self, node: AioNode) -> None:
        """Adds a node.

        Raises `AlreadyExistsError` when it has one of this name.

        >>> third = roadstead.connect("memory:", name="third")
        >>> pool.add(third)
        >>> len(pool.nodes())
        3
        """
    def remove(self, name: str) -> None:
        """Takes a node out of it; the node stays connected.

        Raises `NotFoundError` when it has none of this name.

        >>> pool.remove("other")
        >>> [node.name for node in pool.nodes()]
        ['memory']
        """
    def label(self, name: str, labels: Mapping[str, str]) -> None:
        """Gives a node other labels.

        Raises `NotFoundError` when it has none of this name.

        >>> pool.label("other", {"zone": "b"})
        >>> pool.place("roadstead/busybox:latest", node_labels={"zone": "b"}).node
        'other'
        """
    def cordon(self, name: str, reason: str | None = None) -> None:
        """Keeps new containers from a node, for a reason; without one it takes them again.

        Raises `NotFoundError` when it has none of this name.

        >>> pool.cordon("other", "it is being mended")
        >>> pool.create_container("roadstead/busybox:latest").node
        'memory'
        """
    def containers(
        self,
        *,
        states: Sequence[_State] | None = None,
        ids: Sequence[str] | None = None,
        names: Sequence[str] | None = None,
        labels: _Labels | None = None,
        timeout: _Timeout = 30.0,
    ) -> _Call[t.Listing[AioListedContainer]]:
        """The containers of all members, each asked at once: what came within `timeout` seconds, and an error for each that did not.

        Raises `InvalidInputError` for states that there are not; a member that does not answer is in `errors`.

        >>> listing = pool.containers(timeout=10)
        >>> [(container.node, container.name) for container in listing.items], listing.errors
        ([('memory', 'web')], [])
        """
    def act(
        self,
        verb: Literal["start", "stop", "restart", "kill", "freeze", "unfreeze", "delete"],
        *,
        states: Sequence[_State] | None = None,
        ids: Sequence[str] | None = None,
        names: Sequence[str] | None = None,
        labels: _Labels | None = None,
        timeout: _Timeout = 60.0,
        concurrency: int = 16,
        per_node: int = 4,
        dry_run: bool = False,
        stop_timeout: int | None = None,
        signal: _Signal | None = None,
        force: bool = False,
        volumes: bool = False,
    ) -> _Call[t.Listing[m.ActedItem]]:
        """Does one thing ("start", "stop", "restart", "kill", "freeze", "unfreeze" or "delete") to many containers, several at a
        time, and tells the outcome for each; with `dry_run` it tells only what would be done.

        Raises `InvalidInputError` for a verb that there is not; what fails is in the items.

        >>> done = pool.act("stop", names=["web"], stop_timeout=5)
        >>> [(item.node, item.outcome.value) for item in done.items]
        [('memory', 'done')]
        """
    def totals(self, *, timeout: _Timeout = 30.0) -> _Call[m.PoolTotals]:
        """What all members have together, as far as they answered within `timeout` seconds.

        Raises nothing of the members: who does not answer is in `errors`.

        >>> totals = pool.totals(timeout=10)
        >>> totals.containers, totals.running
        (1, 1)
        """
    def place(
        self,
        image: str | m.ContainerSpec,
        *,
        strategy: _Strategy = "spread",
        node_labels: _Labels | None = None,
        nodes: Sequence[str] | None = None,
        memory_bytes: int | None = None,
        timeout: _Timeout = 30.0,
        **fields: Unpack[_SpecFields],
    ) -> _Call[m.Decision]:
        """Which member would take a new container, and why: `strategy` is "spread" or "pack".

        Raises `InvalidInputError` for what makes no sense; where nobody would, `node` is None.

        >>> decision = pool.place("roadstead/busybox:latest", strategy="spread")
        >>> decision.node
        'other'
        """
    def create_container(
        self,
        image: str | m.ContainerSpec,
        *,
        strategy: _Strategy = "spread",
        node_labels: _Labels | None = None,
        nodes: Sequence[str] | None = None,
        memory_bytes: int | None = None,
        timeout: _Timeout = 60.0,
        **fields: Unpack[_SpecFields],
    ) -> _Call[t.PlacedContainer[AioCreatedContainer]]:
        """Creates a container on the member that `place` would name.

        Raises `ConflictError` when no member may take it, and what the last one that was tried raised.

        >>> placed = pool.create_container("roadstead/busybox:latest", name="db")
        >>> placed.node, placed.container.name
        ('other', 'db')
        """
    def plan_drain(
        self,
        node: str,
        *,
        strategy: _Strategy = "spread",
        node_labels: _Labels | None = None,
        nodes: Sequence[str] | None = None,
        timeout: _Timeout = 60.0,
    ) -> _Call[m.DrainPlan]:
        """What it takes to empty a member: where each of its containers goes, and how. Nothing is done.

        Raises `NotFoundError` when it has none of this name.

        >>> plan = pool.plan_drain("memory")
        >>> [(move.plan.name, move.plan.target) for move in plan.moves], plan.stays
        ([('web', 'other')], [])
        """
    def plan_relief(
        self,
        loads: Sequence[t.MemberLoad],
        *,
        criterion: Literal["cpu", "latency", "cpu_or_latency"] = "cpu",
        cpu_percent: float = 80.0,
        latency_ms: float = 100.0,
        margin_percent: float = 10.0,
        resting: Sequence[str] | None = None,
        timeout: _Timeout = 60.0,
    ) -> _Call[t.Relief]:
        """What it takes to relieve the members that bear too much by these loads (`MemberLoad`): one container of each, and where
        it goes. `criterion` is "cpu", "latency" or "cpu_or_latency". Nothing is done.

        Raises `InvalidInputError` for loads of who is no member.

        >>> loads = [
        ...     roadstead.MemberLoad("memory", cpu_percent=95.0, cpus=2, containers=[
        ...         roadstead.ContainerLoad(web.id, "web", 60.0)]),
        ...     roadstead.MemberLoad("other", cpu_percent=5.0, cpus=2),
        ... ]
        >>> [(move.plan.name, move.plan.target) for move in pool.plan_relief(loads, cpu_percent=80.0).moves]
        [('web', 'other')]
        """

# Called by the package alone.
@overload
def connect_to(
    awaited: Literal[False],
    uri: str,
    name: str | None,
    timeout: float,
    certificate: _Path | None,
    key: _Path | None,
    authority: _Path | None,
) -> Node: ...
@overload
def connect_to(
    awaited: Literal[True],
    uri: str,
    name: str | None,
    timeout: float,
    certificate: _Path | None,
    key: _Path | None,
    authority: _Path | None,
) -> _Call[AioNode]: ...
@overload
def connect_here(awaited: Literal[False], timeout: float) -> Pool: ...
@overload
def connect_here(awaited: Literal[True], timeout: float) -> _Call[AioPool]: ...
@overload
def connect_server(
    awaited: Literal[False],
    url: str,
    token: str | None,
    timeout: float,
    certificate: _Path | None,
    key: _Path | None,
    authority: _Path | None,
) -> Pool: ...
@overload
def connect_server(
    awaited: Literal[True],
    url: str,
    token: str | None,
    timeout: float,
    certificate: _Path | None,
    key: _Path | None,
    authority: _Path | None,
) -> _Call[AioPool]: ...
def discover() -> list[t.Discovered]: ...
def schemes() -> list[str]: ...
def error_table() -> list[tuple[str, str, str]]: ...
def end() -> list[int] | None: ...
def running() -> int: ...
def waiting() -> int: ...

# What is given where an archive is taken.
_Archive = _Bytes | _Path | _Readable | Iterable[_Bytes] | ByteStream | AioByteStream
