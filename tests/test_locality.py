"""Data locality between layers: ZigZag's decisions for ResNet-18, and small graphs of every shape."""

from __future__ import annotations

import gzip
import itertools
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastmap.architecture import Architecture
from fastmap.constraints import ConstraintSet
from fastmap.exploration import Options, plan_network, search, search_network
from fastmap.layer import Layer
from fastmap.loading import load_architecture, load_constraints, load_workload
from fastmap.locality import localize
from fastmap.mapping import Constraints, SpatialMapping
from fastmap.workload import Workload

DATA = Path(__file__).parent / "data"
ZIGZAG = json.loads(gzip.decompress((DATA / "zigzag_runs" / "resnet18.json.gz").read_bytes()))
AIMC = load_architecture("aimc")
RUNS = [(array, kind) for array in ("aimc", "dimc") for kind in ("yaml", "onnx")]


def network(array: str, kind: str) -> tuple[Workload, Architecture, list[dict]]:
    if kind == "onnx":
        pytest.importorskip("onnx")
    workload = load_workload(DATA / "zigzag" / "workload" / f"resnet18.{kind}")
    architecture = load_architecture(DATA / "zigzag" / "hardware" / f"{array}.yaml")
    layers = ZIGZAG["runs"][f"{array}_{kind}"]["layers"]
    assert [list(layer.sizes.values()) for layer in workload] == [layer["sizes"] for layer in layers]
    return workload, architecture, layers


def hints() -> ConstraintSet:
    return load_constraints(DATA / "zigzag" / "mapping" / "default_imc.yaml")


def resized(bits: int) -> Architecture:
    memories = [
        memory.model_copy(update={"size_bits": bits}) if memory.name == "sram_256KB" else memory
        for memory in AIMC.memories
    ]
    return Architecture(name="resized", array=AIMC.array, memories=tuple(memories))


def held(architecture: Architecture, operand: str) -> list[str]:
    return [architecture.memories[index].name for index in architecture.chain(operand)]


def top(architecture: Architecture, operand: str) -> str:
    return held(architecture, operand)[-1]


def conv(name: str, channels: int = 16) -> Layer:
    return Layer(name=name, K=channels, C=channels, OX=8, OY=8, FX=3, FY=3, input_x=8, input_y=8)


def chain(*names: str, **fields) -> Workload:
    sources = {after: (before,) for before, after in itertools.pairwise(names)}
    return Workload(layers=[conv(name) for name in names], sources=sources, **fields)


class TestResNet18:
    @pytest.mark.parametrize(("array", "kind"), RUNS)
    def test_the_memories_that_zigzag_leaves(self, array, kind):
        workload, architecture, layers = network(array, kind)
        found = localize(workload, architecture)
        assert list(found) == [layer.name for layer in workload]
        for mine, theirs in zip(found.values(), layers, strict=True):
            assert {memory.name: list(memory.operands) for memory in mine.memories} == theirs["memories"]
            assert mine.name == architecture.name
            removed = {
                memory.name: sorted(set(memory.operands) - set(mine.memory(memory.name).operands))
                for memory in architecture.memories
            }
            assert {name: operands for name, operands in removed.items() if operands} == {
                name: sorted(operands) for name, operands in theirs["removed"].items()
            }

    @pytest.mark.parametrize(("array", "kind"), RUNS)
    def test_the_totals_of_zigzag(self, array, kind):
        workload, architecture, layers = network(array, kind)
        rules = hints()
        settings = {"spatial_candidates": "zigzag", "loop_factor_limit": 6, "allocation": "greedy"}
        plan = plan_network(
            workload,
            architecture,
            lambda layer: rules.for_layer(layer, architecture).model_copy(update=settings),
            data_locality=True,
            cost_model="zigzag",
        )
        found = search_network(plan, Options("latency", "exhaustive", top=1))
        expected = ZIGZAG["totals"][array][kind]
        assert found.totals["energy_pj"] == pytest.approx(expected["energy_pj"], rel=1e-9)
        assert found.totals["latency_cycles"] == expected["latency_cycles"]
        for (_, result), theirs in zip(found, layers, strict=True):
            assert list(result.space.orders) == theirs["orders"]
            best = result.best[0]
            assert best.energy_pj.total == pytest.approx(theirs["energy_pj"], rel=1e-12)
            assert best.latency_cycles.total == theirs["latency_cycles"]
            assert best.mapping.spatial.unrolling == theirs["spatial"][theirs["winner"]]
        first = found.results[workload[0].name].best[0]
        assert first.clock_ns == pytest.approx(expected["clock_ns"], rel=1e-12)
        assert first.area_mm2.total == pytest.approx(expected["area_mm2"], rel=1e-12)

    def test_every_spatial_mapping_of_zigzag(self):
        workload, architecture, layers = network("aimc", "yaml")
        found = localize(workload, architecture)
        seen = set()
        for layer, theirs in zip(workload, layers, strict=True):
            if layer.signature in seen:
                continue
            seen.add(layer.signature)
            for place, unrolling in enumerate(theirs["spatial"]):
                constraints = Constraints(
                    spatial=SpatialMapping(unrolling=unrolling), loop_factor_limit=6, allocation="greedy"
                )
                result = search(layer, found[layer.name], "latency", "exhaustive", "zigzag", constraints, top=1)
                best = result.best[0]
                assert best.energy_pj.total == pytest.approx(theirs["spatial_energy_pj"][place], rel=1e-12)
                assert best.latency_cycles.total == theirs["spatial_latency_cycles"][place]


class TestShapes:
    def test_a_chain_stays_on_chip(self):
        found = localize(chain("a", "b", "c"), resized(1 << 20))
        for name in "abc":
            assert held(found[name], "I") == ["rf_1B", "sram_256KB"]
            assert held(found[name], "O") == ["rf_2B", "sram_256KB"]
            assert held(found[name], "W") == ["cells", "dram"]
        assert found["a"] is found["b"]
        assert [port.transfers for port in found["a"].memory("dram").ports] == [(("W", "rd_out_to_low"),)]

    def test_what_does_not_fit_goes_to_the_top(self):
        found = localize(chain("a", "b", "c"), resized(1 << 13))
        assert all(top(found[name], operand) == "dram" for name in "abc" for operand in "IO")

    def test_own_input_and_output_must_fit_together(self):
        """8 bits x 1024 in and 16 bits x 1024 out."""
        assert top(localize(chain("a"), resized(3 << 13))["a"], "O") == "sram_256KB"
        assert top(localize(chain("a"), resized((3 << 13) - 1))["a"], "O") == "dram"

    def test_operands_stand_in_zigzags_order(self):
        turned = Architecture(
            name="turned",
            array=AIMC.array,
            memories=tuple(
                memory.model_copy(update={"operands": tuple(reversed(memory.operands))}) for memory in AIMC.memories
            ),
        )
        found = localize(chain("a"), turned)["a"]
        assert found.memory("dram").operands == ("W",)
        assert found.memory("sram_256KB").operands == ("I", "O")
        big = localize(chain("a"), resized(1 << 12))["a"]
        assert big.memory("dram").operands == ("I", "W", "O")

    def test_a_memory_without_operands_is_left_out(self):
        directions = ("rd_out_to_low", "wr_in_by_low", "rd_out_to_high", "wr_in_by_high")
        transfers = [("I", directions[0]), ("I", directions[3]), *(("O", direction) for direction in directions)]
        port = {"name": "p", "kind": "read_write", "bandwidth_min_bits": 8, "bandwidth_max_bits": 64}
        second = {
            **resized(1 << 22).memory("sram_256KB").model_dump(),
            "name": "second",
            "ports": [{**port, "transfers": transfers}],
        }
        memories = [*resized(1 << 20).memories[:-1], second, AIMC.memories[-1]]
        architecture = Architecture.model_validate({"name": "tall", "array": AIMC.array, "memories": memories})
        found = localize(chain("a", "b"), architecture)["a"]
        assert [memory.name for memory in found.memories] == ["cells", "rf_1B", "rf_2B", "sram_256KB", "dram"]

    def test_branches_and_joins_go_through_the_top(self):
        workload = Workload(
            layers=[conv(name) for name in "abcde"],
            sources={"b": ("a",), "c": ("b",), "s": ("a", "c"), "d": ("s",), "e": ("d",)},
            skipped={"s": "Sum"},
            nodes=("a", "b", "c", "s", "d", "e"),
        )
        found = localize(workload, resized(1 << 20))
        tops = {name: (top(found[name], "I"), top(found[name], "O")) for name in "abcde"}
        assert tops == {
            "a": ("dram", "dram"),  # two consumers
            "b": ("dram", "sram_256KB"),
            "c": ("sram_256KB", "dram"),  # its consumer has two producers
            "d": ("dram", "sram_256KB"),
            "e": ("sram_256KB", "sram_256KB"),
        }

    def test_additions_of_zigzags_own_files_hold_data(self):
        """The sum of the additions is a node whose output stays on chip."""
        workload = Workload(
            layers=[conv(name) for name in "abcd"],
            sources={"b": ("a",), "c": ("b",), "s": ("a", "c"), "d": ("s",)},
            skipped={"s": "Add"},
            nodes=("a", "b", "c", "s", "d"),
        )
        found = localize(workload, resized(1 << 20))
        assert (top(found["c"], "O"), top(found["d"], "I")) == ("dram", "sram_256KB")
        assert top(localize(workload, resized(3 << 13))["d"], "I") == "dram"  # two inputs and one output do not fit

    def test_several_inputs_and_outputs(self):
        workload = Workload(layers=[conv(name) for name in "abcd"], sources={"c": ("a",), "d": ("b",)})
        found = localize(workload, resized(1 << 20))
        assert all(top(found[name], operand) == "sram_256KB" for name in "abcd" for operand in "IO")

    def test_a_final_activation_function_changes_nothing(self):
        workload = Workload(layers=[conv("a")], sources={"s": ("a",)}, skipped={"s": "Softmax"})
        assert top(localize(workload, resized(1 << 20))["a"], "O") == "sram_256KB"

    def test_producers_whose_edge_is_lost(self):
        workload = Workload(
            layers=[conv(name) for name in "abcd"],
            sources={"s": ("a", "b", "c"), "d": ("s",)},
            skipped={"s": "Concat"},
            nodes=("a", "b", "c", "s", "d"),
        )
        found = localize(workload, resized(1 << 20))
        assert all(top(found[name], "O") == "dram" for name in "abc")
        assert (top(found["d"], "I"), top(found["d"], "O")) == ("dram", "sram_256KB")

    def test_a_cycle_stays_at_the_top(self):
        workload = Workload(layers=[conv("a"), conv("b")], sources={"a": ("b",), "b": ("a",)})
        found = localize(workload, resized(1 << 20))
        assert all(top(found[name], operand) == "dram" for name in "ab" for operand in "IO")

    def test_pooling_alone(self):
        workload = Workload(
            layers=[conv("a")], sources={"a": ("p",), "q": ("a",)}, skipped={"p": "Pooling", "q": "Pooling"}
        )
        assert top(localize(workload, resized(1 << 20))["a"], "I") == "sram_256KB"

    def test_weights_below_the_top(self):
        """A global buffer that holds the weights of the whole network beside the activations keeps them on chip."""
        sram = AIMC.memory("sram_256KB")
        ports = [
            port.model_copy(update={"transfers": (*port.transfers, ("W", direction))})
            for port, direction in zip(sram.ports, ("rd_out_to_low", "wr_in_by_high"), strict=True)
        ]
        weights = 3 * 16 * 16 * 9 * 8
        for size, expected in ((weights + (3 << 13), "sram_256KB"), (weights + (3 << 13) - 1, "dram")):
            shared = sram.model_copy(
                update={"operands": ("W", *sram.operands), "ports": tuple(ports), "size_bits": size}
            )
            memories = tuple(shared if memory is sram else memory for memory in AIMC.memories)
            found = localize(chain("a", "b", "c"), Architecture(name="shared", array=AIMC.array, memories=memories))
            assert all(top(found[name], operand) == expected for name in "abc" for operand in "WIO")

    def test_two_computed_operands(self):
        """ZigZag takes the second operand of the equation, here W, for the activations; the buffer cannot hold it."""
        product = Layer(name="p", B=16, K=16, C=16, sliding_window=False)
        one = Layer(name="a", B=16, K=16, C=16, sliding_window=False)
        workload = Workload(layers=[one, one.model_copy(update={"name": "b"}), product], sources={"p": ("a", "b")})
        found = localize(workload, resized(1 << 20))["p"]
        assert found.memory("dram").operands == ("W", "I", "O")
        assert found.memory("sram_256KB").operands == ("I", "O")


@st.composite
def networks(draw):
    layers, sources, skipped, nodes = [], {}, {}, []
    kinds = draw(st.sampled_from([("Add", "Pooling"), ("Relu", "Concat", "Add")]))
    for index in range(draw(st.integers(1, 8))):
        name = f"n{index}"
        producers = draw(st.lists(st.sampled_from(nodes), max_size=3, unique=True)) if nodes else []
        if layers and draw(st.booleans()):
            skipped[name] = draw(st.sampled_from(kinds))
        else:
            producers = producers[:2]
            dense = draw(st.booleans())
            size = draw(st.sampled_from([1, 4, 32, 500]))
            layers.append(
                Layer(name=name, K=size, C=16, B=4, sliding_window=False) if dense else conv(name, channels=size)
            )
        if producers:
            sources[name] = tuple(producers)
        nodes.append(name)
    return Workload(layers=layers, sources=sources, skipped=skipped, nodes=tuple(nodes))


@settings(max_examples=150, deadline=None)
@given(networks(), st.sampled_from([1 << 10, 1 << 14, 1 << 18, 1 << 24]))
def test_every_layer_keeps_a_working_architecture(workload, bits):
    architecture = resized(bits)
    found = localize(workload, architecture)
    assert list(found) == [layer.name for layer in workload]
    for pruned in found.values():
        assert pruned.array == architecture.array
        for operand in "WIO":
            assert held(pruned, operand) == held(architecture, operand)[: len(pruned.chain(operand))]
            assert pruned.chain(operand)
        for memory in pruned.memories:
            whole = architecture.memory(memory.name)
            assert [port.name for port in whole.ports if port.name in {p.name for p in memory.ports}] == [
                port.name for port in memory.ports
            ]
            for port in memory.ports:
                same = whole.ports[[p.name for p in whole.ports].index(port.name)]
                assert port.transfers == tuple(each for each in same.transfers if each[0] in memory.operands)
    # What one layer hands to its only consumer is read where it was left.
    users: dict[str, list[str]] = {}
    for name, producers in workload.sources.items():
        for other in producers:
            users.setdefault(other, []).append(name)
    for name, consumers in users.items():
        if name in found and len(consumers) == 1 and consumers[0] in found:
            layer = workload[consumers[0]]
            if len(workload.sources[layer.name]) == 1:
                assert top(found[layer.name], "I") == top(found[name], "O")
