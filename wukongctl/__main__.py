"""`python -m wukongctl`, the form `torchrun -m` needs."""

from wukongctl.cli import main

if __name__ == "__main__":
    main()
