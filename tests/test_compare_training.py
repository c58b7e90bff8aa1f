"""tools/compare_training.py on logs as train_net.py writes them."""

import csv

COLUMNS = (
    'epoch', 'iterations', 'learning_rate', 'train_loss', 'train_accuracy', 'test_clip',
    'test_top1', 'test_topk', 'seconds', 'clips_per_second', 'network_share',
)  # fmt: skip
FLAGS = ('--model_depth=18', '--clip_length_rgb=8', '--num_labels=8', '--width=0.125')


def write_log(folder, name, *accuracies):
    (folder / name).mkdir(parents=True)
    with (folder / name / f'{name}_w0.125_log.csv').open('w', newline='') as file:
        rows = csv.DictWriter(file, COLUMNS)
        rows.writeheader()
        for epoch, accuracy in enumerate(accuracies, 1):
            row = dict.fromkeys(COLUMNS, 0.5)
            rows.writerow({**row, 'epoch': epoch, 'test_top1': accuracy})


def test_the_last_epoch_of_each_run_the_best_last(tmp_path, run_tool):
    write_log(tmp_path / 'runs', 'r2plus1d', 0.1, 0.9)
    write_log(tmp_path / 'runs', 'r2d', 0.2, 0.3, 0.4)
    write_log(tmp_path / 'runs', 'others', 1.0)
    done = run_tool('tools/compare_training.py', '--runs=runs', *FLAGS)
    assert done.returncode == 0, done.stderr
    cells = [line.strip('| ').split(' | ') for line in done.stdout.splitlines()]
    assert cells[0] == [
        'network', 'params (M)', 'GLOPs', 'epochs', 'train loss', 'train clip', 'test clip',
        'test video',
    ]  # fmt: skip
    assert cells[2] == ['r2d', '0.184', '0.056', '3', '0.500', '50.0', '50.0', '40.0']
    assert cells[3] == ['r2plus1d', '0.519', '0.343', '2', '0.500', '50.0', '50.0', '90.0']


def test_nothing_to_compare(tmp_path, run_tool):
    (tmp_path / 'runs').mkdir()
    done = run_tool('tools/compare_training.py', '--runs=runs', *FLAGS)
    assert done.returncode == 1
    assert 'runs has no training logs' in done.stderr
    write_log(tmp_path / 'runs', 'r2d')
    done = run_tool('tools/compare_training.py', '--runs=runs', *FLAGS)
    assert done.returncode == 1
    assert 'r2d_w0.125_log.csv has no epochs yet' in done.stderr
