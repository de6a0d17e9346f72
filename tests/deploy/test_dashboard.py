"""The link to the dashboard that is printed and shown answers, whoever starts the workers."""

import socket
import urllib.request

import dask
import pytest
from batch_here import BatchHere

from ibl_dask.deploy.cluster.connect import connect, tunnel_line
from ibl_dask.deploy.site.profile import this_machine


@pytest.fixture
def profile(request, tmp_path, monkeypatch):
    """Return a profile of workers here, or of a batch system whose scheduler listens on the address of the node."""
    if request.param == "local":
        yield this_machine(1, dashboard_port=0)
        return
    here = BatchHere(tmp_path)
    for name, value in here.environment.items():
        monkeypatch.setenv(name, value)
    path = tmp_path / "site.yaml"
    path.write_text(here.profile(tmp_path))
    yield path
    here.end()


def answers(link):
    with urllib.request.urlopen(link, timeout=120) as page:
        return page.status == 200 and b"Dask" in page.read()


@pytest.mark.parametrize("profile", ["local", "batch"], indirect=True)
def test_the_link_answers_and_is_the_one_that_a_notebook_shows(profile):
    with connect(profile) as client:
        assert answers(client.dashboard_link)
        assert client.dashboard_link in client._repr_html_()
        port = client.dashboard_link.split(":")[2].split("/")[0]
        assert tunnel_line(client).startswith(f"ssh -N -L {port}:localhost:{port} ")


@pytest.mark.filterwarnings("ignore:Port .* is already in use", "ignore:unclosed")  # Dask leaves a socket open there
@pytest.mark.parametrize("profile", ["batch"], indirect=True)
def test_the_link_names_the_port_that_was_taken_where_the_wanted_one_is_in_use(profile):
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        profile.write_text(profile.read_text().replace("dashboard_port: 0", f"dashboard_port: {taken}"))
        with connect(profile) as client:
            assert f":{taken}/" not in client.dashboard_link
            assert answers(client.dashboard_link)


@pytest.mark.parametrize("profile", ["batch"], indirect=True)
def test_the_gate_of_a_site_before_its_pages_is_used(profile):
    """As JupyterHub's, without a port in the link; the tunnel still names the port."""
    with dask.config.set({"distributed.dashboard.link": "/user/me/proxy/{port}/status"}), connect(profile) as client:
        port = client.dashboard_link.split("/")[4]
        assert client.dashboard_link == f"/user/me/proxy/{port}/status"
        assert f" {port}:localhost:{port} " in tunnel_line(client)
