"""Which scope each route that a key opens wants. What is not here, no key opens."""

from collections.abc import Mapping

from omni_app.errors import PermissionDenied
from omni_app.storage.keys import ApiKey
from omni_app.storage.scopes import Scope

ROUTES: Mapping[str, Scope] = {
    "/v1/chat": Scope.CHAT,
    "/v1/agent-step": Scope.CHAT,
    "/v1/chat/completions": Scope.CHAT,
    "/v1/messages": Scope.CHAT,
    "/v1/responses": Scope.CHAT,
    "/v1/embeddings": Scope.EMBEDDINGS,
    "/v1/images/generations": Scope.IMAGES,
    "/v1/models": Scope.MODELS,
    "/v1/models/{id:path}": Scope.MODELS,
    "/v1/usage": Scope.USAGE,
    "/v1/requests.csv": Scope.USAGE,
    "/v1/router/debug": Scope.DEBUG,
}
_BEGINNINGS = {route.partition("{")[0]: scope for route, scope in ROUTES.items() if "{" in route}


def scope_of(path: str) -> Scope | None:
    """The scope that the route of a path wants; None when there is no such route for keys."""
    found = ROUTES.get(path)
    return found or next((scope for start, scope in _BEGINNINGS.items() if path.startswith(start)), None)


def refuse_outside(key: ApiKey, path: str) -> None:
    """Raises `PermissionDenied`, which names the scope, when the key may not be used for this path."""
    wanted = scope_of(path)
    if wanted is None:
        raise PermissionDenied("no API key opens this path")
    if key.scopes is not None and wanted not in key.scopes:
        raise PermissionDenied(
            f"this API key may not be used here: it wants the scope {wanted.value}, and the key has "
            f"{', '.join(sorted(key.scopes)) or 'none'}. Whoever is in its team can change that on the key's page"
        )
