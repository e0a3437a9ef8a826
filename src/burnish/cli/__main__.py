"""``python -m burnish.cli``, as ``python -m burnish``."""

from burnish.__main__ import main

if __name__ == "__main__":
    main()
