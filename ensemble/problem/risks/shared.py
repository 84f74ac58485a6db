"""Risks of models that are two-layer networks with shared weights: a sum over patches, exactly.

With mean pooling f(x) = (1/P) Σ_p Σ_k a_k σ(w_kᵀx_p) is a two-layer network of P neurons a filter (`Conv.spread`), and
E f f′ = (1/P²) Σ_{p,p′} Σ_{k,l} a_k a′_l K(w_k at p, w′_l at p′), whatever the overlap of patches. Without overlap
patches are independent under N(0, I), and it is

    L = (1/P) L_patch + ½(1 − 1/P)(Σ_k a_k Eσ(w_kᵀx) − Σ_l a*_l Eσ(w*_lᵀx))²

with the two-layer loss L_patch on one patch: a centred activation leaves the first term alone.
"""

from collections.abc import Callable
from typing import Any

import jax

from .base import AbstractRisk
from .population import PopulationRisk


class SharedRisk(AbstractRisk):
    """The risk of a model that has a two-layer network as `spread`, from the one of two-layer networks.

    Its gradient is that of the spread network, summed over the places that share a weight.

    **Arguments:** `teacher`, a model with `spread`; `risk`, of two-layer networks, against that of the teacher.
    """

    teacher: Any
    risk: Any

    @classmethod
    def of(cls, teacher: Any) -> "SharedRisk":
        """The population risk under x ~ N(0, I)."""
        return cls(teacher, PopulationRisk.of(teacher.spread))

    def value(self, model):
        return self.risk.value(model.spread)

    def value_and_gradient(self, model):
        spread, gathered = jax.vjp(lambda model: model.spread, model)
        value, slope = self.risk.value_and_gradient(spread)
        return value, gathered(slope)[0]


def converted(risk: Any, change: Callable[[Any], Any]) -> Any:
    """`change` of a risk of two-layer networks, also where it stands behind shared weights."""
    return SharedRisk(risk.teacher, change(risk.risk)) if isinstance(risk, SharedRisk) else change(risk)
