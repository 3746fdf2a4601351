"""Constraints that differ from layer to layer: a constraints file, or ZigZag's mapping file."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from fastmap._spec import Spec, listed, shown
from fastmap.architecture import Architecture
from fastmap.dimensions import LOOP_DIMENSIONS
from fastmap.errors import InputError
from fastmap.layer import Layer
from fastmap.mapping import Constraints, SpatialMapping, remaining_iterations


class Rule(Spec):
    """One entry of ZigZag's mapping file, with the loop names of that file."""

    spatial: dict[str, dict[str, int]] | None = None
    allowed: dict[str, tuple[str, ...]] | None = None
    #: Innermost first; None stands for all iterations that remain.
    temporal: tuple[tuple[str, int | None], ...] | None = None


class ConstraintSet(Spec):
    """The constraints of a file, by layer.

    ``common`` and ``layers`` come from our own format, where the keys of a layer replace the common ones. ``rules``
    come from ZigZag's, where the first of layer name, operator type and ``default`` counts.
    """

    source: str = "constraints"
    common: Constraints = Field(default_factory=Constraints)
    layers: dict[str, Constraints] = Field(default_factory=dict)
    rules: dict[str, Rule] = Field(default_factory=dict)

    def for_layer(self, layer: Layer, architecture: Architecture | None = None) -> Constraints:
        """Return what holds for one layer.

        The architecture is only needed where a loop order says "all that remain" (``"*"`` in ZigZag's file).
        """
        if not self.rules:
            own = self.layers.get(layer.name)
            if own is None:
                return self.common
            given = {key: getattr(own, key) for key in own.model_fields_set}
            return self.common.model_copy(update=given)
        for name in (layer.name, layer.operator, "default"):
            if name in self.rules:
                return self._translate(name, layer, architecture)
        raise InputError(
            f"{self.source}: has no entry for layer {shown(layer.name)}: neither its name, nor its operator type "
            f"{shown(layer.operator)}, nor default (entries: {listed(self.rules)})"
        )

    def _translate(self, name: str, layer: Layer, architecture: Architecture | None) -> Constraints:
        rule = self.rules[name]
        data: dict[str, Any] = {}
        if rule.spatial is not None:
            unrolling: dict[str, dict[str, int]] = {}
            for array_dim, factors in rule.spatial.items():
                unrolling[array_dim] = {}
                for word, factor in factors.items():
                    dim = self._dimension(word, name, layer)
                    # One entry serves many layers: a loop shorter than the factor is unrolled completely.
                    if layer.size(dim) > 1:
                        joined = unrolling[array_dim].get(dim, 1) * factor
                        unrolling[array_dim][dim] = min(joined, layer.size(dim))
            data["spatial"] = SpatialMapping(unrolling=unrolling)
        open_dims = {key: dims for key, dims in (rule.allowed or {}).items() if key not in (rule.spatial or {})}
        if open_dims:
            data["allowed"] = {
                key: tuple(dict.fromkeys(self._dimension(word, name, layer) for word in dims))
                for key, dims in open_dims.items()
            }
        if rule.temporal is not None:
            data["temporal"] = self._order(rule.temporal, name, layer, architecture, data.get("spatial"))
        return Constraints(**data)

    def _order(
        self,
        loops: tuple[tuple[str, int | None], ...],
        name: str,
        layer: Layer,
        architecture: Architecture | None,
        spatial: SpatialMapping | None,
    ) -> tuple[tuple[str, int], ...]:
        """Return the loop order with every "all that remain" written out."""
        order = [(self._dimension(word, name, layer), factor) for word, factor in loops]
        known = [(dim, factor) for dim, factor in order if factor is not None]
        if len(known) == len(order):
            return tuple(known)
        if architecture is None or spatial is None:
            raise InputError(
                f"{self.source}, {shown(name)}, temporal_ordering: '*' (all that remain) needs a fixed spatial_mapping"
            )
        left = remaining_iterations(layer, architecture, spatial)
        for dim, factor in known:
            if left.get(dim, 1) % factor:
                raise InputError(
                    f"{self.source}, {shown(name)}, temporal_ordering: the factor {factor} does not divide the "
                    f"{left.get(dim, 1)} iterations of {dim} that the spatial mapping leaves of {shown(layer.name)}"
                )
            left[dim] = left.get(dim, 1) // factor
        complete = [(dim, left.get(dim, 1) if factor is None else factor) for dim, factor in order]
        return tuple((dim, factor) for dim, factor in complete if factor > 1)

    def _dimension(self, word: str, name: str, layer: Layer) -> str:
        """Return our name of a loop dimension of the file."""
        dim = layer.aliases.get(word, word)
        if dim not in LOOP_DIMENSIONS:
            known = [*layer.aliases, *layer.dimension_order]
            raise InputError(
                f"{self.source}, {shown(name)}: layer {shown(layer.name)} has no loop dimension {shown(word)} "
                f"(it has {listed(known)})"
            )
        return dim
