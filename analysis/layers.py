"""Layers of networks: which of them the students of a cell have."""

import numpy as np
import xarray as xr

from .problems import cells

LAYERS = {"layer": 0, "hidden_layer": -1, "layer_pair": -1}
"""Dimensions that count layers, and by how much fewer there are of them than layers of weights."""


def depths_of(ds: xr.Dataset) -> np.ndarray:
    """How many layers of weights the students of every cell have, over axes; 0 where they have no list of layers."""
    found = cells(ds)
    return np.array([getattr(cell.student, "depth", 0) for cell in found.flat]).reshape(found.shape)
