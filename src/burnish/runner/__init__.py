"""The loop over stages, and what is done with a finished run: exports, readings of its test."""
