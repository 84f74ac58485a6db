"""Gaussian inputs with a spectrum."""

from typing import Annotated, Any, ClassVar, Literal

import jax
import jax.numpy as jnp
from pydantic import Field, PositiveFloat, model_validator

from ..risks.biased import BiasedRisk
from ..risks.linear import LinearRisk
from ..risks.mixture import MixtureLinearRisk, MixtureRisk
from ..risks.other_inputs import CENTRED, AnisotropicRisk
from .base import AbstractInputs, activation_of, is_of_product


class Anisotropic(AbstractInputs):
    """x ~ N(0, Σ), Σ diagonal: eigenvalues ∝ k^(−`power`), k = 1 … d, of mean 1; or the `spectrum` as it is.

    Exact for every activation of wᵀx alone, for abs_centred and relu_even; with biases for what has biases under
    N(0, I). Angles and recovery are those of w, not of Σ^{1/2}w.
    """

    with_biases: ClassVar[bool] = True

    kind: Literal["anisotropic"] = "anisotropic"
    power: Annotated[float, Field(ge=0.0)] | None = None
    spectrum: Annotated[tuple[PositiveFloat, ...], Field(min_length=1)] | None = None

    def eigenvalues(self, inputs: int) -> Any:
        """The diagonal of Σ."""
        if self.spectrum is not None:
            return jnp.asarray(self.spectrum)
        powers = jnp.arange(1, inputs + 1, dtype=float) ** -jnp.asarray(self.power)
        return powers * (inputs / jnp.sum(powers))

    def draw(self, key, inputs):
        return jnp.sqrt(self.eigenvalues(inputs)) * jax.random.normal(key, (inputs,))

    def check(self, inputs, teacher):
        if self.spectrum is not None and len(self.spectrum) != inputs:
            raise ValueError(
                f"spectrum: got {len(self.spectrum)} eigenvalues for {inputs} inputs; give one a coordinate"
            )

    def population_refusal(self, student, teacher):
        sigma = activation_of(teacher)
        if sigma is None or sigma.name in CENTRED or is_of_product(sigma):
            return None
        return (
            f"with activation {sigma.name}, which knows ‖w‖: there is one for {', '.join(CENTRED)} beside those of wᵀx"
        )

    def population(self, risk, inputs):
        root = jnp.sqrt(self.eigenvalues(inputs))
        if isinstance(risk, LinearRisk):
            return MixtureLinearRisk(risk.teacher, jnp.zeros((1, inputs)), root)
        if isinstance(risk, BiasedRisk):
            return MixtureRisk.of(risk.teacher, jnp.zeros((1, inputs)), root)
        return AnisotropicRisk.of(risk.teacher, root)

    @model_validator(mode="after")
    def _check(self):
        if (self.power is None) == (self.spectrum is None):
            given = "both" if self.power is not None else "none of them"
            raise ValueError(f"power, spectrum: got {given}; give a power law's or the eigenvalues")
        return self
