"""Published and exact results, made again: what is claimed, what was published, and what this simulator measures.

One claim is one class in `claims/` and one line in `registry.py`. `make reproductions` runs their studies into
data/reproductions, an ordinary run directory each, keeps what was measured in data/bench/reproductions.json, and writes
docs/reproductions.md from that.
"""
