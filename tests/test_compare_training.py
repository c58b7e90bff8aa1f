"""tools/compare_training.py on logs as train_net.py writes them."""

import csv

COLUMNS = (
    'epoch', 'iterations', 'learning_rate', 'train_loss', 'train_accuracy', 'test_clip',
    'test_top1', 'test_topk', 'seconds', 'clips_per_second', 'network_share',
)  # fmt: skip
FLAGS = ('--model_depth=18', '--clip_length_rgb=8', '--num_labels=8', '--width=0.125')


def write_log(folder, name, *accuracies, width=0.125):
    (folder / name).mkdir(parents=True, exist_ok=True)
    stem = f'{name.removesuffix("-50")}_w{width}'
    with (folder / name / f'{stem}_log.csv').open('w', newline='') as file:
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
        'network', 'params (M)', 'GLOPs', 'runs', 'epochs', 'train loss', 'train clip',
        'test clip', 'test video',
    ]  # fmt: skip
    assert cells[2] == ['r2d', '0.184', '0.056', '1', '3', '0.500', '50.0', '50.0', '40.0']
    assert cells[3] == ['r2plus1d', '0.519', '0.343', '1', '2', '0.500', '50.0', '50.0', '90.0']


def test_nothing_to_compare(tmp_path, run_tool):
    (tmp_path / 'runs').mkdir()
    done = run_tool('tools/compare_training.py', '--runs=runs', *FLAGS)
    assert done.returncode == 1
    assert 'runs has no training logs' in done.stderr
    write_log(tmp_path / 'runs', 'r2d')
    done = run_tool('tools/compare_training.py', '--runs=runs', *FLAGS)
    assert done.returncode == 1
    assert 'r2d_w0.125_log.csv has no epochs yet' in done.stderr


def cells_of(done):
    assert done.returncode == 0, done.stderr
    return [line.strip('| ').split(' | ') for line in done.stdout.splitlines()][2:]


def test_runs_of_several_seeds_are_averaged(tmp_path, run_tool):
    for seed, accuracies in enumerate(((0.2, 0.5), (0.2, 0.6), (0.2, 0.7))):
        write_log(tmp_path / 'runs' / f'seed{seed}', 'mc3', *accuracies)
    write_log(tmp_path / 'runs' / 'seed0', 'ir-csn-50', 0.1, 0.8)
    write_log(tmp_path / 'runs', 'r2d', 0.9)
    done = run_tool('tools/compare_training.py', '--runs=runs', *FLAGS)
    mc3, csn = cells_of(done)
    assert mc3[0] == 'mc3'
    assert mc3[3:] == ['3', '2', '0.500 ± 0.000', *['50.0 ± 0.0'] * 2, '60.0 ± 10.0']
    assert csn[0] == 'ir-csn-50'
    assert float(csn[1]) > float(mc3[1])  # of 50 layers
    assert csn[3:] == ['1', '2', '0.500', '50.0', '50.0', '80.0']
    assert 'r2d_w0.125_log.csv and other logs outside of the folders of seeds' in done.stderr


def test_runs_of_another_width_are_not_averaged(tmp_path, run_tool):
    write_log(tmp_path / 'runs', 'r2d', 0.1, 0.9, width=0.25)
    done = run_tool('tools/compare_training.py', '--runs=runs', *FLAGS)
    assert done.returncode == 1
    assert 'r2d_w0.25_log.csv is of another network than r2d_18_8_w0.125' in done.stderr
    write_log(tmp_path / 'runs', 'r2d', 0.1, 0.5)
    done = run_tool('tools/compare_training.py', '--runs=runs', *FLAGS)
    assert cells_of(done)[0][3:] == ['1', '2', '0.500', '50.0', '50.0', '50.0']
    assert 'r2d_w0.25_log.csv is left out' in done.stderr


def test_runs_of_different_length_are_not_averaged(tmp_path, run_tool):
    write_log(tmp_path / 'runs' / 'a', 'r2d', 0.1, 0.2)
    write_log(tmp_path / 'runs' / 'b', 'r2d', 0.1)
    done = run_tool('tools/compare_training.py', '--runs=runs', *FLAGS)
    assert done.returncode == 1
    assert (
        'a/r2d/r2d_w0.125_log.csv has 2 epochs, runs/b/r2d/r2d_w0.125_log.csv has 1' in done.stderr
    )
