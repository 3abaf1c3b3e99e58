"""Merging in an order that does not depend on how the parts were divided."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")


class Node(NamedTuple, Generic[T]):
    """What a run of leaves makes together.

    Attributes:
        start: number of the first leaf.
        size: how many leaves, a power of 2 that `start` is a multiple of.
        value: of all of them.
    """

    start: int
    size: int
    value: T


class Tree(Generic[T]):
    """Merges the values of leaves as a binary tree over their numbers.

    Sums in floating point depend on their order. Here a node is always the merger of its two
    halves, so trees over parts of the leaves, put together, are the tree over all, bit for bit.

    >>> tree = Tree(lambda left, right: f"({left}{right})")
    >>> for number, letter in enumerate("abcdef"):
    ...     tree.add(Node(number, 1, letter))
    >>> [node.value for node in tree.nodes], tree.total()
    (['((ab)(cd))', '(ef)'], '(((ab)(cd))(ef))')

    Args:
        merge: makes one value of two neighbours.

    Attributes:
        nodes: as few as there can be, in the order of their leaves.
    """

    def __init__(self, merge: Callable[[T, T], T]) -> None:
        self._merge = merge
        self.nodes: list[Node[T]] = []

    def add(self, node: Node[T]) -> None:
        """Put a node after the others; leaves may be left out."""
        # Else each leaf that is left out would keep its neighbours apart, and nodes would pile up.
        while grown := self._grown(node.start):
            self.nodes.pop()
            self._put(grown)
        self._put(node)

    def _put(self, node: Node[T]) -> None:
        while self.nodes and _are_halves(self.nodes[-1], node):
            left = self.nodes.pop()
            node = Node(left.start, 2 * left.size, self._merge(left.value, node.value))
        self.nodes.append(node)

    def _grown(self, stop: int) -> Node[T] | None:
        """Return the last node with its other half, if all of that is left out before `stop`.

        What lies before the first node may belong to another tree.
        """
        if not self.nodes:
            return None
        start, size, value = self.nodes[-1]
        if start % (2 * size) == 0:
            return Node(start, 2 * size, value) if start + 2 * size <= stop else None
        before = self.nodes[-2] if len(self.nodes) > 1 else None
        if before is None or before.start + before.size > start - size:
            return None
        return Node(start - size, 2 * size, value)

    def extend(self, nodes: Iterable[Node[T]]) -> None:
        """Put several nodes after the others."""
        for node in nodes:
            self.add(node)

    def total(self) -> T:
        """Return the value of all leaves, of which there has to be one."""
        value = self.nodes[0].value
        for node in self.nodes[1:]:
            value = self._merge(value, node.value)
        return value


def _are_halves(left: Node[T], right: Node[T]) -> bool:
    together = left.start + left.size == right.start and left.size == right.size
    return together and left.start % (2 * left.size) == 0
