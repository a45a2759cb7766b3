"""Archives and streams: what goes in comes out, however it is given; what is ended has ended."""

from __future__ import annotations

import asyncio
import io
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import roadstead
from roadstead import aio
from tars import tar_of

IMAGE = "roadstead/busybox:latest"


def content(data: bytes, name: str) -> bytes:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        found = tar.extractfile(name)
        assert found is not None
        return found.read()


@pytest.fixture
def web() -> Iterator[roadstead.Container]:
    with roadstead.connect("memory:") as node:
        web = node.create_container(IMAGE, name="web", command=["sh", "-c", "echo one; echo two; sleep 60"])
        web.start()
        yield web


def test_archives_are_taken_in_every_shape(web: roadstead.Container, tmp_path: Path) -> None:
    data = tar_of("f", b"x" * 100_000)
    path = tmp_path / "a.tar"
    path.write_bytes(data)
    pieces = [b"", data[:1000], b"", data[1000:]]
    views = [bytearray(data[:1000]), memoryview(data)[1000:]]
    shapes: tuple[Any, ...] = (
        data,
        bytearray(data),
        memoryview(data),
        path,
        str(path),
        io.BytesIO(data),
        iter(pieces),
        pieces,
        views,
    )
    for given in shapes:
        web.copy_in("/tmp", given)
        got = web.copy_out(Path("/tmp/f")).read()
        assert content(got, "f") == b"x" * 100_000
        web.run(["rm", "/tmp/f"]).wait(timeout=10)
    with path.open("rb") as file:
        web.copy_in("/tmp", file)
    assert content(web.copy_out("/tmp/f").read(), "f")


def test_archives_that_break_off_are_refused(web: roadstead.Container, tmp_path: Path) -> None:
    def breaks() -> Iterator[bytes]:
        yield b"x"
        raise OSError("the disk is gone")

    anything: Any = web
    cases: list[tuple[Any, type[Exception], str]] = [
        # What the caller's own code raises reaches the caller.
        (breaks(), OSError, "the disk is gone"),
        (tmp_path / "missing.tar", roadstead.InvalidInputError, "cannot be read"),
        (io.StringIO("text"), TypeError, "archive: gave str, not bytes"),
        (["text"], TypeError, "archive: gave str, not bytes"),
        (b"no archive at all, and not short", roadstead.InvalidInputError, "."),
    ]
    for given, error, words in cases:
        with pytest.raises(error, match=words):
            anything.copy_in("/tmp", given)
    with roadstead.connect("memory:") as node:
        for load in (node.restore_container, node.load_images, lambda given: node.import_image(given, "x")):
            with pytest.raises(OSError, match="the disk is gone"):
                load(breaks())


def test_an_archive_is_saved_whole_or_not_at_all(web: roadstead.Container, tmp_path: Path) -> None:
    web.copy_in("/tmp", tar_of("f", b"content"))
    path = tmp_path / "out.tar"
    path.write_bytes(b"before")
    written = web.copy_out("/tmp/f").save(path)
    assert written == path.stat().st_size
    assert content(path.read_bytes(), "f") == b"content"
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.tar"]
    for wrong in (tmp_path / "missing" / "out.tar", "a\0b", tmp_path / "a\ud800"):
        with pytest.raises(roadstead.InvalidInputError) as raised:
            web.copy_out("/tmp/f").save(wrong)
        assert raised.value.field == "path"
    assert b"".join(web.copy_out("/tmp/f"))


def test_streams_end_when_they_are_ended(web: roadstead.Container) -> None:
    with web.logs(follow=True) as logs:
        assert next(logs).data
    assert list(logs) == []
    assert logs.next(timeout=0) is None
    assert b"".join(record.data for record in web.logs()) == b"one\ntwo\n"


def test_a_stream_is_waited_for_as_long_as_is_said(web: roadstead.Container) -> None:
    logs = web.logs(follow=True)
    got = b""
    while got != b"one\ntwo\n":
        record = logs.next(timeout=10)
        assert record is not None
        got += record.data
    with pytest.raises(TimeoutError, match="in time"):
        logs.next(timeout=0.01)
    job = web.run(["cat"], stdin=True)
    chunks = job.chunks(follow=True)
    with pytest.raises(roadstead.DeadlineExceededError):
        chunks.next(timeout=0.01)
    job.write_stdin(bytearray(b"a"))
    found = chunks.next(timeout=10)
    assert found is not None
    assert found.data == b"a"
    job.write_stdin(memoryview(b"xbx")[1:2])
    job.close_stdin()
    assert [chunk.data for chunk in chunks] == [b"b"]
    assert chunks.next(timeout=10) is None

    async def main() -> None:
        async with aio.connect("memory:") as node:
            events = await node.events()
            with pytest.raises(roadstead.DeadlineExceededError):
                await events.next(timeout=0.01)
            await node.create_container(IMAGE, name="web")
            found = await events.next(timeout=10)
            assert found is not None
            assert found.action == "created"
            await events.aclose()
            assert await events.next() is None

    asyncio.run(main())


def test_an_input_is_written_and_closed(web: roadstead.Container) -> None:
    job = web.run(["cat"], stdin=True)
    job.write_stdin(b"\x00\xff hello")
    job.close_stdin()
    assert job.wait(timeout=10).exit_code == 0
    assert (job.output(), job.output("stderr")) == (b"\x00\xff hello", b"")
    assert [chunk.data for chunk in job.chunks()] == [b"\x00\xff hello"]
    with pytest.raises(roadstead.ConflictError):
        job.write_stdin(b"more")


def test_awaited_streams() -> None:
    async def main() -> None:
        async with aio.connect("memory:") as node:
            async with await node.events() as events:
                web = await node.create_container(IMAGE, name="web", command=["sh", "-c", "echo hi; sleep 60"])
                await web.start()
                actions = []
                async for event in events:
                    actions.append(event.action)
                    if len(actions) == 2:
                        break
                assert actions == ["created", "started"]
            with pytest.raises(StopAsyncIteration):
                await events.__anext__()
            await web.copy_in("/tmp", tar_of("f", b"content"))
            assert content(await (await web.copy_out("/tmp/f")).read(), "f") == b"content"
            pieces = [piece async for piece in await web.copy_out("/tmp/f")]
            assert content(b"".join(pieces), "f") == b"content"

    asyncio.run(main())


def test_usage_becomes_rows() -> None:
    with roadstead.connect("memory:") as node:
        for name in ("aa", "bb"):
            node.create_container(IMAGE, name=name, command=["sleep", "60"]).start()
        usage = node.usage()
        rows = roadstead.usage_rows(usage)
        assert {row[1] for row in rows} == {"aa", "bb"}
        assert all(len(row) == len(roadstead.USAGE_COLUMNS) for row in rows)
        plain = roadstead.as_dict(usage)
        assert plain["containers"][0]["memory"]["usage_bytes"] == rows[0][5]


def test_archives_of_the_package_are_handed_on(web: roadstead.Container) -> None:
    with roadstead.connect("memory:") as other:
        made = other.create_container(IMAGE, name="web", command=["sleep", "60"])
        made.start()
        web.copy_in("/tmp", tar_of("f", b"handed on"))
        made.copy_in("/tmp", web.copy_out("/tmp/f"))
        assert content(made.copy_out("/tmp/f").read(), "f") == b"handed on"
        restored = other.restore_container(web.backup(), name="restored")
        assert restored.inspect().name == "restored"
