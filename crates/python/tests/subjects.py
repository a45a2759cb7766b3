"""The engines that the tests find: those of tests/engines, by the variables that `tests/engines/env` sets, and the
simulation.
"""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Subject:
    """An engine, and the image that containers are made of."""

    name: str
    uri: str
    image: str


def _found() -> list[Subject]:
    image = os.environ.get("ROADSTEAD_TEST_IMAGE", "roadstead/busybox:latest")
    subjects = [Subject("memory", "memory:", "roadstead/busybox:latest")]
    for name, variable in (
        ("docker", "ROADSTEAD_TEST_DOCKER_URI"),
        ("lxd", "ROADSTEAD_TEST_LXD_URI"),
        ("core0", "ROADSTEAD_TEST_CORE0_URI"),
    ):
        uri = os.environ.get(variable)
        if uri:
            subjects.append(Subject(name, uri, os.environ["ROADSTEAD_TEST_CORE0_FLIST"] if name == "core0" else image))
    return subjects


SUBJECTS = _found()
EXPECTED = ("memory", "docker", "lxd", "core0")
