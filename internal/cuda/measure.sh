#!/usr/bin/env bash
# Proves and measures the CUDA engine on a machine with an NVIDIA GPU, in the order
# of BENCH.md's table: bash internal/cuda/measure.sh 2>&1 | tee measured.txt
# It needs Go, and for the peers a Python with torch (PYTHON names it).
set -u
cd "$(dirname "$0")/../.."
python=${PYTHON:-python3}
say() { printf '\n== %s\n' "$*"; "$@"; }
nvidia-smi --query-gpu=name,driver_version --format=csv
say go run ./cmd/planegym doctor
(cd internal/cuda/emulator && say go test -v -run 'GPU|TestGRU|TestUpdate|TestAdam|TestProfile|TestLosses|TestTogether|TestSequence' . |
  grep -E '^ *(---|ok|FAIL|PASS)|GPU|within')
say go test -run '^$' -bench 'Update|Launches|Simulator|Sequence' -benchtime 1s ./internal/cuda
say go test -run '^$' -bench 'Sweep' -benchtime 20x ./internal/cuda
if "$python" -c 'import torch; assert torch.cuda.is_available()' 2>/dev/null; then
  say "$python" bench/cuda_timegan.py
  for h in 64 96 128; do
    printf '{"work": "train", "shape": {"H": %d, "T": 192, "B": 32}, "seconds": 3}\n' $h
    printf '{"work": "sample", "shape": {"H": %d, "N": 1024}, "seconds": 3}\n{"work": "sample", "shape": {"H": %d, "N": 65536}, "seconds": 3}\n' $h $h
  done | say "$python" bench/compute_peers.py torch 1 --device cuda
else
  echo "== no torch with CUDA in $python: the peers are left out"
fi
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
time say go run ./cmd/planegym fit --data bundled --device cuda -o "$dir/loop.safetensors"
time say go run ./cmd/planegym fit --data bundled -o "$dir/cpu.safetensors"
time say go run ./cmd/planegym sample "$dir/loop.safetensors" --seconds 3600 --rollouts 64 --device cuda -o "$dir/samples"
