from pathlib import Path
from shutil import copy

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).resolve().parent


class BuildWithPrograms(build_py):
    """Puts the programs of tools/ and data/ into the wheel, for the command r2plus1d."""

    def run(self):
        super().run()
        if getattr(self, 'editable_mode', False):  # setuptools before 64 does not know it
            return  # the command finds them in the checkout
        target = Path(self.build_lib, 'r2plus1d', 'programs')
        target.mkdir(parents=True, exist_ok=True)
        for path in [*HERE.glob('tools/*.py'), *HERE.glob('data/*.py')]:
            copy(path, target)


setup(
    name='r2plus1d',
    version='0.1.0',
    description='R(2+1)D video recognition with Caffe2: networks, video input, evaluation',
    package_dir={'': 'lib'},
    packages=find_packages('lib'),
    cmdclass={'build_py': BuildWithPrograms},
    entry_points={'console_scripts': ['r2plus1d=r2plus1d.cli.command:main']},
    package_data={
        'r2plus1d.results': ['classes/*.txt'],
        'r2plus1d.pictures': ['page/*'],
    },
    python_requires='>=3.9',
    install_requires=[
        'av>=15,<20',  # which give the same pixels
        'lmdb>=1.6',
        'numpy>=1.23.5',
        'opencv-python-headless>=4.11',
        'protobuf>=3.20.3',
        'tqdm>=4.66',
    ],
    extras_require={
        'plot': ['matplotlib'],
        'parquet': ['pyarrow'],
        'ray': ['ray>=2.60,<3'],  # Python 3.10 to 3.14
        'onnx': ['onnx>=1.16'],
        'openvino': ['onnx>=1.16', 'openvino>=2025.3'],
        'torch': ['torch>=2', 'onnx>=1.16'],  # Python 3.10 to 3.14
        'int8': ['onnx>=1.16', 'openvino>=2025.3', 'nncf>=2.14,<4'],
        # Python 3.9 at most: no later wheel of PyTorch has Caffe2's operators
        'caffe2': [
            'torch==1.10.2',
            'numpy<1.24',
            'protobuf<3.21',
            'opencv-python-headless<4.12',  # the last for this numpy
            'future',
            'six',
            'networkx',
        ],
    },
)
