"""From a record of a video database to the clips that a network sees; needs no Caffe2."""
