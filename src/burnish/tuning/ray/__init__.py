"""Fits on a Ray cluster: reaching it, handing attempts to its nodes, and what comes back."""
