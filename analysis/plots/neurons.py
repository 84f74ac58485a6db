"""Neurons of one member: overlaps with the teacher, and their way from the start to the end."""

from typing import Any

import matplotlib as mpl
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from ensemble import TwoLayer

from ..certificate import profile
from ..decay import final_decay
from ..families import pattern
from ..members import cells, one_member
from ..paths import neuron_paths
from .curves import profile_picture
from .style import COLUMN, STYLE, panels, said_at, wrapped


def overlap_picture(ds: xr.Dataset) -> Figure:
    """The cosines of student and teacher neurons of one member with stored weights, the heaviest neurons first.

    **Raises:** `ValueError` where weights were not stored, or more than one member is open.
    """
    member, labels = one_member(ds)
    sigma = cells(ds).flat[0].teacher.sigma
    arrays = {name: member[name].values for name in ("a", "W", "teacher_a", "teacher_W")}
    seen = pattern(arrays, sigma)
    nearest = np.abs(seen.overlap).argmax(axis=1)
    order = np.lexsort((-np.abs(seen.mass), nearest, ~seen.active))
    with mpl.rc_context(STYLE):
        figure, (left, right) = panels(2, COLUMN, 0.75 + 0.085 * len(order), columns=2)
        bound: dict[str, Any] = (
            {"vmin": -1.0, "vmax": 1.0, "cmap": "RdBu_r"} if sigma.symmetry == "ray" else {"vmin": 0.0, "vmax": 1.0}
        )
        image = left.imshow(seen.overlap[order], aspect="auto", interpolation="nearest", **bound)
        left.set_xticks(range(seen.overlap.shape[1]))
        left.set_xlabel("teacher neuron")
        left.set_ylabel("student neuron")
        left.set_yticks(range(len(order)), [str(i) for i in order], size=5)
        figure.colorbar(image, ax=left, label="cosine" if sigma.symmetry == "ray" else "|cosine|")
        tint = np.where(seen.mass[order] >= 0, "tab:blue", "tab:red")
        right.barh(range(len(order)), np.abs(seen.mass[order]), color=tint)
        right.set_ylim(len(order) - 0.5, -0.5)
        right.set_yticks([])
        right.set_xlabel("mass |a|‖w‖\n(red: a < 0)")
        figure.suptitle(wrapped(f"overlaps at the end, {said_at(labels)}", COLUMN), size=8)
    return figure


def neuron_picture(ds: xr.Dataset) -> Figure:
    """The way of every neuron a_i w_i from the start to the end of one member, seen in the teacher's subspace.

    Up to two panels: the plane of the two teacher neurons whose lines are closest, and that of the closest two among
    the others. Stars: a*_j w*_j; areas grow with the mass; even activations are drawn at that end of a line which is
    nearer to its teacher neuron.

    **Raises:** as `overlap_picture`.
    """
    paths = neuron_paths(ds)
    heavy = np.linalg.norm(paths.end, axis=1)
    colour = np.where(paths.sign < 0, "tab:red", "tab:blue")
    planes = paths.planes
    width = COLUMN * len(planes)
    with mpl.rc_context(STYLE):
        figure, views = panels(len(planes), width, 3.1, columns=2)
        for ax, plane in zip(views, planes, strict=True):
            begin, end, stars = (points @ plane.rows.T for points in (paths.begin, paths.end, paths.teacher))
            for line, shade in zip(np.stack([begin, end], axis=1), colour, strict=True):
                ax.plot(*line.T, color=shade, linewidth=0.5, alpha=0.5)
            ax.scatter(*begin.T, s=4, color="0.6", label="start", zorder=2)
            ax.scatter(*end.T, s=6 + 60 * heavy / heavy.max(), c=colour, alpha=0.7, zorder=3, linewidths=0)
            ax.scatter([], [], s=40, color="tab:blue", label="end (red: a < 0)")
            ax.scatter(*stars.T, marker="*", s=60, facecolor="none", edgecolor="black", label="teacher", zorder=4)
            ax.axhline(0, color="0.85", linewidth=0.5, zorder=0)
            ax.axvline(0, color="0.85", linewidth=0.5, zorder=0)
            ax.set_aspect("equal", "datalim")
            for neuron in (plane.first, plane.second):
                ax.annotate(str(neuron), stars[neuron], textcoords="offset points", xytext=(5, 4), size=7)
            ax.set_xlabel(f"|a| w along teacher neuron {plane.first}")
            ax.set_ylabel(f"across, in the plane of neurons {plane.first} and {plane.second}")
        views[0].legend(loc="best")
        figure.suptitle(wrapped(f"neurons from start to end, {said_at(paths.labels)}", width), size=8)
    return figure


def certificate_picture(ds: xr.Dataset) -> Figure:
    """`profile_picture` of one member with stored weights, at the λ of its last step; errors as `overlap_picture`."""
    member, _ = one_member(ds)
    sigma = cells(ds).flat[0].teacher.sigma
    student, teacher = (
        TwoLayer(member[a].values, member[W].values, sigma) for a, W in (("a", "W"), ("teacher_a", "teacher_W"))
    )
    decay = float(final_decay(member).item())
    return profile_picture(profile(student, teacher, weight_decay=decay))
