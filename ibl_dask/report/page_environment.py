"""Templates of HTML pages."""

from __future__ import annotations

from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined

from ibl_dask.report.palette import look_of


@cache
def page_environment() -> Environment:
    """Return the environment of the templates, with the filter `look`: colours and sign of an outcome or status."""
    environment = Environment(
        loader=PackageLoader("ibl_dask.report", "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters |= {"look": look_of}
    return environment
