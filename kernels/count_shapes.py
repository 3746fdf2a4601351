"""Which situations a state needs counts for: its *shape*.

States need others according to the precisions of the output that there may be, and to the levels of the array that may
still end. A row has, for each family of situations, a *block* for every label, with the situations side by side: what
another row holds of them is added as a whole where both are of one shape, as they nearly always are.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ._jit import allocating, kernel
from .count_situations import FOLLOWING, GROUP, LEAVES, LEVEL, PARTIAL, REUSE, SITUATION
from .problem import IRRELEVANT, N_DIMS, O, W

# A cut in a shape: its group (see ``Situations``), and the places of the situation, of the one that it leads to, and of
# that with a tile which the next loop must reuse (-1: there is none). Where it leads out of the levels of an array: the
# situation in place of the second.
WHICH, HERE, THERE, THERE_REUSED = range(4)


class Shapes(NamedTuple):
    """Shapes of states, and how a loop leads from one to another: a *pair*."""

    of: Any  #: int32[S], -1: not used
    first: Any  #: int64[n, families + 1], where the situations of each family begin among those of the shape
    position: Any  #: int32[n, E], place of each situation within its family, -1: not needed
    first_cut: Any  #: int64[n + 1]
    cut: Any  #: int32[cuts, 4]
    pair: Any  #: int32[n, n, 8], from a shape to another by a loop dimension, -1: there are no such states
    alike: Any  #: bool[pairs, families], whether each situation leads to that in the same place
    source: Any  #: int32[pairs, E], of each situation of the first shape: the place of what it leads to, -1: nothing


@allocating
def list_shapes(problem, situations, chosen, lowest, part, ahead):
    """List the shapes of all states.

    Args:
        chosen: bool[E], the situations at hand.
        lowest: int64[3], levels of each operand that belong to the array.
        ahead: uint8[3, S], see ``Sets``.
    """
    total, items = part.successor.shape
    every = situations.possible.size
    families = situations.kind.shape[0]
    of = np.full(total, -1, np.int32)
    sample, number = np.empty(16, np.int64), 0  # a state of each shape
    lower = np.empty(3, np.uint8)
    for o in range(3):
        lower[o] = (1 << lowest[o]) - 1
    before = 0
    for s in range(total):
        if not part.used[s]:
            continue
        if number == 0 or not _alike(part, ahead, lower, s, sample[before]):
            before = 0
            while before < number and not _alike(part, ahead, lower, s, sample[before]):
                before += 1
            if before == number:
                if number == sample.size:
                    sample = np.concatenate((sample, np.empty_like(sample)))
                sample[number] = s
                number += 1
        of[s] = before
    first, position = np.zeros((number, families + 1), np.int64), np.full((number, every), -1, np.int32)
    for n in range(number):
        for e in range(every):
            if chosen[e] and _needed(problem, situations, part, ahead, lower, sample[n], e):
                family = situations.family[e]
                position[n, e] = first[n, family + 1]
                first[n, family + 1] += 1
        first[n] = np.cumsum(first[n])
    first_cut, cut, cuts = np.zeros(number + 1, np.int64), np.empty((number * situations.cut.shape[0], 4), np.int32), 0
    for n in range(number):
        partial_at = np.int64(part.partial_at[sample[n]])
        for k in range(situations.cut.shape[0]):
            of_cut = situations.cut[k]
            if position[n, of_cut[SITUATION]] < 0:
                continue
            if of_cut[LEVEL] >= 0 and (partial_at >> of_cut[LEVEL]) & 1 != of_cut[PARTIAL]:
                continue
            group = situations.group[of_cut[GROUP]]
            following = of_cut[FOLLOWING]
            cut[cuts, WHICH], cut[cuts, HERE] = of_cut[GROUP], position[n, of_cut[SITUATION]]
            cut[cuts, THERE] = following if group[LEAVES] != 0 else position[n, following]
            cut[cuts, THERE_REUSED] = -1
            if group[REUSE] != 0:
                following |= group[REUSE]
                cut[cuts, THERE_REUSED] = following if group[LEAVES] != 0 else position[n, following]
            if cut[cuts, THERE] >= 0 or cut[cuts, THERE_REUSED] >= 0:
                cuts += 1
        first_cut[n + 1] = cuts
    pair, pairs = np.full((number, number, N_DIMS), -1, np.int32), 0
    for s in range(total):
        for item in range(items):
            t = part.successor[s, item]
            if of[s] >= 0 and t >= 0 and of[t] >= 0 and pair[of[s], of[t], part.item_dim[item]] < 0:
                pair[of[s], of[t], part.item_dim[item]] = pairs
                pairs += 1
    alike, source = np.ones((pairs, families), np.bool_), np.full((pairs, every), -1, np.int32)
    for here in range(number):
        for there in range(number):
            for d in range(N_DIMS):
                which = pair[here, there, d]
                if which < 0:
                    continue
                for family in range(families):
                    width = first[here, family + 1] - first[here, family]
                    alike[which, family] = width == first[there, family + 1] - first[there, family]
                for e in range(every):
                    place = position[here, e]
                    if place < 0:
                        continue
                    family, following = situations.family[e], -1
                    kept = part.weights_remain[sample[here]] and situations.placed[e, W] > 0
                    if situations.open_loop[e, d] and not (kept and problem.relevance[W, d] != IRRELEVANT):
                        following = position[there, e - e % situations.reuse_bits]
                    source[which, first[here, family] + place] = following
                    alike[which, family] &= following == place
    return Shapes(of, first, position, first_cut, cut[:cuts], pair, alike, source)


@kernel
def _alike(part, ahead, lower, s, t):
    """Do two states need the same situations?"""
    alike = part.partial_at[s] == part.partial_at[t] and part.weights_remain[s] == part.weights_remain[t]
    for o in range(3):
        alike &= (ahead[o, s] ^ ahead[o, t]) & lower[o] == 0
    return alike


@kernel
def _needed(problem, situations, part, ahead, lower, s, e):
    """Does a state need a situation? There must be a way to the end, and sums that are complete remain so."""
    for o in range(3):
        level = situations.placed[e, o]
        ended = np.int64(lower[o]) & ~np.int64(ahead[o, s])
        if level < problem.levels[o] - 1 and (ended >> level) & 1 != 0:
            return False
    level = situations.placed[e, O]
    complete = e // situations.reuse_bits % 2 == 0 and level < problem.levels[O] - 1
    return not (complete and (np.int64(part.partial_at[s]) >> level) & 1 != 0)
