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

IMAGE = "roadstead/busybox:latest"


def archive(name: str, content: bytes) -> bytes:
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w") as tar:
        info = tarfile.TarInfo(name)
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))
    return whole.getvalue()


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
    data = archive("f", b"x" * 100_000)
    path = tmp_path / "a.tar"
    path.write_bytes(data)
    pieces = [b"", data[:1000], b"", data[1000:]]
    for given in (data, path, str(path), io.BytesIO(data), iter(pieces), pieces):
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
    for given, words in (
        (breaks(), "the disk is gone"),
        (tmp_path / "missing.tar", "cannot be read"),
        (io.StringIO("text"), "not bytes"),
        (["text"], "not bytes"),
        (b"no archive at all, and not short", "."),
    ):
        with pytest.raises(roadstead.InvalidInputError, match=words):
            anything.copy_in("/tmp", given)


def test_an_archive_is_saved_whole_or_not_at_all(web: roadstead.Container, tmp_path: Path) -> None:
    web.copy_in("/tmp", archive("f", b"content"))
    path = tmp_path / "out.tar"
    path.write_bytes(b"before")
    written = web.copy_out("/tmp/f").save(path)
    assert written == path.stat().st_size
    assert content(path.read_bytes(), "f") == b"content"
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.tar"]
    with pytest.raises(roadstead.UnexpectedError, match="cannot be written"):
        web.copy_out("/tmp/f").save(tmp_path / "missing" / "out.tar")
    assert b"".join(web.copy_out("/tmp/f"))


def test_streams_end_when_they_are_ended(web: roadstead.Container) -> None:
    with web.logs(follow=True) as logs:
        assert next(logs).data
    assert list(logs) == []
    assert b"".join(record.data for record in web.logs()) == b"one\ntwo\n"


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
            await web.copy_in("/tmp", archive("f", b"content"))
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
        web.copy_in("/tmp", archive("f", b"handed on"))
        made.copy_in("/tmp", web.copy_out("/tmp/f"))
        assert content(made.copy_out("/tmp/f").read(), "f") == b"handed on"
        restored = other.restore_container(web.backup(), name="restored")
        assert restored.inspect().name == "restored"
