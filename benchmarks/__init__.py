"""Benchmarks of skgd against scikit-learn and against bare matrix products: ``python -m benchmarks --help``."""
