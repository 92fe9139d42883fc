"""``python -m tablevault_like`` is ``tvl``."""

from tablevault_like.cli import main

if __name__ == "__main__":
    main()
