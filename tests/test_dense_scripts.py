"""The scripts of dense prediction, as they stand on the sample and with their variables set."""

import csv
import pickle
import re
import shutil

import pytest

from conftest import ROOT
from r2plus1d.networks.initial import random_parameters
from r2plus1d.networks.network import Network
from r2plus1d.weights.files import save_pickle
from shell_scripts import run_script

MINE = {'TEST_DATA': 'x', 'MODEL': 'x'}


@pytest.fixture(scope='module')
def on_sample(sample_videos, tmp_path_factory):
    """(folder, dense_prediction.sh there with nothing else set but fewer clips)."""
    folder = tmp_path_factory.mktemp('dense')
    shutil.copytree(sample_videos, folder / 'sample')
    done = run_script('dense_prediction.sh', cwd=folder, **places(folder))
    return folder, done


def places(folder):
    return {'SAMPLE': str(folder / 'sample'), 'OUTPUT': str(folder), 'STRIDE': '60'}


def test_the_sample_in_rgb_and_flow(on_sample):
    folder, done = on_sample
    assert done.returncode == 0, done.stderr
    top1 = re.findall(r'^Accuracy: clip [\d.]+, top1 ([\d.]+)', done.stdout, re.MULTILINE)
    assert len(top1) == 2
    assert min(map(float, top1)) >= 0.9
    assert done.stdout.count('videos: 40, clips: ') == 2
    for kind in ('rgb', 'of'):
        assert sorted(p.name for p in (folder / f'sample_{kind}').glob('*.pkl')) == [
            'clips_1.pkl',
            'clips_2.pkl',
        ]


def test_fusion_finds_what_is_done(on_sample):
    folder, _ = on_sample
    fused = run_script('fuse_prediction.sh', '--alpha=sweep', cwd=folder, **places(folder))
    assert fused.returncode == 0, fused.stderr
    assert fused.stderr.count('is complete already') == 4
    assert 'videos: 40 fused, 0 only in ' in fused.stdout
    assert 'Alpha 0.6: top1 ' in fused.stdout


def test_the_sample_does_not_replace_what_others_made(on_sample):
    folder, _ = on_sample
    shutil.copytree(folder / 'sample_rgb', folder / 'mine')
    beside = folder / 'mine' / 'clips_1.arguments.json'
    beside.write_text(beside.read_text().replace('"test_data": "', '"test_data": "x'))
    before = (folder / 'mine' / 'clips_1.pkl').read_bytes()
    settings = {**places(folder), 'OUTPUT': str(folder / 'mine')}
    done = run_script('extract_feature_kinetics.sh', cwd=folder, **settings)
    assert done.returncode == 1
    assert 'clips_1.pkl was made with other arguments: ' in done.stderr
    assert (folder / 'mine' / 'clips_1.pkl').read_bytes() == before


@pytest.mark.parametrize(
    ('script', 'database'),
    [
        ('create_hmdb51_lmdb.sh', 'mine/train_split1_lmdb'),
        ('create_hmdb51_lmdb.sh', 'mine/test_split1_lmdb'),
        ('create_hmdb51_lmdb.sh', 'mine/labels.txt'),
        ('create_kinetics_lmdb_feature_extraction.sh', 'mine_1.csv'),
        ('create_kinetics_lmdb_feature_extraction.sh', 'mine_1_lmdb'),
        ('create_hmdb51_lmdb_feature_extraction.sh', 'mine_1_lmdb'),
    ],
)
def test_the_sample_does_not_replace_a_database(script, database, tmp_path):
    (tmp_path / database).mkdir(parents=True)
    done = run_script(script, cwd=tmp_path, OUTPUT='mine', LIST='forgotten.csv')
    assert done.returncode == 2
    assert 'replace' in done.stderr
    assert [path for path in tmp_path.rglob('*') if path.is_file()] == []


def test_a_folder_in_cdpath_is_no_output_of_cd(tmp_path):
    done = run_script('fuse_prediction.sh', cwd=ROOT, FLOW='x', CDPATH=str(ROOT))
    assert done.returncode == 2
    assert 'set RGB and FLOW' in done.stderr


def test_own_videos_through_the_scripts(make_video, tmp_path):
    videos = [make_video(24, seed=i) for i in range(3)]
    with (tmp_path / 'list.csv').open('w', newline='') as file:
        rows = csv.writer(file)
        rows.writerow(['org_video', 'label', 'video_id'])
        rows.writerows([str(path), i, 10**12 + i] for i, path in enumerate(videos))
    network = Network(depth=10, clip_length=8, num_labels=8, width=0.125)
    save_pickle(tmp_path / 'w.pkl', random_parameters(network, 0))
    made = run_script(
        'create_kinetics_lmdb_feature_extraction.sh', '--num_threads=1', cwd=tmp_path,
        LIST_FILE='list.csv', OUTPUT='dense', SPLITS='3', CLIP_FRAMES='8', STRIDE='4',
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    assert '3 videos, 15 clips in 3 lists: dense_1.csv ... dense_3.csv; failed: 0' in made.stdout
    extract = {
        'TEST_DATA': 'dense', 'MODEL': 'w.pkl', 'MODEL_DEPTH': '10', 'CLIP_LENGTH': '8',
        'NUM_LABELS': '8', 'SPLITS': '3', 'OUTPUT': 'out',
    }  # fmt: skip
    done = run_script(
        'extract_feature_kinetics.sh', '--width=0.125', '--get_start_frame=1', cwd=tmp_path,
        **extract,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    features = pickle.loads((tmp_path / 'out' / 'clips_2.pkl').read_bytes())
    assert set(features) == {'softmax', 'label', 'video_id', 'start_frame'}
    assert set(features['video_id']) == {10**12 + 1}
    assert sorted(features['start_frame']) == [0, 4, 8, 12, 16]
    said = run_script('dense_prediction.sh', '--max_clip=2', cwd=tmp_path, INPUT='out')
    assert said.returncode == 0, said.stderr
    assert 'videos: 3, clips: 15, files: 3' in said.stdout
    fewer = run_script('extract_feature_kinetics.sh', cwd=tmp_path, **{**extract, 'SPLITS': '2'})
    assert fewer.returncode == 2
    assert 'out has pickles of more than 2 splits' in fewer.stderr


def test_failed_clips_do_not_end_the_script(make_video, tmp_path):
    """All databases are done; the status tells, unless as many failures are allowed."""
    video, gone = tmp_path / 'video.mp4', tmp_path / 'gone.mp4'
    for path in (video, gone):
        shutil.copy(make_video(20), path)
    (tmp_path / 'list.csv').write_text(f'org_video,label\n{video},0\n{gone},1\n{video},0\n')
    made = run_script(
        'create_kinetics_lmdb_feature_extraction.sh', '--num_splits=7', '--output=elsewhere',
        cwd=tmp_path, LIST_FILE='list.csv', OUTPUT='dense', SPLITS='1', CLIP_FRAMES='8',
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    assert '3 videos, 6 clips in 1 list: dense_1.csv' in made.stdout
    shutil.copytree(tmp_path / 'dense_1_lmdb', tmp_path / 'dense_2_lmdb')
    gone.unlink()
    network = Network(depth=10, clip_length=8, num_labels=2, width=0.125)
    save_pickle(tmp_path / 'w.pkl', random_parameters(network, 0))
    settings = {
        'TEST_DATA': 'dense', 'MODEL': 'w.pkl', 'MODEL_DEPTH': '10', 'CLIP_LENGTH': '8',
        'NUM_LABELS': '2', 'SPLITS': '2', 'OUTPUT': 'out',
    }  # fmt: skip
    for allowed, status in (('0', 3), ('2', 0)):
        done = run_script(
            'extract_feature_kinetics.sh', '--width=0.125', cwd=tmp_path, MAX_FAILURES=allowed,
            **settings,
        )  # fmt: skip
        assert done.returncode == status, done.stderr
        assert done.stdout.count('records: 6, extracted: 4, failed: 2') == 2


def test_one_output_for_two_modalities(tmp_path):
    done = run_script('dense_prediction.sh', '--output=p.csv', cwd=tmp_path)
    assert done.returncode == 2
    assert '--output and --report are for one folder: set INPUT' in done.stderr


def test_hmdb51_from_its_own_files(make_video, tmp_path):
    for name in ('run', 'walk'):
        (tmp_path / 'videos' / name).mkdir(parents=True)
        shutil.copy(make_video(20, 'avi'), tmp_path / 'videos' / name / 'a.avi')
        (tmp_path / 'splits').mkdir(exist_ok=True)
        (tmp_path / 'splits' / f'{name}_test_split1.txt').write_text('a.avi 2\n')
    made = run_script(
        'create_hmdb51_lmdb_feature_extraction.sh', cwd=tmp_path,
        VIDEOS='videos', ANNOTATIONS='splits', OUTPUT='hmdb', CLIP_FRAMES='8',
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    gone = (tmp_path / 'splits' / 'run_test_split1.txt').open('a')
    print('gone.avi 2', file=gone, flush=True)
    fewer = run_script(
        'create_hmdb51_lmdb_feature_extraction.sh', cwd=tmp_path,
        VIDEOS='videos', ANNOTATIONS='splits', OUTPUT='fewer', CLIP_FRAMES='8',
    )  # fmt: skip
    assert fewer.returncode == 3
    assert 'more videos are missing than MAX_MISSING (0) allows: no database' in fewer.stderr
    assert '2 videos, 4 clips in 2 lists: hmdb_1.csv ... hmdb_2.csv; failed: 0' in made.stdout
    assert (tmp_path / 'hmdb_labels.txt').read_text() == 'run\nwalk\n'
    network = Network(depth=10, clip_length=8, num_labels=2, width=0.125)
    save_pickle(tmp_path / 'w.pkl', random_parameters(network, 0))
    done = run_script(
        'extract_feature_hmdb51.sh', '--width=0.125', cwd=tmp_path, TEST_DATA='hmdb',
        MODEL='w.pkl', DB_TYPE='pickle', MODEL_DEPTH='10', CLIP_LENGTH='8', NUM_LABELS='2',
        OUTPUT='out',
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / 'out' / 'clips_2.pkl').exists()


@pytest.mark.parametrize(
    ('script', 'variables', 'message'),
    [
        ('extract_feature_kinetics.sh', {'MODALITY': 'grey'}, 'MODALITY is grey; rgb or flow'),
        ('extract_feature_kinetics.sh', {'MODEL': 'x'}, 'set TEST_DATA .* and MODEL'),
        ('extract_feature_kinetics_of.sh', {'TEST_DATA': 'x'}, 'set TEST_DATA .* and MODEL'),
        ('extract_feature_hmdb51.sh', {'MODEL': 'x'}, 'set TEST_DATA .* and MODEL'),
        ('extract_feature_kinetics.sh', {**MINE, 'SPLITS': '0'}, 'SPLITS is 0; a number from 1 on'),
        ('extract_feature_kinetics.sh', {**MINE, 'SPLITS': 'x'}, 'SPLITS is x; a number from 1 on'),
        ('finetune_folder.sh', {'VIDEOS': 'x', 'EPOCH_SIZE': '10x'}, 'EPOCH_SIZE is 10x; a number'),
        ('fuse_prediction.sh', {'FLOW': 'x'}, 'set RGB and FLOW'),
        ('fuse_prediction.sh', {'RGB': 'x'}, 'set RGB and FLOW'),
        ('create_hmdb51_lmdb_feature_extraction.sh', {'VIDEOS': 'x'}, 'and ANNOTATIONS'),
    ],
)
def test_half_of_the_variables(script, variables, message, tmp_path):
    done = run_script(script, cwd=tmp_path, **variables)
    assert done.returncode == 2
    assert re.search(message, done.stderr)
