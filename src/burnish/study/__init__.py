"""The study: its file, its run folder and the loop over its stages."""
