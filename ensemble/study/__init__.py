"""What is asked: a study, its grid of axes × seeds, and what is said of one that cannot be run."""

from .axes import Axis, Scalar
from .cells import Cell, Point
from .errors import StudyError, StudyWarning, told
from .longer import longer
from .sources import provided, texts_of
from .study import MOST_SEEDS, Study

__all__ = [
    "MOST_SEEDS",
    "Axis",
    "Cell",
    "Point",
    "Scalar",
    "Study",
    "StudyError",
    "StudyWarning",
    "longer",
    "provided",
    "texts_of",
    "told",
]
