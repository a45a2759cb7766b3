"""Every call says what it does, what it raises and how it is used, by an example that runs; its twin says the same."""

from __future__ import annotations

import doctest
import inspect
from collections.abc import Iterator
from typing import Any

import pytest
import roadstead
from roadstead import aio

# Those that have twins: a connection that is being made has none.
CLASSES = [name for name in aio.__all__ if inspect.isclass(getattr(aio, name)) and name != "Opening"]
# Ending something needs no example, and raises nothing.
PLAIN = {"close", "aclose"}


def members(of: type) -> list[tuple[str, Any]]:
    return [(name, member) for name, member in vars(of).items() if not name.startswith("_")]


def calls() -> list[tuple[str, str]]:
    found = [(name, getattr(roadstead, name)) for name in CLASSES]
    return [(name, call) for name, of in found for call, member in members(of) if inspect.isroutine(member)]


def run(text: str, names: dict[str, Any], what: str) -> int:
    """Runs the examples, and gives how many there were."""
    example = doctest.DocTestParser().get_doctest(text, names, what, None, None)
    count = len(example.examples)
    options = doctest.ELLIPSIS | doctest.IGNORE_EXCEPTION_DETAIL | doctest.REPORT_NDIFF
    told: list[str] = []
    doctest.DocTestRunner(optionflags=options).run(example, out=told.append)
    assert not told, "".join(told)
    return count


@pytest.fixture
def names() -> Iterator[dict[str, Any]]:
    """What the examples of calls may use: `web` runs on `node`; `pool` is of `node` and `other`, which has nothing."""
    with roadstead.connect("memory:") as node, roadstead.connect("memory:", name="other") as other:
        command = ["sh", "-c", "echo hello; sleep 60"]
        web = node.create_container("roadstead/busybox:latest", name="web", command=command)
        web.start()
        pool = roadstead.Pool("both", [node, other])
        yield {"roadstead": roadstead, "node": node, "other": other, "web": web, "pool": pool}


@pytest.mark.parametrize(("of", "call"), calls(), ids=lambda name: name)
def test_calls(of: str, call: str, names: dict[str, Any]) -> None:
    text = inspect.getdoc(getattr(getattr(roadstead, of), call)) or ""
    assert text
    if call in PLAIN:
        return
    assert "Raises " in text, "it does not say what it raises"
    assert run(text, names, f"{of}.{call}"), "it has no example"


@pytest.mark.parametrize("of", CLASSES)
def test_twins_say_the_same(of: str) -> None:
    blocking, awaited = dict(members(getattr(roadstead, of))), dict(members(getattr(aio, of)))
    for name, member in blocking.items():
        assert member.__doc__, name
        twin = awaited.pop("aclose" if name == "close" else name)
        assert twin.__doc__ == member.__doc__, name
    assert not awaited


def public() -> list[Any]:
    """The modules, and what is public of them but for plain values."""
    modules = (roadstead, aio)
    found = {f"{module.__name__}.{name}": getattr(module, name) for module in modules for name in module.__all__}
    kept = {name: one for name, one in found.items() if inspect.isclass(one) or inspect.isroutine(one)}
    assert {name for name in found if name not in kept} == {"roadstead.USAGE_COLUMNS", "roadstead.__version__"}
    return [pytest.param(one, id=name) for name, one in {"roadstead": roadstead, "roadstead.aio": aio, **kept}.items()]


@pytest.mark.parametrize("one", public())
def test_everything_public_says_what_it_is(one: Any) -> None:
    text = inspect.getdoc(one)
    assert text
    run(text, {}, repr(one))
