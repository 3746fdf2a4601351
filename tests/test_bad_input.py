"""What a user can get wrong: one sentence each, with file, line and key; and garbage of every kind at all readers."""

from __future__ import annotations

import contextlib
import copy
import json
import os
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastmap import zoo
from fastmap.architecture import Architecture
from fastmap.constraints import ConstraintSet
from fastmap.errors import FastmapError, InputError, MappingError
from fastmap.layer import Layer
from fastmap.loading import load_architecture, load_constraints, load_mapping, load_workload
from fastmap.mapping import Mapping
from fastmap.workload import Workload

ZIGZAG = Path(__file__).parent / "data" / "zigzag"

OUR_ARCHITECTURE = zoo.text("architecture", "aimc")
OUR_DIGITAL = zoo.text("architecture", "dimc")
OUR_WORKLOAD = zoo.text("workload", "resnet8")
OUR_CONSTRAINTS = """\
allowed: {D1: [K], D2: [C, FX, FY]}
min_array_utilization: 0.5
loop_factor_limit: 6
layers:
  fc: {spatial: {D1: {K: 10}}, temporal: [[C, 64]]}
"""
OUR_MAPPING = """\
spatial:
  D1: {K: 16}
  D2: {C: 3, FX: 3}
temporal: [[OX, 8], [OX, 4], [FY, 3], [OY, 32]]
allocation:
  W: [1, 4]
  I: [0, 2, 4]
  O: [1, 3, 4]
"""
ACCELERATOR = (ZIGZAG / "hardware" / "aimc.yaml").read_text(encoding="utf-8")
ZIGZAG_WORKLOAD = (ZIGZAG / "workload" / "resnet18.yaml").read_text(encoding="utf-8")
ZIGZAG_GEMM = (ZIGZAG / "workload" / "gemm_layer.yaml").read_text(encoding="utf-8")
ZIGZAG_MAPPING = (ZIGZAG / "mapping" / "tpu_like.yaml").read_text(encoding="utf-8")

SRAM = "memories.sram_256KB"


def complaint(load, path: Path, text: str | bytes) -> str:
    """Return the sentence that loading this text gives, without the folder."""
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError) as caught:
        load(path)
    sentence = str(caught.value)
    assert sentence.startswith(str(path))
    assert "\n" not in sentence
    return sentence.removeprefix(str(path.parent) + os.sep)


def check_changed(load, path: Path, text: str, old: str, new: str, expected: str) -> None:
    """Replace the first ``old`` by ``new``; the sentence must start with ``expected``, or hold all its parts."""
    assert old in text
    sentence = complaint(load, path, text.replace(old, new, 1))
    for part in expected.split(" ... "):
        assert part in sentence, sentence


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("size_kib: 32", "size_kib: -5", f"a.yaml, line 32, {SRAM}.size_kib: must be a positive integer, not -5"),
        ("size_kib: 32", "size_kib: 0", f"{SRAM}.size_kib: must be a positive integer, not 0"),
        ("size_kib: 32", "size_kib: 0.5", f"{SRAM}.size_kib: must be a positive integer, not 0.5"),
        ("size_kib: 32", "size_kib: lots", f"{SRAM}.size_kib: must be a positive integer, not lots"),
        ("size_kib: 32", "size_kib: [32]", f"{SRAM}.size_kib: must be a positive integer, not a list of 1"),
        ("size_kib: 32", "size_kib:", f"line 30, {SRAM}: the key size_bits is missing"),
        (
            "size_kib: 32",
            "sise_kib: 32",
            f"line 30, {SRAM}: unknown key sise_kib; did you mean size_kib? (known keys: ",
        ),
        ("size_kib: 32", "size_kib: 32\n    size_bits: 9", "gives its size twice, as size_bits and as size_kib"),
        ("size_kib: 32", "size_kib: 32 kB", "must be a positive integer, not 32 kB"),
        ("kind: analog", "kind: analogue", "line 7, array.kind: must be one of analog, digital, mac, not analogue"),
        ("  adc_bits: 8\n", "", "line 6, array: an analog array needs adc_bits"),
        ("adc_bits: 8", "adc_bits: 0", "line 12, array.adc_bits: must be a positive number, not 0"),
        (
            "bits_per_cycle: 2",
            "bits_per_cycle: 3",
            "array.bits_per_cycle: must divide activation_bits (8), which 3 does not",
        ),
        (
            "weight_bits: 8",
            "weight_bits: 16",
            "line 14, memories.cells.size_bits: must hold at least one weight of 16 bits",
        ),
        (
            "D1: 128, D2: 128",
            "D1: 128",
            "line 8, array.dimensions: an in-memory-computing array has at least two dimensions",
        ),
        ("D1: 128, D2: 128", "D1: 128, D2: 0", "array.dimensions.D2: must be a positive integer, not 0"),
        ("operands: I\n", "operands: X\n", "line 16, memories.rf_1B.operands[0]: must be one of W, I, O, not X"),
        ("operands: I\n", "operands: []\n", "memories.rf_1B.operands: stores nothing"),
        (
            "bandwidth_bits: [64, 512]",
            "bandwidth_bits: 0",
            f"line 33, {SRAM}.bandwidth_bits: must be a positive integer, not 0",
        ),
        (
            "bandwidth_bits: [64, 512]",
            "bandwidth_bits: [512, 64]",
            f"line 33, {SRAM}.bandwidth_bits: the smallest bandwidth (512",
        ),
        ("bandwidth_bits: [64, 512]", "bandwidth_bits: [1, 2, 3]", "must be a number of bits, or [smallest, largest]"),
        ("    bandwidth_bits: [64, 512]\n", "", f"line 30, {SRAM}: the key bandwidth_bits is missing"),
        ("    read_energy_pj: 416.16\n", "", f"line 30, {SRAM}: the key read_energy_pj is missing"),
        (
            "read_energy_pj: 416.16",
            "read_energy_pj: -1",
            f"{SRAM}.read_energy_pj: must be a number of at least 0, not -1",
        ),
        ("read_energy_pj: 416.16", "read_energy_pj: .nan", "must be a number of at least 0, not nan"),
        ("read_energy_pj: 416.16", "read_energy_pj: 416 pJ", "must be a number of at least 0, not 416 pJ"),
        (
            "serves: D1",
            "serves: D7",
            "line 17, memories.rf_1B.serves: there is no array dimension D7 (the array has D1, D2)",
        ),
        ("ports: 1", "ports: 3", "memories.dram.ports: must be 1 (shared), 2 (one read, one write), separate"),
        ("ports: 1", "ports: {a: {kind: read}}", "line 40, memories.dram.ports: no port carries O wr_in_by_low"),
        ("ports: 1", "ports: {a: {transfers: [O tl]}, b: {transfers: [O tl]}}", "is on two ports, a and b"),
        (
            "ports: 1",
            "ports: {a: {transfers: [O up]}}",
            "ports.a.transfers[0]: must be an operand (W, I, O) and a direction",
        ),
        ("ports: 1", "ports: {a: , b: }", "memories.dram.ports.b: nothing is left for this port to carry"),
        (
            "ports: 1",
            "ports: {a: {kind: read, transfers: [O fl]}}",
            "ports.a.transfers: a read port cannot carry O wr_in_by_low",
        ),
        ("[I, W, O]", "[I, W]", "list"),
        ("array:", "arrray:", "a.yaml, line 5: unknown key arrray; did you mean array?"),
        ("memories:", "memory:", "unknown key memory; did you mean memories?"),
        ("  rf_2B:", "  rf_1B:", "line 22, memories.rf_1B: the key rf_1B stands twice, on lines 15 and 22"),
        ("  kind", "\tkind", "line 7: is not valid YAML: a tab cannot indent; use spaces"),
        ("name: aimc", "name: ''", "name: must be a name"),
        ("name: aimc", "name: 3.5", "name: must be a name, not 3.5"),
    ],
)
def test_our_architectures(tmp_path, old, new, expected):
    if new == "[I, W]":  # then no memory but the registers stores O at the top, and those are fine on their own
        new, expected = "[I]", "memories: no memory stores O"
        text = OUR_ARCHITECTURE.replace("[I, O]", "I").replace("operands: O", "operands: I")
    else:
        text = OUR_ARCHITECTURE
    check_changed(load_architecture, tmp_path / "a.yaml", text, old, new, expected)


def test_rows_of_digital_arrays(tmp_path):
    check_changed(
        load_architecture,
        tmp_path / "a.yaml",
        OUR_DIGITAL,
        "D2: 128",
        "D2: 96",
        "line 8, array.dimensions.D2: the rows of a digital array must be a power of two, at least 2, for its "
        "adder trees, not 96",
    )


def test_memories_listed_outermost_first(tmp_path):
    start, end = OUR_ARCHITECTURE.index("  cells"), OUR_ARCHITECTURE.index("  dram")
    text = OUR_ARCHITECTURE[:start] + OUR_ARCHITECTURE[end:] + OUR_ARCHITECTURE[start:end]
    sentence = complaint(load_architecture, tmp_path / "a.yaml", text)
    assert sentence.startswith("a.yaml, line 14, memories.dram: list memories innermost first: dram (10000000000 bits)")


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("size: 262144", "size: -5", f"a.yaml, line 78, {SRAM}.size: must be a positive integer, not -5"),
        ("size: 262144", "sise: 5", f"line 77, {SRAM}: unknown key sise; did you mean size?"),
        (
            "I1, fh",
            "I1, xx",
            "memories.rf_1B.ports[1].allocation[0]: must be an operand (I1, I2, O), a comma and a direction",
        ),
        ("operands: [I1]", "operands: [I3]", "memories.rf_1B.operands[0]: must be one of I1, I2, O, not I3"),
        (
            "served_dimensions: [D1]",
            "served_dimensions: [D9]",
            "memories.rf_1B.served_dimensions: there is no array dimension D9",
        ),
        ("  adc_resolution: 8 # unit: bit\n", "", "operational_array: an analog array needs adc_resolution"),
        ("  input_precision: [8, 8] # unit: bit\n", "", "operational_array: the key input_precision is missing"),
        ("  bit_serial_precision: 2 # unit: bit\n", "", "operational_array: the key bit_serial_precision is missing"),
        ("input_precision: [8, 8]", "input_precision: [8]", "must be [activation bits, weight bits]"),
        ("bit_serial_precision: 2", "bit_serial_precision: 3", "operational_array.bit_serial_precision: must divide"),
        ("sizes: [128, 128]", "sizes: [128]", "operational_array.sizes: must have one size for each of D1, D2, not 1"),
        ("sizes: [128, 128]", "sizes: [128, -1]", "operational_array.sizes[1]: must be a positive integer, not -1"),
        ("dimensions: [D1, D2]\n  sizes", "dimensions: [D1, D1]\n  sizes", "names a dimension twice"),
        (
            "bandwidth_min: 64",
            "bandwidth_min: 1024",
            f"{SRAM}.ports[0].bandwidth_min: the smallest bandwidth (1024 bits)",
        ),
        ("bandwidth_max: 8", "bandwidth_max: 0", "bandwidth_max: must be a positive integer, not 0"),
        (
            "r_cost: 416.16",
            "auto_cost_extraction: true",
            f"{SRAM}: the key r_cost is missing (fastmap does not run CACTI",
        ),
        ("name: w_port_1", "name: r_port_1", "memories.rf_1B.ports: two ports have the name r_port_1"),
        ("type: write", "type: read", "memories.rf_1B.ports[1].allocation: a read port cannot carry I wr_in_by_high"),
        ("- O, fl\n", "- O, tl\n", "memories.rf_2B.ports[2].allocation: a write port cannot carry O rd_out_to_low"),
        ("operational_array", "operational_arry", "unknown key operational_arry; did you mean operational_array?"),
        (
            "imc_type: analog",
            "imc_type: optical",
            "operational_array.imc_type: must be one of analog, digital, not optical",
        ),
        ("is_imc: True", "is_imc: maybe", "operational_array.is_imc: must be true or false, not maybe"),
        ("memories:", "memories: 3\nold:", "must be a mapping (key: value), not 3"),
    ],
)
def test_zigzag_accelerators(tmp_path, old, new, expected):
    if new.startswith("memories: 3"):
        old, new = (
            ACCELERATOR[ACCELERATOR.index("memories:") : ACCELERATOR.index("operational_array")],
            "memories: 3\n\n",
        )
    check_changed(load_architecture, tmp_path / "a.yaml", ACCELERATOR, old, new, expected)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("K: 16", "K: -16", "w.yaml, line 7, layers.conv1.K: must be a positive integer, not -16"),
        ("K: 16", "Q: 16", "line 7, layers.conv1: unknown key Q (known keys: B, G, K, C, "),
        ("K: 16", "K: 16.5", "layers.conv1.K: must be a positive integer, not 16.5"),
        ("K: 16", "K: yes", "layers.conv1.K: must be a positive integer, not yes"),
        ("stride: 2", "stride: 0", "line 11, layers.conv4.stride: must be a positive integer, not 0"),
        ("stride: 2", "stride: 2, stride_x: 3", "layers.conv4.stride_x: is given twice, as stride and as stride_x"),
        (
            "[conv1, conv3]",
            "[conv1, conv33]",
            "line 10, layers.add1.from: there is no layer conv33; did you mean conv3?",
        ),
        ("[conv1, conv3]", "[conv1, conv4]", "layers.add1.from: there is no layer conv4 before this one"),
        ("skip: Add", "skip: Add, K: 3", "layers.add1.K: a skipped node has the keys skip and from only"),
        ("conv2:", "conv1:", "line 8, layers.conv1: the key conv1 stands twice, on lines 7 and 8"),
        (
            "weight_bits: 8",
            "weight_bits: 0",
            "line 5, defaults.weight_bits: must be a number of bits between 1 and 4096",
        ),
        ("weight_bits: 8", "wieght_bits: 8", "defaults: unknown key wieght_bits; did you mean weight_bits?"),
        ("K: 10}", "K: 10, OX: 3, sliding_window: false}", "layers.fc.OX: a layer without sliding window"),
        (
            "K: 10}",
            "K: 10, FX: 3, padding_x: [2, 2]}",
            "layers.fc.padding_x: must add up to less than the input extent 3",
        ),
        ("{C: 64, K: 10}", "{}", "layers.fc: give at least one loop dimension"),
        ("{C: 64, K: 10}", "5", "layers.fc: must be a mapping (key: value), not 5"),
        ("{C: 64, K: 10}", "{K: 1000000000, C: 1000000000}", "layers.fc: the layer has 1e+18 MACs, more than 2**53"),
        ("layers:", "layres:", "unknown key layres; did you mean layers?"),
    ],
)
def test_our_workloads(tmp_path, old, new, expected):
    check_changed(load_workload, tmp_path / "w.yaml", OUR_WORKLOAD, old, new, expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("layers: {}", "line 1, layers: lists no layers"),
        ("layers: {a: {skip: Add}}", "has no layer that maps to an array"),
        ("layers: [a]", "layers: must be a mapping (key: value), not a list of 1"),
        ("[]", "lists no layers"),
        ("3", "must be a mapping (key: value), not 3"),
    ],
)
def test_odd_workloads(tmp_path, text, expected):
    assert expected in complaint(load_workload, tmp_path / "w.yaml", text)


EQUATION = "O[b][k][oy][ox]+=W[k][c][fy][fx]*I[b][c][iy][ix]"


@pytest.mark.parametrize(
    ("text", "old", "new", "expected"),
    [
        (
            ZIGZAG_WORKLOAD,
            EQUATION,
            "foo",
            "w.yaml, line 4, [0].equation: must look like O[b][k]+=I[b][c]*W[c][k], not foo",
        ),
        (ZIGZAG_WORKLOAD, EQUATION, EQUATION.replace("W", "V"), "[0].equation: must multiply I and W, not V, I"),
        (ZIGZAG_WORKLOAD, "112, 112, 7, 7]", "112]", "line 7, [0].loop_sizes: must have one size each for B, K, C"),
        (
            ZIGZAG_WORKLOAD,
            "112, 112, 7, 7]",
            "112, 112, 7, 0]",
            "line 7, [0].loop_sizes[6]: must be a positive integer, not 0",
        ),
        (ZIGZAG_WORKLOAD, "ix=2*ox+1*fx", "ix=2*ox", "line 5, [0].dimension_relations[0]: must look like ix=2*ox+1*fx"),
        (ZIGZAG_WORKLOAD, "ix=2*ox+1*fx", "ix=0*ox+1*fx", "stride and dilation must be at least 1, not 0"),
        (ZIGZAG_WORKLOAD, "ix=2*ox+1*fx", "ix=2*ox+1*oy", "must add an index of O and an index of W only"),
        (ZIGZAG_WORKLOAD, "ix=2*ox+1*fx", "iz=2*ox+1*fx", "iz is not an index of I in the equation"),
        (ZIGZAG_WORKLOAD, "ix=2*ox+1*fx", "iy=2*ox+1*fx", "defines an index of I twice"),
        (
            ZIGZAG_WORKLOAD,
            "I: 1\n    W: 2",
            "I: 77\n    W: 2",
            "line 44, [2].operand_source.I: there is no layer with the id 77",
        ),
        (ZIGZAG_WORKLOAD, "- id: 1 ", "- id: 0 ", "line 17, [1].id: the id 0 stands twice"),
        (ZIGZAG_WORKLOAD, "FY, FX]", "FY, FZ]", "[0].loop_dims: lacks FX, which the equation uses"),
        (ZIGZAG_WORKLOAD, "    W: 8\n", "", "line 8, [0].operand_precision: needs the bits of W"),
        (ZIGZAG_WORKLOAD, "    W: 8\n", "    W: 0\n", "[0].operand_precision: needs the bits of W"),
        (ZIGZAG_WORKLOAD, "    O: 16\n", "", "[0].operand_precision: the key O is missing"),
        (
            ZIGZAG_WORKLOAD,
            "operator_type",
            "operator_typ",
            "line 1, [0]: unknown key operator_typ; did you mean operator_type?",
        ),
        (ZIGZAG_WORKLOAD, "name: example", "name: conv_2 #", "two layers have the name conv_2"),
        (
            ZIGZAG_WORKLOAD,
            "    W: 8\n",
            "    W: 8\n    W: 4\n",
            "[0].operand_precision.W: the key W stands twice, on lines 9 and 10",
        ),
        (ZIGZAG_GEMM, "W[d2][d1]", "W[d2][d7]", "[0].loop_dims: lacks D7, which the equation uses"),
        (ZIGZAG_GEMM, "W[d2][d1]", "W[d2]", "[0].equation: the index d1 occurs in one operand only"),
        (ZIGZAG_GEMM, "[D0, D1, D2]", "[D0, D1]", "[0].loop_sizes: must have one size each for D0, D1, not 3"),
        (ZIGZAG_GEMM, "[D0, D1, D2]", "[D0, D1, D1]", "[0].loop_dims: names a dimension twice"),
        (ZIGZAG_GEMM, "- id: 0", "- id: zero", "[0].id: must be an integer, not zero"),
        (
            ZIGZAG_GEMM,
            "- id: 0",
            "- id: 0\n  pr_loop_dims: [IX]\n  pr_loop_sizes: [3]",
            "IX is not defined by dimension_relations",
        ),
        (
            ZIGZAG_GEMM,
            "- id: 0",
            "- id: 0\n  padding: [[1, 1]]",
            "[0].padding: must have one entry for each of pr_loop_dims",
        ),
    ],
)
def test_zigzag_workloads(tmp_path, text, old, new, expected):
    check_changed(load_workload, tmp_path / "w.yaml", text, old, new, expected)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "- K, 32",
            "- K 32",
            "c.yaml, line 4, [0].spatial_mapping.D1[0]: must be like 'K, 32' (loop dimension, factor)",
        ),
        ("- K, 32", "- K, 0", "[0].spatial_mapping.D1[0]: the factor must be at least 1, not 0"),
        ("- K, 32", "- K, 32\n      - K, 2", "[0].spatial_mapping.D1[1]: unrolls K twice"),
        ("name: Add", "name: default", "[1].name: two entries have the name default"),
        ("[OX, 112]", "[OX]", "[3].temporal_ordering[0]: must be a pair [loop dimension, factor]"),
        ("[OX, 112]", "[OX, x]", "must be a positive integer, not x (or '*' for all that remain)"),
        ("W: I2", "W: I1", "[0].memory_operand_links: only O: O, W: I2, I: I1 is supported"),
        ("spatial_mapping", "spatial_maping", "[0]: unknown key spatial_maping; did you mean spatial_mapping?"),
        ("- name: default", "- nam: default", "[0]: unknown key nam; did you mean name?"),
    ],
)
def test_zigzag_mappings(tmp_path, old, new, expected):
    check_changed(load_constraints, tmp_path / "c.yaml", ZIGZAG_MAPPING, old, new, expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("allowed: {D1: K}", "line 1, allowed.D1: must be a list of loop dimensions, not K"),
        ("allowed: {D1: [Q]}", "allowed.D1: unknown loop dimension Q"),
        (
            "\nmin_array_utilization: 1.5",
            "line 2, min_array_utilization: must be a number above 0 and at most 1, not 1.5",
        ),
        ("lpf_limit: 3", "unknown key lpf_limit; did you mean loop_factor_limit?"),
        ("loop_factor_limit: 0", "loop_factor_limit: must be a positive integer, not 0"),
        ("layers: {a: {allowd: 3}}", "layers.a: unknown key allowd; did you mean allowed?"),
        ("layers: 3", "layers: must be a mapping of layer names to constraints, not 3"),
        ("temporal: [[K]]", "temporal[0]: must be a pair [loop dimension, factor], not a list of 1"),
        ("spatial: {D1: {K: 0}}", "spatial.D1.K: must be a positive integer, not 0"),
        ("7", "must be a mapping (key: value), not 7"),
        ("[]", "lists no entries"),
    ],
)
def test_our_constraints(tmp_path, text, expected):
    assert expected in complaint(load_constraints, tmp_path / "c.yaml", text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("spatial: {D1: {K: 64}}", "m.yaml, line 1: the key temporal is missing"),
        ("temporal: []", "the key spatial is missing"),
        ("spatial: {}\ntemporal: []\nalloc: 3", "unknown key alloc"),
        ("spatial: {D1: {K: 0}}\ntemporal: []", "line 1, spatial.D1.K: must be a positive integer, not 0"),
        ("spatial: {D1: {Q: 1}}\ntemporal: []", "spatial.D1.Q: unknown loop dimension Q"),
        ("spatial: {D1: 3}\ntemporal: []", "spatial.D1: must be a mapping of loop dimensions to factors, like {K: 64}"),
        ("spatial: 3\ntemporal: []", "spatial: must be a mapping of array dimensions to {loop dimension: factor}"),
        ("spatial:\ntemporal: []", "spatial"),
        ("spatial: {}\ntemporal: [[K, 2, 3]]", "line 2, temporal[0]: must be a pair [loop dimension, factor]"),
        ("spatial: {}\ntemporal: [[K, -2]]", "temporal[0]: must be a positive integer, not -2"),
        ("spatial: {}\ntemporal: {K: 2}", "temporal: must be a list of [loop dimension, factor], innermost first"),
        ("spatial: {}\ntemporal: []\nallocation: {X: [1]}", "line 3, allocation: unknown operand X (known: W, I, O)"),
        (
            "spatial: {}\ntemporal: []\nallocation: {W: 1}",
            "allocation.W: must be a list with one number per memory level",
        ),
        (
            "spatial: {}\ntemporal: []\nallocation: {W: [1.5]}",
            "allocation.W: must be an integer of at least 0, not 1.5",
        ),
    ],
)
def test_our_mappings(tmp_path, text, expected):
    assert expected in complaint(load_mapping, tmp_path / "m.yaml", text)


#: Some builds of libyaml have a limit of their own, and reach it first.
DEEP = ("is nested more than 50 levels deep", "line 1: is not valid YAML: exceeded maximum nesting depth")

LAUGHS = "a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]\n" for level in range(1, 9)
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "x.yaml: is empty"),
        ("# nothing\n", "x.yaml: is empty"),
        ("---\n...\n", "x.yaml: is empty"),
        ("a: [", "line 1: is not valid YAML"),
        ("a: {b: 1", "is not valid YAML"),
        ("%&*", "is not valid YAML"),
        ("x: &a [*a]", "line 1: the alias *a refers to itself"),
        ("x: *b", "line 1: the alias *b has no anchor &b before it"),
        ("a: !!python/object/apply:os.system [ls]", "the tag !!python/object/apply:os.system is not known"),
        ("a: !secret 3", "the tag !secret is not known"),
        ("a: 1\n--- \nb: 2", "line 2: a second document starts here; a file holds one"),
        (b"a: 1\nb: \x80", "line 2: is not UTF-8 text (byte 0x80)"),
        (b"\xff\xfe\x00", "is not UTF-8 text"),
        (b"a: 1\nb: \x00", "line 2: holds a character that YAML does not allow"),
        ("[" * 60, "is nested more than 50 levels deep"),
        ("[" * 100_000, DEEP),
        ("a: " + "{a: " * 200, "is nested more than 50 levels deep"),
        ("".join(" " * level + "a:\n" for level in range(300)), "is nested more than 50 levels deep"),
        (LAUGHS, "holds more than 500000 values, aliases written out"),
        ("a: &a [1]\nb: &b {<<: *a}", "<< takes a mapping"),
        ("? [1, 2]\n: 3", "a mapping or list cannot be a key"),
        ("? {a: 1}\n: 3", "a mapping or list cannot be a key"),
        ("a: 1\nb: 2\na: 3", "stands twice"),
        ("x" * (17 * 2**20), "and at most 16777216 are read"),
    ],
)
@pytest.mark.parametrize("load", [load_architecture, load_workload, load_constraints, load_mapping])
def test_odd_files(tmp_path, load, text, expected):
    if expected == "stands twice" and load is load_architecture:
        text = "array: 1\narray: 2"
    found = complaint(load, tmp_path / "x.yaml", text)
    assert any(each in found for each in (expected if isinstance(expected, tuple) else (expected,)))


@pytest.mark.parametrize("load", [load_architecture, load_workload, load_constraints, load_mapping])
def test_missing_and_unreadable_files(tmp_path, load):
    for path, expected in (
        (tmp_path / "none.yaml", "there is no file"),
        (tmp_path, "is a directory, not a file"),
        (Path("/dev/null"), "is not an ordinary file"),
    ):
        with pytest.raises(InputError, match=expected):
            load(path)
    for name in ("a\0b.yaml", "x" * 5000 + ".yaml"):
        with pytest.raises(InputError):
            load(name)


# ---------------------------------------------------------------------------------------------------------------------
# Garbage

LOADERS = {
    "architecture": (load_architecture, Architecture),
    "workload": (load_workload, Workload),
    "constraints": (load_constraints, ConstraintSet),
    "mapping": (load_mapping, Mapping),
}
FILES = {
    "ours/architecture": OUR_ARCHITECTURE,
    "ours/architecture/4level": zoo.text("architecture", "aimc_4level"),
    "ours/workload": OUR_WORKLOAD,
    "ours/constraints": OUR_CONSTRAINTS,
    "ours/mapping": OUR_MAPPING,
    "zigzag/architecture": ACCELERATOR,
    "zigzag/workload": ZIGZAG_WORKLOAD[: ZIGZAG_WORKLOAD.index("- id: 5")],
    "zigzag/workload/gemm": ZIGZAG_GEMM,
    "zigzag/constraints": ZIGZAG_MAPPING,
}
LAYERS = (
    Layer(name="conv1", K=16, C=3, OX=32, OY=32, FX=3, FY=3, input_x=32, input_y=32),
    Layer(name="fc", K=10, C=64, sliding_window=False),
    Layer(name="dw", G=8, OX=5, FX=3),
)
AIMC = load_architecture("aimc")

fuzz = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.fixture(scope="module")
def scratch(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("garbage")


def survives(kind: str, path: Path, content: bytes) -> bool:
    """Load the content, and use what comes out; the user's mistakes must come as our errors. True: it was valid."""
    load, expected = LOADERS[kind]
    path.write_bytes(content)
    problem = None
    try:
        found = load(path)
        assert isinstance(found, expected)
        use(found)
    except FastmapError as error:
        problem = str(error)
    if problem is None:
        return True
    assert problem
    assert problem.isprintable()
    return False


def use(found: object) -> None:
    """Call what others call on a loaded object."""
    if isinstance(found, Architecture):
        assert all(isinstance(sentence, str) for sentence in found.warnings)
        assert found.cell_group_depth >= 1
        assert found.array.cycles_per_operation >= 1
        for operand in "WIO":
            assert all(memory.port(operand, way) is not None for memory, way in found.needed_transfers(operand))
    elif isinstance(found, Workload):
        assert found.macs >= len(found) > 0
        assert all(layer.clip_x >= 1 and layer.clip_y >= 1 and layer.kind for layer in found)
    elif isinstance(found, Mapping):
        assert Mapping.from_dict(found.to_dict()) == found
        for layer in LAYERS:
            with contextlib.suppress(MappingError):
                found.check(layer, AIMC)
    elif isinstance(found, ConstraintSet):
        for layer in LAYERS:
            found.for_layer(layer, AIMC)


def test_the_originals_are_valid(scratch):
    for name, text in FILES.items():
        load, expected = LOADERS[name.split("/")[1]]
        path = scratch / "original.yaml"
        path.write_text(text, encoding="utf-8")
        assert isinstance(load(path), expected)


@pytest.mark.parametrize("kind", LOADERS)
@fuzz
@given(
    content=st.one_of(st.binary(max_size=200), st.text(max_size=200).map(lambda text: text.encode("utf-8", "replace")))
)
def test_random_bytes_and_text(scratch, kind, content):
    assert not survives(kind, scratch / "f.yaml", content) or kind == "constraints"


@pytest.mark.parametrize("kind", LOADERS)
@fuzz
@given(content=st.text(alphabet="abKC01:-[]{},&*!|>'\"#%@ \n\t<?~.=", max_size=120))
def test_random_yaml_punctuation(scratch, kind, content):
    survives(kind, scratch / "f.yaml", content.encode())


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**25), 10**25),
    st.sampled_from([0, 1, -1, 2**31, 2**53, 2**63, 2**64, 10**400]),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["K", "W", "O", "D1", "all", "none", "I1, fh", "K, 4", "O tl", "*", "Add", "default", "cells"]),
)
KEYS = st.one_of(
    st.text(max_size=6),
    st.sampled_from(
        [
            "name",
            "array",
            "memories",
            "layers",
            "spatial",
            "temporal",
            "allocation",
            "operational_array",
            "K",
            "D1",
            "W",
        ]
    ),
)
structures = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=12
)


@pytest.mark.parametrize("kind", LOADERS)
@fuzz
@given(data=structures)
def test_random_structures(scratch, kind, data):
    survives(kind, scratch / "f.yaml", yaml.safe_dump(data, allow_unicode=True).encode("utf-8", "replace"))


def places(data: object, where: tuple[object, ...] = ()) -> list[tuple[object, ...]]:
    """Return the paths to all values inside."""
    found = [where] if where else []
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in items:
        found += places(value, (*where, key))
    return found


@st.composite
def mutated(draw, text: str) -> object:
    """Return the data of a valid file with one to three things wrong."""
    data = copy.deepcopy(yaml.safe_load(text))
    for _ in range(draw(st.sampled_from([1, 1, 2, 3]))):
        paths = places(data)
        if not paths:
            break
        *above, last = draw(st.sampled_from(paths))
        parent = data
        for step in above:
            parent = parent[step]
        action = draw(st.sampled_from(["delete", "replace", "number", "rename", "wrap", "copy", "misspell"]))
        if action == "delete":
            del parent[last]
        elif action == "replace":
            parent[last] = draw(structures)
        elif action == "number":
            old = parent[last]
            new = [0, -1, 1.5, 2, 7, 1e300, 10**30, True, "8", None, [8], {"K": 8}]
            if isinstance(old, int):
                new += [-old, old + 1, old * 2, old // 2]
            parent[last] = draw(st.sampled_from(new))
        elif action in ("rename", "misspell") and isinstance(parent, dict):
            name = draw(KEYS) if action == "rename" else str(last)[:-1]
            parent[name] = parent.pop(last)
        elif action == "copy":
            parent[last] = copy.deepcopy(draw(st.sampled_from([parent, data])))
        else:
            parent[last] = [parent[last]]
    return data


@pytest.mark.parametrize("name", FILES)
@fuzz
@given(data=st.data())
def test_mutated_files(scratch, name, data):
    changed = data.draw(mutated(FILES[name]))
    survives(
        name.split("/")[1], scratch / "f.yaml", yaml.safe_dump(changed, sort_keys=False).encode("utf-8", "replace")
    )


@pytest.mark.parametrize("name", FILES)
@fuzz
@given(data=st.data())
def test_damaged_text(scratch, name, data):
    """Cut, repeat, swap and overwrite pieces of a valid file's text."""
    content = FILES[name].encode()
    start, end = sorted(data.draw(st.tuples(*[st.integers(0, len(content))] * 2)))
    piece = content[start : min(end, start + 40)]
    junk = data.draw(
        st.one_of(st.binary(max_size=6), st.just(piece), st.just(piece[::-1]), st.sampled_from([b"\t", b": ", b"-"]))
    )
    survives(name.split("/")[1], scratch / "f.yaml", content[:start] + junk + content[start + len(piece) :])


@fuzz
@given(data=mutated(OUR_MAPPING))
def test_mutated_mappings_as_json_and_as_objects(scratch, data):
    survives("mapping", scratch / "f.json", json.dumps(data).encode())
    with contextlib.suppress(FastmapError):
        Mapping.from_dict(data).check(LAYERS[0], AIMC)


@fuzz
@given(
    fields=st.dictionaries(
        st.sampled_from(["K", "C", "OX", "FX", "stride_x", "padding_x", "sizes", "name"]), structures
    )
)
def test_layers_from_anything(fields):
    with contextlib.suppress(FastmapError):
        assert Layer(**fields).macs >= 1


def test_damaged_onnx_models(scratch):
    pytest.importorskip("onnx", reason="needs the extra onnx")
    content = (ZIGZAG / "workload" / "resnet18.onnx").read_bytes()
    path = scratch / "m.onnx"

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.integers(0, len(content)), st.binary(max_size=30), st.integers(0, 40), st.booleans())
    def damage(at, junk, removed, truncated):
        path.write_bytes(content[:at] + junk + (b"" if truncated else content[at + removed :]))
        with contextlib.suppress(FastmapError):
            assert load_workload(path).macs > 0

    damage()
