"""Threads, event loops, forks and interrupts: nothing is leaked, nothing hangs, and nobody waits for others."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import roadstead
from roadstead import _native, aio

IMAGE = "roadstead/busybox:latest"
# However slow the machine is, this is not reached unless something hangs.
PATIENCE = 60.0


def soon(what: Callable[[], bool]) -> bool:
    end = time.monotonic() + PATIENCE
    while not what():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def threads() -> int:
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("Threads:")))


def test_ten_thousand_awaits_have_no_threads_and_leave_nothing_behind() -> None:
    async def main() -> None:
        async with aio.connect("memory:") as node:
            web = await node.create_container(IMAGE, name="web", command=["sleep", "600"])
            await web.start()
            before = _native.running()
            waits = [asyncio.ensure_future(web.wait(timeout=3600)) for _ in range(10_000)]
            await asyncio.sleep(0)
            assert _native.running() >= 10_000
            assert threads() < 50
            for wait in waits[:5_000]:
                wait.cancel()
            done = await asyncio.gather(*waits[:5_000], return_exceptions=True)
            assert all(isinstance(one, asyncio.CancelledError) for one in done)
            # What was not cancelled goes on, and ends as it should.
            await web.stop(timeout=0)
            ended = await asyncio.gather(*waits[5_000:])
            assert {exit.exit_code for exit in ended} == {137}
            assert soon(lambda: _native.running() <= before)

    asyncio.run(main())


def test_a_cancelled_await_takes_nothing_of_a_stream() -> None:
    async def main() -> None:
        async with aio.connect("memory:") as node, await node.events() as events:
            for _ in range(3):
                with pytest.raises(asyncio.TimeoutError):
                    await asyncio.wait_for(events.__anext__(), 0.01)
            await node.create_container(IMAGE, name="web")
            event = await events.__anext__()
            assert event.action == "created"

    asyncio.run(main())


def test_loops_come_and_go() -> None:
    async def main() -> str:
        async with aio.connect("memory:") as node:
            return (await node.info()).engine

    for _ in range(20):
        assert asyncio.run(main()) == "memory"

    # One that is closed while work goes on keeps nothing from ending.
    async def begin() -> tuple[aio.Node, aio.Container]:
        node = await aio.connect("memory:")
        web = await node.create_container(IMAGE, name="web", command=["sleep", "600"])
        await web.start()
        return node, web

    async def leave(web: aio.Container) -> None:
        left = [web.wait(timeout=0.2) for _ in range(10)]
        assert len(left) == 10

    node, web = asyncio.run(begin())
    before = _native.running()
    asyncio.run(leave(web))
    assert soon(lambda: _native.running() <= before)
    assert asyncio.run(main()) == node.name


def test_threads_share_a_node() -> None:
    with roadstead.connect("memory:") as node:
        failed: list[BaseException] = []

        def work(number: int) -> None:
            try:
                for turn in range(20):
                    made = node.create_container(IMAGE, name=f"c{number}-{turn}", command=["sleep", "60"])
                    made.start()
                    assert made.run(["true"]).wait(timeout=30).exit_code == 0
                    made.delete(force=True)
            except BaseException as error:
                failed.append(error)

        workers = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert not failed, failed
        assert node.containers() == []


def test_the_interpreter_is_free_while_somebody_waits() -> None:
    with roadstead.connect("memory:") as node:
        web = node.create_container(IMAGE, name="web", command=["sleep", "600"])
        web.start()
        ended: list[int | None] = []
        waiter = threading.Thread(target=lambda: ended.append(web.wait(timeout=PATIENCE).exit_code))
        waiter.start()
        web.stop(timeout=0)
        waiter.join()
        assert ended == [137]


def test_whoever_forks_is_told() -> None:
    node = roadstead.connect("memory:")
    container = node.create_container(IMAGE, name="web")
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        said = "nothing"
        try:
            try:
                container.inspect()
            except roadstead.ConflictError as error:
                said = str(error)
            with roadstead.connect("memory:") as own:
                said += " / " + own.info().engine
        finally:
            os.write(writing, said.encode())
            os._exit(0)
    os.close(writing)
    assert os.waitpid(child, 0)[1] == 0
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read().decode()
    assert "forked" in said
    assert said.endswith("/ memory")
    assert container.inspect().name == "web"


WAITS = """
import signal, sys, threading
import roadstead

# Whoever starts the tests in the background, as a shell does, has them ignore it, and Python leaves that so.
signal.signal(signal.SIGINT, signal.default_int_handler)
# Another thread comes to run only when this one lets go of the interpreter, which it does when it waits. (Not for ever:
# a wakeup of who waits for the interpreter may get lost in the C library before 2.41, which this makes up for.)
sys.setswitchinterval(1)
go = threading.Event()

def say():
    go.wait()
    print("ready", flush=True)

threading.Thread(target=say, daemon=True).start()
with roadstead.connect("memory:") as node:
    web = node.create_container("roadstead/busybox:latest", name="web", command=["sleep", "600"])
    web.start()
    job = web.run(["sleep", "600"])
    events = node.events()
    try:
        go.set()
        {call}
    except KeyboardInterrupt:
        print("interrupted", node.info().engine, flush=True)
"""


@pytest.mark.parametrize(
    "call",
    [
        "job.wait(timeout=600)",
        "web.wait(timeout=600)",
        "[*events]",
        "[*web.logs(follow=True)]",
        "web.copy_in('/tmp', __import__('itertools').repeat(b''))",
    ],
)
def test_ctrl_c_ends_every_wait(call: str) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", WAITS.format(call=call)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=PATIENCE)
    assert (child.returncode, out) == (0, "interrupted memory\n"), err


def test_the_interpreter_ends_whatever_goes_on() -> None:
    script = """
import asyncio, roadstead
from roadstead import aio
node = roadstead.connect("memory:")
web = node.create_container("roadstead/busybox:latest", name="web", command=["sleep", "600"])
web.start()
events = node.events()
async def main():
    other = await aio.connect("memory:")
    made = await other.create_container("roadstead/busybox:latest", name="web", command=["sleep", "600"])
    await made.start()
    asyncio.ensure_future(made.wait(timeout=600))
asyncio.run(main())
print("end")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "end\n", "")


def test_calls_are_coroutines_and_are_given_up_at_the_end_of_a_loop() -> None:
    async def tasks() -> None:
        async with aio.connect("memory:") as node:
            web = await asyncio.create_task(node.create_container(IMAGE, name="web", command=["sleep", "600"]))
            await asyncio.create_task(web.start())
            await asyncio.wait_for(node.ping(), 10)
            await asyncio.gather(node.ping(), node.info(), node.containers())
            with pytest.raises(roadstead.NotFoundError):
                await asyncio.create_task(node.container("ghost").inspect())

    asyncio.run(tasks())
    node = asyncio.run(aio.connect("memory:"))

    async def leave() -> None:
        events = await node.events()
        # Nobody waits for them: the end of the loop cancels them.
        left = [asyncio.ensure_future(events.__anext__()) for _ in range(50)]
        assert len(left) == 50
        await asyncio.sleep(0)

    before = _native.running()
    asyncio.run(leave())
    assert soon(lambda: _native.running() <= before)


def test_a_stream_loses_nothing_to_cancelled_awaits() -> None:
    async def main() -> None:
        async with aio.connect("memory:") as node:
            web = await node.create_container(IMAGE, name="web", command=["sleep", "600"])
            await web.start()
            job = await web.run(["cat"], stdin=True)
            sent = 300

            async def write() -> None:
                for number in range(sent):
                    await job.write_stdin(b"%d\n" % number)
                    await asyncio.sleep(0.0005)
                await job.close_stdin()

            writing = asyncio.create_task(write())
            got = b""
            cancelled = 0
            chunks = await job.chunks(follow=True)
            while True:
                try:
                    got += (await asyncio.wait_for(chunks.__anext__(), 0.0003)).data
                except StopAsyncIteration:
                    break
                except asyncio.TimeoutError:
                    cancelled += 1
            await writing
            assert cancelled > 0
            assert got == b"".join(b"%d\n" % number for number in range(sent))

    asyncio.run(main())


def test_loops_of_many_threads_do_not_wait_for_each_other() -> None:
    script = """
import asyncio, sys, threading
from roadstead import aio
sys.setswitchinterval(1e-5)
async def work():
    async with aio.connect("memory:") as node:
        await node.containers()
def many():
    for _ in range(200):
        asyncio.run(work())
threads = [threading.Thread(target=many) for _ in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print("end")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=200, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "end\n", "")


def test_other_interpreters_are_refused() -> None:
    script = """
try:
    import _xxsubinterpreters as interpreters
except ImportError:
    import _interpreters as interpreters
other = interpreters.create()
said = "taken"
try:
    failed = interpreters.run_string(other, "import roadstead")
    said = failed.formatted if failed else said
except Exception as error:
    said = str(error)
print(said)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert "ImportError" in done.stdout, done
    assert "interpreter" in done.stdout, done


def test_a_connection_may_be_opened_again() -> None:
    async def main() -> None:
        opening = aio.connect("memory:")
        async with opening as outer:
            async with opening as inner:
                await inner.ping()
            with pytest.raises(roadstead.ConflictError):
                await inner.ping()
            await outer.ping()
        with pytest.raises(roadstead.ConflictError):
            await outer.ping()

    asyncio.run(main())


def test_threads_that_wait_when_the_interpreter_ends_are_told() -> None:
    script = """
import threading, time, roadstead
node = roadstead.connect("memory:")
def follow():
    try:
        for _ in node.events():
            pass
    except roadstead.ConflictError:
        pass
for _ in range(5):
    threading.Thread(target=follow, daemon=True).start()
while roadstead._native.waiting() < 5:
    time.sleep(0.01)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_closing_ends_what_waits() -> None:
    node = roadstead.connect("memory:")
    web = node.create_container(IMAGE, name="web", command=["sleep", "600"])
    web.start()
    job = web.run(["sleep", "600"])
    events = node.events()
    refused: list[str] = []

    def waits(call: Callable[[], object]) -> None:
        try:
            call()
        except roadstead.ConflictError as error:
            refused.append(str(error))

    calls: list[Callable[[], object]] = [
        lambda: web.wait(timeout=PATIENCE),
        lambda: job.wait(timeout=PATIENCE),
        lambda: [*events],
        lambda: [*web.logs(follow=True)],
    ]
    waiting = [threading.Thread(target=waits, args=(call,)) for call in calls]
    for thread in waiting:
        thread.start()
    assert soon(lambda: _native.waiting() == 4)
    node.close()
    for thread in waiting:
        thread.join()
    assert len(refused) == 4
    assert all("closed" in words for words in refused)
