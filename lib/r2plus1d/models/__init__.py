"""The networks as Caffe2 graphs, and their weights."""
