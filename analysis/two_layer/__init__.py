"""Two-layer networks: certificates of optimality, what was reached, and from where; all that needs a and W."""
