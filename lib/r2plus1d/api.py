"""What `import r2plus1d` offers: the work of the tools as functions, with the settings' own names.

Nothing here imports a framework: the engine that is chosen does, when it opens.
"""

import contextlib
import dataclasses
import os
import pathlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Optional, Union

from r2plus1d.backends.base import EngineSettings
from r2plus1d.datasets.database import DATA_FILE
from r2plus1d.datasets.video_files import FoundVideos, find_videos
from r2plus1d.devices import Devices
from r2plus1d.errors import InputError, require_integer, require_one_of
from r2plus1d.evaluation.evaluate import EvaluationSettings, Result
from r2plus1d.evaluation.evaluate import evaluate as evaluate_source
from r2plus1d.evaluation.journal import ScoreJournal
from r2plus1d.evaluation.metrics import AGGREGATIONS
from r2plus1d.evaluation.video_classes import Prediction, PredictionSettings, predict_videos
from r2plus1d.features import job as jobs
from r2plus1d.features.extract import ExtractionSettings
from r2plus1d.features.publish import FeatureOutput, Totals
from r2plus1d.inference.opened import opened
from r2plus1d.keywords import (
    UNIFORM_CLIPS,
    AnyPath,
    classes_of,
    decisive,
    extraction_stride,
    kept_settings,
    paths_of,
    require_devices,
    split_settings,
    words_of,
)
from r2plus1d.model import Model
from r2plus1d.networks.published import PUBLISHED, Published
from r2plus1d.pictures.activation_maps import ActivationMaps
from r2plus1d.results.hold import holding, holding_failures
from r2plus1d.sources.database_source import DatabaseSource
from r2plus1d.sources.file_source import Stride, VideoFiles
from r2plus1d.sources.sample import RecordNeeds
from r2plus1d.sources.stride import stride_of
from r2plus1d.sources.whole_videos import WholeVideos

DENSE = 'dense'


def load(
    source: AnyPath,
    *,
    class_names: Union[AnyPath, Sequence[str], None] = None,
    **settings: Any,
) -> Model:
    """Return the Model of a weight file, or of published weights, which are downloaded if needed.

    Args:
        source: a .pkl, .mdl, .pth, .safetensors or .onnx file, a folder with weights and a
            config.json, or a name that `published` or tools/model_zoo.py lists.
        class_names: num_labels texts, the path of a file of them, or `kinetics400`, `hmdb51`,
            `ucf101` or `sports1m`; those of the weights if left out.
        settings: what the file does not say: `length` and `rate` of its clips, `flow`, or any
            other field of networks.network.Network and networks.input.Input.

    Raises:
        InputError: a file that cannot be read, a setting that it contradicts or that is missing,
            too few or too many class names.
    """
    model = Model.load(source, **settings)
    if class_names is None:
        return model
    count = model.network.num_labels
    names = classes_of(class_names, count)
    return dataclasses.replace(model, class_names=names)


def published() -> tuple[Published, ...]:
    """Return the rows of the published networks: names, settings, accuracies."""
    return tuple(PUBLISHED.values())


def predict(
    model: Model, videos: Union[AnyPath, Sequence[AnyPath]], **settings: Any
) -> list[Prediction]:
    """Return a Prediction of each video, in their order; one that fails has the reason.

    The arguments are those of stream_predictions.
    """
    return list(stream_predictions(model, videos, **settings))


def stream_predictions(
    model: Model,
    videos: Union[AnyPath, Sequence[AnyPath]],
    *,
    clips: Union[int, str] = UNIFORM_CLIPS,
    stride: Union[Stride, int, str, None] = None,
    top_k: int = 5,
    aggregation: str = 'mean',
    maps: bool = False,
    batch_size: int = 6,
    devices: Devices = Devices(),  # noqa: B008 - frozen
    decode_threads: int = 4,
    **settings: Any,
) -> Iterator[Prediction]:
    """Yield a Prediction of each video, in their order, as soon as it is known.

    Args:
        videos: files, folders of them, or .txt lists; one or several.
        clips: how many, spread over the video; or `dense`, from its first frame to its last.
        stride: between `dense` clips; they follow each other if left out.
        top_k: classes of each prediction.
        aggregation: `mean` or `max` over the clips of a video.
        maps: whether clips have activation maps, see evaluation.video_classes.ClipPrediction.
        batch_size: videos that a device gets at a time; ten times as many `dense` clips.
        devices: where the network runs.
        decode_threads: videos decoded at the same time.
        settings: other fields of ClipSettings (`crops` ...) and of EngineSettings (`engine`,
            `precision`, `threads` ...).

    Raises:
        InputError: no such video, a setting that is unknown or that the engine does not have, maps
            of a network that has none.
    """
    require_devices(devices, decode_threads)
    require_integer('batch_size', batch_size, 1)
    require_one_of('aggregation', aggregation, AGGREGATIONS)
    is_dense = clips == DENSE
    if isinstance(clips, str) and not is_dense:
        raise InputError(f'clips is {clips}; a number, or {DENSE}')
    if stride is not None and not is_dense:
        raise InputError(f'stride is for clips={DENSE}; {clips} clips are spread over the video')
    if is_dense and 'decode_type' in settings:
        raise InputError(f'decode_type is not for clips={DENSE}, which says which clips')
    how = {'decode_type': 'frame', 'clips': 1} if is_dense else {'clips': clips}
    of_clips, engine_settings = split_settings(
        model, {**settings, **how}, words_of(stream_predictions)
    )
    batch = batch_size * len(devices.ids) * (UNIFORM_CLIPS if is_dense else 1)
    mapper = ActivationMaps(model.network, model.onnx or model.parameters) if maps else None
    chosen = PredictionSettings(batch, top_k, aggregation, model.class_names, mapper)
    paths = _found(videos)
    step = Stride(of_clips.required) if stride is None else stride_of(stride)
    ahead: dict[str, Any] = {'threads': decode_threads, 'ahead': batch}
    source: Union[VideoFiles, WholeVideos] = (
        VideoFiles(paths, of_clips, step, **ahead)
        if is_dense
        else WholeVideos(paths, of_clips, **ahead)
    )
    outputs = [model.network.prediction, *([mapper.blob] if mapper else [])]
    return _predicted(model, source, engine_settings, devices, outputs, chosen)


def evaluate(
    model: Model,
    database: AnyPath,
    *,
    use_local_file: bool = False,
    overwrite: bool = False,
    batch_size: int = 6,
    limit: Optional[int] = None,
    devices: Devices = Devices(),  # noqa: B008 - frozen
    decode_threads: int = 4,
    **settings: Any,
) -> Result:
    """Score every record of a database; `str(result.score)` is what the tool prints.

    With an `output`, a run that was interrupted continues.

    Args:
        database: the folder of an LMDB.
        use_local_file: it holds paths of videos, not videos.
        overwrite: begin again, whatever an interrupted run with the same output left.
        batch_size: videos that a device gets at a time.
        limit: records that are scored, the first ones; None is all.
        devices, decode_threads: as in `predict`.
        settings: fields of EvaluationSettings (`output`, `top_k`, `aggregation` ...; `failures` is
            beside the output if left out), of ClipSettings and of EngineSettings.

    Raises:
        InputError: not a database, a setting that is unknown, an interrupted run of other settings.
    """
    require_devices(devices, decode_threads)
    words = words_of(evaluate)
    own = {field.name for field in dataclasses.fields(EvaluationSettings)} - words
    chosen = {name: settings.pop(name) for name in own & set(settings)}
    chosen = {
        k: pathlib.Path(v) if k in ('output', 'failures') and v else v for k, v in chosen.items()
    }
    chosen.setdefault('class_names', model.class_names)
    if chosen['class_names'] is not None:
        labels = model.network.num_labels
        chosen['class_names'] = classes_of(chosen['class_names'], labels)
    if chosen.get('output'):
        chosen.setdefault('failures', chosen['output'].with_name('failures.csv'))
    clips, engine_settings = split_settings(model, settings, words | own)
    batch = batch_size * len(devices.ids)
    needs = RecordNeeds(model.network.num_labels, use_local_file, model.network.multi_label)
    reader = DatabaseSource(
        pathlib.Path(database), clips, needs, threads=decode_threads, ahead=batch, limit=limit
    )
    places = EvaluationSettings(batch_size=batch, **chosen)
    with (
        holding(places.output),
        holding_failures(places.failures),
        reader,
        opened(model, engine_settings, devices, [model.network.prediction]) as engine,
        contextlib.ExitStack() as stack,
    ):
        journal = None
        if places.output:
            of_run = decisive(
                model, clips, engine_settings, test_data=reader.identity, records=limit,
                use_local_file=use_local_file, batch_size=batch, aggregation=places.aggregation,
                gpus=str(devices), engine=engine.name,
            )  # fmt: skip
            journal = stack.enter_context(ScoreJournal(places.output, of_run, overwrite=overwrite))
        return evaluate_source(reader, engine, places, journal=journal)


def extract(
    model: Model,
    source: Union[AnyPath, Sequence[AnyPath]],
    output: AnyPath,
    *,
    features: Union[str, Iterable[str]] = 'final_avg',
    stride: Union[Stride, int, str, None] = None,
    use_local_file: bool = False,
    overwrite: bool = False,
    batch_size: int = 32,
    limit: Optional[int] = None,
    devices: Devices = Devices(),  # noqa: B008 - frozen
    decode_threads: int = 4,
    **settings: Any,
) -> Totals:
    """Write blobs of every clip; a run that was interrupted continues.

    Args:
        source: the folder of an LMDB of clips, or video files, folders and .txt lists.
        output: a pickle to write, or a folder of .npy files if the name has no suffix.
        features: names of blobs, or one text with commas between them.
        stride: between the clips of a video file; they follow each other if left out.
        use_local_file: the database holds paths of videos, not videos.
        overwrite: begin again, and replace what is there.
        limit: records that are used, the first ones; None is all.
        batch_size, devices, decode_threads: as in `predict`; a batch is of clips.
        settings: fields of ClipSettings (`decode_type` is `start` for a database if left out) and
            of EngineSettings.

    Raises:
        InputError: no such source, blob or setting; an output that was made otherwise.
    """
    places = paths_of(source)
    is_database = isinstance(source, (str, os.PathLike)) and (places[0] / DATA_FILE).exists()
    settings = {'decode_type': 'start' if is_database else 'frame', 'clips': 1, **settings}
    clips, engine_settings = split_settings(model, settings, words_of(extract))
    require_devices(devices, decode_threads)
    names = jobs.feature_names(features if isinstance(features, str) else ','.join(features))
    step = extraction_stride(is_database, clips, names, stride, use_local_file)
    target = pathlib.Path(output)
    sizes = ExtractionSettings(batch_size * len(devices.ids), threads=decode_threads)
    job = jobs.FeatureJob(
        model.network, names, FeatureOutput(target, is_folder=not target.suffix), sizes,
        devices=devices, overwrite=overwrite, class_names=model.class_names,
    )  # fmt: skip
    needs = RecordNeeds(model.network.num_labels, use_local_file, model.network.multi_label)
    where = places[0] if is_database else places
    with (
        opened(model, engine_settings, devices, jobs.network_blobs(names)) as engine,
        jobs.open_source(
            where, clips, needs, features=names, stride=step, limit=limit, threads=decode_threads
        ) as clips_of,
    ):
        options = {**kept_settings(settings), 'limit': limit, 'stride': step and str(step)}
        arguments = jobs.arguments_of(job, clips_of, engine, {**model.card, **options})
        if engine:
            arguments.update(engine=engine.name, weights=model.fingerprint)
        return jobs.extract_features(job, clips_of, engine, arguments).totals


def _predicted(
    model: Model,
    source: Union[VideoFiles, WholeVideos],
    engine_settings: EngineSettings,
    devices: Devices,
    outputs: Sequence[str],
    settings: PredictionSettings,
) -> Iterator[Prediction]:
    with opened(model, engine_settings, devices, outputs) as engine:
        yield from predict_videos(source, engine, settings)


def _found(videos: Union[AnyPath, Sequence[AnyPath]]) -> list[pathlib.Path]:
    return videos if isinstance(videos, FoundVideos) else find_videos(paths_of(videos))
