"""The process behind ``ecsauth`` and ``python -m ecsauth``."""

from __future__ import annotations

import _signal  # the signal module takes longer to load
import gc
import os
import resource


def main() -> None:
    """Run the command and exit with its code.

    Garbage collection during imports and the interpreter's shutdown take a fifth of the time of
    ``convert`` and are of no use here, so both are avoided. Core files are disabled, also for child
    processes, because they would contain secrets. Until the command is loaded and can report what
    it did, Ctrl-C ends the process at once.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
        _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
    gc.set_threshold(20_000, 10, 1_000)
    # Imported only now, because loading takes a while and the signals must be set first.
    from ecsauth.cli.program import main as run_command

    try:
        run_command()
    except SystemExit as ended:
        os._exit(ended.code if isinstance(ended.code, int) else 1)  # streams are flushed by now
    except (MemoryError, SystemError):  # not even the report had room
        os.write(2, b"ecsauth: error: out of memory; no file is half-written: raise the limit\n")
        os._exit(1)


if __name__ == "__main__":
    main()
