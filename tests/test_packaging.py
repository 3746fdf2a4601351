"""What is installed is complete and works away from the source tree."""

from __future__ import annotations

import email
import json
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

import fastmap
from fastmap import zoo

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def packages_on_disk() -> set[str]:
    """Every folder with Python code, by the name under which it is imported."""
    found = {"fastmap.kernels"}
    for top, name in ((ROOT / "fastmap", "fastmap"), (ROOT / "kernels", "fastmap.kernels")):
        for path in top.rglob("*.py"):
            found.add(".".join([name, *path.parent.relative_to(top).parts]))
    return found


def test_every_folder_is_listed(project: dict[str, Any]) -> None:
    listed = project["tool"]["setuptools"]["packages"]
    assert len(set(listed)) == len(listed)
    assert set(listed) == packages_on_disk()
    assert project["tool"]["setuptools"]["package-dir"]["fastmap.kernels"] == "kernels"


def test_every_package_has_its_init() -> None:
    for name in packages_on_disk():
        parts = name.split(".")
        folder = ROOT / "kernels" if parts[:2] == ["fastmap", "kernels"] else ROOT.joinpath(*parts)
        assert (folder / "__init__.py").is_file(), name


def test_every_data_file_is_matched(project: dict[str, Any]) -> None:
    patterns = project["tool"]["setuptools"]["package-data"]
    matched = {
        path
        for package, globs in patterns.items()
        for glob in globs
        for path in ROOT.joinpath(*package.split(".")).glob(glob)
    }
    data = {path for path in (ROOT / "fastmap").rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")}
    assert matched == data


def test_versions_agree(project: dict[str, Any]) -> None:
    assert project["project"]["version"] == fastmap.__version__


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from a copy of the sources, without the network."""
    setuptools = pytest.importorskip("setuptools")
    if int(setuptools.__version__.split(".")[0]) < 77:
        pytest.skip("building without isolation needs setuptools>=77")
    source = tmp_path_factory.mktemp("source")
    for name in ("fastmap", "kernels"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    out = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    done = subprocess.run([*pip, "--wheel-dir", out, source], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    [built] = out.iterdir()
    return built


def test_the_wheel_holds_the_sources_and_nothing_else(wheel: Path) -> None:
    assert wheel.name == f"fastmap-{fastmap.__version__}-py3-none-any.whl"
    expected = {"fastmap/py.typed"}
    for top, name in ((ROOT / "fastmap", "fastmap"), (ROOT / "kernels", "fastmap/kernels")):
        for path in top.rglob("*"):
            if path.suffix in (".py", ".yaml", ".csv", ".html", ".css", ".js"):
                expected.add(f"{name}/{path.relative_to(top).as_posix()}")
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
        assert held == expected
        info = f"fastmap-{fastmap.__version__}.dist-info"
        assert archive.read(f"{info}/top_level.txt").split() == [b"fastmap"]
        assert b"fastmap = fastmap.__main__:main" in archive.read(f"{info}/entry_points.txt")
        metadata = email.message_from_bytes(archive.read(f"{info}/METADATA"))
        assert f"{info}/licenses/LICENSE" in archive.namelist()
    assert metadata["License-Expression"] == "MIT"
    assert metadata["Requires-Python"] is not None
    core = {line.split(">")[0] for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line}
    assert core == {"numba", "numpy", "h5py", "tqdm", "pyyaml", "pydantic"}


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", target]
    subprocess.run([*pip, wheel], check=True, capture_output=True)
    return target


def run_installed(installed: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run Python where only the installed copy can be found: it comes before the source tree of this environment."""
    environment = {**os.environ, "PYTHONPATH": str(installed), **variables}
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, env=environment, cwd=installed, timeout=300
    )


def test_an_installed_copy_works(installed: Path) -> None:
    script = """
import json
import fastmap, fastmap.zoo, fastmap.kernels.optimal, fastmap.readers.zigzag
print(json.dumps([fastmap.__file__, fastmap.kernels.optimal.__file__, list(fastmap.__path__)]))
print(*(name for kind in fastmap.zoo.FOLDERS for name in fastmap.zoo.names(kind)))
try:
    import kernels
except ModuleNotFoundError:
    print("no kernels")
"""
    done = run_installed(installed, "-c", script)
    assert done.returncode == 0, done.stderr
    places, names, kernels = done.stdout.splitlines()
    assert places.count(str(installed)) == 3
    assert str(ROOT) not in places
    assert names.split() == [name for kind in zoo.FOLDERS for name in zoo.names(kind)]
    assert kernels == "no kernels"

    listing = run_installed(installed, "-m", "fastmap", "zoo")
    assert listing.returncode == 0, listing.stderr
    assert "resnet8" in listing.stdout
    macro = run_installed(installed, "-m", "fastmap", "macro", "aimc")
    assert macro.returncode == 0, macro.stderr
    assert "TOPS/W" in macro.stdout
    assert not (installed / "kernels").exists()


def test_an_installed_copy_compiles_its_kernels(installed: Path, tmp_path: Path) -> None:
    """Costs a mapping, with a cache of its own: that of this tree is for the kernels of this folder."""
    (installed / "m.yaml").write_text("spatial: {D1: {K: 12}, D2: {C: 64}}\ntemporal: []\n")
    call = ("-m", "fastmap", "evaluate", "ds_cnn", "--layer", "fc", "--arch", "dimc", "--mapping", "m.yaml", "--json")
    done = run_installed(installed, *call, NUMBA_CACHE_DIR=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["utilization"]["array"] == 1
    assert list(tmp_path.rglob("*.nbi")), "the next start is quick"


def test_the_source_folder_kernels_is_not_a_package_of_its_own() -> None:
    done = subprocess.run([sys.executable, "-c", "import kernels"], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode != 0
    assert "ImportError: import fastmap.kernels, not the source folder kernels" in done.stderr


def test_kernels_import_nothing_of_fastmap() -> None:
    for path in (ROOT / "kernels").glob("*.py"):
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.lstrip().startswith(("import fastmap", "from fastmap")):
                assert line.split()[1].startswith("fastmap.kernels"), f"{path.name}: {line}"


def test_the_source_tree_runs_without_installation(tmp_path: Path) -> None:
    """A checkout on the path is enough: fastmap finds the kernels beside it."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    script = "import fastmap.kernels.orders as module; print(module.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path, env=environment, check=True
    )
    assert Path(done.stdout.strip()) == ROOT / "kernels" / "orders.py"


def test_no_module_hides_a_public_name() -> None:
    """Importing ``fastmap.search``, were there such a module, would replace the function of this name."""
    modules = {path.stem for path in Path(fastmap.__file__).parent.iterdir()}
    assert not modules & set(fastmap.__all__)
