"""The videos that throughput.py measures on, and databases of them or of their dense clips."""

import logging

import numpy as np
from throughput_settings import clip_settings

from r2plus1d.datasets import synthetic
from r2plus1d.datasets.database_writer import DatabaseWriter
from r2plus1d.datasets.dense_list import clip_starts
from r2plus1d.datasets.record import Record
from r2plus1d.errors import InputError, RecordError
from r2plus1d.video.encode import write_video
from r2plus1d.video.read_clips import read_clips

SECONDS, FPS, SIZE = 10, 30, (340, 256)
LABEL = (0,)

log = logging.getLogger(__name__)


class Videos:
    """The same videos at every Step, in databases that are made when they are first asked for.

    Args:
        args: parsed options.
        steps: throughput_settings.Steps, all of whose clips the videos have to give.
        folder: where videos and databases are put.

    Raises:
        InputError: no video gives such clips.
    """

    def __init__(self, args, steps, folder):
        self._folder, self._made = folder, {}
        longest = max((clip_settings(step.args) for step in steps), key=frames_needed)
        needed = frames_needed(longest)
        if args.clips_of:
            self.paths = usable(args.clips_of, longest)
        elif needed > SECONDS * FPS:
            raise InputError(f'a clip needs {needed} frames; generated videos have {SECONDS * FPS}')
        else:
            self.paths = generate(folder, args.videos)

    def database(self, args):
        """The LMDB of the videos, or of the dense clips that parsed options ask for."""
        key = (clip_settings(args).required, args.stride) if args.dense else ()
        if key not in self._made:
            path = self._folder / '_'.join(map(str, ('lmdb', *key)))
            records = [lambda path=path: whole(path) for path in self.paths]
            if args.dense:
                records = dense(self.paths, *key)
            with DatabaseWriter(path, len(records)) as writer:
                for record in records:
                    writer.add(record())
            self._made[key] = path
        return self._made[key]


def whole(path):
    return Record(path.read_bytes(), LABEL)


def dense(paths, required, stride):
    """Functions that give the Record of each clip, those of a video far apart."""
    starts = clip_starts(num_frames=SECONDS * FPS, required=required, stride=stride)
    return [
        lambda path=path, start=start, number=number: Record(
            str(path).encode(), LABEL, start, number
        )
        for start in starts
        for number, path in enumerate(paths)
    ]


def generate(folder, count):
    """Write so many videos; return their paths."""
    paths = []
    for number in range(count):
        label = synthetic.CLASSES[number % len(synthetic.CLASSES)]
        rng = np.random.default_rng(number)
        scene = synthetic.make_scene(label, rng, size=SIZE, num_frames=SECONDS * FPS)
        paths.append(folder / f'{number}.mp4')
        write_video(paths[-1], synthetic.render(scene), fps=FPS, options={'crf': 20})
    return paths


def frames_needed(settings):
    return settings.required + max(settings.clip_starts, default=0)


def usable(folder, settings):
    """The paths in a folder that give clips; the others are named on stderr, with the reason."""
    if not folder.is_dir():
        raise InputError(f'clips_of is {folder}, which is not a folder')
    paths = []
    for path in sorted(folder.iterdir()):
        reason = failure(path, settings)
        if reason:
            log.warning('%s is left out: %s', path, reason)
        else:
            paths.append(path)
    if not paths:
        raise InputError(f'clips_of is {folder}, in which no file gives the clips that are asked')
    return paths


def failure(path, settings):
    """Why a file does not give the clips, or None."""
    if not path.is_file():
        return 'not a file'
    try:
        clips = read_clips(path.read_bytes(), settings)
    except RecordError as error:
        return error.reason
    except OSError as error:
        return error.strerror
    broken = clips.num_undecodable
    return f'damaged: packets that do not decode: {broken}' if broken else None
