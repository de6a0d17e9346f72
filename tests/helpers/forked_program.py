"""The program in processes of its own that begin with its libraries already imported.

A process of the program imports libraries for up to three seconds, and the tests start hundreds of them. Here a server
imports the libraries once, none of the package's own modules above the steps, and forks for every start.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

LIBRARIES = (
    *("cv2", "dask.delayed", "distributed", "jinja2", "pydantic", "rich.console", "rich.progress", "scipy.fft"),
    *("scipy.ndimage", "scipy.signal", "typer", "xarray", "yaml", "zarr"),
)
PROGRAM = "from ibl_dask.cli.app import main; main()"


class Forked:
    """A process that was forked from the server, with what tests need of `subprocess.Popen`.

    Parameters
    ----------
    arguments : iterable
        Its arguments.
    code : str
        What it runs, as after `python -c`.
    stdin, stdout, stderr : int
        Descriptors, or PIPE (of the latter two), STDOUT (of the last) and DEVNULL of `subprocess`.
    cwd, env : optional
        As of `subprocess.Popen`.
    start_new_session : bool
        Make it the leader of a session, so that it and all that it starts are one process group.
    without_powers : bool
        Let permission bits hold it back even where it runs as root.
    """

    def __init__(
        self,
        *arguments,
        code=PROGRAM,
        stdin=subprocess.DEVNULL,
        stdout=1,
        stderr=2,
        cwd=None,
        env=None,
        start_new_session=False,
        without_powers=False,
    ):
        request = {
            "arguments": list(map(str, arguments)),
            "code": code,
            "cwd": str(cwd or Path.cwd()),
            "environment": dict(os.environ) if env is None else env,
            "is_leader": start_new_session,
            "without_powers": without_powers,
        }
        self.returncode = None
        with contextlib.ExitStack() as given:
            into = _descriptor(stdin, given)
            self.stdout, out = _output(stdout, given)
            self.stderr, err = (None, out) if stderr == subprocess.STDOUT else _output(stderr, given)
            self._keeper = _server().start(request, (into, out, err))
        self.pid = _number(self._keeper)

    def poll(self):
        """Return its exit code; None while it runs."""
        return self._wait(0)

    def wait(self, timeout=None):
        """Wait until it has ended, and return its exit code."""
        if self._wait(timeout) is None:
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout)
        return self.returncode

    def _wait(self, seconds):
        if self.returncode is None and select.select([self._keeper], [], [], seconds)[0]:
            self.returncode = _number(self._keeper)
            self._keeper.close()
        return self.returncode

    def send_signal(self, number):
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self):
        """Kill it."""
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout=None):
        """Read what it prints until it ends; return standard output and errors."""
        texts = {}

        def read(pipe):
            with pipe:
                texts[pipe] = pipe.read()

        pipes = [pipe for pipe in (self.stdout, self.stderr) if pipe is not None]
        readers = [threading.Thread(target=read, args=(pipe,), daemon=True) for pipe in pipes]
        for reader in readers:
            reader.start()
        self.wait(timeout)
        for reader in readers:
            reader.join(timeout)
        return texts.get(self.stdout), texts.get(self.stderr)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.wait()
        for pipe in (self.stdout, self.stderr):
            if pipe is not None:
                pipe.close()


def call(*arguments, timeout_s=120.0, **options):
    """Run the program in a process of its own; return exit code, what it printed, and what it printed as errors."""
    with Forked(*arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options) as process:
        try:
            out, err = process.communicate(timeout_s)
        except BaseException:
            process.kill()
            raise
    return process.returncode, out, err


def _descriptor(given, stack):
    """Return a descriptor for what `subprocess` would take."""
    if given != subprocess.DEVNULL:
        return given if isinstance(given, int) else given.fileno()
    nowhere = os.open(os.devnull, os.O_RDWR)
    stack.callback(os.close, nowhere)
    return nowhere


def _output(given, stack):
    """Return the file to read from where there is one, and the descriptor to write to."""
    if given != subprocess.PIPE:
        return None, _descriptor(given, stack)
    reader, writer = os.pipe()
    stack.callback(os.close, writer)
    return os.fdopen(reader, encoding="utf-8"), writer


class Server:
    """A process that forks."""

    def __init__(self):
        self.socket, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            )
        atexit.register(self.close)

    def start(self, request, descriptors):
        """Let it fork; return the socket on which number and exit code of the process will come."""
        ours, theirs = socket.socketpair()
        content = json.dumps(request).encode()
        with theirs:
            socket.send_fds(self.socket, [len(content).to_bytes(8, "big")], [theirs.fileno(), *descriptors])
        self.socket.sendall(content)
        return ours

    def close(self):
        self.socket.close()
        self.process.wait()


_servers = []


def _server():
    """Return the server of this process, a new one where there is none or the last one died."""
    if not _servers or _servers[-1].process.poll() is not None:
        _servers.append(Server())
    return _servers[-1]


def _number(connection):
    return int.from_bytes(_received(connection, 8), "big", signed=True)


def _received(connection, size):
    content = b""
    while len(content) < size:
        part = connection.recv(size - len(content))
        if not part:
            raise EOFError("the server of forked programs has ended")
        content += part
    return content


def serve(connection):
    """Import the libraries, and fork for every request until the tests end."""
    from ibl_dask.model.step_modules import STEP_MODULES

    for name in (*LIBRARIES, *STEP_MODULES):
        importlib.import_module(name)
    vars(sys.modules["__main__"]).pop("__file__", None)  # as after `python -c`: processes that are spawned look for it
    usual = signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for keepers
    while True:
        head, descriptors, _, _ = socket.recv_fds(connection, 8, 4)
        if not head:
            return
        head += _received(connection, 8 - len(head)) if len(head) < 8 else b""
        request = json.loads(_received(connection, int.from_bytes(head, "big")))
        if os.fork() == 0:
            connection.close()
            signal.signal(signal.SIGCHLD, usual)
            _keep(request, *descriptors)
        for descriptor in descriptors:
            os.close(descriptor)


def _keep(request, status, *descriptors):
    """Fork the process, tell its number and, once it has ended, its exit code; and end."""
    try:
        pid = os.fork()
        if pid == 0:
            os.close(status)
            _become_the_program(request, *descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        with socket.socket(fileno=status) as keeper, contextlib.suppress(BrokenPipeError):
            keeper.sendall(pid.to_bytes(8, "big", signed=True))
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            keeper.sendall(code.to_bytes(8, "big", signed=True))
    finally:
        os._exit(0)


def _give_up_powers():
    """Let permission bits hold root back, in this process and in those that it starts."""
    libc, powers = ctypes.CDLL(None, use_errno=True), (1, 2)  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
    for power in powers:
        assert libc.prctl(24, power, 0, 0, 0) == 0, os.strerror(ctypes.get_errno())  # PR_CAPBSET_DROP
    version_and_process, sets = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    assert libc.capget(version_and_process, sets) == 0, os.strerror(ctypes.get_errno())
    for low in range(3):  # effective, permitted, inheritable
        sets[low] &= ~sum(1 << power for power in powers)
    assert libc.capset(version_and_process, sets) == 0, os.strerror(ctypes.get_errno())


def _become_the_program(request, *descriptors):
    """Run the code as the interpreter would, and end."""
    code = 1
    try:
        for number, descriptor in enumerate(descriptors):
            os.dup2(descriptor, number)
        os.closerange(3, max(descriptors) + 1)
        if request["is_leader"]:
            os.setsid()
        os.chdir(request["cwd"])
        if request["without_powers"] and os.geteuid() == 0:
            _give_up_powers()
        os.environ.clear()
        os.environ.update(request["environment"])
        # What the interpreter reads at its start, which was before.
        sys.path[:0] = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
        encoding = os.environ.get("PYTHONIOENCODING", "utf-8")
        for number, name, mode, errors in (
            (0, "stdin", "r", "strict"),
            (1, "stdout", "w", "strict"),
            (2, "stderr", "w", "backslashreplace"),
        ):
            stream = open(number, mode, encoding=encoding, errors=errors, closefd=False)  # noqa: SIM115
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)
        sys.stderr.reconfigure(line_buffering=True)
        sys.argv = ["-c", *request["arguments"]]
        try:
            exec(compile(request["code"], "<string>", "exec"), vars(sys.modules["__main__"]))
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
