"""Updates that take no step: the exact output layer, and rebalancing."""

from typing import Any, Literal

import jax.numpy as jnp

from ...numerics import safe_divide
from ...problem.models import TwoLayer, row_norms
from ...problem.students import TwoLayerStudent
from .base import AbstractInstantUpdate


class Ridge(AbstractInstantUpdate):
    """The exact minimum over a of ½E(f−f*)² + (λ/2)‖a‖²: (K(W,W) + λI) a = K(W,W*) a*; of ½ mean (f−y)² on a sample.

    By eigenvalues of K, those at rounding level left out: the minimal-norm solution where K + λI is singular.
    """

    kind: Literal["ridge"] = "ridge"

    def apply(self, model: Any, risk: Any, strength):
        a = model.a
        own, with_target = risk.read_out(model)
        values, vectors = jnp.linalg.eigh(0.5 * (own + own.T))
        regular = values + strength
        kept = regular > len(a) * jnp.finfo(a.dtype).eps * jnp.maximum(values[-1], 0.0)
        inverse = jnp.where(kept, 1.0 / jnp.where(kept, regular, 1.0), 0.0)
        return TwoLayer(vectors @ (inverse * (vectors.T @ with_target)), model.W, model.activation)

    def check(self, student, teacher):
        require_two_layers(self.kind, student)


class Balance(AbstractInstantUpdate):
    """Every neuron rescaled to |a_i| = ‖w_i‖ = √(|a_i|‖w_i‖); a neuron of mass 0 becomes 0."""

    kind: Literal["balance"] = "balance"

    def apply(self, model: Any, risk, strength):
        norms = row_norms(model.W)
        size = jnp.sqrt(jnp.abs(model.a) * norms)
        return TwoLayer(jnp.sign(model.a) * size, safe_divide(size, norms)[:, None] * model.W, model.activation)

    def check(self, student, teacher):
        require_two_layers(self.kind, student)
        if not teacher.sigma.homogeneous:
            raise ValueError(
                f"protocol: got a balance stage with activation {teacher.sigma.name}, which is not "
                "1-homogeneous: rescaling a neuron would change the function; take another protocol or activation"
            )


def require_two_layers(kind: str, student: object) -> None:
    """**Raises:** `ValueError` where a student is no plain two-layer network."""
    if not isinstance(student, TwoLayerStudent):
        raise ValueError(f"protocol: got a {kind} stage for a student that is no two_layer; take another protocol")
    if not student.is_plain:
        raise ValueError(
            f"protocol: got a {kind} stage for a student with output_scale, recentred or linearised; it is one of the "
            "network itself: take another protocol, or leave these out"
        )
