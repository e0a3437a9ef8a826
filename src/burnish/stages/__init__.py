"""How one stage is done; all of it is part of the digest of the code."""
