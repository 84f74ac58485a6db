"""gd-atlas, the simulator: a study in, a labelled dataset out.

    import ensemble as ens

    study = ens.Study.from_toml("studies/recovery.toml")
    ds = ens.run(study, out="data/recovery")

Importing the package turns float64 on in JAX, and keeps compiled programs on disk between processes (docs/running.md).
"""

from .engine.devices import configure as _configure

_configure()

from . import protocols  # noqa: E402
from .activations import ACTIVATIONS, AbstractActivation  # noqa: E402
from .certificate import duality_gap  # noqa: E402
from .engine import places  # noqa: E402
from .launch import PartialResult, Report, reproduce, run, status  # noqa: E402
from .members import initial  # noqa: E402
from .network import TwoLayer  # noqa: E402
from .probes import PROBES  # noqa: E402
from .protocol import Protocol, Stage  # noqa: E402
from .risks import AbstractRisk, PopulationRisk, population_gradient, population_loss  # noqa: E402
from .schedules import Halving, Optax  # noqa: E402
from .store import STATUS, Box, SchemaError, StoreError, collect, open_dataset  # noqa: E402
from .study import Axis, Study, StudyError, StudyWarning  # noqa: E402

__all__ = [
    "ACTIVATIONS",
    "PROBES",
    "STATUS",
    "AbstractActivation",
    "AbstractRisk",
    "Axis",
    "Box",
    "Halving",
    "Optax",
    "PartialResult",
    "PopulationRisk",
    "Protocol",
    "Report",
    "SchemaError",
    "Stage",
    "StoreError",
    "Study",
    "StudyError",
    "StudyWarning",
    "TwoLayer",
    "collect",
    "duality_gap",
    "initial",
    "open_dataset",
    "places",
    "population_gradient",
    "population_loss",
    "protocols",
    "reproduce",
    "run",
    "status",
]
