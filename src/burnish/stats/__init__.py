"""What can be claimed from so many images: arrays in, numbers out; what is random takes a seed."""
