"""Pictures, in one style, drawn from datasets and labelled results alone; `save` writes PNG, PDF or SVG.

Every picture takes `width` ("column", "page" or inches), `height` (inches), `ax` (an axes of one's own, where the
picture has one panel), `title`, `xlabel` and `ylabel`; see `layout.Look`.
"""

from .complexity import complexity_picture
from .curves import angle_picture, profile_picture, survival_picture, trajectory_picture
from .features import feature_picture
from .layers import layer_picture
from .layout import Look
from .maps import difference_picture, order_picture, phase_picture
from .modes import mode_picture
from .neurons import neuron_picture, overlap_picture
from .online import online_picture
from .style import STYLE, save
from .transfer import transfer_picture
from .uses import pruning_picture, robustness_picture, shift_picture

__all__ = [
    "STYLE",
    "Look",
    "angle_picture",
    "complexity_picture",
    "difference_picture",
    "feature_picture",
    "layer_picture",
    "mode_picture",
    "neuron_picture",
    "online_picture",
    "order_picture",
    "overlap_picture",
    "phase_picture",
    "profile_picture",
    "pruning_picture",
    "robustness_picture",
    "save",
    "shift_picture",
    "survival_picture",
    "trajectory_picture",
    "transfer_picture",
]
