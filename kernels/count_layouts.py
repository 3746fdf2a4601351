"""How the counts of a state lie in its row: its *layout*, which many states share. It tells the shape (see
``count_shapes``) and the labels that occur (see ``count_sets``).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ._bits import count_bits
from ._jit import allocating, formula, leaf


class Layouts(NamedTuple):
    """Layouts: for each family of situations a block for every combination of labels, with its situations."""

    of: Any  #: int32[S], -1: not used
    shape: Any  #: int64[n]
    occur: Any  #: uint64[n, words], see ``Sets``
    first_label: Any  #: int32[n, kinds + 1], labels before those of each kind
    first_count: Any  #: int32[n, families + 1], counts before those of each family
    most_labels: Any  #: of all kinds together
    most_combinations: Any  #: of the labels of a family


@allocating
def list_layouts(situations, steps, used, shapes, occur):
    """List the layouts of all states (bool[S]: those used), whose labels are ``occur`` (uint64[S, words])."""
    size = 16
    while size < 2 * used.size:
        size *= 2
    of = np.full(used.size, -1, np.int32)
    sample = np.empty(used.size, np.int64)  # a state of each layout
    number = _find_layouts(used, shapes.of, occur, np.full(size, -1, np.int32), sample, of)
    first_label = np.zeros((number, steps.kinds + 1), np.int32)
    first_count = np.zeros((number, situations.kind.shape[0] + 1), np.int32)
    shape, labels = np.empty(number, np.int64), np.empty((number, occur.shape[1]), np.uint64)
    most_labels, most_combinations = _fill_layouts(
        situations.kind, steps.first_word, shapes, occur, sample, shape, labels, first_label, first_count
    )
    return Layouts(of, shape, labels, first_label, first_count, most_labels, most_combinations)


@leaf
def _find_layouts(used, shape_of, occur, slots, sample, of):
    """Find out which states have the same layout; returns how many there are.

    Args:
        slots: int32[2**n], a hash table, -1 everywhere.
        sample: int64[S], a state of each layout, filled.
        of: int32[S], filled.
    """
    number = 0
    mask = np.uint64(slots.size - 1)
    for s in range(used.size):
        if not used[s]:
            continue
        labels = occur[s]
        key = np.uint64(shape_of[s])
        for word in range(labels.size):
            key = (key ^ labels[word]) * np.uint64(0x9E3779B97F4A7C15)
            key ^= key >> np.uint64(29)
        slot = key & mask
        while slots[slot] >= 0:
            t = sample[slots[slot]]
            same = shape_of[s] == shape_of[t]
            for word in range(labels.size):
                same &= labels[word] == occur[t, word]
            if same:
                break
            slot = (slot + np.uint64(1)) & mask
        if slots[slot] < 0:
            slots[slot] = number
            sample[number] = s
            number += 1
        of[s] = slots[slot]
    return number


@leaf
def _fill_layouts(kinds, first_word, shapes, occur, sample, shape, labels, first_label, first_count):
    """Fill the layouts; returns the most labels and the most combinations of a family's labels.

    Args:
        sample: int64[...], a state of each layout.
        shape, labels, first_label, first_count: filled.
    """
    most_labels, most_combinations = 1, 1
    for n in range(shape.size):
        for word in range(occur.shape[1]):
            labels[n, word] = occur[sample[n], word]
        shape[n] = shapes.of[sample[n]]
        for kind in range(first_word.size - 1):
            first_label[n, kind + 1] = first_label[n, kind]
            for word in range(first_word[kind], first_word[kind + 1]):
                first_label[n, kind + 1] += count_bits(labels[n, word])
        most_labels = max(most_labels, np.int64(first_label[n, -1]))
        first = shapes.first[shape[n]]
        for family in range(first.size - 1):
            combinations = 1
            for kind in kinds[family]:
                combinations *= labels_of(first_label[n], kind)
            most_combinations = max(most_combinations, combinations)
            first_count[n, family + 1] = first_count[n, family] + combinations * (first[family + 1] - first[family])
    return most_labels, most_combinations


@formula
def labels_of(first_label, kind):
    """How many labels of a kind there are, by the labels before those of each kind (int32[kinds + 1]); 1 for none."""
    return np.int64(first_label[kind + 1] - first_label[kind]) if kind >= 0 else 1
