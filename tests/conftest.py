"""Videos whose frames carry their number, databases of them, and the golden arrays."""

import io
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

import system_programs
from r2plus1d.datasets.database_writer import DatabaseWriter
from r2plus1d.datasets.record import Record
from r2plus1d.video.encode import write_video

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / 'tools'))  # a tool that a test loads finds _start, as a program does
GOLDEN = ROOT.parent / 'shared' / 'golden'

NUMBER_BITS = 9
FIRST_BAND, BAND = 0.15, 0.07  # of the height; within the central 112 of 128 rows
CODECS = {
    'mp4': 'libx264',
    'mkv': 'libx264',
    'avi': 'mpeg4',
    'mov': 'libx264',
    'webm': 'libvpx-vp9',
}


def pytest_sessionstart(session):
    session.config.programs = system_programs.states(system_programs.folders())


@pytest.hookimpl(wrapper=True)
def pytest_sessionfinish(session):
    result = yield
    after = system_programs.states(system_programs.folders())
    changed = system_programs.changed(session.config.programs, after)
    if changed:
        pytest.exit(f'the tests changed {", ".join(changed)}', pytest.ExitCode.INTERNAL_ERROR)
    return result


@pytest.fixture(scope='session')
def golden():
    """The folder of arrays from a real Caffe2, where the checkout has it beside it."""
    if not GOLDEN.is_dir():
        pytest.skip(f'no golden arrays at {GOLDEN}')
    return GOLDEN


def golden_cases(input_type):
    """The golden VideoInput cases of an input type, none where there are no golden arrays."""
    path = GOLDEN / 'video_input' / 'cases.json'
    cases = json.loads(path.read_text()) if path.is_file() else []
    return [case for case in cases if case['args']['input_type'] == input_type]


def numbered_frames(count, width=160, height=120, seed=0):
    """Frames that show their number as black and white bands, over a textured ground."""
    rng = np.random.default_rng(seed)
    ground = rng.integers(90, 160, (height // 8 + 1, width // 8 + 1, 3)).repeat(8, 0).repeat(8, 1)
    for number in range(count):
        frame = np.roll(ground, 2 * number, axis=1)[:height, :width].astype(np.uint8)
        for bit in range(NUMBER_BITS):
            top, bottom = (round((FIRST_BAND + BAND * (bit + i)) * height) for i in (0, 1))
            frame[top:bottom, width // 4 : -width // 4] = 255 * (number >> bit & 1)
        yield frame


def number_of(picture, *, scaled_height=None):
    """The number that a frame shows; `picture` is H x W x 3, the centre of `scaled_height` rows."""
    height, width = picture.shape[:2]
    scaled_height = scaled_height or height
    cut = (scaled_height - height) // 2
    number = 0
    for bit in range(NUMBER_BITS):
        row = round((FIRST_BAND + BAND * (bit + 0.5)) * scaled_height) - cut
        number |= int(picture[row, width // 2].mean() > 127) << bit
    return number


@pytest.fixture(scope='session')
def make_video(tmp_path_factory):
    """Return a function that makes a numbered video, once for each set of arguments."""
    folder, made = tmp_path_factory.mktemp('videos'), {}

    def make(count=40, suffix='mp4', *, width=160, height=120, fps=25, seed=0, **options):
        key = (count, suffix, width, height, fps, seed, tuple(sorted(options.items())))
        if key not in made:
            path = folder / f'{len(made)}.{suffix}'
            frames = numbered_frames(count, width, height, seed)
            write_video(path, frames, fps=fps, codec=CODECS[suffix], options=options)
            made[key] = path
        return made[key]

    return make


@pytest.fixture
def make_database(tmp_path):
    """Return a function from records (video or path, label[, start[, id]]) to a database."""

    def make(records, name='database'):
        path = tmp_path / name
        with DatabaseWriter(path, len(records)) as writer:
            for video, label, *rest in records:
                video = video if isinstance(video, bytes) else os.fsencode(video)
                labels = tuple(label) if isinstance(label, (tuple, list)) else (label,)
                writer.add(Record(video, labels, *rest))
        return path

    return make


@pytest.fixture(scope='session')
def audio_only():
    """Bytes of a sound file."""
    import wave

    sound = io.BytesIO()
    with wave.open(sound, 'wb') as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(16000))
    return sound.getvalue()


@pytest.fixture
def run_tool(tmp_path):
    """Return a function that runs a tool as a user does; gives the CompletedProcess."""

    def run(tool, *arguments, cwd=tmp_path, **options):
        command = [sys.executable, str(ROOT / tool), *map(str, arguments)]
        return subprocess.run(
            command, cwd=cwd, capture_output=True, text=True, timeout=300, check=False, **options
        )

    return run
