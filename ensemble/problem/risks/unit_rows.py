"""The population risk for accelerators: the same gradient from unit rows, with fewer arrays between its operations.

With ŵ = w/‖w‖ the Gram matrix is ρ itself, so that no pair of neurons needs a quotient, and the rows that enter the two
products are one array (theory.md §2):

    ∂L/∂w_i = a_i Σ_j c_j‖v_j‖ [ (κ − ρκ′) ŵ_i + κ′ v̂_j ],    ∂L/∂a_i = w_iᵀ Σ_j c_j‖v_j‖ [ … ]

It agrees with `PopulationRisk` to rounding, not to the bit.
"""

from typing import Any

import jax.numpy as jnp

from ...numerics import safe_divide
from ..activations import AbstractHomogeneous
from ..models import TwoLayer, row_norms
from .base import AbstractRisk
from .population import PopulationRisk


class UnitRowsRisk(AbstractRisk):
    """`PopulationRisk` of a homogeneous activation, its gradient from unit rows."""

    risk: PopulationRisk

    def value(self, model):
        return self.risk.value(model)

    def value_and_gradient(self, model):
        sigma, teacher, m = model.activation, self.risk.teacher, len(model.a)
        rows = jnp.concatenate([model.W, teacher.W])
        norms = row_norms(rows)
        inverse = safe_divide(jnp.ones_like(norms), norms)
        units = rows * inverse[:, None]
        # Padded and added, which XLA computes where it is needed; joined, it would be an array and an operation more.
        weights = (jnp.pad(model.a, (0, len(teacher.a))) - jnp.pad(teacher.a, (m, 0))) * norms
        remainder, slope = sigma.kappa_slopes(jnp.clip(units[:m] @ units.T, -1.0, 1.0))
        radial = jnp.sum(remainder * (inverse[:m, None] * weights[None, :]), axis=1)
        pull = radial[:, None] * model.W + (slope * weights[None, :]) @ units
        # Euler's identity for a function of degree 1 in w: K(w, v) = wᵀ ∂K/∂w.
        slope_a = jnp.sum(model.W * pull, axis=-1)
        return self.risk.value(model), TwoLayer(slope_a, model.a[:, None] * pull, sigma)


def from_unit_rows(risk: Any) -> Any:
    """The form of a risk whose gradient an accelerator takes: `UnitRowsRisk` where it can be, else the risk itself."""
    is_homogeneous = type(risk) is PopulationRisk and isinstance(risk.teacher.activation, AbstractHomogeneous)
    return UnitRowsRisk(risk) if is_homogeneous else risk
