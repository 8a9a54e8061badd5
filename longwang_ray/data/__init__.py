"""What goes in: monthly rain of climate models, daily rain to learn from, a synthetic Earth."""
