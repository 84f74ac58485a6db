"""Uses of features: importance, pruning, feature maps, attacks, other inputs, a second task."""
