"""How fast ZigZag costs mappings: the same work per temporal order as its LOMA search does, and nothing else.

Needs the extra ``parity``. Import it with the repository root on the path.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from tests.reference import zigzag_live

#: Energy in pJ and latency in cycles, with on- and off-loading; None for an order that does not fit.
Cost = tuple[float, float] | None


def cost_orders(
    layer: Mapping[str, Any],
    hw: Mapping[str, Any],
    spatial: zigzag_live.Spatial,
    orders: Sequence[Sequence[Sequence[Any]]],
) -> tuple[list[Cost], float]:
    """Cost each temporal order with ZigZag's memory allocator and IMC cost model.

    The spatial mapping is converted once and the orders are put into ZigZag's types beforehand, as in LOMA; neither is
    timed. Returns the costs in the order given and the CPU seconds of this process.
    """
    prepared = zigzag_live.prepare(layer, hw, spatial)
    from zigzag.mapping.temporal_mapping import TemporalMappingType
    from zigzag.opt.loma.memory_allocator import (
        MemoryAllocator,
        MemoryHierarchyTooSmallException,
        MemoryTooSmallException,
    )
    from zigzag.stages.evaluation.cost_model_evaluation import CostModelStage

    loops = [zigzag_live.order_of_loops(order) for order in orders]
    costs: list[Cost] = []
    with zigzag_live.silent():
        start = time.process_time()
        for order in loops:
            allocator = MemoryAllocator(
                prepared.accelerator, prepared.layer, prepared.spatial, order, TemporalMappingType.UNEVEN
            )
            try:
                temporal_mapping = allocator.run()
            except (MemoryTooSmallException, MemoryHierarchyTooSmallException):
                costs.append(None)
                continue
            stage = CostModelStage(
                [],
                accelerator=prepared.accelerator,
                layer=prepared.layer,
                spatial_mapping=prepared.spatial,
                spatial_mapping_int=prepared.spatial_int,
                temporal_mapping=temporal_mapping,
                access_same_data_considered_as_no_access=True,
            )
            for evaluation, _ in stage.run():
                costs.append((evaluation.energy_total, evaluation.latency_total2))
        seconds = time.process_time() - start
    return costs, seconds
