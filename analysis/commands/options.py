"""What the commands of the analysis have in common: options, and the cells that `--at` chooses."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal, cast

import typer
import xarray as xr
from matplotlib.figure import Figure

from ensemble import open_dataset
from ensemble.console import Command, say, texts_at, values_of

from ..members import PARTS, axes, like
from ..plots import Look, save
from ..plots.layout import WIDTHS, width_of
from ..selection import select
from ..writing import require_free

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)

Directory = Annotated[Path, typer.Argument(metavar="DIR", help="run directory, or a netCDF file of one")]
Measure = Annotated[str, typer.Option(help="probe, such as max_angle or loss")]
Out = Annotated[Path | None, typer.Option(help="picture of the curves (.png, .pdf, .svg); needs one open axis at most")]
Along = Annotated[str | None, typer.Option(help="axis with a curve for each of its values")]
Against = Annotated[
    str | None, typer.Option(metavar="AXIS=VALUE", help="differences to this value of an axis, seed by seed")
]
Below = Annotated[float, typer.Option(help="threshold in the probe's units")]
Picture = Annotated[Path, typer.Option(help="picture to write (.png, .pdf, .svg)")]
X = Annotated[str, typer.Option(help="axis to the right")]
Y = Annotated[str | None, typer.Option(help="axis upwards; without it a curve over the axis to the right")]
Width = Annotated[str | None, typer.Option(metavar="column|page|INCHES", help="width of the picture")]
Theory = Annotated[bool, typer.Option("--theory", help="draw what theory says over it (analysis.predictions)")]
Height = Annotated[float | None, typer.Option(help="height of the picture in inches; by default what it needs")]


class Norm(StrEnum):
    """Of attacks."""

    two = "2"
    inf = "inf"

    @property
    def asked(self) -> Literal[2, "inf"]:
        """As `robust_loss` takes it."""
        return 2 if self is Norm.two else "inf"


class Label(StrEnum):
    """What a moved input is compared with."""

    kept = "kept"
    moved = "moved"


@contextmanager
def saying_radius() -> Iterator[None]:
    """What is said of the argument `radii` is said of the option."""
    try:
        yield
    except ValueError as error:
        raise ValueError(str(error).replace("radii: ", "radius: ", 1)) from None


def look_of(width: str | None, height: float | None) -> Look:
    """The size of a picture as the options say it.

    **Raises:** `ValueError` for a width that is neither a word for one nor inches.
    """
    look = Look()
    if width is not None:
        try:
            look["width"] = float(width)
        except ValueError:
            look["width"] = cast(Literal["column", "page"], width)  # another word is refused below
        width_of(look, WIDTHS["column"])
    if height is not None:
        look["height"] = height
    return look


class Drawing:
    """A picture that a command writes where it is asked for one: refused before any work, drawn and said after it."""

    def __init__(self, out: Path | None, width: str | None, height: float | None, overwrite: bool):
        """**Raises:** `ValueError` for a size that is none, and for a file that is not to be replaced."""
        self.out, self.overwrite, self.look = out, overwrite, look_of(width, height)
        if out is not None:
            require_free(out, "picture", overwrite)

    def save(self, draw: Callable[..., Figure]) -> None:
        """Writes what `draw`, given the size, makes."""
        if self.out is not None:
            save(draw(**self.look), self.out, overwrite=self.overwrite)

    @property
    def fact(self) -> dict[str, str | None]:
        """What the JSON of a table says of it."""
        return {"picture": None if self.out is None else str(self.out)}

    def say(self) -> None:
        """Where it is."""
        if self.out is not None:
            say(f"picture: {self.out}")


class Analysis(Command):
    """A command of the analysis, whose functions refuse what they are given with a `ValueError`."""

    errors = (*Command.errors, ValueError)


def opened(directory: Path, at: Sequence[str] | None = None) -> xr.Dataset:
    """The dataset of a directory or file, at the values that `--at` gives: an axis of one value is no axis any more.

    **Raises:** `ValueError` for an axis, a value or a seed that is not there.
    """
    ds = open_dataset(directory)
    for name, texts in texts_at(at).items():
        if name in PARTS and name in ds.dims and len(texts) == 1:
            ds = select(ds, {name: texts[0]})
            continue
        if name not in (*axes(ds), "seed"):
            there = ", ".join((*axes(ds), "seed"))
            raise ValueError(f"at: got the axis {name!r}; the axes are {there}{like(name, (*axes(ds), 'seed'))}")
        known = ds[name].values.tolist()
        values = values_of(texts, known)
        unknown = [v for v in values if v not in known]
        if unknown:
            said = f"{known[0]} to {known[-1]}" if name == "seed" else str(known)
            raise ValueError(f"at: got {name} = {unknown[0]!r}; its values are {said}")
        # A seed that is chosen stays a dimension: every reduction is one over seeds.
        one = len(values) == 1 and name != "seed"
        ds = select(ds, {name: values[0]}) if one else ds.sel({name: values})
    return ds
