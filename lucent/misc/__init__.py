"""Input, output and small helpers around the visualizations."""
