"""What a start is: a recipe for a student's weights at step 0."""

import abc
from typing import ClassVar

from jaxtyping import PRNGKeyArray

from ...parts import Part
from ..draws import Space
from ..models import TwoLayer


class AbstractStart(Part):
    """A recipe for initial students: `draw(key, teacher, width)` gives one."""

    role: ClassVar[str] = "start"

    @abc.abstractmethod
    def draw(self, key: PRNGKeyArray, teacher: TwoLayer, width: int, space: Space) -> TwoLayer:
        """The initial student of `width` neurons for this teacher; `key` is its own for this purpose.

        Its rows, like the teacher's, have the coordinates of `space`.
        """

    @abc.abstractmethod
    def independent_rows(self, width: int) -> int:
        """How many of the rows are drawn; the others are copies."""

    @abc.abstractmethod
    def check_width(self, width: int) -> None:
        """Raises `ValueError` where no student of this width can be drawn."""


class AbstractFreeStart(AbstractStart):
    """A start that draws every row, for any width."""

    def independent_rows(self, width):
        return width

    def check_width(self, width):
        return
