"""`python -m mmalign_cli` and the `mmalign` command."""

from mmalign_cli.commands.main import main

if __name__ == "__main__":
    main()
