"""Rate limits: one Protocol, in memory for one process, in Upstash's Redis for many."""
