"""Reading YAML (and JSON) so that every complaint can name the file, the key and the line.

The text is parsed as a flat sequence of events, not recursively, and resolved by the rules of YAML 1.2: ``no`` is text,
``1e9`` is a number. Keys are always text. Aliases may not refer to themselves, nor blow up when they are written out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path as FilePath
from typing import Any, TypeVar

import yaml

from fastmap._spec import Path, Spec, SpecError, dotted, shown
from fastmap.errors import InputError

#: Limits that no honest input file comes near.
LARGEST_FILE_BYTES = 16 * 2**20
DEEPEST_NESTING = 50
MOST_VALUES = 500_000

_INTEGER = re.compile(r"[-+]?[0-9][0-9_]{0,300}|0x[0-9a-fA-F]{1,64}|0o[0-7]{1,64}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]{1,5})?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_WORDS = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_YAML_TAG = "tag:yaml.org,2002:"

T = TypeVar("T")
SpecT = TypeVar("SpecT", bound=Spec)


class Node:
    """One value of the file, and the line it starts on; ``weight`` and ``height`` bound what its aliases expand to."""

    __slots__ = ("duplicates", "height", "keys", "line", "scalar", "value", "weight")

    def __init__(self, value: Any, line: int, scalar: str | None = None) -> None:
        self.value = value
        self.line = line
        self.scalar = scalar
        self.keys: dict[str, int] = {}
        self.duplicates: list[tuple[str, int, int]] = []
        self.weight = self.height = 1

    def children(self) -> Iterator[tuple[str | int, Node]]:
        """Yield the values inside a mapping or list, with their keys or positions."""
        if isinstance(self.value, dict):
            yield from self.value.items()
        elif isinstance(self.value, list):
            yield from enumerate(self.value)

    def plain(self) -> Any:
        """Return the value as ordinary dictionaries, lists and scalars."""
        if isinstance(self.value, dict):
            return {key: child.plain() for key, child in self.value.items()}
        if isinstance(self.value, list):
            return [child.plain() for child in self.value]
        return self.value


class Document:
    """A parsed file: its plain ``data``, the line of every place in them, and the folder in which it lies, if any."""

    def __init__(self, file: str, root: Node, folder: FilePath | None = None) -> None:
        self.file = file
        self.root = root
        self.folder = folder
        self.data: Any = root.plain()

    def line(self, where: Path) -> int:
        """Return the line of the deepest part of ``where`` that exists."""
        node, line = self.root, self.root.line
        for step in where:
            if isinstance(node.value, dict) and step in node.value:
                line, node = node.keys[str(step)], node.value[step]
            elif isinstance(node.value, list) and isinstance(step, int) and step < len(node.value):
                node = node.value[step]
                line = node.line
            else:
                break
        return line

    def error(self, where: Path, message: str) -> InputError:
        """Return the error that names the file, the line, the key and what is wrong."""
        place = f", {dotted(where)}" if where else ""
        return InputError(f"{self.file}, line {self.line(where)}{place}: {message}")

    def beside(self, name: str) -> str:
        """Return what the file names: another file from its own folder on, anything else as it stands."""
        if self.folder is None or not name.lower().endswith((".csv", ".yaml", ".yml", ".json")):
            return name
        return str(self.folder / name)

    def duplicates(self) -> list[tuple[Path, str]]:
        """Return the place of every key that stands twice in one mapping, with a sentence."""
        found: list[tuple[Path, str]] = []
        stack: list[tuple[Path, Node]] = [((), self.root)]
        while stack:
            where, node = stack.pop()
            for key, first, again in node.duplicates:
                found.append(((*where, key), f"the key {shown(key)} stands twice, on lines {first} and {again}"))
            stack += [((*where, step), child) for step, child in node.children()]
        return found

    def refuse_duplicates(self) -> None:
        """Raise an error if a key stands twice in one mapping."""
        for where, message in self.duplicates():
            raise self.error(where, message)

    def parse(self, model: type[SpecT], data: Any, at: Path = ()) -> SpecT:
        """Build ``model`` from the part of the data at ``at``."""
        return self.build(lambda: model.model_validate(data), lambda where: (*at, *where))

    def build(self, make: Callable[[], T], translate: Callable[[Path], Path]) -> T:
        """Call ``make``; a broken rule is told at the place that ``translate`` finds for it in this file."""
        try:
            return make()
        except SpecError as error:
            raise self.error(translate(error.where), error.message) from None
        except RecursionError:
            raise self.error((), "the file is nested too deeply") from None


def read_text(path: str | FilePath) -> str:
    """Return the text of a file."""
    file = shown(str(path), 300)
    try:
        target = FilePath(path)
        if target.is_dir():
            raise InputError(f"{file} is a directory, not a file")
        if not target.exists():
            raise InputError(f"there is no file {file}")
        if not target.is_file():
            raise InputError(f"{file} is not an ordinary file")
        size = target.stat().st_size
        if size > LARGEST_FILE_BYTES:
            raise InputError(f"{file}: has {size} bytes, and at most {LARGEST_FILE_BYTES} are read")
        data = target.read_bytes()
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror or error}") from None
    except ValueError as error:  # a NUL in the name
        raise InputError(f"{file} cannot be read: {error}") from None
    return decode(data, file)


def decode(data: bytes, file: str) -> str:
    """Return the text of UTF-8 (or UTF-16 with its mark) bytes."""
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(f"{file}, line {line}: is not UTF-8 text (byte 0x{data[error.start]:02x})") from None


def read_document(path: str | FilePath) -> Document:
    """Parse a YAML or JSON file."""
    return parse_document(read_text(path), shown(str(path), 300), FilePath(path).parent)


def parse_document(text: str, file: str, folder: FilePath | None = None) -> Document:
    """Parse YAML or JSON text; ``file`` is what complaints call it, ``folder`` where the files lie that it names."""
    try:
        root = _Builder(file).build(text)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, int(error.position)) + 1
        raise InputError(f"{file}, line {line}: holds a character that YAML does not allow") from None
    except yaml.MarkedYAMLError as error:
        raise InputError(_syntax_error(file, text, error)) from None
    except yaml.YAMLError as error:
        raise InputError(f"{file}: is not valid YAML ({shown(' '.join(str(error).split()), 200)})") from None
    except (ValueError, OverflowError, RecursionError) as error:
        raise InputError(f"{file}: is not valid YAML ({shown(' '.join(str(error).split()), 200)})") from None
    if root is None or root.value is None:
        raise InputError(f"{file}: is empty")
    return Document(file, root, folder)


def _syntax_error(file: str, text: str, error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    place = f", line {min(mark.line + 1, max(1, len(text.splitlines())))}" if mark else ""
    problem = " ".join(part for part in (error.problem, error.context) if part) or "unreadable"
    lines = text.splitlines()
    if mark and mark.line < len(lines) and "\t" in lines[mark.line][: mark.column + 1]:
        problem = "a tab cannot indent; use spaces"
    return f"{file}{place}: is not valid YAML: {shown(' '.join(problem.split()), 200)}"


class _Builder:
    """Turns the events of the parser into nodes, with a stack of its own instead of recursion."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.anchors: dict[str, Node | None] = {}
        self.open: list[tuple[Node, str | None]] = []
        self.key: list[tuple[str, int] | None] = []
        self.root: Node | None = None

    def build(self, text: str) -> Node | None:
        """Return the one document of the text."""
        documents = 0
        # Events come one by one: neither C nor Python code recurses into the nesting.
        for event in yaml.parse(text, Loader=_LOADER):
            line = event.start_mark.line + 1 if event.start_mark else 1
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise self.error(line, "a second document starts here; a file holds one")
            elif isinstance(event, yaml.AliasEvent):
                self.close(self.alias(event.anchor, line), line)
            elif isinstance(event, yaml.ScalarEvent):
                node = Node(self.resolve(event, line), line, event.value)
                self.anchor(event.anchor, node)
                self.close(node, line)
            elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
                self.start(event, line)
            elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
                node, name = self.open.pop()
                self.key.pop()
                self.weigh(node)
                self.anchor(name, node)
                self.close(node, node.line)
        return self.root

    def error(self, line: int, message: str) -> InputError:
        return InputError(f"{self.file}, line {line}: {message}")

    def unknown_tag(self, line: int, tag: str) -> InputError:
        return self.error(line, f"the tag {shown(tag.replace(_YAML_TAG, '!!'))} is not known")

    def start(self, event: Any, line: int) -> None:
        """Open a mapping or list."""
        mapping = isinstance(event, yaml.MappingStartEvent)
        if event.tag not in (None, "!", _YAML_TAG + ("map" if mapping else "seq")):
            raise self.unknown_tag(line, str(event.tag))
        if len(self.open) >= DEEPEST_NESTING:
            raise self.error(line, f"is nested more than {DEEPEST_NESTING} levels deep")
        if self.open and isinstance(self.open[-1][0].value, dict) and self.key[-1] is None:
            raise self.error(line, "a mapping or list cannot be a key")
        if event.anchor is not None:
            self.anchors[event.anchor] = None
        self.open.append((Node({} if mapping else [], line), event.anchor))
        self.key.append(None)

    def alias(self, name: str | None, line: int) -> Node:
        """Return what an alias stands for."""
        if name is None or name not in self.anchors:
            raise self.error(line, f"the alias *{shown(name)} has no anchor &{shown(name)} before it")
        node = self.anchors[name]
        if node is None:
            raise self.error(line, f"the alias *{shown(name)} refers to itself")
        return node

    def anchor(self, name: str | None, node: Node) -> None:
        if name is not None:
            self.anchors[name] = node

    def close(self, node: Node, line: int) -> None:
        """Put a finished value where it belongs."""
        if not self.open:
            self.root = node
            return
        parent = self.open[-1][0]
        if isinstance(parent.value, list):
            parent.value.append(node)
            return
        key = self.key[-1]
        if key is None:
            if node.scalar is None:
                raise self.error(line, "a mapping or list cannot be a key")
            self.key[-1] = (node.scalar, line)
            return
        self.key[-1] = None
        name, key_line = key
        if name == "<<" and isinstance(node.value, dict | list):
            self.merge(parent, node, key_line)
            return
        if name in parent.keys and parent.keys[name] > 0:
            parent.duplicates.append((name, parent.keys[name], key_line))
        parent.value[name] = node
        parent.keys[name] = key_line

    def merge(self, parent: Node, node: Node, line: int) -> None:
        """Copy the entries of ``<<: *other`` that the mapping does not have itself."""
        for source in node.value if isinstance(node.value, list) else [node]:
            if not isinstance(source.value, dict):
                raise self.error(line, "<< takes a mapping")
            for name, child in source.value.items():
                if name not in parent.value:
                    parent.value[name] = child
                    parent.keys[name] = -line  # may still be overridden, without being a duplicate

    def weigh(self, node: Node) -> None:
        """Record how much a value expands to, aliases included."""
        for name in node.keys:
            node.keys[name] = abs(node.keys[name])
        children = [child for _, child in node.children()]
        node.weight += sum(child.weight for child in children)
        node.height += max((child.height for child in children), default=0)
        if node.weight > MOST_VALUES:
            raise self.error(node.line, f"holds more than {MOST_VALUES} values, aliases written out")
        if node.height > DEEPEST_NESTING:
            raise self.error(node.line, f"is nested more than {DEEPEST_NESTING} levels deep")

    def resolve(self, event: Any, line: int) -> Any:
        """Return the value of a scalar by the rules of YAML 1.2."""
        text: str = event.value
        tag = event.tag
        if tag not in (None, "!") and not str(tag).startswith(_YAML_TAG):
            raise self.unknown_tag(line, str(tag))
        kind = None if tag in (None, "!") else str(tag).removeprefix(_YAML_TAG)
        if kind not in (None, "str", "int", "float", "bool", "null"):
            raise self.unknown_tag(line, str(tag))
        if kind == "str" or (kind is None and (event.style or tag == "!")):
            return text
        if text in _WORDS:
            return _WORDS[text]
        if _INTEGER.fullmatch(text):
            return int(text.replace("_", ""), 10 if text[:2] not in ("0x", "0o") else 0)
        if _FLOAT.fullmatch(text):
            return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
        return text


_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def renamed(names: Sequence[str], keys: dict[str, str]) -> Callable[[Path], Path]:
    """Return a translation of places in an :class:`Architecture` to places in a file.

    ``names`` are the memories, which the architecture numbers and the file names; ``keys`` are the file's own words.
    """

    def translate(where: Path) -> Path:
        steps = list(where)
        if len(steps) > 1 and steps[0] == "memories" and isinstance(steps[1], int):
            steps[1] = names[steps[1]]
        return tuple(keys.get(step, step) if isinstance(step, str) else step for step in steps)

    return translate
