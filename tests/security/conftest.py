"""What the pages' tests have: real services, people who have signed up."""

from tests.ui.conftest import services, sign_up

__all__ = ["services", "sign_up"]
