"""Pools: what is done with many nodes at once, blocking and awaited."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
import roadstead
from roadstead import aio

IMAGE = "roadstead/busybox:latest"


@pytest.fixture
def pool() -> Iterator[roadstead.Pool]:
    with roadstead.connect("memory:", name="aa") as one, roadstead.connect("memory:", name="bb") as two:
        yield roadstead.Pool("both", [one, two])


def test_members_are_told_and_changed(pool: roadstead.Pool) -> None:
    assert [node.name for node in pool.nodes()] == ["aa", "bb"]
    pool.label("aa", {"disk": "fast"})
    pool.cordon("bb", "is being repaired")
    assert pool.members() == [
        roadstead.Member("aa", {"disk": "fast"}),
        roadstead.Member("bb", {}, "is being repaired"),
    ]
    with roadstead.connect("memory:", name="cc") as third:
        pool.add(third)
        with pytest.raises(roadstead.AlreadyExistsError):
            pool.add(third)
        pool.remove("cc")
    with pytest.raises(roadstead.NotFoundError):
        pool.node("cc")
    with pytest.raises(roadstead.NotFoundError):
        pool.cordon("cc")


def test_containers_are_placed_listed_and_acted_on(pool: roadstead.Pool) -> None:
    decision = pool.place(IMAGE, name="web")
    assert decision.node == "aa"
    assert {candidate.node for candidate in decision.candidates} == {"aa", "bb"}
    for number in range(4):
        placed = pool.create_container(IMAGE, name=f"c{number}", command=["sleep", "60"], labels={"of": "test"})
        placed.container.start()
        assert placed.decision.node == placed.node
    listing = pool.containers(labels={"of": "test"})
    assert sorted((one.name, one.node) for one in listing.items) == [
        ("c0", "aa"),
        ("c1", "bb"),
        ("c2", "aa"),
        ("c3", "bb"),
    ]
    assert listing.errors == []
    assert all(answer.ok for answer in listing.nodes)
    planned = pool.act("stop", names=["c0", "c1"], dry_run=True)
    assert {item.outcome for item in planned.items} == {roadstead.ActionOutcome.PLANNED}
    done = pool.act("stop", names=["c0", "c1"], stop_timeout=0)
    assert {item.outcome for item in done.items} == {roadstead.ActionOutcome.DONE}
    assert pool.totals().running == 2
    with pytest.raises(roadstead.InvalidInputError):
        pool.act("dance")  # type: ignore[arg-type]


def test_plans_are_made_and_nothing_is_done(pool: roadstead.Pool) -> None:
    made = pool.node("aa").create_container(IMAGE, name="web", command=["sleep", "60"])
    made.start()
    plan = pool.plan_drain("aa")
    assert [move.plan.container for move in plan.moves] + [stays.name for stays in plan.stays] == ["web"]
    load = roadstead.ContainerLoad(id=made.id, name="web", cpu_percent=90.0)
    relief = pool.plan_relief(
        [
            roadstead.MemberLoad("aa", cpu_percent=95.0, cpus=1, containers=[load]),
            roadstead.MemberLoad("bb", cpu_percent=1.0, cpus=1),
        ]
    )
    assert [move.plan.container for move in relief.moves] + [strained.node for strained in relief.strained]
    with pytest.raises(roadstead.InvalidInputError, match="cpu_percent"):
        pool.plan_relief([], cpu_percent=-1.0)
    assert [one.node for one in pool.containers().items] == ["aa"]


def test_pools_are_awaited() -> None:
    async def main() -> None:
        async with aio.connect("memory:", name="aa") as one, aio.connect("memory:", name="bb") as two:
            pool = aio.Pool("both", [one, two])
            placed = await pool.create_container(IMAGE, name="web", command=["sleep", "60"])
            await placed.container.start()
            listing = await pool.containers()
            assert [item.name for item in listing.items] == ["web"]
            await listing.items[0].stop(timeout=0)
            assert (await pool.act("delete")).items[0].outcome == "done"
            await pool.aclose()
            with pytest.raises(roadstead.ConflictError):
                await pool.containers()
            await one.ping()

    asyncio.run(main())


def test_a_node_of_a_pool_is_closed_by_itself(pool: roadstead.Pool) -> None:
    with pool.node("aa") as node:
        node.ping()
    with pytest.raises(roadstead.ConflictError):
        node.ping()
    assert pool.containers().errors == []
    inner = pool.node("bb")
    pool.close()
    with pytest.raises(roadstead.ConflictError):
        inner.ping()


def test_a_node_that_is_closed_is_closed_in_its_pools(pool: roadstead.Pool) -> None:
    with roadstead.connect("memory:", name="cc") as third:
        third.create_container(IMAGE, name="web")
        pool.add(third)
        assert [one.name for one in pool.containers().items] == ["web"]
    listing = pool.containers()
    assert listing.items == []
    assert [(error.node, error.code) for error in listing.errors] == [("cc", "conflict")]
    assert pool.act("delete", names=["web"], force=True).items == []
