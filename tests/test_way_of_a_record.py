"""benchmarks/way_of_a_record.py: what it counts, on videos that the tests make."""

import re
import subprocess
import sys

import pytest

from conftest import ROOT
from r2plus1d.backends.installed import has

pytest.importorskip('onnx', reason='needs ONNX')
if not has('openvino'):
    pytest.skip('needs OpenVINO', allow_module_level=True)

TOTAL = re.compile(r'(\w+): (\d+) changes of file for a record')
PAIR = re.compile(r' *(-?[\d.]+)  (\S+\.py) -> (\S+\.py)')


def count(database, *flags):
    """{way: (changes for a record, {(file, file called): for a record})}."""
    command = [sys.executable, str(ROOT / 'benchmarks' / 'way_of_a_record.py')]
    done = subprocess.run(
        [*command, f'--test_data={database}', *flags],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = {}
    for line in done.stdout.splitlines():
        if match := TOTAL.fullmatch(line):
            found[match[1]] = int(match[2]), {}
        else:
            times, *pair = PAIR.fullmatch(line).groups()
            found[list(found)[-1]][1][tuple(pair)] = float(times)
    return found


def test_it_counts_each_call_from_file_to_file(make_video, make_database):
    video = make_video(20)
    database = make_database([(video.read_bytes(), 1)] * 4)
    of_one = count(database, '--records=1', '--pairs=1000')
    of_two = count(database, '--records=2')
    assert list(of_one) == list(of_two) == ['evaluation', 'extraction']
    for way, (total, pairs) in of_one.items():
        assert total == sum(pairs.values()) > 20
        # A call more or less depends on which thread is ahead, but not a tenth of them.
        assert abs(of_two[way][0] - total) < total / 10, 'what is there before is counted'
        assert -sum(times for times in pairs.values() if times < 0) < total / 10
        assert pairs['weights/stored.py', 'weights/files.py'] == 0, 'it is there before'
        # Known from the code: one record's clips are chosen once, and the engine runs once.
        assert pairs['video/read_clips.py', 'video/sampling.py'] == 1
        runs = [times for (_, callee), times in pairs.items() if callee.endswith('/engine.py')]
        assert sum(runs) == 1
    assert of_one['evaluation'][1]['evaluation/evaluate.py', 'results/progress.py'] == 1
    assert of_one['extraction'][1]['features/extract.py', 'results/progress.py'] == 1


def test_a_database_that_is_missing(tmp_path):
    command = [sys.executable, str(ROOT / 'benchmarks' / 'way_of_a_record.py')]
    done = subprocess.run(
        [*command, f'--test_data={tmp_path / "none"}'], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.endswith('none is missing: sh scripts/create_kinetics_lmdb.sh makes it\n')
    assert len(done.stderr.splitlines()) == 1
