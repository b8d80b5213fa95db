"""Compare predictions with labels: metrics, bootstrap intervals, the composite."""
