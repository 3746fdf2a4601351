"""The zoo: what ships, and that it has the values it claims."""

from __future__ import annotations

from pathlib import Path

import pytest

from fastmap import zoo
from fastmap.architecture import Architecture
from fastmap.errors import InputError
from fastmap.loading import json_schema, load_architecture, load_workload
from fastmap.validation import VALIDATED

ZIGZAG = Path(__file__).parent / "data" / "zigzag"

ARCHITECTURES = zoo.names("architecture")
WORKLOADS = zoo.names("workload")

#: Layers, MACs and weights of the ONNX models.
NETWORKS = {
    "resnet8": (10, 12_501_632, 77_360),
    "ds_cnn": (10, 2_656_768, 22_016),
    "mobilenet_v1_025": (28, 7_489_664, 208_112),
    "autoencoder": (10, 264_192, 264_192),
    "resnet18": (21, 1_814_073_344, 11_678_912),
    "mobilenet_v2": (53, 300_774_272, 3_469_760),
    "alexnet": (8, 654_560_384, 60_954_656),
}


def weights(layer):
    size = 1
    for dim in ("G", "K", "C", "FX", "FY"):
        size *= layer.size(dim)
    return size


def comparable(arch: Architecture) -> dict[str, object]:
    """What decides costs: names of ports and transfers that nothing uses are left out."""
    used = {(memory.name, operand, way) for operand in "WIO" for memory, way in arch.needed_transfers(operand)}
    data = arch.model_dump()
    for memory in data["memories"]:
        for port in memory["ports"]:
            del port["name"]
            port["transfers"] = [transfer for transfer in port["transfers"] if (memory["name"], *transfer) in used]
    return data


@pytest.mark.parametrize("name", ["aimc", "dimc"])
def test_zigzags_examples(name):
    ours, theirs = load_architecture(name), load_architecture(ZIGZAG / "hardware" / f"{name}.yaml")
    assert comparable(ours) == comparable(theirs)


def test_the_comparison_can_fail():
    ours = load_architecture("aimc")
    assert comparable(ours) != comparable(load_architecture("dimc"))
    cheaper = ours.model_copy(
        update={"memories": (*ours.memories[:-1], ours.memories[-1].model_copy(update={"read_energy_pj": 1.0}))}
    )
    assert comparable(ours) != comparable(cheaper)


def test_what_ships():
    assert {"aimc", "dimc", "aimc_64x64", "dimc_64x64_4banks", "dimc_cellgroups", "aimc_4level"} <= set(ARCHITECTURES)
    assert set(WORKLOADS) == set(NETWORKS)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_architectures(name):
    arch = load_architecture(name)
    assert arch.name == name
    if name in VALIDATED:  # their mappings are costed without the chip's own structure, and their registers read free
        assert len(arch.warnings) == (2 if name in ("aimc1", "aimc3") else 1)  # at 0.8 V delays stay
    else:
        assert arch.warnings == ()
        assert all(memory.read_energy_pj > 0 for memory in arch.memories if memory.name != "cells")
    assert zoo.description("architecture", name).endswith(".")


@pytest.mark.parametrize(("name", "depth", "banks"), [("dimc_cellgroups", 16, 1), ("dimc_64x64_4banks", 1, 4)])
def test_what_variants_vary(name, depth, banks):
    arch = load_architecture(name)
    assert (arch.cell_group_depth, arch.array.banks) == (depth, banks)


def test_four_level_hierarchies_have_a_buffer_for_each_operand():
    arch = load_architecture("aimc_4level")
    assert [len(arch.chain(operand)) for operand in "WIO"] == [4, 4, 4]


@pytest.mark.parametrize("name", WORKLOADS)
def test_workloads(name):
    net = load_workload(name)
    assert net.name == name
    assert (len(net), net.macs, sum(weights(layer) for layer in net)) == NETWORKS[name]
    for layer in net:
        assert (layer.weight_bits, layer.input_bits, layer.output_bits, layer.output_final_bits) == (8, 8, 16, 8)
        assert layer.sliding_window == (layer.kind != "dense")
        if layer.sliding_window:
            assert layer.input_x is not None
            assert layer.input_y is not None
    assert zoo.description("workload", name).endswith(".")


@pytest.mark.parametrize("name", WORKLOADS)
def test_edges(name):
    net = load_workload(name)
    assert net.nodes[0] not in net.sources
    assert set(net.sources) == set(net.nodes[1:])
    for node, producers in net.sources.items():
        assert all(net.nodes.index(producer) < net.nodes.index(node) for producer in producers)
        assert len(producers) == (2 if net.skipped.get(node) == "Add" else 1)
    fed = {producer for producers in net.sources.values() for producer in producers}
    assert fed == set(net.nodes[:-1])


@pytest.mark.parametrize("name", WORKLOADS)
def test_outputs_are_the_next_inputs(name):
    """Along every direct edge, the channels and the window sizes of producer and consumer agree."""
    net = load_workload(name)
    for layer in net:
        for producer in net.sources.get(layer.name, ()):
            if producer in net.skipped or not layer.sliding_window:
                continue
            before = net[producer]
            assert layer.size("G") * layer.size("C") == before.size("G") * before.size("K")
            assert (layer.clip_x, layer.clip_y) == (before.size("OX"), before.size("OY"))


def test_resnet18_is_the_onnx_model():
    pytest.importorskip("onnx", reason="needs the extra onnx")
    ours, theirs = load_workload("resnet18"), load_workload(ZIGZAG / "workload" / "resnet18.onnx")
    for layer, other in zip(ours, theirs, strict=True):
        assert {dim: size for dim, size in other.sizes.items() if size > 1} == {
            dim: size for dim, size in layer.sizes.items() if size > 1
        }
        kept = [dim for dim in other.dimension_order if dim in layer.sizes]
        assert kept == list(layer.dimension_order)
        assert (layer.stride_x, layer.stride_y, layer.clip_x, layer.clip_y, layer.operand_order) == (
            other.stride_x,
            other.stride_y,
            other.clip_x,
            other.clip_y,
            other.operand_order,
        )


def test_true_axes_of_ds_cnn():
    first = load_workload("ds_cnn")["conv1"]
    assert (first.size("FX"), first.size("FY"), first.clip_x, first.clip_y) == (4, 10, 10, 49)


def test_schemas_know_every_key_of_the_zoo():
    import yaml

    memory = json_schema("architecture")["$defs"]["MemoryFile"]["properties"]
    for name in ARCHITECTURES:
        data = yaml.safe_load(zoo.text("architecture", name))
        for entry in data["memories"].values():
            assert set(entry) <= set(memory)
    layer = json_schema("workload")["$defs"]["LayerFile"]["properties"]
    for name in WORKLOADS:
        for entry in yaml.safe_load(zoo.text("workload", name))["layers"].values():
            assert set(entry) <= set(layer)


def test_unknown_entries():
    with pytest.raises(InputError, match=r"the zoo has no architecture aimk; did you mean aimc\?"):
        zoo.text("architecture", "aimk")
    with pytest.raises(InputError, match=r"the zoo has no networks"):
        zoo.names("networks")
