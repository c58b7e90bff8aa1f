"""Networks that compute in 8 bits, calibrated here: by the largest values that some clips make."""

import numpy as np
from onnx import numpy_helper

from onnx_models import TINY, run_openvino
from r2plus1d.networks import folding, int8
from r2plus1d.networks.network import Network
from r2plus1d.weights import onnx_file as onnx_engine
from r2plus1d.weights import onnx_operators

NETWORKS = [
    TINY,
    Network('r2plus1d', 10, clip_length=8, num_labels=5, width=0.125),
    Network('mc3', 10, clip_length=8, num_labels=5, width=0.125),
    Network('r3d', 26, clip_length=8, num_labels=5, width=0.125),
    Network('c3d', num_labels=5, width=0.0625),
    Network(
        'ir-csn',
        50,
        clip_length=8,
        crop_size=256,
        num_labels=5,
        width=0.125,
        use_pool1=True,
        use_convolutional_pred=True,
    ),
    Network('ip-csn', 50, clip_length=8, num_labels=5, width=0.125),
]


def quantize(network, parameters, clips, outputs, metadata=None):
    """As engines.calibrate.quantize, without NNCF; clips None: every value is in 0 to 6."""
    float_model = onnx_engine.export(network, parameters, outputs, metadata=metadata)
    plan = folding.plan(network, tuple(outputs), fold_batch_norm=True)
    convolutions = [node for node in plan.nodes if node.kind == 'Conv']
    values = list(dict.fromkeys(node.inputs[0] for node in convolutions))
    arrays = {t.name: numpy_helper.to_array(t) for t in float_model.graph.initializer}
    depthwise = {node.inputs[0] for node in convolutions if node.group > 1}
    found = int8.Quantization(
        ranges=ranges_of(network, parameters, clips, values, depthwise),
        weights={node.parameters[0]: rounded(arrays[node.parameters[0]]) for node in convolutions},
        biases={},
    )
    return onnx_operators.assemble(
        network,
        int8.add(plan, found.scales),
        {**arrays, **found.values},
        {entry.key: entry.value for entry in float_model.metadata_props},
    )


def compared(network):
    """Blobs to be compared; random weights of deep networks leave one class of softmax only."""
    deep = network.depth >= 50
    return network.logits if deep else network.prediction, 'fc7' if network.is_c3d else 'final_avg'


def ranges_of(network, parameters, clips, values, depthwise):
    if clips is None:
        return dict.fromkeys(values, (0.0, 6.0))
    model = onnx_engine.export(network, parameters, [name for name in values if name != 'data'])
    made = {'data': clips, **run_openvino(model, clips)[0]}
    # Of all channels together, or, as NNCF has it, of each where a depthwise convolution reads it
    axes = {name: (0, 2, 3, 4) if name in depthwise else None for name in values}
    return {n: around_zero(made[n].min(axis=axes[n]), made[n].max(axis=axes[n])) for n in values}


def around_zero(low, high):
    """The range made a little larger, so that 0 is one of the 256 numbers."""
    low, high = np.minimum(np.float64(low), 0), np.maximum(np.float64(high), 1e-6)
    step = (high - low) / 254
    low = np.floor(low / step) * step
    return low, low + 255 * step


def rounded(weights):
    """(int8 array, float32 array of a scale a filter)."""
    flat = weights.reshape(len(weights), -1)
    scales = np.abs(flat).max(axis=1) / 127
    return np.round(flat / scales[:, None]).astype(np.int8).reshape(weights.shape), scales


def precisions_of(model, network):
    """What OpenVINO computes the convolutions of an ONNX model in."""
    from r2plus1d.backends.openvino.core import core

    read = core().read_model(model.SerializeToString())
    read.reshape({'data': [1, *network.data_shape]})
    # As the engine does: in bf16 OpenVINO has no depthwise convolution of 8 bits.
    hint = {'INFERENCE_PRECISION_HINT': 'f32'}
    compiled = core().compile_model(read, 'CPU', hint)
    found = {
        operation.get_rt_info()['runtimePrecision'].astype(str)
        for operation in compiled.get_runtime_model().get_ops()
        if operation.get_rt_info()['layerType'].astype(str) == 'Convolution'
    }
    assert found
    return found


def initializer(proto, name):
    return next(t for t in proto.graph.initializer if t.name == name)
