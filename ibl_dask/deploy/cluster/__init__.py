"""Workers on this machine and jobs of a batch system."""
