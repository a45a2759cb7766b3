"""Refuses every interpreter but the main one: the native half has one runtime for each process."""

from __future__ import annotations

import importlib
from typing import Any


def _interpreters() -> Any:
    # Before 3.13 it has the first name.
    for name in ("_xxsubinterpreters", "_interpreters"):
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    return None


def refuse_others() -> None:
    """Raises `ImportError` in an interpreter that is not the main one."""
    interpreters = _interpreters()
    if interpreters is not None and interpreters.get_current() != interpreters.get_main():
        raise ImportError("roadstead works in the main interpreter of a process only, and this is another one")


refuse_others()
