"""What the product says of itself while it runs: figures, a line a request, traces, alerts."""
