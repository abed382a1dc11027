"""The local model's own process: llama.cpp's OpenAI-compatible server over one packaged model.

`python -m omni_app.providers.local_child MODEL_FILE SOCKET` listens on that socket, says so, and serves until its
standard input closes: when the parent dies, however it dies, the pipe ends and so do this process and the socket's
folder.
"""

import os
import shutil
import sys
from pathlib import Path

SLOTS = 2
CONTEXT_TOKENS = 4096
"""Shared by the slots: each answers within half of it."""


def main(model_file: str, socket: Path) -> None:
    """Loads the model, says that it listens, waits for the parent to go. `socket` ends in `.sock`."""
    import xllamacpp

    parameters = xllamacpp.CommonParams()
    parameters.model.path = model_file
    parameters.n_ctx = CONTEXT_TOKENS
    parameters.n_parallel = SLOTS
    parameters.hostnames = [str(socket)]
    parameters.warmup = False
    server = xllamacpp.Server(parameters)
    sys.stdout.write(f"listening {server.listening_address}\n")
    sys.stdout.flush()
    sys.stdin.buffer.read()
    shutil.rmtree(socket.parent, ignore_errors=True)
    # The server's own threads may be in the middle of an answer that nobody waits for any more.
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
