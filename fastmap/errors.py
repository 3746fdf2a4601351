"""Errors that are the user's: each carries the one sentence that the command line prints."""

from __future__ import annotations


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


class EmptySpaceError(SearchError):
    """No mapping satisfies the constraints and fits the memories."""


class StoreError(FastmapError):
    """A result file cannot be written or read."""
