"""Errors that are the user's: each carries the one sentence that the command line prints."""

from __future__ import annotations

import re


class FastmapError(Exception):
    """Base of every error that bad input causes. ``str(error)`` is one sentence for the user."""


class InputError(FastmapError):
    """A file, key, value or argument is wrong: what, where, and what is allowed."""


class MappingError(FastmapError):
    """A mapping does not belong to the layer and architecture, or does not fit (which memory, bits needed,
    available).
    """


class SearchError(FastmapError):
    """A search cannot be run as asked: the constraints leave nothing, or the space is too large."""


class TimeLimitError(SearchError):
    """No mapping was found in time."""


class EmptySpaceError(SearchError):
    """No mapping satisfies the constraints and fits the memories."""


class StoreError(FastmapError):
    """A result file cannot be written or read."""


class DamagedError(StoreError):
    """A result file, or a part of one, is truncated or damaged."""


def reason(error: BaseException) -> str:
    """What went wrong, on one line; of HDF5's accounts only what the system said."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    said = re.search("error message = '([^']*)'", text)
    return said[1] if said else " ".join(text.split())
