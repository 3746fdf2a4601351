"""Data locality between layers: activations stay in the lowest memory that holds them, as in ZigZag's network runs.

A layer that hands its output to one consumer alone keeps it in the lowest memory with room for the layer's input and
output (and, if that memory stores weights, for the weights of the whole network), and the consumer reads it there. The
memories above are removed for that operand. Where data branch or join they go through the topmost memory.

The rules are those of ZigZag 3.9.1 (``exploit_data_locality_stages``) with all their peculiarities: outputs count at
the width of partial sums, a matrix product of two computed operands takes the second operand of its equation for the
activations, the first input and the last output of the network need not come from and go to the topmost memory. ZigZag
removes the other operators of an ONNX graph and joins their neighbours (only the first two producers of each), but
keeps the ``Pooling`` and ``Add`` entries of its own workload files as nodes with data of their own. A workload with no
other skipped operators than these two is treated as such a file. It does not state the sizes of their data, which are
taken from the neighbours: ZigZag counts a few more elements where a pooling window overhangs.

Where ZigZag crashes, data stay in the topmost memory: a layer that fits no memory together with its consumer's input,
or whose only consumers lie behind a lost edge (third and later producers). Several inputs or outputs of the network,
where it crashes as well, are each treated as it treats a single one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from fastmap.architecture import Architecture, Memory, Port
from fastmap.dimensions import RELEVANT
from fastmap.layer import Layer, input_extent
from fastmap.workload import Workload

#: Skipped operators of ZigZag's workload files, which stay in its graph.
_NODES = frozenset({"Pooling", "Add"})

#: Producers that ZigZag connects to an operator which it removes from the graph.
_CONNECTED = 2


def localize(workload: Workload, architecture: Architecture) -> dict[str, Architecture]:
    """Return what remains of the architecture for each layer of a network.

    Operands stand in the order activations, weights, outputs in all memories, as ZigZag writes them: ties between the
    operands of a memory may be decided otherwise than on the original, even where nothing is removed.

    Returns:
        layer name -> architecture, of the original's name; layers with the same memories share one.
    """
    search = _Search(workload, architecture)
    shared: dict[tuple[tuple[str, int], ...], Architecture] = {}
    found = {}
    for layer in workload:
        limits = tuple(search.limits(layer.name).items())
        if limits not in shared:
            shared[limits] = _pruned(architecture, dict(limits))
        found[layer.name] = shared[limits]
    return found


@dataclass(frozen=True)
class _Node:
    """One node of the network: which operands play which part, and how many bits they take."""

    activation: str
    weight: str
    #: Operands that no other node produces.
    constants: int
    input_bits: int
    output_bits: int
    weight_bits: int


def _elements(layer: Layer, operand: str) -> int:
    """Elements of a whole operand."""
    count = math.prod(layer.size(dim) for dim in RELEVANT[operand])
    if operand == "I" and layer.sliding_window:
        full_x = input_extent(layer.size("OX"), layer.size("FX"), layer.stride_x, layer.dilation_x)
        full_y = input_extent(layer.size("OY"), layer.size("FY"), layer.stride_y, layer.dilation_y)
        count *= min(full_x, layer.clip_x) * min(full_y, layer.clip_y)
    return count


def _layer_node(layer: Layer, producers: int) -> _Node:
    constants = 2 - min(2, producers)
    bits = {
        "W": _elements(layer, "W") * layer.weight_bits,
        "I": _elements(layer, "I") * layer.input_bits,
    }
    first, second = layer.operand_order[1:]
    if constants == 0:
        activation, weight = second, first
    elif constants == 2 and not layer.sliding_window:
        activation, weight = first, second
    else:
        activation, weight = "I", "W"
    return _Node(
        activation=activation,
        weight=weight,
        constants=constants,
        input_bits=bits[activation] if constants else sum(bits.values()),
        output_bits=_elements(layer, "O") * layer.output_bits,
        weight_bits=bits[weight] if constants else 0,
    )


def _skipped_nodes(workload: Workload) -> dict[str, _Node]:
    """Return the nodes of skipped operators: they take what their producers make and make what their users take."""
    layers = {layer.name: layer for layer in workload}
    consumers: dict[str, list[str]] = {}
    for node, producers in workload.sources.items():
        for name in producers:
            consumers.setdefault(name, []).append(node)
    made: dict[str, tuple[int, int, int]] = {  # elements, bits of a finished one, bits of a partial sum
        layer.name: (_elements(layer, "O"), layer.output_final_bits, layer.output_bits) for layer in workload
    }
    nodes = {}
    for name in _sorted(workload.nodes, workload.sources):
        if name in layers:
            continue
        given = [made[each] for each in workload.sources.get(name, ()) if each in made]
        takers = [layers[each] for each in consumers.get(name, ()) if each in layers]
        if not given:  # the network's input
            given = [(_elements(each, "I"), each.input_bits, each.output_bits) for each in takers[:1]] or [(0, 0, 0)]
        out = max(elements for elements, _, _ in given)
        if workload.skipped[name] == "Pooling":
            beside = [
                made[other][0]
                for each in consumers.get(name, ())
                if workload.skipped.get(each) == "Add"
                for other in workload.sources[each]
                if other in layers
            ]
            out = min([out, *beside, *(_elements(each, "I") for each in takers)])
        made[name] = (out, *given[0][1:])
        nodes[name] = _Node(
            activation="I",
            weight="W",
            constants=0 if len(given) > 1 else 1,
            input_bits=sum(elements * bits for elements, bits, _ in given),
            output_bits=out * given[0][2],
            weight_bits=0,
        )
    return nodes


def _nodes(workload: Workload) -> dict[str, _Node]:
    """Return the nodes that stay in ZigZag's graph, in the workload's order."""
    nodes = {layer.name: _layer_node(layer, len(workload.sources.get(layer.name, ()))) for layer in workload}
    if set(workload.skipped.values()) <= _NODES:
        nodes |= _skipped_nodes(workload)
    return {name: nodes[name] for name in workload.nodes if name in nodes}


def _consumers(workload: Workload, nodes: Mapping[str, _Node], connected: int | None) -> dict[str, list[str]]:
    """Return which nodes take each node's output, through all removed operators.

    Args:
        connected: producers of a removed operator that count; None: all.
    """
    before: dict[str, dict[str, None]] = {name: {} for name in workload.nodes}
    after: dict[str, dict[str, None]] = {name: {} for name in workload.nodes}
    for name in workload.nodes:
        producers = workload.sources.get(name, ())
        for other in producers if name in nodes else producers[:connected]:
            before[name][other] = after[other][name] = None
    for name in workload.nodes:
        if name not in nodes:
            for other in list(before[name]):
                for user in list(after[name]):
                    before[user][other] = after[other][user] = None
    return {name: [user for user in after[name] if user in nodes] for name in nodes}


def _sorted(names: Iterable[str], producers: Mapping[str, Iterable[str]]) -> list[str]:
    """Return the nodes with producers before consumers; those on a cycle are left out."""
    waiting = {name: set(producers.get(name, ())) for name in names}
    order: list[str] = []
    while ready := [name for name, needed in waiting.items() if not needed]:
        order += ready
        for name in ready:
            del waiting[name]
        for needed in waiting.values():
            needed.difference_update(ready)
    return order


class _Search:
    """The lowest memory, by position in the architecture, that keeps each node's activations and outputs."""

    def __init__(self, workload: Workload, architecture: Architecture) -> None:
        self.architecture = architecture
        self.nodes = _nodes(workload)
        first = next(iter(self.nodes.values()))
        self.top = architecture.chain(first.activation)[-1], architecture.chain("O")[-1]
        self.weight_level = architecture.chain(first.weight)[-1]
        self.weights = sum(node.weight_bits for node in self.nodes.values())
        self.inputs: dict[str, int] = {}
        self.outputs: dict[str, int] = {}
        users = _consumers(workload, self.nodes, _CONNECTED)
        true_users = _consumers(workload, self.nodes, None)
        producers: dict[str, list[str]] = {name: [] for name in self.nodes}
        for name, each in users.items():
            for user in each:
                producers[user].append(name)
        for name in _sorted(self.nodes, producers):
            if producers[name]:  # all of them send their outputs to the top where they are several
                self.inputs[name] = self.outputs[producers[name][0]]
            lost = not users[name] and true_users[name]
            if lost or len(users[name]) > 1 or any(len(producers[user]) > 1 for user in users[name]):
                self.inputs.setdefault(name, self.top[0])
                self.outputs[name] = self.top[1]
            else:
                self._descend(name, self.nodes[users[name][0] if users[name] else name])

    def _descend(self, name: str, user: _Node) -> None:
        """Find the lowest memory for a node whose output goes to one user, or to the outside."""
        node, sizes = self.nodes[name], self.architecture.array.dimensions
        kept = None
        for index in reversed(range(len(self.architecture.memories))):
            memory = self.architecture.memories[index]
            shared = "O" in memory.operands and user.activation in memory.operands
            weights = node.weight in memory.operands
            if not shared and not weights:
                continue
            both = node.constants == 0 and shared
            needed = 0
            if both or node.activation in memory.operands:
                needed += node.input_bits
            if "O" in memory.operands:
                needed += node.output_bits
            if weights and not both:
                needed += self.weights
            copies = math.prod(size for dim, size in sizes.items() if dim not in memory.serves)
            if needed > memory.size_bits * copies:
                continue
            if shared:
                kept = index
            if weights and set(memory.serves) == set(sizes):
                self.weight_level = min(self.weight_level, index)
        self.inputs.setdefault(name, self.top[0] if kept is None else kept)
        self.outputs[name] = self.top[1] if kept is None else kept

    def limits(self, name: str) -> dict[str, int]:
        """Return the highest memory that each operand keeps, in the order in which memories list the operands."""
        node = self.nodes[name]
        inputs = self.inputs.get(name, self.top[0])  # missing on a cycle
        return {
            node.activation: inputs,
            node.weight: self.weight_level if node.constants else inputs,
            "O": self.outputs.get(name, self.top[1]),
        }


def _pruned(architecture: Architecture, limits: Mapping[str, int]) -> Architecture:
    """Remove each operand from the memories above its limit. An operand keeps its innermost memory in any case."""
    kept = {}
    for operand, limit in limits.items():
        chain = architecture.chain(operand)
        levels = max(1, sum(index <= limit for index in chain))
        # An architecture must not have a smaller memory on top than at the bottom; ZigZag does not mind.
        while architecture.memories[chain[levels - 1]].size_bits < architecture.memories[chain[0]].size_bits:
            levels += 1
        kept[operand] = chain[:levels]
    memories = []
    for index, memory in enumerate(architecture.memories):
        operands = tuple(operand for operand, chain in kept.items() if index in chain)
        if operands:
            memories.append(_with_operands(memory, operands))
    return Architecture(
        name=architecture.name, array=architecture.array, memories=tuple(memories), remarks=architecture.remarks
    )


def _with_operands(memory: Memory, operands: tuple[str, ...]) -> Memory:
    """Return a memory that stores only these operands."""
    ports: list[Port] = []
    for port in memory.ports:
        transfers = tuple(each for each in port.transfers if each[0] in operands)
        if transfers:
            ports.append(port.model_copy(update={"transfers": transfers}))
    return memory.model_copy(update={"operands": operands, "ports": tuple(ports)})
