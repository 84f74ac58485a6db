"""gd-atlas, the simulator: a study in, a labelled dataset out.

    import ensemble as ens

    study = ens.Study.from_toml("studies/recovery.toml")
    ds = ens.run(study, out="data/recovery")

Importing the package turns float64 on in JAX, and keeps compiled programs on disk between processes (docs/running.md).
"""

from .memory import pause_collector as _pause_collector
from .memory import require_room as _require_room

_require_room()  # before anything is imported that needs it
_go_on_collecting = _pause_collector()

from .engine.devices import configure as _configure  # noqa: E402

_configure()

from .dynamics import protocols  # noqa: E402
from .dynamics.schedules import AbstractSchedule, Halving, Optax  # noqa: E402
from .dynamics.stages import Protocol, Stage  # noqa: E402
from .dynamics.updates import (  # noqa: E402
    AbstractGradientUpdate,
    AbstractInstantUpdate,
    AbstractSteppedUpdate,
    Clock,
    Info,
    Objective,
)
from .engine import EngineError, places  # noqa: E402
from .launch import PartialResult, Report, lengthen, reproduce, run, status  # noqa: E402
from .numerics import Keys  # noqa: E402
from .parts import register  # noqa: E402
from .plan import Sample, initial, sample  # noqa: E402
from .probes import PROBES, AbstractNeuronProbe, AbstractPlainProbe, AbstractProbe, Measured  # noqa: E402
from .probes.certificate import duality_gap  # noqa: E402
from .problem.activations import ACTIVATIONS, AbstractActivation, AbstractHomogeneous, AbstractSeries  # noqa: E402
from .problem.data import Data  # noqa: E402
from .problem.draws import Space  # noqa: E402
from .problem.inputs import AbstractInputs  # noqa: E402
from .problem.models import TwoLayer  # noqa: E402
from .problem.penalties import (  # noqa: E402
    AbstractDifferentiatedPenalty,
    AbstractPenalty,
    AbstractProximalPenalty,
)
from .problem.risks import (  # noqa: E402
    AbstractDifferentiatedRisk,
    AbstractRisk,
    PopulationRisk,
    population_gradient,
    population_loss,
)
from .problem.starts import AbstractFreeStart, AbstractStart  # noqa: E402
from .problem.students import AbstractStudent, Stored  # noqa: E402
from .problem.teachers import AbstractTeacher, AbstractTwoLayerTeacher  # noqa: E402
from .progress import ProgressShow  # noqa: E402
from .store import STATUS, Box, SchemaError, StoreError, collect, network, open_dataset  # noqa: E402
from .store.provenance import version as _version  # noqa: E402
from .study import Axis, Study, StudyError, StudyWarning  # noqa: E402

__version__ = _version("gd-atlas")
_go_on_collecting()

__all__ = [
    "ACTIVATIONS",
    "PROBES",
    "STATUS",
    "AbstractActivation",
    "AbstractDifferentiatedPenalty",
    "AbstractDifferentiatedRisk",
    "AbstractFreeStart",
    "AbstractGradientUpdate",
    "AbstractHomogeneous",
    "AbstractInputs",
    "AbstractInstantUpdate",
    "AbstractNeuronProbe",
    "AbstractPenalty",
    "AbstractPlainProbe",
    "AbstractProbe",
    "AbstractProximalPenalty",
    "AbstractRisk",
    "AbstractSchedule",
    "AbstractSeries",
    "AbstractStart",
    "AbstractSteppedUpdate",
    "AbstractStudent",
    "AbstractTeacher",
    "AbstractTwoLayerTeacher",
    "Axis",
    "Box",
    "Clock",
    "Data",
    "EngineError",
    "Halving",
    "Info",
    "Keys",
    "Measured",
    "Objective",
    "Optax",
    "PartialResult",
    "PopulationRisk",
    "ProgressShow",
    "Protocol",
    "Report",
    "Sample",
    "SchemaError",
    "Space",
    "Stage",
    "StoreError",
    "Stored",
    "Study",
    "StudyError",
    "StudyWarning",
    "TwoLayer",
    "collect",
    "duality_gap",
    "initial",
    "lengthen",
    "network",
    "open_dataset",
    "places",
    "population_gradient",
    "population_loss",
    "protocols",
    "register",
    "reproduce",
    "run",
    "sample",
    "status",
]
