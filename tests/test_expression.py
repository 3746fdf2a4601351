"""Expressions are read, not executed: what is allowed gives what Python gives, everything else one sentence."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastmap.errors import FastmapError, InputError
from fastmap.expression import FUNCTIONS, Labels, read_expression

COLUMNS: dict[str, Any] = {
    "energy_pj": np.array([1.0, 2.0, 3.0, 4.0]),
    "latency_cycles": np.array([40.0, 30.0, 20.0, 10.0]),
    "best_energy_pj": 1.0,
    "best_latency_cycles": 10.0,
    "D1.K": np.array([1, 2, 4, 8]),
    "odd name": np.array([0, 0, 1, 1]),
    "mappings": np.array([2**63 + 5, 1, 2, 3], np.uint64),
    "stationary": Labels(np.array([0, 1, 0, 2]), ("W", "I", "none")),
}


def select(text: str) -> Any:
    expression = read_expression(text)
    expression.check(COLUMNS.__contains__, list(COLUMNS))
    return expression.select(COLUMNS.__getitem__, 4)


def chosen(text: str) -> list[int]:
    return np.flatnonzero(read_expression(text).select(COLUMNS.__getitem__, 4)).tolist()


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("energy_pj < 1.5 * best", [0]),
        ("latency_cycles <= 2 * best", [2, 3]),
        ("energy_pj < 2.5 * best_energy_pj and latency_cycles > 30", [0]),
        ("energy_pj < 2.5 * best or latency_cycles == 1 * best", [0, 1, 3]),
        ("not energy_pj > 2", [0, 1]),
        ("1 < energy_pj <= 3", [1, 2]),
        ("D1.K in [2, 8]", [1, 3]),
        ("D1.K not in (2, 8)", [0, 2]),
        ("stationary == 'W'", [0, 2]),
        ("stationary != 'W'", [1, 3]),
        ("'I' == stationary", [1]),
        ("stationary in ['I', 'none', 'nothing']", [1, 3]),
        ("column('odd name') == 1", [2, 3]),
        ("energy_pj ** 2 + 1 > 10 - D1.K % 3", [2, 3]),
        ("max(energy_pj, 2) == 2 and abs(-energy_pj) >= 1", [0, 1]),
        ("log2(D1.K) // 1 == 2", [2]),
        ("energy_pj / 0 > 1e300", [0, 1, 2, 3]),
        ("mappings == 9223372036854775813", [0]),
        ("mappings > -1", [0, 1, 2, 3]),
        ("energy_pj < 10 ** 400", [0, 1, 2, 3]),
        ("True and energy_pj < 2", [0]),
        ("energy_pj < 9**9**9**9", [0, 1, 2, 3]),
    ],
)
def test_values(text: str, rows: list[int]) -> None:
    assert chosen(text) == rows


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "an expression must be a text"),
        ("energy_pj <", "is not an expression"),
        ("__import__('os').system('true')", "is not allowed"),
        ("().__class__", "is not allowed"),
        ("energy_pj.__class__.__base__ == 1", "no column energy_pj.__class__.__base__"),
        ("open('/etc/passwd')", "is not allowed"),
        ("eval('1') == 1", "is not allowed"),
        ("[x for x in energy_pj] == 1", "is not allowed"),
        ("(lambda: 1)() == 1", "is not allowed"),
        ("energy_pj if 1 else 2", "is not allowed"),
        ("(x := 1) == 1", "is not allowed"),
        ("f'{energy_pj}' == 1", "is not allowed"),
        ("'a' * 10 ** 9 == 'b'", "is not allowed"),
        ("energy_pj < 'x'", "is a word"),
        ("stationary < 3", "words can only be compared"),
        ("stationary + 1 > 2", "holds words"),
        ("energy_pj == 'x'", "another kind"),
        ("energy_pj", "is no condition"),
        ("energy_pj and energy_pj < 1", "is no condition"),
        ("stationary", "is no condition"),
        ("energy_pj in energy_pj", "must be a list"),
        ("energy_pj is 3", "is not allowed"),
        ("energy_pj @ 2 > 1", "is not allowed"),
        ("~energy_pj > 1", "is not allowed"),
        ("min(energy_pj) > 1", "needs two arguments"),
        ("sqrt(1, 2) > 1", "needs one argument"),
        ("best > 1", "must be compared with one of"),
        ("energy_pj * latency_cycles < best", "must be compared with one of"),
        ("area < 3", "there is no column area"),
        ("enrgy_pj < 3", "did you mean energy_pj?"),
        ("energy_pj < " + "(" * 300 + "1" + ")" * 300, "is not an expression"),
        ("energy_pj" + " + 1" * 600 + " > 1", "at most 2000 characters"),
        ("energy_pj < 1" + "0" * 400, "beyond what float64 holds"),
        ("energy_pj < 3\x00", "is not an expression"),
        ("yield", "is not an expression"),
        ("await energy_pj", "is not a"),
        ("energy_pj < 2j", "is not allowed"),
        ("energy_pj == None", "is not allowed"),
        ("-" * 900 + "1 > energy_pj", "is not an expression"),
        ("energy_pj" + ".x" * 900 + " > 1", "there is no column"),
    ],
)
def test_sentences(text: str, expected: str) -> None:
    with pytest.raises(InputError) as caught:
        select(text)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def numbers(depth: int) -> st.SearchStrategy[str]:
    leaf = st.sampled_from(["energy_pj", "latency_cycles", "D1.K", "2", "0.5", "3e2"])
    if depth == 0:
        return leaf
    inner = numbers(depth - 1)
    return st.one_of(
        leaf,
        st.tuples(inner, st.sampled_from("+-*/"), inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
        inner.map(lambda t: f"-{t}"),
        st.tuples(inner, inner).map(lambda t: f"max({t[0]}, {t[1]})"),
    )


@settings(deadline=None, max_examples=300)
@given(numbers(3), st.sampled_from(["<", "<=", ">", ">=", "==", "!="]), numbers(2))
def test_arithmetic_is_that_of_python(left: str, comparison: str, right: str) -> None:
    """Row by row, the numbers that Python computes in floats."""
    text = f"{left} {comparison} {right}"
    found = read_expression(text).select(COLUMNS.__getitem__, 4)
    for row in range(4):
        names = {"energy_pj": float(COLUMNS["energy_pj"][row]), "latency_cycles": float(COLUMNS["latency_cycles"][row])}
        source = text.replace("D1.K", str(float(COLUMNS["D1.K"][row])))
        try:
            expected = eval(source, {"__builtins__": {}, "max": max}, names)
        except ZeroDivisionError:
            continue
        assert found[row] == expected, text


@settings(deadline=None, max_examples=300)
@given(st.text(st.sampled_from("energy_pj.()[]'<>=+-*/ 0123456789andornotinbest,{}:!@\\\n\t_lambda"), max_size=60))
def test_no_text_does_anything_but_a_sentence(text: str) -> None:
    sentence = ""
    try:
        select(text)
    except FastmapError as error:
        sentence = str(error)
    assert "\n" not in sentence


def test_functions_are_the_documented_ones() -> None:
    for name, function in FUNCTIONS.items():
        arguments = [4.0, 2.0] if name in ("min", "max") else [4.0]
        assert function(*arguments) == getattr(math, name, {"abs": abs, "min": min, "max": max}.get(name))(*arguments)
