#!/usr/bin/env bash
# Answers INPUT in 16 shards, each of which goes on where it was when it is put back into the queue:
#   sbatch --export=ALL,INPUT=...,OUTPUT=... deploy/slurm-array.sh
# and joins them once all are done:
#   sbatch --dependency=afterok:JOB --wrap 'python -m inference merge OUTPUT/shards/* --output OUTPUT/answers'
#SBATCH --job-name=aurora
#SBATCH --array=1-16
#SBATCH --cpus-per-task=8
#SBATCH --gpus-per-task=1
#SBATCH --requeue
set -euo pipefail
: "${INPUT:?expected the folder that holds csv_files/}" "${OUTPUT:?expected a folder for the answers}"

python -m inference run --input "$INPUT" --output "$OUTPUT/shards/$SLURM_ARRAY_TASK_ID" --shard auto --resume
