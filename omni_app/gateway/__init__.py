"""The story of a request: decide, walk the fallback chain, meter, record, answer."""
