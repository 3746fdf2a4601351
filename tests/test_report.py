"""The page of results: it carries everything, shows what the files hold, and works in a real browser."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import fastmap as fm
from fastmap import report, views
from fastmap.cli import main
from fastmap.keep import Keep
from fastmap.store import ResultFile

pytest.importorskip("plotly", reason="needs the extra report")

AIMC, DIMC = fm.load_architecture("aimc"), fm.load_architecture("dimc")
FC, CONV9 = (fm.load_workload("resnet8")[name] for name in ("fc", "conv9"))
PAGE = Path(report.__file__).parent / "page"
#: Ends its element, has markup of HTML and of plotly, and looks like a place of the frame.
EVIL = "</script><img src=x onerror=alert(1)> <b>&lt; {{data}} \"'"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows on two architectures; fronts and optima of two layers, one of them twice; names that attack the page."""
    folder = tmp_path_factory.mktemp("report")
    for on in (AIMC, DIMC):
        with ResultFile.create(folder / f"{on.name}.h5", command="/opt/bin/fastmap search x") as file:
            for layer in (FC, CONV9):
                file.write(fm.search(layer, on, "pareto"))
            file.write(fm.search(FC.model_copy(update={"name": "fc2"}), on, "pareto"))
    keep = Keep.of("all")
    for name, how in (("rows", keep), ("sample", Keep.of(sample_size=300)), ("none", Keep.of(where="energy_pj < 0"))):
        fm.search(FC, AIMC, strategy="exhaustive", keep=how, output=folder / f"{name}.h5")
    with ResultFile.create(folder / "evil.h5", command=f"search '{EVIL}'") as file:
        layer, on = FC.model_copy(update={"name": EVIL}), AIMC.model_copy(update={"name": EVIL})
        file.write(fm.search(layer, on))
    return folder


def page_of(folder: Path, *arguments: str) -> str:
    target = folder / f"{abs(hash(arguments))}.html"
    files = [str(folder / each) if each.endswith(".h5") else each for each in arguments]
    assert main(("report", *files, "-o", str(target), "--force")) == 0
    return target.read_text(encoding="utf-8")


class Page(HTMLParser):
    """What a page is made of; raises where its elements do not nest."""

    VOID = frozenset(("meta", "img", "input", "br", "link"))

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self._open: list[str] = []
        self.declaration = ""
        self.feed(page)
        self.close()
        assert not self._open

    def handle_decl(self, decl: str) -> None:
        self.declaration = decl

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({name for name, _ in attrs}) == len(attrs)
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.setdefault(self._open[-1] if self._open else "", []).append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def data_of(page: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    data: dict[str, Any] = json.loads(found[1])
    return data


# ------------------------------------------------------------------------------------------------------------- the page


def test_the_page_is_sound_and_carries_everything(folder: Path) -> None:
    page = Page(page_of(folder, "aimc.h5"))
    assert page.declaration == "DOCTYPE html"
    assert [len(page.all(tag)) for tag in ("html", "head", "body", "title", "main", "h1")] == [1] * 6
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(set(ids)) == len(ids) > 10
    # Nothing is asked for from elsewhere, nor may be: the policy stands before all that it governs.
    loading = {"src", "href", "srcset", "data", "action", "poster", "background"}
    assert not [attributes for _, attributes in page.tags if loading & set(attributes)]
    order = [tag for tag, attributes in page.tags if tag in ("script", "style") or "content" in attributes]
    assert order == ["meta", "meta", "style", "script", "script", "script"]
    policy = next(each["content"] for each in page.all("meta") if each.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert "default-src 'none'" in policy
    assert not re.search(r"https?:|\*|eval", policy)
    assert not re.search(r"url\(|@import", (PAGE / "report.css").read_text())
    # What the script looks up is there.
    script = (PAGE / "report.js").read_text()
    assert set(re.findall(r'byId\("([\w-]+)"\)', script)) <= set(ids)
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|fetch\(|XMLHttp|https?:", script
    )


def test_names_of_users_are_text(folder: Path) -> None:
    written = page_of(folder, "evil.h5")
    page, harmless = Page(written), Page(page_of(folder, "aimc.h5"))
    assert page.tags == harmless.tags
    data = data_of(written)
    assert data["results"][0]["layer"] == data["results"][0]["architecture"] == EVIL
    assert data["files"][0]["command"] == f"search '{EVIL}'"


def test_the_title_is_escaped(folder: Path) -> None:
    name = "<b>&amp;.h5"
    shutil.copy(folder / "aimc.h5", folder / name)
    page = page_of(folder, name)
    assert Page(page).texts["title"] == ["fastmap: <b>&amp;.h5"]
    assert data_of(page)["files"][0]["name"] == str(folder / name)


def test_the_same_files_give_the_same_page(folder: Path) -> None:
    assert page_of(folder, "rows.h5", "--mappings", "100") == page_of(folder, "rows.h5", "--mappings", "100")


# ------------------------------------------------------------------------------------------------------------- its data


def test_rows_are_those_of_the_store(folder: Path) -> None:
    (result,) = data_of(page_of(folder, "rows.h5", "--mappings", "250"))["results"]
    with h5py.File(folder / "rows.h5") as file:
        group = file["aimc/fc"]
        rows = group["mappings"]
        names = ("spatial_index", "order_rank", "allocation_code", "energy_pj", "latency_cycles")
        columns = [rows[name][...].tolist() for name in names]
        stored = {tuple(row[:3]): tuple(row[3:]) for row in zip(*columns, strict=True)}
        best = {name: tuple(group["best"][name]["mapping_id"][0].tolist()) for name in ("edp", "energy", "latency")}
        front = [tuple(row) for row in group["pareto"]["mapping_id"][...].tolist()]
    assert len(stored) > 1000
    ids = [tuple(map(int, each.split())) for each in result["id"]]
    assert len(set(ids)) == len(ids)
    shown = zip(ids, result["energy_pj"], result["latency_cycles"], strict=True)
    assert all(stored[identity] == (energy, cycles) for identity, energy, cycles in shown)
    assert result["rows"] == {"kind": "mappings", "of": len(stored), "shown": 250}
    assert {name: ids[place] for name, place in result["best"].items()} == best
    assert [ids[place] for place in result["front"]] == front
    fitting = views.open_results([folder / "rows.h5"])[0].result.statistics["mappings_fitting"]
    assert sum(mappings for *_, mappings in result["density"]["bins"]) == fitting


@pytest.mark.parametrize("name", ["rows.h5", "aimc.h5", "sample.h5"])
def test_a_mapping_can_be_rebuilt_from_what_is_shown(folder: Path, name: str) -> None:
    """Spatial factors, loops and cuts as shown cost what is shown, and its parts add up to that."""
    data = data_of(page_of(folder, name, "--mappings", "40"))
    for result in data["results"]:
        layer = fm.load_workload("resnet8")[result["layer"]]
        for point in range(0, len(result["id"]), 7):
            spatial: dict[str, dict[str, int]] = {}
            for part in result["spatial"][result["spatial_of"][point]].split(", "):
                dimension, _, factors = part.partition(": ")
                if factors:
                    spatial[dimension] = {
                        each.rstrip("0123456789"): int(each.lstrip("GBKCOYXF")) for each in factors.split()
                    }
            loops = [
                (each.rstrip("0123456789"), int(each.lstrip("GBKCOYXF"))) for each in result["loops"][point].split()
            ]
            allocation = dict(zip("WIO", result["cuts"][point], strict=True))
            mapping = fm.Mapping.from_dict({"spatial": spatial, "temporal": loops, "allocation": allocation})
            cost = fm.evaluate(layer, AIMC, mapping)
            assert result["energy_pj"][point] == pytest.approx(cost.energy_pj.total, rel=1e-12)
            assert result["latency_cycles"][point] == cost.latency_cycles.total
            assert sum(result["energy"][point]) == pytest.approx(cost.energy_pj.total, rel=1e-5)
            assert sum(result["cycles"][point]) == pytest.approx(cost.latency_cycles.total, rel=1e-5)
            assert result["utilization"][point] == pytest.approx(cost.utilization.array, rel=1e-5)


def test_what_other_strategies_leave(folder: Path) -> None:
    results = data_of(page_of(folder, "aimc.h5", "dimc.h5"))["results"]
    assert [(each["architecture"], each["layer"], each["also"]) for each in results] == [
        *(("aimc", "fc", ["fc2"]), ("aimc", "conv9", [])),
        *(("dimc", "fc", ["fc2"]), ("dimc", "conv9", [])),
    ]
    for result in results:
        on = AIMC if result["architecture"] == "aimc" else DIMC
        optimum = fm.search(fm.load_workload("resnet8")[result["layer"]], on).best[0]
        best = result["best"]["edp"]
        edp = result["energy_pj"][best] * result["latency_cycles"][best] * result["clock_ns"]
        assert edp == pytest.approx(optimum.edp_pj_ns, rel=1e-12)
        assert result["density"] is None
        assert result["rows"]["of"] == result["rows"]["shown"] == 0
    (one,) = data_of(page_of(folder, "evil.h5"))["results"]
    assert one["best"] == {"edp": 0, "latency": None, "energy": None}
    assert data_of(page_of(folder, "none.h5"))["results"][0]["rows"]["of"] == 0
    (drawn,) = data_of(page_of(folder, "sample.h5"))["results"]
    assert drawn["rows"] == {"kind": "sample", "of": 300, "shown": 300}


def test_commands_can_be_typed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = data_of(page_of(folder, "aimc.h5"))
    assert data["files"][0]["command"] == "fastmap search x"
    capsys.readouterr()
    for result in data["results"]:
        program, *words = result["reproduce"].split()
        assert program == "fastmap"
        assert main((*words, *result["id"][0].split(), "--json")) == 0
        assert json.loads(capsys.readouterr().out)["energy_pj"]["total"] == pytest.approx(result["energy_pj"][0])


def test_many_results_share_the_room(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "MAPPINGS_OF_PAGE", 100)
    sources = [source for _ in range(4) for source in views.open_results([folder / "rows.h5"])]
    assert [each["rows"]["shown"] for each in report.collect(sources)["results"]] == [25] * 4


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("aimc.h5", "-o", "x.pdf"), "x.pdf: a report is a file of type .html"),
        (("aimc.h5", "-o", "there.html"), "there.html: exists already; choose another name or allow overwriting"),
        (("aimc.h5", "-o", "/nonexistent/x.html"), "/nonexistent/x.html: cannot be written: No such file or directory"),
        (("aimc.h5", "-o", "x.html", "--layer", "conv"), "there is no layer conv; did you mean conv9?"),
        (("aimc.h5", "-o", "x.html", "--mappings", "-1"), "--mappings must be an integer of at least 0, not -1"),
        (("none.hdf", "-o", "x.html"), "none.hdf: no such file"),
    ],
)
def test_mistakes(
    arguments: tuple[str, ...],
    sentence: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(folder)
    (folder / "there.html").touch()
    assert main(("report", *arguments)) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1
    assert not (folder / "x.html").exists()


def test_without_plotly(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(__import__("sys").modules, "plotly.offline", None)
    assert main(("report", str(folder / "aimc.h5"), "-o", str(folder / "x.html"))) == 2
    assert capsys.readouterr().err == "fastmap: reports need plotly: pip install 'fastmap[report]'\n"


# ---------------------------------------------------------------------------------------------------------- the browser

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
#: To open a page, script and all. Seconds; a browser that has just started on a busy machine takes most of them.
LONGEST = 20


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium (extra browser)")
    if BROWSER is None or DRIVER is None:
        pytest.skip("needs chromium and its driver")
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    profile = tmp_path_factory.mktemp("profile")
    for argument in ("headless=new", "disable-dev-shm-usage", "window-size=1400,1000", f"user-data-dir={profile}"):
        options.add_argument(f"--{argument}")
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        options.add_argument("--no-sandbox")  # which root cannot have
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


class Opened:
    """A page in the browser."""

    def __init__(self, driver: Any, path: Path) -> None:
        self.driver = driver
        driver.get(path.as_uri())
        self.wait(lambda: self.run("return document.body.dataset.ready"))

    def run(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def text(self, selector: str) -> str:
        return str(self.run("return document.querySelector(arguments[0]).textContent", selector))

    def find(self, selector: str) -> list[Any]:
        found: list[Any] = self.driver.find_elements("css selector", selector)
        return found

    def choose(self, name: str, value: str) -> None:
        script = "const s = document.getElementById(arguments[0]); s.value = arguments[1]; "
        self.run(f"{script} s.dispatchEvent(new Event('change'))", name, value)

    def wait(self, condition: Callable[[], Any]) -> None:
        end = time.monotonic() + LONGEST
        while not condition():
            assert time.monotonic() < end, "the page did not do what was expected"
            time.sleep(0.05)

    def complaints(self) -> list[str]:
        return [entry["message"] for entry in self.driver.get_log("browser") if "favicon" not in entry["message"]]


@pytest.fixture
def opened(browser: Any, folder: Path) -> Iterator[Callable[..., Opened]]:
    pages = []

    def open_page(*arguments: str) -> Opened:
        page_of(folder, *arguments)
        pages.append(Opened(browser, folder / f"{abs(hash(arguments))}.html"))
        return pages[-1]

    yield open_page
    for page in pages:
        assert page.complaints() == []


def test_in_a_browser_hover_click_and_compare(opened: Callable[..., Opened], folder: Path) -> None:
    from selenium.webdriver import ActionChains

    page = opened("rows.h5", "--mappings", "300")
    assert page.run("return document.compatMode") == "CSS1Compat"
    assert page.text("#cloud-note").startswith("aimc: 300 of ")
    assert page.run("return performance.getEntriesByType('resource').length") == 0  # it fetched nothing
    readable, ready = (float(page.run(f"return document.body.dataset.{each}")) for each in ("readable", "ready"))
    assert readable < ready
    assert (
        "share"
        not in " ".join(
            page.run("return [...document.querySelectorAll('.modebar-btn')].map(e => e.dataset.title)")
        ).lower()
    )
    before = page.text("#hovered")
    assert "B: nothing chosen yet" in page.text("#card-b")
    # Point at what lies on top at some place of a mapping's marker.
    place = page.run(
        "const p = [...document.querySelectorAll('#cloud .scatterlayer .trace')][0].querySelectorAll('path.point');"
        "const b = p[p.length - 1].getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2]"
    )
    frame = page.find("#cloud .nsewdrag")[0]
    box = frame.rect
    at = (round(place[0] - box["x"] - box["width"] / 2), round(place[1] - box["y"] - box["height"] / 2))
    ActionChains(page.driver).move_to_element_with_offset(frame, *at).pause(0.3).perform()
    page.wait(lambda: page.text("#hovered") != before)
    assert "loop nest" in page.text("#hovered")
    assert "dram" in page.text("#hovered")
    ActionChains(page.driver).move_to_element_with_offset(frame, *at).click().perform()
    page.wait(lambda: page.text("#card-b").startswith("B: "))
    page.wait(lambda: page.find("#differences tbody tr"))
    energies = [cell.text for cell in page.find("#differences tbody tr:first-child td")]
    commands = [each.text for each in page.find("#commands code")]
    assert [" mine " in command for command in commands] == [False, True, True]
    (result,) = data_of(page_of(folder, "rows.h5", "--mappings", "300"))["results"]
    places = [result["id"].index(command.split(" --id ")[1]) for command in commands[1:]]
    a, b = (result["energy_pj"][place] for place in places)
    assert places[0] == result["best"]["edp"] != places[1]
    assert energies[0] == "energy"
    assert float(energies[3].split()[0]) == pytest.approx(100 * (b / a - 1), rel=0.01)
    page.find("#swap")[0].click()
    page.wait(lambda: page.find("#differences tbody tr:first-child td")[1].text == energies[2] != energies[1])


def test_in_a_browser_zoom(opened: Callable[..., Opened], folder: Path) -> None:
    from selenium.webdriver import ActionChains

    page = opened("rows.h5", "--mappings", "5000")
    assert page.text("#cloud-note").endswith("of them is drawn: zoom in for more")
    points = "return document.querySelectorAll('#cloud .scatterlayer .trace:first-child .point').length"
    assert 1000 < page.run(points) <= 3000
    ranges = "return document.getElementById('cloud')._fullLayout.xaxis.range.slice()"
    before = page.run(ranges)
    frame = page.find("#cloud .nsewdrag")[0]
    ActionChains(page.driver).move_to_element_with_offset(frame, -100, -80).click_and_hold().move_by_offset(
        150, 120
    ).release().perform()
    page.wait(lambda: page.run(ranges) != before)
    zoomed = page.run(ranges)
    assert before[0] < zoomed[0] < zoomed[1] < before[1]
    (result,) = data_of(page_of(folder, "rows.h5", "--mappings", "5000"))["results"]
    inside = [zoomed[0] <= math.log10(pj * 1e-12) <= zoomed[1] for pj in result["energy_pj"]]
    assert 0 < page.run(points) <= sum(inside) < 5000
    page.find("#mappings tbody tr")[3].click()  # which does not lose the zoom
    page.wait(lambda: page.text("#card-b").startswith("B: "))
    assert page.run(ranges) == pytest.approx(zoomed)


#: Pairs of labels of an axis of the cloud that touch each other.
TOUCHING = """
const boxes = [...document.querySelectorAll(`#cloud .${arguments[0]}tick text`)].map(e => e.getBoundingClientRect());
return boxes.filter((a, i) => boxes.some((b, j) => j > i && a.left < b.right && b.left < a.right && a.top < b.bottom
  && b.top < a.bottom)).length"""


@pytest.mark.parametrize("file", ["rows.h5", "aimc.h5", "evil.h5"])
def test_in_a_browser_labels_of_axes_are_apart(opened: Callable[..., Opened], file: str) -> None:
    """Of two decades, of less, of a single point; and when one has zoomed in."""
    page = opened(file)
    for _ in range(6):
        for axis in "xy":
            assert page.run(f"return document.querySelectorAll('#cloud .{axis}tick').length") >= 2
            assert page.run(TOUCHING, axis) == 0
        zoom = "const g = document.getElementById('cloud'); const [a, b] = g.layout.xaxis.range; const [c, d] = "
        zoom += "g.layout.yaxis.range; return Plotly.relayout(g, {'xaxis.range': [a, (a + b) / 2], "
        page.run(f"{zoom} 'yaxis.range': [c, (c + d) / 2]}}).then(() => 1)")
        time.sleep(0.3)
    double = (
        "const g = document.getElementById('cloud'); return Plotly.relayout(g, {'xaxis.autorange': true}).then(() => 1)"
    )
    page.run(double)
    page.wait(
        lambda: page.run(TOUCHING, "x") == 0 and page.run("return document.querySelectorAll('#cloud .xtick').length")
    )


def test_in_a_browser_a_best_that_nobody_searched_for(opened: Callable[..., Opened], tmp_path: Path) -> None:
    """Objectives of which no best is known are not offered; where another layer has one, a sentence says why."""
    for name, objective in (("fc", "edp"), ("conv9", "energy")):
        fm.search({"fc": FC, "conv9": CONV9}[name], AIMC, objective).save(tmp_path / f"{name}.h5")
    page = opened(str(tmp_path / "fc.h5"))
    assert [option.text for option in page.find("#objective option")] == ["EDP"]
    page = opened(str(tmp_path / "fc.h5"), str(tmp_path / "conv9.h5"))
    assert [option.text for option in page.find("#objective option")] == ["EDP", "energy"]
    page.choose("objective", "energy")
    assert page.text("#hovered").startswith("The best energy of this layer is not known: the search was for EDP. ")
    titles = [head.text for head in page.find("#mappings thead tr:first-child th")]
    assert titles.count("energy ▲") == 1
    assert "energy" not in titles
    page.choose("layer", "conv9")
    assert page.text("#hovered").startswith("best: ")


def test_in_a_browser_table_layers_and_architectures(opened: Callable[..., Opened], folder: Path) -> None:
    page = opened("aimc.h5", "dimc.h5")
    data = data_of(page_of(folder, "aimc.h5", "dimc.h5"))

    def column(number: int) -> list[str]:
        found: list[str] = page.run(
            "return [...document.querySelectorAll('#mappings tbody tr')].map(r => r.cells[arguments[0]].textContent)",
            number,
        )
        return found

    def cycles() -> list[float]:
        return [float(each.replace(",", "")) for each in column(3)]

    layers = [option.text for option in page.find("#layer option")]
    assert layers == ["fc", "fc2", "conv9"]
    page.choose("layer", "conv9")
    expected = sorted(c for each in data["results"] if each["layer"] == "conv9" for c in each["latency_cycles"])
    header = "#mappings thead tr:first-child th:nth-child(4)"
    page.find(f"{header} button")[0].click()
    assert cycles() == expected
    assert page.find(header)[0].get_attribute("aria-sort") == "ascending"
    page.find(f"{header} button")[0].click()
    assert cycles() == expected[::-1]
    fields = page.find("#mappings thead input")
    limit = int(np.median(expected))
    fields[3].send_keys(f"<= {limit}")
    assert cycles() == [each for each in expected[::-1] if each <= limit]
    fields[0].send_keys("dimc")
    assert set(column(0)) == {"dimc"}
    assert page.text("#table-note").endswith(f"filtered from {len(expected)}")
    # Totals of the best of each layer, fc counting twice.
    page.choose("objective", "energy")
    sums = [
        sum(
            (1 + len(each["also"])) * each["energy_pj"][each["best"]["energy"]]
            for each in data["results"]
            if each["architecture"] == on
        )
        for on in ("aimc", "dimc")
    ]
    shown = page.run(
        "return [...document.querySelectorAll('#totals tbody tr')].map(r => [...r.cells].map(c => c.textContent))"
    )
    assert [row[0] for row in shown] == ["aimc", "dimc"]
    units = {"nJ": 1e3, "µJ": 1e6}
    for row, total in zip(shown, sums, strict=True):
        number, unit = row[1].split()
        assert float(number) * units[unit] == pytest.approx(total, rel=1e-3)
    assert page.run("return document.querySelectorAll('#architectures .bars .point').length") == 6
    # An architecture can be left out.
    page.find("#results input")[1].click()
    page.wait(lambda: page.text("#cloud-note").count("dimc") == 0)


def test_in_a_browser_names_do_nothing(opened: Callable[..., Opened]) -> None:
    page = opened("evil.h5")
    assert page.run("return document.images.length") == 0
    assert page.find("#layer option")[0].get_attribute("textContent") == EVIL
    assert EVIL in page.text("#card-a")
    assert EVIL in page.text("#commands")
    legend = page.run("return [...document.querySelectorAll('#cloud .legendtext')].map(e => e.textContent).join()")
    assert "onerror" in legend
    assert "<b>" in legend


def test_in_a_browser_every_kind_of_file_opens(opened: Callable[..., Opened]) -> None:
    for name in ("sample.h5", "none.h5", "aimc.h5"):
        assert opened(name).find("#mappings tbody tr")
