#!/bin/sh
# As extract_feature_kinetics.sh, which has the variables, in optical flow: clips of 32 flow frames
# between neighbouring frames, such as r2.5d_d34_l32_ft_sports1m_optical_flow.pkl takes.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)

export MODALITY=flow
exec sh "$root/scripts/extract_feature_kinetics.sh" "$@"
