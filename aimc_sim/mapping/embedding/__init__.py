"""One-hop embedding: whether every flow can have a link of its own.

- :mod:`flows`: the data that blocks exchange, as a pattern of nodes and edges
- :mod:`onehop`: ``embed``: quick refusals, then search, then constraint solver
- :mod:`reasons`: why a pattern cannot fit, in one sentence
- :mod:`target`, :mod:`symmetry`: the fabric prepared for searches
- :mod:`problem`, :mod:`search`, :mod:`solver`: the two exact searches
- :mod:`certificate`: the result, and its check edge by edge
- :mod:`relay`: pass-through cores where one hop does not do
"""

from aimc_sim.mapping.embedding.certificate import Embedding, check_embedding
from aimc_sim.mapping.embedding.flows import pattern_of
from aimc_sim.mapping.embedding.onehop import embed
from aimc_sim.mapping.embedding.reasons import fewest_relays, refusal, refusals
from aimc_sim.mapping.embedding.relay import Relayed, embed_with_relays, insert_relays
from aimc_sim.mapping.embedding.target import Target

__all__ = [
    "Embedding",
    "Relayed",
    "Target",
    "check_embedding",
    "embed",
    "embed_with_relays",
    "fewest_relays",
    "insert_relays",
    "pattern_of",
    "refusal",
    "refusals",
]
