"""Ready-made architectures, workloads, technologies, memory costs and figures of chips that ship with fastmap."""

from __future__ import annotations

from importlib.resources import files
from importlib.resources.abc import Traversable

from fastmap._spec import closest, listed, shown
from fastmap.errors import InputError

#: Kinds of entries, and the folder of each.
FOLDERS = {
    "architecture": "architectures",
    "workload": "workloads",
    "technology": "technologies",
    "memory": "memories",
    "chips": "chips",
}
_SUFFIXES = (".yaml", ".csv")


def names(kind: str) -> tuple[str, ...]:
    """Return the names of all entries of a kind, sorted."""
    folder = files(__name__) / _folder(kind)
    if not folder.is_dir():
        return ()
    entries = (entry.name for entry in folder.iterdir())
    return tuple(sorted(name.rsplit(".", 1)[0] for name in entries if name.endswith(_SUFFIXES)))


def path(kind: str, name: str) -> Traversable:
    """Return the file of an entry."""
    known = names(kind)
    if name not in known:
        raise InputError(f"the zoo has no {kind} {shown(name)}{closest(name, known)} (it has {listed(known)})")
    folder = files(__name__) / _folder(kind)
    return next(file for suffix in _SUFFIXES if (file := folder / f"{name}{suffix}").is_file())


def text(kind: str, name: str) -> str:
    """Return the text of an entry."""
    return path(kind, name).read_text(encoding="utf-8")


def description(kind: str, name: str) -> str:
    """Return what the comment at the top of an entry says, up to its first empty line."""
    lines = []
    for line in text(kind, name).splitlines():
        if not line.startswith("#") or not line.strip("# "):
            break
        lines.append(line.lstrip("# ").rstrip())
    return " ".join(lines)


def _folder(kind: str) -> str:
    if kind not in FOLDERS:
        raise InputError(f"the zoo has no {shown(kind)}{closest(kind, FOLDERS)} (it has {listed(FOLDERS)})")
    return FOLDERS[kind]
