"""Which student neuron carries which feature of the teacher, of one member."""

from typing import Any, Unpack

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ..selection import one_member
from ..uses.features import KINDS, TOLERANCE, features
from .layout import PAGE, Look, sheet, width_of
from .style import said_at

_TINTS = ("0.75", "tab:blue", "tab:orange", "tab:red")
"""Of vanished, aligned, merged and stray neurons."""


def feature_picture(ds: xr.Dataset, *, tolerance: float = TOLERANCE, **look: Unpack[Look]) -> Figure:
    """A map from student neurons to teacher features, of one member with stored weights.

    Left, every active student neuron with a line to each feature of which it explains a tenth of the variance or more,
    as wide as the share; neurons stand below their owners and grow with their mass. Right, the share of every feature's
    variance that the neurons it owns explain as they are, with how many aligned ones it has. `tolerance` as in
    `analysis.features`; `look`: size in inches, texts.

    **Raises:** as `analysis.overlap_picture`.
    """
    member, labels = one_member(ds)
    study = {name: ds.attrs[name] for name in ("study", "study_hash")}
    found = features(member.expand_dims("seed").assign_attrs(study), tolerance=tolerance).isel(seed=0)
    mass = np.abs(member["a"].values) * np.linalg.norm(member["W"].values, axis=1)
    kind, owner = found["neuron_kind"].values.astype(int), found["owner"].values.astype(int)
    columns = 2 if width_of(look, PAGE) >= 5.0 else 1
    with sheet(2, look, width=PAGE, height=2.5, columns=columns) as page:
        left, right = page.panels
        _map(left, found["carried"].values, owner, kind, mass)
        explained = found["feature_explained"].values
        count = found["feature_neurons"].values.astype(int)
        right.barh(range(len(explained)), np.clip(explained, -1.0, 1.0), color="0.55")
        for j, (share, neurons) in enumerate(zip(explained, count, strict=True)):
            inside = f"{share:.3f} ({neurons})"
            right.annotate(inside, (0.02, j), size=6, va="center", xycoords=right.get_yaxis_transform())
        right.set_yticks(range(len(explained)))
        right.set_ylim(len(explained) - 0.5, -0.5)
        right.set_xlim(min(0.0, float(np.clip(explained, -1.0, 1.0).min())), 1.0)
        right.set_ylabel("teacher neuron")
        right.set_xlabel("variance explained by its neurons\n(aligned ones)")
        marks = [Line2D([], [], marker="o", linestyle="", color=tint, markersize=4) for tint in _TINTS]
        numbers = [int((kind == i).sum()) for i in range(len(KINDS))]
        page.legend(marks, [f"{name} ({number})" for name, number in zip(KINDS, numbers, strict=True)])
        score = float(found["faithfulness"])
        page.title(f"features of the teacher, {said_at(labels)}: faithfulness {score:.4f}")
    return page.figure


def _map(ax: Axes, carried: np.ndarray, owner: np.ndarray, kind: np.ndarray, mass: np.ndarray) -> None:
    """Features above, neurons below, in the order of their owners and masses."""
    features_at = (np.arange(carried.shape[1]) + 0.5) / carried.shape[1]
    shown = np.flatnonzero(kind > 0)
    order = shown[np.lexsort((-mass[shown], owner[shown]))]
    at = (np.arange(len(order)) + 0.5) / max(len(order), 1)
    for place, i in zip(at, order, strict=True):
        for j, share in enumerate(carried[i]):
            if share >= 0.1:
                shade: dict[str, Any] = {"color": _TINTS[kind[i]], "alpha": 0.25 + 0.55 * share}
                ax.plot([place, features_at[j]], [0.0, 1.0], linewidth=2.2 * share, zorder=1, **shade)
    size = 8 + 70 * mass[order] / max(float(mass.max()), 1e-300)
    ax.scatter(at, np.zeros(len(order)), s=size, c=[_TINTS[k] for k in kind[order]], zorder=2, linewidths=0)
    ax.scatter(features_at, np.ones(len(features_at)), marker="*", s=60, color="black", zorder=2, linewidths=0)
    every = -(-len(order) // 32) or 1
    for place, i in list(zip(at, order, strict=True))[::every]:
        below = {"xytext": (0, -9), "textcoords": "offset points", "ha": "center", "va": "top"}
        ax.annotate(str(i), (place, 0.0), size=5.5, **below)
    for j, place in enumerate(features_at):
        ax.annotate(str(j), (place, 1.0), xytext=(0, 6), textcoords="offset points", size=7, ha="center")
    ax.set_xlim(0.0, 1.0)
    ax.set_ylim(-0.25, 1.2)
    ax.set_yticks([0.0, 1.0], ["student", "teacher"])
    ax.set_xticks([])
    ax.set_xlabel("neurons; width of a line: share of\nthe feature's variance")
