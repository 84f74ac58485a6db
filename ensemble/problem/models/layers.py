"""Which layer of a model a leaf belongs to: 0 takes the input, the last one gives the output."""

from collections.abc import Sequence
from typing import Any, Literal

import jax

_OF_TWO = {"W": 0, "biases": 0, "a": 1, "output_bias": 1}
"""Of a two-layer network."""


def layer_numbers(model: Any) -> list[int | None]:
    """The layer of every leaf, in the order of leaves; None for a leaf of no layer.

    Those of a model with a sequence `layers` are its places there; of two-layer networks, W and the
    biases of neurons are of layer 0, a and the output's bias of layer 1.
    """
    paths = [path for path, _ in jax.tree_util.tree_leaves_with_path(model)]
    return [_number(path) for path in paths]


def _number(path: tuple[Any, ...]) -> int | None:
    names = [getattr(key, "name", None) for key in path]
    if "layers" in names[:-1]:
        return getattr(path[names.index("layers") + 1], "idx", None)
    return _OF_TWO.get(names[-1]) if names and isinstance(names[-1], str) else None


def chosen_layers(choice: Literal["both", "first", "output"] | Sequence[int], depth: int) -> set[int]:
    """The layers that a stage names: all ("both"), the first, the last, or these."""
    if isinstance(choice, str):
        return {"both": set(range(depth)), "first": {0}, "output": {depth - 1}}[choice]
    return set(choice)
