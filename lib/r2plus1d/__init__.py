"""R(2+1)D and its relatives on Caffe2: networks, video input, evaluation."""
