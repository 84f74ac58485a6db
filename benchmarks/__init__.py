"""Opt-in measurements: gd-atlas and its peers on the same members, in one run on one machine.

python -m benchmarks            measures, writes data/bench/engine.json, and docs/performance.md from it
python -m benchmarks --quick    a smaller version, to see that it works
"""
