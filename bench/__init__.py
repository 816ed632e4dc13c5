"""Benchmarks: run by hand, side by side in one run, ratios before absolute figures. Never part of the tests."""
