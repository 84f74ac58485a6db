"""Accelerators: what is compiled for cards that are not there, and what is measured on one that is.

python -m benchmarks.gpu compile     both kernels for A100, H100 and B200 (needs JAX's CUDA wheels, no card)
python -m benchmarks.gpu measure     everything that a person with a card runs once; small sizes on a CPU
"""
