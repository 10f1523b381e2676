#!/bin/sh -e
# Makes both models of this folder, and sessions of the learned one, of the data that NOTICE names, which lie in
# $PLANEGYM_DATA/traffic: siot.tar.gz, the JSON files of NEMEA-SIoT, and captures.
data=${PLANEGYM_DATA:?is not set: where the data lie}/traffic
tmp=$(mktemp -d)
trap 'rm -r "$tmp"' EXIT
tar xzf "$data/siot.tar.gz" -C "$tmp"
planegym="go run ../../cmd/planegym"
$planegym traffic convert $(find "$tmp" -name '*.json' | sort) "$data"/captures/*.pcap --label file -o "$tmp/ship.parquet"
$planegym traffic fit --data "$tmp/ship.parquet" --set often=1 -o ngram.safetensors --force
$planegym traffic fit --data "$tmp/ship.parquet" --mode autoregressive --set hidden=96 --set max_steps=-1 --set updates=2256 --kernels avx2 -o traffic.safetensors --force
go run mkpool.go
