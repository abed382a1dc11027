"""The whole product as a process: its account, its memory, and how long it keeps a healthy client waiting."""

import asyncio
import os
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

PASSWORD = "teal-otter-maps-42-winter"
ENVIRONMENT = {
    "LOCAL_MODEL": "off",
    "SANDBOX_SPEED": "0",
    "RATE_LIMIT_MAX": "1000000",
    "TRUSTED_PROXIES": "127.0.0.1",
}
"""This machine is a proxy: so the tests are several addresses."""
MOST_BYTES = 32 * 2**20
"""What an attack may cost."""
PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Product:
    """Where it is reached, where its data lies, a test key, and the cookie of whoever made it."""

    address: str
    folder: Path
    key: str
    cookie: str

    @staticmethod
    def with_account(address: str, folder: Path, trusted: ssl.SSLContext | None = None) -> "Product":
        """`trusted`: whose certificate it is asked for."""
        ours = {"Origin": address, "Sec-Fetch-Site": "same-origin"}
        with httpx.Client(base_url=address, headers=ours, verify=trusted or True) as client:
            client.post("/auth/signup", data={"email": "ada@example.com", "password": PASSWORD})
            made = client.post("/auth/keys", json={"name": "hostile", "kind": "test"})
            name = "__Host-omr_session" if trusted else "omr_session"
            return Product(address, folder, made.raise_for_status().json()["key"], client.cookies[name])

    @property
    def log(self) -> str:
        """All that it has printed."""
        return (self.folder / "serve.log").read_text()

    def resident_bytes(self) -> int:
        """Memory of its processes."""
        mark = f"OMNI_DATA_DIR={self.folder}".encode()
        return sum(int(Path(f"/proc/{one}/statm").read_text().split()[1]) * PAGE for one in _processes_with(mark))


def _processes_with(mark: bytes) -> list[str]:
    found = []
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdigit() and mark in (process / "environ").read_bytes().split(b"\0"):
                found.append(process.name)
        except OSError:  # it is gone, or somebody else's
            continue
    return found


@dataclass
class Highest:
    """The most memory that was seen, beyond what there was before."""

    grown_bytes: int = 0


@asynccontextmanager
async def watched(product: Product) -> AsyncIterator[Highest]:
    highest, before = Highest(), product.resident_bytes()

    async def watch() -> None:
        while True:
            highest.grown_bytes = max(highest.grown_bytes, product.resident_bytes() - before)
            await asyncio.sleep(0.05)

    watching = asyncio.create_task(watch())
    yield highest
    watching.cancel()


async def healthy_ms(product: Product, *, for_s: float) -> list[float]:
    """A client that asks one thing after the other, 50 times a second at most: what each answer took."""
    took_ms, end_s = [], time.perf_counter() + for_s
    headers = {"X-API-Key": product.key}
    body = {"messages": [{"role": "user", "content": "Hello! How are you today?"}]}
    async with httpx.AsyncClient(base_url=product.address, headers=headers, timeout=30) as client:
        while time.perf_counter() < end_s:
            began_s = time.perf_counter()
            (await client.post("/v1/chat", json=body)).raise_for_status()
            took_ms.append((time.perf_counter() - began_s) * 1_000)
            await asyncio.sleep(0.02)
    return took_ms
