"""The machine it runs on: which number formats it has, and torch's settings for the process.

Read in this order: ``formats`` (which format and which library computes a product, decided once),
``settings`` (torch as a chip needs it, whatever the process has set), ``about`` (the same for
people: ``aimc-sim info --machine``), ``limits`` (how fast it copies and multiplies).
"""

__all__ = [
    "about", "formats", "limits", "products", "settings", "trials",
]  # fmt: skip
