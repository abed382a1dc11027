"""What an authenticator app shows."""

import time

import pyotp


def code_of(secret: str, *, later: int = 0) -> str:
    """The code of now, or of so many half minutes later: the next one counts already."""
    return pyotp.TOTP(secret).generate_otp(int(time.time()) // 30 + later)
