"""Transactions that must take effect exactly once: planned, journalled, sent, judged."""
