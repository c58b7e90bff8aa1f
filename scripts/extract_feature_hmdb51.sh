#!/bin/sh
# As extract_feature_kinetics.sh, which has the variables, for a network fine-tuned on HMDB51
# (finetune_hmdb51.sh) and the databases of create_hmdb51_lmdb_feature_extraction.sh.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)

export TEST_DATA="${TEST_DATA:-}" # prefix of the databases, such as output/hmdb51_dense
export MODEL="${MODEL:-}"         # such as output/finetune_hmdb51/r2plus1d_8.mdl
export SPLITS="${SPLITS:-2}"
name=${TEST_DATA:+hmdb51_clips}
export OUTPUT="${OUTPUT:-$root/output/${name:-sample_hmdb51_clips}}"

exec sh "$root/scripts/extract_feature_kinetics.sh" "$@"
