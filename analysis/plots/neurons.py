"""Neurons of one member: overlaps with the teacher, and their way from the start to the end."""

from typing import Any, Unpack

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ensemble import TwoLayer, duality_gap
from ensemble.probes.certificate import Certificate

from ..members import applied_decay
from ..problems import cells, require_plain
from ..selection import one_member
from ..two_layer.certificate import profile
from ..two_layer.families import pattern
from ..two_layer.paths import Paths, Plane, in_view, neuron_paths, vanished
from .curves import profile_picture
from .layout import COLUMN, PAGE, Look, sheet, width_of
from .style import said_at


def overlap_picture(ds: xr.Dataset, **look: Unpack[Look]) -> Figure:
    """The cosines of student and teacher neurons of one member with stored weights, the heaviest neurons first.

    `look`: size in inches, texts.

    **Raises:** `ValueError` where weights were not stored, or more than one member is open.
    """
    member, labels = one_member(ds)
    sigma = cells(member).flat[0].teacher.sigma
    arrays = {name: member[name].values for name in ("a", "W", "teacher_a", "teacher_W")}
    seen = pattern(arrays, sigma)
    nearest = np.abs(seen.overlap).argmax(axis=1)
    order = np.lexsort((-np.abs(seen.mass), nearest, ~seen.active))
    with sheet(2, look, width=COLUMN, height=min(0.85 + 0.085 * len(order), 7.0), columns=2) as page:
        left, right = page.panels
        bound: dict[str, Any] = (
            {"vmin": -1.0, "vmax": 1.0, "cmap": "RdBu_r"} if sigma.symmetry == "ray" else {"vmin": 0.0, "vmax": 1.0}
        )
        image = left.imshow(seen.overlap[order], aspect="auto", interpolation="nearest", **bound)
        left.set_xticks(range(0, seen.overlap.shape[1], -(-seen.overlap.shape[1] // 8)))
        left.set_xlabel("teacher neuron")
        left.set_ylabel("student neuron")
        every = -(-len(order) // 64)
        left.set_yticks(range(0, len(order), every), [str(i) for i in order[::every]], size=5)
        page.colour_bar(image, left, "cosine" if sigma.symmetry == "ray" else "|cosine|")
        tint = np.where(seen.mass[order] >= 0, "tab:blue", "tab:red")
        right.barh(range(len(order)), np.abs(seen.mass[order]), color=tint)
        right.set_ylim(len(order) - 0.5, -0.5)
        right.set_yticks([])
        right.set_xlabel("mass |a|‖w‖\n(red: a < 0)")
        page.title(f"overlaps at the end, {said_at(labels)}")
    return page.figure


def neuron_picture(ds: xr.Dataset, **look: Unpack[Look]) -> Figure:
    """The way of every neuron |a_i| w_i from the start to the end of one member, seen in the teacher's subspace.

    Up to two panels: the plane of the two teacher neurons whose lines are closest, and that of the closest two among
    the others. Stars: |a*_j| w*_j of these two, and small grey ones for other teachers where they are not seen end on;
    all are numbered. Neurons that lie across the plane are pale, those without mass (1e-3 of the largest teacher mass)
    open circles; areas grow with the mass; even activations are drawn at that end of a line which is nearer to its
    teacher neuron. `look`: size in inches, texts.

    **Raises:** as `overlap_picture`.
    """
    paths = neuron_paths(ds)
    count = len(paths.planes)
    wide = COLUMN if count == 1 else PAGE
    with sheet(count, look, width=wide, height=3.1, columns=2 if width_of(look, wide) >= 5.0 else 1) as page:
        for ax, plane in zip(page.panels, paths.planes, strict=True):
            _plane(ax, paths, plane)
        gone = int(vanished(paths).sum())
        marks = [
            Line2D([], [], marker="o", linestyle="", color="0.6", markersize=2),
            Line2D([], [], marker="o", linestyle="", color="tab:blue", markersize=5, markeredgewidth=0),
            Line2D([], [], marker="o", linestyle="", color="0.35", markersize=4, markerfacecolor="none"),
            Line2D([], [], marker="*", linestyle="", color="black", markersize=8, markerfacecolor="none"),
        ]
        page.legend(marks, ["start", "end (red: a < 0)", f"vanished ({gone} of {len(paths.end)})", "teacher"])
        page.title(f"neurons from start to end, {said_at(paths.labels)}")
    return page.figure


def _plane(ax: Axes, paths: Paths, plane: Plane) -> None:
    """One plane of two teacher neurons."""
    begin, end, stars = (points @ plane.rows.T for points in (paths.begin, paths.end, paths.teacher))
    heavy, gone = np.linalg.norm(paths.end, axis=1), vanished(paths)
    across = np.linalg.norm(end, axis=1) < 0.5 * heavy
    colour = np.where(paths.sign < 0, "tab:red", "tab:blue")
    for line, shade, pale in zip(np.stack([begin, end], axis=1), colour, across | gone, strict=True):
        ax.plot(*line.T, color="0.8" if pale else shade, linewidth=0.4 if pale else 0.6, alpha=0.6, zorder=1)
    ax.scatter(*begin.T, s=4, color="0.6", zorder=2, linewidths=0)
    size = 6 + 60 * heavy / max(heavy.max(), 1e-300)
    for pale, strength in ((True, 0.25), (False, 0.75)):
        some = ~gone & (across == pale)
        ax.scatter(*end[some].T, s=size[some], c=colour[some], alpha=strength, zorder=3, linewidths=0)
    ax.scatter(*end[gone].T, s=14, facecolor="none", edgecolor="0.35", linewidths=0.6, zorder=5)
    shown = in_view(stars, plane)
    pair, others = shown[:2], shown[2:]
    ax.scatter(*stars[pair].T, marker="*", s=60, facecolor="none", edgecolor="black", zorder=4, linewidths=0.8)
    ax.scatter(*stars[others].T, marker="*", s=25, facecolor="none", edgecolor="0.5", zorder=4, linewidths=0.6)
    for neuron in (*pair, *others):
        small: dict[str, Any] = {"size": 7} if neuron in pair else {"size": 5.5, "color": "0.4"}
        ax.annotate(str(neuron), stars[neuron], textcoords="offset points", xytext=(6, 4), zorder=6, **small)
    ax.axhline(0, color="0.85", linewidth=0.5, zorder=0)
    ax.axvline(0, color="0.85", linewidth=0.5, zorder=0)
    ax.set_aspect("equal", "datalim")
    ax.margins(0.12)
    hidden = [str(j) for j in range(len(stars)) if j not in pair and j not in others]
    across_plane = f"\nteacher{'s' * (len(hidden) > 1)} {', '.join(hidden)}: across the plane" if hidden else ""
    ax.set_title(f"plane of teachers {plane.first} and {plane.second}{across_plane}")
    ax.set_xlabel(f"|a| w along teacher {plane.first}")
    ax.set_ylabel(f"|a| w across, towards teacher {plane.second}")


def certificate_picture(ds: xr.Dataset, **look: Unpack[Look]) -> Figure:
    """`profile_picture` of one member with stored weights, at the λ of its last step; errors as `overlap_picture`."""
    member, _ = one_member(ds)
    require_plain(cells(member), "certificates")
    sigma = cells(member).flat[0].teacher.sigma
    student, teacher = (
        TwoLayer(member[a].values, member[W].values, sigma) for a, W in (("a", "W"), ("teacher_a", "teacher_W"))
    )
    decay = float(applied_decay(member).item())
    drawn = profile(student, teacher, weight_decay=decay)
    return profile_picture(drawn, float(_certified(student, teacher, jnp.asarray(decay)).certificate_max), **look)


@eqx.filter_jit
def _certified(student: TwoLayer, teacher: TwoLayer, decay: Array) -> Certificate:
    return duality_gap(student, teacher, weight_decay=decay)
