"""The descent on a CPU: eight members side by side in SIMD registers, one block of eight at a time on a core.

The same steps as the program in `xla.py`, for 1-homogeneous activations in float64: the two agree to
rounding. The kernel is compiled once for all shapes, activations and hyper-parameters, a block's state stays in the
core's cache for as many steps as the call allows, and no operation mixes lanes, so a member's bits depend on nothing
but its own numbers.

A 1-homogeneous activation enters by four numbers: κ′(ρ) = p₀ + p₁ arcsin ρ and κ − ρκ′ = q₀ + q₁ √(1 − ρ²).
"""

# pyright: reportCallIssue=false
# An intrinsic's first parameter, the typing context, is Numba's to give.

import math

import numpy as np
from numba import njit

from ...numerics.inverse_trig import COEFFICIENTS_64
from ..lanes import ACTIVE, DIVERGED, RULE_MET
from .vectors import LANES, choose_greater, fma, load, magnitude, polynomial, root, splat, store, with_sign

# √(1 − z) = 1 + z·S(z) on [0, 1/4]: Chebyshev fit with 60 digits, whose error times z is 4.0e-18.
_SINE_COEFFICIENTS = (
    -0.5,
    -0.12499999999998329,
    -0.06250000000372899,
    -0.03906249967390431,
    -0.027343764765621,
    -0.020507416239390026,
    -0.016120071772069384,
    -0.013014606340635124,
    -0.01150849653027125,
    -0.006145415963301141,
    -0.01877200719466222,
    0.01572602083085014,
    -0.03079068271642007,
)
_arcsin_series = polynomial(COEFFICIENTS_64)
_sine_series = polynomial(_SINE_COEFFICIENTS)
_HALF_PI = math.pi / 2
_SHORTEST = 2.0**-511
"""The norm whose square is the least normal number: below it, inner products are 0 or too coarse for an angle, and the
product of two inverses is infinite."""


@njit
def arcsin_and_sine(rho):
    """(arcsin ρ, √(1 − ρ²)) of a vector in [−1, 1], with one square root for both.

    With z = ρ² for |ρ| ≤ 1/2, and z = (1 − |ρ|)/2 beyond, where arcsin |ρ| = π/2 − 2 arcsin √z and
    √(1 − ρ²) = 2 √z √(1 − z): both series are needed on [0, 1/4] alone.
    """
    one, half = splat(1.0), splat(0.5)
    size = magnitude(rho)
    outer = half * (one - size)
    z = choose_greater(size, half, outer, size * size)
    s = choose_greater(size, half, root(outer), size)
    angle = fma(s * z, _arcsin_series(z), s)
    cosine = fma(z, _sine_series(z), one)
    arcsin = choose_greater(size, half, fma(splat(-2.0), angle, splat(_HALF_PI)), angle)
    return with_sign(arcsin, rho), choose_greater(size, half, (s + s) * cosine, cosine)


@njit
def _gram(s, V, G, m, n, d):
    """G_ij = v_iᵀ v_j for i < m, j ≥ i (and some below the diagonal), in 4 × 4 blocks of registers.

    Blocks at the border repeat their last row or column, which writes the same values again.
    """
    zero = splat(0.0)
    for i0 in range(0, m, 4):
        i1, i2, i3 = min(i0 + 1, m - 1), min(i0 + 2, m - 1), min(i0 + 3, m - 1)
        for j0 in range(i0, n, 4):
            j1, j2, j3 = min(j0 + 1, n - 1), min(j0 + 2, n - 1), min(j0 + 3, n - 1)
            g00 = g01 = g02 = g03 = g10 = g11 = g12 = g13 = zero
            g20 = g21 = g22 = g23 = g30 = g31 = g32 = g33 = zero
            for k in range(d):
                x0, x1 = load(s, V + (i0 * d + k) * LANES), load(s, V + (i1 * d + k) * LANES)
                x2, x3 = load(s, V + (i2 * d + k) * LANES), load(s, V + (i3 * d + k) * LANES)
                y = load(s, V + (j0 * d + k) * LANES)
                g00, g10, g20, g30 = fma(x0, y, g00), fma(x1, y, g10), fma(x2, y, g20), fma(x3, y, g30)
                y = load(s, V + (j1 * d + k) * LANES)
                g01, g11, g21, g31 = fma(x0, y, g01), fma(x1, y, g11), fma(x2, y, g21), fma(x3, y, g31)
                y = load(s, V + (j2 * d + k) * LANES)
                g02, g12, g22, g32 = fma(x0, y, g02), fma(x1, y, g12), fma(x2, y, g22), fma(x3, y, g32)
                y = load(s, V + (j3 * d + k) * LANES)
                g03, g13, g23, g33 = fma(x0, y, g03), fma(x1, y, g13), fma(x2, y, g23), fma(x3, y, g33)
            _store_row(s, G + i0 * n * LANES, j0, j1, j2, j3, g00, g01, g02, g03)
            _store_row(s, G + i1 * n * LANES, j0, j1, j2, j3, g10, g11, g12, g13)
            _store_row(s, G + i2 * n * LANES, j0, j1, j2, j3, g20, g21, g22, g23)
            _store_row(s, G + i3 * n * LANES, j0, j1, j2, j3, g30, g31, g32, g33)


@njit
def _store_row(s, row, j0, j1, j2, j3, x0, x1, x2, x3):
    store(s, row + j0 * LANES, x0)
    store(s, row + j1 * LANES, x1)
    store(s, row + j2 * LANES, x2)
    store(s, row + j3 * LANES, x3)


@njit
def _norms(s, V, norm, inverse, first, last, d):
    """‖v_i‖ and 1/‖v_i‖; 0 for a zero row, and one that has no direction: vanished neurons decay to so short ones."""
    zero, one, shortest = splat(0.0), splat(1.0), splat(_SHORTEST)
    for i in range(first, last):
        total = zero
        for k in range(d):
            x = load(s, V + (i * d + k) * LANES)
            total = fma(x, x, total)
        size = root(total)
        store(s, norm + i * LANES, size)
        store(s, inverse + i * LANES, choose_greater(size, shortest, one / size, zero))


@njit
def _coefficients(s, G, c, norm, inverse, radial, m, n, dual):
    """Turns G_ij into c_j κ′(ρ_ij), and adds up radial_i = Σ_j c_j ‖v_j‖ (κ − ρκ′)(ρ_ij).

    Each pair of student neurons is evaluated once and serves both; a neuron's pair with itself has ρ = 1.
    """
    one, minus_one = splat(1.0), splat(-1.0)
    p0, p1, q0, q1 = splat(dual[0]), splat(dual[1]), splat(dual[2]), splat(dual[3])
    slope_at_one = splat(dual[0] + dual[1] * _HALF_PI)
    for i in range(m):
        store(s, radial + i * LANES, load(s, c + i * LANES) * load(s, norm + i * LANES) * q0)
    for i in range(m):
        c_i, inverse_i = load(s, c + i * LANES), load(s, inverse + i * LANES)
        mass_i = c_i * load(s, norm + i * LANES)
        sum_i = load(s, radial + i * LANES)
        store(s, G + (i * n + i) * LANES, c_i * slope_at_one)
        for j in range(i + 1, n):
            at = G + (i * n + j) * LANES
            rho = load(s, at) * (inverse_i * load(s, inverse + j * LANES))
            rho = choose_greater(minus_one, rho, minus_one, choose_greater(rho, one, one, rho))
            arcsin, sine = arcsin_and_sine(rho)
            slope, remainder = fma(p1, arcsin, p0), fma(q1, sine, q0)
            c_j = load(s, c + j * LANES)
            store(s, at, c_j * slope)
            sum_i = fma(c_j * load(s, norm + j * LANES), remainder, sum_i)
            if j < m:
                store(s, G + (j * n + i) * LANES, c_i * slope)
                store(s, radial + j * LANES, fma(mass_i, remainder, load(s, radial + j * LANES)))
        store(s, radial + i * LANES, sum_i)


@njit
def _pull(s, V, G, inverse, radial, P, m, n, d):
    """P_i = radial_i w_i/‖w_i‖ + Σ_j G_ij v_j, in blocks of 4 rows × 4 inputs of registers."""
    for i0 in range(0, m, 4):
        i1, i2, i3 = min(i0 + 1, m - 1), min(i0 + 2, m - 1), min(i0 + 3, m - 1)
        f0 = load(s, radial + i0 * LANES) * load(s, inverse + i0 * LANES)
        f1 = load(s, radial + i1 * LANES) * load(s, inverse + i1 * LANES)
        f2 = load(s, radial + i2 * LANES) * load(s, inverse + i2 * LANES)
        f3 = load(s, radial + i3 * LANES) * load(s, inverse + i3 * LANES)
        for k0 in range(0, d, 4):
            k1, k2, k3 = min(k0 + 1, d - 1), min(k0 + 2, d - 1), min(k0 + 3, d - 1)
            p00, p01, p02, p03 = _scaled_row(s, V + i0 * d * LANES, k0, k1, k2, k3, f0)
            p10, p11, p12, p13 = _scaled_row(s, V + i1 * d * LANES, k0, k1, k2, k3, f1)
            p20, p21, p22, p23 = _scaled_row(s, V + i2 * d * LANES, k0, k1, k2, k3, f2)
            p30, p31, p32, p33 = _scaled_row(s, V + i3 * d * LANES, k0, k1, k2, k3, f3)
            for j in range(n):
                x0, x1 = load(s, G + (i0 * n + j) * LANES), load(s, G + (i1 * n + j) * LANES)
                x2, x3 = load(s, G + (i2 * n + j) * LANES), load(s, G + (i3 * n + j) * LANES)
                y = load(s, V + (j * d + k0) * LANES)
                p00, p10, p20, p30 = fma(x0, y, p00), fma(x1, y, p10), fma(x2, y, p20), fma(x3, y, p30)
                y = load(s, V + (j * d + k1) * LANES)
                p01, p11, p21, p31 = fma(x0, y, p01), fma(x1, y, p11), fma(x2, y, p21), fma(x3, y, p31)
                y = load(s, V + (j * d + k2) * LANES)
                p02, p12, p22, p32 = fma(x0, y, p02), fma(x1, y, p12), fma(x2, y, p22), fma(x3, y, p32)
                y = load(s, V + (j * d + k3) * LANES)
                p03, p13, p23, p33 = fma(x0, y, p03), fma(x1, y, p13), fma(x2, y, p23), fma(x3, y, p33)
            _store_row(s, P + i0 * d * LANES, k0, k1, k2, k3, p00, p01, p02, p03)
            _store_row(s, P + i1 * d * LANES, k0, k1, k2, k3, p10, p11, p12, p13)
            _store_row(s, P + i2 * d * LANES, k0, k1, k2, k3, p20, p21, p22, p23)
            _store_row(s, P + i3 * d * LANES, k0, k1, k2, k3, p30, p31, p32, p33)


@njit
def _scaled_row(s, row, k0, k1, k2, k3, factor):
    return (
        factor * load(s, row + k0 * LANES),
        factor * load(s, row + k1 * LANES),
        factor * load(s, row + k2 * LANES),
        factor * load(s, row + k3 * LANES),
    )


@njit
def _slopes(s, V, a, P, slope_a, decay, m, d):
    """The gradient of R_λ: P_i becomes a_i P_i + λ w_i, slope_a_i = w_iᵀ P_i + λ a_i (Euler's identity).

    Returns (Σ slope_a², Σ P²).
    """
    output, first = splat(0.0), splat(0.0)
    for i in range(m):
        total, a_i = splat(0.0), load(s, a + i * LANES)
        for k in range(i * d, (i + 1) * d):
            w, p = load(s, V + k * LANES), load(s, P + k * LANES)
            total = fma(w, p, total)
            p = fma(a_i, p, decay * w)
            first = fma(p, p, first)
            store(s, P + k * LANES, p)
        total = fma(decay, a_i, total)
        output = fma(total, total, output)
        store(s, slope_a + i * LANES, total)
    return output, first


@njit
def _descend(s, X, slope, moves, step_size, count):
    """x ← x − η · slope in the lanes that move."""
    half = splat(0.5)
    for k in range(0, count * LANES, LANES):
        x = load(s, X + k)
        store(s, X + k, choose_greater(moves, half, x - step_size * load(s, slope + k), x))


def scratch_size(m: int, teacher_neurons: int, d: int) -> int:
    """Doubles that a block needs."""
    n = m + teacher_neurons
    return LANES * (n * d + m * n + m * d + 3 * n + 2 * m + 6)


@njit(nogil=True, cache=True)
def advance_blocks(first, last, moving, stage, teacher, snapshots, record_steps, budget, dual, limit, s, executed):
    """Advances blocks first … last − 1 of eight lanes by up to `budget` steps each, in place.

    The arguments are arrays of `Moving`, `StageRow`, the teacher and `Snapshots` in tuples; `s` is scratch of
    `scratch_size` doubles at a 64-byte boundary; `executed[b]` becomes the steps that block b's loop ran.
    """
    a_out, W_out, step, code, record, decay_used, step_size_used = moving
    start_step, end_step, step_sizes, step_every, decays, decay_every, moves_output, moves_first, tolerance = stage
    teacher_a, teacher_W = teacher
    taken_a, taken_W, taken_decay, taken_step_size, taken = snapshots
    m, d, mt, slots = W_out.shape[1], W_out.shape[2], teacher_W.shape[1], taken_decay.shape[1]
    n = m + mt
    V = 0
    G = V + n * d * LANES
    P = G + m * n * LANES
    c = P + m * d * LANES
    norm, inverse, radial = c + n * LANES, c + 2 * n * LANES, c + 3 * n * LANES
    slope_a = radial + m * LANES
    eta = slope_a + m * LANES
    lam, out_mask, first_mask, squares = eta + LANES, eta + 2 * LANES, eta + 3 * LANES, eta + 4 * LANES
    changes = np.empty(LANES, np.int64)
    for block in range(first, last):
        base = block * LANES
        for lane in range(LANES):
            at = base + lane
            taken[at] = 0
            changes[lane] = -1
            for i in range(m):
                s[c + i * LANES + lane] = a_out[at, i]
                for k in range(d):
                    s[V + (i * d + k) * LANES + lane] = W_out[at, i, k]
            for j in range(mt):
                s[c + (m + j) * LANES + lane] = -teacher_a[at, j]
                for k in range(d):
                    s[V + ((m + j) * d + k) * LANES + lane] = teacher_W[at, j, k]
        _norms(s, V, norm, inverse, m, n, d)
        ran = 0
        while ran < budget:
            awake = 0
            for lane in range(LANES):
                at = base + lane
                s[out_mask + lane] = s[first_mask + lane] = 0.0
                if code[at] != ACTIVE or step[at] >= end_step[at]:
                    continue
                due = step[at] == record_steps[record[at]]
                if due and taken[at] == slots:
                    continue
                if step[at] >= changes[lane]:
                    changes[lane] = _stage_values(
                        at, lane, step, start_step, step_sizes, step_every, decays, decay_every, s, eta, lam
                    )
                awake += 1
                decay_used[at] = s[lam + lane]
                step_size_used[at] = s[eta + lane]
                s[out_mask + lane] = 1.0 if moves_output[at] else 0.0
                s[first_mask + lane] = 1.0 if moves_first[at] else 0.0
                if due:
                    slot = taken[at]
                    for i in range(m):
                        taken_a[at, slot, i] = s[c + i * LANES + lane]
                        for k in range(d):
                            taken_W[at, slot, i, k] = s[V + (i * d + k) * LANES + lane]
                    taken_decay[at, slot] = s[lam + lane]
                    taken_step_size[at, slot] = s[eta + lane]
                    taken[at] += 1
                    record[at] += 1
            if awake == 0:
                break
            _norms(s, V, norm, inverse, 0, m, d)
            _gram(s, V, G, m, n, d)
            _coefficients(s, G, c, norm, inverse, radial, m, n, dual)
            _pull(s, V, G, inverse, radial, P, m, n, d)
            output, both = _slopes(s, V, c, P, slope_a, load(s, lam), m, d)
            half, zero = splat(0.5), splat(0.0)
            output = choose_greater(load(s, out_mask), half, output, zero)
            both = choose_greater(load(s, first_mask), half, both, zero)
            store(s, squares, root(output + both))
            for lane in range(LANES):
                at = base + lane
                moves = s[out_mask + lane] + s[first_mask + lane] > 0.0
                if not moves:
                    continue
                if not s[squares + lane] < limit:
                    code[at] = DIVERGED
                elif s[squares + lane] <= tolerance[at]:
                    code[at] = RULE_MET
                else:
                    step[at] += 1
                    continue
                s[out_mask + lane] = s[first_mask + lane] = 0.0
            _descend(s, c, slope_a, load(s, out_mask), load(s, eta), m)
            _descend(s, V, P, load(s, first_mask), load(s, eta), m * d)
            ran += 1
        executed[block] = ran
        for lane in range(LANES):
            at = base + lane
            for i in range(m):
                a_out[at, i] = s[c + i * LANES + lane]
                for k in range(d):
                    W_out[at, i, k] = s[V + (i * d + k) * LANES + lane]


@njit
def _stage_values(at, lane, step, start_step, step_sizes, step_every, decays, decay_every, s, eta, lam):
    """Writes η and λ of a lane at its step; returns the step at which one of them halves next."""
    time = step[at] - start_step[at]
    following = np.int64(1) << 60
    epoch = 0
    if step_every[at] > 0:
        epoch = time // step_every[at]
        following = min(following, (epoch + 1) * np.int64(step_every[at]))
    s[eta + lane] = math.ldexp(step_sizes[at], -epoch)
    epoch = 0
    if decay_every[at] > 0:
        epoch = time // decay_every[at]
        following = min(following, (epoch + 1) * np.int64(decay_every[at]))
    s[lam + lane] = math.ldexp(decays[at], -epoch)
    return start_step[at] + following
