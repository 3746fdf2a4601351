"""Architectures as objects: chains, roles of array dimensions, and the rules that a hierarchy must obey."""

from __future__ import annotations

from typing import Any

import pytest

from fastmap.architecture import Architecture, Array, Memory, Port
from fastmap.errors import InputError

FULL = {"rd_out_to_low", "wr_in_by_low", "rd_out_to_high", "wr_in_by_high"}


def memory(name: str, operands: str, size: int, bandwidth: int = 8, **changes: Any) -> dict[str, Any]:
    """A memory with one shared port that carries everything."""
    transfers = [
        (operand, direction)
        for operand in operands
        for direction in sorted(FULL)
        if operand == "O" or direction in ("rd_out_to_low", "wr_in_by_high")
    ]
    return {
        "name": name,
        "size_bits": size,
        "read_energy_pj": 1.0,
        "write_energy_pj": 1.0,
        "operands": tuple(operands),
        "ports": (
            {
                "name": "p",
                "kind": "read_write",
                "bandwidth_min_bits": bandwidth,
                "bandwidth_max_bits": bandwidth,
                "transfers": tuple(transfers),
            },
        ),
        "serves": ("D1", "D2"),
        **changes,
    }


def parts(**array: Any) -> dict[str, Any]:
    """A small digital architecture as plain data, to be changed by the tests."""
    return {
        "name": "small",
        "array": {"kind": "digital", "dimensions": {"D1": 4, "D2": 8}, **array},
        "memories": [
            memory("cells", "W", 8, serves=()),
            memory("regs", "I", 8, serves=("D1",)),
            memory("sram", "IO", 1024),
            memory("dram", "WIO", 10**9),
        ],
    }


def refused(data: dict[str, Any]) -> str:
    with pytest.raises(InputError) as caught:
        Architecture(**data)
    return str(caught.value)


def test_chains_are_listed_innermost_first():
    arch = Architecture(**parts())
    assert arch.chain("W") == (0, 3)
    assert arch.chain("I") == (1, 2, 3)
    assert arch.chain("O") == (2, 3)
    assert arch.memory("sram").size_bits == 1024
    assert arch.warnings == ()


def test_unknown_memory():
    with pytest.raises(
        InputError, match=r"small has no memory srm; did you mean sram\? \(its memories: cells, regs, sram, dram\)"
    ):
        Architecture(**parts()).memory("srm")


def test_array_dimensions_get_their_role_by_name():
    array = Array(kind="digital", dimensions={"D3": 2, "D2": 8, "D1": 4, "D4": 3}, activation_bits=8, bits_per_cycle=2)
    assert list(array.dimensions) == ["D1", "D2", "D3", "D4"]
    assert (array.columns, array.rows, array.banks) == (4, 8, 6)
    assert array.cycles_per_operation == 4


def test_plain_mac_array():
    array = Array(kind="mac", dimensions={"D1": 4}, activation_bits=8, bits_per_cycle=2)
    assert (array.columns, array.rows, array.banks, array.cycles_per_operation) == (4, 1, 1, 1)


def test_whole_activations_enter_at_once_unless_said_otherwise():
    assert Array(kind="analog", adc_bits=4, dimensions={"D1": 4, "D2": 8}, activation_bits=6).bits_per_cycle == 6


@pytest.mark.parametrize(("bits", "depth"), [(8, 1), (15, 1), (16, 2), (128, 16)])
def test_cell_groups(bits, depth):
    data = parts()
    data["memories"][0] = memory("cells", "W", bits, serves=())
    assert Architecture(**data).cell_group_depth == depth


def test_mac_arrays_have_no_cell_groups():
    data = parts(kind="mac")
    data["memories"][0] = memory("cells", "W", 128, serves=())
    assert Architecture(**data).cell_group_depth == 1


def test_unused_transfers_of_the_topmost_memory_are_tolerated():
    arch = Architecture(**parts())
    assert arch.memory("dram").port("W", "wr_in_by_high") == 0
    assert ("W", "wr_in_by_high") not in [(o, d) for o in "W" for m, d in arch.needed_transfers(o) if m.name == "dram"]


@pytest.mark.parametrize(
    ("operand", "level", "direction"),
    [
        ("W", "cells", "rd_out_to_low"),
        ("W", "cells", "wr_in_by_high"),
        ("W", "dram", "rd_out_to_low"),
        ("I", "sram", "wr_in_by_high"),
        ("O", "sram", "rd_out_to_low"),
        ("O", "sram", "wr_in_by_low"),
        ("O", "sram", "rd_out_to_high"),
        ("O", "sram", "wr_in_by_high"),
        ("O", "dram", "wr_in_by_low"),
        ("O", "dram", "rd_out_to_low"),
    ],
)
def test_every_needed_transfer_needs_a_port(operand, level, direction):
    data = parts()
    port = next(m for m in data["memories"] if m["name"] == level)["ports"][0]
    port["transfers"] = tuple(t for t in port["transfers"] if t != (operand, direction))
    assert refused(data) == f"architecture, memories.{level}.ports: no port carries {operand} {direction}"


def change(index: int, **changes: Any) -> dict[str, Any]:
    data = parts()
    data["memories"][index].update(changes)
    return data


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (change(2, serves=("D1", "D9")), "memories.sram.serves: there is no array dimension D9 (the array has D1, D2)"),
        (change(2, serves=("D1", "D1")), "names D1 twice"),
        (change(2, operands=()), "stores nothing"),
        (change(2, operands=("I", "I")), "names I twice"),
        (change(2, operands=("X",)), "must be one of W, I, O, not X"),
        (change(2, name="dram"), "two memories have the name dram"),
        (change(2, size_bits=0), "size_bits: must be a positive integer, not 0"),
        (change(2, size_bits=-5), "not -5"),
        (change(2, read_energy_pj=-1), "read_energy_pj: must be a number of at least 0, not -1"),
        (change(2, read_energy_pj=float("nan")), "read_energy_pj"),
        (change(2, read_energy_pj=float("inf")), "read_energy_pj"),
        (change(2, colour="red"), "unknown key colour"),
        (change(0, size_bits=7), "memories.cells.size_bits: must hold at least one weight of 8 bits, not 7"),
        (change(3, size_bits=512), "list memories innermost first: sram (1024 bits) stands before dram (512 bits)"),
        (parts(weight_bits=16), "must hold at least one weight of 16 bits"),
        (parts(kind="analog"), "needs adc_bits"),
        (parts(kind="analog", adc_bits=0), "adc_bits: must be a positive number, not 0"),
        (parts(adc_bits=3), "adc_bits: a digital array has no converters"),
        (parts(kind="neuromorphic"), "must be one of analog, digital, mac, not neuromorphic"),
        (
            parts(dimensions={"D1": 4, "D2": 96}),
            "array.dimensions.D2: the rows of a digital array must be a power of two",
        ),
        (parts(dimensions={"D1": 4}), "at least two dimensions"),
        (parts(dimensions={}), "must be a mapping of array dimensions"),
        (parts(dimensions={"D1": 4, "D2": 0}), "array.dimensions.D2: must be a positive integer, not 0"),
        (parts(dimensions={"D1": 2**20, "D2": 2**20}), "more than 2**31 units"),
        (parts(bits_per_cycle=3), "array.bits_per_cycle: must divide activation_bits (8)"),
        (parts(dimensions={"D1": 4, "D2": 1}), "must be a power of two, at least 2, for its adder trees, not 1"),
        (
            parts(activation_bits=6, bits_per_cycle=3),
            "array.bits_per_cycle: must be a power of two in a digital array, whose place-value adders are binary, not",
        ),
        (
            parts(kind="analog", adc_bits=4, weight_bits=6),
            "array.weight_bits: must be a power of two in an analog array, whose place-value adders are binary, not 6",
        ),
        (parts(bits_per_cycle=16), "array.bits_per_cycle: must divide activation_bits (8)"),
    ],
)
def test_refuses(data, words):
    assert words in refused(data)


def test_an_operand_without_memory():
    data = parts()
    data["memories"] = [memory("cells", "W", 8, serves=()), memory("dram", "WI", 10**6)]
    assert "no memory stores O" in refused(data)


def test_memories_listed_outermost_first():
    data = parts()
    data["memories"].reverse()
    assert "list memories innermost first: dram (1000000000 bits) stands before cells (8 bits)" in refused(data)


def test_cells_store_weights_only():
    data = parts()
    data["memories"] = [memory("all", "WIO", 8), memory("dram", "WIO", 10**6)]
    assert "memories.all.operands: the innermost memory of W holds the weights inside the array" in refused(data)


class TestPorts:
    def port(self, name: str = "a", **changes: Any) -> dict[str, Any]:
        return {
            "name": name,
            "kind": "read_write",
            "bandwidth_min_bits": 8,
            "bandwidth_max_bits": 16,
            "transfers": (("W", "rd_out_to_low"),),
            **changes,
        }

    def refused(self, *ports: dict[str, Any]) -> str:
        with pytest.raises(InputError) as caught:
            Memory(name="m", size_bits=8, read_energy_pj=0, write_energy_pj=0, operands=("W",), ports=ports)
        return str(caught.value)

    def test_bandwidths(self):
        assert "must be a positive integer, not 0" in self.refused(self.port(bandwidth_min_bits=0))
        message = self.refused(self.port(bandwidth_min_bits=32))
        assert "smallest bandwidth (32 bits) is larger than the largest (16 bits)" in message

    def test_a_transfer_on_two_ports_names_both(self):
        assert "W rd_out_to_low is on two ports, a and b" in self.refused(self.port("a"), self.port("b"))

    def test_two_ports_of_one_name(self):
        other = self.port(transfers=(("W", "wr_in_by_high"),))
        assert "two ports have the name a" in self.refused(self.port(), other)

    def test_kind_and_direction(self):
        message = self.refused(self.port(kind="read", transfers=(("W", "wr_in_by_high"),)))
        assert "a read port cannot carry W wr_in_by_high, which writes the memory" in message
        assert "a write port cannot carry W rd_out_to_low, which reads" in self.refused(self.port(kind="write"))

    def test_an_operand_that_is_not_stored(self):
        message = self.refused(self.port(transfers=(("I", "rd_out_to_low"),)))
        assert "carries I, which the memory does not store (it stores W)" in message

    def test_unknown_direction(self):
        assert "must be one of rd_out_to_low" in self.refused(self.port(transfers=(("W", "up"),)))

    def test_nothing_to_carry(self):
        assert "at least one transfer" in self.refused(self.port(transfers=()))

    def test_the_same_transfer_twice(self):
        with pytest.raises(InputError, match="twice"):
            Port(**self.port(transfers=(("W", "rd_out_to_low"),) * 2))


class TestWarnings:
    def test_a_repeated_dram(self):
        data = parts(dimensions={"D1": 4, "D2": 8, "D3": 3})
        data["memories"][2]["serves"] = ("D1", "D2", "D3")
        assert Architecture(**data).warnings == ("memory dram does not serve D3 and is therefore repeated 3 times",)

    def test_registers_at_the_bottom_are_meant_to_be_repeated(self):
        assert Architecture(**parts()).warnings == ()

    def test_a_smaller_memory_above_a_larger_one(self):
        data = parts()
        data["memories"].insert(3, memory("buffer", "I", 64))
        assert "memory buffer is smaller than sram below it" in Architecture(**data).warnings

    def test_weights_that_cannot_be_replaced(self):
        data = parts()
        data["memories"][3] = memory("dram", "IO", 10**9)
        assert any("only the cells store W" in sentence for sentence in Architecture(**data).warnings)

    def test_shared_cells(self):
        data = parts()
        data["memories"][0]["serves"] = ("D2",)
        assert any("share one cell" in sentence for sentence in Architecture(**data).warnings)
