"""What the SIMD kernel serves, without the compiler that it needs: Numba is not wanted beside an accelerator."""

import math

from ...problem.activations import AbstractActivation, LeakyReLU

LANES = 8
"""Members side by side in a vector."""

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
