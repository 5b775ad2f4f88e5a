"""Faults on every server while independent clients write, and a ledger of their own that has to agree in the end."""
