"""What the local network is made of on this machine: ports, processes, files, registry."""
