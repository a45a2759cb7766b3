"""Writes the package's data classes: one for each schema of docs/openapi.json that the Python API gives or takes.

Usage: tools/models.py [--check]

The document is generated from the Rust types, so that a class cannot have a member that the library does not. With
--check nothing is written, and the exit code says whether the file is what would be written.
"""

from __future__ import annotations

import json
import re
import sys
import textwrap
from pathlib import Path
from typing import Any, Final

HERE: Final = Path(__file__).resolve().parent
DOCUMENT: Final = HERE.parents[2] / "docs" / "openapi.json"
TARGET: Final = HERE.parent / "python" / "roadstead" / "_models.py"
WIDTH: Final = 116

# What the calls give and take; what these hold follows.
ROOTS: Final = (
    "ActedItem",
    "Capabilities",
    "ContainerDetails",
    "ContainerExit",
    "ContainerSpec",
    "ContainerStats",
    "ContainerSummary",
    "CopyTransport",
    "Decision",
    "DrainPlan",
    "Event",
    "HostFacts",
    "ImageDetails",
    "ImageSummary",
    "JobStatus",
    "Limits",
    "Network",
    "NodeAnswer",
    "NodeError",
    "NodeInfo",
    "NodeUsage",
    "NotCarried",
    "OutputKind",
    "PoolTotals",
    "Process",
    "Snapshot",
    "Strategy",
    "UsageHistory",
    "Volume",
    "WaitFor",
)

HEADER: Final = '''"""The data that the library gives and takes. Written by tools/models.py from docs/openapi.json."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
'''

Schema = dict[str, Any]


def schemas() -> dict[str, Schema]:
    document = json.loads(DOCUMENT.read_text(encoding="utf-8"))
    found: dict[str, Schema] = document["components"]["schemas"]
    return found


def name_of(reference: str) -> str:
    return reference.rsplit("/", 1)[-1]


def words(text: str) -> str:
    """Prose without the marks of rustdoc."""
    text = re.sub(r"\[(`?)(?:[\w:]+::)?(\w+)(?:\(\))?\1\](?:\([^)]*\))?", r"`\2`", text)
    text = re.sub(r"\[`([^`\]]+)`\](?:\([^)]*\))?", r"`\1`", text)
    return re.sub(r"\s+", " ", text.replace("\\", "\\\\")).strip()


def typed(schema: Schema) -> tuple[str, bool]:
    """The type of a member, and whether it may be None."""
    if "$ref" in schema:
        name = name_of(schema["$ref"])
        return {"Timestamp": "datetime", "Signal": "str"}.get(name, name), False
    if "oneOf" in schema:
        others = [one for one in schema["oneOf"] if one.get("type") != "null"]
        if len(others) != 1:
            raise SystemExit(f"a member of several types: {json.dumps(schema)[:200]}")
        return typed(others[0])[0], len(others) < len(schema["oneOf"])
    kinds = schema.get("type", "object")
    kinds = [kinds] if isinstance(kinds, str) else kinds
    kind = next(kind for kind in kinds if kind != "null")
    if kind == "array":
        name = f"list[{typed(schema['items'])[0]}]"
    elif kind == "object":
        keys = typed(schema["propertyNames"])[0] if "$ref" in schema.get("propertyNames", {}) else "str"
        name = f"dict[{keys}, {typed(schema['additionalProperties'])[0]}]"
    else:
        name = {"string": "str", "integer": "int", "number": "float", "boolean": "bool"}[kind]
    return name, "null" in kinds


def references(schema: Any) -> set[str]:
    found: set[str] = set()
    if isinstance(schema, dict):
        if "$ref" in schema:
            found.add(name_of(schema["$ref"]))
        for inner in schema.values():
            found |= references(inner)
    elif isinstance(schema, list):
        for inner in schema:
            found |= references(inner)
    return found


def docstring(text: str, indent: str, more: list[str] | None = None) -> list[str]:
    lines = textwrap.wrap(text, WIDTH - len(indent) - 6) or [""]
    if not more and len(lines) == 1:
        return [f'{indent}"""{lines[0]}"""']
    out = [f'{indent}"""{lines[0]}', *(f"{indent}{line}" for line in lines[1:])]
    if more:
        out += ["", *more]
    return [*out, f'{indent}"""']


def enumeration(name: str, schema: Schema) -> list[str]:
    out = [f"class {name}(str, Enum):", *docstring(words(schema.get("description", name)), "    "), ""]
    out += [f'    {word.upper()} = "{word}"' for word in schema["enum"]]
    return [*out, "", "    def __str__(self) -> str:", "        return str(self.value)"]


def members(name: str, schema: Schema, all_schemas: dict[str, Schema]) -> tuple[dict[str, Schema], set[str]]:
    """The members of a schema, and which of them are always there."""
    if "allOf" in schema:
        found: dict[str, Schema] = {}
        required: set[str] = set()
        for part in schema["allOf"]:
            inner = all_schemas[name_of(part["$ref"])] if "$ref" in part else part
            more, needed = members(name, inner, all_schemas)
            found |= more
            required |= needed
        return found, required
    if "oneOf" in schema:
        # Alternatives that a word tells apart: that word is always there, and the members of each are there with it.
        found = {}
        for part in schema["oneOf"]:
            found |= part["properties"]
        tags = [key for key, inner in found.items() if "enum" in inner]
        if len(tags) != 1:
            raise SystemExit(f"{name}: no one word tells its alternatives apart")
        choices = [word for part in schema["oneOf"] for word in part["properties"][tags[0]]["enum"]]
        described = "One of " + ", ".join(f"`{word}`" for word in choices) + "."
        found[tags[0]] = {"type": "string", "description": described}
        return found, {tags[0]}
    return dict(schema.get("properties", {})), set(schema.get("required", []))


def default(kind: str, is_none: bool, given: Any) -> tuple[str, str]:
    """The annotation and the default of a member that may be left out."""
    if is_none:
        return f"{kind} | None", "None"
    if kind.startswith("list["):
        return kind, "field(default_factory=list)"
    if kind.startswith("dict["):
        return kind, "field(default_factory=dict)"
    if kind == "bool":
        return kind, repr(bool(given))
    return f"{kind} | None", "None"


def data_class(name: str, schema: Schema, all_schemas: dict[str, Schema]) -> list[str]:
    found, required = members(name, schema, all_schemas)
    always, maybe, described = [], [], []
    for key, inner in found.items():
        kind, is_none = typed(inner)
        text = inner.get("description") or next(
            (one["description"] for one in inner.get("oneOf", []) if "description" in one), ""
        )
        described += textwrap.wrap(
            f"{key}: {words(text)}",
            WIDTH - 4,
            initial_indent="    ",
            subsequent_indent="        ",
            break_long_words=False,
        )
        if key in required:
            always.append(f"    {key}: {kind}{' | None' if is_none else ''}")
        else:
            annotation, value = default(kind, is_none, inner.get("default"))
            maybe.append(f"    {key}: {annotation} = {value}")
    return [
        "@dataclass(frozen=True, slots=True)",
        f"class {name}:",
        *docstring(words(schema.get("description", name)), "    ", described),
        "",
        *always,
        *maybe,
    ]


def written() -> str:
    all_schemas = schemas()
    wanted: set[str] = set()
    waiting = set(ROOTS)
    while waiting:
        name = waiting.pop()
        if name in wanted or name in ("Timestamp", "Signal"):
            continue
        wanted.add(name)
        waiting |= references(all_schemas[name])
    parts = [HEADER]
    for name in sorted(wanted):
        schema = all_schemas[name]
        made = enumeration(name, schema) if "enum" in schema else data_class(name, schema, all_schemas)
        parts.append("\n".join(["", *made, ""]))
    names = "\n".join(f'    "{name}",' for name in sorted(wanted))
    parts.append(f"\n__all__ = [\n{names}\n]\n")
    return "\n".join(parts)


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
