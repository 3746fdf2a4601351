"""Power fails, or a file loses its end: what was finished is there, and a search that is resumed ends with the same
result as one that was left alone.
"""

from __future__ import annotations

import os
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import fastmap as fm
from fastmap import parts, recorded
from fastmap.cli import main
from fastmap.columns import WEIGHT
from fastmap.errors import DamagedError, StoreError
from fastmap.keep import Keep
from fastmap.result import SearchResult
from fastmap.store import ResultFile, contents

from .test_keep import WIDE, aimc, content, layer, rows_of, run, small_units

__all__ = ["aimc", "layer", "small_units"]  # fixtures


class Disk:
    """A folder, and what would be left of it if power failed after each step that a program takes.

    What is certain to be on disk are the files that were synchronised, under the names that their folder had when that
    was synchronised. The rest may be there or not, in any combination; three are looked at.
    """

    def __init__(self, root: Path, kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root, self.kept = root, kept
        self.content: dict[int, bytes] = {}  #: of the files that were synchronised, by their inode
        self.names: dict[Path, dict[Path, int | None]] = {}  #: of every folder, when it was synchronised
        self.states: list[tuple[int, dict[str, bytes]]] = []  #: (parts reported as finished, files) after each step
        self.finished: list[Path] = []
        self.lock = threading.RLock()  # one step at a time, whatever the threads
        for folder in (root, *(each for each in root.rglob("*") if each.is_dir())):
            self.names[folder] = self._listed(folder)
        for file in (each for each in root.rglob("*") if each.is_file()):
            self._keep(file)
        for step in ("fsync", "replace", "unlink", "rmdir", "mkdir"):
            monkeypatch.setattr(os, step, self._watched(step, getattr(os, step)))
        add = parts.Journal.add

        def reported(*arguments: Any) -> Any:
            part = add(*arguments)
            with self.lock:
                self.finished.append(part.path)
            return part

        monkeypatch.setattr(parts.Journal, "add", reported)

    def _watched(self, step: str, call: Any) -> Any:
        def watched(*arguments: Any, **options: Any) -> Any:
            with self.lock:
                result = call(*arguments, **options)
                if step == "fsync":
                    path = Path(os.readlink(f"/proc/self/fd/{arguments[0]}"))
                    if path.is_dir():
                        self.names[path] = self._listed(path)
                    else:
                        self._keep(path)
                self._lose_power()
            return result

        return watched

    def _keep(self, path: Path) -> None:
        inode = path.stat().st_ino
        self.content[inode] = path.read_bytes()
        if not (self.kept / str(inode)).exists():
            os.link(path, self.kept / str(inode))  # so that no other file gets its number

    def _listed(self, folder: Path) -> dict[Path, int | None]:
        return {each: None if each.is_dir() else each.stat().st_ino for each in folder.iterdir()}

    def _certain(self, folder: Path) -> Iterator[tuple[Path, int]]:
        for path, inode in self.names.get(folder, {}).items():
            if inode is None:
                yield from self._certain(path)
            else:
                yield path, inode

    def _lose_power(self) -> None:
        now = {path: path.stat().st_ino for path in self.root.rglob("*") if path.is_file()}
        certain = dict(self._certain(self.root))
        removed = {path: inode for path, inode in certain.items() if path in now}
        for files in (certain, now, removed):
            state = {str(path.relative_to(self.root)): self.content.get(inode, b"") for path, inode in files.items()}
            self.states.append((len(self.finished), state))


def put(state: dict[str, bytes], folder: Path) -> Path:
    """Write the files of a state to a folder; return the result file."""
    folder.mkdir()
    for name, data in state.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder / "r.h5"


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    if not sys.platform.startswith("linux"):
        pytest.skip("watches files through /proc")
    root, kept = tmp_path / "disk", tmp_path / "kept"
    root.mkdir()
    kept.mkdir()
    monkeypatch.setattr(recorded, "PUBLISH_SECONDS", 0.0)
    with monkeypatch.context() as patch:
        yield lambda: Disk(root, kept, patch), patch


def check_states(disk: Disk, folder: Path) -> int:
    """Every state holds each part that was reported, and a file, if any, that reads; return how many had a file."""
    whole = {str(path.relative_to(disk.root)): path.read_bytes() for path in disk.finished}
    sound: dict[bytes, list[str]] = {}  # file -> the parts that it names
    for number, (finished, state) in enumerate(disk.states):
        for path in disk.finished[:finished]:
            name = str(path.relative_to(disk.root))
            assert state.get(name) == whole[name], f"step {number}: {name} is lost"
        file = state.get("r.h5")
        if file is None:
            continue
        if file not in sound:
            home = folder / f"state{number}"
            path = put(state, home)
            found = SearchResult.load(path)
            rows = rows_of(path)
            assert int(rows[WEIGHT].sum()) == found.statistics["mappings_fitting"]
            sound[file] = [str(part.relative_to(home)) for part, _ in found.kept.parts]
        assert all(state.get(name) for name in sound[file]), f"step {number}: the file names rows that are lost"
    return len(sound)


def test_no_power_loss_costs_a_finished_part(tmp_path: Path, disk: Any, layer: fm.Layer, aimc: fm.Architecture) -> None:
    watch, patch = disk
    keep = Keep.of(["all", "sample"], sample_size=100)
    found = watch()
    run(layer, aimc, found.root / "r.h5", keep, constraints=WIDE, threads=2)
    patch.undo()
    expected = content(found.root / "r.h5")
    assert len(found.finished) > 10
    assert check_states(found, tmp_path) > 3
    assert found.states[-1][1]["r.h5"] == (found.root / "r.h5").read_bytes()
    for number in range(0, len(found.states), len(found.states) // 12):
        path = put(found.states[number][1], tmp_path / f"resumed{number}")
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # nothing is damaged
            run(layer, aimc, path, keep, constraints=WIDE, resume=True)
        assert content(path) == expected


def test_no_power_loss_mixes_an_old_file_with_new_parts(
    tmp_path: Path, disk: Any, layer: fm.Layer, aimc: fm.Architecture
) -> None:
    """The old parts go only after the new file has certainly taken the place of the old one."""
    watch, patch = disk
    path = tmp_path / "disk" / "r.h5"
    run(layer, aimc, path, constraints=WIDE)
    found = watch()
    run(layer, aimc, path, Keep.of("all", columns=["edp_pj_ns"]), constraints=WIDE, force=True)
    patch.undo()
    assert check_states(found, tmp_path) > 3
    assert all(state["r.h5"] for _, state in found.states)


def test_a_result_is_written_before_its_name(tmp_path: Path, disk: Any, layer: fm.Layer, aimc: fm.Architecture) -> None:
    """Of a search without rows, too: from the moment that it is reported as written, it cannot be lost."""
    watch, patch = disk
    result = fm.search(layer, aimc, strategy="exhaustive", constraints=WIDE)
    found = watch()
    with ResultFile.create(found.root / "r.h5") as file:
        file.write(result)
        steps = len(found.states)
    patch.undo()
    assert all(state["r.h5"] == (found.root / "r.h5").read_bytes() for _, state in found.states[steps - 3 :])


# -------------------------------------------------------------------------------------------------- damaged files

POSITIONS = ("0", "1", "100", "half", "last")


def truncate(path: Path, position: str) -> None:
    size = path.stat().st_size
    os.truncate(path, {"half": size // 2, "last": size - 1}.get(position) or int(position.replace("last", "1")))


@pytest.fixture
def copied(tmp_path: Path, layer: fm.Layer, aimc: fm.Architecture) -> Path:
    path = tmp_path / "r.h5"
    run(layer, aimc, path, constraints=WIDE)
    return path


@pytest.mark.parametrize("position", POSITIONS)
def test_a_truncated_file_is_rebuilt_from_its_parts(
    copied: Path, position: str, layer: fm.Layer, aimc: fm.Architecture
) -> None:
    expected = content(copied)
    truncate(copied, position)
    damaged = copied.read_bytes()
    with pytest.raises(DamagedError, match=r"; its finished parts are in r\.h5\.parts, and the same search with --res"):
        SearchResult.load(copied)
    if damaged:
        with pytest.raises(StoreError, match=r"truncated or damaged and is not overwritten; its finished parts are in"):
            run(layer, aimc, copied, constraints=WIDE, force=True)
    with pytest.warns(UserWarning, match=r"is rebuilt from r\.h5\.parts, .* is kept as r\.h5\.damaged") as told:
        run(layer, aimc, copied, constraints=WIDE, resume=True)
    assert len(told) == 1
    assert content(copied) == expected
    assert copied.with_name("r.h5.damaged").read_bytes() == damaged
    truncate(copied, position)
    with pytest.warns(UserWarning, match=r"kept as r\.h5\.damaged\.2"):
        run(layer, aimc, copied, constraints=WIDE, resume=True)
    assert content(copied) == expected


@pytest.mark.parametrize("position", POSITIONS)
def test_a_truncated_part_is_noticed_and_done_again(
    copied: Path, position: str, layer: fm.Layer, aimc: fm.Architecture
) -> None:
    expected = content(copied)
    *_, last = sorted(copied.parent.glob("r.h5.parts/*/*/*.h5"))
    truncate(last, position)
    with pytest.warns(UserWarning, match=r"is truncated or damaged; this part of the search is done again") as told:
        run(layer, aimc, copied, constraints=WIDE, resume=True)
    assert [str(each.message).split(":")[0] for each in told] == [str(last)]
    assert content(copied) == expected


def test_everything_is_damaged(copied: Path, layer: fm.Layer, aimc: fm.Architecture) -> None:
    """The file, some parts, and some are gone."""
    expected = content(copied)
    first, second, third, *_ = sorted(copied.parent.glob("r.h5.parts/*/*/*.h5"))
    first.unlink()
    truncate(second, "half")
    third.write_bytes(os.urandom(5000))
    truncate(copied, "half")
    with pytest.warns(UserWarning, match="is truncated or damaged") as told:
        run(layer, aimc, copied, constraints=WIDE, resume=True)
    assert len(told) == 3
    assert content(copied) == expected


def test_missing_parts_are_told(copied: Path, layer: fm.Layer, aimc: fm.Architecture) -> None:
    expected = content(copied)
    found = sorted(copied.parent.glob("r.h5.parts/*/*/*.h5"))
    found[3].unlink()
    with pytest.warns(UserWarning, match=rf"1 of {len(found)} parts of aimc/conv1 are missing; .* done again"):
        run(layer, aimc, copied, constraints=WIDE, resume=True)
    assert content(copied) == expected


def test_another_search_leaves_a_damaged_file_alone(copied: Path, layer: fm.Layer, aimc: fm.Architecture) -> None:
    truncate(copied, "half")
    before = copied.read_bytes()
    with (
        pytest.warns(UserWarning, match="is truncated or damaged"),
        pytest.raises(StoreError, match="differs in its choice of what to keep"),
    ):
        run(layer, aimc, copied, "sample", constraints=WIDE, resume=True)
    assert copied.read_bytes() == before
    assert not list(copied.parent.glob("*.damaged"))


def test_without_parts_nothing_can_be_rebuilt(tmp_path: Path, layer: fm.Layer, aimc: fm.Architecture) -> None:
    path = tmp_path / "r.h5"
    fm.search(layer, aimc).save(path)
    truncate(path, "half")
    before = path.read_bytes()
    for options, expected in (
        ({"resume": True}, "is not a readable result file of fastmap and there are no finished parts to rebuild it"),
        ({"force": True}, "is not a result file of fastmap and is not overwritten"),
    ):
        with pytest.raises(StoreError, match=expected):
            run(layer, aimc, path, constraints=WIDE, **options)
    assert path.read_bytes() == before


def test_a_part_of_another_version_is_not_thrown_away(
    copied: Path, layer: fm.Layer, aimc: fm.Architecture, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {part: part.read_bytes() for part in copied.parent.glob("r.h5.parts/*/*/*.h5")}
    monkeypatch.setattr(parts, "PART_VERSION", parts.PART_VERSION + 1)
    with pytest.raises(StoreError, match="another version of fastmap"):
        run(layer, aimc, copied, constraints=WIDE, resume=True)
    assert {part: part.read_bytes() for part in copied.parent.glob("r.h5.parts/*/*/*.h5")} == before


def test_command_line_rebuilds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two layers with rows; what only the file held is searched again."""
    path = tmp_path / "r.h5"
    call = ["search", "ds_cnn", "--layer", "conv1", "fc", "--arch", "aimc", "--max-spatial-mappings", "2"]
    call += ["--strategy", "exhaustive", "--keep", "all", "-o", str(path), "--quiet"]
    assert main(call) == 0
    expected = content(path)
    truncate(path, "half")
    capsys.readouterr()
    assert main(["mine", str(path), "--check"]) == 2
    assert "the same search with --resume rebuilds it" in capsys.readouterr().err
    assert main([*call, "--resume"]) == 0
    (sentence,) = capsys.readouterr().err.splitlines()
    assert sentence.startswith(f"fastmap: {path}: is truncated or damaged; it is rebuilt from r.h5.parts")
    assert content(path) == expected
    path.unlink()
    assert main(["mine", str(path)]) == 2
    assert "no such file; its finished parts are in r.h5.parts" in capsys.readouterr().err
    assert main([*call, "--resume"]) == 0
    assert content(path) == expected
    assert contents(path) == [("aimc", "conv1"), ("aimc", "fc")]
