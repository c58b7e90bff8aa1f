r"""A network that computes in 8 bits, calibrated on a video database, as an ONNX file.

Example:
    .venv/bin/python tools/quantize.py \
        --calibration_data=data/sample/test_lmdb \
        --load_model_path=data/sample/r2plus1d_18_8_w0.125.pkl \
        --output=sample_int8.onnx
"""

import _start  # noqa: F401

# isort: split

import contextlib
import logging
import pathlib

from r2plus1d.backends.choose import EngineSettings, open_engine, require
from r2plus1d.backends.installed import require_onnx
from r2plus1d.cli import command_line, flag_types, flags, from_flags
from r2plus1d.cli.main import TOO_MANY_FAILURES, run
from r2plus1d.cli.refusals import refuse_unread
from r2plus1d.devices import Devices
from r2plus1d.errors import InputError
from r2plus1d.evaluation.compare import calibration_clips, compare_engines
from r2plus1d.results.class_names import read_class_names
from r2plus1d.results.hold import holding

log = logging.getLogger(__name__)

ENDING = '_int8.onnx'
DATABASE = {name: flags.DATABASE[name] for name in ('use_local_file', 'num_decode_threads')}
CALIBRATION = {
    'calibration_data': (
        pathlib.Path,
        flags.REQUIRED,
        'LMDB of videos like those that the network is for, from its training set',
    ),
    'calibration_clips': (flag_types.integer(1), 300, 'about so many, of videos spread over it'),
    'test_data': (
        pathlib.Path,
        None,
        'LMDB on which fp32 and int8 are compared; calibration_data, which flatters, if left out',
    ),
    'test_videos': (flag_types.integer(0), 100, 'spread over test_data; 0: all'),
}


def main():
    require_onnx()
    require('openvino')
    from r2plus1d.backends.openvino import quantize
    from r2plus1d.cli import onnx_output
    from r2plus1d.weights import onnx_file

    groups = (flags.WEIGHTS, flags.NETWORK, flags.CLIPS, DATABASE, CALIBRATION, flags.ONNX)
    args = command_line.parse(__doc__, *groups)
    stored = onnx_output.take_weights(args)
    refuse_unread(args)
    args.get_video_id = False
    quantize.require()
    network, path = from_flags.network(args), onnx_output.path_of(args, ENDING)
    outputs = onnx_output.wanted(args, network)
    if network.prediction not in outputs:
        raise InputError(f'features leaves out {network.prediction}, which is compared')
    names = read_class_names(args.labels, args.num_labels) or stored.class_names
    metadata = onnx_output.described(args, network, stored, names)
    parameters = stored.parameters(network)
    test_data = args.test_data or args.calibration_data
    with holding(path), open_spread(args, test_data, args.test_videos or None) as reader:
        clips = calibrate(args)
        model = quantize.quantize(network, parameters, clips, outputs, metadata=metadata)
        onnx_file.save(model, path)
        print(*onnx_output.summary(path, network, model), sep='\n')
        sources = {'fp32': parameters, 'int8': onnx_file.read(path)}
        failed = compare(reader, network, sources, test_data)
    if failed:
        log.warning('exit status %d: %d videos were not compared', TOO_MANY_FAILURES, failed)
        return TOO_MANY_FAILURES
    return 0


def open_spread(args, path, videos):
    return from_flags.open_reader(args, args.num_decode_threads, path=path, spread=videos)


def calibrate(args):
    """Return the clips on which int8 is calibrated."""
    with open_spread(args, args.calibration_data, args.calibration_clips) as reader:
        clips = calibration_clips(reader, args.calibration_clips)
    count = sum(map(len, clips))
    fewer = ', fewer than asked' if count < args.calibration_clips else ''
    log.info('calibrating on %d clips of %s%s', count, args.calibration_data, fewer)
    return clips


def compare(reader, network, sources, path):
    """Print the accuracy of each of {precision: what an engine loads}; return how many failed."""
    with contextlib.ExitStack() as stack:
        engines = {
            name: stack.enter_context(opened(network, name, source))
            for name, source in sources.items()
        }
        found = compare_engines(reader, engines)
    if not found.clips:
        log.warning('no video was scored: the accuracies below say nothing')
    print(f'{found.videos} videos of {path}, {found.failed} failed')
    for name, total in found.scores.items():
        print(f'{name}: {total}')
    print(f'the same best class: {found.same} of {found.clips} clips')
    return found.failed


@contextlib.contextmanager
def opened(network, precision, source):
    with open_engine(
        network,
        devices=Devices(),
        outputs=[network.prediction],
        settings=EngineSettings('openvino', precision),
        from_onnx=precision == 'int8',
    ) as engine:
        engine.load(source)
        yield engine


if __name__ == '__main__':
    run(main)
