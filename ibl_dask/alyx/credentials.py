"""Address of an Alyx, the user, and the token, which is read from a file or a variable and never shown."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

from ibl_dask.errors import AlyxLoginFailed, UsageError
from ibl_dask.model.web_address import require_address

URL_VARIABLE = "IBL_DASK_ALYX_URL"
USER_VARIABLE = "IBL_DASK_ALYX_USER"
TOKEN_VARIABLE = "IBL_DASK_ALYX_TOKEN"
TOKEN_FILE_VARIABLE = "IBL_DASK_ALYX_TOKEN_FILE"
_TOKEN = re.compile(r"[0-9A-Za-z._~+/=-]{8,4096}")
_LONGEST_FILE = 8192
_DO = (
    "write the token into a file of mode 0600 and name the file in IBL_DASK_ALYX_TOKEN_FILE or --token-file; Alyx "
    "shows it on its page /me, or an administrator does"
)


class Token:
    """Token of a user, which no message, log or pickle shows.

    Parameters
    ----------
    text : str
        The token.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        if not _TOKEN.fullmatch(text):
            raise AlyxLoginFailed(
                "this is no token of Alyx",
                expected="one word of 8 characters or more, as Alyx shows it",
                got=f"{len(text)} characters" if text else "nothing",
                do=_DO,
            )
        self._text = text

    def reveal(self) -> str:
        """Return the token itself, for the header of a request alone."""
        return self._text

    def __repr__(self) -> str:
        return "Token(hidden)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a token is not copied to other processes or files")


@dataclass(frozen=True, slots=True)
class Access:
    """Address of an Alyx and the user who is logged in there."""

    url: str
    """Address without a path, such as https://alyx.internationalbrainlab.org."""
    user: str
    """Name of the user, who registers the files."""
    token: Token = field(repr=False, compare=False)
    """Token of the user."""

    def __post_init__(self) -> None:
        url = require_address(self.url, "an Alyx", f"correct {URL_VARIABLE} or --alyx")
        object.__setattr__(self, "url", url)

    @property
    def is_private(self) -> bool:
        """Return whether nobody between here and the server can read the token."""
        parts = urlsplit(self.url)
        return parts.scheme == "https" or parts.hostname in ("127.0.0.1", "::1", "localhost")


def read_access(
    url: str = "", user: str = "", token_file: Path | None = None, environment: Mapping[str, str] | None = None
) -> Access:
    """Return the access from arguments, else from variables of the environment.

    Parameters
    ----------
    url, user : str
        Address and user; by default those of `IBL_DASK_ALYX_URL` and `IBL_DASK_ALYX_USER`.
    token_file : Path, optional
        File of the token; by default that of `IBL_DASK_ALYX_TOKEN_FILE`, else the token is in `IBL_DASK_ALYX_TOKEN`.
    environment : mapping, optional
        Variables; those of this process by default.

    Raises
    ------
    AlyxLoginFailed
        If the token is missing, or its file may be read by others.
    UsageError
        If address or user are missing.
    """
    variables = os.environ if environment is None else environment
    url, user = url or variables.get(URL_VARIABLE, ""), user or variables.get(USER_VARIABLE, "")
    for value, name, option in ((url, URL_VARIABLE, "--alyx"), (user, USER_VARIABLE, "--user")):
        if not value:
            raise UsageError(
                "Alyx is not named" if option == "--alyx" else "the user of Alyx is not named",
                expected=f"a value of {option} or of the variable {name}",
                got="neither",
                do=f"give {option}, or set {name}",
            )
    file = token_file or (Path(variables[TOKEN_FILE_VARIABLE]) if variables.get(TOKEN_FILE_VARIABLE) else None)
    if file is not None:
        return Access(url, user, read_token_file(file))
    if not variables.get(TOKEN_VARIABLE):
        raise AlyxLoginFailed("no token of Alyx is given", expected="a file, or a variable", got="neither", do=_DO)
    return Access(url, user, Token(variables[TOKEN_VARIABLE].strip()))


def read_token_file(path: Path) -> Token:
    """Read a token from a file that its owner alone may read.

    Raises
    ------
    AlyxLoginFailed
        If it cannot be read, or others may read it.
    """
    return Token(read_private_text(path, "token"))


def read_private_text(path: Path, role: str) -> str:
    """Read a token or password from a file that its owner alone may read.

    Parameters
    ----------
    path : Path
        The file.
    role : str
        Its content, for messages: `token`.

    Raises
    ------
    AlyxLoginFailed
        If it cannot be read, or others may read it.
    """
    do = _DO if role == "token" else f"write the {role} into a file of mode 0600"
    try:
        with path.expanduser().open("rb") as file:
            status = os.fstat(file.fileno())
            content = file.read(_LONGEST_FILE)
    except OSError as error:
        raise AlyxLoginFailed(
            f"the file of the {role} cannot be read",
            where=str(path),
            expected=f"a file that holds the {role} alone",
            got=error.strerror or type(error).__name__,
            do=do,
        ) from error
    if status.st_mode & 0o077 or not stat.S_ISREG(status.st_mode):
        raise AlyxLoginFailed(
            f"others may read the file of the {role}",
            where=str(path),
            expected="a file of mode 0600",
            got=f"mode {stat.S_IMODE(status.st_mode):04o}",
            do=f"chmod 600 {path}; ask for another {role} if others may have read it",
        )
    return content.decode("utf-8", "replace").strip()
