"""Only for machines that are held down, see ``.ci/held-down``: oneDNN off if asked for."""

import os

import torch

if os.environ.get("HELD_DOWN_ONEDNN") == "off":
    torch.backends.mkldnn.enabled = False
