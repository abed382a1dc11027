"""What is kept: tables, accounts, keys, the ledger, and the spool in front of it."""
