#!/bin/sh
# Fine-tunes weights on UCF101, published with those of R(2+1)D-34 for clips of 32 frames;
# scripts/finetune.sh has the other settings.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)

export NUM_LABELS="${NUM_LABELS:-101}"
export LEARNING_RATE="${LEARNING_RATE:-0.0001}" # of one device
export EPOCH_SIZE="${EPOCH_SIZE:-100000}"     # clips
export OUTPUT="${OUTPUT:-$root/output/finetune_ucf101}"

exec sh "$root/scripts/finetune.sh" "$@"
