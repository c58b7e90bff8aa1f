"""Caffe2: the reference, on CPUs and on GPUs up to 2018."""
