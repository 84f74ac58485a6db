"""The certificate as probes: asked for by name, since each costs as much as hundreds of steps."""

from typing import ClassVar

from ..problem.penalties import PathNorm
from ..problem.students import AbstractStudent, TwoLayerStudent
from .base import AbstractPlainProbe, Measured, When
from .certificate import duality_gap


def certified(at: Measured):
    """The certificate of a moment's model."""
    decay, path = at.moment.decay, isinstance(at.penalty, PathNorm)
    return duality_gap(
        at.moment.model, at.moment.risk.teacher, weight_decay=decay, penalty="path_norm" if path else "l2"
    )


class AbstractCertificateProbe(AbstractPlainProbe):
    """A probe of the certificate, which needs a 1-homogeneous activation and weight decay."""

    of: ClassVar[type[AbstractStudent]] = TwoLayerStudent
    when: ClassVar[When] = "stages"


class Gap(AbstractCertificateProbe):
    """The duality gap."""

    name: ClassVar[str] = "gap"
    long_name: ClassVar[str] = "duality gap: the risk is at most this above the minimum over all widths"

    def __call__(self, at):
        return at.view(certified).gap


class CertificateMax(AbstractCertificateProbe):
    """M/λ."""

    name: ClassVar[str] = "certificate_max"
    long_name: ClassVar[str] = "largest |η| found, M/λ; ∞ where λ = 0"

    def __call__(self, at):
        return at.view(certified).certificate_max
