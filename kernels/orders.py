"""The loops that are ordered: the prime factors of the remaining iterations.

They form a multiset of items (loop dimension, factor), sorted in the layer's dimension order, then by size. An order is
a sequence of item numbers, innermost first (``lattice``).
"""

from __future__ import annotations

import numpy as np

from ._jit import allocating, kernel
from .problem import MAX_LOOPS


@kernel
def prime_factors(number, factors):
    """Write the prime factors of a positive number in ascending order; return how many."""
    n = 0
    divisor = 2
    while divisor * divisor <= number:
        while number % divisor == 0:
            factors[n] = divisor
            n += 1
            number //= divisor
        divisor += 1
    if number > 1:
        factors[n] = number
        n += 1
    return n


@allocating
def loop_items(remaining, dimension_order, limit, item_dim, item_size, item_count):
    """Distinct loop factors of the remaining iterations.

    Args:
        remaining: int64[8], temporal iterations per dimension.
        dimension_order: the layer's order of its dimensions.
        limit: largest number of loops (0: none). While there are more, the dimension with the most factors has its two
            smallest merged, as ZigZag does for its ``lpf_limit``; the limit is at least the number of dimensions left.
        item_dim, item_size, item_count: int64[MAX_LOOPS], filled.

    Returns:
        (distinct items, loops); loops is -1 when they are more than MAX_LOOPS.
    """
    factors = np.empty((8, 64), np.int64)
    count = np.zeros(8, np.int64)
    loops = 0
    dims = 0
    for d in dimension_order:
        if remaining[d] > 1:
            count[d] = prime_factors(remaining[d], factors[d])
            loops += count[d]
            dims += 1
    if dims == 0:  # everything is unrolled: one loop of one iteration
        item_dim[0], item_size[0], item_count[0] = dimension_order[0], 1, 1
        return 1, 1
    if limit > 0:
        limit = max(limit, dims)
        while loops > limit:
            most = dimension_order[0]
            for d in dimension_order:
                if count[d] > count[most]:
                    most = d
            merged = factors[most, 0] * factors[most, 1]
            n = count[most] - 1
            p = 0
            while p < n - 1 and factors[most, p + 2] < merged:
                factors[most, p] = factors[most, p + 2]
                p += 1
            factors[most, p] = merged
            for i in range(p + 1, n):
                factors[most, i] = factors[most, i + 1]
            count[most] = n
            loops -= 1
    if loops > MAX_LOOPS:
        return 0, -1
    items = 0
    for d in dimension_order:
        for i in range(count[d]):
            if i > 0 and factors[d, i] == factors[d, i - 1]:
                item_count[items - 1] += 1
            else:
                item_dim[items], item_size[items], item_count[items] = d, factors[d, i], 1
                items += 1
    return items, loops
