"""The PoCo protocol, pure: models, hashes, signatures, ABI codec. Import its modules, not this."""
