"""Videos whose frames carry their number, databases of them, and the golden arrays."""

import contextlib
import fcntl
import io
import json
import os
import pathlib
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest

import system_programs
from r2plus1d.backends.caffe2.processor import use_avx2
from r2plus1d.cli import signals
from r2plus1d.datasets.database_writer import DatabaseWriter
from r2plus1d.datasets.record import Record
from r2plus1d.errors import InputError
from r2plus1d.video.encode import write_video
from tool_here import run_here

# Threads of a framework that wait for each other leave the cores to the tests beside them.
os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')
use_avx2()  # for the tests that run Caffe2's nets themselves

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


def pytest_configure(config):
    """Let the programs that tests start be ended by signals.

    What runs in the background or behind nohup ignores some, and so do all that it starts. What a
    process handles itself is as by default in those that it starts.
    """
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
            signal.signal(signal.SIGHUP, lambda number, frame: None)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    """Leave no handler of a signal to the next test: Ray sets one that ends the process."""
    before = {number: signal.getsignal(number) for number in signals.WORDS}
    result = yield
    if threading.current_thread() is threading.main_thread():
        for number, handler in before.items():
            signal.signal(number, handler)
    return result


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


@pytest.fixture
def database(make_database, make_video):
    """Six short videos of five classes, to train on; modules that need others make their own."""
    return make_database([(make_video(14 + i).read_bytes(), i % 5) for i in range(6)])


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


def write_narrow(path, frames):
    """Write frames of one pixel's width, at which swscale crashes; FFmpeg 8 does not make them."""
    try:
        write_video(path, frames, fps=25, codec='ffv1', pixel_format='yuv444p')
    except InputError as error:
        pytest.skip(str(error))


class DecodersHere:
    """Stands in for video.decoders.DECODERS, so that what a test changes is what decodes."""

    def prepare(self):
        """No process is needed."""

    def call(self, budget, function, *args, **keywords):
        return function(*args, **keywords)

    def stream(self, budget, function, *args):
        yield from function(*args)

    def ending_calls(self, threads):
        return contextlib.nullcontext()


@pytest.fixture
def replace_decoders(monkeypatch):
    """Return a function that puts something in the place of video.decoders.DECODERS."""

    def replace(others):
        for name, module in list(sys.modules.items()):
            if name.startswith('r2plus1d.') and hasattr(module, 'DECODERS'):
                monkeypatch.setattr(module, 'DECODERS', others)

    return replace


@pytest.fixture
def decode_here(replace_decoders):
    """Decode in the process of the test."""
    replace_decoders(DecodersHere())


@pytest.fixture(scope='session')
def sample_videos(tmp_path_factory):
    """Folder of the bundled sample's test videos; tests that add something to it copy it.

    The processes that share the tests make it once.
    """
    base = tmp_path_factory.getbasetemp()
    base = base.parent if 'PYTEST_XDIST_WORKER' in os.environ else base
    folder = base / 'sample_videos'
    with (base / 'sample_videos.lock').open('w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / 'test_list.csv').exists():  # it is written last
            command = [sys.executable, ROOT / 'data' / 'create_sample.py', f'--output={folder}']
            subprocess.run(command, check=True, capture_output=True)
    return folder


@pytest.fixture(scope='session')
def torch_bf16():
    """Skips the test where PyTorch has no bfloat16 on this processor."""
    from r2plus1d.backends.pytorch import device

    if not device.cpu_has_bf16():
        pytest.skip('a processor without bfloat16')


@pytest.fixture
def run_tool(tmp_path):
    """Return a function that runs a tool in `tmp_path`, in this process; gives its Result."""

    def run(tool, *arguments, cwd=tmp_path):
        return run_here(tool, *arguments, cwd=cwd)

    return run


@pytest.fixture
def start_tool(tmp_path):
    """Return a function that runs a tool as `run_tool` does, but in a process of its own.

    It is for what only a process has: its environment, its limits, and what it prints at the end.
    """

    def run(tool, *arguments, **options):
        command = [sys.executable, str(ROOT / tool), *map(str, arguments)]
        return subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False,
            **options,
        )  # fmt: skip

    return run
