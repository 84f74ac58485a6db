"""Probes: what is measured of a member, with the units that go into datasets (theory.md §6)."""

from ..parts import REGISTRY, register
from .alignment import (
    AbstractNeuronProbe,
    Active,
    Angle,
    FarMass,
    Imbalance,
    Mass,
    MaxAngle,
    MeanAngle,
    MeanSquareAngle,
    Owner,
    RecoveryError,
    SubspaceAlignment,
)
from .base import (
    AbstractPlainProbe,
    AbstractProbe,
    AbstractStartProbe,
    Measured,
    Moment,
    aid,
    prepared,
    preparing,
)
from .certified import AbstractCertificateProbe, CertificateMax, Gap
from .heads import ActiveHeads, HeadAngle, HeadError, HeadMass, MeanHeadAngle
from .kernel import AbstractKernelProbe, KernelAlignment, KernelChange, LinearisationError, WeightChange
from .layers import Balancedness, LayerAlignment, LayerEffectiveRank, LayerNorm, LayerSingularValues
from .linear import ModeLeakage, ModeStrength
from .objective import AppliedDecay, AppliedStepSize, GradNorm, Loss, LossError, Risk
from .representations import (
    FeatureChange,
    FirstLayerAngle,
    FirstLayerSubspace,
    LayerSimilarity,
    LayerSubspace,
    StartSimilarity,
    TeacherAngle,
    TeacherSimilarity,
)
from .robustness import AdversarialAlignment, ErrorSensitivity, Sensitivity
from .samples import AbstractSampleProbe, GeneralisationGap, LabelNoiseFit, TrainLoss
from .sparsity import EffectiveNeurons, PenaltyValue, Sparsity, TotalMass, Vanished
from .transfer import TASK_PROBES
from .units import FarthestUnit, MeanUnitAngle

for _part in (
    Loss,
    Risk,
    GradNorm,
    MeanAngle,
    MaxAngle,
    FarMass,
    Active,
    SubspaceAlignment,
    Imbalance,
    RecoveryError,
    Mass,
    Angle,
    Owner,
    MeanSquareAngle,
    ModeStrength,
    ModeLeakage,
    Balancedness,
    LayerNorm,
    LayerEffectiveRank,
    LayerAlignment,
    LayerSingularValues,
    Gap,
    CertificateMax,
    AppliedDecay,
    AppliedStepSize,
    PenaltyValue,
    Sparsity,
    Vanished,
    EffectiveNeurons,
    TotalMass,
    WeightChange,
    KernelChange,
    KernelAlignment,
    LinearisationError,
    FirstLayerAngle,
    TeacherAngle,
    FirstLayerSubspace,
    TeacherSimilarity,
    StartSimilarity,
    TrainLoss,
    GeneralisationGap,
    LabelNoiseFit,
    LossError,
    Sensitivity,
    ErrorSensitivity,
    AdversarialAlignment,
    *TASK_PROBES,
    MeanHeadAngle,
    HeadAngle,
    HeadError,
    ActiveHeads,
    HeadMass,
    MeanUnitAngle,
    FarthestUnit,
    FeatureChange,
    LayerSimilarity,
    LayerSubspace,
):
    register(_part)

PROBES: dict[str, AbstractProbe] = REGISTRY["probe"]
"""Every probe, by name."""

ALWAYS = ("applied_decay", "applied_step_size")
"""Probes that every dataset has: what a reduction of risks and certificates has to know."""

CERTIFICATE = ("gap", "certificate_max")
"""Probes that cost as much as hundreds of steps: measured at stage ends, and at records where a study asks for it."""

__all__ = [
    "ALWAYS",
    "CERTIFICATE",
    "PROBES",
    "AbstractCertificateProbe",
    "AbstractKernelProbe",
    "AbstractNeuronProbe",
    "AbstractPlainProbe",
    "AbstractProbe",
    "AbstractSampleProbe",
    "AbstractStartProbe",
    "Measured",
    "Moment",
    "aid",
    "prepared",
    "preparing",
]
