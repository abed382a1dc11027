"""How the messages of a server look on standard error: when in UTC, how bad, which module, what.

Python's own last resort writes the bare message. The lines of JSON (`omni_app.observe`) go to standard output.
"""

import logging
import time

FORMAT = "%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s: %(message)s"
TIME = "%Y-%m-%dT%H:%M:%S"


def install() -> None:
    """From here on, unless somebody has set up logging already; of warnings and what is worse, as before."""
    root = logging.getLogger()
    if root.handlers:
        return
    formatter = logging.Formatter(FORMAT, TIME)
    formatter.converter = time.gmtime
    handler = logging.StreamHandler()
    handler.setFormatter(formatter)
    handler.setLevel(logging.WARNING)
    root.addHandler(handler)
