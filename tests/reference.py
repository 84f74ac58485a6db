"""The closed forms once more, in 50-digit arithmetic and by other formulas than the code's where there are any."""

import mpmath as mp

mp.mp.dps = 50


CLOSED = ("relu", "abs", "relu_even", "abs_centred", "linear", "leaky_relu", "erf", "square", "sin", "h2", "h3")
"""The activations of which there is a formula here."""
LEAK = mp.mpf(0.01)


def kappa(name: str, rho):
    """E σ(wᵀx)σ(vᵀx) for unit vectors, from theory.md's table; arccos instead of the code's arcsin."""
    rho = mp.mpf(rho)
    theta = mp.acos(rho)
    relu = (mp.sin(theta) + rho * (mp.pi - theta)) / (2 * mp.pi)
    # |z| = relu(z) + relu(−z), so κ_abs(ρ) = 2(κ_relu(ρ) + κ_relu(−ρ)).
    other = (mp.sin(theta) - rho * theta) / (2 * mp.pi)
    absolute = 2 * (relu + other)
    return {
        "relu": relu,
        "abs": absolute,
        "relu_even": absolute / 4 - 1 / (2 * mp.pi),
        "abs_centred": absolute - 2 / mp.pi,
        "linear": rho,
        # The slope of 0.01 as float64 has it.
        "leaky_relu": relu - 2 * LEAK * other + LEAK**2 * relu,
    }[name]


def kernel(name: str, w, v):
    """K(w, v) for vectors of mpf."""
    gram = mp.fdot(w, v)
    ww, vv = mp.fdot(w, w), mp.fdot(v, v)
    if name == "erf":
        return 2 / mp.pi * mp.asin(gram / mp.sqrt((1 + ww) * (1 + vv)))
    if name == "square":
        return ww * vv + 2 * gram**2
    if name == "sin":
        return mp.exp(-(ww + vv) / 2) * mp.sinh(gram)
    if name == "h2":
        return ((ww - 1) * (vv - 1) + 2 * gram**2) / 2
    if name == "h3":
        return (6 * gram**3 + 9 * gram * (ww - 1) * (vv - 1)) / 6
    if ww == 0 or vv == 0:
        return mp.mpf(0)
    norms = mp.sqrt(ww) * mp.sqrt(vv)
    rho = gram / norms
    return norms * kappa(name, max(min(rho, mp.mpf(1)), mp.mpf(-1)))


def vectors(rows):
    return [[mp.mpf(float(x)) for x in row] for row in rows]


def loss_terms(name: str, a, W, teacher_a, teacher_W):
    """(loss, its largest term) of ½[aᵀKa − 2aᵀK*a* + a*ᵀK**a*]."""
    a, teacher_a = ([mp.mpf(float(x)) for x in values] for values in (a, teacher_a))
    W, teacher_W = vectors(W), vectors(teacher_W)

    def form(a, W, b, V):
        return mp.fsum(x * y * kernel(name, w, v) for x, w in zip(a, W, strict=True) for y, v in zip(b, V, strict=True))

    own, cross, target = (
        form(a, W, a, W),
        form(a, W, teacher_a, teacher_W),
        form(teacher_a, teacher_W, teacher_a, teacher_W),
    )
    return (own - 2 * cross + target) / 2, max(abs(own) / 2, abs(cross), abs(target) / 2)
