"""What models there are, what they cost, what they can do and how good they are: all from sources that are named."""

from omni_app.registry.registry import Registry, build_registry, packaged_registry

__all__ = ["Registry", "build_registry", "packaged_registry"]
