"""What is kept of a run, and found again; it knows nothing of the study."""
