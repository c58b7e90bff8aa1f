"""The scripts, run as a user does whose environment sets none of their variables."""

import os
import re
import shlex
import shutil
import subprocess
import sys

from conftest import ROOT

SCRIPTS = ROOT / 'scripts'
SHELL = shutil.which('dash') or 'sh'
SETTING = re.compile(r'^ *(\w+)=\$\{\1:-', re.MULTILINE)  # NAME=${NAME:-


def without_settings():
    """The environment of this process without the variables that a script reads."""
    known = {name for path in SCRIPTS.glob('*.sh') for name in SETTING.findall(path.read_text())}
    return {k: v for k, v in os.environ.items() if k not in known}


def make_checkout(root):
    """A checkout in a new folder whose environment is this Python, and in which nothing is made."""
    root.mkdir()
    made = shutil.ignore_patterns('__pycache__', 'videos', '*_lmdb', '*_list.csv', 'labels.txt')
    for name in ('lib', 'tools'):
        (root / name).symlink_to(ROOT / name)
    for name in ('data', 'scripts'):
        shutil.copytree(ROOT / name, root / name, ignore=made)
    (root / 'scripts' / 'setup.sh').write_text(f'echo {shlex.quote(sys.executable)}\n')
    return root


def run_script(name, *arguments, cwd, scripts=SCRIPTS, **variables):
    """Run a script with nothing but `variables` set for it; gives the CompletedProcess.

    Args:
        scripts: folder of the scripts, such as that of a `make_checkout`.
    """
    return subprocess.run(
        [SHELL, str(scripts / name), *arguments], cwd=cwd, env={**without_settings(), **variables},
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
