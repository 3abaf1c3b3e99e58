"""Feature visualization for PyTorch: see what a vision network has learned."""

__version__ = "1.0.0.dev0"
