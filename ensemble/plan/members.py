"""One member of a study, for those who want to look at it: what it starts from, and what it is trained on."""

from numbers import Integral
from typing import Any, NamedTuple

import jax
from jaxtyping import Array, Float

from ..problem.risks import AbstractStochasticRisk, OnlineRisk, SampleRisk, whole_sample
from ..study import Study, StudyError
from .workloads import one_drawn


def initial(study: Study, seed: int = 0, **labels: Any) -> tuple[Any, Any]:
    """The (student, teacher) that a member starts from, in the coordinates of the dataset's weights, bit for bit.

    Of a student that has no teacher network of its own kind, the second is the risk that it is trained on.

    **Arguments:** the member's seed, and the value of every axis of the study.

    **Raises:** `StudyError` for labels that are no grid point of the study, and for a seed that is none.
    """
    drawn = one_drawn(study, seed, labels)
    return drawn.model, getattr(drawn.risk, "teacher", drawn.risk)


@jax.jit
def _of_step(risk: AbstractStochasticRisk, step: Any) -> Any:
    return risk.of_step(step)


class Sample(NamedTuple):
    """What a member, or one of its steps, is trained on."""

    x: Float[Array, "sample input"]
    """Inputs."""
    y: Float[Array, "sample *output"]
    """Labels, f*(x) + noise."""


def sample(study: Study, seed: int = 0, step: int | None = None, **labels: Any) -> Sample:
    """The data that a member is trained on: redrawn from its key, since no dataset holds them.

    **Arguments:** the member's seed; `step`: for the batch that this step sees, counted from 0 over all stages; the
    value of every axis of the study.

    **Returns:** a `Sample`: the member's whole one without a `step`. It is the one that the engine draws bit for bit;
    the batch of an online step is to rounding.

    **Raises:** `StudyError` for a study that trains on the population, for an online one without a step, for labels
    that are no grid point of the study, and for a seed or a step that is none.
    """
    risk = one_drawn(study, seed, labels).risk
    if not isinstance(whole_sample(risk), SampleRisk | AbstractStochasticRisk):
        raise StudyError("data: the members of this study are trained on the population, and have no samples")
    if step is not None and not (isinstance(step, Integral) and step >= 0):
        raise StudyError(f"step: got {step!r}; steps are 0, 1, …")
    if step is not None and isinstance(risk, AbstractStochasticRisk):
        risk = _of_step(risk, step)
    elif isinstance(risk, OnlineRisk):
        raise StudyError("step: got none; an online member has a batch of every step and no sample: give step = 0")
    whole: Any = whole_sample(risk)
    return Sample(whole.x, whole.y)
