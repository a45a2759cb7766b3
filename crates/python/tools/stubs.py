"""Writes the stubs of the native half: each class once as it is, and once as its awaited twin.

Usage: tools/stubs.py [--check]

In tools/native.pyi.in a class between `#twin` and `#end` is written twice. Behind `#twin` stand `final`, if it has
no subclasses, and the class that it is one of. Its members are those of the blocking class alone (`#blocking`), of
the awaited one alone (`#awaited`), of both without being awaited (`#at once`), or calls of both (`#both`), which
give an awaitable in the twin. What is documented is the built package, which must be importable: editors show what
stands in stubs. With --check nothing is written, and the exit code says whether the file is what would be written.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from roadstead import _native

HERE: Final = Path(__file__).resolve().parent
SOURCE: Final = HERE / "native.pyi.in"
TARGET: Final = HERE.parent / "python" / "roadstead" / "_native.pyi"

SECTIONS: Final = ("#blocking", "#awaited", "#at once", "#both")


def twin_names(text: str) -> list[str]:
    return [*re.findall(r"^#twin.*\nclass (\w+):", text, re.MULTILINE), "Stream"]


def awaited(line: str, names: list[str], is_call: bool) -> str:
    """A line of the awaited twin."""
    line = re.sub(r"\b(" + "|".join(names) + r")\b(?!\()", r"Aio\1", line)
    if is_call:
        line = re.sub(r"-> (.+): \.\.\.$", r"-> _Call[\1]: ...", line)
    return line


def written_class(block: list[str], options: list[str], names: list[str], is_awaited: bool) -> list[str]:
    base = next((option for option in options if option != "final"), None)
    found = re.match(r"class (\w+):", block[0])
    if found is None:
        raise SystemExit(f"no class behind #twin: {block[0]}")
    prefix = "Aio" if is_awaited else ""
    out = ["@final"] if "final" in options else []
    out.append(f"class {prefix}{found[1]}({prefix}{base}):" if base else f"class {prefix}{found[1]}:")
    section = "#both"
    for line in block[1:]:
        if line.strip() in SECTIONS:
            section = line.strip()
        elif section == "#both":
            out.append(awaited(line, names, is_call=True) if is_awaited else line)
        elif section == "#at once":
            out.append(awaited(line, names, is_call=False) if is_awaited else line)
        elif (section == "#awaited") == is_awaited:
            out.append(line)
    return out


def documentation(of: Any, indent: str) -> list[str]:
    text = inspect.getdoc(of)
    if text is None:
        return []
    mark = 'r"""' if "\\" in text else '"""'
    first, *rest = [*f"{mark}{text}".splitlines()]
    lines = [first, *rest, '"""'] if rest else [f'{first}"""']
    return [f"{indent}{line}".rstrip() for line in lines]


def documented(lines: list[str]) -> Iterator[str]:
    """The same with what is documented of its classes, and of their public members."""
    of: type | None = None
    member: str | None = None
    for line in lines:
        if found := re.match(r"class (\w+)\b.*:$", line):
            of, member = getattr(_native, found[1], None), None
            yield line
            yield from documentation(of, "    ") if of is not None else []
            continue
        if line and not line.startswith((" ", ")")):
            of = None
        if found := re.match(r"    def ([a-z]\w*)\(", line):
            member = found[1]
        if of is not None and member is not None and line.startswith("    ") and line.endswith(": ..."):
            text = documentation(getattr(of, member), "        ")
            yield line.removesuffix(" ...") if text else line
            yield from text
            member = None
        else:
            yield line


def written() -> str:
    text = SOURCE.read_text(encoding="utf-8")
    names = twin_names(text)
    out: list[str] = []
    block: list[str] | None = None
    options: list[str] = []
    for line in text.splitlines():
        if line.startswith("#twin"):
            block, options = [], line.split()[1:]
        elif line == "#end" and block is not None:
            out += written_class(block, options, names, is_awaited=False)
            out.append("")
            out += written_class(block, options, names, is_awaited=True)
            block = None
        elif block is not None:
            block.append(line)
        else:
            out.append(line)
    return "\n".join(documented(out)) + "\n"


def main() -> int:
    text = written()
    if "--check" in sys.argv[1:]:
        if TARGET.read_text(encoding="utf-8") != text:
            print(f"{TARGET} is not what {Path(__file__).name} writes: run it", file=sys.stderr)
            return 1
        return 0
    TARGET.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
