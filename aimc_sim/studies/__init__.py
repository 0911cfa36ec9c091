"""Studies: many trials, run anywhere, that add up to statements with intervals.

Read in the order of the flow::

    study.yaml --schema--> Study --settings--> machines --trial--> identities --feed--> those left
         --pools--> workers --work--> rows --sweep, records, folder--> DIR
         --results--> tables --statistics, paired--> statements

===============  =============================================================================
file             contents
===============  =============================================================================
``schema``       a study as data; ``text``: reading YAML
``settings``     presets, grid and explicit settings become machines
``inputs``       network and images as arrays
``identity``     hashes: of inputs, of the physics, of the machine
``trial``        one programming of one machine, and its identity
``work``         a worker runs it
``feed``         which trial comes next; the stopping rule
``pools``        this process, local workers, a Dask cluster
``sweep``        the loop that hands out trials and writes what comes back
``records``      files that only grow, with a checksum per line
``folder``       the folder of results; merging
``results``      tables: ``load``, ``export``
``reference``    the network itself in floating point, on the same images
``statistics``   intervals, variance within and between programmings, layers
``paired``       differences between settings on the same seeds and images
``tracking``     results as runs of MLflow
``drift``        the trials of a few machines at once, without a folder: ``aimc-sim run``
``attribute``    which effect costs how much: effects and layers one by one
===============  =============================================================================
"""

__all__ = [
    "attribute", "closed", "drift", "feed", "folder", "identity", "inputs", "paired", "pools",
    "records", "reference", "results", "schema", "settings", "statistics", "sweep", "text",
    "tracking", "trial", "work",
]  # fmt: skip
