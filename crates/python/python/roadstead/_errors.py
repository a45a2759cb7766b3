"""The exceptions of the package: one for each kind of error of the library, each also the built-in class that fits
it.
"""

from __future__ import annotations

from typing import Literal

__all__ = [
    "AlreadyExistsError",
    "CancelledError",
    "ConflictError",
    "DeadlineExceededError",
    "Error",
    "InvalidInputError",
    "NotFoundError",
    "PermissionDeniedError",
    "PreconditionFailedError",
    "ResourceExhaustedError",
    "UnauthenticatedError",
    "UnavailableError",
    "UnexpectedError",
    "UnsupportedError",
]


class Error(Exception):
    """What failed, where, and whether trying again is wise.

    code: The kind of error as a word, the same as over REST.
    retry: "never" changes nothing, "safe" means that nothing has happened, "unknown" that it may have.
    field: The member of the input that is wrong, if it is one.
    resource: The id or name of what it is about, if told.
    node: The name of the node, if told.
    operation: What was done, if told.
    """

    code: str
    retry: Literal["never", "safe", "unknown"]
    field: str | None
    resource: str | None
    node: str | None
    operation: str | None

    def __init__(
        self,
        message: str,
        code: str = "unexpected",
        retry: Literal["never", "safe", "unknown"] = "unknown",
        field: str | None = None,
        resource: str | None = None,
        node: str | None = None,
        operation: str | None = None,
    ) -> None:
        super().__init__(message, code, retry, field, resource, node, operation)
        self.code = code
        self.retry = retry
        self.field = field
        self.resource = resource
        self.node = node
        self.operation = operation

    def __str__(self) -> str:
        return str(self.args[0])


class NotFoundError(Error, LookupError):
    """What was asked for is not there."""


class AlreadyExistsError(Error, ValueError):
    """Something of this name is there already."""


class ConflictError(Error, RuntimeError):
    """The state of what it is about does not allow it."""


class PreconditionFailedError(Error, RuntimeError):
    """It is not as the caller took for granted."""


class InvalidInputError(Error, ValueError):
    """What was given makes no sense; `field` says where."""


class UnauthenticatedError(Error, PermissionError):
    """No valid identity was shown."""


class PermissionDeniedError(Error, PermissionError):
    """The identity that was shown may not do it."""


class UnsupportedError(Error, NotImplementedError):
    """The engine cannot do it."""


class UnavailableError(Error, ConnectionError):
    """The engine cannot be reached, or cannot work at the moment."""


class DeadlineExceededError(Error, TimeoutError):
    """The time is over."""


class ResourceExhaustedError(Error, RuntimeError):
    """Something has run out."""


class CancelledError(Error, RuntimeError):
    """It was called off. It is not asyncio's exception of this name, which cancelled tasks raise."""


class UnexpectedError(Error, RuntimeError):
    """Something that nobody has foreseen."""


for _name in __all__:
    # As what they are known by, in tracebacks and to whoever pickles them.
    globals()[_name].__module__ = "roadstead"
