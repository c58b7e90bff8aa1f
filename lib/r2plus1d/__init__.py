"""R(2+1)D video recognition: published networks, Caffe2's video input, evaluation, features.

    import r2plus1d

    model = r2plus1d.load('data/sample/r2plus1d_18_8_w0.125.pkl')
    for video in r2plus1d.predict(model, 'my_videos'):
        print(video.path, video.classes)

docs/python.md has more. Importing this takes milliseconds: each name is imported when it is used.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from r2plus1d.api import evaluate, extract, load, predict, published, stream_predictions
    from r2plus1d.devices import Devices
    from r2plus1d.errors import InputError
    from r2plus1d.evaluation.video_classes import ClipPrediction, Prediction
    from r2plus1d.model import Model
    from r2plus1d.networks.input import FlowSettings, Input
    from r2plus1d.sources.file_source import Stride

__all__ = [
    'ClipPrediction', 'Devices', 'FlowSettings', 'Input', 'InputError', 'Model', 'Prediction',
    'Stride', 'annotate', 'evaluate', 'extract', 'load', 'predict', 'published',
    'stream_predictions',
]  # fmt: skip

PLACES = {
    'ClipPrediction': 'evaluation.video_classes',
    'Devices': 'devices',
    'FlowSettings': 'networks.input',
    'Input': 'networks.input',
    'InputError': 'errors',
    'Model': 'model',
    'Prediction': 'evaluation.video_classes',
    'Stride': 'sources.file_source',
    'annotate': 'pictures.annotate',
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f'r2plus1d has no {name}; it has {", ".join(__all__)}')
    return getattr(importlib.import_module(f'r2plus1d.{PLACES.get(name, "api")}'), name)


def __dir__() -> list[str]:
    return __all__
