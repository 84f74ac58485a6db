"""Tables of results on a console, as JSON and as CSV: the same numbers three times, and none of them cut.

On a terminal that is too narrow for all columns, a table is told in blocks of whole columns, each with the labels of
its rows; where output is no terminal, every line is as long as it must be.
"""

import json
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.table import Table

_EDGE, _GAP = 1, 3
"""Characters of a table's frame: its left edge, and the padding and line of every column."""


_WIDEST = 10_000
"""Characters of a line where output is no terminal."""


class Form(StrEnum):
    """How a command says its table."""

    text = "text"
    json = "json"
    csv = "csv"

    @classmethod
    def of(cls, as_json: bool, as_csv: bool) -> "Form":
        """**Raises:** `ValueError` where both are asked for."""
        if as_json and as_csv:
            raise ValueError("csv: got --json, too; a table is said in one form, take one of them")
        return cls.json if as_json else cls.csv if as_csv else cls.text


class Column(NamedTuple):
    """A column of the table on a console, and the columns of numbers that it shows."""

    title: str
    name: str
    """The frame's column."""
    pattern: str = "{}"
    interval: bool = False
    """Whether the frame's `…_low` and `…_high` stand behind it, in brackets."""
    folds: bool = False
    """Whether its texts may go on in a next line, between words."""


def end_of(name: str, end: str) -> str:
    """The name of the column with an end of an interval: `loss[0.5]` and `low` give `loss_low[0.5]`."""
    stem, bracket, rest = name.partition("[")
    return f"{stem}_{end}{bracket}{rest}"


def number(value: Any, pattern: str = "{}") -> str:
    """A value in a pattern; infinities as signs, and nothing where there is no number."""
    if isinstance(value, float) and math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if isinstance(value, float) and math.isnan(value):
        return "—"
    return pattern.format(value)


def label(value: Any) -> str:
    """A label of an axis, with all its digits."""
    if not isinstance(value, float):
        return str(value)
    short = f"{value:g}"
    return short if float(short) == value else repr(float(value))


def tell(
    frame: pd.DataFrame,
    columns: Sequence[Column],
    form: Form,
    facts: Mapping[str, Any],
    console: Console,
    sections: bool = False,
) -> bool:
    """Says a table: on a console the columns that are given, else all numbers of the frame with every digit.

    **Arguments:** the frame's index are the labels of its rows; `facts` go into the JSON beside its `rows`; with
    `sections`, a line divides rows of different labels, which are said once.

    **Returns:** whether it was said in words, so that the command may say more.
    """
    match form:
        case Form.text:
            print_table(frame, columns, console, sections)
        case Form.json:
            print(json.dumps({**_plain(dict(facts)), "rows": json_rows(frame)}, indent=1, ensure_ascii=False))
        case Form.csv:
            _flat(frame).to_csv(sys.stdout, index=False)
    return form is Form.text


def json_rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """One object a row. NaN is null, and infinities are the texts "inf" and "-inf": JSON has no numbers for them."""
    flat = _flat(frame)
    return [_plain(dict(zip(flat.columns, row, strict=True))) for row in flat.itertuples(index=False, name=None)]


def _flat(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.reset_index() if frame.index.names != [None] else frame


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [_plain(v) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else ("inf" if value > 0 else "-inf")
    return value


def print_table(frame: pd.DataFrame, columns: Sequence[Column], console: Console, sections: bool = False) -> None:
    """The table in words, as `tell` describes it."""
    names = [str(name) for name in frame.index.names if name is not None]
    keys = [[label(v) for v in frame.index.get_level_values(name)] for name in names]
    texts = [_texts(frame, column) for column in columns]
    heads = [*names, *(column.title for column in columns)]
    folds = [False] * len(names) + [column.folds for column in columns]
    same = [i > 0 and all(k[i] == k[i - 1] for k in keys) for i in range(len(frame))]
    if sections and names:
        keys = [["" if same[i] else k[i] for i in range(len(frame))] for k in keys]
    cells = [*keys, *texts]
    room = console.width if console.is_terminal else sys.maxsize
    widths = _widths(heads, cells, folds, room)
    for block in _blocks(widths, len(names), room):
        table = Table()
        for i in block:
            fixed = None if folds[i] else widths[i]
            table.add_column(escape(heads[i]), width=fixed, min_width=widths[i], overflow="fold")
        for row in range(len(frame)):
            last = sections and (row + 1 == len(frame) or not same[row + 1])
            table.add_row(*(escape(cells[i][row]) for i in block), end_section=last)
        # A line that the terminal is too narrow for goes on in the next, as the terminal breaks it: nothing is cut.
        wide = max(min(room, _WIDEST), _EDGE + sum(widths[i] + _GAP for i in block))
        Console(file=console.file, width=wide, force_terminal=console.is_terminal).print(table)


def _texts(frame: pd.DataFrame, column: Column) -> list[str]:
    values = frame[column.name].tolist()
    if not column.interval:
        return [number(v, column.pattern) for v in values]
    ends = (frame[end_of(column.name, end)].tolist() for end in ("low", "high"))
    parts = zip(values, *ends, strict=True)
    return ["{} [{}, {}]".format(*(number(v, column.pattern) for v in part)) for part in parts]


def _widths(heads: list[str], cells: list[list[str]], folds: list[bool], room: int) -> list[int]:
    """What columns need: their longest text, or word where they may fold; headings fold where there is no room."""

    def longest(texts: Iterable[str]) -> int:
        return max(map(cell_len, texts), default=0)

    def words(texts: Iterable[str]) -> list[str]:
        return [word for text in texts for word in text.split()]

    whole = [max(1, longest([head, *texts])) for head, texts in zip(heads, cells, strict=True)]
    if _EDGE + sum(width + _GAP for width in whole) <= room:
        return whole
    rows = zip(heads, cells, folds, strict=True)
    return [max(1, longest(words([head])), longest(words(texts) if folds else texts)) for head, texts, folds in rows]


def _blocks(widths: list[int], labels: int, room: int) -> list[list[int]]:
    """The columns of every block: the labels and as many others as there is room for, one at least."""
    keys = list(range(labels))
    begin = _EDGE + sum(widths[i] + _GAP for i in keys)
    blocks, used = [list(keys)], begin
    for i in range(labels, len(widths)):
        need = widths[i] + _GAP
        if used + need > room and len(blocks[-1]) > labels:
            blocks.append(list(keys))
            used = begin
        blocks[-1].append(i)
        used += need
    return blocks
