"""The end of the interpreter: nothing may come back into one that is gone, which would take the process down."""

from __future__ import annotations

from . import _interpreter as _interpreter  # It refuses, before the next one begins.
from . import _native


def _break_off(thread: int) -> None:
    """Has what runs in a thread raise `SystemExit`, once it runs Python's code again."""
    try:
        import ctypes
    except ImportError:
        # An interpreter without it: what runs is waited for.
        return
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(SystemExit))


def end() -> None:
    """Ends what goes on. Iterators and files that were given and are being read are broken off, and waited for."""
    while (threads := _native.end()) is not None:
        for thread in threads:
            _break_off(thread)
