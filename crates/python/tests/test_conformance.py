"""The conformance clauses, driven through the package: blocking and awaited, on every engine that is there.

On the engines that take their time each clause runs one way, every other one the other way; with `ROADSTEAD_SOAK=1`, as
`tests/run --soak` sets it, each runs both ways on all.
"""

from __future__ import annotations

import functools
import os
from typing import Any

import drive
import pytest
import roadstead_conformance
from subjects import EXPECTED, SUBJECTS, Subject

FLAVOURS = {"blocking": drive.Blocking, "awaited": drive.Awaited}
SLOW = ("docker", "lxd")

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
def test_clause(flavour: str, subject: Subject, clause: str, record_property: Any) -> None:
    caller = caller_of(flavour)
    node = caller.connect(subject.uri, name=subject.name)
    try:
        outcome, reason = roadstead_conformance.run(clause, node, caller, subject.image, DEADLINE)
    finally:
        caller.close(node)
    record_property("outcome", outcome)
    assert outcome in ("passed", "gated"), reason


def test_no_engine_is_left_out() -> None:
    """Where all engines are expected, each of them is there."""
    if os.environ.get("ROADSTEAD_ENGINES"):
        assert [subject.name for subject in SUBJECTS] == list(EXPECTED)
