"""Small studies that the tests share."""

from pathlib import Path

import numpy as np

import ensemble as ens
from ensemble.parts import is_own
from ensemble.probes import ALWAYS, CERTIFICATE, AbstractStartProbe
from ensemble.problem.students import TwoLayerStudent
from ensemble.problem.teachers import SeparatedPairs

PROBES = tuple(
    name
    for name, probe in ens.PROBES.items()
    if is_own(probe)
    and issubclass(TwoLayerStudent, probe.of)
    and issubclass(SeparatedPairs, probe.against)
    and not probe.of_samples
    and name not in (*CERTIFICATE, *ALWAYS)
    # Those that compare with the start need all coordinates, and are measured in tests/test_lazy.py.
    and not isinstance(probe, AbstractStartProbe)
)

USUAL = (
    *("loss", "risk", "grad_norm", "mean_angle", "max_angle", "far_mass", "active", "subspace_alignment", "imbalance"),
    *("recovery_error", "mass", "angle", "owner", "mean_square_angle"),
)
"""Probes of every shape, and what golden files hold. All `PROBES` take half as long again to compile, at every shape of
a network: tests that look at one of the others, or at all of them, ask for them."""


def small(**changes) -> ens.Study:
    """2 × 3 cells of 3 seeds, 60 steps, the usual probes recorded."""
    fields = {
        "name": "small",
        "seeds": 3,
        "records": 8,
        "store_weights": True,
        "probes": list(USUAL),
        "teacher": {
            "kind": "separated_pairs",
            "activation": "abs_centred",
            "neurons": 2,
            "inputs": 4,
            "separation": 0.8,
        },
        "student": {"neurons": 4, "start": "balanced"},
        "protocol": {"kind": "halving_decay", "weight_decay": 0.05, "epochs": 3, "epoch_steps": 20},
        "axes": {"weight_decay": [0.0, 0.05], "separation": [0.4, 0.8, 1.2]},
    }
    study = ens.Study.model_validate(fields)
    return study.replace(**changes) if changes else study


def tiny(**changes) -> ens.Study:
    """3 cells of 2 seeds, 20 steps, three probes: for tests of files, which need many directories."""
    fields = {
        "name": "tiny",
        "question": "what is stored?",
        "seeds": 2,
        "records": 3,
        "probes": ["loss", "max_angle", "active"],
        "teacher": {
            "kind": "separated_pairs",
            "activation": "abs_centred",
            "neurons": 2,
            "inputs": 4,
            "separation": 0.8,
        },
        "student": {"neurons": 3, "start": "balanced"},
        "protocol": {"kind": "halving_decay", "weight_decay": 0.05, "epochs": 2, "epoch_steps": 10},
        "axes": {"weight_decay": [0.0, 0.05, 0.1]},
    }
    study = ens.Study.model_validate(fields)
    return study.replace(**changes) if changes else study


def heavy_tailed(**changes) -> ens.Study:
    """Members that end by their gradient norm after very different numbers of steps."""
    fields = {
        "name": "heavy_tailed",
        "seeds": 24,
        "records": 6,
        "store_weights": True,
        "probes": ["loss", "risk", "grad_norm", "max_angle"],
        "teacher": {"kind": "orthonormal", "activation": "relu", "neurons": 4, "inputs": 4},
        "student": {"neurons": 4, "start": "xavier"},
        "protocol": {"kind": "plain", "layers": "first", "step_size": 0.2, "steps": 3000, "grad_norm": 1e-6},
    }
    study = ens.Study.model_validate(fields)
    return study.replace(**changes) if changes else study


def long_study(seeds: int = 6000) -> ens.Study:
    """A minute of work at 6000 seeds."""
    protocol = {"kind": "plain", "layers": "first", "step_size": 0.05, "steps": 30_000}
    axes = {"step_size": [0.05, 0.06], "width": {"field": "student.neurons", "values": [4, 5, 6]}}
    fields = {"name": "long", "seeds": seeds, "records": 3, "store_weights": False}
    return heavy_tailed(protocol=protocol, axes=axes, **fields)


def written(study: ens.Study, path: Path) -> Path:
    """A study file of a study."""
    path.write_text(study.to_toml())
    assert ens.Study.from_toml(path).hash == study.hash
    return path


def descend(a, W, teacher_a, teacher_W, sigma, steps, step_size, decay, grad_norm=-1.0, layers=("a", "W")):
    """The same descent, one member, in NumPy and written out: an independent path.

    `decay(t)` is λ at step t. Returns (a, W, steps taken).
    """
    a, W = np.array(a), np.array(W)
    for t in range(steps):
        slope_a, slope_W = np.zeros_like(a), np.zeros_like(W)
        for i in range(len(a)):
            for c, v in [*zip(a, W, strict=True), *zip(-teacher_a, teacher_W, strict=True)]:
                k, dk = _kernel_and_slope(sigma, W[i], v)
                slope_a[i] += c * k
                slope_W[i] += a[i] * c * dk
        slope_a += decay(t) * a
        slope_W += decay(t) * W
        squared = ("a" in layers) * (slope_a**2).sum() + ("W" in layers) * (slope_W**2).sum()
        if np.sqrt(squared) <= grad_norm:
            return a, W, t
        if "a" in layers:
            a = a - step_size * slope_a
        if "W" in layers:
            W = W - step_size * slope_W
    return a, W, steps


def _kernel_and_slope(sigma, w, v):
    nw, nv = np.linalg.norm(w), np.linalg.norm(v)
    rho = np.clip(w @ v / (nw * nv), -1.0, 1.0)
    if sigma == "relu":
        kappa = (np.sqrt(1 - rho**2) + rho * (np.pi - np.arccos(rho))) / (2 * np.pi)
        slope = (np.pi - np.arccos(rho)) / (2 * np.pi)
    else:
        kappa = 2 / np.pi * (np.sqrt(1 - rho**2) + rho * np.arcsin(rho) - 1)
        slope = 2 / np.pi * np.arcsin(rho)
    return nw * nv * kappa, nv * ((kappa - rho * slope) * w / nw + slope * v / nv)
