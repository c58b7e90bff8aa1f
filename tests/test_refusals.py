"""Each flag that would do nothing is refused by its name; the table has all flags."""

import pathlib
import re
import subprocess
import sys

import pytest

from r2plus1d.cli import refusals

ROOT = pathlib.Path(__file__).resolve().parents[1]
PROGRAMS = sorted([*ROOT.glob('tools/[!_]*.py'), *ROOT.glob('data/[!_]*.py')])
WEIGHTS = ROOT / 'data' / 'sample' / 'r2plus1d_18_8_w0.125.pkl'
FLOW = '--input_type=flow'
TEST = f'test_net --test_data=d --load_model_path={WEIGHTS}'
ONNX = 'test_net --test_data=d --load_model_path=w.onnx'
EXTRACT = f'extract_features --test_data=d --load_model_path={WEIGHTS}'
TRAIN = 'train_net --train_data=d'
CLIPS = 'show_clips --test_data=d --output=x.npz'
EXPORT = f'export_onnx --load_model_path={WEIGHTS}'
QUANTIZE = f'quantize --calibration_data=d --load_model_path={WEIGHTS}'
FUSION = 'dense_prediction_fusion --input_dir1=a --input_dir2=b'
KINETICS = 'create_list --dataset=kinetics --annotations=a --videos=v --output=o'
REFUSED = [
    (f'{TEST} --clip_length_of=16', 'without input_type=flow'),
    (f'{TEST} --flow_data_type=xy_rgb', 'without input_type=flow'),
    (f'{TEST} --sampling_rate_of=1', 'without input_type=flow'),
    (f'{TEST} --frame_gap_of=1', 'without input_type=flow'),
    (f'{TEST} --do_flow_aggregation=1', 'without input_type=flow'),
    (f'{TEST} {FLOW} --sampling_rate_rgb=2', 'with input_type=flow'),
    (f'{TEST} --video_res_type=2 --scale_h=130', 'with video_res_type=original'),
    (f'{TEST} --video_res_type=2 --scale_w=130', 'with video_res_type=original'),
    (f'{TEST} --video_res_type=1 --short_edge=130 --scale_h=130', 'with short_edge'),
    (f'{TEST} --video_res_type=1 --short_edge=130 --scale_w=130', 'with short_edge'),
    (f'{TEST} --video_res_type=0 --short_edge=130', 'without video_res_type=short_edge'),
    (f'{TEST} --clip_start_positions=0,8 --clip_per_video=3', 'with clip_start_positions'),
    (f'{TEST} --seed=1', 'without a random choice'),
    (f'{TEST} --model_name=c3d --use_dropout=1', 'with model_name=c3d'),
    (f'{ONNX} --db_type=minidb', 'with an .onnx file'),
    (f'{TEST} --use_cudnn=0', 'on a CPU'),
    (f'{TEST} --gpus=0 --engine_threads=2', 'on GPUs'),
    (f'{TEST} --labels=names.txt', 'without output'),
    (f'{TEST} --multi_label=1 --top_k=3', 'with multi_label=1 and without output'),
    (f'{TEST} --on_error=fail --max_failures=3', 'with on_error=fail'),
    (f'{EXTRACT} --seed=1', 'without a random choice'),
    (f'{EXTRACT} --clip_length_of=16', 'without input_type=flow'),
    (f'{TRAIN} --db_type=minidb', 'without pretrained_model'),
    (f'{TRAIN} --clip_per_video=3', 'without test_data'),
    (f'{TRAIN} --clip_start_positions=0,8', 'without test_data'),
    (f'{TRAIN} --decode_type=start', 'without test_data'),
    (f'{TRAIN} --crop_per_clip=3', 'without test_data'),
    (f'{TRAIN} --cudnn_workspace_limit_mb=1', 'on a CPU'),
    (f'{TRAIN} --gpus=0 --use_cudnn=0 --cudnn_workspace_limit_mb=1', 'with use_cudnn=0'),
    (f'{TRAIN} --run_id=a', 'with num_shards=1'),
    (f'{CLIPS} --model_name=r2d', 'no network is run'),
    (f'{CLIPS} --model_depth=34', 'no network is run'),
    (f'{CLIPS} --pred_layer_name=a', 'no network is run'),
    (f'{CLIPS} --width=0.5', 'no network is run'),
    (f'{CLIPS} --use_dropout=1', 'no network is run'),
    (f'{EXPORT} --clip_length_of=16', 'without input_type=flow'),
    (f'{QUANTIZE} --clip_length_of=16', 'without input_type=flow'),
    ('dense_prediction_aggregation --input_dir=a --top_k=3', 'without output'),
    ('dense_prediction_aggregation --input_dir=a --labels=n.txt', 'without output'),
    (f'{FUSION} --top_k=3', 'without output'),
    (f'{FUSION} --labels=n.txt', 'without output'),
    ('model_zoo --check --download=c3d_l16', 'with check'),
    ('model_zoo --cache=c', 'without download'),
    ('model_zoo --mirror=m', 'without download'),
    (f'{KINETICS} --subset=test', 'with dataset=kinetics'),
    (f'{KINETICS} --split=2', 'with dataset=kinetics'),
    ('create_video_db --list_file=a --output_file=b --shuffle=0 --seed=1', 'with shuffle=0'),
]
# What published scripts give, and flags that have their default.
READ = [
    f'{EXTRACT} --features=label --engine=caffe2',
    f'{TEST} --clip_per_video=10 --clip_start_positions=0,8',
    f'{TEST} --use_cudnn=1 --seed=0 --top_k=5 --sampling_rate_of=2 --frame_gap_of=2',
    f'{TEST} --video_res_type=1 --scale_h=130',
    f'{ONNX} --db_type=pickle',
    f'{EXTRACT} {FLOW} --clip_length_rgb=33 --sampling_rate_rgb=1 --clip_length_of=32 '
    '--sampling_rate_of=1 --flow_data_type=0 --frame_gap_of=1 --do_flow_aggregation=1',
    f'{EXTRACT} --if_different=replace --overwrite=1',
    f'{EXTRACT} --model_name=c3d --model_depth=34',
]


def program(name):
    (path,) = [path for path in PROGRAMS if path.stem == name]
    return path


def options_of(line):
    """A line's Namespace as its tool would make it, without running the tool."""
    name, *words = line.split()
    probe = (
        'import runpy, sys\n'
        'from r2plus1d.cli import flags, refusals\n'
        'from r2plus1d.errors import InputError\n'
        'parse = flags.parse\n'
        'def check(*groups, **changes):\n'
        '    args = parse(*groups, **changes)\n'
        '    refusals.refuse_unread(args)\n'
        '    raise InputError("all are read")\n'
        'flags.parse = check\n'
        'sys.argv = sys.argv[1:]\n'
        'sys.path.insert(0, sys.argv[0].rpartition("/")[0])\n'
        'runpy.run_path(sys.argv[0], run_name="__main__")\n'
    )
    path = program(name)
    return subprocess.run(
        [sys.executable, '-c', probe, str(path), *words],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def run(line):
    name, *words = line.split()
    return subprocess.run(
        [sys.executable, str(program(name)), *words],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def flags_of(path):
    """Names of a tool's flags, from its help."""
    shown = run(f'{path.stem} --help=all')
    if needs_what_is_not_here(shown):
        return []
    assert shown.returncode == 0, shown.stderr
    return re.findall(r'^  --(\w+)=', shown.stdout, re.MULTILINE)


def needs_what_is_not_here(done):
    """Whether a tool refuses to start at all here: Caffe2, OpenVINO or NNCF is not installed."""
    return 'not installed' in done.stderr or 'needs Caffe2' in done.stderr


def test_the_table_has_all_flags_of_all_tools():
    found = {path.stem: flags_of(path) for path in PROGRAMS}
    for tool, names in found.items():
        for name in names:
            refusals.rules(tool, name)
    assert {*refusals.READ_BY} <= {*found}
    if not all(found.values()):
        return  # some tools do not start here
    assert {*refusals.READ} <= {name for names in found.values() for name in names}
    for tool, rules in refusals.READ_BY.items():
        assert {*rules} <= {*found[tool]}


def test_each_rule_is_fired():
    words = {
        (line.split()[0], word.split('=')[0][2:])
        for line, _ in REFUSED
        for word in line.split()[1:]
    }
    flags = {flag for _, flag in words}
    for flag, rule in refusals.READ.items():
        assert isinstance(rule, str) or flag in flags, flag
    for tool, own in refusals.READ_BY.items():
        for flag, rule in own.items():
            assert isinstance(rule, str) or (tool, flag) in words, (tool, flag)


@pytest.mark.parametrize(('line', 'when'), REFUSED)
def test_a_flag_that_does_nothing_is_refused(line, when):
    done = options_of(line) if '.onnx' in line else run(line)
    if needs_what_is_not_here(done):
        pytest.skip(done.stderr)
    assert done.returncode == 1
    (message,) = done.stderr.splitlines()
    assert ' does nothing ' in message
    assert when in message
    flag = message.split(': ', 1)[1].split('=')[0]
    assert f'--{flag}' in line


@pytest.mark.parametrize('line', READ)
def test_a_flag_that_is_read_or_has_its_default_is_taken(line):
    assert options_of(line).stderr.endswith('all are read\n')


def test_what_a_weight_file_may_say_is_not_judged_before_it_is_read():
    line = f'{ONNX} --clip_length_of=16'
    assert 'does nothing' not in run(line).stderr  # the file is missing
    assert 'does nothing' in options_of(line).stderr
    assert 'does nothing' in run(f'{line} --input_type=rgb').stderr
