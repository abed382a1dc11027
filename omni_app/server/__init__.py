"""The server's process and its connections. Below it stands any ASGI app."""
