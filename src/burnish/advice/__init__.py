"""What a finished run says should be tried, or looked at."""
