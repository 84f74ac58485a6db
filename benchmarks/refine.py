"""How many members a boundary costs: refinement with a quarter of the uniform grid's members beside that grid.

`python -m benchmarks.refine [ROOTS]` prints, for several root seeds, the band widths of the boundary of max_angle <
0.02 in the separation on studies/recovery.toml, and the members that each took.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np

import analysis
import ensemble as ens
from analysis.boundaries.refine import run_batches as refine
from analysis.boundaries.refinement import additions, first_additions

X, Y, MEASURE, BELOW = "weight_decay", "separation", "max_angle", 0.02


def widths(ds) -> tuple[float, float, int]:
    """(mean, widest) band over the columns that have a boundary in the grid (λ₀ > 0), and members."""
    found = analysis.boundary(ds, X, Y, MEASURE, BELOW).isel({X: slice(1, None)})
    # A band that reaches beyond the grid is counted up to its end.
    low, high = (np.clip(found[end], 0.1, 1.13) for end in ("low", "high"))
    width = np.log10(high / low)
    return float(width.mean()), float(width.max()), int((ds["status"] >= 2).sum())


def compare(root: int) -> tuple[tuple[float, float, int], tuple[float, float, int]]:
    """(uniform, refined) with the draws of a root seed."""
    study = ens.Study.from_toml("studies/recovery.toml").replace(root_seed=root, records=0, probes=["loss", MEASURE])
    uniform = widths(ens.run(study))
    grid = list(study.axes[Y].values)

    def propose(ds, members):
        return additions(ds, X, Y, MEASURE, BELOW, grid, members)

    first = first_additions(list(study.axes[X].values), grid)
    with tempfile.TemporaryDirectory() as folder:
        ds = refine(study, Path(folder) / "run", X, Y, budget=study.members // 4, first=first, propose=propose)
        return uniform, widths(ds)


def main(roots: int) -> None:
    rows = [compare(root) for root in range(roots)]
    for root, row in enumerate(rows):
        print(
            root,
            *(
                f"{name}: mean {m:.3f}, widest {w:.3f}, {n} members"
                for name, (m, w, n) in zip(("uniform", "refined"), row, strict=True)
            ),
        )
    mean = np.mean([[r[:2] for r in row] for row in rows], axis=0)
    print(f"mean over {roots} root seeds: uniform {mean[0]}, refined {mean[1]} decades; ratio {mean[1] / mean[0]}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 6)
