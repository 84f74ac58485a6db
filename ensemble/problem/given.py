"""Arrays as a study gives them: what given teachers and given starts ask of theirs."""

import numpy as np

Row = tuple[float, ...]


def check_given(a: Row, W: tuple[Row, ...]) -> None:
    """Refuses arrays that are not (neuron,) and (neuron, input), or not finite."""
    if not a or len(a) != len(W) or len({len(row) for row in W}) != 1 or not W[0]:
        raise ValueError(
            f"a, W: got {len(a)} output weights and rows of lengths {sorted({len(r) for r in W})} in {len(W)} "
            "rows; give one output weight and one row a neuron, all rows equally long"
        )
    if not (np.all(np.isfinite(a)) and np.all(np.isfinite(np.asarray(W)))):
        raise ValueError("a, W: got a value that is not finite")
