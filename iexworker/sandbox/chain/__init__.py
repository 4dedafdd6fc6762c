"""The local chain: anvil, the PoCo contracts, accounts, orders, deals."""
