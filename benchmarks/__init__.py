"""Benchmarks that print one table each; run from the checkout, `python -m benchmarks.quality`."""
