"""PyTorch 2 as an engine: each operator, each precision, the same rows however they are run."""

import os
import signal
import subprocess
import sys
import time
import types

import numpy as np
import pytest

from onnx_models import distance
from r2plus1d.backends.base import EngineSettings
from r2plus1d.backends.pytorch import engine as torch_engine
from r2plus1d.backends.pytorch.engine import TorchEngine
from r2plus1d.devices import Devices
from r2plus1d.errors import BackendError, InputError
from r2plus1d.networks import folding, graph
from r2plus1d.networks.folding import Plan, Tensor
from r2plus1d.networks.graph import Node, Window
from r2plus1d.networks.initial import random_parameters
from r2plus1d.networks.input import RGB_MEAN, RGB_STD, normalize
from r2plus1d.networks.network import Network

try:
    torch_engine.require()
except InputError as lacking:
    pytest.skip(str(lacking), allow_module_level=True)

import torch
from onnx import reference
from torch.nn import functional

from r2plus1d.backends.pytorch import device, worker
from r2plus1d.backends.pytorch.module import PlanModule
from r2plus1d.weights import onnx_file as onnx_files
from r2plus1d.weights import onnx_operators

NETWORK = Network('r2plus1d', 10, clip_length=8, num_labels=7, width=0.125)
OUTPUTS = ('softmax', 'final_avg')
ONE_CPU = Devices()
PARAMETERS = random_parameters(NETWORK, 0)
PIXELS = np.random.default_rng(0).integers(0, 256, (5, *NETWORK.data_shape), np.uint8)
CLIPS = normalize(PIXELS, RGB_MEAN, RGB_STD)
RNG = np.random.default_rng(1)


def opened(network=NETWORK, outputs=OUTPUTS, *, devices=ONE_CPU, precision='fp32'):
    settings = EngineSettings('torch', precision)
    return TorchEngine(network, devices=devices, outputs=outputs, settings=settings)


def run(clips=CLIPS, *, network=NETWORK, given=PARAMETERS, outputs=OUTPUTS, **options):
    with opened(network, outputs, **options) as engine:
        engine.load(given)
        return engine.run(clips)


@pytest.fixture(scope='module', params=['fp32', 'bf16'])
def precision(request):
    try:
        opened(precision=request.param).close()
    except InputError as error:
        pytest.skip(str(error))
    return request.param


@pytest.fixture(scope='module')
def together(precision):
    return run(precision=precision)


# The graph


def array(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def plan_of(nodes, values, outputs):
    """A Plan whose operators are `nodes` and whose initializers are `values`."""
    kinds = {name: Tensor(value.shape) for name, value in values.items()}
    return Plan(tuple(nodes), {}, kinds, dict.fromkeys(outputs, ()))


def one(kind, *values, **settings):
    """(Plan of one operator on `data`, its arrays)."""
    named = {f'w.{i}': value for i, value in enumerate(values)}
    inputs = ('data', 'data') if kind == 'Sum' else ('data',)
    return plan_of(
        [Node(kind, inputs, 'out', 'out', tuple(named), **settings)], named, ['out']
    ), named


def by_onnx(plan, values, data):
    """What the package onnx computes by the operators that are exported for the Plan."""
    kept = types.SimpleNamespace(name='one operator', data_shape=data.shape[1:])
    model = onnx_operators.assemble(kept, plan, values, {})
    # The reference's batch norm of the opset that we export is wrong
    model.opset_import[0].version, model.ir_version = 15, 8
    del model.graph.output[:]
    model.graph.output.add(name='out')
    return reference.ReferenceEvaluator(model).run(None, {'data': data})[0]


def ours(plan, values, data):
    with torch.inference_mode():
        return PlanModule(plan, values)(torch.from_numpy(data))['out'].numpy()


VIDEO = (2, 3, 4, 7, 8)
STEM = Window((1, 3, 3), (1, 2, 2), (0, 1, 1))
OPERATORS = [
    (VIDEO, one('Conv', array(5, 3, 1, 3, 3), window=STEM)),
    (VIDEO, one('Conv', array(5, 3, 1, 3, 3), array(5), window=STEM)),
    (VIDEO, one('Conv', array(4, 3, 3, 1, 2), window=Window((3, 1, 2), (1, 1, 1), (0, 0, 0)))),
    (VIDEO, one('SpatialBN', array(3), array(3), array(3), np.square(array(3)), epsilon=1e-3)),
    (VIDEO, one('Relu')),
    (VIDEO, one('Sum')),
    (VIDEO, one('AveragePool', window=Window((1, 7, 7), (1, 1, 1), (0, 0, 0)))),
    (VIDEO, one('AveragePool', window=STEM)),
    (VIDEO, one('MaxPool', window=Window((1, 2, 2), (1, 2, 2), (0, 0, 0)))),
    (VIDEO, one('MaxPool', window=STEM)),
    (VIDEO, one('Dropout')),
    (VIDEO, one('FC', array(4, 3 * 4 * 7 * 8), array(4))),
    ((2, 6), one('FC', array(4, 6), array(4))),
    ((2, 6), one('ElementwiseLinear', array(6), array(6))),
    (VIDEO, one('Softmax')),
    (VIDEO, one('ReduceBackMean')),
    ((2, 6), one('SoftmaxWithLoss')),
    ((2, 6), one('Sigmoid')),
]


@pytest.mark.parametrize(
    ('shape', 'made'), OPERATORS, ids=[made[0].nodes[0].kind for _, made in OPERATORS]
)
def test_operators_are_those_that_are_exported(shape, made):
    data = array(*shape)
    np.testing.assert_allclose(ours(*made, data), by_onnx(*made, data), rtol=1e-5, atol=2e-5)


def test_every_operator_is_tried():
    from r2plus1d.backends.pytorch import module

    assert set(module.OPERATORS) == {made[0].nodes[0].kind for _, made in OPERATORS}
    assert set(module.OPERATORS) == set(BY_HAND)


def test_in_place_relus_spare_what_is_still_needed():
    nodes = [
        Node('Sum', ('data', 'data'), 'sum', 'sum'),
        Node('Relu', ('sum',), 'first', 'first'),
        Node('Relu', ('data',), 'second', 'second'),
        Node('Sum', ('first', 'sum'), 'third', 'third'),
        Node('Dropout', ('third',), 'same', 'same'),
        Node('Relu', ('same',), 'out', 'out'),
    ]
    expected = {'sum': [-2, 4], 'third': [-2, 8], 'second': [0, 2], 'out': [0, 8]}
    data = np.array([[-1, 2]], np.float32)
    with torch.inference_mode():
        given = torch.from_numpy(data.copy())
        values = PlanModule(plan_of(nodes, {}, expected), {})(given)
    np.testing.assert_array_equal(given, data)
    for name, rows in expected.items():
        np.testing.assert_array_equal(values[name], [rows], err_msg=name)


def test_an_operator_that_is_not_known_is_refused():
    message = 'out is made by the operator Quantize; engine torch knows AveragePool, Conv'
    with pytest.raises(InputError, match=message):
        PlanModule(*one('Quantize'))


def test_weights_run_without_the_package_onnx():
    code = (
        'import sys; sys.modules["onnx"] = None\n'
        'import numpy as np\n'
        'from r2plus1d.backends.choose import EngineSettings, open_engine\n'
        'from r2plus1d.devices import Devices\n'
        'from r2plus1d.networks.initial import random_parameters\n'
        'from r2plus1d.networks.network import Network\n'
        'network = Network("r2d", 10, clip_length=8, num_labels=7, width=0.125)\n'
        'options = {"devices": Devices(), "outputs": ["softmax"]}\n'
        'with open_engine(network, settings=EngineSettings("torch"), **options) as engine:\n'
        '    engine.load(random_parameters(network, 0))\n'
        '    print(engine.run(np.zeros((1, *network.data_shape), np.uint8))["softmax"].shape)\n'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ('(1, 7)\n', '')


# The engine


BY_HAND = {
    'Conv': lambda kernel, stride, pad, x, w, b=None: functional.conv3d(x, w, b, stride, pad),
    'SpatialBN': lambda epsilon, x, scale, shift, mean, variance: functional.batch_norm(
        x, mean, variance, scale, shift, eps=epsilon
    ),
    'Relu': torch.relu,
    'Sum': torch.add,
    'AveragePool': lambda kernel, stride, pad, x: functional.avg_pool3d(x, kernel, stride, pad),
    'MaxPool': lambda kernel, stride, pad, x: functional.max_pool3d(x, kernel, stride, pad),
    'FC': lambda x, w, b: functional.linear(x.flatten(1), w, b),
    'Dropout': lambda x: x,
    'Softmax': lambda x: x.reshape(len(x), -1).softmax(1).reshape(x.shape),
    'ReduceBackMean': lambda x: x.mean((2, 3, 4)),
    'SoftmaxWithLoss': lambda x: x.softmax(1),
    'ElementwiseLinear': lambda x, w, b: x * w + b,
    'Sigmoid': torch.sigmoid,
}


def settings_of(node):
    return node.window or ([] if node.epsilon is None else [node.epsilon])


def by_hand(network, parameters, clips):
    """Every blob of the network, each operator as Caffe2 defines it, in float64, nothing folded."""
    values = {'data': torch.from_numpy(clips).double()}
    for node in graph.trace(network).nodes:
        read = [values[name] for name in node.inputs]
        read += [torch.from_numpy(parameters[name]).double() for name in node.parameters]
        values[node.output] = BY_HAND[node.kind](*settings_of(node), *read)
    return {name: value.numpy() for name, value in values.items()}


def parameters_of(network):
    """Random ones, with batch norms that do something."""
    rng = np.random.default_rng(2)
    parameters = random_parameters(network, 0)
    for name, values in parameters.items():
        if name.endswith(('_s', '_riv', '_rm', '_b', 'logit_w')):
            values += rng.uniform(-0.4, 0.4, values.shape).astype(np.float32)
    return parameters


SMALL = {'clip_length': 8, 'num_labels': 7, 'width': 0.125}
NETWORKS = [
    Network('r2plus1d', 18, **SMALL),
    Network('r3d', 10, **SMALL, num_channels=2, use_dropout=True, pred_layer_name='a.b'),
    Network('mc3', 10, **SMALL, multi_label=True),
    Network('r2d', 26, **SMALL),
    Network('c3d', clip_length=16, num_labels=7, width=0.125),
]


@pytest.mark.parametrize('network', NETWORKS, ids=lambda network: network.name)
def test_networks(network, precision):
    parameters = parameters_of(network)
    clips = np.random.default_rng(3).standard_normal((2, *network.data_shape), np.float32)
    outputs = [node.output for node in graph.trace(network).nodes][-4:]
    outputs = [name for name in outputs if '/' not in name]
    found = run(clips, network=network, given=parameters, outputs=outputs, precision=precision)
    expected = by_hand(network, parameters, clips)
    for name in outputs:
        assert (found[name].dtype, found[name].shape) == (np.float32, expected[name].shape)
        allowed = {'fp32': 1e-5, 'bf16': 2e-2}[precision]
        assert distance(found[name], expected[name]) < allowed, name
    np.testing.assert_array_equal(
        found[network.prediction].argmax(1), expected[network.prediction].argmax(1)
    )


def test_batch_norms_that_are_not_folded(precision):
    parameters = parameters_of(NETWORK)
    expected = by_hand(NETWORK, parameters, CLIPS)
    plan = folding.plan(NETWORK, OUTPUTS, fold_batch_norm=False)
    values = folding.initial_values(plan, parameters)
    dtype = {'fp32': torch.float32, 'bf16': torch.bfloat16}[precision]
    with torch.inference_mode():
        found = PlanModule(plan, values, dtype)(torch.from_numpy(CLIPS))
    for name in OUTPUTS:
        allowed = {'fp32': 1e-5, 'bf16': 2e-2}[precision]
        assert distance(found[name].numpy(), expected[name]) < allowed


def test_a_file_is_run_like_its_weights(tmp_path, together, precision):
    path = tmp_path / 'model.onnx'
    outputs = (*OUTPUTS, 'comp_0_sum_2')
    onnx_files.save(onnx_files.export(NETWORK, PARAMETERS, outputs), path)
    found = run(given=onnx_files.read(path), precision=precision)
    for name in OUTPUTS:
        np.testing.assert_array_equal(found[name], together[name])


def test_pixels_are_normalized_as_the_reader_does(together, precision):
    pixels = run(PIXELS, precision=precision)
    for name in OUTPUTS:
        np.testing.assert_array_equal(pixels[name], together[name])


def test_a_row_does_not_depend_on_the_others(together, precision):
    for clips, rows in {'alone': [3], 'some': [1, 2, 3], 'backwards': [4, 3, 2, 1, 0]}.items():
        found = run(CLIPS[rows], precision=precision)
        for name in OUTPUTS:
            np.testing.assert_array_equal(found[name], together[name][rows], err_msg=clips)


@pytest.fixture(scope='module')
def one_thread():
    """On which sums in fp32 depend."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope='module')
def two_processes(precision, one_thread):
    """An engine that runs in two processes, with its weights."""
    with opened(devices=Devices('cpu', (0, 1)), precision=precision) as engine:
        engine.load(PARAMETERS)
        yield engine


def test_processes_give_the_rows_of_one(precision, two_processes):
    alone = run(PIXELS, precision=precision)
    # Each slot of the memory they share is used several times
    for rows in ([*range(5)] * 5, [0], [2, 1]):
        several = two_processes.run(PIXELS[rows])
        for name in OUTPUTS:
            np.testing.assert_array_equal(several[name], alone[name][rows])


def test_batches_are_run_ahead_and_come_back_in_order(together, two_processes):
    taken = []

    def batches():
        for rows in ([0, 1], [2], [3, 4, 0], [1]):
            taken.append(rows)
            yield PIXELS[rows]
            if rows == [2]:
                yield None

    found = list(two_processes.run_each(batches()))
    assert [rows and len(rows['softmax']) for rows in found] == [2, 1, None, 3, 1]
    for rows, numbers in zip(filter(None, found), taken):
        for name in OUTPUTS:
            np.testing.assert_allclose(rows[name], together[name][numbers], rtol=1e-4, atol=1e-5)
    left = two_processes.run_each(batches())  # whose rest nobody wants
    next(left)
    left.close()
    assert two_processes.run(PIXELS[:1])['softmax'].shape == (1, 7)


def test_chunks_that_are_filled_up(monkeypatch):
    """As on a GPU: 5 clips are computed as 3 and 2, with a clip of zeros."""

    alone = run()
    monkeypatch.setattr(device, 'CPU_CLIPS_A_RUN', 3)
    filled = run()
    for name in OUTPUTS:
        np.testing.assert_allclose(filled[name], alone[name], rtol=1e-5, atol=1e-6)


def test_threads_of_one_engine_are_not_those_of_the_program():
    before = torch.get_num_threads()
    settings = EngineSettings('torch', threads=before + 1)
    with TorchEngine(NETWORK, devices=ONE_CPU, outputs=OUTPUTS, settings=settings):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before


def workers():
    return opened(devices=Devices('cpu', (0, 1)))


def test_a_process_that_dies_is_an_error():
    with workers() as engine:
        engine.load(PARAMETERS)
        os.kill(engine.processes[1], signal.SIGKILL)
        with pytest.raises(BackendError, match='the process for cpu 1 ended with status -9'):
            engine.run(CLIPS)
        assert engine.processes == [], 'the other one is left'


def test_a_process_that_hangs_is_an_error(monkeypatch):
    with workers() as engine:
        engine.load(PARAMETERS)
        monkeypatch.setattr(worker, 'SECONDS_TO_ANSWER', 2)
        pids = engine.processes
        for pid in pids:  # whatever the load, one of them is the first
            os.kill(pid, signal.SIGSTOP)
        message = 'process for cpu 0 has not answered for 2 seconds; it is ended. Its device may'
        with pytest.raises(BackendError, match=message):
            engine.run(CLIPS)
        assert engine.processes == []
    assert all(ended(pid) for pid in pids), 'a stopped process has to be killed'


def test_a_process_that_cannot_begin_is_an_error(monkeypatch):
    monkeypatch.setattr(device, 'require', lambda devices, precision: None)
    monkeypatch.setattr(device, 'require_known', lambda precision: None)
    message = 'in the process for cpu 0: (.|\\n)*KeyError'
    with pytest.raises(RuntimeError, match=message):
        run(devices=Devices('cpu', (0, 1)), precision='fp8')


def test_what_goes_wrong_in_a_process_is_raised_here():
    with workers() as engine:
        engine.load(PARAMETERS)
        with pytest.raises(RuntimeError, match=r'in the process for cpu 0: (.|\n)*AssertionError'):
            engine.run(CLIPS.astype(np.int32))


INTERRUPTED = """
import numpy as np
from r2plus1d.backends.base import EngineSettings
from r2plus1d.backends.pytorch.engine import TorchEngine
from r2plus1d.devices import Devices
from r2plus1d.networks.initial import random_parameters
from r2plus1d.networks.network import Network

if __name__ == '__main__':
    network = Network('r2plus1d', 10, clip_length=8, num_labels=7, width=0.125)
    devices, settings = Devices('cpu', (0, 1)), EngineSettings('torch')
    options = {'devices': devices, 'settings': settings}
    with TorchEngine(network, outputs=['softmax'], **options) as engine:
        engine.load(random_parameters(network, 0))
        print(*engine.processes, flush=True)
        while True:
            engine.run(np.zeros((4, *network.data_shape), np.uint8))
"""


@pytest.mark.parametrize('sent', [signal.SIGINT, signal.SIGKILL])
def test_processes_end_with_the_one_that_made_them(tmp_path, sent):
    script = tmp_path / 'script.py'
    script.write_text(INTERRUPTED)
    with subprocess.Popen(
        [sys.executable, script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    ) as made:  # fmt: skip
        processes = list(map(int, made.stdout.readline().split()))
        assert len(processes) == 2
        if sent == signal.SIGINT:
            os.killpg(made.pid, sent)  # as a terminal does
        else:
            made.kill()
        try:
            errors = made.communicate(timeout=60)[1]
        except subprocess.TimeoutExpired:
            made.kill()  # or leaving the context would wait for it
            raise
    for pid in processes:
        assert ended(pid), errors
    if sent == signal.SIGINT:
        assert errors.count('Traceback') == 1, errors
        assert errors.rstrip().endswith('KeyboardInterrupt')


def ended(pid, seconds=20):
    for _ in range(10 * seconds):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


# Refusals


@pytest.mark.parametrize(
    ('precision', 'message'),
    [
        ('fp16', 'precision is fp16, which is for GPUs; a CPU has fp32 and bf16'),
        ('tf32', 'precision is tf32, which is for GPUs; a CPU has fp32 and bf16'),
        ('fp8', 'precision is fp8; engine torch knows fp32, tf32, bf16, fp16'),
    ],
)
def test_precisions_that_are_refused(precision, message):
    with pytest.raises(InputError, match=message):
        run(precision=precision)


def test_a_cpu_without_bf16(monkeypatch):

    monkeypatch.setattr(device, 'cpu_has_bf16', lambda: False)
    with pytest.raises(InputError, match='precision is bf16, which this CPU does not have'):
        run(precision='bf16')


def test_a_gpu_that_is_not_there_is_refused():
    absent = torch.cuda.device_count() if torch.cuda.is_available() else 0
    message = f'gpus is {absent}; PyTorch sees {absent or "no"} GPUs here'
    with pytest.raises(InputError, match=message):
        run(devices=Devices('gpu', (absent,)))


def test_outputs_that_are_refused(tmp_path):
    with pytest.raises(InputError, match='comp_99_sum_2, which r2plus1d_10_8_w0.125 does not have'):
        run(outputs=['comp_99_sum_2'])
    path = tmp_path / 'model.onnx'
    onnx_files.save(onnx_files.export(NETWORK, PARAMETERS, ['softmax']), path)
    with pytest.raises(InputError, match='gives softmax, not final_avg; tools/export_onnx.py'):
        run(given=onnx_files.read(path))
