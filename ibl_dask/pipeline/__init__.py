"""Description to task specs, steps to a Dask graph, and the driver that runs it."""
