"""Every claim, those that are cheap to measure first."""

from .base import AbstractClaim
from .claims.deep_linear import DescentOfModes, ModeCurves, RichToLazy
from .claims.least_squares import LeastSquares
from .claims.online import NoiseFloorErf, NoiseFloorLinear, OnlineEquations, Plateaus
from .claims.overparametrised import OverParametrised
from .claims.penalties import Bottleneck, GroupLasso, WeightDecayMass
from .claims.stability import Balancing, Certified, StabilityLimits

CLAIMS: tuple[AbstractClaim, ...] = (
    GroupLasso(),
    WeightDecayMass(),
    Balancing(),
    StabilityLimits(),
    Plateaus(),
    DescentOfModes(),
    ModeCurves(),
    RichToLazy(),
    LeastSquares(),
    Certified(),
    NoiseFloorErf(),
    NoiseFloorLinear(),
    Bottleneck(),
    OverParametrised(),
    OnlineEquations(),
)
