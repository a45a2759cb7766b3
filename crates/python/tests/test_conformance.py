"""The conformance clauses, driven through the package: blocking and awaited, on every engine that is there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import drive
import pytest
import roadstead_conformance
from subjects import EXPECTED, SUBJECTS, Subject

FLAVOURS = {"blocking": drive.Blocking, "awaited": drive.Awaited}

# The engine's deadline for one clause, in seconds: as in the Rust suite.
DEADLINE = 90.0


@pytest.fixture(scope="module", params=FLAVOURS)
def caller(request: pytest.FixtureRequest) -> Any:
    return FLAVOURS[request.param]()


@pytest.fixture(scope="module", params=SUBJECTS, ids=lambda subject: subject.name)
def subject(request: pytest.FixtureRequest) -> Subject:
    found: Subject = request.param
    return found


@pytest.fixture
def node(caller: Any, subject: Subject) -> Iterator[Any]:
    node = caller.connect(subject.uri, name=subject.name)
    yield node
    caller.close(node)


@pytest.mark.parametrize("clause", roadstead_conformance.clauses())
def test_clause(clause: str, caller: Any, subject: Subject, node: Any, record_property: Any) -> None:
    outcome, reason = roadstead_conformance.run(clause, node, caller, subject.image, DEADLINE)
    record_property("outcome", outcome)
    assert outcome in ("passed", "gated"), reason


def test_no_engine_is_left_out() -> None:
    """Where all engines are expected, each of them is there."""
    if os.environ.get("ROADSTEAD_ENGINES"):
        assert [subject.name for subject in SUBJECTS] == list(EXPECTED)
