"""Parametrisations of deep networks: how multipliers and starts of layers go with the width (Yang & Hu 2021,
arXiv 2011.14522).

W_l enters the network as m_l W_l, and starts as c_l times what its start draws. A step of η on W_l is one of m_l²η on
m_lW_l, so that with multipliers alone every layer has the step size that its parametrisation asks for. Of a layer with
n inputs and n′ outputs (biases, which start at 0, have the multiplier of the last columns):

    standard       m = 1        c = 1        m′ = 1
    lazy           m = 1/√n     c = √n       m′ = 1
    mup, first     m = √n′      c = 1/√n′    m′ = √n′
    mup, hidden    m = 1        c = 1        m′ = √n′
    mup, last      m = 1/√n     c = 1        m′ = 1
    mean_field     mup of two layers: f = (1/n) Σ_i a_i σ(w_iᵀx), a step size of nη

Under descent with one η at all widths features move by O(1) in `mup` as the width grows and by O(1/√n) in `lazy`,
whose limit is the kernel's; `standard` has no limit at one η, and is lazy at η/n. In the abc-table of the source these
are SP, NTP, μP and MFP, each with c = 0.
"""

from typing import Literal

from ..models import Multipliers

Parametrisation = Literal["standard", "mean_field", "mup", "lazy"]


def multipliers(kind: Parametrisation, sizes: tuple[int, ...]) -> Multipliers | None:
    """(m_1, …, m_L) and (m′_1, …, m′_L) of a network of these sizes: inputs, every hidden width, outputs; None: 1."""
    if kind == "standard":
        return None
    inputs, outputs = sizes[:-1], sizes[1:]
    if kind == "lazy":
        return tuple(n**-0.5 for n in inputs), (1.0,) * len(inputs)
    hidden = tuple(n**0.5 for n in outputs[:-1])
    weights = (hidden[0], *(1.0,) * (len(inputs) - 2), inputs[-1] ** -0.5)
    return weights, (*hidden, 1.0)


def start_shares(kind: Parametrisation, sizes: tuple[int, ...]) -> tuple[float, ...]:
    """(c_1, …, c_L), the factors of what the start draws."""
    inputs, outputs = sizes[:-1], sizes[1:]
    if kind == "standard":
        return (1.0,) * len(inputs)
    if kind == "lazy":
        return tuple(n**0.5 for n in inputs)
    return (outputs[0] ** -0.5, *(1.0,) * (len(inputs) - 1))
