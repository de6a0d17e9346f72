"""`ibl-dask jobscript`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ibl_dask.cli.console import err, print_whole
from ibl_dask.errors import UsageError
from ibl_dask.model.choices import advice

if TYPE_CHECKING:
    from ibl_dask.deploy.site.profile import Pool, Profile


@dataclass(frozen=True, slots=True)
class _Certificates:
    """Paths that the certificates of a run would have."""

    folder: Path
    require_encryption: bool = True

    def get_tls_config_for_role(self, role: str) -> dict[str, str]:
        """Return the paths of a role, as `distributed.Security` does."""
        return {
            "ca_file": str(self.folder / "ca.pem"),
            "cert": str(self.folder / f"{role}-cert.pem"),
            "key": str(self.folder / f"{role}-key.pem"),
        }


def show_job_scripts(path: Path, pool_name: str | None) -> int:
    """Print the job script of each pool, or of one of them."""
    from ibl_dask.deploy.cluster.connect import job_folder
    from ibl_dask.deploy.cluster.job_script import job_script
    from ibl_dask.deploy.cluster.tls import uses_tls
    from ibl_dask.deploy.site.schema import read_profile

    profile = read_profile(path)
    folder = job_folder(profile)
    is_encrypted = uses_tls(profile)
    for pool in _wanted(profile, pool_name):
        # Placeholders for values that are known once a driver runs.
        script = job_script(
            profile,
            pool,
            f"{pool.name}-0",
            "tls://DRIVER:PORT" if is_encrypted else "tcp://DRIVER:PORT",
            _Certificates(folder / "tls-RUN") if is_encrypted else None,
            log_folder=folder,
        )
        err.print(
            f"pool {pool.name}: {pool.min_jobs} to {pool.max_jobs} such jobs; "
            f"DRIVER, PORT{' and RUN' if is_encrypted else ''} are known when a run starts",
            markup=False,
        )
        print_whole(script.removesuffix("\n"))
    return 0


def _wanted(profile: Profile, name: str | None) -> tuple[Pool, ...]:
    from ibl_dask.deploy.batch_systems.registry import BATCH_SYSTEMS

    if profile.is_local:
        raise UsageError(
            "this profile submits no jobs",
            where=str(profile.source),
            expected=f"pools of {' or '.join(BATCH_SYSTEMS)}",
            got="workers on this machine",
            do="nothing is needed for them; examples of the others are "
            + " and ".join(f"cluster/{name}.yaml" for name in BATCH_SYSTEMS),
        )
    if name is None:
        return profile.pools
    found = tuple(pool for pool in profile.pools if pool.name == name)
    if not found:
        raise UsageError(
            "there is no such pool",
            where=str(profile.source),
            expected=f"one of {', '.join(pool.name for pool in profile.pools)}",
            got=f"--pool {name}",
            do=f"{advice(name, [pool.name for pool in profile.pools])}; or leave --pool out for all of them",
        )
    return found
