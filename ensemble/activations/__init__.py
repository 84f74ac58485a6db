"""Activations with closed dual kernels, by name.

`ACTIVATIONS` maps each name to its one instance; `activation(name)` looks a name up and says which ones
there are when it is unknown.
"""

from .base import AbstractActivation
from .homogeneous import Abs, AbsCentred, AbstractHomogeneous, Linear, ReLU, ReLUEven
from .smooth import Erf, Square

ACTIVATIONS: dict[str, AbstractActivation] = {
    instance.name: instance for instance in (ReLU(), Abs(), ReLUEven(), AbsCentred(), Linear(), Erf(), Square())
}


def activation(name: str | AbstractActivation) -> AbstractActivation:
    """The activation called `name`; an `AbstractActivation` is returned as it is.

    **Raises:** `ValueError` for an unknown name.
    """
    if isinstance(name, AbstractActivation):
        return name
    if name not in ACTIVATIONS:
        raise ValueError(f"activation: got {name!r}; known activations are {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[name]


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
