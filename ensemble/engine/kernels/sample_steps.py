"""A step on a few samples in SIMD registers: preactivations, labels, errors, slopes, and the gradients that they make.

`s` holds doubles, eight lanes beside each other; capital letters say where an array begins in it. Sums go over samples
in their order. An activation enters by four numbers: σ = αz + β|z| − γ‖w‖, with σ′ = δ at z = 0.
"""

from numba import njit

from .duals import LANES
from .vectors import choose_greater, fma, load, magnitude, splat, store, with_sign


@njit
def preactivations(s, X, W, Z, rows, m, d):
    """Z_ri = w_iᵀx_r, four neurons at a time. Those at the border repeat the last one."""
    zero = splat(0.0)
    for r in range(rows):
        x, z = X + r * d * LANES, Z + r * m * LANES
        for i0 in range(0, m, 4):
            i1, i2, i3 = min(i0 + 1, m - 1), min(i0 + 2, m - 1), min(i0 + 3, m - 1)
            w0, w1, w2, w3 = W + i0 * d * LANES, W + i1 * d * LANES, W + i2 * d * LANES, W + i3 * d * LANES
            z0 = z1 = z2 = z3 = zero
            for k in range(0, d * LANES, LANES):
                x_k = load(s, x + k)
                z0, z1 = fma(load(s, w0 + k), x_k, z0), fma(load(s, w1 + k), x_k, z1)
                z2, z3 = fma(load(s, w2 + k), x_k, z2), fma(load(s, w3 + k), x_k, z3)
            store(s, z + i0 * LANES, z0)
            store(s, z + i1 * LANES, z1)
            store(s, z + i2 * LANES, z2)
            store(s, z + i3 * LANES, z3)


@njit
def labels(s, Z, c, norm, Y, rows, m, sigma):
    """y_r = Σ_j c_j σ(z_rj)."""
    alpha, beta, gamma = splat(sigma[0]), splat(sigma[1]), splat(sigma[2])
    for r in range(rows):
        total = splat(0.0)
        for j in range(m):
            z = load(s, Z + (r * m + j) * LANES)
            value = fma(beta, magnitude(z), alpha * z) - gamma * load(s, norm + j * LANES)
            total = fma(load(s, c + j * LANES), value, total)
        store(s, Y + r * LANES, total)


@njit
def errors(s, Z, H, c, norm, Y, rows, m, sigma, share):
    """e_r = (f(x_r) − y_r) · share into Y, e_r σ′(z_ri) into Z and e_r σ(z_ri) into H."""
    alpha, beta, gamma, at_zero = splat(sigma[0]), splat(sigma[1]), splat(sigma[2]), splat(sigma[3])
    zero = splat(0.0)
    for r in range(rows):
        total = splat(0.0)
        for i in range(m):
            z = load(s, Z + (r * m + i) * LANES)
            size = magnitude(z)
            value = fma(beta, size, alpha * z) - gamma * load(s, norm + i * LANES)
            total = fma(load(s, c + i * LANES), value, total)
            store(s, H + (r * m + i) * LANES, value)
            store(s, Z + (r * m + i) * LANES, choose_greater(size, zero, alpha + with_sign(beta, z), at_zero))
        error = (total - load(s, Y + r * LANES)) * splat(share)
        store(s, Y + r * LANES, error)
        for i in range(r * m * LANES, (r + 1) * m * LANES, LANES):
            store(s, Z + i, error * load(s, Z + i))
            store(s, H + i, error * load(s, H + i))


@njit
def add_slopes(s, Z, H, X, Y, P, slope, sum_of_errors, rows, m, d, begins):
    """P_i += Σ_r Z_ri x_r, slope_i += Σ_r H_ri, and the sum of errors; from 0 where it begins."""
    keeps = splat(0.0 if begins else 1.0)
    for i0 in range(0, m, 2):
        i1 = min(i0 + 1, m - 1)
        h0, h1 = keeps * load(s, slope + i0 * LANES), keeps * load(s, slope + i1 * LANES)
        for r in range(rows):
            h0, h1 = h0 + load(s, H + (r * m + i0) * LANES), h1 + load(s, H + (r * m + i1) * LANES)
        store(s, slope + i0 * LANES, h0)
        store(s, slope + i1 * LANES, h1)
        for k0 in range(0, d, 2):
            k1 = min(k0 + 1, d - 1)
            p00, p01 = keeps * load(s, P + (i0 * d + k0) * LANES), keeps * load(s, P + (i0 * d + k1) * LANES)
            p10, p11 = keeps * load(s, P + (i1 * d + k0) * LANES), keeps * load(s, P + (i1 * d + k1) * LANES)
            for r in range(rows):
                x0, x1 = load(s, X + (r * d + k0) * LANES), load(s, X + (r * d + k1) * LANES)
                z0, z1 = load(s, Z + (r * m + i0) * LANES), load(s, Z + (r * m + i1) * LANES)
                p00, p01 = fma(z0, x0, p00), fma(z0, x1, p01)
                p10, p11 = fma(z1, x0, p10), fma(z1, x1, p11)
            store(s, P + (i0 * d + k0) * LANES, p00)
            store(s, P + (i0 * d + k1) * LANES, p01)
            store(s, P + (i1 * d + k0) * LANES, p10)
            store(s, P + (i1 * d + k1) * LANES, p11)
    total = keeps * load(s, sum_of_errors)
    for r in range(rows):
        total = total + load(s, Y + r * LANES)
    store(s, sum_of_errors, total)


@njit
def finish(s, W, a, P, slope, inverse, sum_of_errors, decay, m, d, sigma):
    """The gradient of the batch's risk and of its penalty: P_i becomes a_i (P_i − γ Σe w_i/‖w_i‖) + λ w_i.

    Returns (Σ slope², Σ P²).
    """
    output, first, gamma = splat(0.0), splat(0.0), splat(sigma[2]) * load(s, sum_of_errors)
    for i in range(m):
        a_i = load(s, a + i * LANES)
        radial = decay - a_i * (gamma * load(s, inverse + i * LANES))
        for k in range(i * d * LANES, (i + 1) * d * LANES, LANES):
            p = fma(a_i, load(s, P + k), radial * load(s, W + k))
            first = fma(p, p, first)
            store(s, P + k, p)
        total = fma(decay, a_i, load(s, slope + i * LANES))
        output = fma(total, total, output)
        store(s, slope + i * LANES, total)
    return output, first
