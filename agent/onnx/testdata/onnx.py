"""Runs an exported policy: MODEL, then observations as a JSON list of rows on stdin; prints q and actions."""

import json
import sys

import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
q, actions = session.run(["q", "actions"], {"obs": np.array(json.load(sys.stdin), np.float32)})
meta = session.get_modelmeta().custom_metadata_map
print(json.dumps({"q": q.tolist(), "actions": actions.tolist(), "spaces": json.loads(meta["planegym.spaces"])}))
