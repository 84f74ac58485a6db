"""Opt-in measurements: each runs gd-atlas and its peers on the same members in one process."""
