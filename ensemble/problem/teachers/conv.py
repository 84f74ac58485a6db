"""A convolutional network with planted filters."""

from typing import Literal

from pydantic import model_validator

from ...parts import chosen
from ...spec import Count
from ..models import Conv, Pooling
from .base import AbstractComposedTeacher, AbstractTwoLayerTeacher


class ConvTeacher(AbstractComposedTeacher):
    """f*(x) = pool_p g(x_p), g the two-layer teacher `filters` on every one of `patches` patches, `stride` apart.

    The inputs of `filters` are those of a patch. Its neurons are the filters that are to be found.
    """

    kind: Literal["conv"] = "conv"
    filters: chosen(AbstractTwoLayerTeacher)  # pyright: ignore[reportInvalidTypeForm]
    patches: Count
    stride: Count | None = None
    """s; where it is not said that of patches side by side, without overlap."""
    pooling: Pooling = "mean"

    @property
    def exact(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride] (its pool decides)
        return self.pooling == "mean"

    @property
    def two_layer(self):
        return self.filters

    @property
    def step(self) -> int:
        """s."""
        return self.filters.shape()[1] if self.stride is None else self.stride

    @property
    def inputs(self) -> int:
        """d = q + (P − 1)s."""
        return self.filters.shape()[1] + (self.patches - 1) * self.step

    def draw(self, key):
        planted = self.filters.draw(key)
        sizes = {"patches": self.patches, "stride": self.step}
        return Conv(planted.a, planted.W, planted.activation, **sizes, pooling=self.pooling)

    @model_validator(mode="after")
    def _check(self):
        patch = getattr(self.filters, "shape", lambda: (0, self.step))()[1]
        if self.stride is not None and self.stride > patch:
            raise ValueError(
                f"stride: got {self.stride} for patches of {patch} inputs (filters.inputs), which leaves inputs that "
                f"no patch sees; take at most {patch}, or leave it out"
            )
        return self
