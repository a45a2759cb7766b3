"""The conformance clauses, driven through the package: blocking and awaited, on every engine that is there.

On the engines that take their time each clause runs one way, every other one the other way; with `ROADSTEAD_SOAK=1`, as
`tests/run --soak` sets it, each runs both ways on all.
"""

from __future__ import annotations

import functools
import os
import pathlib
from typing import Any

import drive
import pytest
import roadstead_conformance
from subjects import EXPECTED, SUBJECTS, Subject

FLAVOURS = {"blocking": drive.Blocking, "awaited": drive.Awaited}
SLOW = ("docker", "lxd")

# What the Rust suite found on this machine before, by engine and clause: `tests/run` says where it is.
OUTCOMES = os.environ.get("ROADSTEAD_OUTCOMES")

# What needs more than a node: a connection that is cut, and registries of the engines' own.
BEYOND = {(name, "J20") for name in EXPECTED} | {
    (name, clause) for name in ("docker", "lxd") for clause in ("I3", "I4")
}

# The engine's deadline for one clause, in seconds: as in the Rust suite.
DEADLINE = 90.0


def cases() -> list[Any]:
    everything = os.environ.get("ROADSTEAD_SOAK") == "1"
    found = []
    for subject in SUBJECTS:
        for number, clause in enumerate(roadstead_conformance.clauses()):
            both = everything or subject.name not in SLOW
            for flavour in FLAVOURS if both else [[*FLAVOURS][number % 2]]:
                found.append(pytest.param(flavour, subject, clause, id=f"{flavour}-{subject.name}-{clause}"))
    return found


@functools.cache
def caller_of(flavour: str) -> Any:
    return FLAVOURS[flavour]()


@pytest.mark.parametrize(("flavour", "subject", "clause"), cases())
def test_clause(flavour: str, subject: Subject, clause: str) -> None:
    caller = caller_of(flavour)
    node = caller.connect(subject.uri, name=subject.name)
    try:
        outcome, reason = roadstead_conformance.run(
            clause, node, caller, subject.image, DEADLINE, subject.secrets, subject.pull
        )
    finally:
        caller.close(node)
    assert outcome in ("passed", "gated"), reason
    if outcome == "gated" and OUTCOMES and (subject.name, clause) not in BEYOND:
        # Where Rust can, the package can.
        in_rust = pathlib.Path(OUTCOMES, subject.name, clause).read_text().split("\t")
        assert in_rust[2] == "gated", f"gated for {reason}, and in Rust {in_rust[2]}"


def test_no_engine_is_left_out() -> None:
    """Where all engines are expected, each of them is there."""
    if os.environ.get("ROADSTEAD_ENGINES"):
        assert [subject.name for subject in SUBJECTS] == list(EXPECTED)
