"""What a probe is, and what it is given: a member at a moment."""

import abc
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, Literal, NamedTuple, TypeVar

import equinox as eqx
from jaxtyping import Array, Float

from ..problem.penalties import AbstractPenalty
from ..problem.risks import AbstractRisk
from ..problem.students import AbstractStudent
from ..problem.teachers import AbstractTeacher

View = TypeVar("View")
When = Literal["records", "stages", "end"]
_OF_DATASETS = ("seed", "record", "stage", "step")
"""Dimensions and coordinates of every dataset, whatever is measured."""


class Moment(NamedTuple):
    """A member at one of its steps."""

    model: Any
    risk: Any
    aids: dict[str, Any]
    """What probes prepared once for this member (`AbstractProbe.prepare`), by `aid_name`."""
    decay: Float[Array, ""]
    """λ of the step."""
    step_size: Float[Array, ""]
    """η of the step; 0 where the stage takes none."""
    moves: Any
    """Which leaves of the model move: booleans in the model's structure."""
    active_threshold: Float[Array, ""]
    """A neuron is active when its mass is at least this share of the largest teacher mass."""


class Measured:
    """A moment, and what several probes want to know of it, computed once."""

    def __init__(self, moment: Moment, penalty: AbstractPenalty):
        self.moment, self.penalty = moment, penalty
        self._views: dict[Callable, Any] = {}

    def view(self, make: Callable[["Measured"], View]) -> View:
        """`make(self)`, once for all probes that ask for it."""
        if make not in self._views:
            self._views[make] = make(self)
        return self._views[make]


class AbstractProbe(eqx.Module):
    """A quantity of a member; all that a dataset says of it is said here."""

    role: ClassVar[str] = "probe"
    name: ClassVar[str]
    dims: ClassVar[tuple[str, ...]] = ()
    """Dimensions beside axes and seed: `neuron`, `teacher_neuron`, or the probe's own."""
    dtype: ClassVar[Literal["float", "int32"]] = "float"
    """`float` is the study's precision."""
    units: ClassVar[str] = "1"
    long_name: ClassVar[str]
    when: ClassVar[When] = "records"
    """Measured at records and stage ends; at stage ends (and at records where a study asks for it); or at the end."""
    default: ClassVar[bool] = False
    """Whether a study that names no probes has it."""
    of: ClassVar[type[AbstractStudent]] = AbstractStudent
    """The students that it is measured of; a union of classes serves, too."""
    full_coordinates: ClassVar[bool] = False
    """Whether it is one over x ~ N(0, I) in all d coordinates: a study that measures it has no reduced ones."""
    of_samples: ClassVar[bool] = False
    """Whether it is measured of members alone that have a sample of their own."""
    against: ClassVar[type[AbstractTeacher]] = AbstractTeacher
    """The teachers that it is measured against."""
    of_network: ClassVar[bool] = False
    """Whether it is one of the network that the weights are, over x ~ N(0, I)."""

    def __check_init__(self):
        """**Raises:** `ValueError` for dimensions that a dataset cannot have."""
        dims, name = self.dims, getattr(self, "name", "")
        if not isinstance(dims, tuple) or not all(isinstance(dim, str) for dim in dims):
            raise ValueError(f'dims: got {dims!r} of the probe {name!r}; give a tuple of texts, such as ("mode",)')
        for place, dim in enumerate(dims):
            if dim in _OF_DATASETS or dim == name or dim in dims[:place]:
                raise ValueError(
                    f"dims: got {dim!r} of the probe {name!r}; a dimension is named once, not as the probe itself, and "
                    f"datasets have a {', '.join(_OF_DATASETS)} of their own: rename it"
                )

    @abc.abstractmethod
    def prepare(self, risk: Any) -> Any:
        """What it needs of a member's risk and can compute once; `()` for nothing."""

    @abc.abstractmethod
    def __call__(self, at: Measured) -> Array:
        """The quantity, of the shape that `dims` says."""


class AbstractPlainProbe(AbstractProbe):
    """A probe that prepares nothing."""

    def prepare(self, risk):
        return ()


class AbstractStartProbe(AbstractPlainProbe):
    """A probe that compares a member with its own start."""

    @abc.abstractmethod
    def from_start(self, model: Any, risk: Any) -> Any:
        """What it keeps of the model at step 0, and can compute once: a pytree of arrays."""


def aid_name(probe: AbstractProbe) -> str:
    """Under which name a probe finds what was prepared: one for all probes of one `prepare` or `from_start`."""
    if isinstance(probe, AbstractStartProbe):
        return type(probe).from_start.__qualname__
    return type(probe).prepare.__qualname__


def prepared(probes: Iterable[AbstractProbe], risk: AbstractRisk, model: Any) -> dict[str, Any]:
    """What some probes prepare for a member that starts at `model`, by `aid_name`; nothing twice."""
    found: dict[str, Any] = {}
    for probe in probes:
        if aid_name(probe) not in found:
            is_start = isinstance(probe, AbstractStartProbe)
            found[aid_name(probe)] = probe.from_start(model, risk) if is_start else probe.prepare(risk)
    return {name: aid for name, aid in found.items() if aid != ()}


def preparing(known: dict[str, AbstractProbe], names: Iterable[str]) -> tuple[str, ...]:
    """Of the known probes the first to prepare each of what some of `names` need: probes that need the same have the
    same ones."""

    def prepares(probe: AbstractProbe) -> bool:
        return isinstance(probe, AbstractStartProbe) or not isinstance(probe, AbstractPlainProbe)

    wanted = {aid_name(known[name]) for name in names if prepares(known[name])}
    first: dict[str, str] = {}
    for name, probe in known.items():
        if prepares(probe) and aid_name(probe) in wanted:
            first.setdefault(aid_name(probe), name)
    return tuple(first.values())


def aid(probe: AbstractProbe, at: Measured) -> Any:
    """What a probe prepared for the member of a moment."""
    return at.moment.aids[aid_name(probe)]
