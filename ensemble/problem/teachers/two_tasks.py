"""Two tasks in one teacher: what is learned first, and what is learned after it."""

import math
from typing import Annotated, Literal

import jax.numpy as jnp
import numpy as np
from pydantic import Field, model_validator

from ...spec import RADIANS, Whole
from .planted import AbstractPlantedTeacher, widest


class TwoTasks(AbstractPlantedTeacher):
    """Two teachers of m neurons each; stages choose one by their `target`, [0, …, m−1] or [m, …, 2m−1].

        w*_j = e_j,   w*_{m+j} = e_j cos θ + e_{m+j} sin θ,   θ = 0 for j < shared

    **Arguments:** `neurons` 2m, of both tasks together; `task_angle` θ in radians, 0 for the same features; `shared`:
    how many neurons of the first task the second one has as they are; `output_weights` of all 2m: tasks may differ.
    Probes of angles are those to the nearest neuron of either task, and Δ is the least angle among all 2m.
    """

    kind: Literal["two_tasks"] = "two_tasks"
    task_angle: Annotated[float, Field(ge=0.0), RADIANS]
    shared: Whole = 0

    def plane(self):
        return self.neurons

    def rows(self, key):
        m = self.neurons // 2
        angle = jnp.where(jnp.arange(m) < self.shared, 0.0, self.task_angle)
        first = jnp.concatenate([jnp.eye(m), jnp.zeros((m, m))], axis=1)
        second = jnp.concatenate([jnp.diag(jnp.cos(angle)), jnp.diag(jnp.sin(angle))], axis=1)
        return jnp.concatenate([first, second])

    def gram(self):
        m = self.neurons // 2
        between = np.diag(np.where(np.arange(m) < self.shared, 1.0, math.cos(self.task_angle)))
        return np.block([[np.eye(m), between], [between, np.eye(m)]])

    @model_validator(mode="after")
    def _check(self):
        if self.neurons % 2:
            raise ValueError(f"neurons: got {self.neurons}; give an even number, half of it for each of the two tasks")
        if self.neurons > self.inputs:
            raise ValueError(f"neurons: got {self.neurons} in inputs = {self.inputs} dimensions; take as many inputs")
        if self.shared > self.neurons // 2:
            raise ValueError(f"shared: got {self.shared}; a task has {self.neurons // 2} neurons")
        limit, between = widest(self.sigma)
        if self.task_angle > limit * (1 + 1e-12):
            raise ValueError(
                f"task_angle: got {self.task_angle:g} rad between {between} of {self.sigma.name}; it is at most "
                f"{limit:.6g} rad"
            )
        return self
