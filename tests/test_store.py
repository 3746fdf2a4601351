"""The result file: exact, self-describing, whole at every moment, and one sentence for whatever is wrong with it."""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import fastmap as fm
from fastmap.errors import FastmapError, StoreError
from fastmap.exploration import plan_network, search_network
from fastmap.mapping import Constraints
from fastmap.result import OBJECTIVES, SearchResult
from fastmap.store import SCHEMA_VERSION, ResultFile, contents, load_result

NARROW = Constraints(max_spatial_mappings=3, loop_factor_limit=5)


@pytest.fixture(scope="module")
def aimc() -> fm.Architecture:
    return fm.load_architecture("aimc")


@pytest.fixture(scope="module")
def found(aimc: fm.Architecture) -> SearchResult:
    return fm.search(fm.load_workload("ds_cnn")["conv1"], aimc, strategy="exhaustive", constraints=NARROW)


@pytest.fixture(scope="module")
def stored(found: SearchResult, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("stored") / "one.h5"
    found.save(path)
    return path


def named(result: SearchResult, layer: str, architecture: str | None = None) -> SearchResult:
    """The same result under other names, as one of its own."""
    return replace(
        result,
        layer=result.layer.model_copy(update={"name": layer}),
        architecture=result.architecture.model_copy(update={"name": architecture or result.architecture.name}),
        points=dict(result.points),
    )


def assert_identical(loaded: SearchResult, original: SearchResult) -> None:
    """Every stored figure, to the last bit."""
    for name in ("layer", "architecture", "constraints", "objective", "strategy", "cost_model", "complete"):
        assert getattr(loaded, name) == getattr(original, name), name
    assert loaded.statistics == original.statistics
    assert {k: type(v) for k, v in loaded.statistics.items()} == {k: type(v) for k, v in original.statistics.items()}
    assert loaded.certificate == original.certificate
    assert (loaded.lower_bound, loaded.gap) == (original.lower_bound, original.gap)
    pairs: list[tuple[Any, Any]] = []
    assert loaded.points.keys() == original.points.keys()
    assert loaded.histograms.keys() == original.histograms.keys()
    assert (loaded.joint_histogram is None) == (original.joint_histogram is None)
    for name, points in original.points.items():
        pairs += [(getattr(loaded.points[name], c), getattr(points, c)) for c in points.__dataclass_fields__]
    for name, histogram in original.histograms.items():
        pairs += [(getattr(loaded.histograms[name], c), getattr(histogram, c)) for c in ("edges", "counts")]
    for column in ("energy_edges", "latency_edges", "counts") if original.joint_histogram is not None else ():
        pairs.append((getattr(loaded.joint_histogram, column), getattr(original.joint_histogram, column)))
    for column in ("array_dim", "loop_dim", "candidates", "remaining"):
        pairs.append((getattr(loaded.space, column), getattr(original.space, column)))
    for mine, theirs in pairs:
        assert mine.dtype == theirs.dtype
        assert mine.shape == theirs.shape
        assert mine.tobytes() == theirs.tobytes()
    assert loaded.space.orders == original.space.orders
    assert loaded.space.size == original.space.size
    assert [each.to_dict() for each in loaded.best] == [each.to_dict() for each in original.best]
    if "pareto" in original.points:
        assert [each.to_dict() for each in loaded.pareto] == [each.to_dict() for each in original.pareto]


def sentence(call: Callable[[], object]) -> str:
    """What the user reads, which is one line."""
    with pytest.raises(StoreError) as caught:
        call()
    text = str(caught.value)
    assert "\n" not in text
    return text


# ---------------------------------------------------------------------------------------------------- round trips


def test_what_is_loaded_is_what_was_saved(found: SearchResult, stored: Path) -> None:
    assert len(found.best) > 1
    assert_identical(SearchResult.load(stored), found)


@pytest.mark.parametrize(
    ("strategy", "objective"),
    [("exhaustive", "energy"), ("optimal", "energy"), ("optimal", "ed2p"), ("optimal", "pareto")],
)
@pytest.mark.parametrize(
    ("workload", "layer", "architecture", "constraints"),
    [
        ("resnet8", "conv1", "dimc", {"max_spatial_mappings": 2, "loop_factor_limit": 6}),
        ("resnet8", "fc", "aimc", {}),
        ("ds_cnn", "dw1", "dimc_64x64_4banks", {"max_spatial_mappings": 4, "loop_factor_limit": 4}),
        ("ds_cnn", "pw1", "dimc_cellgroups", {"min_array_utilization": 0.5, "loop_factor_limit": 4}),
        ("ds_cnn", "pw1", "aimc_4level", {"spatial": {"D1": {"K": 64}, "D2": {"C": 64}}}),
        ("resnet8", "fc", "aimc", {"spatial": {"D1": {"K": 10}}, "temporal": [["C", 16], ["C", 4]]}),
        ("resnet8", "fc", "aimc", {"spatial": {"D1": {"K": 10}, "D2": {"C": 64}}}),
        ("resnet8", "fc", "aimc", {"allowed": {"D1": [], "D2": []}}),
        ("ds_cnn", "pw1", "aimc", {"max_spatial_mappings": 3, "allocation": "greedy", "loop_factor_limit": 5}),
        ("ds_cnn", "pw1", "aimc", {"outermost": [["K", 2]], "stationary": {"cells": "W"}, "inside": [["OX", "OY"]]}),
    ],
)
def test_round_trips_of_many_kinds(
    tmp_path: Path,
    workload: str,
    layer: str,
    architecture: str,
    constraints: dict[str, Any],
    strategy: str,
    objective: str,
) -> None:
    if constraints.get("allocation") == "greedy":
        strategy, objective = "exhaustive", "edp"  # the only one that there is
    if "outermost" in constraints:
        strategy, objective = "optimal", objective  # too many to enumerate
    result = fm.search(
        fm.load_workload(workload)[layer],
        fm.load_architecture(architecture),
        objective=objective,
        strategy=strategy,
        constraints=Constraints.from_dict(constraints),
    )
    result.save(tmp_path / "r.h5")
    assert_identical(SearchResult.load(tmp_path / "r.h5"), result)


def test_a_stopped_search_is_stored_as_such(tmp_path: Path, found: SearchResult) -> None:
    statistics = found.statistics | {"mappings_evaluated": 1}
    replace(found, complete=False, statistics=statistics).save(tmp_path / "r.h5")
    loaded = SearchResult.load(tmp_path / "r.h5")
    assert not loaded.complete
    assert not loaded.optimal
    assert "lower_bound" not in loaded.certificate
    assert loaded.gap is None


def test_the_gap_of_a_front_is_stored(tmp_path: Path, aimc: fm.Architecture) -> None:
    front = fm.search(fm.load_workload("ds_cnn")["conv1"], aimc, "pareto", constraints=NARROW, gap=0.1)
    front.save(tmp_path / "r.h5")
    loaded = SearchResult.load(tmp_path / "r.h5")
    assert_identical(loaded, front)
    assert loaded.gap == loaded.front_gap == 0.1
    assert loaded.certificate == front.certificate


def test_the_gap_of_a_stopped_search_is_stored(tmp_path: Path, aimc: fm.Architecture) -> None:
    optimum = fm.search(fm.load_workload("ds_cnn")["conv1"], aimc, constraints=NARROW)
    value = optimum.value(0)
    stopped = replace(optimum, complete=False, lower_bound=value / 1.5)
    stopped.save(tmp_path / "r.h5")
    loaded = SearchResult.load(tmp_path / "r.h5")
    assert_identical(loaded, stopped)
    assert loaded.gap == pytest.approx(0.5)
    assert loaded.certificate["lower_bound"] == value / 1.5
    with h5py.File(tmp_path / "r.h5", "r") as file:
        assert file["aimc/conv1"].attrs["lower_bound"] == value / 1.5
        assert set(file["aimc/conv1"]) == {"best", "space"}
        assert set(file["aimc/conv1/best"]) == {"edp"}


def test_counts_beyond_64_bits_stay_exact(tmp_path: Path, found: SearchResult) -> None:
    huge = 3**90
    orders = (huge, 2**63, *found.space.orders[2:])
    result = replace(
        found,
        space=replace(found.space, orders=orders),
        statistics=found.statistics | {"mappings_total": sum(orders), "mappings_evaluated": 2**63 - 1},
    )
    result.save(tmp_path / "r.h5")
    loaded = SearchResult.load(tmp_path / "r.h5")
    assert loaded.space.orders == orders
    assert loaded.statistics["mappings_total"] == sum(orders)
    assert loaded.statistics["mappings_evaluated"] == 2**63 - 1
    assert loaded.certificate["mappings_total"] == sum(orders)


def test_mappings_are_rebuilt_from_their_identity_with_the_file_alone(stored: Path, found: SearchResult) -> None:
    """In another process that has no zoo and may not enumerate anything."""
    script = f"""
import json
import fastmap.zoo, fastmap.mapspace
def none(*args, **kwargs): raise AssertionError("the file alone")
fastmap.zoo.text = fastmap.mapspace.Mapspace.build = none
from fastmap import SearchResult
found = SearchResult.load({str(stored)!r})
ids = found.points["edp"].mapping_id.tolist()
print(json.dumps([found.space.decode(*row).to_dict() for row in ids]))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [each.mapping.to_dict() for each in found.best]


# ------------------------------------------------------------------------------------------- the documented layout


def test_plain_h5py_reads_the_documented_layout(stored: Path, found: SearchResult) -> None:
    with h5py.File(stored, "r") as file:
        assert set(file.attrs) == {
            "format",
            "schema_version",
            "fastmap_version",
            "command",
            "created",
            "machine",
            "run",
        }
        assert file.attrs["format"] == "fastmap"
        assert file.attrs["schema_version"] == SCHEMA_VERSION
        assert file.attrs["fastmap_version"] == fm.__version__
        group = file["aimc/conv1"]
        assert fm.Layer.model_validate_json(group.attrs["layer"]) == found.layer
        assert fm.Architecture.model_validate_json(group.attrs["architecture"]) == found.architecture
        assert Constraints.from_dict(json.loads(group.attrs["constraints"])) == found.constraints
        assert json.loads(group.attrs["certificate"]) == found.certificate
        assert group.attrs["objective"] == "edp"
        assert group.attrs["complete"]
        for name, value in found.statistics.items():
            assert group.attrs[name] == value
        assert set(group) == {"best", "pareto", "histogram", "space"}
        assert set(group["best"]) == set(OBJECTIVES)
        for points in (*(group["best"][objective] for objective in OBJECTIVES), group["pareto"]):
            assert {"mapping_id", "energy_pj", "latency_cycles", "edp_pj_ns"} < set(points)
        best = found.best[0]
        first = group["best/edp"]
        assert first["energy_pj"][0] == pytest.approx(best.energy_pj.total, rel=1e-12)
        assert first["latency_cycles"][0] == best.latency_cycles.total
        assert first["edp_pj_ns"][0] == pytest.approx(best.edp_pj_ns, rel=1e-12)
        assert group.attrs["clock_ns"] == best.clock_ns
        fitting = found.statistics["mappings_fitting"]
        histogram = group["histogram"]
        for name in ("energy_pj", "latency_cycles", "edp_pj_ns"):
            assert histogram[name][...].sum() == fitting
            assert len(histogram[f"{name}_edges"]) == len(histogram[name]) + 1
        assert histogram["energy_latency"][...].sum() == fitting
        # Whoever knows the layout gets the spatial mapping without us.
        index = int(first["mapping_id"][0, 0])
        space = group["space"]
        unrolled: dict[str, dict[str, int]] = {}
        for a, d, factor in zip(
            space["array_dimension"], space["loop_dimension"], space["factors"][index], strict=True
        ):
            if factor > 1:
                name = space["dimension"].asstr()[d] if space["dimension"].dtype == object else space["dimension"][d]
                text = name.decode() if isinstance(name, bytes) else name
                unrolled.setdefault(list(found.architecture.array.dimensions)[a], {})[text] = int(factor)
        assert unrolled == best.mapping.spatial.unrolling


def test_every_axis_has_a_scale(stored: Path) -> None:
    seen = 0

    def check(name: str, item: Any) -> None:
        nonlocal seen
        if isinstance(item, h5py.Dataset) and not item.is_scale:
            for axis in range(item.ndim):
                assert len(item.dims[axis]) == 1, name
                assert item.dims[axis][0].shape == (item.shape[axis],), name
                seen += 1

    with h5py.File(stored, "r") as file:
        file.visititems(check)
    assert seen > 20


@pytest.mark.parametrize("part", ["", "/best/edp", "/pareto", "/histogram", "/space"])
def test_xarray_opens_every_group(stored: Path, part: str) -> None:
    xarray = pytest.importorskip("xarray")
    pytest.importorskip("h5netcdf")
    with xarray.open_dataset(stored, group=f"aimc/conv1{part}", engine="h5netcdf") as data:
        data.load()
        if part == "/pareto":
            assert data["energy_pj"].dims == ("rank",)
            assert data["mapping_id"].dims == ("rank", "part")


# ------------------------------------------------------------------------------------------------ several in a file


def test_identical_layers_share_one_group(tmp_path: Path, aimc: fm.Architecture) -> None:
    plan = plan_network(fm.load_workload("ds_cnn"), aimc, NARROW)
    with ResultFile.create(tmp_path / "r.h5") as file:
        network = search_network(plan, keep=lambda name, result: file.write(result, name))
    assert contents(tmp_path / "r.h5") == [("aimc", name) for name in plan.spaces]
    with h5py.File(tmp_path / "r.h5", "r") as raw:
        assert raw["aimc/dw1"] == raw["aimc/dw4"]
        assert raw["aimc/dw1"] != raw["aimc/pw1"]
    for name, result in network:
        loaded = SearchResult.load(tmp_path / "r.h5", layer=name)
        assert loaded.layer.name == name
        assert [e.mapping for e in loaded.best] == [e.mapping for e in result.best]
        assert {e.layer for e in loaded.best} == {name}


NAMES = st.text(
    st.characters(codec="utf-8", exclude_categories=["C", "Zl", "Zp", "Zs"]) | st.sampled_from("/%.2F5E "), min_size=1
).filter(lambda text: text.isprintable() and text.strip() != "" and len(text) <= 200)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.lists(st.tuples(NAMES, NAMES), min_size=1, max_size=5, unique=True))
@example(names=[(".", "."), ("..", "/"), ("a", "%2F"), ("a", "/"), ("a", "%252F"), ("a", "%2E"), ("a", ".")])
@example(names=[("a/b", "stage 1/conv.0"), ("a", "b/stage 1/conv.0"), ("ß漢字", "λ→%")])
def test_any_name_is_kept(tmp_path_factory: pytest.TempPathFactory, found: SearchResult, names: Any) -> None:
    path = tmp_path_factory.mktemp("names") / "r.h5"
    with ResultFile.create(path) as file:
        for architecture, layer in names:
            file.write(named(found, layer, architecture))
    assert sorted(contents(path)) == sorted(names)
    for architecture, layer in names:
        loaded = SearchResult.load(path, architecture, layer)
        assert (loaded.architecture.name, loaded.layer.name) == (architecture, layer)


def test_the_names_say_which_result(tmp_path: Path, found: SearchResult) -> None:
    path = tmp_path / "r.h5"
    with ResultFile.create(path) as file:
        for architecture in ("big", "small"):
            for layer in ("conv1", "conv2"):
                file.write(named(found, layer, architecture))
        assert "already holds big/conv1" in sentence(lambda: file.write(named(found, "conv1", "big")))
        for name in ("two\nlines", "", "x" * 201, "nul\0"):
            assert "the name of a result must be a name of 1 to" in sentence(lambda name=name: file.write(found, name))
    held = "(it holds big/conv1, big/conv2, small/conv1, small/conv2)"
    several = f"{path}: holds several results; say which architecture and layer {held}"
    none = f"{path}: holds no such result {held}"
    assert sentence(lambda: SearchResult.load(path)) == several
    assert sentence(lambda: SearchResult.load(path, "big")) == several
    assert sentence(lambda: SearchResult.load(path, layer="conv1")) == several
    assert sentence(lambda: SearchResult.load(path, "big", "conv3")) == none
    assert sentence(lambda: SearchResult.load(path, "huge")) == none
    assert SearchResult.load(path, "small", "conv2").architecture.name == "small"


def test_a_list_of_hundreds_is_cut(tmp_path: Path, found: SearchResult) -> None:
    with ResultFile.create(tmp_path / "r.h5") as file:
        for number in range(40):
            file.write(found, f"layer{number}")
    text = sentence(lambda: SearchResult.load(tmp_path / "r.h5"))
    assert text.endswith("aimc/layer11 and 28 more)")


# ---------------------------------------------------------------------------------------------------- bad files


def foreign(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["data"] = np.arange(3)


def odd_format(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.attrs["format"] = np.arange(3)


def hollow(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.attrs["format"] = "fastmap"
        file.attrs["schema_version"] = SCHEMA_VERSION
        file.create_group("aimc/conv1")


def no_group(path: Path) -> None:
    hollow(path)
    with h5py.File(path, "a") as file:
        file["aimc/conv2"] = np.arange(3)
        del file["aimc/conv1"]


def newer(path: Path) -> None:
    hollow(path)
    with h5py.File(path, "a") as file:
        file.attrs["schema_version"], file.attrs["fastmap_version"] = SCHEMA_VERSION + 1, "9.9"


def versionless(path: Path) -> None:
    hollow(path)
    with h5py.File(path, "a") as file:
        del file.attrs["schema_version"]


READS = f"this fastmap ({fm.__version__}) reads versions 2 and {SCHEMA_VERSION}"
UNREADABLE = "is not a readable HDF5 file (foreign, truncated or damaged)"


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda path: None, "no such file"),
        (lambda path: path.mkdir(), "is a folder"),
        (lambda path: path.write_text("hello\n"), UNREADABLE),
        (lambda path: path.write_bytes(b""), UNREADABLE),
        (lambda path: path.write_bytes(os.urandom(5000)), UNREADABLE),
        (foreign, "is an HDF5 file, but not a result of fastmap"),
        (odd_format, "is an HDF5 file, but not a result of fastmap"),
        (newer, f"has schema version {SCHEMA_VERSION + 1}, written by fastmap 9.9; {READS}: use a newer one"),
        (versionless, f"has schema version None, written by fastmap of an unknown version; {READS}: search again"),
        (hollow, "is damaged"),
        (no_group, "is damaged"),
    ],
)
def test_a_sentence_for_every_bad_file(tmp_path: Path, make: Callable[[Path], object], expected: str) -> None:
    path = tmp_path / "x.h5"
    make(path)
    assert sentence(lambda: SearchResult.load(path)).startswith(f"{path}: {expected}")
    assert sentence(lambda: load_result(str(path))).startswith(f"{path}: {expected}")


@pytest.mark.parametrize(
    ("where", "name", "value"),
    [
        ("", "layer", "{}"),
        ("", "layer", "not json"),
        ("", "layer", 3),
        ("", "architecture", '{"name": "x"}'),
        ("", "constraints", '{"max_spatial_mappings": -3}'),
        ("", "constraints", "[1, 2]"),
        ("", "mappings_total", "many"),
        ("best/edp", "energy_pj", None),
        ("pareto", "mapping_id", None),
        ("histogram", "edp_pj_ns_edges", None),
        ("space", "factors", None),
        ("space", "orders", np.arange(3)),
    ],
)
def test_edited_content_names_the_file(tmp_path: Path, stored: Path, where: str, name: str, value: Any) -> None:
    path = tmp_path / "x.h5"
    path.write_bytes(stored.read_bytes())
    with h5py.File(path, "a") as file:
        group = file["aimc/conv1"][where] if where else file["aimc/conv1"]
        if not where:
            group.attrs[name] = value
        else:
            del group[name]
            if value is not None:
                group[name] = value
    assert sentence(lambda: SearchResult.load(path)).startswith(f"{path}: is damaged: ")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_truncated_anywhere(tmp_path: Path, stored: Path, found: SearchResult, data: st.DataObject) -> None:
    whole = stored.read_bytes()
    path = tmp_path / "cut.h5"
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole)), "bytes kept")])
    try:
        loaded = SearchResult.load(path)
    except StoreError:
        return
    assert_identical(loaded, found)


def test_a_file_that_may_not_be_read(tmp_path: Path, stored: Path) -> None:
    path = tmp_path / "x.h5"
    path.write_bytes(stored.read_bytes())
    path.chmod(0)
    expected = f"{path}: cannot be read: Permission denied"
    assert as_ordinary_user(lambda: SearchResult.load(path)) == expected


# ---------------------------------------------------------------------------------------------------- bad outputs


def as_ordinary_user(call: Callable[[], object]) -> str:
    """The sentence that a process without root's rights gets."""
    if os.geteuid() != 0:
        return sentence(call)
    readable, writable = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            call()
            text = "no error"
        except FastmapError as error:
            text = str(error)
        except BaseException as error:
            text = repr(error)
        os.write(writable, text.encode())
        os._exit(0)
    os.close(writable)
    with os.fdopen(readable) as pipe:
        text = pipe.read()
    os.waitpid(child, 0)
    return text


def opened_up(tmp_path: Path) -> None:
    """Let every user reach the test's folder."""
    for folder in (tmp_path, *tmp_path.parents):
        ours = "pytest" in folder.name or folder.name.startswith("popen-") or folder == tmp_path
        if folder.owner() == tmp_path.owner() and ours:
            folder.chmod(0o755)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_outputs_without_permission(tmp_path: Path, found: SearchResult) -> None:
    opened_up(tmp_path)
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o555)
    mine = tmp_path / "mine"
    mine.mkdir()
    mine.chmod(0o777)
    target = mine / "r.h5"
    found.save(target)
    target.chmod(0o444)
    path = locked / "r.h5"
    assert as_ordinary_user(lambda: found.save(path)) == f"{path}: the folder {locked} is not writable"
    assert as_ordinary_user(lambda: found.save(target, overwrite=True)) == f"{target}: not writable"
    assert list(locked.iterdir()) == []
    assert list(mine.iterdir()) == [target]


def test_output_where_even_root_may_not_write(found: SearchResult) -> None:
    folder = Path("/proc/self")
    if not folder.is_dir():
        pytest.skip("no /proc")
    text = sentence(lambda: found.save(folder / "r.h5"))
    assert text.startswith("/proc/self/r.h5: ")
    assert "not writable" in text


def test_impossible_outputs(tmp_path: Path, found: SearchResult, stored: Path) -> None:
    def save(path: Path, overwrite: bool = False) -> str:
        before = {each: each.read_bytes() for each in tmp_path.rglob("*") if each.is_file()}
        text = sentence(lambda: found.save(path, overwrite=overwrite))
        assert {each: each.read_bytes() for each in tmp_path.rglob("*") if each.is_file()} == before
        assert text.startswith(f"{path}: ")
        return text.removeprefix(f"{path}: ")

    there = tmp_path / "there.h5"
    there.write_bytes(stored.read_bytes())
    text = tmp_path / "precious.yaml"
    text.write_text("a: 1\n")
    foreign(tmp_path / "foreign.h5")
    assert save(tmp_path) == "is a folder; give the name of a file to write"
    assert save(tmp_path, True) == "is a folder; give the name of a file to write"
    assert save(there) == "exists already; choose another name or allow overwriting"
    assert save(text) == "exists already; choose another name or allow overwriting"
    assert save(text, True) == "is not a result file of fastmap and is not overwritten"
    assert save(tmp_path / "foreign.h5", True) == "is not a result file of fastmap and is not overwritten"
    assert save(tmp_path / "no" / "r.h5") == f"the folder {tmp_path / 'no'} does not exist"
    assert save(text / "r.h5") in (f"the folder {text} does not exist", "not writable: Not a directory")
    assert save(tmp_path / ("x" * 300)) == "not writable: File name too long"
    assert save(tmp_path / "nul\0.h5").startswith("not writable: ")


def test_overwriting_results_and_empty_files(tmp_path: Path, found: SearchResult) -> None:
    path = tmp_path / "r.h5"
    path.touch()
    found.save(path, overwrite=True)
    newer(tmp_path / "newer.h5")
    found.save(tmp_path / "newer.h5", overwrite=True)
    named(found, "other").save(path, overwrite=True)
    assert contents(path) == [("aimc", "other")]
    link = tmp_path / "link.h5"
    link.symlink_to(path)
    found.save(link, overwrite=True)
    assert link.is_symlink()
    assert contents(path) == [("aimc", "conv1")]
    assert sorted(each.name for each in tmp_path.iterdir()) == ["link.h5", "newer.h5", "r.h5"]


def test_the_old_file_stays_until_there_is_a_new_result(tmp_path: Path, found: SearchResult) -> None:
    path = tmp_path / "r.h5"
    found.save(path)
    before = path.read_bytes()
    with ResultFile.create(path, overwrite=True):
        assert path.read_bytes() == before
    assert path.read_bytes() == before
    with ResultFile.create(tmp_path / "new.h5"):
        pass
    assert list(tmp_path.iterdir()) == [path]


def test_a_result_that_cannot_be_written_leaves_no_trace(
    tmp_path: Path, found: SearchResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "r.h5"
    with ResultFile.create(path) as file:
        file.write(found, "one")
        broken = replace(found, statistics={"odd": object()}, points=dict(found.points))  # type: ignore[dict-item]
        with pytest.raises((TypeError, KeyError)):
            file.write(broken, "two")
        file.write(found, "three")
        file.write(found, "two")
    assert [layer for _, layer in contents(path)] == ["one", "three", "two"]
    assert list(tmp_path.iterdir()) == [path]


# ---------------------------------------------------------------------------------------------------- two at a time


def test_a_second_writer_gets_a_sentence(tmp_path: Path, found: SearchResult) -> None:
    path = tmp_path / "r.h5"
    busy = f"{path}: is being written by another process"
    other = f"from fastmap.store import ResultFile; ResultFile.create({str(path)!r}, overwrite=True)"
    with ResultFile.create(path) as file:
        assert sentence(lambda: ResultFile.create(path)) == busy
        file.write(found, "one")
        assert sentence(lambda: ResultFile.create(path, overwrite=True)) == busy
        done = subprocess.run([sys.executable, "-c", other], capture_output=True, text=True)
        assert busy in done.stderr
        file.write(found, "two")
    assert len(contents(path)) == 2
    with ResultFile.create(path, overwrite=True) as file:
        file.write(found, "three")
    assert contents(path) == [("aimc", "three")]
    assert list(tmp_path.iterdir()) == [path]


def test_one_process_writes_two_files(tmp_path: Path, found: SearchResult) -> None:
    with ResultFile.create(tmp_path / "a.h5") as a, ResultFile.create(tmp_path / "b.h5") as b:
        a.write(found, "one")
        b.write(found, "two")
    assert [contents(tmp_path / name) for name in ("a.h5", "b.h5")] == [[("aimc", "one")], [("aimc", "two")]]


def test_a_lock_left_by_a_kill_stops_nobody(tmp_path: Path, found: SearchResult) -> None:
    (tmp_path / "r.h5.lock").touch()
    (tmp_path / "r.h5.tmp").write_bytes(b"half")
    found.save(tmp_path / "r.h5")
    assert [each.name for each in tmp_path.iterdir()] == ["r.h5"]


def test_others_read_while_a_run_writes(tmp_path: Path, found: SearchResult) -> None:
    path = tmp_path / "r.h5"
    with ResultFile.create(path) as file:
        file.write(found, "one")
        with h5py.File(path, "r") as reader:
            file.write(found, "two")
            assert list(reader["aimc"]) == ["one"]
        assert len(contents(path)) == 2
        script = f"import h5py; print(*h5py.File({str(path)!r}, 'r')['aimc'])"
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        assert done.stdout.split() == ["one", "two"]


# -------------------------------------------------------------------------------------------- killed, and disk full


def start_writer(found: SearchResult, target: Path, limit: int = 0) -> tuple[int, int]:
    """Fork a process that writes results and reports each finished one on a pipe; return its id and the pipe."""
    readable, writable = os.pipe()
    child = os.fork()
    if child:
        os.close(writable)
        return child, readable
    try:
        os.close(readable)
        if limit:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        with ResultFile.create(target) as file:
            for number in range(300):
                file.write(replace(found, points=dict(found.points)), f"layer{number}")
                os.write(writable, f"{number}\n".encode())
    except StoreError as error:
        os.write(writable, f"error {error}\n".encode())
    finally:
        os._exit(0)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_killed_writer_loses_nothing_that_it_reported(tmp_path: Path, found: SearchResult) -> None:
    chance = random.Random(2)
    kills = 0
    path = tmp_path / "r.h5"
    for attempt in range(25):
        path.unlink(missing_ok=True)
        child, pipe = start_writer(found, path)
        time.sleep(chance.uniform(0.01, 0.3))
        os.kill(child, signal.SIGKILL)
        with os.fdopen(pipe) as reports:
            reported = [line.strip() for line in reports]
        assert os.WIFSIGNALED(os.waitpid(child, 0)[1]), "the writer was still at work"
        if not reported:
            continue
        kills += 1
        held = [layer for _, layer in contents(path)]
        assert held[: len(reported)] == [f"layer{number}" for number in reported]
        assert len(held) <= len(reported) + 1  # one may have been finished, but not reported
        for layer in held if attempt % 5 == 0 else held[-1:]:
            assert_identical(replace(SearchResult.load(path, layer=layer), layer=found.layer), found)
    assert kills > 15


def check_full_disk(found: SearchResult, path: Path, reason: str, limit: int = 0) -> None:
    child, pipe = start_writer(found, path, limit)
    with os.fdopen(pipe) as reports:
        *numbers, error = reports.read().splitlines()
    os.waitpid(child, 0)
    assert error == f"error {path}: cannot be written: {reason}"
    assert len(numbers) > 1
    assert [layer for _, layer in contents(path)] == [f"layer{number}" for number in numbers]
    for number in numbers:
        loaded = SearchResult.load(path, layer=f"layer{number}")
        assert_identical(replace(loaded, layer=found.layer), found)
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_limit_of_the_file_size(tmp_path: Path, stored: Path, found: SearchResult) -> None:
    check_full_disk(found, tmp_path / "r.h5", "File too large", limit=6 * stored.stat().st_size)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True)
    except FileNotFoundError:
        pytest.skip("no mount command")
    if done.returncode:
        pytest.skip("mounting is not allowed")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_full_disk(small_disk: Path, found: SearchResult) -> None:
    check_full_disk(found, small_disk / "r.h5", "No space left on device")
