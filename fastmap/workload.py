"""A network: its layers in order, and which of them feed which."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import Field, model_validator

from fastmap._spec import Name, RuleError, Spec, closest, listed, shown
from fastmap.errors import InputError
from fastmap.layer import Layer


class Workload(Spec):
    """A named, ordered list of layers with their dataflow edges.

    Nodes that do not map to an array (pooling, additions) are kept by name in ``skipped``, since data flow through
    them. ``sources`` holds for every node the nodes that produce its activations.
    """

    name: Name = "workload"
    layers: tuple[Layer, ...]
    sources: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    #: Node name -> operator type, of the nodes that do not map to the array.
    skipped: dict[str, str] = Field(default_factory=dict)
    #: All nodes in execution order; left out: the layers, then the skipped nodes.
    nodes: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _check(self) -> Workload:
        if not self.layers:
            raise RuleError("has no layer that maps to an array", ("layers",))
        names = [layer.name for layer in self.layers]
        for index, name in enumerate(names):
            if name in names[:index]:
                raise RuleError(f"two layers have the name {shown(name)}", ("layers", index, "name"))
            if name in self.skipped:
                raise RuleError(f"{shown(name)} is a layer and a skipped node", ("skipped", name))
        known = [*names, *self.skipped]
        if not self.nodes:
            object.__setattr__(self, "nodes", tuple(known))
        elif sorted(self.nodes) != sorted(known):
            raise RuleError("must name every layer and every skipped node once", ("nodes",))
        for node, producers in self.sources.items():
            for name in (node, *producers):
                if name not in known:
                    raise RuleError(f"there is no node {shown(name)}{closest(name, known)}", ("sources", node))
        return self

    def __iter__(self) -> Iterator[Layer]:  # type: ignore[override]
        return iter(self.layers)

    def __len__(self) -> int:
        return len(self.layers)

    def __getitem__(self, key: str | int) -> Layer:
        """Return a layer by name or position."""
        if isinstance(key, str):
            for layer in self.layers:
                if layer.name == key:
                    return layer
            names = [layer.name for layer in self.layers]
            raise InputError(
                f"{self.name} has no layer {shown(key)}{closest(key, names)} (its layers: {listed(names)})"
            )
        if not -len(self.layers) <= key < len(self.layers):
            raise IndexError(f"{self.name} has {len(self.layers)} layers, there is no number {key}")
        return self.layers[key]

    def __contains__(self, key: Any) -> bool:
        return key in self.layers or any(layer.name == key for layer in self.layers)

    @property
    def macs(self) -> int:
        """Multiply-accumulate operations of all layers."""
        return sum(layer.macs for layer in self.layers)
