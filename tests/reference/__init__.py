"""References to compare fastmap with: slow, independent, or another program altogether."""
