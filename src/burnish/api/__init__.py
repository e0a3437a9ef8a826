"""What Python programs call, and the command line too: one way, one set of defaults.

The public names are those of ``burnish`` itself, which imports them from here when they are used.
"""
