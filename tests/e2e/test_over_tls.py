"""The pages over the product's own TLS, in a browser: from the sign-up on, sockets too."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.product import running_product
from tests.servers.authority import Authority

PASSWORD = "teal-otter-maps-42-winter"


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder: Path = tmp_path_factory.mktemp("secure")
    certificate, key = Authority(folder / "authority").issue("127.0.0.1")
    tls = {"TLS_CERT_FILE": str(certificate), "TLS_KEY_FILE": str(key)}
    with running_product(folder / "data", environment={"LOCAL_MODEL": "off", "SANDBOX_SPEED": "0", **tls}) as url:
        yield url


def test_somebody_signs_up_and_sees_pages_over_tls(secure: str, browser: Browser) -> None:
    page = browser.new_context(ignore_https_errors=True).new_page()  # it does not know the authority
    wrong: list[str] = []
    sockets: list[str] = []
    page.on("console", lambda told: wrong.append(told.text) if told.type == "error" else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("websocket", lambda socket: sockets.append(socket.url))
    page.goto(f"{secure}/signup/")
    page.fill("input[name=email]", "ada@example.com")
    page.fill("input[name=password]", PASSWORD)
    page.click("button[type=submit]")
    page.wait_for_url("**/start/**")
    page.goto(f"{secure}/overview/")
    page.get_by_role("heading", name="Overview", level=1).wait_for()
    assert wrong == []
    assert sockets and all(one.startswith("wss://") for one in sockets)
    assert [one["secure"] for one in page.context.cookies() if one["name"] == "__Host-omr_session"] == [True]
    page.context.close()
