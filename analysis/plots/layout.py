"""Figures in print: how wide and high, and where titles, labels and legends go, so that nothing is covered or cut off.

Texts are measured after the layout and broken where they would leave their room; a figure whose height was not asked
for grows by the lines that this adds. A legend stands below the panels, never inside them.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, TypedDict

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import FixedLocator

from .style import STYLE

COLUMN, PAGE = 3.4, 6.8
"""Widths of a paper's column and of its text, in inches."""
WIDTHS = {"column": COLUMN, "page": PAGE}
_WIDEST = 40.0
LINE = 0.14
"""Inches that a line of text takes."""


class Look(TypedDict, total=False):
    """What every picture may be told: its size in inches, the axes to draw on, its texts ("" for none)."""

    width: float | Literal["column", "page"]
    height: float
    ax: Axes
    """An axes of the caller's own, where the picture has one panel; its figure's size and layout stay the caller's."""
    title: str
    xlabel: str
    ylabel: str


@dataclass
class Sheet:
    """A figure and its panels while they are drawn."""

    figure: Figure
    panels: list[Axes]
    look: Look
    bars: list[Axes] = field(default_factory=list)
    """Axes of colour bars: they stand beside a panel whose title may reach over them."""
    measured: list[Callable[[], None]] = field(default_factory=list)
    """What is done when the layout is known: such as leaving out numbers that do not fit into their cells."""

    @property
    def own(self) -> bool:
        return "ax" not in self.look

    def title(self, text: str, over: Sequence[Text] = ()) -> None:
        """The title of the whole: that of the one panel, above what stands `over` its frame; or above all panels."""
        text = self.look.get("title", text)
        if len(self.panels) == 1:
            heights = [one.get_window_extent(_renderer(self.figure)).height for one in over]
            self.panels[0].set_title(text, pad=6.0 + max(heights, default=0.0) * 72 / self.figure.dpi)
        elif text:
            self.figure.suptitle(text, size=STYLE["axes.titlesize"])

    def colour_bar(self, mesh: Any, ax: Axes, label: str) -> None:
        self.bars.append(self.figure.colorbar(mesh, ax=ax, label=label).ax)

    def legend(self, handles: list[Any], labels: list[str], title: str = "") -> None:
        """Below the panels in as many columns as fit; beside the axes where they are the caller's own."""
        columns = len(handles)
        if not handles:
            return
        more: dict[str, Any] = {"title": title or None, "title_fontsize": 7}
        if not self.own:
            self.panels[0].legend(handles, labels, loc="upper left", bbox_to_anchor=(1.02, 1.0), **more)
            return
        while True:
            made = self.figure.legend(handles, labels, loc="outside lower center", ncols=columns, **more)
            if title:
                made.get_title().set_parse_math(False)
                room = 0.94 * self.figure.bbox.width
                made.set_title(_wrapped(made.get_title(), title, room, False, _renderer(self.figure)))
            if columns == 1 or made.get_window_extent(_renderer(self.figure)).width <= 0.98 * self.figure.bbox.width:
                break
            made.remove()
            columns -= 1
        if "height" not in self.look:
            rows = -(-len(handles) // columns) + bool(title) * (1 + made.get_title().get_text().count("\n"))
            width, height = self.figure.get_size_inches()
            self.figure.set_size_inches(width, height + LINE * rows)

    def labels(self, xlabel: str, ylabel: str) -> None:
        """Labels of the one panel, or of a grid of panels with the same axes: what stands upright once for all."""
        xlabel, ylabel = self.look.get("xlabel", xlabel), self.look.get("ylabel", ylabel)
        for ax in self.panels:
            ax.set_xlabel(xlabel)
        if len(self.panels) == 1:
            self.panels[0].set_ylabel(ylabel)
        else:
            self.figure.supylabel(ylabel, size=STYLE["axes.labelsize"])

    def finish(self) -> None:
        """Sets the caller's labels and breaks every text that would leave its room."""
        for ax in self.panels:
            if "xlabel" in self.look and ax.get_xlabel():
                ax.set_xlabel(self.look["xlabel"])
            if "ylabel" in self.look and ax.get_ylabel():
                ax.set_ylabel(self.look["ylabel"])
        texts = [(text, text.get_text(), ax) for text, ax in self._texts() if text.get_text()]
        for text, _, _ in texts:
            text.set_parse_math(False)  # names are a study's own: a "$" in them is a dollar
        width, height = self.figure.get_size_inches()
        for _ in range(2):
            self._lay_out()
            renderer = _renderer(self.figure)
            added = 0.0
            for text, raw, ax in texts:
                upright = text.get_rotation() == 90.0
                text.set_text(_wrapped(text, raw, self._room(ax, upright), upright, renderer))
                more = text.get_text().count("\n") - raw.count("\n")
                added = max(added, 0.0 if upright else more * LINE)
            if self.own and "height" not in self.look:
                self.figure.set_size_inches(width, height + added)
        renderer = _renderer(self.figure)
        for ax in self.panels:
            _thin_names(ax, renderer)
        if self.measured:
            self._lay_out()
        for after in self.measured:
            after()

    def _lay_out(self) -> None:
        """Places the panels: by the layout alone where there is one, which takes half the time of a drawing."""
        engine = self.figure.get_layout_engine()
        if engine is None:
            self.figure.draw_without_rendering()
        else:
            engine.execute(self.figure)

    def _texts(self) -> Iterator[tuple[Text, Axes | None]]:
        for ax in [*self.panels, *self.bars]:
            for text in (ax.title, ax.xaxis.label, ax.yaxis.label):
                yield text, ax
        if self.own:
            # The texts of the whole figure: its title and the labels of a grid.
            yield from ((text, None) for text in self.figure.texts)

    def _room(self, ax: Axes | None, upright: bool) -> float:
        """Pixels along which a text is free: beside its axes, or above it half way to the neighbours."""
        if ax is None:
            return 0.94 * (self.figure.bbox.height if upright else self.figure.bbox.width)
        box = ax.get_window_extent()
        if upright:
            return box.height
        left, right = 0.0, self.figure.bbox.width
        others = self.panels if self.own else [one for one in self.figure.axes if one not in self.bars]
        for other in (one.get_window_extent() for one in others if one is not ax and one.get_visible()):
            if min(other.y1, box.y1) <= max(other.y0, box.y0):
                continue
            if other.x1 <= box.x0 + 1.0:
                left = max(left, 0.5 * (other.x1 + box.x0))
            if other.x0 >= box.x1 - 1.0:
                right = min(right, 0.5 * (other.x0 + box.x1))
        for bar in (one.get_window_extent() for one in self.bars if one is not ax):
            # One bar of several panels stands beside what is above and below each of them, too.
            if bar.x0 >= box.x1 and (bar.y0 < box.y0 - 1.0 or bar.y1 > box.y1 + 1.0):
                right = min(right, bar.x0)
        for text in (one for one in self.figure.texts if one.get_rotation() == 90.0 and self.own):
            left = max(left, text.get_window_extent(_renderer(self.figure)).x1)
        middle = 0.5 * (box.x0 + box.x1)
        return 0.96 * 2.0 * max(min(middle - left, right - middle), 0.5 * box.width)


@contextmanager
def sheet(count: int, look: Look, *, width: float, height: float, columns: int | None = None, **shared: Any):
    """A `Sheet` of `count` panels in rows of `columns`, finished at the end of the block.

    **Arguments:** `width` and `height` (of a row) where `look` says none, in inches; `shared`: for `Figure.subplots`.

    **Raises:** `ValueError` for a size that is none, and for `ax` where there are several panels; `TypeError` for a
    word that is not in `Look`.
    """
    unknown = set(look) - set(Look.__annotations__)
    if unknown:
        raise TypeError(
            f"{unknown.pop()}: a picture knows no such argument; it takes {', '.join(Look.__annotations__)}"
        )
    ax = look.get("ax")
    if ax is not None and count != 1:
        raise ValueError(f"ax: got one axes for a picture of {count} panels; leave it out, or choose what gives one")
    columns = min(count, columns or count)
    rows = -(-count // columns)
    size = _size("width", look.get("width", width)), _size("height", look.get("height", height * rows))
    with mpl.rc_context(STYLE):
        if ax is not None:
            made = Sheet(ax.figure, [ax], look)  # pyright: ignore[reportArgumentType] (an axes of a subfigure has one)
        else:
            # No figure of pyplot's own: a notebook would show it twice, and nobody would close it.
            figure = Figure(figsize=size, layout="constrained")
            flat = list(figure.subplots(rows, columns, squeeze=False, **shared).flat)
            for unused in flat[count:]:
                unused.set_visible(False)
            made = Sheet(figure, flat[:count], look)
        yield made
        made.finish()


def width_of(look: Look, default: float) -> float:
    """The width that a picture will have, in inches."""
    if "ax" in look:
        ax = look["ax"]
        return float(ax.get_position().width * ax.figure.bbox.width / ax.figure.dpi)
    return _size("width", look.get("width", default))


def _size(name: str, value: Any) -> float:
    if name == "width" and isinstance(value, str):
        if value not in WIDTHS:
            raise ValueError(f"width: got {value!r}; say {' or '.join(map(repr, WIDTHS))}, or inches")
        return WIDTHS[value]
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0.5 <= value <= _WIDEST:
        raise ValueError(f"{name}: got {value!r}; say so many inches, 0.5 to {_WIDEST:g}")
    return float(value)


def _renderer(figure: Figure) -> RendererAgg:
    return RendererAgg(figure.bbox.width, figure.bbox.height, figure.dpi)


def _thin_names(ax: Axes, renderer: RendererAgg) -> None:
    """Takes away the names of upright ticks along x that would touch the one before them."""
    names = ax.get_xticklabels()
    if not isinstance(ax.xaxis.get_major_locator(), FixedLocator) or any(name.get_rotation() for name in names):
        return
    kept, end = [], -float("inf")
    for name in names:
        box = name.get_window_extent(renderer)
        clear = bool(name.get_text()) and box.x0 > end + 2.0
        kept.append(name.get_text() if clear else "")
        end = box.x1 if clear else end
    if kept != [name.get_text() for name in names]:
        ax.set_xticks(ax.get_xticks(), kept)


def _wrapped(text: Text, raw: str, room: float, upright: bool, renderer: RendererAgg) -> str:
    """The text in lines that fit: broken at spaces, and inside a word only where it is longer than a line."""

    def fits(line: str) -> bool:
        text.set_text(line)
        box = text.get_window_extent(renderer)
        return (box.height if upright else box.width) <= room

    lines = []
    for given in raw.split("\n"):
        line = ""
        for word in given.split(" "):
            longer = f"{line} {word}" if line else word
            if fits(longer):
                line = longer
                continue
            if line:
                lines.append(line)
            line = word
            while not fits(line) and len(line) > 1:
                head = next(n for n in range(len(line) - 1, 0, -1) if n == 1 or fits(line[:n]))
                # After an underscore or a dash where there is one in the second half of what fits.
                mark = max(line.rfind(sign, head // 2, head) for sign in "_-/,=") + 1
                head = mark or head
                lines.append(line[:head])
                line = line[head:]
        lines.append(line)
    return "\n".join(lines)
