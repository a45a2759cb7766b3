"""Archives to give."""

from __future__ import annotations

import io
import tarfile


def tar_of(name: str, content: bytes) -> bytes:
    """An archive with one file."""
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w") as tar:
        info = tarfile.TarInfo(name)
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))
    return whole.getvalue()
