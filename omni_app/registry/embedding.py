"""Deployments that make embeddings, from the catalogue and LiteLLM's price map."""

from omni_app.money import pico_per_token
from omni_app.registry.catalog import Embedder
from omni_app.registry.price_map import PriceMap, SourceError
from omni_app.routing.types import Deployment, Price, Rating


def embedding_deployment(entry: Embedder, prices: PriceMap) -> Deployment:
    """The deployment of a model that makes embeddings: unrated, for their choice goes by cost alone."""
    simulated = entry.provider == "sandbox"
    price, window, size = Price(pico_per_token(entry.input_usd_per_million), 0), entry.longest_input, 0
    if entry.facts:
        price, window, size = prices.embedding(entry.facts)
    if not (size or entry.vector_size):
        raise SourceError(f"{entry.id}: neither its row nor the catalogue tells the size of its vectors")
    return Deployment(
        id=entry.id,
        provider=entry.provider,
        model_name=entry.model_name,
        price=price,
        context_window=window,
        max_output_tokens=0,
        ratings={},
        overall=Rating(0.0, "simulated" if simulated else "unrated: makes embeddings", prior=True),
        prior_latency_ms=entry.prior_latency_ms,
        simulated=simulated,
        deprecated_on=prices.deprecated_on(entry.facts) if entry.facts else None,
        price_source=f"LiteLLM {prices.version} price map, row {entry.facts}" if entry.facts else "simulated",
        price_version=f"litellm-{prices.version}" if entry.facts else entry.provider,
        vector_size=size or entry.vector_size,
        shortens_vectors=entry.shortens,
    )
