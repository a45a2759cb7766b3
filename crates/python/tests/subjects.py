"""The engines that the tests find: those of tests/engines, by the variables that `tests/engines/env` sets, and the
simulation.
"""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Subject:
    """An engine, the image of containers, what must not be shown, and an image to pull with one that there is not."""

    name: str
    uri: str
    image: str
    secrets: tuple[str, ...] = ()
    pull: tuple[str, str] | None = None


# The simulation looks at no credentials.
_MEMORY = Subject(
    "memory",
    "memory://me:never%40shown@sea",
    "roadstead/busybox:latest",
    ("never@shown", "never%40shown"),
    ("registry.example/roadstead/hello:latest", "registry.example/roadstead/missing:none"),
)


def _found() -> list[Subject]:
    image = os.environ.get("ROADSTEAD_TEST_IMAGE", "roadstead/busybox:latest")
    subjects = [_MEMORY]
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
