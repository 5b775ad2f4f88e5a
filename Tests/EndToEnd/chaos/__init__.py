"""Faults of every server while independent clients write; at the end their ledger must be consistent."""
