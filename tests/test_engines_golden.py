"""What Caffe2 gave for networks, given by each engine; and the others on the bundled sample."""

import numpy as np
import pytest

import golden_networks
from conftest import ROOT
from onnx_models import assert_close, clips_of, parameters_of
from r2plus1d.backends.choose import EngineSettings, open_engine
from r2plus1d.backends.installed import has
from r2plus1d.devices import Devices
from r2plus1d.errors import InputError
from r2plus1d.networks.network import Network
from r2plus1d.sources.database_source import DatabaseSource
from r2plus1d.sources.sample import RecordNeeds
from r2plus1d.video.clip_settings import ClipSettings
from r2plus1d.weights import onnx_file as onnx_files
from r2plus1d.weights.onnx_model import plan_of
from r2plus1d.weights.stored import open_weights
from tool_here import run_here

INSTALLED = [name for name in ('openvino', 'torch') if has(name)]
needs_both = pytest.mark.skipif(len(INSTALLED) < 2, reason='needs OpenVINO and PyTorch 2')

# Relative to the largest absolute value of the blob
ALLOWED = {
    ('caffe2', 'fp32'): 1e-5,
    ('openvino', 'fp32'): 1e-4,
    ('openvino', 'bf16'): 2e-2,
    ('torch', 'fp32'): 1e-5,
    ('torch', 'bf16'): 1e-2,
}
THIN = {'num_labels': 5, 'width': 0.0625}
SMALL = (
    Network('r2plus1d', 10, clip_length=8, num_labels=7, width=0.125),
    Network('c3d', num_channels=2, multi_label=True, **THIN),
    Network('mc3', 18, clip_length=8, **THIN),
    Network(
        'ip-csn', 50, clip_length=8, crop_size=224, use_pool1=True, use_convolutional_pred=True,
        **THIN,
    ),
)  # fmt: skip
# With those above, of each kind of block; what is compared of them holds for every width
OF_EACH_KIND = (
    *SMALL,
    *(Network(name, 18, clip_length=8, **THIN) for name in ('r2d', 'r2df', 'rmc3', 'r3d')),
    Network('r3d', 50, **THIN),
    Network('r2plus1d', 34, clip_length=32, num_channels=2, **THIN),
    Network('r2plus1d', 152, clip_length=8, **THIN),
    Network('ir-csn', 50, clip_length=8, crop_size=224, use_pool1=True, **THIN),
)

SAMPLE_NETWORK = Network('r2plus1d', 18, clip_length=8, num_labels=8, width=0.125)
SAMPLE_OUTPUTS = ('softmax', 'last_out_L8', 'final_avg')
SAMPLE_CLIPS = 4  # a video
SAME_BEST = 0.99  # of the sample's clips


def run(engine, network, given, clips, outputs, precision='fp32'):
    """{blob: rows} by an engine; skips the test where the processor lacks the precision."""
    settings = EngineSettings(engine, precision)
    try:
        opened = open_engine(network, devices=Devices(), outputs=outputs, settings=settings)
    except InputError as error:
        if 'precision is bf16, which this' not in str(error):
            raise
        pytest.skip(str(error))
    with opened:
        opened.load(given)
        return opened.run(clips)


def outputs_of(network):
    return network.prediction, network.logits, 'fc7' if network.is_c3d else 'final_avg'


def best(outputs, network):
    return outputs[network.prediction].argmax(axis=1)


@pytest.fixture(scope='module', params=[*golden_networks.NAMES, *golden_networks.LATER])
def case(golden, request):
    return golden_networks.read(golden, request.param)


@pytest.mark.parametrize(('engine', 'precision'), [key for key in ALLOWED if has(key[0])])
def test_outputs_are_those_of_caffe2(case, engine, precision):
    found = run(engine, case.network, case.parameters, case.clips, tuple(case.outputs), precision)
    assert_close(found, case.outputs, ALLOWED[engine, precision])
    np.testing.assert_array_equal(best(found, case.network), best(case.outputs, case.network))


@pytest.mark.parametrize('network', OF_EACH_KIND, ids=lambda network: network.name)
def test_engines_get_the_same_of_a_file_and_of_weights(network, tmp_path):
    path, parameters, outputs = tmp_path / 'model.onnx', parameters_of(network), outputs_of(network)
    onnx_files.save(onnx_files.export(network, parameters, outputs), path)
    of_file = plan_of(network, onnx_files.read(path), outputs)
    of_weights = plan_of(network, parameters, outputs)
    assert of_file[0] == of_weights[0]
    assert list(of_file[1]) == list(of_weights[1])
    for name, array in of_weights[1].items():
        np.testing.assert_array_equal(of_file[1][name], array, err_msg=name)


@needs_both
@pytest.mark.parametrize('network', SMALL, ids=lambda network: network.name)
def test_a_small_file_gives_the_same_through_both(network, tmp_path):
    parameters, clips, outputs = parameters_of(network), clips_of(network, 3), outputs_of(network)
    path = tmp_path / 'model.onnx'
    onnx_files.save(onnx_files.export(network, parameters, outputs), path)
    model = onnx_files.read(path)
    by_openvino, by_torch = (run(name, network, model, clips, outputs) for name in INSTALLED)
    assert_close(by_torch, by_openvino)


@pytest.fixture(scope='module')
def sample(sample_videos, tmp_path_factory):
    """(labels, uint8 clips) of the bundled sample's test videos."""
    folder = tmp_path_factory.mktemp('sample')
    done = run_here(
        'data/create_video_db.py', f'--list_file={sample_videos}/test_list.csv',
        f'--output_file={folder}/db',
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    settings = ClipSettings(length=8, clips=SAMPLE_CLIPS)
    with DatabaseSource(folder / 'db', settings, RecordNeeds(num_labels=8)) as reader:
        samples = list(reader)
    labels = np.repeat([sample.labels[0] for sample in samples], SAMPLE_CLIPS)
    return labels, np.concatenate([sample.clips.pixels for sample in samples])


@pytest.mark.skipif('openvino' not in INSTALLED, reason='needs OpenVINO')
def test_bf16_on_the_sample(sample):
    labels, clips = sample
    assert len(labels) == len(clips) == 40 * SAMPLE_CLIPS
    path = ROOT / 'data' / 'sample' / 'r2plus1d_18_8_w0.125.pkl'
    parameters = open_weights(path, 'pickle').parameters(SAMPLE_NETWORK)
    fp32, bf16 = (
        run('openvino', SAMPLE_NETWORK, parameters, clips, SAMPLE_OUTPUTS, precision)
        for precision in ('fp32', 'bf16')
    )
    assert (best(fp32, SAMPLE_NETWORK) == labels).mean() > 0.9, 'nothing is recognized'
    assert_close(bf16, fp32, 2e-2)
    assert not np.array_equal(bf16['final_avg'], fp32['final_avg']), 'this was fp32'
    assert (best(bf16, SAMPLE_NETWORK) == best(fp32, SAMPLE_NETWORK)).mean() >= SAME_BEST
