"""Expressions over columns, such as ``energy_pj < 1.05 * best and utilization > 0.5``: read, never executed as code.

The grammar is a small part of Python's: comparisons, ``and``, ``or``, ``not``, arithmetic, ``in`` with a list, and the
functions of ``FUNCTIONS``. A name may have dots (``D1.K``); ``column("odd name")`` names any column. All arithmetic is
in float64.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastmap._spec import closest, listed, shown
from fastmap.errors import InputError

#: Longest expression, in characters, and how deep it can nest.
LONGEST, DEEPEST = 2000, 60
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "abs": np.abs,
    "sqrt": np.sqrt,
    "log2": np.log2,
    "log10": np.log10,
    "min": np.minimum,
    "max": np.maximum,
}
TWO_ARGUMENTS = ("min", "max")
_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: np.divide,
    ast.Mod: np.mod,
    ast.FloorDiv: np.floor_divide,
    ast.Pow: np.power,
}
_COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
#: Stands for the least value of the column that it is compared with.
BEST = "best"
#: Columns that have a best value, under this name with ``best_`` before it.
BEST_OF = ("energy_pj", "latency_cycles", "latency_ns", "edp_pj_ns")


@dataclass(frozen=True)
class Labels:
    """A column of words: each row's place in a list of them."""

    codes: Any  #: integers [n]
    words: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, rows: Any) -> Labels:
        """Some of the rows."""
        return Labels(self.codes[rows], self.words)

    def is_word(self, word: str) -> Any:
        """Which rows have this word."""
        return self.codes == (self.words.index(word) if word in self.words else -1)

    def text(self) -> Any:
        """The words themselves, one a row."""
        return np.array(self.words, dtype=object)[self.codes] if len(self.codes) else np.empty(0, object)


@dataclass(frozen=True)
class Expression:
    """An expression that has been read and found harmless."""

    text: str
    names: frozenset[str]  #: of the columns and constants that it uses
    tree: ast.expr

    def __call__(self, column: Callable[[str], Any]) -> Any:
        """Evaluate it on columns: arrays, ``Labels``, or single numbers."""
        with np.errstate(all="ignore"):  # a division by zero gives infinity, which compares as it should
            return _Evaluation(self, column).of(self.tree)

    def check(self, known: Callable[[str], bool], names: list[str]) -> None:
        """Refuse names that are no columns.

        Args:
            known: whether there is a column of that name.
            names: those to list in the sentence.
        """
        for name in sorted(self.names):
            if not known(name):
                raise InputError(
                    f"{shown(self.text, LONGEST)}: there is no column {shown(name)}{closest(name, names)} "
                    f"(columns: {listed(names)})"
                )

    def select(self, column: Callable[[str], Any], rows: int) -> Any:
        """Which of so many rows satisfy it, bool[rows].

        Raises:
            InputError: it is no condition.
        """
        value = self(column)
        if isinstance(value, Labels) or np.asarray(value).dtype != np.bool_:
            raise InputError(f"{shown(self.text, LONGEST)}: is no condition; compare something, as in energy_pj < 1e6")
        return np.broadcast_to(value, (rows,))


def read_expression(text: object) -> Expression:
    """Read an expression.

    Raises:
        InputError: it is no expression, or holds what is not allowed; the sentence says what.
    """
    if not isinstance(text, str) or not text.strip():
        raise InputError(f"an expression must be a text such as 'energy_pj < 1e6', not {shown(text)}")
    if len(text) > LONGEST:
        raise InputError(f"an expression must have at most {LONGEST} characters, not {len(text)}")
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        reason = error.msg if isinstance(error, SyntaxError) else "too deeply nested, or not text"
        raise InputError(f"{shown(text, LONGEST)}: is not an expression: {reason}") from None
    reader = _Reader(text.strip())
    tree = reader.read(tree)
    return Expression(text.strip(), frozenset(reader.names), tree)


class _Reader:
    """Checks every node and replaces ``best`` by what it stands for; names become ``ast.Name`` with their dots."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.names: set[str] = set()
        self.depth = 0

    def refuse(self, node: ast.AST, what: str = "") -> InputError:
        part = ast.get_source_segment(self.text, node) or self.text
        what = what or "is not allowed"
        return InputError(
            f"{shown(self.text, LONGEST)}: {shown(part)} {what}; an expression may have columns, numbers, + - * / % "
            f"**, comparisons, and, or, not, in [...], and the functions {', '.join(FUNCTIONS)}"
        )

    def read(self, node: ast.expr, best: str | None = None) -> ast.expr:
        """Return the same expression with its names resolved.

        Args:
            best: the column that ``best`` is compared with.
        """
        if self.depth == DEEPEST:
            raise InputError(f"{shown(self.text, LONGEST)}: is not an expression: too deeply nested")
        self.depth += 1
        resolved = self.resolved(node, best)
        self.depth -= 1
        return resolved

    def resolved(self, node: ast.expr, best: str | None) -> ast.expr:
        match node:
            case ast.Constant(value=bool() | int() | float()):
                return node
            case ast.Name() | ast.Attribute():
                name = self.dotted(node)
                if name == BEST:
                    if best is None:
                        raise self.refuse(
                            node,
                            f"must be compared with one of {', '.join(BEST_OF)}; or write best_energy_pj and so on",
                        )
                    name = f"best_{best}"
                self.names.add(name)
                return ast.Name(name)
            case ast.Call(func=ast.Name(id="column"), args=[ast.Constant(value=str() as name)], keywords=[]):
                self.names.add(name)
                return ast.Name(name)
            case ast.Call(func=ast.Name(id=function), args=arguments, keywords=[]) if function in FUNCTIONS:
                if len(arguments) != (2 if function in TWO_ARGUMENTS else 1):
                    raise self.refuse(node, f"needs {'two arguments' if function in TWO_ARGUMENTS else 'one argument'}")
                return ast.Call(ast.Name(function), [self.read(each, best) for each in arguments], [])
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
                return ast.BinOp(self.read(left, best), op, self.read(right, best))
            case ast.UnaryOp(op=ast.USub() | ast.UAdd() | ast.Not() as op, operand=operand):
                return ast.UnaryOp(op, self.read(operand, best))
            case ast.BoolOp(op=op, values=values):
                return ast.BoolOp(op, [self.read(each) for each in values])
            case ast.Compare(left=left, ops=ops, comparators=others):
                return self.comparison(node, [left, *others], ops)
        raise self.refuse(node)

    def comparison(self, node: ast.expr, sides: list[ast.expr], ops: list[ast.cmpop]) -> ast.expr:
        named = {self.dotted(each) for side in sides for each in ast.walk(side) if isinstance(each, ast.Name)}
        metrics = [name for name in BEST_OF if name in named]
        best = metrics[0] if len(metrics) == 1 else None
        read = [self.read(sides[0], best) if not _is_text(sides[0]) else sides[0]]
        for op, side in zip(ops, sides[1:], strict=True):
            if isinstance(op, ast.In | ast.NotIn):
                if not isinstance(side, ast.List | ast.Tuple) or not all(
                    isinstance(each, ast.Constant) and isinstance(each.value, int | float | str) for each in side.elts
                ):
                    raise self.refuse(side, "must be a list of numbers or words, as in ['W', 'O']")
                read.append(side)
            elif type(op) in _COMPARISONS:
                if _is_text(side) and not isinstance(op, ast.Eq | ast.NotEq):
                    raise self.refuse(side, "is a word, which can only be compared by == and !=")
                read.append(side if _is_text(side) else self.read(side, best))
            else:
                raise self.refuse(node)
        return ast.Compare(read[0], ops, read[1:])

    def dotted(self, node: ast.expr) -> str:
        """The name that a chain of dots spells."""
        parts = []
        start = node
        while isinstance(start, ast.Attribute):
            parts.append(start.attr)
            start = start.value
        if not isinstance(start, ast.Name):
            raise self.refuse(node)
        return ".".join((start.id, *reversed(parts)))


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


class _Evaluation:
    """One evaluation of an expression."""

    def __init__(self, expression: Expression, column: Callable[[str], Any]) -> None:
        self.expression = expression
        self.column = column

    def error(self, what: str) -> InputError:
        return InputError(f"{shown(self.expression.text, LONGEST)}: {what}")

    def of(self, node: ast.expr) -> Any:
        match node:
            case ast.Constant(value=int() as value) if abs(value) >= 2**63:
                try:
                    return float(value)
                except OverflowError:
                    raise self.error("has a number beyond what float64 holds") from None
            case ast.Constant(value=value):
                return value
            case ast.Name(id=name):
                return self.column(name)
            case ast.Call(func=ast.Name(id=function), args=arguments):
                return FUNCTIONS[function](*(self.number(each) for each in arguments))
            case ast.BinOp(left=left, op=op, right=right):
                return _ARITHMETIC[type(op)](self.number(left), self.number(right))
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return np.logical_not(self.condition(operand))
            case ast.UnaryOp(op=op, operand=operand):
                value = self.number(operand)
                return -value if isinstance(op, ast.USub) else value
            case ast.BoolOp(op=op, values=values):
                join = np.logical_and if isinstance(op, ast.And) else np.logical_or
                found = self.condition(values[0])
                for each in values[1:]:
                    found = join(found, self.condition(each))
                return found
            case ast.Compare(left=left, ops=ops, comparators=others):
                found = np.True_
                for comparison, first, second in zip(ops, [left, *others], others, strict=False):
                    found = np.logical_and(found, self.compare(first, comparison, second))
                return found
        raise AssertionError(node)  # the reader lets nothing else through

    def number(self, node: ast.expr) -> Any:
        value = self.of(node)
        if isinstance(value, Labels):
            raise self.error(f"{ast.unparse(node)} holds words, not numbers; compare it by == or in")
        return np.asarray(value, np.float64)

    def condition(self, node: ast.expr) -> Any:
        value = self.of(node)
        if isinstance(value, Labels) or np.asarray(value).dtype != np.bool_:
            raise self.error(f"{ast.unparse(node)} is no condition; compare it with something")
        return value

    def compare(self, first: ast.expr, op: ast.cmpop, second: ast.expr) -> Any:
        if isinstance(second, ast.List | ast.Tuple):
            values = [each.value for each in second.elts if isinstance(each, ast.Constant)]
            found: Any = np.False_
            for value in values:
                found = np.logical_or(found, self.equal(self.of(first), value, first))
            return found if isinstance(op, ast.In) else np.logical_not(found)
        a, b = self.of(first), self.of(second)
        if any(isinstance(each, Labels | str) for each in (a, b)):
            if not isinstance(op, ast.Eq | ast.NotEq):
                raise self.error("words can only be compared by ==, != and in")
            if isinstance(a, str):
                a, b, first = b, a, second
            found = self.equal(a, b, first)
            return found if isinstance(op, ast.Eq) else np.logical_not(found)
        try:
            return _COMPARISONS[type(op)](np.asarray(a), np.asarray(b))
        except TypeError:
            raise self.error("compares what cannot be compared") from None

    def equal(self, value: Any, other: Any, node: ast.expr) -> Any:
        if isinstance(value, Labels) and isinstance(other, str):
            return value.is_word(other)
        if isinstance(value, Labels | str) or isinstance(other, Labels | str):
            raise self.error(f"{ast.unparse(node)} is compared with something of another kind")
        return np.equal(value, other)
