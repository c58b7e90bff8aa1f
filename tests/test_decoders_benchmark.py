"""benchmarks/decoders.py prints a line for each way of decoding, and ratios."""

import re
import subprocess
import sys

from conftest import ROOT


def test_both_ways_are_measured():
    command = [
        sys.executable, ROOT / 'benchmarks' / 'decoders.py', '--videos=1', '--repeats=1',
        '--width=0.0625', '--clip_per_video=1',
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    rows = re.findall(r'^\S.*(threads|processes) +(\S+) +(\S+)$', done.stdout, re.MULTILINE)
    assert [way for way, *_ in rows] == ['threads', 'processes'] * 2
    assert all(float(number) > 0 for _, *numbers in rows for number in numbers)
    assert len(re.findall(r'speed [\d.]+ of threads, processor time [\d.]+', done.stdout)) == 2
