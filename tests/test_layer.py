"""Layers and workloads as objects: what they compute, and what they refuse."""

from __future__ import annotations

import copy
import math
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastmap.dimensions import DEFAULT_ORDER
from fastmap.errors import FastmapError, InputError
from fastmap.layer import Layer, input_extent
from fastmap.workload import Workload

small = st.integers(1, 6)


def touched(outputs: int, taps: int, stride: int, dilation: int) -> int:
    """Count the inputs that a window touches, one by one."""
    return len({stride * o + dilation * t for o in range(outputs) for t in range(taps)})


class TestExtent:
    @given(outputs=small, taps=small, stride=small)
    def test_is_the_number_of_inputs_touched(self, outputs, taps, stride):
        assert input_extent(outputs, taps, stride, 1) == touched(outputs, taps, stride, 1)

    @given(outputs=small, taps=small, stride=small, dilation=small)
    def test_with_dilation_is_right_for_enough_outputs_and_too_large_below(self, outputs, taps, stride, dilation):
        exact = touched(outputs, taps, stride, dilation)
        counted = input_extent(outputs, taps, stride, dilation)
        if outputs >= dilation // math.gcd(stride, dilation):
            assert counted == exact
        else:
            assert counted >= exact

    def test_the_known_overcount(self):
        assert input_extent(1, 3, 1, 2) == 5  # 3 are touched


class TestLayer:
    def test_keywords_take_the_default_order(self):
        layer = Layer(FX=3, C=64, K=32, OX=56, B=2)
        assert layer.dimension_order == ("B", "K", "OX", "C", "FX")
        assert [dim for dim in DEFAULT_ORDER if dim in layer.dimension_order] == list(layer.dimension_order)

    def test_sizes_keep_their_order(self):
        layer = Layer(sizes={"C": 2, "B": 3, "K": 4})
        assert layer.dimension_order == ("C", "B", "K")
        assert layer.size("K") == 4
        assert layer.size("OX") == 1

    def test_defaults(self):
        layer = Layer(K=1)
        assert (layer.weight_bits, layer.input_bits, layer.output_bits, layer.output_final_bits) == (8, 8, 16, 8)
        assert layer.operand_order == ("O", "W", "I")
        assert layer.sliding_window
        assert Layer(K=1, output_bits=24).output_final_bits == 8

    def test_a_matrix_product_names_its_input_first(self):
        layer = Layer(K=4, C=3, sliding_window=False)
        assert layer.operand_order == ("O", "I", "W")
        assert layer.operator == "Gemm"

    @pytest.mark.parametrize(
        ("layer", "kind"),
        [
            (Layer(K=4, C=4, OX=8, FX=3), "conv"),
            (Layer(K=4, C=4, OX=8), "pointwise"),
            (Layer(G=4, OX=8, FX=3), "depthwise"),
            (Layer(G=2, K=4, C=4, OX=8, FX=3), "conv"),
            (Layer(K=4, C=4), "dense"),
            (Layer(B=7, K=4, C=4, sliding_window=False), "dense"),
        ],
    )
    def test_kind(self, layer, kind):
        assert layer.kind == kind

    def test_macs(self):
        assert Layer(K=64, C=3, OX=112, OY=112, FX=7, FY=7).macs == 64 * 3 * 112 * 112 * 49

    def test_clip_is_the_true_input_size_where_given(self):
        layer = Layer(OX=112, FX=7, stride_x=2, padding_x=3, input_x=224)
        assert layer.clip_x == 224
        assert Layer(OX=112, FX=7, stride_x=2, padding_x=3).clip_x == 229 - 6
        assert layer.clip_y == 1

    def test_padding_may_be_one_number(self):
        assert Layer(OX=8, FX=3, padding_x=1).padding_x == (1, 1)

    def test_equal_layers_have_equal_signatures_whatever_their_names(self):
        one, other = Layer(name="a", K=3, C=2), Layer(name="b", K=3, C=2)
        assert one.signature == other.signature
        assert one.signature != Layer(C=2, K=4).signature
        assert one != other
        assert len({one, Layer(name="a", K=3, C=2)}) == 1

    def test_survives_pickling_and_copying(self):
        layer = Layer(K=3, OX=5, FX=3, name="x")
        assert pickle.loads(pickle.dumps(layer)) == layer
        assert copy.deepcopy(layer) == layer
        assert Layer.model_validate_json(layer.model_dump_json()) == layer

    def test_is_immutable(self):
        with pytest.raises(Exception, match="frozen"):
            Layer(K=3).stride_x = 2

    @pytest.mark.parametrize(
        ("fields", "words"),
        [
            ({"K": -1}, ["layer, sizes.K", "must be a positive integer, not -1"]),
            ({"K": 0}, ["sizes.K"]),
            ({"K": 2.5}, ["sizes.K", "2.5"]),
            ({"K": True}, ["sizes.K", "true"]),
            ({"K": "3"}, ["sizes.K", "not the text '3'"]),
            ({"K": 10**40}, ["sizes.K", "between 1 and"]),
            ({}, ["at least one loop dimension"]),
            ({"sizes": {"Q": 3}}, ["unknown loop dimension Q"]),
            ({"sizes": {"ox": 3}}, ["did you mean OX?"]),
            ({"sizes": [3]}, ["must be a mapping of loop dimensions to sizes"]),
            ({"sizes": {"K": 3}, "C": 4}, ["not both"]),
            ({"K": 3, "strid_x": 2}, ["unknown key strid_x; did you mean stride_x?"]),
            ({"K": 3, "stride_x": 0}, ["stride_x", "must be a positive integer, not 0"]),
            ({"K": 3, "weight_bits": 0}, ["weight_bits", "number of bits"]),
            ({"K": 3, "OX": 4, "sliding_window": False}, ["without sliding window", "OX must be 1"]),
            ({"K": 3, "operand_order": ("I", "O", "W")}, ["operand_order", "O first"]),
            ({"K": 3, "operand_order": ("O", "W")}, ["operand_order"]),
            ({"OX": 4, "FX": 3, "padding_x": 3}, ["padding_x", "less than the input extent 6"]),
            ({"OX": 4, "FX": 3, "padding_x": (1, -1)}, ["padding_x"]),
            ({"K": 2**30, "C": 2**30}, ["more than 2**53"]),
            ({"K": 3, "name": ""}, ["name"]),
            ({"K": 3, "name": "a\nb"}, ["name", "printable"]),
        ],
    )
    def test_refuses(self, fields, words):
        with pytest.raises(InputError) as caught:
            Layer(**fields)
        for word in words:
            assert word in str(caught.value)

    def test_the_error_can_be_pickled(self):
        with pytest.raises(InputError) as caught:
            Layer(K=-1)
        assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


class TestWorkload:
    layers = (Layer(name="a", K=2), Layer(name="b", K=3))

    def test_is_a_sequence_with_names(self):
        net = Workload(name="net", layers=self.layers)
        assert [layer.name for layer in net] == ["a", "b"]
        assert len(net) == 2
        assert net["b"] is net[1]
        assert net[-1] is net["b"]
        assert net.macs == 5
        assert net.nodes == ("a", "b")
        assert "a" in net
        assert "c" not in net

    def test_unknown_names_suggest_the_closest(self):
        net = Workload(name="net", layers=(Layer(name="conv1", K=2),))
        with pytest.raises(FastmapError, match=r"net has no layer conv2; did you mean conv1\? \(its layers: conv1\)"):
            net["conv2"]
        with pytest.raises(IndexError):
            net[1]

    def test_edges_through_skipped_nodes(self):
        net = Workload(layers=self.layers, skipped={"add": "Add"}, sources={"add": ("a", "b")}, nodes=("a", "b", "add"))
        assert net.sources["add"] == ("a", "b")
        assert net.nodes == ("a", "b", "add")

    @pytest.mark.parametrize(
        ("fields", "words"),
        [
            ({"layers": ()}, "has no layer"),
            ({"layers": (layers[0], layers[0])}, "two layers have the name a"),
            ({"layers": layers, "skipped": {"a": "Add"}}, "a is a layer and a skipped node"),
            ({"layers": layers, "sources": {"a": ("c",)}}, "there is no node c"),
            ({"layers": layers, "sources": {"c": ("a",)}}, "there is no node c"),
            ({"layers": layers, "nodes": ("a",)}, "every layer and every skipped node once"),
        ],
    )
    def test_refuses(self, fields, words):
        with pytest.raises(InputError, match=words):
            Workload(**fields)
