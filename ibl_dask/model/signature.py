"""Signatures of tasks: datasets that are read and written, and their combinations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from ibl_dask.errors import UsageError
from ibl_dask.model.places import require_inside

Role = Literal["input", "output"]


class ExpectedDataset:
    """One or several files that a task reads or writes: `|` either, `&` both, `^` exactly one, `~` absent.

    Tuples `(name, collection, required, register, revision, unique)` stand for datasets; all but the first two may be
    left out.
    """

    __slots__ = ()

    @staticmethod
    def input(
        name: str, collection: str | Sequence[str] | None, required: bool = True, register: bool = False, *more: object
    ) -> Dataset:
        """Return a dataset that is read.

        Parameters
        ----------
        name, collection, required, register
            See `Dataset`; of several collections each is one part of the folder.
        more
            Revision and unique, see `Dataset`.
        """
        return _dataset("input", (name, collection, required, register, *more))

    @staticmethod
    def output(
        name: str, collection: str | Sequence[str] | None, required: bool = True, register: bool = True, *more: object
    ) -> Dataset:
        """Return a dataset that is written.

        Parameters
        ----------
        name, collection, required, register, more
            See `input`.
        """
        return _dataset("output", (name, collection, required, register, *more))

    @property
    def is_required(self) -> bool:
        """Return whether the task requires it."""
        raise NotImplementedError

    @property
    def role(self) -> Role:
        """Return `input` or `output`."""
        raise NotImplementedError

    @property
    def leaves(self) -> tuple[Dataset, ...]:
        """Return the datasets that it consists of."""
        raise NotImplementedError

    @property
    def patterns(self) -> tuple[str, ...]:
        """Return the glob patterns of its datasets, relative to the session."""
        return tuple(leaf.pattern for leaf in self.leaves)

    def __or__(self, other: Described) -> Combined:
        return self._combined("or", other)

    def __and__(self, other: Described) -> Combined:
        return self._combined("and", other)

    def __xor__(self, other: Described) -> Combined:
        return self._combined("xor", other)

    def _combined(self, operator: Operator, other: Described) -> Combined:
        second = read_dataset(other, self.role)
        if second.role != self.role:
            raise UsageError(
                "a dataset that is read was combined with one that is written",
                where=", ".join((*self.patterns, *second.patterns)),
                expected=f"two {self.role}s",
                got=f"an {self.role} and an {second.role}",
                do="list them separately, under input_files and output_files",
            )
        return Combined(operator, self, second)


Operator = Literal["or", "and", "xor"]
Described: TypeAlias = "ExpectedDataset | tuple[object, ...]"


@dataclass(frozen=True, slots=True)
class Dataset(ExpectedDataset):
    """Files of one name in one folder."""

    name: str
    """File name, which may be a pattern with `*`, `?` and `[...]`. A UUID before the extension is always allowed."""
    collection: str = ""
    """Folder relative to the session, or a pattern; empty for the session folder itself."""
    required: bool = True
    """The task fails without it."""
    register: bool = False
    """A database lists it."""
    revision: str | None = None
    """Revision, `#2023-01-01#`; None for the files themselves, or for any revision if those are absent."""
    unique: bool = True
    """It is one file; for searches of a database, without effect on those of a disk."""
    kind: Role = "input"
    """Read or written."""
    inverted: bool = False
    """True if it must be absent."""

    def __post_init__(self) -> None:
        """Raise for a path that leads out of the session: tasks write and rename by their signatures."""
        for part in filter(None, (self.name, self.collection, self.revision)):
            require_inside(part, f"a dataset of a signature ({self.kind})", may_vary=True)

    @property
    def is_required(self) -> bool:
        return self.required

    @property
    def role(self) -> Role:
        return self.kind

    @property
    def leaves(self) -> tuple[Dataset, ...]:
        return (self,)

    @property
    def pattern(self) -> str:
        """Return the glob pattern, relative to the session.

        >>> ExpectedDataset.input("*.times.npy", "alf", True, False, "2023-01-01").pattern
        'alf/#2023-01-01#/*.times.npy'
        """
        revision = self.revision and f"#{self.revision.strip('#')}#"
        return "/".join(part for part in (self.collection, revision, self.name) if part)

    def __invert__(self) -> Dataset:
        return replace(self, inverted=not self.inverted)

    def __str__(self) -> str:
        return ("~" if self.inverted else "") + self.pattern


@dataclass(frozen=True, slots=True)
class Combined(ExpectedDataset):
    """Combination of two expectations."""

    operator: Operator
    """or: the first that is met; and: both; xor: exactly one."""
    left: ExpectedDataset
    """The first."""
    right: ExpectedDataset
    """The second."""
    inverted: bool = False
    """True if the combination must not be met."""

    @property
    def is_required(self) -> bool:
        return self.left.is_required or self.right.is_required

    @property
    def role(self) -> Role:
        return self.left.role

    @property
    def leaves(self) -> tuple[Dataset, ...]:
        return (*self.left.leaves, *self.right.leaves)

    def __invert__(self) -> Combined:
        return replace(self, inverted=not self.inverted)

    def __str__(self) -> str:
        sign = {"or": "|", "and": "&", "xor": "^"}[self.operator]
        return f"{'~' if self.inverted else ''}({self.left} {sign} {self.right})"


@dataclass(frozen=True, slots=True)
class Signature:
    """Inputs and outputs of a task."""

    inputs: tuple[ExpectedDataset, ...] = ()
    """Datasets that it reads."""
    outputs: tuple[ExpectedDataset, ...] = ()
    """Datasets that it writes."""

    def __getitem__(self, name: str) -> tuple[ExpectedDataset, ...]:
        """Return `input_files` or `output_files`, as the field's signatures name them."""
        return {"input_files": self.inputs, "output_files": self.outputs}[name]

    def __iter__(self) -> Iterator[str]:
        return iter(("input_files", "output_files"))


def read_signature(signature: Signature | Mapping[str, Sequence[Described]]) -> Signature:
    """Return a signature, given as such or in the field's form: lists of tuples under `input_files` and `output_files`.

    Raises
    ------
    UsageError
        If an entry is no dataset.
    """
    if isinstance(signature, Signature):
        return signature
    return Signature(
        tuple(read_dataset(entry, "input") for entry in signature.get("input_files") or ()),
        tuple(read_dataset(entry, "output") for entry in signature.get("output_files") or ()),
    )


def read_dataset(entry: Described, role: Role) -> ExpectedDataset:
    """Return a dataset, given as such or as a tuple.

    Raises
    ------
    UsageError
        If it is neither.
    """
    return entry if isinstance(entry, ExpectedDataset) else _dataset(role, entry)


def _dataset(role: Role, entry: object) -> Dataset:
    parts = tuple(entry) if isinstance(entry, (tuple, list)) else ()
    usual = (None, None, True, role == "output", None, True)
    name, collection, required, register, revision, unique = (*parts, *usual[len(parts) :])[: len(usual)]
    folder = "/".join(map(str, collection)) if isinstance(collection, (tuple, list)) else collection or ""
    is_well = isinstance(name, str) and isinstance(folder, str) and (revision is None or isinstance(revision, str))
    if not (is_well and 2 <= len(parts) <= len(usual)):
        raise UsageError(
            "an entry of a signature is no dataset",
            where=f"{role}_files",
            expected="(name, collection, required, register, revision, unique), of which the first two are needed",
            got=repr(entry),
            do="mend the task's signature",
        )
    return Dataset(
        str(name),
        folder.rstrip("/"),
        bool(required),
        bool(register),
        None if revision is None else str(revision),
        bool(unique),
        role,
    )
