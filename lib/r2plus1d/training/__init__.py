"""Training networks on Caffe2: the net, its schedule, its data and its checkpoints."""
