"""Who is cancelled gives his work up and takes nothing with him: no item, no order, no error, no part of an archive."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import pathlib
import subprocess
import sys
import tarfile
import weakref
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import roadstead
from roadstead import _native, aio
from tars import tar_of

IMAGE = "roadstead/busybox:latest"
PATIENCE = 60
GHOST = "registry.example/roadstead/ghost:latest"
HELLO = "registry.example/roadstead/hello:latest"


def on_a_node(work: Callable[[aio.Node, aio.Container], Awaitable[None]]) -> None:
    async def main() -> None:
        async with aio.connect("memory:") as node:
            web = await node.create_container(IMAGE, name="web", command=["sleep", "600"])
            await web.start()
            await work(node, web)

    asyncio.run(main())


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(PATIENCE * 100):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come in time")


def test_the_end_of_a_stream_is_told_where_it_is_awaited() -> None:
    async def work(node: aio.Node, web: aio.Container) -> None:
        progress = await node.pull_image(HELLO)
        assert [step async for step in progress]
        assert await anext(progress, None) is None
        archive = await web.copy_out("/bin/sh")
        assert await archive.read()
        assert await anext(archive, None) is None
        events = await node.events()
        await node.aclose()
        with pytest.raises(roadstead.ConflictError):
            await anext(events, None)
        with pytest.raises(roadstead.ConflictError):
            await asyncio.create_task(events.__anext__())

    on_a_node(work)


def test_a_stream_that_nobody_else_has_goes_on_for_who_waits() -> None:
    async def work(node: aio.Node, web: aio.Container) -> None:
        job = await web.run(["sh", "-c", "sleep 0.2; echo hello"])
        found = await (await job.chunks(follow=True)).next(timeout=PATIENCE)
        assert found is not None
        job = await web.run(["sh", "-c", "sleep 0.2; echo hello"])
        assert (await anext(await job.chunks(follow=True))).data == b"hello\n"

    on_a_node(work)


def test_a_task_that_is_cancelled_before_it_begins_gives_its_work_up() -> None:
    async def work(node: aio.Node, web: aio.Container) -> None:
        before = _native.running()
        tasks = [asyncio.create_task(web.wait(timeout=3600)) for _ in range(100)]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await until(lambda: _native.running() <= before)
        events = await node.events()
        for _ in range(5):
            taking = asyncio.create_task(events.next(timeout=PATIENCE))
            taking.cancel()
            await asyncio.gather(taking, return_exceptions=True)
        await web.rename("site")
        found = await events.next(timeout=PATIENCE)
        assert found is not None
        assert found.action == "renamed"

    on_a_node(work)


def test_what_comes_back_comes_back_to_its_place() -> None:
    async def work(node: aio.Node, web: aio.Container) -> None:
        events = await node.events()
        for name in ("c1", "c2", "c3"):
            await web.rename(name)
        names = []
        for pause in (False, True):
            tasks = [asyncio.create_task(events.next(timeout=PATIENCE)) for _ in range(2)]
            if pause:
                await asyncio.sleep(0)
            for task in tasks:
                task.cancel()
            came = await asyncio.gather(*tasks, return_exceptions=True)
            # Those that were quicker than that have theirs.
            names += [event.name for event in came if isinstance(event, roadstead.Event)]
        while len(names) < 3:
            event = await events.next(timeout=PATIENCE)
            assert event is not None
            names.append(event.name)
        assert names == ["c1", "c2", "c3"]

    on_a_node(work)


def test_an_error_is_not_lost_to_who_was_cancelled() -> None:
    async def work(node: aio.Node, web: aio.Container) -> None:
        before = _native.running()
        progress = await node.pull_image(GHOST)
        assert await progress.next(timeout=PATIENCE) is not None
        # What reads it has come to its end.
        await until(lambda: _native.running() <= before)
        for _ in range(3):
            task = asyncio.create_task(progress.next(timeout=PATIENCE))
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        with pytest.raises(roadstead.NotFoundError):
            assert [step async for step in progress]

    on_a_node(work)


def test_an_archive_is_read_whole_however_often_it_is_begun() -> None:
    async def work(node: aio.Node, web: aio.Container) -> None:
        whole = await (await web.export()).read()
        archive = await web.export()
        got = b""
        for turn in range(20):
            reading = asyncio.create_task(archive.read())
            for _ in range(turn % 3):
                await asyncio.sleep(0)
            reading.cancel()
            [came] = await asyncio.gather(reading, return_exceptions=True)
            # One that was quicker than that has it.
            got += came if isinstance(came, bytes) else b""
        part = await archive.read(1000)
        assert len(part) <= 1000
        assert await archive.read(0) == b""
        got += part + await archive.read()
        assert len(got) == len(whole)
        assert await archive.read() == b""

    on_a_node(work)


def test_pieces_of_an_archive_come_back_to_their_places() -> None:
    async def work(node: aio.Node, web: aio.Container) -> None:
        await web.copy_in("/tmp", tar_of("a", b"".join(b"%d\n" % number for number in range(100_000))))
        whole = await (await web.copy_out("/tmp/a")).read()
        for order in ([0, 1, 2], [2, 1, 0], [1, 2, 0]):
            archive = await web.copy_out("/tmp/a")
            readers = [asyncio.create_task(archive.read(1000)) for _ in range(3)]
            for index in order:
                readers[index].cancel()
            await asyncio.gather(*readers, return_exceptions=True)
            assert await archive.read() == whole
            archive = await web.copy_out("/tmp/a")
            calls = [archive.read(1000), archive.__anext__(), archive.read(1000)]
            for index in order:
                call: Any = calls[index]
                call.close()
            assert await archive.read() == whole

    on_a_node(work)


def names(directory: pathlib.Path) -> list[str]:
    return sorted(one.name for one in directory.iterdir())


def test_what_was_partly_taken_is_no_archive(tmp_path: pathlib.Path) -> None:
    async def work(node: aio.Node, web: aio.Container) -> None:
        await web.copy_in("/tmp", tar_of("a", b"A" * 8_000_000))
        size = len(await (await web.copy_out("/tmp/a")).read())
        target = tmp_path / "a.tar"
        for pause in (0.0, 0.001, 0.002, 0.004, 0.008):
            archive = await web.copy_out("/tmp/a")
            saving = asyncio.create_task(archive.save(target))
            await asyncio.sleep(pause)
            saving.cancel()
            await asyncio.gather(saving, return_exceptions=True)
            # All of it or nothing: never a part that looks like the whole.
            with contextlib.suppress(roadstead.ConflictError):
                assert len(await archive.read()) == (0 if names(tmp_path) else size)
            assert names(tmp_path) in ([], ["a.tar"])
            target.unlink(missing_ok=True)

    on_a_node(work)


async def done(call: Any) -> Any:
    await until(lambda: "finished" in repr(call))
    return call


def test_what_comes_back_late_is_not_mixed_in(tmp_path: pathlib.Path) -> None:
    async def work(node: aio.Node, web: aio.Container) -> None:
        await web.copy_in("/tmp", tar_of("a", b"".join(b"%d\n" % number for number in range(300_000))))
        whole = await (await web.copy_out("/tmp/a")).read()
        target = tmp_path / "a.tar"
        for pause in range(8):
            archive = await web.copy_out("/tmp/a")
            first = await done(archive.read(1000))
            saving = asyncio.create_task(archive.save(target))
            await asyncio.sleep(pause / 1000)
            first.close()
            with contextlib.suppress(roadstead.ConflictError):
                await saving
                assert target.read_bytes() in (whole, whole[1000:])
            archive = await web.copy_out("/tmp/a")
            first = await done(archive.read(1000))
            reading = asyncio.create_task(archive.read())
            for _ in range(pause):
                await asyncio.sleep(0)
            first.close()
            assert await reading in (whole, whole[1000:])
        # What somebody left who was killed is in nobody's way.
        for number in range(1000):
            tmp_path.joinpath(f".b.tar.{os.getpid()}.{number}.part").touch()
        assert await (await web.copy_out("/tmp/a")).save(tmp_path / "b.tar") == len(whole)
        archive = await web.copy_out("/tmp/a")
        await archive.aclose()
        with pytest.raises(roadstead.ConflictError, match="is closed"):
            await archive.save(target)

    on_a_node(work)


def test_the_collector_loses_nothing() -> None:
    class Holder:
        itself: Any
        call: Any

    async def work(node: aio.Node, web: aio.Container) -> None:
        events = await node.events()
        await web.rename("site")
        for is_older in (True, False):
            archive = await web.copy_out("/bin/sh")
            whole = await (await web.copy_out("/bin/sh")).read()
            held = [Holder()] if is_older else []
            calls = [await done(archive.read(1000)), await done(events.next(timeout=10))]
            for call in calls:
                holder = held.pop() if held else Holder()
                holder.itself, holder.call = holder, call
                del holder, call
            del calls, held
            gc.collect()
            assert await archive.read() == whole
        event = await events.next(timeout=10)
        assert event is not None
        assert event.action == "renamed"

    on_a_node(work)


@pytest.mark.parametrize("is_closed", [True, False])
def test_a_loop_that_stands_still_keeps_nothing(is_closed: bool) -> None:
    async def begin() -> tuple[aio.Container, aio.Stream[roadstead.Event], Any]:
        node = await aio.connect("memory:")
        web = await node.create_container(IMAGE, name="web")
        events = await node.events()
        return web, events, events.next(timeout=60)

    async def rename(web: aio.Container) -> None:
        before = _native.running()
        await web.rename("site")
        # Until what waits for the event has it.
        await until(lambda: _native.running() < before)

    async def next_of(events: aio.Stream[roadstead.Event]) -> roadstead.Event | None:
        return await events.next(timeout=10)

    still = asyncio.new_event_loop()
    web, events, call = still.run_until_complete(begin())
    asyncio.run(rename(web))
    if is_closed:
        still.close()
    del call
    event = asyncio.run(next_of(events))
    still.close()
    assert event is not None
    assert event.action == "renamed"


def test_saves_to_one_path_do_not_mix(tmp_path: pathlib.Path) -> None:
    async def work(node: aio.Node, web: aio.Container) -> None:
        contents = []
        for name, content in (("a", b"A" * 3_000_000), ("b", b"B" * 2_000_000)):
            await web.copy_in("/tmp", tar_of(name, content))
            contents.append(await (await web.copy_out(f"/tmp/{name}")).read())
        target = tmp_path / "c.tar"
        for _ in range(10):
            archives = [await web.copy_out("/tmp/a"), await web.copy_out("/tmp/b")]
            sizes = await asyncio.gather(*(archive.save(target) for archive in archives))
            assert sizes == [*map(len, contents)]
            assert target.read_bytes() in contents
            assert names(tmp_path) == ["c.tar"]

    on_a_node(work)


def test_a_file_that_cannot_be_written_to_its_end_replaces_nothing(tmp_path: pathlib.Path) -> None:
    script = """
import pathlib, resource, sys
import roadstead
target = pathlib.Path(sys.argv[1])
target.write_bytes(b"before")
with roadstead.connect("memory:") as node:
    web = node.create_container("roadstead/busybox:latest", name="web", command=["sleep", "600"])
    web.copy_in("/tmp", open(sys.argv[2], "rb"))
    whole = len(web.copy_out("/tmp/a").read())
    # All fails, and only the last piece does. (SIGXFSZ is ignored by Python.)
    for most in (10, whole - 100):
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))
        archive = web.copy_out("/tmp/a")
        try:
            archive.save(target)
            print("saved")
        except roadstead.UnexpectedError as error:
            print(target.read_bytes(), [one.name for one in target.parent.iterdir()])
        try:
            print(len(archive.read()))
        except roadstead.ConflictError as error:
            print(error)
"""
    given = tmp_path / "given.tar"
    given.write_bytes(tar_of("a", b"A" * 8_000_000))
    target = tmp_path / "target" / "a.tar"
    target.parent.mkdir()
    command = [sys.executable, "-c", script, str(target), str(given)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    kept = "b'before' ['a.tar']\n"
    torn = "a part of the archive was taken by a call that did not come to its end\n"
    assert (done.returncode, done.stdout) == (0, (kept + torn) * 2), done.stderr


def test_a_closed_stream_gives_nothing_that_comes_back() -> None:
    async def work(node: aio.Node, web: aio.Container) -> None:
        events = await node.events()
        await web.rename("site")
        call: Any = None
        # Until the event is there, so that the call has it at once.
        while call is None:
            call = events.next(timeout=10)
            if "finished" not in repr(call):
                call.close()
                call = None
                await asyncio.sleep(0.01)
        await events.aclose()
        call.close()
        assert await events.next(timeout=10) is None

    on_a_node(work)


def test_calls_that_raise_leave_nothing_behind() -> None:
    class Local:
        pass

    async def work(node: aio.Node, web: aio.Container) -> None:
        left: list[weakref.ref[Local]] = []

        async def fails() -> None:
            local = Local()
            left.append(weakref.ref(local))
            call = node.container("ghost").inspect()
            with contextlib.suppress(roadstead.NotFoundError):
                await call

        async def is_late(events: aio.Stream[roadstead.Event]) -> None:
            local = Local()
            left.append(weakref.ref(local))
            call = events.next(timeout=0.001)
            with contextlib.suppress(roadstead.DeadlineExceededError):
                await call

        events = await node.events()
        for _ in range(20):
            await fails()
            await is_late(events)
        gc.collect()
        # The last one may still be on its way out of the loop.
        assert sum(one() is not None for one in left) <= 1

    on_a_node(work)


def test_an_archive_is_read_as_a_file() -> None:
    with roadstead.connect("memory:") as node:
        web = node.create_container(IMAGE, name="web", command=["sleep", "600"])
        with tarfile.open(fileobj=web.export(), mode="r|") as tar:  # type: ignore[call-overload]
            assert "bin/sh" in [name.removeprefix("./") for name in tar.getnames()]
        archive = web.export()
        archive.close()
        assert archive.read() == b""


def test_calls_are_awaited_once() -> None:
    async def work(node: aio.Node, web: aio.Container) -> None:
        call = node.info()
        await call
        with pytest.raises(RuntimeError, match="awaited already"):
            await call

    on_a_node(work)


def test_a_child_has_nothing_of_its_parents() -> None:
    node = roadstead.connect("memory:")
    web = node.create_container(IMAGE, name="web", command=["sleep", "600"])
    web.start()
    events, archive = node.events(), web.export()
    web.rename("site")
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        refused = 0
        try:
            own = roadstead.connect("memory:", name="own")
            made = own.create_container(IMAGE, name="web", command=["sleep", "60"])
            calls: list[Callable[[], Any]] = [
                lambda: next(events),
                lambda: events.next(timeout=1),
                lambda: roadstead.Pool("mine", [node]),
                lambda: own.copy_ways(node, "site"),
                lambda: made.copy_in("/", archive),
                archive.read,
            ]
            for call in calls:
                try:
                    call()
                except roadstead.ConflictError:
                    refused += 1
            events.close()
            archive.close()
            node.close()
        finally:
            os.write(writing, str(refused).encode())
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        assert pipe.read() == b"6"
    assert os.waitpid(child, 0)[1] == 0
    assert next(events).action == "renamed"
    assert archive.read()


ENDS = {
    "an iterator that computes": """
import asyncio
from roadstead import aio
def blocks():
    yield b"\\0" * 512
    while True:
        sum(range(1000))
async def main():
    async with aio.connect("memory:") as node:
        web = await node.create_container("roadstead/busybox:latest", name="web")
        try:
            await asyncio.wait_for(web.copy_in("/tmp", blocks()), 0.3)
        except asyncio.TimeoutError:
            print("end")
asyncio.run(main())
""",
    "threads that call": """
import threading, time, roadstead
node = roadstead.connect("memory:")
web = node.create_container("roadstead/busybox:latest", name="web")
def call():
    while True:
        try:
            node.containers()
            web.inspect()
        except roadstead.Error:
            pass
for _ in range(3):
    threading.Thread(target=call, daemon=True).start()
time.sleep(0.3)
print("end")
""",
}


@pytest.mark.parametrize("what", ENDS)
def test_the_interpreter_ends_in_peace(what: str) -> None:
    for _ in range(3):
        command = [sys.executable, "-c", ENDS[what]]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, "end\n", "")


def test_a_call_that_nobody_awaits_takes_nothing() -> None:
    async def work(node: aio.Node, web: aio.Container) -> None:
        before = _native.running()
        events = await node.events()
        await web.rename("c1")
        await web.rename("c2")
        for _ in range(3):
            left = events.next(timeout=PATIENCE)
            del left
            await asyncio.sleep(0)
        found = [await events.next(timeout=PATIENCE) for _ in range(2)]
        assert [event and event.name for event in found] == ["c1", "c2"]
        left = events.next(timeout=PATIENCE)
        del left
        await events.aclose()
        await until(lambda: _native.running() <= before)

    on_a_node(work)
