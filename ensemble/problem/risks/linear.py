"""The population loss of linear maps, ½E‖Ax − Tx‖² = ½‖A − T‖²_F for x ~ N(0, I)."""

from typing import ClassVar

import jax.numpy as jnp

from ..models import DeepLinear, SingularMap
from .base import AbstractDifferentiatedRisk


class LinearRisk(AbstractDifferentiatedRisk):
    """½‖W_L ⋯ W_1 − T‖²_F, exactly (theory.md §11).

    **Arguments:** `teacher`, a `SingularMap`.
    """

    isotropic: ClassVar[bool] = True

    teacher: SingularMap

    def value(self, model: DeepLinear):
        return 0.5 * jnp.sum((model.matrix - self.teacher.matrix) ** 2)
