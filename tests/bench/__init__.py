"""What the benchmarks measure, and that it stays so."""
