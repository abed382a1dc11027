"""The HTTP door: reads requests strictly, calls the gateway and the ledger, writes answers. One module per endpoint."""
