"""The only door to LiteLLM at run time: for what needs a translation that we do not have (Gemini's pictures).

LiteLLM translates, and we carry: what it would send by a client of its own, which follows redirects and knows no
deadline of ours, goes over our transport, and its answers are read as it reads them. The import takes seconds: it
happens in a thread, on first use. Cost is computed by us.
"""

import asyncio
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from omni_app.providers.base import HOP_HEADER, Completion, FaultKind, ProviderFault, ProviderRequest, Usage
from omni_app.providers.faults import fault_of
from omni_app.providers.openai_answers import last_user_text, parsed, read_images
from omni_app.providers.transport import Reply, Transport
from omni_app.providers.usage import counted


@dataclass(slots=True)
class LiteLLMImages:
    """Pictures of one provider. `provider` is LiteLLM's name for it (`gemini`)."""

    provider: str
    base_url: str
    api_key: str
    transport: Transport

    async def complete(self, request: ProviderRequest) -> Completion:
        """One call. Raises `ProviderFault`."""
        litellm = await asyncio.to_thread(imported)
        call = self._translated(litellm, request)
        reply = await self.transport.post(
            call.url, headers=call.headers, body=orjson.dumps(call.body), timeouts=request.timeouts
        )
        if reply.status != 200:
            raise fault_of(reply)
        parsed(reply)  # or it is a fault
        images = read_images(read_by(litellm, call, reply))
        if not images:
            raise ProviderFault(FaultKind.EMPTY, "the answer holds no image")
        tokens = counted(request, "").input
        return Completion(text="", usage=Usage(tokens, 0, images=len(images)), images=images)

    def _translated(self, litellm: Any, request: ProviderRequest) -> "Call":
        model = request.deployment.upstream_model or request.deployment.model_name
        provider = litellm.LlmProviders(self.provider)
        translator = litellm.utils.ProviderConfigManager.get_provider_image_generation_config(model, provider)
        params = translator.map_openai_params({"n": 1}, {}, model, drop_params=True)
        ours = {"litellm_params": {}, "optional_params": params}
        own = {HOP_HEADER: "1", "Accept": "application/json"}
        headers = translator.validate_environment(own, model, [], api_key=self.api_key, **ours)
        url = translator.get_complete_url(self.base_url, self.api_key, model, **ours)
        prompt = last_user_text(request.messages)
        body = translator.transform_image_generation_request(model, prompt, headers=headers, **ours)
        return Call(translator, model, url, headers, body, params)


@dataclass(frozen=True, slots=True)
class Call:
    """One call as LiteLLM has written it."""

    translator: Any
    model: str
    url: str
    headers: Mapping[str, str]
    body: Mapping[str, Any]
    params: Mapping[str, Any]


def read_by(litellm: Any, call: Call, reply: Reply) -> Any:
    """The pictures, as LiteLLM reads them. Raises `ProviderFault` for what it cannot read."""
    import httpx  # LiteLLM has loaded it; a worker that makes no pictures spares its 8 MB

    try:
        answer = call.translator.transform_image_generation_response(
            model=call.model,
            raw_response=httpx.Response(200, content=reply.body),
            model_response=litellm.ImageResponse(),
            logging_obj=None,
            request_data=call.body,
            optional_params=call.params,
            litellm_params={},
            encoding=None,
        )
    except Exception as error:  # LiteLLM raises anything
        raise ProviderFault(FaultKind.MALFORMED, "the answer is not what it should be") from error
    return answer.model_dump().get("data")


def imported() -> Any:
    """LiteLLM, with its packaged price map, no telemetry and no callbacks. Takes seconds the first time."""
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    import litellm

    litellm.telemetry = False
    litellm.suppress_debug_info = True
    logging.getLogger("LiteLLM").setLevel(logging.WARNING)  # Below that it logs prompts.
    return litellm
