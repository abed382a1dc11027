"""A mail server that takes everything and keeps it: a real one, over a socket, with STARTTLS where it has a key."""

import socketserver
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from threading import Thread
from typing import Any, cast


@dataclass
class MailServer:
    """What came. `refuses` answers every recipient with an error. `secure`: whether somebody has said STARTTLS."""

    url: str = ""
    mails: list[EmailMessage] = field(default_factory=list)
    refuses: bool = False
    starttls: ssl.SSLContext | None = None
    secure: bool = False


class Listener(socketserver.ThreadingTCPServer):
    daemon_threads = True
    kept: MailServer


class Session(socketserver.StreamRequestHandler):
    server: Listener

    def handle(self) -> None:
        with suppress(OSError):  # who does not believe us goes away
            self.say("220 here")
            while line := self.rfile.readline():
                word = line[:4].upper()
                if word == b"QUIT":
                    self.say("221 bye")
                    return
                self.answer(word)

    def answer(self, word: bytes) -> None:
        kept = self.server.kept
        if word == b"DATA":
            self.take()
        elif word == b"EHLO" and kept.starttls:
            self.say("250-here\r\n250 STARTTLS")
        elif word == b"STAR" and kept.starttls:
            self.say("220 go on")
            self.request = kept.starttls.wrap_socket(self.request, server_side=True)
            self.setup()
            kept.secure = True
        else:
            self.say("550 no" if kept.refuses and word == b"RCPT" else "250 ok")

    def take(self) -> None:
        self.say("354 go on")
        lines = []
        while line := self.rfile.readline():
            if line == b".\r\n":
                break
            lines.append(line[1:] if line.startswith(b"..") else line)
        self.server.kept.mails.append(cast(Any, message_from_bytes(b"".join(lines), policy=policy.default)))
        self.say("250 taken")

    def say(self, text: str) -> None:
        self.wfile.write(f"{text}\r\n".encode())

    def finish(self) -> None:
        super().finish()
        self.request.close()


@contextmanager
def mail_server(starttls: ssl.SSLContext | None = None) -> Iterator[MailServer]:
    """Runs on a free port of this machine. `starttls`: it is offered."""
    kept = MailServer(starttls=starttls)
    with Listener(("127.0.0.1", 0), Session) as server:
        server.kept = kept
        kept.url = f"smtp://127.0.0.1:{server.server_address[1]}"
        Thread(target=server.serve_forever, daemon=True).start()
        yield kept
        server.shutdown()
