"""What fits into the minutes and the disk that there are."""
