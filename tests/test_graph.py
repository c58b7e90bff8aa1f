"""The graph that is known without Caffe2, against the one that Caffe2 builds and infers."""

import dataclasses
import math
import subprocess
import sys
import time

import pytest

from r2plus1d.errors import InputError
from r2plus1d.networks import cost, graph
from r2plus1d.networks.build import build_on
from r2plus1d.networks.initial import random_parameters
from r2plus1d.networks.network import Network
from r2plus1d.networks.zoo import ARCHITECTURES, depths_of

PRODUCTS = ('Conv', 'FC')
WINDOW = {'kernel': 'kernels', 'stride': 'strides', 'pad': 'pads'}
SMALL = Network('r2d', 10, clip_length=8, num_labels=5, width=0.125)

LARGE = {'use_pool1': True, 'use_convolutional_pred': True}
VARIANTS = [
    *(
        Network(name, depth, clip_length=8, crop_size=224)
        for name in ARCHITECTURES
        for depth in depths_of(name)
    ),
    *(Network(name, depths_of(name)[0], clip_length=24, num_labels=7) for name in ARCHITECTURES),
    *(
        Network(name, 50, clip_length=16, crop_size=size, width=0.125, **LARGE)
        for name in ('ir-csn', 'ip-csn', 'r3d', 'r2plus1d')
        for size in (224, 256, 320)
    ),
    *(
        Network('r2plus1d', 18, crop_size=size, width=0.125, use_convolutional_pred=True)
        for size in (112, 128, 224, 256)
    ),
    Network('ip-csn', 101, clip_length=8, num_channels=2, width=0.3, use_dropout=True),
    Network('r3d', 34, clip_length=8, crop_size=224, use_pool1=True, multi_label=True),
    Network('r2plus1d', 34, clip_length=32, num_channels=2, num_labels=400),
    Network('r3d', 18, clip_length=8, multi_label=True, num_labels=6),
    Network('mc3', 10, clip_length=64, width=0.3, num_channels=5, pred_layer_name='mine'),
    Network('r2plus1d', 10, clip_length=8, use_dropout=True, multi_label=True),
    Network('c3d'),
    Network('c3d', width=0.125, num_channels=2, num_labels=9),
    Network('c3d', multi_label=True, num_labels=6, use_dropout=True),
]


class Caffe2Graph:
    """What Caffe2 says of a network, by its own shape inference and parameter fills."""

    def __init__(self, network):
        pytest.importorskip('caffe2.python', reason='needs Caffe2')
        from caffe2.proto import caffe2_pb2
        from caffe2.python import core, workspace

        from r2plus1d.backends.caffe2 import layers
        from r2plus1d.backends.caffe2.layers import build

        model = layers.new_model(network.name)
        build(model, network)
        self.ops = self.until(model.net.Proto().op, network.prediction)
        # ElementwiseLinear has no shape inference, and operators after it crash for want of one.
        trunk = core.Net(caffe2_pb2.NetDef(op=self.until(self.ops, network.logits)))
        inputs = {'data': [1, *network.data_shape], 'label': [1, *network.label_shape]}
        self.shapes, _ = workspace.InferShapesAndTypes([model.param_init_net, trunk], inputs)
        for op in self.ops:
            before = self.shapes[op.input[0]]
            # Nor has ReduceBackMean; that it leaves out t, h and w is seen where it is run.
            after = before[:-3] if op.type == 'ReduceBackMean' else before
            self.shapes.setdefault(op.output[0], after)
        fills = {op.output[0]: op for op in model.param_init_net.Proto().op}
        names = [str(p) for p in model.GetParams() + model.GetComputedParams()]
        self.parameters = {n: self.argument(fills[n], 'shape').ints for n in names}

    @staticmethod
    def until(ops, blob):
        end = next(i for i, op in enumerate(ops) if blob in op.output)
        return list(ops)[: end + 1]

    @staticmethod
    def argument(op, name):
        return next((a for a in op.arg if a.name == name), None)

    def row(self, op):
        shape, parameters = self.shapes[op.output[0]], 0
        if op.type in PRODUCTS:
            parameters = math.prod(self.shapes[op.input[1]])
        products = parameters * math.prod(shape[2:])
        return cost.Row(op.output[0], op.type, tuple(shape[1:]), parameters, products)


@pytest.fixture(scope='module', params=VARIANTS, ids=lambda n: f'{n.name}_{n.crop_size}_{n.logits}')
def both(request):
    return graph.trace(request.param), Caffe2Graph(request.param), request.param


def test_parameters_equal_caffe2s(both):
    traced, caffe2, network = both
    expected = [(name, tuple(shape)) for name, shape in caffe2.parameters.items()]
    assert list(traced.parameters.items()) == expected
    assert cost.parameter_shapes(network) == {name: list(shape) for name, shape in expected}


def test_operators_equal_caffe2s(both):
    traced, caffe2, _ = both
    assert [(n.kind, n.blob) for n in traced.nodes] == [(o.type, o.output[0]) for o in caffe2.ops]
    for node, op in zip(traced.nodes, caffe2.ops):
        inputs = [name.replace(graph.OVERWRITTEN, '') for name in node.inputs]
        assert [*inputs, *node.parameters] == [name for name in op.input if name != 'label']
        for name, argument in WINDOW.items():
            given = caffe2.argument(op, argument)
            if given:
                assert node.window, node.blob
                sizes = getattr(node.window, name) * (2 if name == 'pad' else 1)
                assert list(sizes) == list(given.ints), node.blob
            else:
                assert not (node.window and any(node.window.pad)), node.blob
        group = caffe2.argument(op, 'group')
        assert node.group == (group.i if group else 1), node.blob
        if node.kind == 'SpatialBN':
            epsilon = caffe2.argument(op, 'epsilon').f
            assert node.epsilon == pytest.approx(epsilon, rel=1e-6)


def test_shapes_equal_caffe2s(both):
    traced, caffe2, network = both
    expected = {op.output[0]: tuple(caffe2.shapes[op.output[0]][1:]) for op in caffe2.ops}
    assert traced.shapes == {'data': network.data_shape, **expected}
    assert cost.rows(network) == [caffe2.row(op) for op in caffe2.ops]


@pytest.mark.parametrize('network', VARIANTS[-7:], ids=lambda n: n.name)
def test_every_value_is_made_once_and_before_it_is_read(network):
    traced, made = graph.trace(network), ['data']
    last = {}
    for node in traced.nodes:
        assert set(node.inputs) <= set(made)
        assert node.output not in made
        assert not {node.output, *node.inputs} & set(traced.parameters)
        made.append(node.output)
        last[node.blob] = node
    for blob, node in last.items():
        assert node.output == blob, 'the last value of a blob has its name'
    hidden = [name for name in made if name not in last][1:]
    assert len(hidden) == sum(node.kind == 'Relu' for node in traced.nodes)


def test_a_relu_is_the_value_of_its_blob():
    nodes = {node.output: node for node in graph.trace(SMALL).nodes}
    relu = nodes['conv1_spatbn_relu']
    assert (relu.kind, relu.inputs) == ('Relu', ('conv1_spatbn_relu/overwritten',))
    assert nodes[relu.inputs[0]].kind == 'SpatialBN'
    assert nodes[relu.inputs[0]].blob == relu.blob


@pytest.mark.parametrize(
    ('name', 'second'),
    [
        ('data', 'data'),
        ('softmax', 'softmax'),
        ('loss', 'loss'),
        ('final_avg', 'final_avg'),
        ('conv1', 'conv1'),
        ('conv1_w', 'conv1_w'),
        ('conv1_spatbn_relu/overwritten', 'conv1_spatbn_relu/overwritten'),
        ('comp_0_spatbn_1_riv', 'comp_0_spatbn_1_riv'),
    ],
)
def test_a_name_that_is_taken_is_refused(name, second):
    with pytest.raises(InputError, match=f'pred_layer_name makes a second {second};'):
        graph.trace(Network('r2d', 10, clip_length=8, pred_layer_name=name))


def test_a_head_that_meets_the_last_layer_is_refused():
    network = Network('r2d', 10, clip_length=8, multi_label=True, pred_layer_name='pred_logit')
    with pytest.raises(InputError, match='pred_layer_name makes a second pred_logit'):
        graph.trace(network)


def test_a_network_is_traced_once(monkeypatch):
    built = []

    def counted(recorder, network):
        built.append(network)
        return build_on(recorder, network)

    monkeypatch.setattr(graph, 'build_on', counted)
    graph.trace.cache_clear()
    for _ in range(2):
        network = Network('r2d', 10, clip_length=8, width=0.125)  # equal, not the same
        cost.totals(network)
        cost.parameter_shapes(network)
        random_parameters(network, 0)
    assert built == [network]


def test_nobody_changes_a_graph_for_the_others():
    traced = graph.trace(SMALL)
    with pytest.raises(TypeError):
        traced.parameters['conv1_w'] = ()
    with pytest.raises(TypeError):
        traced.shapes['data'] = ()
    with pytest.raises(dataclasses.FrozenInstanceError):
        traced.nodes[0].window = None
    cost.parameter_shapes(SMALL)['conv1_w'].append(1)
    assert graph.trace(SMALL).parameters['conv1_w'] == traced.parameters['conv1_w']


def test_it_needs_no_caffe2():
    code = (
        'import sys; sys.modules["caffe2"] = None\n'
        'from r2plus1d.networks import cost, graph\n'
        'from r2plus1d.networks.initial import random_parameters\n'
        'from r2plus1d.networks.network import Network\n'
        'network = Network("r2plus1d", 18, clip_length=8, num_labels=400)\n'
        'print("%.3e %.4e" % cost.totals(network))\n'
        'print(len(random_parameters(Network("r2d", 10, width=0.1), 0)))\n'
        'try: import r2plus1d.backends.caffe2.schema\n'
        'except ImportError: print("the schema does")'
    )
    command = [sys.executable, '-c', code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == '2.075e+10 3.3344e+07\n62\nthe schema does\n'


def test_it_takes_milliseconds():
    network = Network('r2plus1d', 34, clip_length=32)
    times = []
    for _ in range(5):
        graph.trace.cache_clear()
        start = time.process_time()
        graph.trace(network)
        times.append(time.process_time() - start)
    assert min(times) < 0.05
