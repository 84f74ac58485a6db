"""Every claim, those that are cheap to measure first."""

from .base import AbstractClaim
from .claims.deep_linear import DescentOfModes, ModeCurves, RichToLazy
from .claims.flow import DescentOfFlow
from .claims.information_exponent import InformationExponent
from .claims.lazy import LazySlopes
from .claims.least_squares import LeastSquares
from .claims.online import NoiseFloorErf, NoiseFloorLinear, OnlineEquations, Plateaus
from .claims.overparametrised import OverParametrised
from .claims.penalties import Bottleneck, GroupLasso, WeightDecayMass
from .claims.spurious_minima import SpuriousFamily, SpuriousShares
from .claims.stability import Balancing, Certified, StabilityLimits
from .claims.staged import FixedDecay, Scaling, Staged

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
    LazySlopes(),
    Staged(),
    FixedDecay(),
    DescentOfFlow(),
    InformationExponent(),
    Scaling(),
    OnlineEquations(),
    SpuriousFamily(),
    SpuriousShares(),
)
