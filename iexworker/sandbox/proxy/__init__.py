"""The local result proxy and its IPFS store."""
