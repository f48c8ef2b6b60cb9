"""`python -m ropo`, the same as the command `ropo`."""

from ropo.cli import main

if __name__ == "__main__":
    main(prog_name="ropo")
