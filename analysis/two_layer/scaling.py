"""How fast alignment follows the risk: the exponents of theory.md §5 (v), with intervals, and whether its bounds hold.

With ζ = R_λ − min R_λ, the theory bounds the mass-weighted squared angles by ζ/λ up to a constant, from above, and the
squared gradient norm by ζ⁴/λ² from below:

    ln θ² = const + p ln(ζ/λ)          the bound holds as ζ → 0 where p ≥ 1
    ln ‖∇R_λ‖² = const + p ln ζ + q ln λ          the bound holds where p ≤ 4

At ζ far below λ² the first cannot hold: at the minimum of a fixed λ itself, neurons stand at an angle of order λ from
the teachers (theory.md §5, ii). `ratio` leaves such records out.

Fitted by least squares over the records of all seeds of a cell; seeds are resampled for the intervals, because the
records of one member are not independent.
"""

import numpy as np
import xarray as xr

from ..members import axes, finished, history, standard
from ..statistics import LEVEL, expanded_tail, require_level
from .reference import optimality_gap

FLOOR = 1e-12
"""ζ below this share of the risk's largest value is rounding."""
_RESAMPLES = 1000


def scaling(
    ds: xr.Dataset,
    *,
    above: float | None = None,
    under: float = np.inf,
    ratio: float = 0.0,
    level: float = LEVEL,
    gaps: xr.Dataset | None = None,
) -> xr.Dataset:
    """The exponents of squared angles and squared gradient norm against ζ, cell by cell.

    **Arguments:** a dataset with histories of `risk`, `grad_norm` and `mean_square_angle`; records with
    `above` < ζ < `under`, ζ ≥ `ratio` λ² and λ > 0 are fitted (`above`: 1e-12 of the largest risk, and ten times what
    the reference is uncertain by); `gaps`: the result of `optimality_gap`, where it is there already.

    **Returns:** over the axes, for `angle` and `gradient`: `…_exponent` p with `_low`, `_high`;
    `gradient_decay_exponent` q with `_low`, `_high` (NaN where λ does not vary); `angle_constant`, the largest θ² λ/ζ,
    and `gradient_constant`, the smallest ‖∇‖² λ²/ζ⁴ of a record; `angle_holds`, `gradient_holds`: whether the interval
    allows the bound; `records` and `seeds` fitted. Intervals are expanded percentiles of 1 000 resamples of the seeds.

    **Raises:** `ValueError` where a history is missing, or a dataset has one seed; and as `optimality_gap`.
    """
    require_level(level)
    ds = standard(ds)
    if "mean_square_angle" not in ds:
        raise ValueError("measure: needs the history of `mean_square_angle`; add it to the study's `probes`")
    square = history(ds, "mean_square_angle")
    slope = history(ds, "grad_norm") ** 2
    if ds.sizes["seed"] < 2:
        raise ValueError("seed: got one seed a cell; intervals over seeds need two or more: run more seeds a cell")
    gaps = optimality_gap(ds) if gaps is None else gaps
    dims = (*axes(ds), "seed", "record")
    zeta, decay = (gaps[name].transpose(*dims).values for name in ("zeta", "applied_decay"))
    unsure = (gaps["reference"] - gaps["reference_bound"]).transpose(*dims).values
    floor = FLOOR * float(history(ds, "risk").max()) if above is None else above
    before_stop = (ds["step"] <= ds["stop_step"]).transpose(*dims).values
    kept = (zeta > np.maximum(floor, 10.0 * unsure)) & (zeta < under) & (decay > 0) & (zeta >= ratio * decay**2)
    kept &= before_stop & finished(ds).transpose(*dims[:-1]).values[..., None]
    theta, slope = (values.transpose(*dims).values for values in (square, slope))
    kept &= (theta > 0) & (slope > 0)
    safe = [np.log(np.where(kept, values, 1.0)) for values in (theta, slope, zeta, decay)]
    names = axes(ds)
    shape = [ds.sizes[name] for name in names]
    data = {name: np.full(shape, np.nan) for name in _SAYS}
    for place in np.ndindex(*shape):
        for name, value in _of_cell([values[place] for values in safe], kept[place], level).items():
            data[name][place] = value
    made = xr.Dataset(
        {name: (names, values, {"units": "1", "long_name": _SAYS[name]}) for name, values in data.items()},
        coords={name: ds[name] for name in names},
        attrs={"level": level, "above": floor, "under": under, "ratio": ratio, "study_hash": ds.attrs["study_hash"]},
    )
    holds = {"angle": made["angle_exponent_high"] >= 1.0, "gradient": made["gradient_exponent_low"] <= 4.0}
    for name, value in holds.items():
        said = {"units": "1", "long_name": f"whether the interval of the {name} exponent allows the bound"}
        made[f"{name}_holds"] = value.assign_attrs(said)
    return made


def _of_cell(logarithms: list[np.ndarray], kept: np.ndarray, level: float) -> dict[str, float]:
    """One cell's numbers, by the names of `_SAYS`; arrays (seed, record) of θ², ‖∇‖², ζ and λ."""
    log_theta, log_slope, log_zeta, log_decay = logarithms
    row = {"records": kept.sum(), "seeds": kept.any(axis=1).sum()}
    if row["seeds"] < 2:
        return row
    angle = exponents(log_theta, [log_zeta - log_decay], kept, level)
    varies = np.ptp(log_decay[kept]) > 0
    gradient = exponents(log_slope, [log_zeta, log_decay] if varies else [log_zeta], kept, level)
    found = {"angle_exponent": angle[:, 0], "gradient_exponent": gradient[:, 0]}
    if varies:
        found["gradient_decay_exponent"] = gradient[:, 1]
    for name, ends in found.items():
        row |= dict(zip((name, f"{name}_low", f"{name}_high"), ends, strict=True))
    row["angle_constant"] = np.exp((log_theta + log_decay - log_zeta)[kept].max())
    row["gradient_constant"] = np.exp((log_slope + 2 * log_decay - 4 * log_zeta)[kept].min())
    return row


def exponents(
    y: np.ndarray, x: list[np.ndarray], kept: np.ndarray, level: float = LEVEL, resamples: int = _RESAMPLES
) -> np.ndarray:
    """Least-squares slopes of y in every x, with intervals from resampled seeds: rows estimate, low, high.

    **Arguments:** arrays (seed, record); which of them count.
    """
    design = np.stack([np.ones_like(y), *x], axis=-1) * kept[..., None]
    # Normal equations of every seed: a resample is a weighted sum of them.
    squares = np.einsum("srp,srq->spq", design, design)
    products = np.einsum("srp,sr->sp", design, np.where(kept, y, 0.0))
    seeds = len(y)
    weights = np.random.default_rng(0).multinomial(seeds, np.full(seeds, 1.0 / seeds), size=resamples)
    weights = np.concatenate([np.ones((1, seeds)), weights])
    left = np.einsum("bs,spq->bpq", weights, squares)
    right = weights @ products
    found = np.einsum("bpq,bq->bp", np.linalg.pinv(left, hermitian=True), right)[:, 1:]
    tail = expanded_tail(int(kept.any(axis=1).sum()), level)
    low, high = np.quantile(found[1:], [tail, 1.0 - tail], axis=0)
    return np.stack([found[0], np.minimum(low, found[0]), np.maximum(high, found[0])])


def _says(name: str, what: str) -> dict[str, str]:
    return {name: what, f"{name}_low": f"lower end of the {what}", f"{name}_high": f"upper end of the {what}"}


_SAYS = {
    **_says("angle_exponent", "exponent p of θ² ~ (ζ/λ)^p"),
    **_says("gradient_exponent", "exponent p of ‖∇‖² ~ ζ^p λ^q"),
    **_says("gradient_decay_exponent", "exponent q of ‖∇‖² ~ ζ^p λ^q"),
    "angle_constant": "largest θ² λ/ζ of a record, rad²",
    "gradient_constant": "smallest ‖∇‖² λ²/ζ⁴ of a record",
    "records": "records fitted",
    "seeds": "members fitted",
}
