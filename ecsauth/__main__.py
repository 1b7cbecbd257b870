"""The process: ``ecsauth``, and ``python -m ecsauth`` does the same."""

from __future__ import annotations

import _signal  # signal, without what it takes to load it
import gc
import os
import resource


def main() -> None:
    """Run the command of the process and exit with its code.

    Python spends a fifth of the time that ``convert`` takes on looking for garbage while it loads
    modules, and on taking everything apart at the end; neither is of use here. A core file would
    hold secrets, so there is none; programs that are run inherit that. Ctrl-C ends it at once
    until there is somebody to say what it did.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
        _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
    gc.set_threshold(20_000, 10, 1_000)
    # After the signals are set: loading takes a while.
    from ecsauth.cli.program import main as run_command

    try:
        run_command()
    except SystemExit as ended:
        os._exit(ended.code if isinstance(ended.code, int) else 1)  # all is flushed and closed


if __name__ == "__main__":
    main()
