"""``python -m aisecure`` is the command ``aisecure``."""

from aisecure.cli import main

if __name__ == "__main__":
    main(prog_name="aisecure")
