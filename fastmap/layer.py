"""One layer: the sizes of its loops, how its window slides, and how wide its numbers are."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from fastmap._spec import LARGEST, Bits, Count, Name, RuleError, Spec, closest, listed, must, shown, whole
from fastmap.dimensions import DEFAULT_ORDER, GEMM_DIMENSIONS, LOOP_DIMENSIONS

Kind = Literal["conv", "pointwise", "depthwise", "dense"]


def _sizes(value: object) -> dict[str, int]:
    """Check the loop sizes, keeping their order."""
    if not isinstance(value, Mapping):
        raise must("a mapping of loop dimensions to sizes", value)
    for name in value:
        if name not in LOOP_DIMENSIONS:
            message = f"unknown loop dimension {shown(name)}{closest(name, LOOP_DIMENSIONS)}"
            raise ValueError(f"{message} (known: {listed(LOOP_DIMENSIONS)})")
    sizes = {}
    for name, size in value.items():
        try:
            sizes[str(name)] = whole(size, 1)
        except ValueError as error:
            raise RuleError(str(error), (name,)) from None
    return sizes


def _padding(value: object) -> object:
    """Let one number stand for both sides."""
    return (value, value) if isinstance(value, int) and not isinstance(value, bool) else value


Sizes = Annotated[dict[str, int], BeforeValidator(_sizes)]
Side = Annotated[int, BeforeValidator(lambda v: whole(v, 0, 2**31))]
Padding = Annotated[tuple[Side, Side], BeforeValidator(_padding)]


class Layer(Spec):
    """A convolution, depthwise convolution or matrix product.

    The loop dimensions may be given as keywords, ``Layer(K=64, C=64, OX=56, OY=56, FX=3, FY=3)``, or as ``sizes``,
    whose order is kept (ties between mappings are broken along it). Dimensions left out have size 1.
    """

    name: Name = "layer"
    sizes: Sizes
    stride_x: Count = 1
    stride_y: Count = 1
    dilation_x: Count = 1
    dilation_y: Count = 1
    #: Rows or columns of zeros before and after the input.
    padding_x: Padding = (0, 0)
    padding_y: Padding = (0, 0)
    #: True width and height of the input; None: what the loops touch, less the padding.
    input_x: Count | None = None
    input_y: Count | None = None
    weight_bits: Bits = 8
    input_bits: Bits = 8
    #: Width of a partial sum.
    output_bits: Bits = 16
    #: Width of a finished output.
    output_final_bits: Bits = 8
    #: False for a matrix product, which has the dimensions B, G, K and C only.
    sliding_window: bool = True
    #: Order in which the layer's equation names its operands; it breaks ties between buffers.
    operand_order: tuple[Literal["W", "I", "O"], ...] = ("O", "W", "I")
    #: What the layer's file calls its operator; mapping files refer to it.
    operator: Name = "Conv"
    #: What the layer's file calls its dimensions, where the name is not ours; mapping files refer to it.
    aliases: dict[str, str] = Field(default_factory=dict)

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            name: str = "layer",
            sizes: Mapping[str, int] | None = None,
            B: int = 1,
            G: int = 1,
            K: int = 1,
            C: int = 1,
            OY: int = 1,
            OX: int = 1,
            FY: int = 1,
            FX: int = 1,
            stride_x: int = 1,
            stride_y: int = 1,
            dilation_x: int = 1,
            dilation_y: int = 1,
            padding_x: int | tuple[int, int] = (0, 0),
            padding_y: int | tuple[int, int] = (0, 0),
            input_x: int | None = None,
            input_y: int | None = None,
            weight_bits: int = 8,
            input_bits: int = 8,
            output_bits: int = 16,
            output_final_bits: int = 8,
            sliding_window: bool = True,
            operand_order: tuple[str, ...] | None = None,
            operator: str | None = None,
            aliases: Mapping[str, str] | None = None,
        ) -> None: ...

    @model_validator(mode="before")
    @classmethod
    def _gather(cls, data: Any) -> Any:
        """Collect loop dimensions given as keywords; fill in what a matrix product implies."""
        if not isinstance(data, Mapping):
            return data
        fields = {key: value for key, value in data.items() if key not in LOOP_DIMENSIONS}
        keywords = {dim: data[dim] for dim in DEFAULT_ORDER if dim in data}
        if keywords:
            if fields.get("sizes") is not None:
                raise ValueError(
                    f"give the loop dimensions either in sizes or as keywords ({listed(keywords)}), not both"
                )
            fields["sizes"] = keywords
        if not fields.get("sizes"):
            raise ValueError(f"give at least one loop dimension (of {listed(LOOP_DIMENSIONS)}) with its size")
        gemm = fields.get("sliding_window", True) is False
        for key, value in (("operand_order", ("O", "I", "W")), ("operator", "Gemm")):
            if fields.get(key) is None:
                fields.pop(key, None)
                if gemm:
                    fields[key] = value
        if fields.get("aliases") is None:
            fields.pop("aliases", None)
        return fields

    @model_validator(mode="after")
    def _check(self) -> Layer:
        """Check what several fields must satisfy together."""
        if self.macs > LARGEST:
            raise RuleError(f"the layer has {self.macs:.3g} MACs, more than 2**53", ("sizes",))
        if sorted(self.operand_order) != ["I", "O", "W"] or self.operand_order[0] != "O":
            raise RuleError("must list O first, then W and I in the order of the equation", ("operand_order",))
        if not self.sliding_window:
            for dim in self.sizes:
                if dim not in GEMM_DIMENSIONS and self.sizes[dim] != 1:
                    raise RuleError(
                        f"a layer without sliding window has the dimensions {listed(GEMM_DIMENSIONS)} only; "
                        f"{dim} must be 1, not {self.sizes[dim]}",
                        ("sizes", dim),
                    )
        for key, extent, pads in (
            ("padding_x", self._full_x, self.padding_x),
            ("padding_y", self._full_y, self.padding_y),
        ):
            if sum(pads) >= extent:
                raise RuleError(f"must add up to less than the input extent {extent}, not {sum(pads)}", (key,))
        return self

    @property
    def dimension_order(self) -> tuple[str, ...]:
        """The loop dimensions that the layer was given, in its own order."""
        return tuple(self.sizes)

    def size(self, dimension: str) -> int:
        """Return the size of a loop dimension; 1 for one that the layer was not given."""
        return self.sizes.get(dimension, 1)

    @property
    def macs(self) -> int:
        """Multiply-accumulate operations of the layer."""
        return math.prod(self.sizes.values())

    @property
    def kind(self) -> Kind:
        """What a person would call the layer."""
        window = self.size("FX") * self.size("FY")
        if not self.sliding_window or (self.size("OX") * self.size("OY") * window * self.size("G") == 1):
            return "dense"
        if self.size("G") > 1 and self.size("K") == self.size("C") == 1:
            return "depthwise"
        return "pointwise" if window == 1 else "conv"

    @property
    def clip_x(self) -> int:
        """Largest number of input columns that a tile can hold."""
        return self.input_x if self.input_x is not None else self._full_x - sum(self.padding_x)

    @property
    def clip_y(self) -> int:
        """Largest number of input rows that a tile can hold."""
        return self.input_y if self.input_y is not None else self._full_y - sum(self.padding_y)

    @property
    def _full_x(self) -> int:
        return input_extent(self.size("OX"), self.size("FX"), self.stride_x, self.dilation_x)

    @property
    def _full_y(self) -> int:
        return input_extent(self.size("OY"), self.size("FY"), self.stride_y, self.dilation_y)

    @property
    def signature(self) -> tuple[object, ...]:
        """Everything that decides the cost of a mapping: equal signatures, equal results."""
        return (
            tuple(self.sizes.items()),
            (self.stride_x, self.stride_y, self.dilation_x, self.dilation_y),
            (self.clip_x, self.clip_y),
            (self.weight_bits, self.input_bits, self.output_bits, self.output_final_bits),
            (self.sliding_window, self.operand_order),
        )

    def __hash__(self) -> int:
        return hash((self.name, self.signature))


def input_extent(outputs: int, taps: int, stride: int, dilation: int) -> int:
    """Return how many inputs ``outputs`` positions of a window of ``taps`` touch, as ZigZag counts them.

    The formula is right while ``outputs >= dilation / gcd(stride, dilation)`` and counts too many below that: a single
    position of three taps with dilation 2 gives 5 where 3 are touched.
    """
    shared = math.gcd(stride, dilation)
    return outputs * taps - max(0, taps - stride // shared) * (outputs - dilation // shared)
