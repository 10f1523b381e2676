"""Prints the scalars of an event file, read by TensorBoard's own reader."""

import sys

from tensorboard.backend.event_processing import event_file_loader

for event in event_file_loader.LegacyEventFileLoader(sys.argv[1]).Load():
    if event.HasField("file_version"):
        print(event.file_version, event.wall_time)
    for value in event.summary.value:
        print(event.step, event.wall_time, value.tag, value.simple_value)
