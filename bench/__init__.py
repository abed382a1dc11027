"""Benchmarks that have a target of their own."""
