"""The base of all specifications: immutable models whose mistakes are told in one sentence.

A rule broken anywhere in a specification surfaces as :class:`~fastmap.errors.InputError`. Readers catch it, and put
the file and the line in front (:mod:`fastmap.readers.source`).
"""

from __future__ import annotations

import difflib
import math
import operator
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError
from pydantic.json_schema import WithJsonSchema
from pydantic_core import ErrorDetails

from fastmap.errors import InputError

#: Largest size, bandwidth or factor accepted: everything below is exact in a float64.
LARGEST = 2**53
#: Largest energy, area and the like accepted: no sum or product of costs overflows.
LARGEST_REAL = 1e15

#: A place in a specification: keys and list positions from the top.
Path = tuple[str | int, ...]


class RuleError(ValueError):
    """A rule that several values break together; ``where`` says at which of them to point."""

    def __init__(self, message: str, where: Path = ()) -> None:
        super().__init__(message)
        self.where = where


class SpecError(InputError):
    """The :class:`InputError` of a specification, with the place kept apart from the sentence."""

    def __init__(self, what: str, where: Path, message: str) -> None:
        self.what, self.where, self.message = what, where, message
        super().__init__(f"{what}, {dotted(where)}: {message}" if where else f"{what}: {message}")

    def __reduce__(self) -> tuple[Callable[..., SpecError], tuple[str, Path, str]]:
        return type(self), (self.what, self.where, self.message)


class Spec(BaseModel):
    """An immutable specification; broken rules raise :class:`~fastmap.errors.InputError`, unknown keys included."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def __init__(self, /, **data: Any) -> None:
        try:
            super().__init__(**data)
        except ValidationError as error:
            raise spec_error(type(self), error) from None

    # Tells pydantic that nested models need not be built through this method, so that the error keeps the whole path.
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]

    @classmethod
    def model_validate_json(cls, json_data: str | bytes | bytearray, **options: Any) -> Self:
        """Build the specification from JSON; see :meth:`pydantic.BaseModel.model_validate_json`."""
        try:
            return super().model_validate_json(json_data, **options)
        except ValidationError as error:
            raise spec_error(cls, error) from None

    @classmethod
    def model_validate(cls, obj: Any, **options: Any) -> Self:
        """Build the specification from a dictionary; see :meth:`pydantic.BaseModel.model_validate`."""
        try:
            return super().model_validate(obj, **options)
        except ValidationError as error:
            raise spec_error(cls, error) from None


def dotted(path: Iterable[str | int]) -> str:
    """Write a path the way a person points at it: ``memories.sram.ports[0]``."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{shown(step)}"
    return text.removeprefix(".")


def shown(value: object, limit: int = 60) -> str:
    """Write a value of the user's into a sentence: one line, not too long, printable."""
    if isinstance(value, str):
        text = value if value.isprintable() and value.strip() == value != "" else repr(value)
    elif value is None:
        text = "nothing"
    elif isinstance(value, bool):
        text = "true" if value else "false"
    elif isinstance(value, Mapping):
        text = "a mapping"
    elif isinstance(value, list | tuple):
        text = f"a list of {len(value)}"
    elif isinstance(value, int) and abs(value) >= 10**40:
        text = "a number of more than 40 digits"
    else:
        text = repr(value)
    return text if len(text) <= limit else text[: limit - 3] + "..."


def closest(word: object, known: Iterable[str]) -> str:
    """Return ``"; did you mean x?"`` for the known word nearest to a misspelt one, or nothing."""
    choices = {name.lower(): name for name in known}
    found = difflib.get_close_matches(str(word).lower()[:80], choices, n=1, cutoff=0.6)
    return f"; did you mean {shown(choices[found[0]])}?" if found else ""


def listed(names: Iterable[object]) -> str:
    """Join names for a sentence."""
    return ", ".join(shown(name) for name in names) or "none"


def must(requirement: str, value: object) -> ValueError:
    """Return the error that all single values share: what is required and what was given."""
    numeral = isinstance(value, str) and re.fullmatch(r"[+-]?[0-9]+(\.[0-9]+)?", value)
    return ValueError(f"must be {requirement}, not {f'the text {value!r}' if numeral else shown(value)}")


def whole(value: object, least: int | None = None, most: int = LARGEST, what: str = "") -> int:
    """Return ``value`` as an integer between ``least`` and ``most``; booleans, text and fractions are refused."""
    bounds = {None: "an integer", 0: "an integer of at least 0", 1: "a positive integer"}
    requirement = what or bounds.get(least, f"an integer of at least {least}")
    if isinstance(value, bool | str) or value is None:
        raise must(requirement, value)
    if isinstance(value, float):
        if not value.is_integer():
            raise must(requirement, value)
        number = int(value)
    else:
        try:
            number = operator.index(value)  # type: ignore[arg-type]
        except TypeError:
            raise must(requirement, value) from None
    if least is not None and number < least:
        raise must(requirement, number)
    if number > most:
        raise must(f"{requirement} of at most {most}" if least is None else f"between {least} and {most}", number)
    return number


def real(value: object, positive: bool = False) -> float:
    """Return ``value`` as a finite float that is not negative (or is positive)."""
    requirement = "a positive number" if positive else "a number of at least 0"
    if isinstance(value, bool | str) or not hasattr(value, "__float__"):
        raise must(requirement, value)
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise must(requirement, value) from None
    if not math.isfinite(number) or number < 0 or (positive and number == 0):
        raise must(requirement, value)
    if number > LARGEST_REAL:
        raise must(f"{requirement} {'of' if positive else 'and'} at most {LARGEST_REAL:g}", value)
    return number


def share(value: object) -> float:
    """Return ``value`` as a share above 0 and at most 1."""
    requirement = "a share above 0 and at most 1"
    if isinstance(value, bool | str) or not isinstance(value, int | float) or not 0 < value <= 1:
        raise must(requirement, value)
    return float(value)


def label(value: object) -> str:
    """Return ``value`` as a name: text on one line. Numbers are turned into text, since YAML reads ``1:`` as one."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        raise must("a name", value)
    if not value.strip() or not value.isprintable() or len(value) > 200:
        raise must("a name of 1 to 200 printable characters", value)
    return value


Count = Annotated[
    int, BeforeValidator(lambda v: whole(v, 1)), WithJsonSchema({"type": "integer", "minimum": 1, "maximum": LARGEST})
]
Natural = Annotated[
    int, BeforeValidator(lambda v: whole(v, 0)), WithJsonSchema({"type": "integer", "minimum": 0, "maximum": LARGEST})
]
Bits = Annotated[
    int,
    BeforeValidator(lambda v: whole(v, 1, 4096, "a number of bits between 1 and 4096")),
    WithJsonSchema({"type": "integer", "minimum": 1, "maximum": 4096}),
]
Cost = Annotated[float, BeforeValidator(real), WithJsonSchema({"type": "number", "minimum": 0})]
Positive = Annotated[
    float, BeforeValidator(lambda v: real(v, positive=True)), WithJsonSchema({"type": "number", "exclusiveMinimum": 0})
]
Share = Annotated[
    float, BeforeValidator(lambda v: share(v)), WithJsonSchema({"type": "number", "exclusiveMinimum": 0, "maximum": 1})
]
Name = Annotated[str, BeforeValidator(label), WithJsonSchema({"type": "string", "minLength": 1})]


def spec_error(model: type[BaseModel], error: ValidationError) -> SpecError:
    """Turn the first complaint of pydantic into our sentence, with the place it points at."""
    details = error.errors(include_url=False)
    first = details[0]
    # An unknown key often is a misspelling of a missing one: the unknown key says more.
    for detail in details:
        if detail["type"] == "extra_forbidden":
            first = detail
            break
    where, message = explain(model, first)
    return SpecError(model.__name__.lower(), where, message)


def explain(model: type[BaseModel], detail: ErrorDetails) -> tuple[Path, str]:
    """Return where one complaint of pydantic points, and what it says, in our words."""
    where: Path = tuple(step for step in detail["loc"] if step != "[key]")
    kind, value = detail["type"], detail["input"]
    if kind == "value_error":
        cause = detail["ctx"]["error"]
        if isinstance(cause, RuleError):
            where += cause.where
        return where, str(cause)
    if kind == "extra_forbidden":
        known = fields_at(model, where[:-1])
        return where[:-1], (
            f"unknown key {shown(where[-1])}{closest(where[-1], known)} (known keys: {listed(known)})"
            if known
            else f"unknown key {shown(where[-1])}"
        )
    if kind == "missing":
        return where[:-1], f"the key {shown(where[-1])} is missing"
    requirements: dict[str, Callable[[], str]] = {
        "literal_error": lambda: f"one of {detail['ctx']['expected']}".replace("'", "").replace(" or ", ", "),
        "bool_type": lambda: "true or false",
        "bool_parsing": lambda: "true or false",
        "string_type": lambda: "text",
        "dict_type": lambda: "a mapping (key: value)",
        "mapping_type": lambda: "a mapping (key: value)",
        "model_type": lambda: "a mapping (key: value)",
        "model_attributes_type": lambda: "a mapping (key: value)",
        "list_type": lambda: "a list",
        "tuple_type": lambda: "a list",
        "too_short": lambda: f"a list of at least {detail['ctx']['min_length']}",
        "too_long": lambda: f"a list of at most {detail['ctx']['max_length']}",
    }
    if kind in requirements:
        return where, str(must(requirements[kind](), value))
    return where, f"{detail['msg']}, not {shown(value)}"


def fields_at(model: type[BaseModel], where: Path) -> list[str]:
    """Return the keys that the model at ``where`` knows; empty if that place is not a model."""
    current: Any = model
    for step in where:
        fields = getattr(current, "model_fields", {})
        current = fields[step].annotation if step in fields else current
        current = _inner_model(current)
    return [field.alias or name for name, field in getattr(current, "model_fields", {}).items()]


def _inner_model(annotation: Any) -> Any:
    """Return the model inside ``tuple[Model, ...]``, ``dict[str, Model]``, ``Model | None``; or the annotation."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for part in getattr(annotation, "__args__", ()):
        found = _inner_model(part)
        if isinstance(found, type) and issubclass(found, BaseModel):
            return found
    return annotation
