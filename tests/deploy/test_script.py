"""A script that starts workers where each of them would do so again is told what to write."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ibl_dask.deploy.cluster.script_guard import _is_guarded

README = Path(__file__).parents[2] / "README.md"
START = """
import ibl_dask as ibd

def main():
    with ibd.connect(workers=1) as client:
        print("connected to", len(client.scheduler_info()["workers"]))
"""


def call(tmp_path, text):
    (tmp_path / "mine.py").write_text(text)
    done = subprocess.run(
        [sys.executable, "mine.py"], capture_output=True, text=True, cwd=tmp_path, timeout=100, check=False
    )
    return done.returncode, done.stdout, done.stderr


def test_an_unguarded_script_gets_one_message_that_says_what_to_write(tmp_path):
    text = "import ibl_dask as ibd\n\nwith ibd.connect(workers=2) as client:\n    print('connected')\n"
    code, out, err = call(tmp_path, text)
    assert (code, out) == (1, "")
    assert err.count("UsageError") == 1
    last = err.splitlines()[-1]
    assert 'write `if __name__ == "__main__":`' in last
    assert "mine.py, line 3" in last
    assert len(err.splitlines()) < 30


def test_a_run_without_client_at_the_top_of_a_script_is_told_the_same(tmp_path):
    session = tmp_path / "SW_001" / "2023-05-01" / "001"
    session.mkdir(parents=True)
    code, _, err = call(tmp_path, f"import ibl_dask as ibd\nibd.run({str(session)!r})\n")
    assert code == 1
    assert "mine.py, line 2" in err.splitlines()[-1]
    assert not list(session.iterdir())


def test_a_guarded_script_starts_its_workers(tmp_path):
    code, out, err = call(tmp_path, START + '\nif __name__ == "__main__":\n    main()\n')
    assert (code, out) == (0, "connected to 1\n"), err


def test_the_readme_shows_a_script_under_its_guard():
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    (script,) = [block for block in blocks if "__main__" in block]
    line = next(number for number, each in enumerate(script.splitlines(), 1) if "connect(" in each)
    assert _is_guarded(ast.parse(script), line)


@pytest.mark.parametrize(
    ("text", "is_guarded"),
    [
        ("import x\nHERE()\n", False),
        ("def f():\n    HERE()\n\nf()  # HERE\n", False),
        ('if __name__ == "__main__":\n    HERE()\n', True),
        ('if "__main__" == __name__:\n    HERE()\n', True),
        ('if __name__ == "__main__" and True:\n    if 1:\n        HERE()\n', True),
        ('if __name__ != "__main__":\n    raise SystemExit\nHERE()\n', True),
        ('import sys\nif __name__ != "__main__":\n    sys.exit()\nHERE()\n', True),
        ("import multiprocessing as m\nif m.parent_process() is None:\n    HERE()\n", True),
        ('if __name__ == "__main__":\n    print(1)\nHERE()\n', False),
        ("if True:\n    HERE()\n", False),
        ("for i in range(3):\n    HERE()\n", False),
        ("try:\n    HERE()\nfinally:\n    pass\n", False),
    ],
)
def test_what_an_import_would_run_is_told_from_what_it_would_not(text, is_guarded):
    line = max(number for number, each in enumerate(text.splitlines(), 1) if "HERE" in each)
    assert _is_guarded(ast.parse(text), line) is is_guarded
