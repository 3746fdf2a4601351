"""Reading ONNX models: dimensions, axes, groups, edges, and models that cannot be read."""

from __future__ import annotations

from pathlib import Path

import pytest

from fastmap.errors import InputError
from fastmap.loading import load_workload

onnx = pytest.importorskip("onnx", reason="needs the extra onnx")

ZIGZAG = Path(__file__).parent / "data" / "zigzag"


class TestOnnx:
    def save(self, path, nodes, inputs, outputs, weights, values=()):
        """Write a model; ``weights`` maps names to shapes."""
        helper, floats = onnx.helper, onnx.TensorProto.FLOAT
        tensors = [
            helper.make_tensor(name, floats, shape, [0.0] * max(1, _product(shape))) for name, shape in weights.items()
        ]
        graph = helper.make_graph(
            [helper.make_node(op, ins, outs, name=name, **attributes) for op, ins, outs, name, attributes in nodes],
            "g",
            [helper.make_tensor_value_info(name, floats, shape) for name, shape in inputs.items()],
            [helper.make_tensor_value_info(name, floats, shape) for name, shape in outputs.items()],
            tensors,
            value_info=[helper.make_tensor_value_info(name, floats, shape) for name, shape in dict(values).items()],
        )
        path.write_bytes(helper.make_model(graph).SerializeToString())
        return path

    def test_resnet18(self):
        net = load_workload(ZIGZAG / "workload" / "resnet18.onnx")
        assert len(net) == 21
        assert net.macs == 1_814_073_344
        first = net["/conv1/Conv"]
        assert first.dimension_order == ("B", "K", "G", "OX", "OY", "C", "FX", "FY")
        assert (first.clip_x, first.stride_x, first.padding_x, first.size("FX")) == (224, 2, (3, 3), 7)
        assert (first.weight_bits, first.input_bits, first.output_bits, first.output_final_bits) == (8, 8, 16, 8)
        last = net["/fc/Gemm"]
        assert last.sizes == {"C": 512, "B": 1, "K": 1000}
        assert not last.sliding_window
        assert net.sources["/layer1/layer1.0/Add"] == ("/layer1/layer1.0/conv2/Conv", "/maxpool/MaxPool")
        assert net.skipped["/maxpool/MaxPool"] == "MaxPool"

    def test_rectangular_kernels_keep_their_axes_without_stated_shapes(self, tmp_path):
        path = self.save(
            tmp_path / "m.onnx",
            [("Conv", ["x", "w"], ["y"], "", {"strides": [1, 2], "dilations": [3, 1], "pads": [1, 0, 2, 3]})],
            {"x": ["N", 4, 20, 30]},
            {"y": None},
            {"w": [8, 4, 1, 7]},
        )
        (layer,) = load_workload(path)
        assert layer.name == "conv_0"
        assert layer.sizes == {"B": 1, "K": 8, "G": 1, "OX": 14, "OY": 23, "C": 4, "FX": 7, "FY": 1}
        assert (layer.stride_x, layer.stride_y, layer.dilation_x, layer.dilation_y) == (2, 1, 1, 3)
        assert (layer.padding_x, layer.padding_y) == ((0, 3), (1, 2))
        assert (layer.clip_x, layer.clip_y) == (30, 20)

    @pytest.mark.parametrize(
        ("group", "weights", "sizes", "kind"),
        [
            (1, [8, 4, 3, 3], {"K": 8, "G": 1, "C": 4}, "conv"),
            (2, [8, 2, 3, 3], {"K": 4, "G": 2, "C": 2}, "conv"),
            (4, [4, 1, 3, 3], {"K": 1, "G": 4, "C": 1}, "depthwise"),
            (4, [8, 1, 3, 3], {"K": 2, "G": 4, "C": 1}, "conv"),
        ],
    )
    def test_groups(self, tmp_path, group, weights, sizes, kind):
        path = self.save(
            tmp_path / "m.onnx",
            [("Conv", ["x", "w"], ["y"], "c", {"group": group, "auto_pad": "SAME_UPPER"})],
            {"x": [1, 4, 6, 6]},
            {"y": [1, weights[0], 6, 6]},
            {"w": weights},
        )
        (layer,) = load_workload(path)
        assert {dim: layer.size(dim) for dim in sizes} == sizes
        assert layer.kind == kind
        assert layer.padding_x == (1, 1)

    def test_convolution_along_one_axis(self, tmp_path):
        path = self.save(
            tmp_path / "m.onnx",
            [("Conv", ["x", "w"], ["y"], "c", {"strides": [2]})],
            {"x": [1, 4, 21]},
            {"y": [1, 8, 9]},
            {"w": [8, 4, 5]},
        )
        (layer,) = load_workload(path)
        assert (layer.size("OX"), layer.size("FX"), layer.stride_x, layer.clip_x) == (9, 5, 2, 21)
        assert (layer.size("OY"), layer.size("FY"), layer.stride_y) == (1, 1, 1)

    @pytest.mark.parametrize(
        ("left", "right", "made", "constant", "sizes"),
        [
            ([5, 6], [6, 7], [5, 7], "b", {"C": 6, "B": 5, "K": 7}),
            ([2, 3, 5, 6], [6, 7], [2, 3, 5, 7], "b", {"C": 6, "B": 30, "K": 7}),
            ([2, 3, 5, 6], [2, 3, 6, 7], [2, 3, 5, 7], "", {"C": 6, "B": 5, "K": 7, "G": 6}),
            ([2, 3, 5, 6], [3, 6, 7], [2, 3, 5, 7], "", {"C": 6, "B": 10, "K": 7, "G": 3}),
            ([5, 6], [2, 6, 7], [2, 5, 7], "a", {"C": 6, "B": 14, "K": 5}),
            ([6], [6, 7], [7], "b", {"C": 6, "B": 1, "K": 7}),
        ],
    )
    def test_matrix_products(self, tmp_path, left, right, made, constant, sizes):
        shapes = {"a": left, "b": right}
        path = self.save(
            tmp_path / "m.onnx",
            [("MatMul", ["a", "b"], ["y"], "mm", {})],
            {name: shape for name, shape in shapes.items() if name != constant},
            {"y": made},
            {name: shape for name, shape in shapes.items() if name == constant},
        )
        (layer,) = load_workload(path)
        assert layer.sizes == sizes
        assert layer.operand_order == ("O", "I", "W")

    def test_transposed_gemm(self, tmp_path):
        path = self.save(
            tmp_path / "m.onnx",
            [("Gemm", ["a", "b", "c"], ["y"], "fc", {"transA": 1, "transB": 1})],
            {"a": [6, 5]},
            {"y": [5, 7]},
            {"b": [7, 6], "c": [7]},
        )
        (layer,) = load_workload(path)
        assert layer.sizes == {"C": 6, "B": 5, "K": 7}

    def test_skipped_nodes_constants_and_edges(self, tmp_path):
        path = self.save(
            tmp_path / "m.onnx",
            [
                ("Transpose", ["w"], ["wt"], "reorder", {"perm": [1, 0]}),
                ("Gemm", ["x", "wt"], ["a"], "fc1", {}),
                ("Relu", ["a"], ["b"], "", {}),
                ("Gemm", ["b", "v"], ["c"], "fc2", {}),
                ("Add", ["c", "a"], ["d"], "sum", {}),
                ("Mystery", ["d"], ["e"], "odd", {"domain": "acme"}),
            ],
            {"x": [1, 6]},
            {"e": None},
            {"w": [4, 6], "v": [4, 4]},
            {"wt": [6, 4], "a": [1, 4], "b": [1, 4], "c": [1, 4]},
        )
        net = load_workload(path)
        assert net.nodes == ("fc1", "relu_2", "fc2", "sum", "odd")
        assert net.skipped == {"relu_2": "Relu", "sum": "Add", "odd": "Mystery"}
        assert net.sources == {"relu_2": ("fc1",), "fc2": ("relu_2",), "sum": ("fc2", "fc1"), "odd": ("sum",)}

    def test_three_spatial_dimensions_are_skipped_with_a_word(self, tmp_path):
        path = self.save(
            tmp_path / "m.onnx",
            [("Conv", ["x", "w"], ["y"], "c3", {}), ("MatMul", ["y", "v"], ["z"], "mm", {})],
            {"x": [1, 4, 6, 6, 6]},
            {"z": [1, 8, 4, 4, 5]},
            {"w": [8, 4, 3, 3, 3], "v": [4, 5]},
            {"y": [1, 8, 4, 4, 4]},
        )
        assert load_workload(path).skipped == {"c3": "Conv with 3 spatial dimensions"}

    @pytest.mark.parametrize(
        ("nodes", "words"),
        [
            ([("Relu", ["x"], ["y"], "r", {})], "none of its 1 nodes maps to an array"),
            ([("Conv", ["x", "q"], ["y"], "c", {})], "node c: has neither the attribute kernel_shape nor weights"),
            ([("Conv", ["q", "w"], ["y"], "c", {})], "node c: the shape of its input q is not known"),
            ([("Gemm", ["x", "w"], ["y"], "c", {})], "node c: multiplies a tensor of 4 by one of 4 dimensions"),
            ([("Conv", ["x", "w"], ["y"], "c", {"group": 3})], "group 3 does not divide the 4 input and 8 output"),
            ([("Conv", ["x", "w"], ["y"], "c", {"strides": [0, 1]})], "strides must have 2 positive numbers"),
            ([("Conv", ["x", "w"], ["y"], "c", {"kernel_shape": [3]})], "kernel_shape must have 2 positive numbers"),
        ],
    )
    def test_refuses(self, tmp_path, nodes, words):
        path = self.save(tmp_path / "m.onnx", nodes, {"x": [1, 4, 6, 6]}, {"y": [1, 8, 6, 6]}, {"w": [8, 4, 3, 3]})
        with pytest.raises(InputError) as caught:
            load_workload(path)
        assert words in str(caught.value)

    @pytest.mark.parametrize("data", [b"", b"\x00" * 50, b"name: x", bytes(range(256)) * 4])
    def test_other_files(self, tmp_path, data):
        path = tmp_path / "m.onnx"
        path.write_bytes(data)
        with pytest.raises(InputError, match="is not an ONNX model"):
            load_workload(path)

    def test_missing_files(self, tmp_path):
        with pytest.raises(InputError, match="cannot be read: No such file"):
            load_workload(tmp_path / "m.onnx")
        (tmp_path / "d.onnx").mkdir()
        with pytest.raises(InputError, match="cannot be read: Is a directory"):
            load_workload(tmp_path / "d.onnx")


def _product(shape):
    size = 1
    for part in shape:
        size *= part
    return size
