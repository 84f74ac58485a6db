"""What a student is: a recipe for a model and for the risk that it is trained on."""

import abc
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import jax.numpy as jnp
from pydantic import PositiveFloat

from ...numerics import Keys
from ...parts import Part
from ..draws import Space
from ..lazy import LinearisedRisk, ScaledRisk, View
from ..risks import AbstractRisk
from ..teachers import AbstractTeacher


class Stored(NamedTuple):
    """An array of a member that datasets hold."""

    path: str
    """Where it is: `model.W`, `risk.teacher.a`."""
    dims: tuple[str, ...]
    long_name: str

    def of(self, tree: Any) -> Any:
        """The array, out of the model or the risk that its path begins with."""
        for key in self.path.split(".")[1:]:
            if isinstance(tree, Mapping):
                tree = tree[key]
            else:
                tree = tree[int(key)] if key.isdigit() else getattr(tree, key)
        return tree


class AbstractStudent(Part):
    """A recipe for what is trained: `draw` gives a model, and the risk that the teacher poses to it.

    The model is an Equinox module (or any pytree) whose leaves are all arrays of floats; so are the risk's.
    """

    role: ClassVar[str] = "student"
    learns: ClassVar[type[AbstractTeacher]] = AbstractTeacher
    """The teachers that it can learn from."""
    exact: ClassVar[bool] = True
    """Whether the risk of `draw` is the exact population loss under x ~ N(0, I); else a study must give it samples, and
    of its risk only `teacher` is taken."""
    from_samples: ClassVar[bool] = False
    """Whether its model and its risk's `teacher` are functions of one x, so that it can be trained on samples."""
    stored: ClassVar[Mapping[str, Stored]] = {}
    """The arrays that a dataset holds where weights are stored, by variable; a student that names none stores its
    model's leaves under their own names."""
    stored_of: ClassVar[Mapping[type[AbstractTeacher], Mapping[str, Stored]]] = {}
    """Those beside them, by the class of teacher."""

    def arrays(self, teacher: AbstractTeacher) -> Mapping[str, Stored]:
        """All arrays that a dataset holds of a member with such a teacher."""
        return dict(self.stored) | {
            name: stored
            for kind, arrays in self.stored_of.items()
            if isinstance(teacher, kind)
            for name, stored in arrays.items()
        }

    @abc.abstractmethod
    def draw(self, teacher: Any, keys: Keys, space: Any) -> tuple[Any, AbstractRisk]:
        """(model, risk) of one member, whose keys these are.

        `teacher` is the study's, and `space` the coordinates of a student that has such (`Space`), else None.
        """


class AbstractNumberedStudent(AbstractStudent):
    """A student whose model has a sequence `layers`: stages choose from them, by number."""

    depth: int
    """L, the number of layers of weights."""

    @abc.abstractmethod
    def check(self, teacher: Any) -> None:
        """**Raises:** `ValueError` where this student cannot learn from this teacher."""


class AbstractTwoLayeredStudent(AbstractNumberedStudent):
    """One of two layers that is no plain two-layer network."""

    depth: ClassVar[int] = 2  # pyright: ignore[reportIncompatibleVariableOverride] (of these students a constant)


class AbstractLayeredStudent(AbstractNumberedStudent):
    """A student whose model has matrices `weights`, each of which takes what the one before puts out."""


class AbstractSizedStudent(AbstractStudent):
    """A student that can say its sizes without drawing, and may be written in reduced coordinates."""

    @abc.abstractmethod
    def check(self, teacher: Any) -> None:
        """**Raises:** `ValueError` where this student cannot learn from this teacher."""

    @abc.abstractmethod
    def space(self, teacher: Any, reduces: bool) -> Space:
        """The coordinates of its rows; reduced ones only where `reduces`, and where they are fewer."""

    @abc.abstractmethod
    def sizes(self, teacher: Any, space: Space) -> dict[str, int]:
        """The sizes of the dimensions of what is stored and measured."""

    @abc.abstractmethod
    def described(self, teacher: Any, space: Space) -> dict[str, tuple[int, str]]:
        """(value, long name) of the variables that say a cell's sizes."""

    @abc.abstractmethod
    def structures(self, teacher: Any, space: Space) -> tuple[AbstractTeacher, "AbstractStudent"]:
        """Both as a program sees them: equal where one program serves."""


class AbstractComparedStudent(AbstractStudent):
    """A student that may stand beside its lazy comparator (theory.md §11).

    g = α f_θ, less α f_θ0 where it is `recentred`, is what is trained and measured; where it is `linearised`, g is
    linear in the weights: α(f_θ0 + ∂f_θ0·(θ − θ0)). Weights, their decay and their starts are those of θ: a gradient of
    g is α times that of f, so that a step size of η/α² at every α is one time for all of them.
    """

    output_scale: PositiveFloat | None = None
    """α; 1 where nothing is said."""
    recentred: bool | None = None
    """Whether the network at its start is subtracted, so that g = 0 there."""
    linearised: bool | None = None
    """Whether g is linearised at its start: a lazy network by definition, with the same seeds."""

    @property
    def is_plain(self) -> bool:
        """Whether what is trained is the network itself."""
        return self.output_scale is None and not self.recentred and not self.linearised

    def view_of(self, model: Any) -> View | None:
        """What a member on samples that starts at `model` trains in place of its network; None: the network."""
        if self.is_plain:
            return None
        alpha = jnp.asarray(1.0 if self.output_scale is None else self.output_scale, float)
        return View(model, alpha, bool(self.recentred), bool(self.linearised))

    def posed(self, model: Any, plain: AbstractRisk, teacher: Any) -> AbstractRisk:
        """The risk of a member that starts at `model`, whose network itself has the risk `plain`."""
        if self.is_plain:
            return plain
        kind = LinearisedRisk if self.linearised else ScaledRisk
        alpha = jnp.asarray(1.0 if self.output_scale is None else self.output_scale, float)
        return kind.of(teacher, alpha, model, bool(self.recentred))


class NoClosedForm(AbstractRisk):
    """What is known of a population risk that has no closed form: the teacher, of which `data` makes a risk on samples.

    **Arguments:** `teacher`, a function of one x.
    """

    teacher: Any
    view: Any = None
    """What a lazy comparator makes of a model; None: nothing."""

    def value(self, model):
        raise TypeError("risk: it has no closed form; it is one of samples (`data`)")

    def value_and_gradient(self, model):
        return self.value(model)
