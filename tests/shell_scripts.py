"""The scripts, run as a user does whose environment sets none of their variables."""

import os
import re
import shutil
import subprocess

from conftest import ROOT

SCRIPTS = ROOT / 'scripts'
SHELL = shutil.which('dash') or 'sh'
SETTING = re.compile(r'^ *(\w+)=\$\{\1:-', re.MULTILINE)  # NAME=${NAME:-


def run_script(name, *arguments, cwd, **variables):
    """Run a script with nothing but `variables` set for it; gives the CompletedProcess."""
    known = {name for path in SCRIPTS.glob('*.sh') for name in SETTING.findall(path.read_text())}
    environment = {k: v for k, v in os.environ.items() if k not in known}
    return subprocess.run(
        [SHELL, str(SCRIPTS / name), *arguments], cwd=cwd, env={**environment, **variables},
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
