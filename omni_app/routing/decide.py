"""decide(request, deployments, policy, snapshot) -> Decision: filter, score, rank, chain."""
