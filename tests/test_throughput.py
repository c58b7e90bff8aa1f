"""What the programs in benchmarks/ take and print; their figures are not tested."""

import json
import subprocess
import sys
import time

import pytest

from conftest import ROOT
from r2plus1d.backends.installed import has
from r2plus1d.errors import InputError

pytest.importorskip('onnx', reason='needs ONNX')
if not has('openvino'):
    pytest.skip('needs OpenVINO', allow_module_level=True)

sys.path.insert(0, str(ROOT / 'benchmarks'))

import machine  # noqa: E402
import throughput_measure as measure  # noqa: E402
import throughput_settings as settings  # noqa: E402
import throughput_tables as tables  # noqa: E402

from tool_here import run_here  # noqa: E402

SMALL = ('--engines=openvino', '--model_name=r2d', '--model_depth=10', '--width=0.0625')


def plan_of(*flags):
    words = [*SMALL, *flags]
    return settings.plan(settings.parse(words), words)


def test_the_first_step_varies_nothing():
    first, *others = plan_of('--vary=clip_per_video=1,10;model_depth=10,18')
    assert (first.flag, first.name) == (None, 'nothing varied')
    assert [(s.flag, s.value, s.is_base) for s in others] == [
        ('clip_per_video', '1', False),
        ('clip_per_video', '10', True),  # 10 when left out
        ('model_depth', '10', True),
        ('model_depth', '18', False),
    ]
    assert others[3].args.model_depth == 18


def test_growth_varies_what_matters():
    flags = settings.variations(settings.parse(['--vary=growth']))
    assert flags['model_depth'] == ['10', '18', '26', '34']
    assert flags['engine_threads'][0] == '1'
    assert set(flags) <= settings.VARIABLE


@pytest.mark.parametrize(
    ('flags', 'message'),
    [
        (['--engines=tensorflow'], "engines has 'tensorflow'; engines: auto, caffe2"),
        (['--engines=openvino:int7'], "engines has 'openvino:int7'; precisions: fp32"),
        (['--engines=caffe2:int8'], 'int8 is measured with the engine openvino only'),
        (['--vary=clip_per_video'], "vary has 'clip_per_video'; NAME=V,V,V"),
        (['--vary=engine=caffe2'], "vary has 'engine=caffe2'; NAME=V,V,V"),
        (['--vary=model_depth=19'], 'model_depth is 19'),
        (['--vary_engines=openvino'], 'vary_engines is for --vary'),
        (['--vary=growth', '--vary_engines=caffe2'], 'vary_engines has caffe2, fp32'),
        (['--precision=bf16'], 'precision is not for this program; engines=openvino:bf16 names'),
        (['--stride=4'], 'stride is of dense clips'),
        (['--dense=1', '--clip_per_video=2'], 'dense=1 takes neither clip_per_video'),
        (['--plot=p.png'], 'plot shows what varies: --vary'),
        (['--vary=seed=1', '--plot=nowhere/x.png'], 'plot is nowhere/x.png; its folder does not'),
    ],
)
def test_refusals(flags, message):
    with pytest.raises(InputError) as caught:
        plan_of(*flags)
    assert message in str(caught.value)


def test_ratios_are_medians_of_those_of_each_round():
    both = [
        {'seconds': seconds, 'videos': 2, 'clips': 20, 'cpu': 4.0, 'operations': 100, 'peak': 5e6}
        for seconds in (2.0, 4.0, 1.0)
    ]
    alone = [{**m, 'seconds': 1.0} for m in both]
    first = [{**m, 'seconds': 20.0} for m in both]
    row = tables.engine_row('openvino, fp32', alone, both, first, peak=4000)
    assert (row['videos_s'], row['clips_s'], row['cpu_s'], row['peak_mb']) == (1.0, 10.0, 2.0, 5.0)
    assert (row['network_clips_s'], row['overlap'], row['share']) == (20.0, 0.5, 0.5)
    last = tables.table(None, [tables.decoding_row(both), row]).splitlines()[-1]
    assert last.split('|')[-2].strip() == '10.0'


def run_benchmark(name, *flags, cwd):
    """What a benchmark prints, line by line."""
    done = subprocess.run(
        [sys.executable, ROOT / 'benchmarks' / name, *flags],
        cwd=cwd, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def printed(monkeypatch):
    """Return a function from flags to what throughput.py prints, with a quick matrix product."""
    monkeypatch.setattr(machine, 'SIZES', (64,))

    def run(*flags):
        done = run_here('benchmarks/throughput.py', *SMALL, '--videos=1', '--repeats=1', *flags)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.mark.filterwarnings('ignore::DeprecationWarning')  # matplotlib's own
def test_throughput(printed, tmp_path):
    plot = tmp_path / 'p.png'
    text = printed('--vary=clip_per_video=1,2', '--clip_per_video=2', f'--plot={plot}')
    assert 'best matrix product in fp32: ' in text
    assert 'r2d_10_8_w0.0625, 2 clips per video' in text
    _, varied = text.split('With --clip_per_video varied:')
    cells = [line.split('|')[1:3] for line in varied.splitlines() if line.startswith('|')]
    assert [tuple(cell.strip() for cell in row) for row in cells[2:]] == [
        (value, engine)
        for value in ('1', '2')
        for engine in ('decoding alone', 'openvino, fp32')
    ]  # fmt: skip
    assert plot.read_bytes().startswith(b'\x89PNG')


@pytest.fixture
def measure_here(monkeypatch):
    """Measure in this process."""

    def measured(step, what, database, *flags):
        done = run_here(
            'benchmarks/throughput.py', *step.argv, f'--test_data={database}', *flags,
            f'--measure={what}',
        )  # fmt: skip
        return json.loads(done.stdout)

    monkeypatch.setattr(measure, 'in_process', measured)


def test_throughput_of_dense_clips(printed, measure_here):
    assert 'dense clips at 90 frames' in printed('--dense=1', '--stride=90')


def test_extraction_decodes_each_frame_once(tmp_path):
    flags = ('--frames=40', '--clips=33', '--repeats=1')
    printed = run_benchmark('extraction.py', *flags, cwd=tmp_path)
    grouped = next(line.split() for line in printed.splitlines() if line.startswith('grouped'))
    assert grouped[1:3] == ['40', '40']


@pytest.mark.parametrize('tool', ['test_net', 'extract_features'])
def test_memory(tool, tmp_path):
    """Of clips that take more frames than most videos here have."""
    flags = (f'--tool={tool}', '--records=2', '--engine=openvino', '--clip_per_video=1')
    longer = '--sampling_rate_rgb=9'
    printed = run_benchmark('memory.py', *flags, longer, *SMALL[1:], cwd=tmp_path)
    assert printed.splitlines()[1].startswith('2 records: peak ')


@pytest.mark.skipif(not has('caffe2'), reason='needs Caffe2')
def test_training(tmp_path, make_video, make_database):
    database = make_database([(make_video(30).read_bytes(), (label,)) for label in (0, 1)])
    flags = ('--width=0.0625', '--iterations=1', '--repeats=1', '--batch_size=1')
    printed = run_benchmark(
        'training.py', f'--test_data={database}', '--model_name=r2d', *flags, cwd=tmp_path
    )
    assert 'network alone / together' in printed


def test_milliseconds_of_a_program_and_of_its_processes_are_seen():
    busy = 'import time\nwhile time.process_time() < 0.003: pass\nprint(flush=True)\ninput()'
    before = machine.cpu_seconds()
    with subprocess.Popen(
        [sys.executable, '-S', '-c', busy], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        process.stdout.readline()
        assert machine.cpu_seconds() - before >= 0.003
        process.communicate(b'\n')
    for _ in range(5):
        before, began = machine.cpu_seconds(), time.process_time()
        while time.process_time() < began + 0.001:
            pass
        assert machine.cpu_seconds() - before >= 0.001
