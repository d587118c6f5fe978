"""The program `srn`, also as `python -m srn`."""

import gc
import os
import signal
import sys
import warnings
from types import FrameType


def _leave(number: int, frame: FrameType | None) -> None:
    os.write(sys.stderr.fileno(), b"srn: interrupted\n")
    os._exit(130)


def _open_closed_streams() -> None:
    """Open the null device in place of closed standard streams (`>&-`), whose numbers the next files would take."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free: this one
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115


def main() -> None:
    """Run the command line. Ctrl-C ends it in one line also while it loads its libraries and after its work."""
    _open_closed_streams()
    heeds = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # it is ignored under nohup
    if heeds:
        signal.signal(signal.SIGINT, _leave)  # until a command has begun: half-loaded libraries raise anything
    if not sys.warnoptions and "SRN_TRACEBACK" not in os.environ:
        warnings.simplefilter("ignore")  # what other packages say to their authors
        os.environ["PYTHONWARNINGS"] = "ignore"  # and in processes that are started
    from srn.cli.main import main as run

    try:
        run()
    finally:
        if heeds:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        gc.freeze()  # the system takes all memory back at once; Python would look through it for a tenth of a second


if __name__ == "__main__":
    main()
