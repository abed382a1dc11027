"""The web app: pages over the same gateway and ledger functions that the API uses."""
