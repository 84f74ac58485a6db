"""How often the ascent finds the certificate's maximum: against a hundred times as many starts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ensemble as ens
from ensemble.probes.certificate import largest_correlation


@pytest.mark.parametrize(("neurons", "inputs"), [(8, 4), (12, 8), (30, 16)])
@pytest.mark.parametrize("sigma", ["relu", "abs_centred"])
def test_the_maximum_is_found(sigma, neurons, inputs):
    """Random residual networks, harder than those of trained students, whose neurons stand where |η| is large."""
    rng = np.random.default_rng(neurons)
    count = 200
    a, W = rng.normal(size=(count, neurons)), rng.normal(size=(count, neurons, inputs))

    def largest(starts):
        def of_network(a, W):
            return largest_correlation(ens.TwoLayer(a, W, sigma), starts)[0]

        return np.asarray(jax.jit(jax.vmap(of_network))(jnp.asarray(a), jnp.asarray(W)))

    few, many = largest(32), largest(3200)
    found = np.mean(few >= many * (1.0 - 1e-9))
    print(f"{sigma}, {neurons} neurons, {inputs} inputs: found in {found:.1%}, worst {np.min(few / many):.4f}")
    assert found >= 0.95
