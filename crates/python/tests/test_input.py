"""What is wrong is refused with the right exception, names what is wrong, and changes nothing; nothing panics."""

from __future__ import annotations

import asyncio
import builtins
import math
import os
import signal
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import roadstead
from roadstead import _native, aio

IMAGE = "roadstead/busybox:latest"


@pytest.fixture
def node() -> Any:
    with roadstead.connect("memory:") as node:
        yield node


@pytest.fixture
def web(node: roadstead.Node) -> roadstead.Container:
    web = node.create_container(IMAGE, name="web", command=["sleep", "60"])
    web.start()
    return web


def test_exceptions_are_those_of_the_one_table() -> None:
    table = _native.error_table()
    classes = {name for name in vars(roadstead._errors) if name.endswith("Error") and name != "Error"}
    assert {name for _, name, _ in table} == {name for name in classes if hasattr(roadstead, name)}
    for _, name, builtin in table:
        found = getattr(roadstead, name)
        assert issubclass(found, roadstead.Error)
        assert issubclass(found, getattr(builtins, builtin))


def test_everything_public_is_in_the_package() -> None:
    for module in (roadstead._errors, roadstead._models, roadstead._types):
        assert set(module.__all__) <= set(roadstead.__all__)
        assert all(getattr(roadstead, name) is getattr(module, name) for name in module.__all__)


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"name": "a b"}, "name"),
        ({"command": "ls"}, "command"),
        ({"command": ["a", 7]}, "command[1]"),
        ({"env": {"A": 5}}, "env.A"),
        ({"limits": {"memory_bytes": -1}}, "limits.memory_bytes"),
        ({"limits": {"memory_bytes": 2**70}}, "limits.memory_bytes"),
        ({"limits": {"cpus": math.nan}}, "limits.cpus"),
        ({"limits": {"nonsense": 1}}, "limits"),
        ({"restart": "sometimes"}, "restart"),
        ({"nonsense": 1}, "nonsense"),
        ({"mounts": [{"type": "bind"}]}, "mounts[0]"),
        ({"name": "a\ud800"}, "name"),
        ({"env": {"\udfff": "x"}}, "a key of env"),
        ({"labels": {"a": "\ud83d"}}, "labels.a"),
    ],
)
def test_a_specification_that_makes_no_sense_names_the_member(
    node: roadstead.Node, arguments: dict[str, Any], field: str
) -> None:
    with pytest.raises(roadstead.InvalidInputError) as raised:
        node.create_container(IMAGE, **arguments)
    assert field.split(".")[0].split("[")[0] in str(raised.value), raised.value
    assert (raised.value.field or "").startswith(field.split("[")[0].split(".")[0]), raised.value.field
    assert not node.containers()


def test_wrong_types_are_type_errors(node: roadstead.Node, web: roadstead.Container) -> None:
    anything: Any = node
    container: Any = web
    for call in (
        lambda: anything.create_container(5),
        lambda: anything.create_container(IMAGE, command={1, 2}),
        lambda: anything.create_container(roadstead.ContainerSpec(image=IMAGE), name="x"),
        lambda: anything.container(b"web"),
        lambda: anything.container(None),
        lambda: anything.copy_ways("memory", "web"),
        lambda: anything.load_images(5),
        lambda: anything.events(since="yesterday"),
        lambda: container.rename(7),
        lambda: container.run(5),
        lambda: container.stop(timeout="soon"),
        lambda: container.stop(5),
        lambda: container.run(["sh"], nonsense=object()),
        lambda: roadstead.connect(5),  # type: ignore[arg-type]
        lambda: roadstead.Pool("p", [5]),  # type: ignore[list-item]
        lambda: roadstead.Pool(5),  # type: ignore[arg-type]
    ):
        with pytest.raises(TypeError):
            call()
    assert [one.name for one in node.containers()] == ["web"]


def test_values_out_of_range_are_value_errors(node: roadstead.Node, web: roadstead.Container) -> None:
    anything: Any = web
    for call in (
        lambda: web.wait(timeout=-1),
        lambda: web.wait(timeout=math.nan),
        lambda: web.wait(timeout=math.inf),
        lambda: web.wait(timeout=1e300),
        lambda: anything.wait(condition="tired"),
        lambda: web.stop(timeout=5000),
        lambda: web.kill(0),
        lambda: web.kill(10**30),
        lambda: web.kill("SIGNOPE"),
        lambda: web.logs(stdout=False, stderr=False),
        lambda: web.logs(since=datetime(2026, 1, 1)),
        lambda: web.rename("\ud800"),
        lambda: node.usage_history(step_seconds=-1.0),
        lambda: node.usage_history(containers=["web"], processes=["web"]),
        lambda: node.pull_image("x", username="a"),
        lambda: node.can("fly"),
        lambda: roadstead.connect("nothing://x"),
        lambda: roadstead.connect("memory:", timeout=-1),
        lambda: roadstead.connect("memory:", name="a b"),
        lambda: roadstead.fleet("ftp://x"),
        lambda: node.containers(names=[]),
        lambda: roadstead.Pool("p", [node]).act("delete", ids=[], force=True),
        lambda: roadstead.Pool("p", [node]).act("delete", states=[], force=True),
        lambda: web.stop(timeout=-1),
        lambda: web.stop(timeout=2**40),
        lambda: web.resize(-1, 5),
        lambda: web.logs(tail=2**70),
        lambda: web.run(["true"]).chunks(after=-1),
        lambda: web.commit("x", message="\ud800"),
        lambda: web.run(["true"]).output("\ud800"),  # type: ignore[arg-type]
        lambda: node.can("\ud800"),
        lambda: node.pull_image("x", platform="\ud800"),
        lambda: node.pull_image("x", username="a", password="\udfff"),
        lambda: node.restore_container(b"", name="\ud800"),
        lambda: roadstead.connect("memory:", name="\ud800"),
        lambda: roadstead.fleet("http://127.0.0.1:1", token="\ud800"),
        lambda: roadstead.fleet("http://127.0.0.1:1"),
        lambda: roadstead.Pool("p", [node]).act("start", concurrency=-1),
        lambda: roadstead.Pool("p", [node]).place(IMAGE, memory_bytes=2**70),
        lambda: roadstead.Pool("p", [node]).place(IMAGE, strategy="\ud800"),  # type: ignore[arg-type]
        lambda: roadstead.Pool("p", [node]).cordon("memory", "\ud800"),
    ):
        with pytest.raises(ValueError, match=r".") as raised:
            call()
        assert isinstance(raised.value, roadstead.Error), raised.value
        assert raised.value.field, raised.value
    with pytest.raises(roadstead.InvalidInputError) as told:
        roadstead.fleet("http://127.0.0.1:1")
    assert told.value.field == "token"


def test_the_argument_is_named_that_does_not_fit(node: roadstead.Node, web: roadstead.Container) -> None:
    anything: Any = web
    huge = 10**400
    pool = roadstead.Pool("p", [node])
    job = web.run(["true"])
    with node.events() as events:
        for call, field in (
            (lambda: web.wait(timeout=huge), "timeout"),
            (lambda: web.wait(timeout=-huge), "timeout"),
            (lambda: job.wait(timeout=huge), "timeout"),
            (lambda: events.next(timeout=huge), "timeout"),
            (lambda: node.usage_history(step_seconds=huge), "step_seconds"),
            (lambda: roadstead.connect("memory:", timeout=huge), "timeout"),
            (lambda: roadstead.local(timeout=huge), "timeout"),
            (lambda: roadstead.fleet("http://127.0.0.1:1", token="x", timeout=huge), "timeout"),
            (lambda: pool.containers(timeout=huge), "timeout"),
            (lambda: pool.totals(timeout=huge), "timeout"),
            (lambda: pool.plan_relief([], cpu_percent=huge), "cpu_percent"),
            (lambda: pool.plan_relief([], latency_ms=huge), "latency_ms"),
            (lambda: pool.plan_relief([], margin_percent=huge), "margin_percent"),
            (lambda: web.stop(timeout=3601), "timeout"),
            (lambda: web.stop(timeout=huge), "timeout"),
            (lambda: web.restart(timeout=3601), "timeout"),
            (lambda: pool.act("stop", stop_timeout=3601), "stop_timeout"),
            (lambda: pool.act("restart", stop_timeout=huge), "stop_timeout"),
            (lambda: pool.act("start", concurrency=huge), "concurrency"),
            (lambda: web.logs(tail=huge), "tail"),
            (lambda: web.resize(huge, 5), "columns"),
            (lambda: web.kill(huge), "signal"),
            (lambda: web.kill(10**5000), "signal"),
            (lambda: job.kill(10**5000), "signal"),
            (lambda: pool.act("kill", signal=10**5000), "signal"),
            (lambda: anything.run(["true"], timeout_seconds=huge), "timeout_seconds"),
            (lambda: anything.run(["true"], timeout_seconds=0), "timeout_seconds"),
        ):
            with pytest.raises(roadstead.InvalidInputError) as told:
                call()
            assert told.value.field == field, told.value
    with pytest.raises(roadstead.InvalidInputError, match="-inf"):
        web.wait(timeout=-huge)
    for wrong in (
        lambda: anything.kill(True),
        lambda: anything.wait(timeout="5"),
        lambda: node.usage_history(step_seconds="5"),  # type: ignore[arg-type]
    ):
        with pytest.raises(TypeError):
            wrong()


def test_what_nests_without_end_is_refused(node: roadstead.Node) -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(roadstead.InvalidInputError, match="deep"):
        node.create_container(IMAGE, command=endless)
    many: Any = ["a"]
    for _ in range(30):
        many = [many, many]
    with pytest.raises(roadstead.InvalidInputError, match="too many"):
        node.create_container(IMAGE, command=many)


def test_what_changes_while_it_is_looked_at_is_taken_as_it_was(node: roadstead.Node) -> None:
    env: dict[str, Any] = {}

    class Changes(os.PathLike[str]):
        def __fspath__(self) -> str:
            env["c"] = "d"
            return "x"

    env.update(a=Changes(), b="y")
    assert node.create_container(IMAGE, name="web", env=env).inspect().spec.env == {"a": "x", "b": "y"}


def test_after_the_end_everything_is_refused(node: roadstead.Node) -> None:
    web = node.create_container(IMAGE, name="web", command=["sleep", "60"])
    web.start()
    job = web.run(["sleep", "60"])
    events = node.events()
    node.close()
    node.close()
    for call in (node.ping, node.containers, web.inspect, web.start, job.status, lambda: next(events)):
        with pytest.raises(roadstead.ConflictError, match="closed"):
            call()
    with pytest.raises(roadstead.ConflictError):
        node.container("web")
    with pytest.raises(RuntimeError):
        roadstead.Pool("p", [node])
    events.close()
    assert list(events) == []


def test_after_the_end_everything_awaited_is_refused() -> None:
    async def main() -> None:
        async with aio.connect("memory:") as node:
            web = node.container("web")
        with pytest.raises(roadstead.ConflictError):
            await node.ping()
        with pytest.raises(roadstead.ConflictError):
            await web.inspect()

    asyncio.run(main())


def test_awaited_calls_need_a_loop() -> None:
    with pytest.raises(RuntimeError, match="no running event loop"):
        aio.connect("memory:").__await__()


def test_errors_tell_what_they_know(node: roadstead.Node) -> None:
    with pytest.raises(roadstead.NotFoundError) as raised:
        node.container("ghost").inspect()
    assert isinstance(raised.value, LookupError)
    assert (raised.value.code, raised.value.retry, raised.value.resource) == ("not_found", "never", "ghost")
    web = node.create_container(IMAGE, name="web", command=["sleep", "60"])
    with pytest.raises(roadstead.AlreadyExistsError):
        node.create_container(IMAGE, name="web")
    web.start()
    with pytest.raises(TimeoutError):
        web.wait(timeout=0.01)


def test_signals_moments_and_paths_are_taken_as_python_has_them(
    node: roadstead.Node, web: roadstead.Container, tmp_path: Path
) -> None:
    web.kill(signal.SIGUSR1)
    job = web.run(["pwd"], working_directory=Path("/tmp"))
    assert job.wait(timeout=10).exit_code == 0
    assert list(web.logs(since=datetime.now(timezone.utc) - timedelta(hours=1))) is not None
    limits = roadstead.Limits(memory_bytes=2**24)
    spec = roadstead.ContainerSpec(image=IMAGE, name="spec", labels={"a": "b"}, limits=limits)
    made = node.create_container(spec)
    assert made.inspect().spec.labels == {"a": "b"}
    assert [one.name for one in node.containers(labels={"a": None})] == ["spec"]
    assert [one.name for one in node.containers(labels={"a": "c"})] == []
    web.update(limits=roadstead.Limits(memory_bytes=2**25), restart="always")
    assert web.inspect().spec.restart == roadstead.RestartPolicy(policy="always")
    assert os.fspath(tmp_path)
