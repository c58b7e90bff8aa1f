"""Activation maps: their mean is the logit, and they point at what moves."""

import dataclasses
import re

import numpy as np
import pytest

import r2plus1d
from conftest import ROOT
from r2plus1d.backends.choose import EngineSettings, open_engine
from r2plus1d.datasets import synthetic
from r2plus1d.devices import Devices
from r2plus1d.errors import InputError
from r2plus1d.networks.initial import random_parameters
from r2plus1d.networks.input import Input
from r2plus1d.networks.network import Network
from r2plus1d.pictures.activation_maps import ActivationMaps, spread
from r2plus1d.pictures.tracks import Heat, Tracks
from r2plus1d.video.encode import write_video
from tool_here import run_here

SAMPLE = ROOT / 'data' / 'sample'
WEIGHTS = {'rgb': 'r2plus1d_18_8_w0.125.pkl', 'flow': 'r2plus1d_18_8_w0.125_of.pkl'}
SIZE, NUM_FRAMES = (342, 256), 32
SMALL = Network(depth=10, clip_length=16, width=0.0625, num_labels=7)


@pytest.mark.parametrize(
    'changes',
    [
        {},
        {'multi_label': True},
        {'architecture': 'r2d'},
        {'architecture': 'r2df', 'use_dropout': True},
        {'architecture': 'mc3', 'crop_size': 224, 'clip_length': 8},
    ],
)
def test_the_mean_of_a_map_is_the_logit(changes):
    network = dataclasses.replace(SMALL, **changes)
    parameters = random_parameters(network, seed=3)
    rng = np.random.default_rng(0)
    for name in ('last_out_L7_b', 'pred_logit_w', 'pred_logit_b'):
        if name in parameters:
            parameters[name] = rng.normal(size=7).astype(np.float32)
    maker = ActivationMaps(network, parameters)
    last = 'pred_logit' if network.multi_label else network.logits
    clips = rng.integers(0, 256, (2, *network.data_shape), np.uint8)
    outputs = [last, maker.blob, 'final_avg']
    with open_engine(
        network, devices=Devices(), outputs=outputs, settings=EngineSettings()
    ) as engine:
        engine.load(parameters)
        found = engine.run(clips)
    maps = maker.maps(found[maker.blob], [6, 0, 3])
    assert list(maps) == [6, 0, 3]
    assert np.ptp(found[last]) > 1e-3
    for label, cells in maps.items():
        assert cells.shape == (2, *found[maker.blob].shape[2:])
        assert np.ptp(cells) > 0
        np.testing.assert_allclose(
            cells.mean(axis=(1, 2, 3)), found[last][:, label], rtol=1e-3, atol=1e-4
        )


def test_networks_and_weights_without_maps():
    network = Network('c3d', clip_length=16, num_labels=7, width=0.02)
    with pytest.raises(InputError, match='c3d_18_16_w0.02 has no activation maps: its last layer'):
        ActivationMaps(network, {})
    with pytest.raises(InputError, match='need last_out_L7_w in float32, .* a .pkl or .mdl file'):
        ActivationMaps(SMALL, {'last_out_L7_w': np.zeros((7, 32), np.int8)})


def test_a_map_lies_where_the_crop_is():
    given = Input(length=8)
    cells = np.zeros((1, 7, 7), np.float32)
    cells[0, 0, 6] = 1  # top right
    heat = spread(cells, given, (171, 128))
    assert heat.shape == (128, 171)
    rows, columns = (np.flatnonzero(heat.any(axis=axis)) for axis in (1, 0))
    assert (rows[0], columns[-1]) == (8, 29 + 111)  # the crop of 112 x 112 begins at (8, 29)
    assert rows[-1] < 8 + 2 * 16
    assert columns[0] > 29 + 112 - 2 * 16
    larger = spread(cells, given, (342, 256))
    assert larger.shape == (256, 342)
    assert np.flatnonzero(larger.any(axis=0))[-1] == pytest.approx(2 * 140, abs=3)


def test_crops_that_overlap_are_averaged():
    given = Input(length=8)
    cells = np.stack([np.full((7, 7), value, np.float32) for value in (1, 2, 3)])
    heat = spread(cells, given, (171, 128))[64]
    edges = [0, 29, 59, 112, 141, 171]  # crops begin at columns 0, 29 and 59
    values = [1, 1.5, 2, 2.5, 3]
    for begin, end, value in zip(edges, edges[1:], values):
        np.testing.assert_allclose(heat[begin:end], value)


def test_each_moment_has_its_slice():
    maps = {1: np.arange(4, dtype=np.float32).reshape(1, 4, 1, 1).repeat(7, 2).repeat(7, 3)}
    clip = r2plus1d.ClipPrediction(10, (None, None), (), np.ones(2, np.float32), maps=maps)
    prediction = r2plus1d.Prediction('a', ((1, 1.0),), np.ones(2), None, (clip,))
    given = Input(length=8, rate=2)
    heat = Heat(prediction, 1, given, Tracks(prediction, [1], required=15))
    shown = [heat.at(i, (128, 171, 3))[64, 85] for i in (0, 10, 13, 14, 18, 25, 100)]
    np.testing.assert_allclose(shown, [0, 0, 0, 1 / 3, 2 / 3, 1, 1], atol=1e-6)
    other = Heat(prediction, 0, given, Tracks(prediction, [0], required=15))
    assert not other.at(12, (128, 171, 3)).any()


@pytest.fixture(scope='module')
def moving(tmp_path_factory):
    """{path of a video: (class, Scene)} of objects that move."""
    folder, found = tmp_path_factory.mktemp('moving'), {}
    for number, label in enumerate(synthetic.CLASSES):
        rng = np.random.default_rng([7, number])
        scene = synthetic.make_scene(label, rng, size=SIZE, num_frames=NUM_FRAMES)
        path = folder / f'{label}.mp4'
        write_video(path, synthetic.render(scene), fps=25)
        found[str(path)] = (label, scene)
    return found


def place_of(state):
    """The box of the object in a frame, as bool (height, width)."""
    x, y, _, diameter = synthetic.pose(state, SIZE)
    rows, columns = np.mgrid[: SIZE[1], : SIZE[0]]
    return (abs(rows - y) <= diameter / 2) & (abs(columns - x) <= diameter / 2)


@pytest.mark.parametrize('kind', WEIGHTS)
def test_maps_point_at_the_moving_object(moving, kind):
    model = r2plus1d.load(SAMPLE / WEIGHTS[kind])
    seen = spread(np.ones((1, 7, 7), np.float32), model.input, SIZE) > 0.5
    shares, chances, peaks = [], [], []
    for prediction in r2plus1d.predict(model, list(moving), clips='dense', maps=True, top_k=1):
        label, scene = moving[prediction.path]
        assert prediction.classes[0][0] == label
        number = model.class_names.index(label)
        tracks = Tracks(prediction, [number], model.input.length)
        heat = Heat(prediction, number, model.input, tracks)
        last = prediction.clips[-1].start_frame + 8
        for index in range(0, last, 4):
            values, box = heat.at(index, SIZE[::-1]), place_of(scene.path[index])
            if values.any():
                shares.append(values[box].sum() / values.sum())
                chances.append((box & seen).sum() / seen.sum())
                peaks.append(box.flat[values.argmax()])
    assert len(shares) > 40
    # On the 40 test videos of the bundled sample: 0.6 of the map in 0.28 of the frame
    assert np.mean(shares) > 1.5 * np.mean(chances)
    assert np.mean(peaks) > 0.75


def test_only_what_was_asked_for_has_maps(moving):
    model = r2plus1d.load(SAMPLE / WEIGHTS['rgb'])
    path = next(iter(moving))
    (plain,) = r2plus1d.predict(model, path, clips=2, top_k=3)
    (mapped,) = r2plus1d.predict(model, path, clips=2, top_k=3, maps=True, crops=3)
    assert [clip.maps for clip in plain.clips] == [{}, {}]
    for clip in mapped.clips:
        named = {model.class_names[label] for label in clip.maps}
        assert named == {name for name, _ in clip.classes}
        assert {cells.shape for cells in clip.maps.values()} == {(3, 1, 7, 7)}


def test_an_onnx_file_gives_the_same_maps_if_it_gives_the_blob(moving, run_tool, tmp_path):
    pytest.importorskip('onnx')
    path = next(iter(moving))
    (expected,) = r2plus1d.predict(r2plus1d.load(SAMPLE / WEIGHTS['rgb']), path, clips=1, maps=True)
    for name, blobs in (('with', 'softmax,last_out_L8,comp_7_sum_2'), ('without', 'softmax')):
        done = run_tool(
            'tools/export_onnx.py', f'--load_model_path={SAMPLE / WEIGHTS["rgb"]}',
            f'--output={name}.onnx', f'--features={blobs}',
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    (found,) = r2plus1d.predict(r2plus1d.load(tmp_path / 'with.onnx'), path, clips=1, maps=True)
    for label, cells in expected.clips[0].maps.items():
        np.testing.assert_allclose(found.clips[0].maps[label], cells, atol=1e-4)
    with pytest.raises(InputError, match='without.onnx gives softmax, not comp_7_sum_2'):
        r2plus1d.predict(r2plus1d.load(tmp_path / 'without.onnx'), path, clips=1, maps=True)


def test_what_the_benchmark_prints(sample_videos):
    video = sample_videos / 'videos' / 'test' / 'left_000.mp4'
    done = run_here('benchmarks/activation_maps.py', f'--videos={video}')
    found = re.findall(r'^(\S+): (0\.\d) of .* (0\.\d) of .*$', done.stdout, re.MULTILINE)
    assert [weights for weights, *_ in found] == [*WEIGHTS.values()], done.stderr
    assert all(inside > crop for _, inside, crop in found), 'the maps point elsewhere'


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        ('holiday.mp4', r'holiday\.mp4 is no video of the sample, such as left_000\.mp4 is'),
        ('left_000.mp4', r'left_000\.mp4: '),
    ],
)
def test_the_benchmark_names_what_it_cannot_use(make_video, tmp_path, name, message):
    path = tmp_path / name
    path.write_bytes(make_video(30).read_bytes() if name == 'holiday.mp4' else b'damaged')
    done = run_here('benchmarks/activation_maps.py', f'--videos={path}')
    assert (done.returncode, done.stdout) == (1, '')
    assert re.search(f'^activation_maps.py: .*{message}', done.stderr, re.MULTILINE)
    assert 'Traceback' not in done.stderr
