"""Networks made from networks before they are mapped: equal ones that suit a chip better.

- :mod:`.flow`: which tensors of a recorded network share channels (:mod:`.spaces`,
  :mod:`.marks`), found by moving the channels' numbers through the recorded operations
- :mod:`.edits`: new numbers for parameters, and a copy of the network that has them
- :mod:`.streams`: the residual stream; folding of norms; :mod:`.heads`: channels of heads
- :mod:`.rotation`: one rotation of the stream (:mod:`.orthogonal`, :mod:`.hadamard`,
  :mod:`.kurtosis`, :mod:`.features`); :mod:`.online`: Hadamard transforms while the network runs
  (:mod:`.butterflies`)
- :mod:`.split`: products cut by rows, with input converters of their own
- :mod:`.lowrank`, :mod:`.reuse` (:mod:`.reused`), :mod:`.clip`: attention with less to write, and
  less noise
- :mod:`.tensor_trains`: convolutions as trains of four smaller ones, and back (:mod:`.factors`)
- :mod:`.parity`: every equal network is compared with the one before
"""

from aimc_sim.transforms.butterflies import Hadamard, additions
from aimc_sim.transforms.clip import clip_conductances, clip_values
from aimc_sim.transforms.lowrank import LowRank, Ranks, low_rank_attention
from aimc_sim.transforms.online import behind_nonlinearities, rotate_online
from aimc_sim.transforms.reuse import attentions, reuse_attention
from aimc_sim.transforms.reused import ReusedAttention
from aimc_sim.transforms.rotation import fold_norms, rotate
from aimc_sim.transforms.split import SplitLinear, split_rows
from aimc_sim.transforms.tensor_trains import TensorTrainConv2d, merged, tensor_train

__all__ = [
    "Hadamard", "LowRank", "Ranks", "ReusedAttention", "SplitLinear", "TensorTrainConv2d",
    "additions", "attentions", "behind_nonlinearities", "clip_conductances", "clip_values",
    "fold_norms", "low_rank_attention", "merged", "reuse_attention", "rotate", "rotate_online",
    "split_rows", "tensor_train",
]  # fmt: skip
