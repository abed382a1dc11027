"""The only door to LiteLLM: for providers that need a translation we do not have (Gemini).

LiteLLM costs about 3 to 6 ms of CPU a call, retries by itself, has no real deadline and takes seconds to import; so it
is imported in a thread on first use, told not to retry, and bounded by our own deadline. Cost is computed by us.
"""

import asyncio
import os
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from omni_app.providers.base import Completion, Delta, FaultKind, ProviderFault, ProviderRequest, Usage
from omni_app.providers.openai_wire import FINISH_REASONS, last_user_text, read_tool_calls, read_usage
from omni_app.providers.parameters import accepted
from omni_app.providers.transport import cleaned
from omni_app.providers.usage import counted

BY_EXCEPTION: Mapping[str, FaultKind] = {
    "ContextWindowExceededError": FaultKind.CONTEXT_LENGTH,
    "ContentPolicyViolationError": FaultKind.CONTENT_POLICY,
    "UnsupportedParamsError": FaultKind.UNSUPPORTED_PARAMETER,
    "BadRequestError": FaultKind.BAD_REQUEST,
    "UnprocessableEntityError": FaultKind.BAD_REQUEST,
    "AuthenticationError": FaultKind.AUTHENTICATION,
    "PermissionDeniedError": FaultKind.AUTHENTICATION,
    "NotFoundError": FaultKind.MODEL_NOT_FOUND,
    "RateLimitError": FaultKind.RATE_LIMITED,
    "Timeout": FaultKind.TOTAL_TIMEOUT,
    "APIConnectionError": FaultKind.REFUSED,
}
"""LiteLLM's exception classes (`litellm.exceptions`); the rest is the server's fault."""


@dataclass(slots=True)
class LiteLLMLane:
    """One provider through LiteLLM. `prefix` is LiteLLM's name for it (`gemini`)."""

    name: str
    prefix: str
    base_url: str
    api_key: str
    key_variable: str
    simulated: bool = False

    def unavailable_reason(self) -> str:
        """Empty when there is a key."""
        return "" if self.api_key else f"{self.key_variable} is not set"

    async def complete(self, request: ProviderRequest) -> Completion:
        """One call. Raises `ProviderFault`."""
        litellm = await asyncio.to_thread(imported)
        if request.deployment.makes_images:
            return await self._images(litellm, request)
        taken, warnings = accepted(request)
        if "max_tokens" in request.params:
            taken["max_tokens"] = request.params["max_tokens"]
        answer = await self._call(
            litellm.acompletion,
            request,
            messages=[dict(message) for message in request.messages],
            max_retries=0,
            drop_params=True,
            **taken,
        )
        return replace(self._read(answer, request), warnings=warnings)

    async def _images(self, litellm: Any, request: ProviderRequest) -> Completion:
        prompt = last_user_text(request.messages)
        answer = await self._call(litellm.aimage_generation, request, prompt=prompt, n=1)
        images = tuple(
            {name: one[name] for name in ("b64_json", "url") if one.get(name)} for one in answer.get("data") or []
        )
        if not any(images):
            raise ProviderFault(FaultKind.EMPTY, "the answer holds no image")
        tokens = counted(request, "").input
        return Completion(text="", usage=Usage(tokens, 0, images=len(images)), images=images)

    async def _call(self, function: Callable[..., Any], request: ProviderRequest, **arguments: Any) -> dict[str, Any]:
        """One call of LiteLLM, once, within our deadline; its answer as plain data."""
        deployment = request.deployment
        try:
            async with asyncio.timeout(request.timeouts.total_s):
                answer = await function(
                    model=f"{self.prefix}/{deployment.upstream_model or deployment.model_name}",
                    api_key=self.api_key,
                    api_base=self.base_url,
                    timeout=request.timeouts.total_s,
                    num_retries=0,
                    **arguments,
                )
        except TimeoutError:
            raise ProviderFault(FaultKind.TOTAL_TIMEOUT, "no whole answer in time") from None
        except Exception as error:  # LiteLLM raises anything; no answer is a fault, whatever its name
            raise self._fault(error) from error
        value: dict[str, Any] = answer.model_dump()
        return value

    def _fault(self, error: Exception) -> ProviderFault:
        kinds = (BY_EXCEPTION.get(one.__name__) for one in type(error).__mro__)
        kind = next((kind for kind in kinds if kind), FaultKind.SERVER_ERROR)
        status = getattr(error, "status_code", None)
        text = cleaned(str(getattr(error, "message", "")) or type(error).__name__)
        return ProviderFault(kind, text, http_status=status if isinstance(status, int) else None)

    def _read(self, value: Mapping[str, Any], request: ProviderRequest) -> Completion:
        choices = value.get("choices") or []
        message = choices[0].get("message") if choices else None
        if not isinstance(message, dict):
            raise ProviderFault(FaultKind.EMPTY, "the answer has no message")
        text = message.get("content") or ""
        calls = read_tool_calls(message.get("tool_calls"))
        finish = FINISH_REASONS.get(choices[0].get("finish_reason"), "stop")
        usage = read_usage(value.get("usage"), request, text, calls)
        if not text and not calls and finish != "length":
            raise ProviderFault(FaultKind.EMPTY, "the answer holds neither text nor a tool call", usage=usage)
        return Completion(text=text, usage=usage, finish_reason=finish, tool_calls=calls)

    async def stream(self, request: ProviderRequest) -> AsyncGenerator[Delta | Completion, None]:
        """The whole answer as one piece: LiteLLM reports cut streams as finished, so they are not used."""
        completion = await self.complete(request)
        yield Delta(text=completion.text)
        yield completion

    async def aclose(self) -> None:
        """LiteLLM keeps its clients itself."""


def imported() -> Any:
    """LiteLLM, with its packaged price map, no telemetry and no callbacks. Takes seconds the first time."""
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    import litellm

    litellm.telemetry = False
    litellm.suppress_debug_info = True
    return litellm
