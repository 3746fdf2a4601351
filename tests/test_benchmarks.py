"""The comparison of the cost models: its figures, and that it goes on where it was stopped."""

from __future__ import annotations

import json
import sys

import pytest

import fastmap as fm
from benchmarks import cost_models


def row(zigzag, by_corrected, corrected, by_zigzag, layer="a/b", **others):
    """A row with these values."""
    return {
        "architecture": "aimc",
        "layer": layer,
        "layers": [layer],
        "objective": "energy",
        "unproven": [],
        "zigzag": {"value": zigzag, "by_corrected": by_corrected, "repairs": ["all_accesses"], "mapping": "one"},
        "corrected": {"value": corrected, "by_zigzag": by_zigzag, "repairs": [], "mapping": "two"},
        "mapping_changed": True,
        **others,
    }


def unproven(seconds, layer="a/b"):
    """A row of a search that was not done."""
    head = {"architecture": "aimc", "layer": layer, "layers": [layer], "objective": "energy"}
    return head | {"unproven": ["zigzag"], "time_limit_s": seconds}


def test_figures_of_a_row():
    each = row(zigzag=100.0, by_corrected=150.0, corrected=120.0, by_zigzag=110.0)
    assert cost_models.moved(each) == pytest.approx(0.5)
    assert cost_models.lost(each) == pytest.approx(0.25)
    assert cost_models.other_way(each) == pytest.approx(0.1)
    same = row(zigzag=100.0, by_corrected=100.0 * (1 + 1e-12), corrected=100.0, by_zigzag=100.0)
    assert [figure(same) for figure in cost_models.FIGURES.values()] == [0.0, 0.0, 0.0]
    unfit = row(zigzag=100.0, by_corrected=None, corrected=120.0, by_zigzag=None)
    assert [figure(unfit) for figure in cost_models.FIGURES.values()] == [None, None, None]


def test_the_table_counts_what_is_proven_only():
    rows = [
        row(100.0, 150.0, 120.0, 100.0, "n/one"),
        row(100.0, 110.0, 100.0, 100.0, "n/two"),
        row(100.0, 100.0, 100.0, 100.0, "n/three", mapping_changed=False),
        row(100.0, None, 100.0, 100.0, "n/unfit"),
        unproven(3.0, "n/open"),
    ]
    text = cost_models.render({"command": "c", "networks": ["n"], "rows": rows})
    moved, lost = "2: +30 %, +50 % (n/one); 1 not valid", "2: +17.5 %, +25 % (n/one); 1 not valid"
    assert f"| `aimc` | energy | 5 | 4 | 3 | {moved} | {lost} | 0 |" in text
    assert "| `aimc` | energy | n/open | zigzag | 3 s |" in text
    assert "| `aimc` | energy | n/one | all_accesses | +50 % | +25 % | 0 |" in text
    assert "| `aimc` | energy | n/unfit | all_accesses | not valid | not valid | 0 |" in text
    assert "| `aimc` | energy | n/three |" not in text


def test_what_has_to_be_measured():
    assert cost_models.wanted(None, 1.0)
    assert not cost_models.wanted(row(1.0, 1.0, 1.0, 1.0), 100.0)
    assert cost_models.wanted(unproven(1.0), 2.0)
    assert not cost_models.wanted(unproven(2.0), 2.0)


@pytest.mark.parametrize(("made_by", "other", "iterations"), [("zigzag", "corrected", 7), ("corrected", "zigzag", 8)])
def test_a_mapping_gets_the_iterations_of_the_other_model(made_by, other, iterations):
    """34 channels on 5 columns: 7 iterations, 8 by ZigZag's floating point."""
    layer, architecture = fm.Layer(K=34, C=4), fm.load_architecture("aimc")
    count = 15 - iterations
    mapping = fm.Mapping.from_dict({"spatial": {"D1": {"K": 5}}, "temporal": [["C", 4], ["K", count]]})
    mapping = fm.evaluate(layer, architecture, mapping, made_by).mapping
    found = cost_models.cost_under(layer, architecture, mapping, other)
    assert found.mapping.temporal == (("C", 4), ("K", iterations))


def test_a_second_run_measures_nothing_and_writes_the_same(tmp_path, monkeypatch):
    path = tmp_path / "found.json"
    command = ["--arch", "aimc", "--networks", "ds_cnn", "--time-limit", "30", "-o", str(path)]
    monkeypatch.setattr(sys, "argv", ["cost_models.py", *command])
    cost_models.main()
    first, table = path.read_text(), path.with_suffix(".md").read_text()
    data = json.loads(first)
    assert [each["unproven"] for each in data["rows"]] == [[]] * 12  # 4 distinct layers
    assert all(cost_models.FIGURES[name](each) >= 0.0 for each in data["rows"] for name in ("lost", "other way"))
    monkeypatch.setattr(fm, "search", None)
    cost_models.main()
    assert path.read_text() == first
    monkeypatch.setattr(sys, "argv", ["cost_models.py", "--render", "-o", str(path)])
    path.with_suffix(".md").unlink()
    cost_models.main()
    assert path.with_suffix(".md").read_text() == table

    path.write_text(json.dumps(data | {"code": "other"}))
    assert cost_models.load(path, cost_models.code_key()) == []
