"""A node that looks like Arbitrum's: a JSON-RPC proxy in front of anvil (docs/spec/11, 5)."""
