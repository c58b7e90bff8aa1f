"""Matrices are multiplied with AVX2 wherever the processor has it."""

import os

import pytest

from r2plus1d.backends.caffe2 import processor

AMD = 'vendor_id : AuthenticAMD\nflags : fpu avx avx2 fma\n'


@pytest.mark.parametrize(
    ('info', 'expected'),
    [
        (AMD, '5'),
        (AMD.replace('AuthenticAMD', 'HygonGenuine'), '5'),
        (AMD.replace(' avx2', ''), None),
        (AMD.replace('AuthenticAMD', 'GenuineIntel'), None),
        (None, None),
    ],
)
def test_only_where_mkl_would_not_take_it(info, expected, tmp_path, monkeypatch):
    monkeypatch.setattr(processor, 'CPUINFO', tmp_path / 'cpuinfo')
    if info is not None:
        processor.CPUINFO.write_text(info)
    monkeypatch.delenv(processor.MKL_KIND, raising=False)
    processor.use_avx2()
    assert os.environ.pop(processor.MKL_KIND, None) == expected


def test_what_the_user_sets_stays(tmp_path, monkeypatch):
    monkeypatch.setattr(processor, 'CPUINFO', tmp_path / 'cpuinfo')
    processor.CPUINFO.write_text(AMD)
    monkeypatch.setenv(processor.MKL_KIND, '4')
    processor.use_avx2()
    assert os.environ[processor.MKL_KIND] == '4'


def test_the_engine_takes_it(tmp_path, monkeypatch):
    pytest.importorskip('caffe2.python', reason='needs Caffe2')
    from r2plus1d.backends.caffe2.replicas import Replicas
    from r2plus1d.devices import Devices

    monkeypatch.setattr(processor, 'CPUINFO', tmp_path / 'cpuinfo')
    processor.CPUINFO.write_text(AMD)
    monkeypatch.delenv(processor.MKL_KIND, raising=False)
    Replicas(Devices())
    assert os.environ.pop(processor.MKL_KIND, None) == '5'
