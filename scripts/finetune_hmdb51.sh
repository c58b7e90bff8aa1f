#!/bin/sh
# Fine-tunes weights on HMDB51, published with those of R(2+1)D-34 for clips of 32 frames;
# scripts/finetune.sh has the other settings.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)

export NUM_LABELS="${NUM_LABELS:-51}"
export LEARNING_RATE="${LEARNING_RATE:-0.0002}" # of one device
export EPOCH_SIZE="${EPOCH_SIZE:-40000}"     # clips
export OUTPUT="${OUTPUT:-$root/output/finetune_hmdb51}"

exec sh "$root/scripts/finetune.sh" "$@"
