"""Which situations a state needs counts for: its *shape*.

States need others according to the precisions of the output that there may be, and to the levels of the array that may
still end. A row has, for each family of situations, a *block* for every label, with the situations side by side: what
another row holds of them is added as a whole where both are of one shape, as they nearly always are.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ._jit import allocating, kernel, leaf
from .count_situations import (
    FAMILY,
    FOLLOWING,
    GROUP,
    GROUP_FIELDS,
    LEAVES,
    LEVEL,
    NEXT_FAMILY,
    PARTIAL,
    REUSE,
    SITUATION,
)
from .problem import IRRELEVANT, N_DIMS, O, W

# Cuts of a group in a shape: the fields of the group itself (see ``Situations``), where these cuts begin and stop, and
# how many situations there are of its family and of the next one.
BEGIN, STOP, WIDTH, NEXT_WIDTH = range(GROUP_FIELDS, GROUP_FIELDS + 4)

# One of them: the places of the situation, of the one that it leads to, and of that with a tile which the next loop
# must reuse (-1: there is none). Where it leads out of the levels of an array, the latter are situations, not places.
HERE, THERE, THERE_REUSED = range(3)


class Shapes(NamedTuple):
    """Shapes of states, and how a loop leads from one to another: a *pair*."""

    of: Any  #: int32[S], -1: not used
    first: Any  #: int64[n, families + 1], where the situations of each family begin among those of the shape
    position: Any  #: int32[n, E], place of each situation within its family, -1: not needed
    first_group: Any  #: int64[n + 1]
    group: Any  #: int64[groups, GROUP_FIELDS + 4]
    cut: Any  #: int32[cuts, 3]
    pair: Any  #: int32[n, n, 8], from a shape to another by a loop dimension, -1: there are no such states
    alike: Any  #: bool[pairs, families + 1], whether each situation leads to the same place; last: all do
    source: Any  #: int32[pairs, E], of each situation of the first shape: the place of what it leads to, -1: nothing


@allocating
def list_shapes(problem, situations, chosen, lowest, part, ahead):
    """List the shapes of all states.

    Args:
        chosen: bool[E], the situations at hand.
        lowest: int64[3], levels of each operand that belong to the array.
        ahead: uint8[3, S], see ``Sets``.
    """
    total = part.used.size
    every = situations.possible.size
    families = situations.kind.shape[0]
    lower = np.empty(3, np.uint8)
    for o in range(3):
        lower[o] = (1 << lowest[o]) - 1
    of = np.full(total, -1, np.int32)
    sample = np.empty(16, np.int64)
    while _find_shapes(part, ahead, lower, of, sample) > sample.size:
        sample = np.empty(2 * sample.size, np.int64)
    number = of.max() + 1
    first, position = np.zeros((number, families + 1), np.int64), np.full((number, every), -1, np.int32)
    first_group = np.zeros(number + 1, np.int64)
    group = np.empty((number * situations.group.shape[0], GROUP_FIELDS + 4), np.int64)
    cut, cuts = np.empty((number * situations.cut.shape[0], 3), np.int32), 0
    for n in range(number):
        for e in range(every):
            if chosen[e] and _needed(problem, situations, part, ahead, lower, sample[n], e):
                family = situations.family[e]
                position[n, e] = first[n, family + 1]
                first[n, family + 1] += 1
        first[n] = np.cumsum(first[n])
        first_group[n + 1], cuts = _list_cuts(
            situations, first[n], position[n], np.int64(part.partial_at[sample[n]]), first_group[n], group, cuts, cut
        )
    pair = np.full((number, number, N_DIMS), -1, np.int32)
    pairs = _find_pairs(part, of, pair)
    alike, source = np.ones((pairs, families + 1), np.bool_), np.full((pairs, every), -1, np.int32)
    for here in range(number):
        for there in range(number):
            for d in range(N_DIMS):
                if pair[here, there, d] >= 0:
                    other_weights = problem.relevance[W, d] != IRRELEVANT and part.weights_remain[sample[here]]
                    _find_sources(
                        situations, d, other_weights, first[here], first[there], position[here], position[there],
                        alike[pair[here, there, d]], source[pair[here, there, d]],
                    )  # fmt: skip
    return Shapes(of, first, position, first_group, group[: first_group[number]], cut[:cuts], pair, alike, source)


@leaf
def _list_cuts(situations, first, position, partial_at, groups, group, cuts, cut):
    """List the cuts of a shape.

    Args:
        first, position: int64[families + 1], int32[E], see ``Shapes``.
        partial_at: levels of the output that would begin with partial sums (bits).
        groups, cuts: how many of other shapes are listed.
        group, cut: see ``Shapes``, filled.

    Returns:
        How many groups and cuts are listed with these.
    """
    last = -1
    for k in range(situations.cut.shape[0]):
        of_cut = situations.cut[k]
        if position[of_cut[SITUATION]] < 0:
            continue
        if of_cut[LEVEL] >= 0 and (partial_at >> of_cut[LEVEL]) & 1 != of_cut[PARTIAL]:
            continue
        fields, following = situations.group[of_cut[GROUP]], of_cut[FOLLOWING]
        leaves, reuse = fields[LEAVES] != 0, fields[REUSE]
        cut[cuts, HERE] = position[of_cut[SITUATION]]
        cut[cuts, THERE] = following if leaves else position[following]
        cut[cuts, THERE_REUSED] = -1
        if reuse != 0:
            cut[cuts, THERE_REUSED] = following | reuse if leaves else position[following | reuse]
        if cut[cuts, THERE] < 0 and cut[cuts, THERE_REUSED] < 0:
            continue
        if of_cut[GROUP] != last:
            last = of_cut[GROUP]
            for field in range(GROUP_FIELDS):
                group[groups, field] = fields[field]
            family, next_family = fields[FAMILY], fields[NEXT_FAMILY]
            group[groups, BEGIN] = cuts
            group[groups, WIDTH] = first[family + 1] - first[family]
            group[groups, NEXT_WIDTH] = first[next_family + 1] - first[next_family]
            groups += 1
        cuts += 1
        group[groups - 1, STOP] = cuts
    return groups, cuts


@leaf
def _find_sources(situations, d, other_weights, first, their_first, position, their_position, alike, source):
    """Find what each situation of a shape leads to, by a loop of a dimension, in another one.

    Args:
        other_weights: whether the loop would load other weights than those that must remain.
        first, their_first, position, their_position: see ``Shapes``, of the two.
        alike, source: of the pair, filled.
    """
    for family in range(alike.size - 1):
        width = first[family + 1] - first[family]
        alike[family] = width == their_first[family + 1] - their_first[family]
    for e in range(position.size):
        place = position[e]
        if place < 0:
            continue
        family, following = situations.family[e], -1
        if situations.open_loop[e, d] and not (other_weights and situations.placed[e, W] > 0):
            following = np.int64(their_position[e - e % situations.reuse_bits])
        source[first[family] + place] = following
        alike[family] &= following == place
    alike[-1] = np.all(alike[:-1])


@leaf
def _find_shapes(part, ahead, lower, of, sample):
    """Find out which states have the same shape.

    Args:
        lower: uint8[3], levels of the array (bits).
        of: int32[S], filled.
        sample: int64[...], a state of each shape, filled.

    Returns:
        How many shapes there are; with more than there is room for, not all are found.
    """
    number, shape = 0, 0
    for s in range(of.size):
        if not part.used[s]:
            continue
        if number == 0 or not _alike(part, ahead, lower, s, sample[shape]):  # most often it is that of the last one
            shape = 0
            while shape < number and not _alike(part, ahead, lower, s, sample[shape]):
                shape += 1
            if shape == sample.size:
                return number + 1
            if shape == number:
                sample[number] = s
                number += 1
        of[s] = shape
    return number


@leaf
def _find_pairs(part, of, pair):
    """Number the pairs of shapes between which a loop leads; returns how many there are."""
    pairs = 0
    for s in range(of.size):
        for item in range(part.item_dim.size):
            t = part.successor[s, item]
            if of[s] >= 0 and t >= 0 and of[t] >= 0 and pair[of[s], of[t], part.item_dim[item]] < 0:
                pair[of[s], of[t], part.item_dim[item]] = pairs
                pairs += 1
    return pairs


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
