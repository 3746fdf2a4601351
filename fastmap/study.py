"""Analog against digital macros on whole networks, over macro sizes and numbers: every layer mapped optimally.

The system around the macros is that of the paper (`fastmap.paper_system`), the cost model that of all searches. Beside
the optimum stands what ZigZag's mapper would choose in the same space under the same cost model: the best of the three
spatial mappings of divisors that use most of the array (of those that are possible), orders of at most six loops, and
the greedy allocation.
"""

from __future__ import annotations

import csv
import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any

from fastmap._spec import listed
from fastmap.architecture import Architecture
from fastmap.control import Control, available_threads
from fastmap.dimensions import DIAGONAL_PARTNER
from fastmap.errors import InputError, SearchError
from fastmap.evaluation import Evaluation, evaluate
from fastmap.exploration import MAX_THREADS, Options, search_space
from fastmap.layer import Layer
from fastmap.macro import MacroReport, architecture_report
from fastmap.mapping import Constraints, Mapping
from fastmap.mapspace import Mapspace
from fastmap.memory_costs import DEFAULT_SRAM
from fastmap.paper_system import MAX_MACROS, OPERAND_BITS, PARTIAL_SUM_BITS, fits_buffer, mapping_rules, paper_system
from fastmap.peak import PAPER_SIZES
from fastmap.result import OBJECTIVES, SearchResult
from fastmap.technology import Technology
from fastmap.workload import Workload
from fastmap.zigzag_spatial import zigzag_spatial_mappings

__all__ = ["LAYER_TYPES", "NETWORKS", "Claim", "Design", "Study", "Total", "compare", "designs"]

NETWORKS = ("resnet8", "mobilenet_v1_025", "ds_cnn", "autoencoder")
LAYER_TYPES = ("conv", "pointwise", "depthwise", "dense")
MAPPERS = ("optimal", "zigzag")

#: Of ZigZag's mapper: spatial mappings evaluated, and how many of its list are looked at for so many that fit.
_SPATIAL_MAPPINGS, _LOOKED_AT = 3, 60
_LOOP_FACTORS = 6
#: Macros that the paper's claims call small and large.
SMALL, LARGE = 64, 128


@dataclass(frozen=True)
class Design:
    """Macros of a size side by side, in the paper's system.

    Attributes:
        system: the accelerator for layers whose inputs and outputs fit the buffer.
        large: that for all others.
        peak: what the macros do at best, without registers and buffer.
    """

    kind: str
    size: int
    macros: int
    system: Architecture
    large: Architecture
    peak: MacroReport

    @property
    def name(self) -> str:
        """Short name."""
        return self.system.name

    @property
    def area_parts_mm2(self) -> dict[str, float]:
        """Area of the macros, of all registers, and of the buffer."""
        names = ("input_register", "output_register", "buffer")
        around = {name: self.system.memory(name).area_mm2 for name in names}
        return {"macros": self.peak.area_mm2["total"], **around}

    @property
    def area_mm2(self) -> float:
        """Area of the whole but for DRAM."""
        return sum(self.area_parts_mm2.values())

    @property
    def clock_ns(self) -> float:
        """Clock period."""
        return self.peak.clock_ns["total"]

    def architecture(self, layer: Layer) -> Architecture:
        """Return the accelerator for a layer."""
        return self.system if fits_buffer(layer, self.system.memory("buffer").size_bits) else self.large


@dataclass(frozen=True)
class Entry:
    """What a layer costs on a design, mapped for an objective by a mapper of `MAPPERS`."""

    design: str
    network: str
    layer: str
    layer_type: str
    macs: int
    objective: str
    mapper: str
    energy_pj: float
    latency_cycles: float
    latency_ns: float
    #: Energy of the array and of each memory.
    parts_pj: dict[str, float]


@dataclass(frozen=True)
class Total:
    """Layers one after the other on a design."""

    macs: int
    energy_pj: float
    latency_ns: float
    parts_pj: dict[str, float]

    @property
    def edp_pj_ns(self) -> float:
        """Energy-delay product."""
        return self.energy_pj * self.latency_ns

    @property
    def energy_per_mac_fj(self) -> float:
        """Energy for each multiply-accumulate."""
        return self.energy_pj / self.macs * 1000.0

    @property
    def tops_per_watt(self) -> float:
        """Operations for each pJ; a multiply-accumulate is two."""
        return 2.0 * self.macs / self.energy_pj

    @property
    def tops(self) -> float:
        """Tera operations per second."""
        return 2.0 * self.macs / self.latency_ns / 1000.0

    def value(self, objective: str) -> float:
        """Return pJ, ns or pJ ns."""
        return {"energy": self.energy_pj, "latency": self.latency_ns, "edp": self.edp_pj_ns}[objective]


@dataclass(frozen=True)
class Claim:
    """A claim of the paper, and what the study says of it.

    Attributes:
        ratios: macro size -> analog over digital, or the inverse, as the claim has it: above 1 where it holds.
        sizes: those that the claim speaks of.
    """

    statement: str
    ratios: dict[int, float]
    sizes: tuple[int, ...]

    @property
    def holds(self) -> str:
        """`yes`, `no` or `in part`; `not tested` if the study has no size that the claim speaks of."""
        of_it = [self.ratios[size] > 1.0 for size in self.sizes]
        if not of_it:
            return "not tested"
        return "yes" if all(of_it) else "in part" if any(of_it) else "no"

    def to_dict(self) -> dict[str, Any]:
        """Return plain dictionaries and numbers, fit for JSON."""
        return {
            "statement": self.statement,
            "holds": self.holds,
            "ratios": {str(size): ratio for size, ratio in self.ratios.items()},
            "sizes": list(self.sizes),
        }


@dataclass(frozen=True)
class Study:
    """A finished comparison."""

    designs: tuple[Design, ...]
    networks: tuple[str, ...]
    objectives: tuple[str, ...]
    entries: tuple[Entry, ...] = field(repr=False)

    @cached_property
    def _groups(self) -> dict[tuple[str, ...], list[Entry]]:
        groups: dict[tuple[str, ...], list[Entry]] = {}
        for entry in self.entries:
            groups.setdefault((entry.design, entry.objective, entry.mapper), []).append(entry)
        return groups

    @property
    def layer_types(self) -> tuple[str, ...]:
        """Types of the layers, in the order of `LAYER_TYPES`."""
        present = {entry.layer_type for entry in self.entries}
        return tuple(name for name in LAYER_TYPES if name in present)

    def total(
        self,
        design: Design,
        objective: str,
        mapper: str = "optimal",
        network: str | None = None,
        layer_type: str | None = None,
    ) -> Total | None:
        """Add up the layers of a network and type (None: of all); None if there are none."""
        chosen = [
            entry
            for entry in self._groups[design.name, objective, mapper]
            if network in (None, entry.network) and layer_type in (None, entry.layer_type)
        ]
        if not chosen:
            return None
        parts: dict[str, float] = {}
        for entry in chosen:
            for name, value in entry.parts_pj.items():
                parts[name] = parts.get(name, 0.0) + value
        return Total(
            sum(entry.macs for entry in chosen),
            sum(entry.energy_pj for entry in chosen),
            sum(entry.latency_ns for entry in chosen),
            parts,
        )

    def pairs(self) -> list[tuple[Design, Design]]:
        """Return the analog and the digital design of each size, one macro each, by rising size."""
        single = {(design.kind, design.size): design for design in self.designs if design.macros == 1}
        sizes = sorted({size for _, size in single})
        return [
            (single["analog", size], single["digital", size])
            for size in sizes
            if ("analog", size) in single and ("digital", size) in single
        ]

    def objective(self, wanted: str) -> str:
        """Return the objective that is wanted if there are mappings for it, else the first."""
        return wanted if wanted in self.objectives else self.objectives[0]

    def efficiency_ratios(self, layer_type: str | None, mapper: str = "optimal") -> dict[int, float]:
        """Return TOPS/W of one analog over one digital macro by size, mapped for energy if that is an objective."""
        objective = self.objective("energy")
        found = {}
        for analog, digital in self.pairs():
            ours = self.total(analog, objective, mapper, layer_type=layer_type)
            theirs = self.total(digital, objective, mapper, layer_type=layer_type)
            if ours is not None and theirs is not None:
                found[analog.size] = ours.tops_per_watt / theirs.tops_per_watt
        return found

    def density_ratios(self) -> dict[int, float]:
        """Return TOPS/mm2 of one digital over one analog macro, mapped for latency: geometric mean over networks."""
        objective = self.objective("latency")
        found = {}
        for analog, digital in self.pairs():
            logs = []
            for network in self.networks:
                ours, theirs = (self.total(each, objective, network=network) for each in (digital, analog))
                assert ours is not None  # every network has layers
                assert theirs is not None
                logs.append(math.log(ours.tops / digital.area_mm2 / (theirs.tops / analog.area_mm2)))
            found[analog.size] = math.exp(sum(logs) / len(logs))
        return found

    def claims(self) -> list[Claim]:
        """Test the paper's claims, all about one macro in its system."""
        found = []
        pairs = self.pairs()
        if pairs:
            peak = {analog.size: digital.peak.tops_per_mm2 / analog.peak.tops_per_mm2 for analog, digital in pairs}
            at_work = self.density_ratios()
            found.append(Claim("digital macros are denser (peak of the macro)", peak, tuple(peak)))
            statement = f"digital systems are denser (networks, mapped for {self.objective('latency')})"
            found.append(Claim(statement, at_work, tuple(at_work)))
        for layer_type, sizes, analog in (
            ("conv", "large", True),
            ("pointwise", "large", True),
            ("depthwise", "small", False),
        ):
            ratios = self.efficiency_ratios(layer_type)
            if not ratios:
                continue
            kind = "analog" if analog else "digital"
            if not analog:
                ratios = {size: 1.0 / ratio for size, ratio in ratios.items()}
            of_it = tuple(size for size in ratios if (size >= LARGE if sizes == "large" else size <= SMALL))
            found.append(
                Claim(f"{kind} macros that are {sizes} are more efficient on {layer_type} layers", ratios, of_it)
            )
        return found

    def crossover(self, layer_type: str | None, mapper: str = "optimal") -> list[float]:
        """Return the macro sizes at which analog and digital are equally efficient, between sizes of the study.

        The ratio is taken for a power of the size between two of them.
        """
        points = list(self.efficiency_ratios(layer_type, mapper).items())
        found = []
        for (low, below), (high, above) in itertools.pairwise(points):
            if (below > 1.0) != (above > 1.0):
                share = math.log(below) / (math.log(below) - math.log(above))
                found.append(low * (high / low) ** share)
        return found

    def excess(self, objective: str, layer_type: str | None = None) -> dict[str, float]:
        """Return by how much ZigZag's choices are above the optimum, for each design, as a share."""
        found = {}
        for design in self.designs:
            best, theirs = (self.total(design, objective, mapper, layer_type=layer_type) for mapper in MAPPERS)
            if best is not None and theirs is not None:
                found[design.name] = theirs.value(objective) / best.value(objective) - 1.0
        return found

    def write_csv(self, path: str | Path) -> None:
        """Write one row for each layer, design, objective and mapper.

        Raises:
            InputError: the file cannot be written.
        """
        parts = list(dict.fromkeys(name for entry in self.entries for name in entry.parts_pj))
        names = [each.name for each in fields(Entry) if each.name != "parts_pj"]
        try:
            with Path(path).open("w", encoding="utf-8", newline="") as file:
                writer = csv.writer(file, lineterminator="\n")
                writer.writerow([*names, *(f"{name}_pj" for name in parts)])
                for entry in self.entries:
                    own = [getattr(entry, name) for name in names]
                    writer.writerow([*own, *(entry.parts_pj.get(name, 0.0) for name in parts)])
        except OSError as error:
            raise InputError(f"cannot write {path}: {error.strerror}") from None

    def to_dict(self) -> dict[str, Any]:
        """Return designs, totals by network and by layer type, and claims, fit for JSON."""
        groups = [(name, None) for name in self.networks] + [(None, name) for name in self.layer_types]
        totals = []
        for design, objective, mapper, (network, layer_type) in itertools.product(
            self.designs, self.objectives, MAPPERS, groups
        ):
            total = self.total(design, objective, mapper, network, layer_type)
            assert total is not None  # neither is empty
            figures: dict[str, Any] = {
                "design": design.name,
                "objective": objective,
                "mapper": mapper,
                "network": network or "all",
                "layers": layer_type or "all",
                "macs": total.macs,
                "energy_pj": total.energy_pj,
                "latency_ns": total.latency_ns,
                "edp_pj_ns": total.edp_pj_ns,
                "energy_per_mac_fj": total.energy_per_mac_fj,
                "tops_per_watt": total.tops_per_watt,
                "tops_per_mm2": total.tops / design.area_mm2,
            }
            if mapper == "optimal":
                figures["parts_pj"] = total.parts_pj
            totals.append(figures)
        return {
            "designs": [
                {
                    "name": design.name,
                    "kind": design.kind,
                    "size": design.size,
                    "macros": design.macros,
                    "clock_ns": design.clock_ns,
                    "area_mm2": {**design.area_parts_mm2, "total": design.area_mm2},
                    "peak_tops": design.peak.tops,
                }
                for design in self.designs
            ],
            "claims": [claim.to_dict() for claim in self.claims()],
            "crossovers": {
                name or "all": self.crossover(name)
                for name in (*self.layer_types, None)
                if self.efficiency_ratios(name)
            },
            "totals": totals,
        }


def designs(
    kinds: Sequence[str] = ("analog", "digital"),
    sizes: Sequence[int] = PAPER_SIZES,
    macros: Sequence[int] = (1,),
    equal: Sequence[tuple[str, int]] = (),
    *,
    partial_sum_bits: int = PARTIAL_SUM_BITS,
    memory: str | Path = DEFAULT_SRAM,
    variant: str = "paper",
    technology: Technology | str | Path | None = None,
) -> list[Design]:
    """Return the designs to compare, each once.

    Args:
        sizes: cells along each side of a macro.
        macros: numbers of macros, for each size.
        equal: (`capacity` or `area`, size): further numbers of macros, so that they hold as many weights as one macro
            of that size, or take at most the area of the larger kind of it: the largest power of two. Larger macros are
            left out.
        partial_sum_bits, memory, variant, technology: see :func:`fastmap.paper_system.paper_system`.

    Raises:
        InputError: a parameter is outside of what the models cover.
    """

    def system(kind: str, size: int, count: int, in_dram: bool = False) -> Architecture:
        return paper_system(
            kind,
            size,
            count,
            partial_sum_bits=partial_sum_bits,
            memory=memory,
            variant=variant,
            technology=technology,
            activations_in_dram=in_dram,
        )

    def macro_mm2(kind: str, size: int) -> float:
        return architecture_report(system(kind, size, 1)).area_mm2["total"]

    wanted: dict[tuple[str, int, int], None] = {}
    for size, count, kind in itertools.product(sizes, macros, kinds):
        wanted[kind, size, count] = None
    for what, reference in equal:
        if what not in ("capacity", "area"):
            raise InputError(f"macros can be of equal capacity or area, not {what!r}")
        budget = float(reference**2)
        if what == "area":
            budget = max(macro_mm2(kind, reference) for kind in kinds)
        for size, kind in itertools.product(sizes, kinds):
            one = float(size**2) if what == "capacity" else macro_mm2(kind, size)
            if one <= budget:
                wanted[kind, size, min(MAX_MACROS, 2 ** int(math.log2(budget / one) + 1e-9))] = None
    found = []
    for kind, size, count in sorted(wanted, key=lambda each: (each[2], each[1], each[0])):
        macros_and_buffer = system(kind, size, count)
        peak = architecture_report(macros_and_buffer)
        found.append(Design(kind, size, count, macros_and_buffer, system(kind, size, count, True), peak))
    return found


def compare(
    workloads: Sequence[Workload],
    chosen: Sequence[Design],
    objectives: Sequence[str] = OBJECTIVES,
    *,
    threads: int | None = None,
    progress: Callable[[int], object] | None = None,
    control: Control | None = None,
) -> Study:
    """Map every layer of the networks on every design, for every objective, and prove each optimum.

    Args:
        chosen: of :func:`designs`.
        threads: layers that are searched at a time; default: one for each processor.
        progress: called with the number of layers that are done, see :func:`layers_to_search`.
        control: lets another thread stop the work.

    Raises:
        InputError: as :func:`check`.
        SearchError: a layer fits none of its memories.
        KeyboardInterrupt: the work was stopped.
    """
    control = control or Control()
    if threads is not None and not 1 <= threads <= MAX_THREADS:
        raise InputError(f"threads must be an integer from 1 to {MAX_THREADS}, not {threads}")
    objectives = tuple(dict.fromkeys(objectives))
    networks = [(workload, _as_mapped(workload, chosen)) for workload in workloads]
    check(workloads, objectives)
    distinct = _distinct(networks)

    def work(task: tuple[Design, Layer]) -> dict[tuple[str, str], Evaluation]:
        design, layer = task
        if control.stopped:
            raise KeyboardInterrupt
        found = _map(layer, design, objectives, control)
        if progress is not None:
            progress(1)
        return found

    tasks = list(itertools.product(chosen, distinct.values()))
    try:
        with ThreadPoolExecutor(threads or available_threads()) as pool:
            costs = list(pool.map(work, tasks))
    except BaseException:
        control.stop()
        raise
    by_task = {(design.name, layer.signature): found for (design, layer), found in zip(tasks, costs, strict=True)}
    entries = []
    for design, (workload, layers), objective, mapper in itertools.product(chosen, networks, objectives, MAPPERS):
        for layer in layers:
            cost = by_task[design.name, layer.signature][objective, mapper]
            entries.append(
                Entry(
                    design.name,
                    workload.name,
                    layer.name,
                    layer.kind,
                    layer.macs,
                    objective,
                    mapper,
                    cost.energy_pj.total,
                    cost.latency_cycles.total,
                    cost.latency_ns,
                    _parts(cost),
                )
            )
    return Study(tuple(chosen), tuple(each.name for each, _ in networks), tuple(objectives), tuple(entries))


def check(workloads: Sequence[Workload], objectives: Sequence[str]) -> None:
    """Refuse what :func:`compare` would, before anything is searched.

    Raises:
        InputError: an objective is unknown, two workloads have the same name, or a layer has other than 8 bits.
    """
    for objective in objectives:
        if objective not in OBJECTIVES:
            raise InputError(f"objective must be one of {listed(OBJECTIVES)}, not {objective!r}")
    names = [workload.name for workload in workloads]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"two workloads have the name {name}; give each a name of its own")
    for workload in workloads:
        for layer in workload:
            if (layer.weight_bits, layer.input_bits) != (OPERAND_BITS, OPERAND_BITS):
                raise InputError(
                    f"{layer.name} of {workload.name} has weights of {layer.weight_bits} and inputs of "
                    f"{layer.input_bits} bits; the macros compared are for {OPERAND_BITS} bits"
                )


def layers_to_search(workloads: Iterable[Workload], chosen: Sequence[Design]) -> int:
    """Return how many layers :func:`compare` will search: identical ones count once for each design."""
    return len(chosen) * len(_distinct([(each, _as_mapped(each, chosen)) for each in workloads]))


def _as_mapped(workload: Workload, chosen: Sequence[Design]) -> list[Layer]:
    """Return the layers with partial sums as wide as the output registers."""
    bits = chosen[0].system.memory("output_register").size_bits
    return [
        layer.model_copy(update={"output_bits": bits, "output_final_bits": min(bits, layer.output_final_bits)})
        for layer in workload
    ]


def _distinct(networks: Iterable[tuple[Workload, Sequence[Layer]]]) -> dict[tuple[object, ...], Layer]:
    found: dict[tuple[object, ...], Layer] = {}
    for _, layers in networks:
        for layer in layers:
            found.setdefault(layer.signature, layer)
    return found


def _map(
    layer: Layer, design: Design, objectives: Sequence[str], control: Control
) -> dict[tuple[str, str], Evaluation]:
    """Return the costs of a layer by (objective, mapper)."""
    architecture = design.architecture(layer)
    space = Mapspace.build(layer, architecture, mapping_rules())
    chosen: dict[tuple[str, str], Mapping] = {}
    for objective in objectives:
        best = search_space(space, Options(objective, threads=1), control=control)
        if not best.optimal:
            raise KeyboardInterrupt  # nothing else stops it
        chosen[objective, "optimal"] = _mapping(best, objective)
    for objective, mapping in _zigzag_choices(layer, design, architecture, objectives, control).items():
        chosen[objective, "zigzag"] = mapping
    known: dict[str, Evaluation] = {}  # objectives and mappers often agree
    found = {}
    for key, mapping in chosen.items():
        text = mapping.model_dump_json()
        if text not in known:
            known[text] = evaluate(layer, architecture, mapping)
        found[key] = known[text]
    return found


def _mapping(result: SearchResult, objective: str) -> Mapping:
    return result.space.decode(*(int(part) for part in result.points[objective].mapping_id[0]))


def _zigzag_choices(
    layer: Layer, design: Design, architecture: Architecture, objectives: Sequence[str], control: Control
) -> dict[str, Mapping]:
    """Return what ZigZag's mapper would choose for each objective."""
    best: dict[str, tuple[float, SearchResult]] = {}
    tried = 0
    # The loops of the complete space.
    diagonals = (dim for dim, partner in DIAGONAL_PARTNER.items() if layer.size(partner) > 1)
    allowed = {"D1": ("K", *diagonals), "D2": ("C", "FX", "FY"), "D3": ("B", "G", "K", "OY")}
    for spatial in zigzag_spatial_mappings(layer, architecture, allowed, _LOOKED_AT):
        on_columns, on_rows = (spatial.unrolling.get(name, {}) for name in ("D1", "D2"))
        shared = {DIAGONAL_PARTNER[dim]: factor for dim, factor in on_columns.items() if dim in DIAGONAL_PARTNER}
        if spatial.diagonal_problem(architecture) or any(on_rows.get(dim, 1) == 1 < shared[dim] for dim in shared):
            continue  # ZigZag lets columns of different output positions share rows that have other inputs
        values = math.prod(shared.values())
        # Greedy allocation would fill the registers; they hold one value a row.
        memories = tuple(
            memory.model_copy(update={"size_bits": values * layer.input_bits})
            if memory.name == "input_register"
            else memory
            for memory in architecture.memories
        )
        narrow = architecture.model_copy(update={"memories": memories})
        rules = Constraints(spatial=spatial, allocation="greedy", loop_factor_limit=_LOOP_FACTORS)
        space = Mapspace.build(layer, narrow, rules)
        result = search_space(space, Options("edp", "exhaustive", top=1, threads=1), control=control)
        if not result.complete:
            raise KeyboardInterrupt
        for objective in objectives:
            points = result.points[objective]
            value = {
                "energy": points.energy_pj[0],
                "latency": points.latency_cycles[0],
                "edp": points.energy_pj[0] * points.latency_cycles[0],
            }[objective]
            if objective not in best or value < best[objective][0]:
                best[objective] = float(value), result
        tried += 1
        if tried == _SPATIAL_MAPPINGS:
            break
    if not tried:
        raise SearchError(f"{layer.name} on {design.name}: none of the spatial mappings that ZigZag would try fits")
    return {objective: _mapping(result, objective) for objective, (_, result) in best.items()}


def _parts(evaluation: Evaluation) -> dict[str, float]:
    parts = {"array": evaluation.energy_pj.mac}
    for levels in evaluation.energy_pj.memory_breakdown.values():
        for level in levels:
            spent = sum(value for key, value in level.items() if key != "memory")
            parts[level["memory"]] = parts.get(level["memory"], 0.0) + spent
    return parts
