"""The whole product over its own TLS: what people and programs use, and what somebody does who wants to use it up."""

import asyncio
import ssl
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest

from tests.product import running_product
from tests.security.attacks import IDLE, LARGE, SLACK_S, WITHIN_S
from tests.security.processes import ENVIRONMENT, MOST_BYTES, PASSWORD, Product, watched
from tests.security.raw_client import say
from tests.security.websocket_client import greeted, opened
from tests.servers.authority import Authority


@dataclass(frozen=True, slots=True)
class Secure:
    product: Product
    trusted: ssl.SSLContext


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secure]:
    """The product with a certificate, and an account in it."""
    authority = Authority(tmp_path_factory.mktemp("authority"))
    certificate, key = authority.issue("127.0.0.1")
    environment = ENVIRONMENT | {"TLS_CERT_FILE": str(certificate), "TLS_KEY_FILE": str(key)}
    folder = tmp_path_factory.mktemp("secure")
    with running_product(folder, environment=environment) as address:
        yield Secure(Product.with_account(address, folder, authority.trusted()), authority.trusted())


async def test_api_pages_and_sockets_are_served_over_tls(secure: Secure) -> None:
    product = secure.product
    async with httpx.AsyncClient(base_url=product.address, verify=secure.trusted) as client:
        asked = {"messages": [{"role": "user", "content": "Hello! How are you today?"}]}
        answer = await client.post("/v1/chat", json=asked, headers={"X-API-Key": product.key})
        assert answer.status_code == 200 and answer.json()["model_used"]
        page = await client.get("/login", follow_redirects=True)
        assert page.status_code == 200 and "max-age" in page.headers["strict-transport-security"]
    async with opened(product.address, "a-tab", cookie=product.cookie) as socket:
        assert socket.status == 101
        await asyncio.wait_for(greeted(socket), 10)


async def test_the_session_is_for_https_alone(secure: Secure) -> None:
    ours = {"Origin": secure.product.address, "Sec-Fetch-Site": "same-origin"}
    async with httpx.AsyncClient(base_url=secure.product.address, verify=secure.trusted, headers=ours) as client:
        answer = await client.post("/auth/login", data={"email": "ada@example.com", "password": PASSWORD})
    (cookie,) = [one for one in answer.headers.get_list("set-cookie") if "omr_session" in one]
    assert cookie.startswith("__Host-omr_session=") and "Secure" in cookie


async def test_three_hundred_handshakes_that_do_not_end_are_over_in_time_and_keep_nobody_waiting(
    secure: Secure,
) -> None:
    plain = secure.product.address.replace("https", "http")
    async with watched(secure.product) as memory:
        idle = [asyncio.create_task(say(plain, b"", within_s=WITHIN_S + SLACK_S)) for _ in range(IDLE)]
        await asyncio.sleep(1)
        async with httpx.AsyncClient(base_url=secure.product.address, verify=secure.trusted, timeout=2) as client:
            assert (await client.get("/health")).status_code == 200
        heard = await asyncio.gather(*idle)
    assert all(one.closed and one.data == b"" for one in heard)
    assert max(one.after_s for one in heard) < WITHIN_S + SLACK_S
    assert memory.grown_bytes < MOST_BYTES


async def test_what_is_too_much_is_refused_over_tls_too(secure: Secure) -> None:
    for name, attack in LARGE.items():
        async with watched(secure.product) as memory:
            end = await attack(secure.product)
        assert end.over and not end.served and end.after_s < WITHIN_S + SLACK_S, name
        assert memory.grown_bytes < MOST_BYTES, name
    assert "Traceback" not in secure.product.log
