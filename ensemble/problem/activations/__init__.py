"""Activations with closed dual kernels, by name.

`ACTIVATIONS` maps each name to its one instance; `activation(name)` looks a name up and says which ones
there are when it is unknown. A user's own one joins them by `ensemble.register`.
"""

from ...parts import REGISTRY, lookup, register
from .base import AbstractActivation
from .homogeneous import Abs, AbsCentred, AbstractHomogeneous, Linear, ReLU, ReLUEven
from .smooth import Erf, Square

for _part in (ReLU, Abs, ReLUEven, AbsCentred, Linear, Erf, Square):
    register(_part)

ACTIVATIONS: dict[str, AbstractActivation] = REGISTRY["activation"]


def activation(name: str | AbstractActivation) -> AbstractActivation:
    """The activation called `name`; an `AbstractActivation` is returned as it is.

    **Raises:** `ValueError` for an unknown name.
    """
    if isinstance(name, AbstractActivation):
        return name
    try:
        return lookup("activation", name)
    except ValueError as error:
        raise ValueError(f"activation: {error}") from None


__all__ = [
    "ACTIVATIONS",
    "Abs",
    "AbsCentred",
    "AbstractActivation",
    "AbstractHomogeneous",
    "Erf",
    "Linear",
    "ReLU",
    "ReLUEven",
    "Square",
    "activation",
]
