"""Sends each transaction exactly once: plan, ledger, evidence, verdict."""
