"""The local model's own process: llama.cpp's OpenAI-compatible server over one packaged model.

`python -m omni_app.providers.local_child MODEL_FILE` prints the port it listens on, then serves until its standard
input closes: when the parent dies, however it dies, the pipe ends and so does this process.
"""

import os
import sys

SLOTS = 2
CONTEXT_TOKENS = 4096
"""Shared by the slots: each answers within half of it."""


def main(model_file: str) -> None:
    """Loads the model, prints the port, waits for the parent to go."""
    import xllamacpp

    parameters = xllamacpp.CommonParams()
    parameters.model.path = model_file
    parameters.n_ctx = CONTEXT_TOKENS
    parameters.n_parallel = SLOTS
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = 0
    parameters.warmup = False
    server = xllamacpp.Server(parameters)
    sys.stdout.write(f"listening {server.listening_address}\n")
    sys.stdout.flush()
    sys.stdin.buffer.read()
    # The server's own threads may be in the middle of an answer that nobody waits for any more.
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1])
