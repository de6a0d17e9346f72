"""The program in processes of its own that begin with its libraries already imported.

A process of the program imports libraries for up to three seconds, and the tests start hundreds of them. Here a server
imports the libraries once, none of the package's own modules above the steps, and forks for every call.
"""

import atexit
import contextlib
import ctypes
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

LIBRARIES = (
    *("cv2", "dask.delayed", "distributed", "jinja2", "pydantic", "rich.console", "rich.progress", "scipy.fft"),
    *("scipy.ndimage", "scipy.signal", "typer", "xarray", "yaml", "zarr"),
)


class Server:
    """A process that forks one of the program for each call."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        self.socket = ours
        self.process = subprocess.Popen(
            [sys.executable, __file__, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        )
        theirs.close()
        atexit.register(self.close)

    def call(self, request: dict, timeout_s: float) -> tuple[int, str]:
        """Run the program once; return exit code and everything it printed, standard output first."""
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            content = json.dumps(request).encode()
            head = len(content).to_bytes(8, "big")
            socket.send_fds(self.socket, [head], [out.fileno(), err.fileno()])
            self.socket.sendall(content)
            pid = int.from_bytes(_received(self.socket, 8), "big")
            self.socket.settimeout(timeout_s)
            try:
                code = int.from_bytes(_received(self.socket, 8), "big", signed=True)
            except TimeoutError:
                os.kill(pid, signal.SIGKILL)
                raise
            finally:
                self.socket.settimeout(None)
            for stream in (out, err):
                stream.seek(0)
            return code, out.read().decode() + err.read().decode()

    def close(self) -> None:
        self.socket.close()
        self.process.wait()


def _received(connection: socket.socket, size: int) -> bytes:
    content = b""
    while len(content) < size:
        part = connection.recv(size - len(content))
        if not part:
            raise EOFError("the server of forked programs has ended")
        content += part
    return content


_server: Server | None = None


def call(
    arguments: list[str],
    cwd: str,
    environment: dict[str, str],
    timeout_s: float = 120.0,
    *,
    without_powers: bool = False,
) -> tuple[int, str]:
    """Run the program in a process of its own; return exit code and everything it printed.

    Asked for, permission bits hold it back even where it runs as root.
    """
    global _server
    if _server is None or _server.process.poll() is not None:
        _server = Server()
    try:
        request = {"arguments": arguments, "cwd": cwd, "environment": environment, "without_powers": without_powers}
        return _server.call(request, timeout_s)
    except (TimeoutError, EOFError, OSError):
        _server = None  # the next call gets a new one
        raise


def serve(connection: socket.socket) -> None:
    """Import the libraries, and fork for every request until the tests end."""
    from ibl_dask.model.step_modules import STEP_MODULES

    for name in (*LIBRARIES, *STEP_MODULES):
        importlib.import_module(name)
    while True:
        head, files, _, _ = socket.recv_fds(connection, 8, 2)
        if not head:
            return
        head += _received(connection, 8 - len(head)) if len(head) < 8 else b""
        request = json.loads(_received(connection, int.from_bytes(head, "big")))
        pid = os.fork()
        if pid == 0:
            connection.close()
            _become_the_program(request, *files)
        for file in files:
            os.close(file)
        connection.sendall(pid.to_bytes(8, "big"))
        _, status = os.waitpid(pid, 0)
        connection.sendall(os.waitstatus_to_exitcode(status).to_bytes(8, "big", signed=True))


def _give_up_powers() -> None:
    """Let permission bits hold root back, in this process and in those that it starts."""
    libc, powers = ctypes.CDLL(None, use_errno=True), (1, 2)  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
    for power in powers:
        assert libc.prctl(24, power, 0, 0, 0) == 0, os.strerror(ctypes.get_errno())  # PR_CAPBSET_DROP
    version_and_process, sets = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    assert libc.capget(version_and_process, sets) == 0, os.strerror(ctypes.get_errno())
    for low in range(3):  # effective, permitted, inheritable
        sets[low] &= ~sum(1 << power for power in powers)
    assert libc.capset(version_and_process, sets) == 0, os.strerror(ctypes.get_errno())


def _become_the_program(request: dict, out: int, err: int) -> None:
    """Run the program as the interpreter would, and end."""
    code = 1
    try:
        os.dup2(out, 1)
        os.dup2(err, 2)
        os.chdir(request["cwd"])
        if request["without_powers"] and os.geteuid() == 0:
            _give_up_powers()
        os.environ.clear()
        os.environ.update(request["environment"])
        sys.argv = ["-c", *request["arguments"]]
        from ibl_dask.cli.app import main

        try:
            main()
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
            if isinstance(end.code, str):
                print(end.code, file=sys.stderr)
        except BaseException:  # noqa: BLE001 - as the interpreter does
            sys.excepthook(*sys.exc_info())
        atexit._run_exitfuncs()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    sys.path = [path for path in sys.path if path != str(Path(__file__).parent)]
    serve(socket.socket(fileno=int(sys.argv[1])))
