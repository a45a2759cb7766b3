"""What the native half has to know of a data class to make one: its members in order, and what stands for one that
is left out.
"""

from __future__ import annotations

import dataclasses
import re
from typing import Any


def members(cls: type) -> list[tuple[str, str, Any, str | None]]:
    """Name, kind of default ("missing", "value" or "made"), default, and the innermost class that the annotation
    names.
    """
    found = []
    for member in dataclasses.fields(cls):
        kind: str
        default: Any
        if member.default is not dataclasses.MISSING:
            kind, default = "value", member.default
        elif member.default_factory is not dataclasses.MISSING:
            kind, default = "made", member.default_factory
        else:
            kind, default = "missing", None
        names = re.findall(r"[A-Z]\w+", str(member.type).replace("None", ""))
        found.append((member.name, kind, default, names[-1] if names else None))
    return found
