"""A whole local iExec network: chain, scheduler, result proxy, registry."""
