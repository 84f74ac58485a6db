"""How many members a boundary costs: refinement with a quarter of the uniform grid's members beside that grid.

`python -m benchmarks.refine [ROOTS]` prints, for several root seeds, the band widths of the boundary of max_angle <
0.02 in the separation on studies/recovery.toml, and the members that each took. `--replay DIR` takes outcomes from a
table (replay.py) that `--table DIR` ran before: a root takes seconds.
"""

import tempfile
from argparse import ArgumentParser
from pathlib import Path

import numpy as np
import xarray as xr

import analysis
import ensemble as ens
from analysis.boundaries.refine import run_batches as refine
from analysis.boundaries.refinement import additions, first_additions

from .replay import Table

X, Y, MEASURE, BELOW = "weight_decay", "separation", "max_angle", 0.02


def _study() -> ens.Study:
    return ens.Study.from_toml("studies/recovery.toml").replace(records=0, probes=["loss", MEASURE])


def widths(ds) -> tuple[float, float, int]:
    """(mean, widest) band over the columns that have a boundary in the grid (λ₀ > 0), and members."""
    found = analysis.boundary(ds, X, Y, MEASURE, BELOW).isel({X: slice(1, None)})
    # A band that reaches beyond the grid is counted up to its end.
    low, high = (np.clip(found[end], 0.1, 1.13) for end in ("low", "high"))
    width = np.log10(high / low)
    return float(width.mean()), float(width.max()), int((ds["status"] >= 2).sum())


def compare(root: int) -> tuple[tuple[float, float, int], tuple[float, float, int]]:
    """(uniform, refined) with the draws of a root seed."""
    study = _study().replace(root_seed=root)
    uniform = widths(ens.run(study))
    grid = list(study.axes[Y].values)

    def propose(ds, members):
        return additions(ds, X, Y, MEASURE, BELOW, grid, members)

    first = first_additions(list(study.axes[X].values), grid)
    with tempfile.TemporaryDirectory() as folder:
        ds = refine(study, Path(folder) / "run", X, Y, budget=study.members // 4, first=first, propose=propose)
        return uniform, widths(ds)


def table(path: Path, seeds: int) -> xr.Dataset:
    """A run of the study at its own levels and one between two of them, which `--replay` reads."""
    study = _study()
    axis = study.axes[Y]
    own = np.array(axis.values, float)
    between = [float(f"{y:.6g}") for y in np.sqrt(own[1:] * own[:-1])]
    axes = study.axes | {Y: axis.model_copy(update={"values": tuple(sorted([*axis.values, *between]))})}
    return ens.run(study.replace(seeds=seeds, axes=axes, store_weights=False), path)


def main() -> None:
    asked = ArgumentParser(prog="python -m benchmarks.refine", description=__doc__)
    asked.add_argument("roots", nargs="?", type=int, default=6)
    asked.add_argument("--table", type=Path, metavar="DIR", help="run a table of outcomes there")
    asked.add_argument("--seeds", type=int, default=96, help="of the table")
    asked.add_argument("--replay", type=Path, metavar="DIR", help="take outcomes from a table")
    given = asked.parse_args()
    if given.table is not None:
        table(given.table, given.seeds)
        return
    if given.replay is None:
        rows = [compare(root) for root in range(given.roots)]
    else:
        known = Table.read(_study(), ens.open_dataset(given.replay), X, Y, MEASURE, BELOW)
        quarter = known.study.members // 4
        rows = [(widths(known.uniform(root)), widths(known.refined(root, quarter))) for root in range(given.roots)]
    for root, row in enumerate(rows):
        print(
            root,
            *(
                f"{name}: mean {m:.3f}, widest {w:.3f}, {n} members"
                for name, (m, w, n) in zip(("uniform", "refined"), row, strict=True)
            ),
        )
    mean = np.mean([[r[:2] for r in row] for row in rows], axis=0)
    print(f"mean over {len(rows)} roots: uniform {mean[0]}, refined {mean[1]} decades; ratio {mean[1] / mean[0]}")


if __name__ == "__main__":
    main()
