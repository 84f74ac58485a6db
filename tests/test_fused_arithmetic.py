"""The fused kernel's arithmetic in a card's instructions, run one by one: there need be no card.

Only the card's own approximation of 1/√z is not known to the bit here; it is taken to be as bad as it may be.
"""

import re
from fractions import Fraction

import jax
import numpy as np
import pytest

from benchmarks.gpu import sass
from benchmarks.gpu.cards import CARDS
from ensemble.engine.kernels import arithmetic
from ensemble.engine.kernels.arithmetic import Card, Plain
from ensemble.engine.kernels.pairs import kappa_slopes
from ensemble.problem.activations import ACTIVATIONS, AbstractHomogeneous

HOMOGENEOUS = [sigma for sigma in ACTIVATIONS.values() if isinstance(sigma, AbstractHomogeneous)]
_APPROXIMATION = 2.0**-20
"""Relative error of `rsqrt.approx.ftz.f64` and `.f32` at most, with room (the PTX manual says 2⁻²²·⁹ and less)."""


def instructions(asm: str, *arguments) -> jax.Array:
    """What `arithmetic._call` does, number by number, in the arithmetic that PTX documents."""
    real = np.dtype(arguments[0].dtype).type
    columns = [np.ravel(np.asarray(x)) for x in arguments]
    found = [_run(asm, real, row) for row in zip(*columns, strict=True)]
    return jax.numpy.asarray(np.reshape(found, np.shape(arguments[0])), real)


def _run(asm: str, real: type, row: tuple) -> float:
    registers = {f"${place}": real(x) for place, x in enumerate(row, 1)}

    def value(name: str):
        if name.startswith("0d"):
            return np.frombuffer(bytes.fromhex(name[2:]), ">f8")[0].astype(real)
        if name.startswith("0f"):
            return np.frombuffer(bytes.fromhex(name[2:]), ">f4")[0].astype(real)
        return registers[name]

    for line in filter(None, map(str.strip, asm.split(";"))):
        name, rest = line.split(None, 1)
        if name == ".reg":
            continue
        to, *given = re.split(r",\s*", rest)
        x = [value(g) for g in given]
        match name.split(".")[0]:
            case "mov":
                found = x[0]
            case "neg":
                found = -x[0]
            case "add":
                found = x[0] + x[1]
            case "mul":
                found = x[0] * x[1]
            case "fma":  # one rounding
                found = float(Fraction(float(x[0])) * Fraction(float(x[1])) + Fraction(float(x[2])))
            case "copysign":
                found = np.copysign(x[1], x[0])
            case "rsqrt":
                found = (1.0 + _APPROXIMATION) / np.sqrt(x[0])
            case _:
                raise ValueError(line)
        registers[to] = real(found)
    return registers["$0"]


@pytest.fixture(autouse=True)
def by_instructions(monkeypatch):
    monkeypatch.setattr(arithmetic, "_call", instructions)


def cosines(real: type) -> np.ndarray:
    one, half = real(1.0), real(0.5)
    edges = [0.0, 1e-30, half, np.nextafter(half, one), np.nextafter(one, half), one, 1 - 1e-4, 1 - 3e-7, 0.3]
    inside = np.random.default_rng(0).uniform(0.0, 1.0, 30)
    return np.concatenate([edges, -np.array(edges), inside, -inside]).astype(real)


@pytest.mark.parametrize("precision", ["float64", "float32"])
@pytest.mark.parametrize("sigma", HOMOGENEOUS, ids=lambda sigma: sigma.name)
def test_slopes_of_pairs_are_those_of_the_activation(sigma, precision):
    rho = cosines(np.dtype(precision).type)
    expected = sigma.kappa_slopes(jax.numpy.asarray(rho))
    # An arcsine and a root within a few ulp of numbers of at most π/2.
    allowed = 4 * np.finfo(precision).eps
    for arithmetic_of in (Card(), Plain()):
        for ours, theirs in zip(kappa_slopes(arithmetic_of, sigma, jax.numpy.asarray(rho)), expected, strict=True):
            assert ours.dtype == rho.dtype
            np.testing.assert_allclose(ours, theirs, atol=allowed, rtol=0)


@pytest.mark.parametrize("sigma", HOMOGENEOUS, ids=lambda sigma: sigma.name)
def test_a_cosine_beyond_one_by_rounding_changes_no_kernel(sigma):
    """κ = (κ − ρκ′) + ρκ′ is flat in the angle at |ρ| = 1, whichever side rounding falls on."""
    rho = jax.numpy.asarray([1.0 + 2**-52, 1.0 + 2**-50, -1.0 - 2**-52])
    remainder, slope = kappa_slopes(Card(), sigma, rho)
    # What is left of an angle δ = √(2 · 2⁻⁵⁰) is δ², times κ″√(1 − ρ²) ≤ 1.
    np.testing.assert_allclose(remainder + rho * slope, sigma.kappa(jax.numpy.clip(rho, -1.0, 1.0)), atol=4e-15)


def test_a_root_is_right_to_rounding_and_of_zero_zero():
    z = np.concatenate([2.0 ** np.arange(-1020.0, 1021.0, 60.0), [0.0, 3.0, 0.1]])
    with np.errstate(divide="ignore"):
        expected = 1.0 / np.sqrt(z)
    found = np.asarray(Card().inverse_root(jax.numpy.asarray(z[z > 0])))
    np.testing.assert_allclose(found, expected[z > 0], rtol=4e-16)
    least = 2.0**-120
    assert float(0.0 * Card().inverse_root(jax.numpy.zeros(1), least)[0]) == 0.0
    close = np.array([2.0**-54, 0.25])
    np.testing.assert_allclose(
        np.asarray(Card().inverse_root(jax.numpy.asarray(close), least)), close**-0.5, rtol=4e-16
    )


def test_what_a_step_issues_is_counted_in_its_loop():
    text = """
.text.descend:
        /*0000*/                   MOV R1, R2 ;
.L_x_1:
        /*0010*/                   DFMA R2, R2, R4, R6 ;
        /*0020*/                   BAR.SYNC.DEFER_BLOCKING 0x0 ;
.L_x_2:
        /*0030*/                   DMMA.8x8x4 R2, R4, R6, R2 ;
        /*0040*/                   MUFU.RSQ64H R3, R4 ;
        /*0050*/              @P0 BRA `(.L_x_2) ;
        /*0060*/              @!P1 BRA `(.L_x_1) ;
        /*0070*/                   EXIT ;
$__internal_0_$__cuda_sm20_div_rn_f64_full:
        /*0080*/                   DFMA R2, R2, R4, R6 ;
        /*0090*/                   BRA `(.L_x_1) ;
"""
    found = sass.of_text(text, 3)
    assert found == sass.Issued(all=3 + 3 * 3, double=1, matrix=3, barriers=1, roots_and_quotients=3)
    # Four warps, one a scheduler: 12 instructions against 1 × 2 + 3 × 8 clocks of the units for float64.
    assert found.nanoseconds(CARDS["H100"], 4) == pytest.approx(26 / 1.98 / 132)
