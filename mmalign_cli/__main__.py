"""`python -m mmalign_cli` and the `mmalign` command."""

import os
import signal
from typing import NoReturn

_ENDINGS = {signal.SIGINT: (130, "interrupted"), signal.SIGTERM: (143, "terminated")}


def _stop(number: int, frame: object) -> NoReturn:
    """End at once: nothing is open yet, and an exception could be lost among the imports."""
    code, what = _ENDINGS[signal.Signals(number)]
    try:
        os.write(2, f"mmalign: error: {what}; nothing written\n".encode())
    finally:
        os._exit(code)


def main() -> NoReturn:
    """Run the command line; until it takes over, a signal ends the process at once."""
    for number in _ENDINGS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _stop)
    from mmalign_cli.commands.main import main as run

    run()


if __name__ == "__main__":
    main()
