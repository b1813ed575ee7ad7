"""`python -m yocc`, the same as the command `yocc`."""

from yocc.cli import main

if __name__ == "__main__":
    main()
