"""What an activation has to offer: its values, and its dual kernel in closed form."""

import abc
from typing import ClassVar, Literal

import equinox as eqx
from jaxtyping import Array, Float

Symmetry = Literal["line", "ray"]


class AbstractActivation(eqx.Module):
    """An activation σ with the kernel K(w, v) = E σ(wᵀx) σ(vᵀx), x ~ N(0, I), in closed form.

    x ~ N(0, I) is rotation invariant, so K is a function of wᵀv, ‖w‖ and ‖v‖ alone and its gradient lies
    in the plane of w and v:

        ∂K/∂w = radial · w + along · v

    Every method works elementwise and broadcasts; none has a singularity, at duplicated, opposite or zero
    neurons neither.
    """

    role: ClassVar[str] = "activation"
    name: ClassVar[str]
    symmetry: ClassVar[Symmetry]
    """`line` for an even σ, where w and −w are one neuron, else `ray`: what angles are measured between."""
    homogeneous: ClassVar[bool]
    """Whether σ is positively 1-homogeneous in w: a σ(w) is then a function of a‖w‖ and w/‖w‖."""
    growth: ClassVar[int] = 1
    """n with |σ(z)| ≤ C(1 + |z|^n): of inputs with heavy tails the loss needs moments of order 2n."""

    @abc.abstractmethod
    def __call__(self, preactivation: Float[Array, "..."], norm: Float[Array, "..."]) -> Float[Array, "..."]:
        """σ at the preactivation wᵀx of a neuron with ‖w‖ = norm.

        The norm matters only to activations from which Hermite degrees were removed: those of σ(wᵀx) as
        a function of x depend on ‖w‖.
        """

    @abc.abstractmethod
    def dual(
        self, gram: Float[Array, "..."], norm_w: Float[Array, "..."], norm_v: Float[Array, "..."]
    ) -> Float[Array, "..."]:
        """K(w, v) from gram = wᵀv and the two norms."""

    @abc.abstractmethod
    def dual_slopes(
        self, gram: Float[Array, "..."], norm_w: Float[Array, "..."], norm_v: Float[Array, "..."]
    ) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
        """(radial, along) with ∂K/∂w = radial · w + along · v; `along` is symmetric in w and v."""
