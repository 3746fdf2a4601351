"""ONNX models: convolutions, ``Gemm`` and ``MatMul`` become layers, every other node is kept as a skipped one.

Widths are those that ZigZag assumes: weights, inputs and finished outputs of 8 bits, partial sums of 16.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path as FilePath
from typing import Any

from fastmap._spec import SpecError, shown
from fastmap.errors import InputError
from fastmap.layer import Layer
from fastmap.workload import Workload

#: Operators that become layers, and which of their inputs are the activations and the weights.
CONVOLUTIONS = {"Conv": (0, 1), "ConvInteger": (0, 1), "QLinearConv": (0, 3)}
PRODUCTS = {"Gemm": (0, 1), "MatMul": (0, 1), "MatMulInteger": (0, 1), "QLinearMatMul": (0, 3)}

#: A node name longer than this is replaced by operator and position.
LONGEST_NAME = 60

#: Initializers with more elements than this are not needed to infer shapes.
LARGEST_SHAPE_DATA = 4096

Shape = tuple[int, ...]


class _UnsupportedError(Exception):
    """A node that cannot be mapped and becomes a skipped one; the text says what kind it is."""


def read_workload(path: str | FilePath) -> Workload:
    """Read the layers of an ONNX model, and how its nodes feed one another."""
    file = shown(str(path), 300)
    try:
        import onnx
    except ImportError:
        raise InputError(f"{file}: reading ONNX needs the extra onnx: pip install 'fastmap[onnx]'") from None
    try:
        data = FilePath(path).read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{file} cannot be read: {reason}") from None
    try:
        model = onnx.load_model_from_string(data)
    except Exception as error:  # protobuf has several, of which some depend on its implementation
        raise InputError(f"{file}: is not an ONNX model ({shown(' '.join(str(error).split()), 120)})") from None
    if not model.graph.node:
        raise InputError(f"{file}: is not an ONNX model, or one without nodes")
    return _Graph(file, model).workload(FilePath(path).stem)


class _Graph:
    """The graph of a model, with the shape of every tensor whose shape is known."""

    def __init__(self, file: str, model: Any) -> None:
        self.file = file
        self.graph = model.graph
        self.constants = {tensor.name for tensor in model.graph.initializer}
        self.constants |= {tensor.values.name for tensor in model.graph.sparse_initializer}
        self.producers: dict[str, int] = {}
        for index, node in enumerate(self.graph.node):
            for output in node.output:
                self.producers[output] = index
        self.constant_nodes = self._constant_nodes()
        self.names = self._node_names()
        self.shapes = self._shapes(model)

    def _constant_nodes(self) -> set[int]:
        """Return the nodes that compute constants, such as reordered weights."""
        found: set[int] = set()
        for index, node in enumerate(self.graph.node):
            if all(not name or name in self.constants for name in node.input) and not _subgraphs(node):
                found.add(index)
                self.constants.update(node.output)
        return found

    def _node_names(self) -> list[str]:
        """Return a name for each node: its own where that is short and unique, or operator and position."""
        names: list[str] = []
        # A name of a damaged model may be no text.
        own = [node.name.strip() if isinstance(node.name, str) else "" for node in self.graph.node]
        for index, node in enumerate(self.graph.node):
            name = own[index]
            if not name or not name.isprintable() or len(name) > LONGEST_NAME or own.count(name) > 1:
                operator = "".join(char for char in node.op_type if char.isalnum()) or "node"
                name = f"{operator[:LONGEST_NAME].lower()}_{index}"
                while name in names or name in own:
                    name += "_"
            names.append(name)
        return names

    def _shapes(self, model: Any) -> dict[str, Shape]:
        """Return the shapes that the model states; they are inferred only if a layer's are missing."""
        shapes = _stated_shapes(model.graph)
        needed = {
            name
            for node in self.graph.node
            if node.op_type in CONVOLUTIONS or node.op_type in PRODUCTS
            for name in (*_ends(node), *node.output[:1])
        }
        if needed <= set(shapes):
            return shapes
        from onnx import shape_inference

        lean = type(model)()
        lean.CopyFrom(model)
        for tensor in lean.graph.initializer:
            if math.prod(tensor.dims) > LARGEST_SHAPE_DATA:
                tensor.ClearField("raw_data")
                tensor.ClearField("float_data")
                tensor.data_location = type(tensor).EXTERNAL
        for value in lean.graph.input:
            for dim in value.type.tensor_type.shape.dim[:1]:
                if dim.dim_value < 1:
                    dim.dim_value = 1  # a batch of open size
        try:
            inferred = shape_inference.infer_shapes(lean)
        except Exception:  # whatever it stumbles over, the node with the missing shape is named below
            return shapes
        return _stated_shapes(inferred.graph) | shapes

    def workload(self, name: str) -> Workload:
        """Return the workload."""
        layers: list[Layer] = []
        skipped: dict[str, str] = {}
        sources: dict[str, tuple[str, ...]] = {}
        nodes: list[str] = []
        for index, node in enumerate(self.graph.node):
            if index in self.constant_nodes:
                continue
            own = self.names[index]
            nodes.append(own)
            from_nodes = [self.producers[tensor] for tensor in node.input if tensor in self.producers]
            producers = [
                self.names[other] for other in from_nodes if other not in self.constant_nodes and other != index
            ]
            if producers:
                sources[own] = tuple(dict.fromkeys(producers))
            try:
                layers.append(self._layer(index, node))
            except _UnsupportedError as kind:
                skipped[own] = str(kind)
        if not layers:
            raise InputError(f"{self.file}: none of its {len(nodes)} nodes maps to an array (Conv, Gemm, MatMul)")
        try:
            return Workload(
                name=name if name.isprintable() and name.strip() else "model",
                layers=tuple(layers),
                sources=sources,
                skipped=skipped,
                nodes=tuple(nodes),
            )
        except SpecError as error:
            raise InputError(f"{self.file}: {error.message}") from None

    def _layer(self, index: int, node: Any) -> Layer:
        """Return the layer of a node."""
        own = self.names[index]
        kind = shown(node.op_type) if node.op_type else "unknown"
        if node.domain not in ("", "ai.onnx", "com.microsoft"):
            raise _UnsupportedError(kind)
        if node.op_type in CONVOLUTIONS:
            fields = self._convolution(own, node)
        elif node.op_type in PRODUCTS:
            fields = self._product(own, node)
        else:
            raise _UnsupportedError(kind)
        try:
            return Layer(name=own, operator=node.op_type, **fields)
        except SpecError as error:
            raise self._error(own, error.message) from None

    def _error(self, node: str, message: str) -> InputError:
        return InputError(f"{self.file}, node {shown(node)}: {message}")

    def _shape(self, node: str, what: str, tensor: str) -> Shape:
        """Return the shape of a tensor that a layer cannot do without; an open batch counts as 1."""
        shape = self.shapes.get(tensor)
        if shape is None:
            raise self._error(node, f"the shape of its {what} {shown(tensor)} is not known; run ONNX shape inference")
        shape = tuple(1 if position == 0 and size < 1 else size for position, size in enumerate(shape))
        if any(size < 1 for size in shape):
            raise self._error(node, f"the shape of its {what} {shown(tensor)} has an open size: {list(shape)}")
        return shape

    def _convolution(self, own: str, node: Any) -> dict[str, Any]:
        """Return the fields of a convolution; ONNX lists heights before widths."""
        activations, weights = _ends(node)
        given = self._shape(own, "input", activations)
        made = self._shape(own, "output", node.output[0] if node.output else "")
        kernel = self.shapes.get(weights)
        attributes = _attributes(node)
        axes = len(made) - 2
        if axes not in (1, 2):
            raise _UnsupportedError(f"{node.op_type} with {axes} spatial dimensions")
        taps = attributes.get("kernel_shape") or (kernel[2:] if kernel else None)
        if taps is None:
            raise self._error(own, "has neither the attribute kernel_shape nor weights of known shape")
        group = attributes.get("group", 1)
        strides = attributes.get("strides") or [1] * axes
        dilations = attributes.get("dilations") or [1] * axes
        lists = {"input shape": given[2:], "kernel_shape": taps, "strides": strides, "dilations": dilations}
        for what, values in lists.items():
            if len(values) != axes or any(value < 1 for value in values):
                raise self._error(own, f"{what} must have {axes} positive numbers, not {list(values)}")
        if not isinstance(group, int) or group < 1 or given[1] % group or made[1] % group:
            raise self._error(own, f"group {group} does not divide the {given[1]} input and {made[1]} output channels")
        fields: dict[str, Any] = {}
        sizes = {"B": made[0], "K": made[1] // group, "G": group}
        pads = _paddings(attributes, given[2:], made[2:], taps, strides, dilations)
        # The last axis is the width; a convolution along one axis has no height.
        for axis, position in zip("xy", (-1, -2), strict=True):
            there = len(made) - 2 >= -position
            sizes[f"O{axis.upper()}"] = made[position] if there else 1
            if there:
                fields[f"stride_{axis}"], fields[f"dilation_{axis}"] = strides[position], dilations[position]
                fields[f"input_{axis}"] = given[position]
                if pads is not None:
                    fields[f"padding_{axis}"] = pads[position]
        sizes["C"] = given[1] // group
        sizes["FX"], sizes["FY"] = taps[-1], taps[-2] if axes == 2 else 1
        return {**fields, "sizes": sizes}

    def _product(self, own: str, node: Any) -> dict[str, Any]:
        """Return the fields of a matrix product; with two computed operands, the batch counts as groups."""
        first, second = _ends(node)
        left, right = list(self._shape(own, "input", first)), list(self._shape(own, "input", second))
        attributes = _attributes(node)
        if node.op_type == "Gemm":
            if len(left) != 2 or len(right) != 2:
                raise self._error(own, f"multiplies a tensor of {len(left)} by one of {len(right)} dimensions")
            left = left[::-1] if attributes.get("transA") else left
            right = right[::-1] if attributes.get("transB") else right
        left = [1, *left] if len(left) == 1 else left
        right = [*right, 1] if len(right) == 1 else right
        if min(len(left), len(right)) < 2 or left[-1] != right[-2]:
            raise self._error(own, f"cannot multiply tensors of shapes {left} and {right}")
        batch = _broadcast(left[:-2], right[:-2])
        if batch is None:
            raise self._error(own, f"cannot multiply tensors of shapes {left} and {right}")
        rows, inner, columns = left[-2], left[-1], right[-1]
        groups, copies = 1, 1
        if first in self.constants and second not in self.constants:
            rows, columns = columns, rows  # the transposed product, with the weights on the right
            left, right = right, left
        for size, repeats in zip(batch, [*[1] * (len(batch) - len(right) + 2), *right[:-2]], strict=True):
            if repeats == 1:
                copies *= size
            else:
                groups *= size
        sizes = {"C": inner, "B": rows * copies, "K": columns}
        if groups > 1:
            sizes["G"] = groups
        return {"sizes": sizes, "sliding_window": False, "aliases": {"D": "B", **({"H": "G"} if groups > 1 else {})}}


def _ends(node: Any) -> tuple[str, str]:
    """Return the names of the activations and the weights of a layer; empty where the node lacks them."""
    first, second = {**CONVOLUTIONS, **PRODUCTS}[node.op_type]
    names = [*node.input, *[""] * (second + 1)]
    return names[first], names[second]


def _subgraphs(node: Any) -> bool:
    return any(attribute.HasField("g") or len(attribute.graphs) > 0 for attribute in node.attribute)


def _attributes(node: Any) -> dict[str, Any]:
    """Return the attributes that are integers, lists of integers or text."""
    found: dict[str, Any] = {}
    for attribute in node.attribute:
        if attribute.type == 2:
            found[attribute.name] = int(attribute.i)
        elif attribute.type == 7:
            found[attribute.name] = [int(value) for value in attribute.ints]
        elif attribute.type == 3:
            found[attribute.name] = attribute.s.decode(errors="replace")
    return found


def _stated_shapes(graph: Any) -> dict[str, Shape]:
    """Return the shapes that the graph states; an open size is 0."""
    shapes: dict[str, Shape] = {}
    for value in (*graph.value_info, *graph.output, *graph.input):
        tensor = value.type.tensor_type
        if tensor.HasField("shape"):
            shapes[value.name] = tuple(int(dim.dim_value) for dim in tensor.shape.dim)
    for tensor in graph.initializer:
        shapes[tensor.name] = tuple(int(size) for size in tensor.dims)
    return shapes


def _paddings(
    attributes: Mapping[str, Any],
    given: Sequence[int],
    made: Sequence[int],
    taps: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
) -> list[tuple[int, int]] | None:
    """Return zeros (before, after) along each axis; None where they are not padding (negative, or malformed)."""
    axes = len(made)
    mode = attributes.get("auto_pad", "NOTSET")
    if mode in ("SAME_UPPER", "SAME_LOWER"):
        found = []
        for size, out, tap, stride, dilation in zip(given, made, taps, strides, dilations, strict=True):
            total = max((out - 1) * stride + (tap - 1) * dilation + 1 - size, 0)
            small, large = total // 2, total - total // 2
            found.append((small, large) if mode == "SAME_UPPER" else (large, small))
        return found
    pads = attributes.get("pads") or [0] * (2 * axes)
    if mode == "VALID" or len(pads) != 2 * axes or min(pads) < 0:
        return None
    return list(zip(pads[:axes], pads[axes:], strict=True))


def _broadcast(left: Sequence[int], right: Sequence[int]) -> list[int] | None:
    """Return the batch that two operands have together; None if they do not match."""
    length = max(len(left), len(right))
    pairs = zip([*[1] * (length - len(left)), *left], [*[1] * (length - len(right)), *right], strict=True)
    batch = []
    for one, other in pairs:
        if one != other and 1 not in (one, other):
            return None
        batch.append(max(one, other))
    return batch
