"""One extraction: from what was asked for, or what an earlier run left, to complete files."""

import contextlib
import dataclasses
import logging
import math
import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Optional, Union

from r2plus1d.datasets.video_files import find_videos
from r2plus1d.devices import Devices
from r2plus1d.errors import InputError
from r2plus1d.features.extract import INPUTS, ExtractionSettings, blob_shapes, columns, extract
from r2plus1d.features.npy_rows import Column
from r2plus1d.features.publish import Classes, FeatureOutput, Totals
from r2plus1d.features.store import Store
from r2plus1d.networks.network import Network
from r2plus1d.results.arguments import of_options
from r2plus1d.sources.database_source import DatabaseSource
from r2plus1d.sources.file_source import Stride, VideoFiles
from r2plus1d.sources.part import SourcePart
from r2plus1d.sources.sample import RecordNeeds
from r2plus1d.video.clip import Work
from r2plus1d.video.clip_settings import ClipSettings

log = logging.getLogger(__name__)

Source = Union[DatabaseSource, VideoFiles]

# These decide nothing in the output; the rest has to be the same for a run to be continued. What
# the paths of the clips and the weights lead to is compared instead of the paths.
FREE = {
    'output_path', 'overwrite', 'if_different', 'stats', 'max_failures', 'display_iter',
    'num_decode_threads', 'list_blobs', 'describe', 'load_model_path', 'test_data', 'videos',
    'given', 'engine', 'engine_cache', 'max_decode_seconds', 'max_decode_memory_mb',
    'max_packet_mb', 'max_pixels', 'max_frame_pixels', 'shard', 'merge', 'copy_database',
    'ray', 'ray_shards', 'ray_cores',
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class FeatureJob:
    """What is extracted, and where to.

    Attributes:
        network: Network whose blobs are asked for.
        features: blobs, in order; see extract.columns.
        output: FeatureOutput.
        settings: ExtractionSettings.
        devices: Devices that the engine is on.
        overwrite: begin again, and replace what is there.
        replace_different: the same, if what is there was made with other arguments.
        class_names: num_labels texts, for the best class of each clip; None for its number.

    Raises:
        InputError: the network has no such blob, or sanity_check lacks what it compares.
    """

    network: Network
    features: Sequence[str]
    output: FeatureOutput
    settings: ExtractionSettings
    devices: Devices = Devices()
    overwrite: bool = False
    replace_different: bool = False
    class_names: Optional[Sequence[str]] = None

    def __post_init__(self) -> None:
        columns(self.network, self.features)
        if self.settings.sanity_check and not {'softmax', 'label'} <= set(self.features):
            raise InputError(
                'sanity_check=1 needs softmax and label among features, which is '
                f'{",".join(self.features)}'
            )

    @property
    def columns(self) -> dict[str, Column]:
        """{blob: Column} of the features."""
        return columns(self.network, self.features)


class Extracted(NamedTuple):
    """What an extraction gave.

    Attributes:
        totals: Totals of the output.
        work: Work of decoding; None if the output was complete before.
    """

    totals: Totals
    work: Optional[Work]


def extract_features(
    job: FeatureJob, source: Source, engine: Any, arguments: Mapping[str, Any]
) -> Extracted:
    """Make the output of `job`, or find it complete.

    Args:
        source: the clips.
        engine: with its weights; None if no feature is the network's.
        arguments: of `arguments_of`; an output of others is refused, unless `job` replaces it.

    Raises:
        InputError: there is an output of other arguments, another process is making it, or no
            record can be used.
    """
    before = extracted_before(job, len(source) * source.settings.rows, arguments)
    if before:
        return before
    with open_store(job, source, engine, arguments, job.output.partial) as store:
        work = fill_store(job, source, engine, store)
        return finish(job, store, arguments, work)


def finish(
    job: FeatureJob, store: Store, arguments: Mapping[str, Any], work: Optional[Work]
) -> Extracted:
    """Write the output from a full store."""
    classes = Classes(job.network.prediction, job.class_names)
    return Extracted(job.output.finish(store, arguments, classes), work)


def extracted_before(
    job: FeatureJob, rows: int, arguments: Mapping[str, Any]
) -> Optional[Extracted]:
    """Return what an output that is complete has, None if it is to be made.

    Args:
        rows: of all records.

    Raises:
        InputError: as extract_features.
    """
    output = job.output
    output.check(job.columns, rows)
    replace = job.overwrite or job.replace_different and output.differs(arguments)
    totals = output.finished(arguments, overwrite=replace)
    if not totals:
        return None
    log.info('%s is complete already; --overwrite=1 begins again', output.path)
    return Extracted(totals, None)


def open_store(
    job: FeatureJob,
    source: Union[Source, SourcePart],
    engine: Any,
    arguments: Mapping[str, Any],
    folder: pathlib.Path,
    *,
    batch: Optional[int] = None,
) -> Store:
    """Return the Store in `folder` of the records of `source`.

    Args:
        batch: records that can change each other's bits; that of the engine if left out.
    """
    store = Store(
        folder,
        job.columns,
        num_records=len(source),
        rows=source.settings.rows,
        batch=batch or _records_together(job, engine),
        arguments=arguments,
    )
    if store.done:
        log.info('%s: %d of %d records are done', store.folder, store.done, len(source))
    return store


def _records_together(job, engine):
    """How many records can change each other's bits; arguments.differing knows the same.

    On a CPU every engine computes a clip alone. PyTorch's replicas may have different numbers of
    threads, which its sums depend on, so there the bits depend on the replica that has the clip.
    """
    several = len(job.devices.ids) > 1
    alone = job.devices.kind == 'cpu' and not (several and engine and engine.name == 'torch')
    return 1 if alone else job.settings.batch_size


def fill_store(
    job: FeatureJob, source: Union[Source, SourcePart], engine: Any, store: Store
) -> Work:
    """Fill a store; an interruption says how to go on. Return the Work of decoding."""
    if engine:
        log.info('%s, %s in %s', engine.network.name, engine.name, engine.precision)
    try:
        return extract(source, engine, store, job.settings)
    except KeyboardInterrupt:
        log.info(
            '%d of %d records are in %s; the same command %s',
            store.done, len(source), store.folder,
            'begins again' if job.overwrite else 'continues',
        )  # fmt: skip
        raise


def feature_names(text: str, *, start_frame: bool = False) -> list[str]:
    """Return the names between commas in `text`, and `start_frame` too if it is asked for."""
    features = [name.strip() for name in text.split(',') if name.strip()]
    if start_frame and 'start_frame' not in features:
        features.append('start_frame')
    return features


def network_blobs(features: Iterable[str]) -> list[str]:
    """Return those of the blobs that the network makes."""
    return [name for name in features if name not in INPUTS]


def describe_blobs(network: Network, given: Optional[Iterable[str]] = None) -> Iterator[str]:
    """Yield lines: the blobs that can be asked for, their shapes and sizes.

    Args:
        given: the network's blobs that its file gives; None is all.
    """
    yield f'{"blob":<32} {"of a clip":>18} {"numbers":>10}'
    for name, shape in blob_shapes(network).items():
        if given is None or name in INPUTS or name in given:
            yield f'{name:<32} {"x".join(map(str, shape)) or "-":>18} {math.prod(shape):>10}'


@contextlib.contextmanager
def open_source(
    places: Union[pathlib.Path, Sequence[pathlib.Path]],
    clips: ClipSettings,
    needs: RecordNeeds,
    *,
    features: Sequence[str],
    sanity_check: bool = False,
    stride: Optional[Stride] = None,
    limit: Optional[int] = None,
    threads: int = 4,
    kept: Optional[pathlib.Path] = None,
) -> Iterator[Source]:
    """Give the source of an extraction's clips.

    Args:
        places: the path of a database, or a list of video files, folders and lists.
        clips: ClipSettings, with decode_type `frame` for video files.
        needs: of the records of a database; what `features` asks for is added.
        stride: between the clips of a video file; they follow each other if left out.
        limit: use the first records only; None is all.
        threads: files looked at at the same time.
        kept: a folder that keeps what is seen of all records or files for other runs; see
            sources.kept.

    Raises:
        InputError: no such database or files, or features that these have not.
    """
    if isinstance(places, pathlib.Path):
        needs = _needs_of(needs, features, sanity_check)
        seen = kept and kept / 'seen.npz'
        with DatabaseSource(places, clips, needs, by_video=True, limit=limit, kept=seen) as source:
            yield source
    else:
        step = stride or Stride(frames=clips.required)
        seen = kept and kept / 'seen.jsonl'
        yield VideoFiles(find_videos(places), clips, step, threads=threads, limit=limit, kept=seen)


def _needs_of(needs, features, sanity_check):
    if 'video_id' in features:
        needs = dataclasses.replace(needs, video_id=True)
    if not sanity_check and not needs.multi_label:
        needs = dataclasses.replace(needs, num_labels=None)  # other classes than the weights'
    return needs


def arguments_of(
    job: FeatureJob,
    source: Source,
    engine: Any,
    options: Mapping[str, Any],
    *,
    weights: Optional[str] = None,
) -> dict[str, Any]:
    """Return all that decides what the output becomes, as plain data.

    Args:
        options: every setting by its name; those that decide nothing are left out.
        weights: fingerprint of what the engine has loaded, see weights.stored.
    """
    arguments = of_options(options, free=FREE)
    arguments.update(features=','.join(job.features), gpus=str(job.devices))
    arguments['videos' if isinstance(source, VideoFiles) else 'test_data'] = source.identity
    if weights and network_blobs(job.features):
        arguments['load_model_path'] = weights
    if engine:
        arguments['engine'] = engine.name
    return arguments
