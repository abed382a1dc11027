"""The only door to LiteLLM: for providers that need a translation we do not have (Gemini).

LiteLLM translates, and we carry: its own HTTP client sends a request again after a lost connection, follows redirects
and reads answers of any size, so it is given ours (`Carrier`). A call costs about 3 to 6 ms of CPU, and the import
takes seconds: it happens in a thread, on first use. Cost is computed by us.
"""

import asyncio
import logging
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from omni_app.providers.base import (
    Completion,
    Delta,
    Deltas,
    FaultKind,
    ProviderFault,
    ProviderRequest,
    Usage,
)
from omni_app.providers.openai_answers import FINISH_REASONS, last_user_text, read_images, read_tool_calls, read_usage
from omni_app.providers.parameters import accepted
from omni_app.providers.transport import Transport, cleaned
from omni_app.providers.usage import counted

if TYPE_CHECKING:
    from omni_app.providers.litellm_carrier import Carrier

BY_EXCEPTION: Mapping[str, FaultKind] = {
    "ContextWindowExceededError": FaultKind.CONTEXT_LENGTH,
    "ContentPolicyViolationError": FaultKind.CONTENT_POLICY,
    "UnsupportedParamsError": FaultKind.UNSUPPORTED_PARAMETER,
    "BadRequestError": FaultKind.BAD_REQUEST,
}
"""What LiteLLM finds wrong with a request before it is sent (`litellm.exceptions`)."""


PICTURES = "image_url: this model takes pictures as data:image/… only; their addresses are not fetched"
UNKNOWN = ("user", "top_logprobs")
"""Parameters that Gemini has no word for (`litellm.get_supported_openai_params`)."""


@dataclass(slots=True)
class LiteLLMLane:
    """One provider through LiteLLM. `prefix` is LiteLLM's name for it (`gemini`)."""

    name: str
    prefix: str
    base_url: str
    api_key: str
    key_variable: str
    transport: Transport
    simulated: bool = False

    def unavailable_reason(self) -> str:
        """Empty when there is a key."""
        return "" if self.api_key else f"{self.key_variable} is not set"

    def use_key(self, key: str) -> None:
        """From the next call on."""
        self.api_key = key

    async def complete(self, request: ProviderRequest) -> Completion:
        """One call. Raises `ProviderFault`, also for a picture by its address: LiteLLM would fetch it from here."""
        if any(map(names_a_picture, request.messages)):
            raise ProviderFault(FaultKind.UNSUPPORTED_PARAMETER, PICTURES)
        litellm = await asyncio.to_thread(imported)
        if request.deployment.makes_images:
            return await self._images(litellm, request)
        taken, warnings = accepted(request, unknown=UNKNOWN)
        if "max_tokens" in request.params:
            taken["max_tokens"] = request.params["max_tokens"]
        answer = await self._call(
            litellm.acompletion,
            request,
            messages=[dict(message) for message in request.messages],
            max_retries=0,
            drop_params=True,
            _skip_mcp_handler=True,  # It wants a package that nothing here needs, as soon as there are tools.
            **taken,
        )
        return replace(self._read(answer, request), warnings=warnings)

    async def _images(self, litellm: Any, request: ProviderRequest) -> Completion:
        prompt = last_user_text(request.messages)
        answer = await self._call(litellm.aimage_generation, request, prompt=prompt, n=1)
        images = read_images(answer.get("data"))
        if not images:
            raise ProviderFault(FaultKind.EMPTY, "the answer holds no image")
        tokens = counted(request, "").input
        return Completion(text="", usage=Usage(tokens, 0, images=len(images)), images=images)

    async def _call(self, function: Callable[..., Any], request: ProviderRequest, **arguments: Any) -> dict[str, Any]:
        """One call of LiteLLM, once, within our deadline; its answer as plain data."""
        deployment = request.deployment
        from omni_app.providers.litellm_carrier import Carrier

        carrier = Carrier(self.transport, request.timeouts)
        try:
            async with asyncio.timeout(request.timeouts.total_s), client_over(carrier) as client:
                answer = await function(
                    model=f"{self.prefix}/{deployment.upstream_model or deployment.model_name}",
                    api_key=self.api_key,
                    api_base=self.base_url,
                    timeout=request.timeouts.total_s,
                    num_retries=0,
                    client=client,
                    **arguments,
                )
        except TimeoutError:
            raise ProviderFault(FaultKind.TOTAL_TIMEOUT, "no whole answer in time") from None
        except Exception as error:  # LiteLLM raises anything; no answer is a fault, whatever its name
            raise carried(error) or own_fault(error, answered=carrier.answered) from error
        value: dict[str, Any] = answer.model_dump()
        return value

    def _read(self, value: Mapping[str, Any], request: ProviderRequest) -> Completion:
        choices = value.get("choices") or []
        message = choices[0].get("message") if choices else None
        if not isinstance(message, dict):
            raise ProviderFault(FaultKind.EMPTY, "the answer has no message")
        text = message.get("content") or ""
        calls = read_tool_calls(message.get("tool_calls"))
        finish = FINISH_REASONS.get(choices[0].get("finish_reason"), "stop")
        usage = read_usage(value.get("usage"), request, text, calls)
        if not text and not calls and finish not in ("length", "content_filter"):
            raise ProviderFault(FaultKind.EMPTY, "the answer holds neither text nor a tool call", usage=usage)
        logprobs = choices[0].get("logprobs")
        return Completion(
            text=text,
            usage=usage,
            finish_reason=finish,
            tool_calls=calls,
            logprobs=logprobs if isinstance(logprobs, dict) else None,
        )

    async def stream(self, request: ProviderRequest) -> AsyncGenerator[Deltas | Completion, None]:
        """The whole answer as one piece: LiteLLM reports cut streams as finished, so they are not used."""
        completion = await self.complete(request)
        if completion.text:
            yield (Delta(text=completion.text, logprobs=completion.logprobs),)
        for index, call in enumerate(completion.tool_calls):
            yield (Delta(tool_call={"index": index, **call}),)
        yield completion

    async def aclose(self) -> None:
        """The transport is shared and closed by its owner."""


def names_a_picture(message: Mapping[str, Any]) -> bool:
    """Whether the message holds the address of a picture instead of the picture."""
    content = message.get("content")
    parts = content if isinstance(content, list) else ()
    return any("image_url" in part and not part["image_url"]["url"].startswith("data:") for part in parts)


@asynccontextmanager
async def client_over(carrier: "Carrier") -> AsyncIterator[Any]:
    """LiteLLM's client for one call, without its own HTTP."""
    from litellm.llms.custom_httpx.http_handler import AsyncHTTPHandler

    client = AsyncHTTPHandler(transport=carrier, follow_redirects=False)
    try:
        yield client
    finally:
        await client.close()


def carried(error: BaseException | None) -> ProviderFault | None:
    """Our own transport's fault, from under what LiteLLM made of it."""
    while error is not None and not isinstance(error, ProviderFault):
        error = error.__cause__ or error.__context__
    return error


def own_fault(error: Exception, *, answered: bool) -> ProviderFault:
    """What LiteLLM itself found wrong: in the answer, when there is one, else in the request."""
    if answered:
        return ProviderFault(FaultKind.MALFORMED, "the answer is not what it should be")
    kinds = (BY_EXCEPTION.get(one.__name__) for one in type(error).__mro__)
    kind = next((kind for kind in kinds if kind), FaultKind.SERVER_ERROR)
    return ProviderFault(kind, cleaned(str(getattr(error, "message", "")) or type(error).__name__))


def imported() -> Any:
    """LiteLLM, with its packaged price map, no telemetry and no callbacks. Takes seconds the first time."""
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    import litellm

    litellm.telemetry = False
    litellm.suppress_debug_info = True
    logging.getLogger("LiteLLM").setLevel(logging.WARNING)  # Below that it logs prompts.
    return litellm
