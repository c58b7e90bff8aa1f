"""How much of the activation maps lies where the bundled sample has its object.

    .venv/bin/python benchmarks/activation_maps.py

The sample knows the pose of its object in each frame. A line for each network says which share of
the maps lies in the box around it, and which share of the crop that box is.
"""

import pathlib

import numpy as np

import r2plus1d
from r2plus1d.cli import command_line
from r2plus1d.cli.main import run
from r2plus1d.datasets import sample, synthetic
from r2plus1d.errors import InputError
from r2plus1d.pictures.activation_maps import spread
from r2plus1d.pictures.tracks import Heat, Tracks

ROOT = pathlib.Path(__file__).resolve().parents[1]
WEIGHTS = ('r2plus1d_18_8_w0.125.pkl', 'r2plus1d_18_8_w0.125_of.pkl')
FRAMES = 4  # from one map that is looked at to the next
SEEN = 0.5  # least share of a pixel that the crop has to have

BENCHMARK = {
    'videos': (str, str(ROOT / 'data/sample/videos/test'), 'videos of the sample'),
}


def main():
    args = command_line.parse(__doc__, BENCHMARK)
    for weights in WEIGHTS:
        model = r2plus1d.load(ROOT / 'data' / 'sample' / weights)
        predictions = r2plus1d.predict(model, args.videos, clips='dense', maps=True)
        shares = [share for video in predictions for share in shares_in_box(model, video)]
        inside, crop = np.mean(shares, axis=0)
        print(f'{weights}: {inside:.1f} of the maps in {crop:.1f} of the crop', flush=True)
    return 0


def shares_in_box(model, video):
    """Yield (share of the map, share of the crop) in the object's box, of each map of a video."""
    if video.failure is not None:
        raise InputError(f'{video.path}: {video.failure}')
    label, _, number = pathlib.Path(video.path).stem.rpartition('_')
    if label not in model.class_names or not number.isdigit():
        raise InputError(f'{video.path} is no video of the sample, such as left_000.mp4 is')
    scene, _ = sample.video_scene(label, int(number), seed=0, split='test')
    width, height = scene.size
    rows, columns = np.mgrid[:height, :width]
    best = model.class_names.index(video.classes[0][0])
    heat = Heat(video, best, model.input, Tracks(video, [best], model.input.length))
    crop = spread(np.ones((1, 7, 7), np.float32), model.input, scene.size) > SEEN
    for frame in range(0, video.clips[-1].start_frame + model.input.length, FRAMES):
        x, y, _, size = synthetic.pose(scene.path[frame], scene.size)
        box = (abs(columns - x) < size / 2) & (abs(rows - y) < size / 2)
        values = heat.at(frame, (height, width))
        if values.any():
            yield values[box].sum() / values.sum(), (box & crop).sum() / crop.sum()


if __name__ == '__main__':
    run(main)
