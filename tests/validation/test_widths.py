"""How first steps go with the width in every parametrisation of deep students (Yang & Hu 2021)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ensemble.numerics import member_keys
from ensemble.problem.teachers import Orthonormal
from tests.test_parametrisation import student

TEACHER = Orthonormal(activation="relu", neurons=2, inputs=4)
WIDTHS = (64, 256, 1024)


def first_steps(kind: str, width: int, step_size: float) -> tuple[float, float]:
    """(change of f, change of the last hidden layer's units), root mean squares after two steps, over 8 seeds."""
    x = jax.random.normal(jax.random.key(1), (6, 4))
    y = jnp.sin(x[:, 0])

    @jax.jit
    @jax.vmap
    def of_seed(seed):
        network, _ = student(kind, width=width, depth=3).draw(TEACHER, member_keys(0, seed), None)
        moved = network
        for _ in range(2):
            g = jax.grad(lambda f: 0.5 * jnp.mean((jax.vmap(f)(x) - y) ** 2))(moved)
            moved = jax.tree.map(lambda w, d: w - step_size * d, moved, g)
        values = jax.vmap(moved)(x) - jax.vmap(network)(x)
        units = jax.vmap(moved.hidden)(x)[-1] - jax.vmap(network.hidden)(x)[-1]
        return jnp.mean(values**2), jnp.mean(units**2)

    f, h = of_seed(jnp.arange(8))
    return float(jnp.sqrt(jnp.mean(f))), float(jnp.sqrt(jnp.mean(h)))


def exponents(kind: str, step_size) -> tuple[float, float]:
    found = np.array([first_steps(kind, width, step_size(width)) for width in WIDTHS])
    of_f, of_units = np.polyfit(np.log(WIDTHS), np.log(found), 1)[0]
    return float(of_f), float(of_units)


@pytest.mark.parametrize(
    ("kind", "step_size", "expected"),
    [("mup", lambda n: 0.1, 0.0), ("lazy", lambda n: 0.1, -0.5), ("standard", lambda n: 0.1 / n, -0.5)],
    ids=["mup", "lazy", "standard at η over n"],
)
def test_features_move_at_every_width_in_mup_and_ever_less_elsewhere(kind, step_size, expected):
    """Exponents of the width, 64 … 1024, of the change of f (0 in all) and of the last hidden layer's units after two
    steps. Limits at finite widths and 8 seeds: within 0.15, which the other exponent is not.
    """
    of_f, of_units = exponents(kind, step_size)
    assert abs(of_f) < 0.15 and abs(of_units - expected) < 0.15
