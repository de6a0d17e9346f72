"""The profile of a site: its pools of workers and its limits."""
