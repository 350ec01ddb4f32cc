"""What starts workers: processes of this machine, or a cluster's own scheduler."""
