"""Tries an environment; run by its Python. The last line printed says what does not work."""

import importlib
import sys

COMMON = ('numpy', 'lmdb', 'cv2', 'av', 'google.protobuf', 'tqdm', 'onnx', 'openvino', 'r2plus1d')
PACKAGES = {
    'caffe2': (*COMMON, 'caffe2.python', 'caffe2.python.data_parallel_model'),
    'modern': (*COMMON, 'torch', 'nncf'),
}


def run_caffe2():
    import numpy
    from caffe2.python import core, workspace

    workspace.FeedBlob('x', numpy.array([-1, 2], numpy.float32))
    workspace.RunOperatorOnce(core.CreateOperator('Relu', ['x'], ['y']))
    return workspace.FetchBlob('y').tolist() == [0, 2]


def run_torch():
    import torch

    return torch.relu(torch.tensor([-1.0, 2.0])).tolist() == [0, 2]


RUNS = {
    'caffe2': ('the Caffe2 operator Relu', run_caffe2),
    'modern': ('the PyTorch operator relu', run_torch),
}


def missing(kind):
    """Return what cannot be imported or run, as text."""
    found = []
    for name in PACKAGES[kind]:
        try:
            importlib.import_module(name)
        except Exception as error:
            found.append('{} ({})'.format(name, ' '.join(str(error).split())))
    name, runs = RUNS[kind]
    if not found and not runs():
        found.append(name)
    return found


if __name__ == '__main__':
    faults = missing(sys.argv[1])
    print(', '.join(faults))
    sys.exit(bool(faults))
