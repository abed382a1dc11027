"""A stand-in for Supabase Auth on the wire: the two endpoints that sign-in uses, answering as GoTrue does.

Not Supabase: its answers were written after GoTrue's API reference and what the `supabase` client parses.
"""

import uuid
from dataclasses import dataclass, field

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

CREATED = "2026-01-01T00:00:00Z"


@dataclass
class GoTrue:
    """Users by e-mail; `confirm` asks for a confirmed address before the first sign-in."""

    key: str
    confirm: bool = False
    passwords: dict[str, str] = field(default_factory=dict)
    confirmed: set[str] = field(default_factory=set)

    def app(self) -> Starlette:
        routes = [
            Route("/auth/v1/signup", self.sign_up, methods=["POST"]),
            Route("/auth/v1/token", self.token, methods=["POST"]),
        ]
        return Starlette(routes=routes)

    async def sign_up(self, request: Request) -> Response:
        if request.headers.get("apikey") != self.key:
            return JSONResponse({"message": "Invalid API key"}, 401)
        body = await request.json()
        email = body["email"]
        if email in self.passwords:
            if self.confirm:
                return JSONResponse(self.user(email) | {"identities": []})
            return refusal(422, "user_already_exists", "User already registered")
        self.passwords[email] = body["password"]
        if self.confirm:
            return JSONResponse(self.user(email))
        return JSONResponse(self.session(email))

    async def token(self, request: Request) -> Response:
        body = await request.json()
        email = body["email"]
        if self.passwords.get(email) != body["password"]:
            return refusal(400, "invalid_credentials", "Invalid login credentials")
        if self.confirm and email not in self.confirmed:
            return refusal(400, "email_not_confirmed", "Email not confirmed")
        return JSONResponse(self.session(email))

    def session(self, email: str) -> dict[str, object]:
        return {
            "access_token": "a-token",
            "token_type": "bearer",
            "expires_in": 3600,
            "refresh_token": "r-token",
            "user": self.user(email),
        }

    def user(self, email: str) -> dict[str, object]:
        identity = {
            "id": email,
            "identity_id": email,
            "user_id": email,
            "identity_data": {"email": email},
            "provider": "email",
            "created_at": CREATED,
        }
        return {
            "id": str(uuid.uuid5(uuid.NAMESPACE_URL, email)),
            "aud": "authenticated",
            "email": email,
            "email_confirmed_at": CREATED if email in self.confirmed else None,
            "app_metadata": {},
            "user_metadata": {},
            "identities": [identity],
            "created_at": CREATED,
        }


def refusal(status: int, code: str, message: str) -> Response:
    return JSONResponse({"code": status, "error_code": code, "msg": message}, status)
