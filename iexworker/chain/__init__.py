"""The PoCo contracts: reading, signing, sending."""
