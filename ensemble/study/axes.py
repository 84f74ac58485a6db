"""Axes: grid parameters, and the fields of a study that they set.

A field is named by its path, such as `protocol.weight_decay` or `teacher`; an axis that says none takes the one
field of its own name.
"""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from ..dynamics.stages import Protocol
from ..parts import REGISTRY
from ..probes import PROBES
from ..problem.data import Data
from ..spec import Spec, in_path, nearest, printable, shortened, unknown_field
from .errors import StudyError
from .units import DEFAULT_STUDENT, field_units

Scalar = bool | int | float | str


class Axis(Spec):
    """One grid parameter: the labels of its points, and the field or fields that it sets at each."""

    values: Annotated[tuple[Scalar, ...], Field(min_length=1)]
    field: str | None = None
    """The path of the one field that takes the values themselves, such as `protocol.weight_decay`."""
    fields: dict[str, tuple[Any, ...]] | None = None
    """Paths to the values that each field takes at each point."""
    units: str = "1"
    long_name: str = ""
    scale: Literal["linear", "log"] | None = None
    """On which its positions are even; without it the values decide."""

    @model_validator(mode="after")
    def _check(self):
        if len(set(self.values)) != len(self.values):
            raise ValueError(f"values: got {shortened(list(self.values))}; every point of an axis must differ")
        if any(isinstance(v, float) and not math.isfinite(v) for v in self.values):
            raise ValueError(f"values: got {shortened(list(self.values))}; every value must be finite")
        if any(isinstance(v, int) and not -(2**63) <= v < 2**63 for v in self.values):
            raise ValueError(f"values: got {shortened(list(self.values))}; every integer must fit into 64 bits")
        for text in (v for v in self.values if isinstance(v, str)):
            printable(text)
        kinds = {isinstance(v, str) for v in self.values}
        if len(kinds) > 1:
            raise ValueError(f"values: got {shortened(list(self.values))}; give only numbers or only texts")
        for path, settings in (self.fields or {}).items():
            if len(settings) != len(self.values):
                raise ValueError(
                    f"fields.{path}: got {len(settings)} settings for {len(self.values)} values; give one a value"
                )
        if self.fields is not None and not self.fields:
            raise ValueError("fields: got an empty table; name at least one field that the axis sets")
        if self.field is not None and self.fields is not None:
            raise ValueError("field: got both `field` and `fields`; give one of them")
        if self.scale is not None and str in map(type, self.values):
            raise ValueError(f"scale: got {self.scale!r} for texts, which have no positions; leave it out")
        if self.scale == "log" and min(v for v in self.values if not isinstance(v, str)) <= 0:
            raise ValueError(
                f"scale: got 'log' for {list(self.values)}; a logarithm needs values above 0: take 'linear', or leave "
                "it out"
            )
        return self

    def settings(self, index: int) -> dict[str, Any]:
        """Path → value of the fields at one point."""
        if self.fields is not None:
            return {path: settings[index] for path, settings in self.fields.items()}
        assert self.field is not None, "an axis of a study knows its field"
        return {self.field: self.values[index]}

    def restrict(self, values: Sequence[Scalar], name: str) -> Self:
        """This axis at some of its values, in the order given."""
        unknown = [v for v in values if v not in self.values]
        if unknown:
            raise StudyError(f"axes.{name}: got {shortened(unknown[0])}; its values are {list(self.values)}")
        keep = [self.values.index(v) for v in values]
        fields = self.fields and {p: tuple(s[i] for i in keep) for p, s in self.fields.items()}
        return self.model_copy(update={"values": tuple(self.values[i] for i in keep), "fields": fields})


# Dimensions and variables of the dataset, and arguments of xarray's own `sel`, which an axis could not be chosen by.
_OF_SEL = {"method", "tolerance", "drop", "indexers"}
_OF_DATASET = {"seed", "record", "stage", "neuron", "teacher_neuron", "input", "step", "quantile", "family", "outcome"}
_OF_DATASET |= {"mode", "layer", "layer_pair", "layer_output", "layer_input", "output", "hidden_layer", "layer_mode"}
_OF_DATASET |= {"layer_weights", "layer_biases", "patch_input", "filters", "read_out", "teacher_filters"}
_OF_DATASET |= {"teacher_read_out", "head", "teacher_head", "head_unit", "teacher_head_unit", "token_input"}
_OF_DATASET |= {"query_weights", "key_weights", "value_weights", "output_weights", "teacher_query_weights"}
_OF_DATASET |= {"outer_weights", "inner_weights", "inner_biases", "outer_bias", "teacher_outer_weights"}
_OF_DATASET |= {"teacher_inner_weights", "teacher_inner_biases", "teacher_outer_bias"}
_OF_DATASET |= {"teacher_layer", "teacher_layer_output", "teacher_layer_input", "teacher_hidden_layer"}
_OF_DATASET |= {"teacher_layer_weights", "teacher_layer_biases"}
_OF_DATASET |= {"teacher_key_weights", "teacher_value_weights", "teacher_output_weights"}
_OF_MEMBERS = {"status", "stop_step", "stage_end_step", "a", "W", "teacher_a", "teacher_W", "coordinates"}
# Variables and dimensions of results: a result over an axis of the same name could not be made.
_OF_RESULTS = set(
    """
    height plateau_begin plateau_end on_plateau
    share low high half_width seeds value difference only_first only_second pairs p_value unpaired_half_width boundary
    band_width slope crossing crossings crossing_place fit fit_p_value by after below observed time censored
    status_share survival median median_after never mean mean_after events statistic degrees count spread is_global
    unconverged kind anti_aligned active overlap signed_mass lowest highest families others bound weight_decay_used
    contradiction rate exponent evidence residual records begin law
    law_share verdict exponential rate_median exponent_median zeta reference
    reference_bound angle_exponent gradient_exponent gradient_decay_exponent angle_constant gradient_constant
    angle_holds gradient_holds circle second_angle certificate member exact learning_time
    peak rise fall is_double constant fitted is_power_law
    measured solution largest typical spread z mean_low mean_high output_weight student_overlap
    teacher_overlap second_order other_neuron
    leave_one_out loss_increase saliency measure_pair rank_agreement kept pruned_loss minimal_width radius robust_loss
    robust_loss_error attack_alignment carried neuron_kind feature_neurons feature_explained split merged stray missed
    loss_of_owners faithfulness condition_number shifted_loss shift_ratio transfer transfer_gain positive
    """.split()
)
RESERVED = _OF_SEL | _OF_DATASET | _OF_MEMBERS | _OF_RESULTS | set(PROBES)


def reserved(name: str) -> bool:
    """Whether datasets or results have something of this name, as it is or for a measure: no axis may have it."""
    measured = name.endswith(("_history", "_stage"))
    return measured or name in RESERVED or name.removesuffix("_low").removesuffix("_high") in RESERVED


def check_name(name: str, reading: bool) -> None:
    """**Raises:** `ValueError` for a name that no axis may have; a stored study may have one that is reserved since."""
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise ValueError(
            f"axes.{in_path(name)}: an axis needs a name of letters, digits and _, no digit first; rename it"
        )
    if reserved(name) and not reading:
        raise ValueError(taken(name))


def taken(name: str) -> str:
    """What is said of an axis whose name something else has."""
    return (
        f"axes.{name}: an axis needs a name that is no dimension or variable of the dataset or of a result and no "
        "argument of xarray's `sel`; rename it and say its "
        f'`field`: axes.{name}_axis = {{field = "…", values = […]}}'
    )


def axis_table(name: str, axis: Any, data: dict[str, Any]) -> Any:
    """An axis with its field found by name where it does not say one."""
    if isinstance(axis, dict) and (unknown := [key for key in axis if key not in Axis.model_fields]):
        raise ValueError(f"axes.{name}.{unknown_field(unknown[0], Axis.model_fields)}")
    table = dict(as_table(axis)) if isinstance(axis, Axis | dict) else {"values": axis}
    if isinstance(table.get("values"), np.ndarray):
        table["values"] = table["values"].tolist()
    if table.get("field") is None and table.get("fields") is None:
        known = paths(data)
        matches = [path for path in known if path.split(".")[-1] == name]
        if not matches:  # a stage's own field comes before one of a part that the stage only names
            known += stage_paths(data)
            matches = [path for path in known if path.split(".")[-1] == name]
        if len(matches) != 1 and not all(_is_table(data.get(part)) for part in ("teacher", "student", "protocol")):
            return table  # these are refused for what they are, and no axis for it
        if len(matches) != 1:
            reason = f"fits {' and '.join(matches)}" if matches else "is the name of no field"
            raise ValueError(
                f'axes.{name}: got no field, and {name!r} {reason}; say `field = "…"`, one of {", ".join(known)}'
                + nearest(name, {path.split(".")[-1] for path in known} if not matches else ())
            )
        table["field"] = matches[0]
    if "units" not in table and isinstance(table.get("field"), str):
        table["units"] = field_units(table["field"], data)
    return table


def paths(data: dict[str, Any]) -> list[str]:
    """The paths of the fields that an axis can set."""
    found: list[str] = []

    def walk(prefix: str, value: Any) -> None:
        if isinstance(value, dict):
            found.extend([prefix] if "." in prefix and "kind" in value else [])  # a part inside another
            for key, inner in value.items():
                walk(f"{prefix}.{key}", inner)
        elif isinstance(value, list | tuple) and value and isinstance(value[0], dict):
            for i, inner in enumerate(value):
                walk(f"{prefix}.{i}", inner)
        else:
            found.append(prefix)

    student = _with_fields(data.get("student"), "student", DEFAULT_STUDENT)
    if "start" in student:
        student["start"] = _with_fields(student["start"], "start")
    protocol = _table_or_none(data.get("protocol")) or {}
    for role in ("update", "penalty"):
        if role in protocol:
            protocol[role] = _with_fields(protocol[role], role)
    if data.get("data") is not None:
        walk("data", {name: None for name in Data.model_fields} | (_table_or_none(data["data"]) or {}))
    walk("teacher", _with_fields(data.get("teacher"), "teacher"))
    walk("student", student)
    walk("protocol", protocol)
    return found


def stage_paths(data: dict[str, Any]) -> list[str]:
    """The paths of the fields of parts that the stages of a protocol name by a text."""
    protocol = _table_or_none(data.get("protocol")) or {}
    stages = as_table(protocol.get("stages"))
    return [
        f"protocol.stages.{place}.{role}.{name}"
        for place, stage in enumerate(stages if isinstance(stages, list) else [])
        for role in ("update", "penalty")
        if isinstance(stage, dict) and isinstance(stage.get(role), str)
        for name in _with_fields(stage[role], role)
        if name != "kind"
    ]


def _with_fields(table: Any, role: str, default: str | None = None) -> dict[str, Any]:
    """The table with the other fields of its kind: an axis may set a field that the table leaves out."""
    table = {"kind": table} if isinstance(table, str) else _table_or_none(table) or {}
    kind = table.get("kind", default)
    spec = REGISTRY[role].get(kind) if isinstance(kind, str) else None
    return {name: None for name in (spec.model_fields if spec else ())} | table


def _is_table(value: Any) -> bool:
    return isinstance(value, str) or _table_or_none(value) is not None


def _table_or_none(value: Any) -> dict[str, Any] | None:
    """What is no table has no fields: it is refused where it stands, and not for an axis."""
    table = as_table(value)
    return dict(table) if isinstance(table, dict) else None


def set_fields(table: dict[str, Any], axes: Mapping[str, Axis], index: Sequence[int]) -> None:
    """Sets the fields of all axes at a grid point: those of a part inside the part that another axis chooses, whichever
    of the two axes is first.

    **Raises:** `StudyError` where a path leads nowhere.
    """
    settings = [
        (path, name, value)
        for (name, axis), i in zip(axes.items(), index, strict=True)
        for path, value in axis.settings(i).items()
    ]
    for path, name, value in sorted(settings, key=lambda setting: setting[0].count(".")):
        # No copy of it: the identities of stored studies hold what was last set inside the table of an axis.
        set_field(table, name, path, value)


def set_field(table: dict[str, Any], axis: str, path: str, value: Any) -> None:
    """Sets the field at a path, for an axis.

    **Raises:** `StudyError` where the path leads nowhere.
    """
    *parents, last = path.split(".")
    place: Any = table
    said = f"axes.{axis}: got the field {shortened(path)}"
    for key in parents:
        try:
            at: Any = int(key) if isinstance(place, list) else key
            inner = place[at]
        except (KeyError, IndexError, ValueError, TypeError):
            close = nearest(key, place) if isinstance(place, dict) else ""
            raise StudyError(f"{said}, of which {key!r} does not exist{close}") from None
        if key in REGISTRY and isinstance(inner, str):  # a part by its name alone
            inner = place[at] = {"kind": inner}
        if inner is None:  # the table of data, which a study may leave out
            inner = place[at] = {}
        place = inner
    if not parents and last not in table:
        raise StudyError(f"{said}; it must start with one of {', '.join(table)}{nearest(last, table)}")
    if isinstance(place, list):
        if not last.isdecimal() or int(last) >= len(place):
            raise StudyError(f"{said}, of which {last!r} does not exist; there are 0 to {len(place) - 1}")
        place[int(last)] = value
    elif isinstance(place, dict):
        place[last] = value
    else:
        raise StudyError(f"{said}; {'.'.join(parents)} is a single value")


def as_table(value: Any) -> Any:
    """Parts of a study as plain tables, inside dicts and sequences too."""
    if isinstance(value, Protocol):
        return as_table(value.table)
    if isinstance(value, Spec):
        return value.model_dump(mode="json", exclude_none=True)
    if isinstance(value, dict):
        return {k: as_table(v) for k, v in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, list | tuple):
        return [as_table(v) for v in value]
    return value
