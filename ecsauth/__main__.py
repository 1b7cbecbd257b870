"""``python -m ecsauth``: the same as the ``ecsauth`` command."""

from ecsauth.cli import main

if __name__ == "__main__":
    main()
