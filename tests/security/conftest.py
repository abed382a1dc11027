"""What the pages' tests have: real services, people who have signed up; and the whole product as a process."""

from collections.abc import Iterator

import pytest

from tests.product import running_product
from tests.security.processes import ENVIRONMENT, Product
from tests.ui.conftest import services, sign_up

__all__ = ["services", "sign_up"]


@pytest.fixture(scope="package")
def product_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """The product as a person starts it, and an account in it."""
    folder = tmp_path_factory.mktemp("hostile")
    with running_product(folder, environment=ENVIRONMENT) as address:
        yield Product.with_account(address, folder)


@pytest.fixture
def whole_product(product_process: Product) -> str:
    return product_process.address


@pytest.fixture
def test_key(product_process: Product) -> str:
    return product_process.key
