"""Boundaries: where a share of seeds changes along an axis, with bands, and members run where a band is wide."""
