"""What the SIMD kernel serves, without the compiler that it needs: Numba is not wanted beside an accelerator."""

import math

from ...problem.activations import AbstractActivation, LeakyReLU

LANES = 8
"""Members side by side in a vector."""

FRESH, WHOLE, DRAWN, SHUFFLED = range(4)
"""Whence a step has its samples: fresh ones, all of the member's, a batch drawn of them, or one of a permutation."""

DUALS = {
    "relu": (0.25, 0.5 / math.pi, 0.0, 0.5 / math.pi),
    "abs": (0.0, 2.0 / math.pi, 0.0, 2.0 / math.pi),
    "relu_even": (0.0, 0.5 / math.pi, -0.5 / math.pi, 0.5 / math.pi),
    "abs_centred": (0.0, 2.0 / math.pi, -2.0 / math.pi, 2.0 / math.pi),
    "linear": (1.0, 0.0, 0.0, 0.0),
}
"""(p₀, p₁, q₀, q₁) of each activation that the kernel serves: κ − ρκ′ and κ′ in its terms."""


def four_numbers(activation: AbstractActivation) -> tuple[float, float, float, float] | None:
    """Those of an activation; None for one that the kernel does not serve."""
    return activation.four_numbers() if isinstance(activation, LeakyReLU) else DUALS.get(activation.name)


_SQRT_2_OVER_PI = math.sqrt(2.0 / math.pi)
VALUES = {
    "relu": (0.5, 0.5, 0.0, 0.5),
    "abs": (0.0, 1.0, 0.0, 0.0),
    "relu_even": (0.0, 0.5, 0.5 * _SQRT_2_OVER_PI, 0.0),
    "abs_centred": (0.0, 1.0, _SQRT_2_OVER_PI, 0.0),
    "linear": (1.0, 0.0, 0.0, 1.0),
}
"""(α, β, γ, δ) of σ = αz + β|z| − γ‖w‖, with σ′ = δ at z = 0."""


def value_numbers(activation: AbstractActivation) -> tuple[float, float, float, float] | None:
    """Those of an activation; None for one that is not of this form."""
    if isinstance(activation, LeakyReLU):
        return 0.5 * (1.0 + activation.slope), 0.5 * (1.0 - activation.slope), 0.0, activation.slope
    return VALUES.get(activation.name)
