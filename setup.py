from setuptools import find_packages, setup

setup(
    name='r2plus1d',
    version='0.1.0',
    description='R(2+1)D video recognition with Caffe2: networks, video input, evaluation',
    package_dir={'': 'lib'},
    packages=find_packages('lib'),
    python_requires='>=3.9',
    install_requires=['numpy', 'lmdb', 'opencv-python-headless', 'protobuf', 'av', 'tqdm'],
    extras_require={
        'plot': ['matplotlib'],
        'onnx': ['onnx'],
        'openvino': ['onnx', 'openvino'],
        'torch': ['torch>=2'],  # Python 3.10 to 3.14; and onnx, for .onnx files
        'int8': ['onnx', 'openvino', 'nncf<3'],
        # Python 3.9 at most: no later wheel of PyTorch has Caffe2's operators
        'caffe2': ['torch==1.10.2', 'numpy<1.24', 'protobuf<3.21', 'future', 'six', 'networkx'],
    },
)
