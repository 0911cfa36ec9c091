"""The network itself, without a chip: the score of every image of a study in floating point.

A sweep computes it once for its network, data and metric, from the recorded graph in float32 and
on the images that all trials run, and writes it beside the trials as a record of its own kind.
Losses are differences with it, image by image (:func:`.paired.against_reference`). It is part of
no trial: identities and tables of trials are those without it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .. import __version__
from ..metrics import Metric
from . import folder as results_folder
from .records import metric_id, metric_of, packed, unpacked, value_of

if TYPE_CHECKING:
    from .inputs import Inputs

NetworkAndData = tuple[str, str, str]
"""Network, data and metric: the first 16 hex digits of each, as a table has them."""


def key_of(given: Inputs) -> NetworkAndData:
    """Return what tells references apart.

    Parameters
    ----------
    given : Inputs
        Of a study.
    """
    metric = given.metric
    return given.network_id[:16], given.data_id[:16], metric_id(metric, metric.code)


def exists(metric: Metric) -> bool:
    """Return whether a metric has a reference: not if it compares with the float network itself.

    Parameters
    ----------
    metric : Metric
        Of a study.
    """
    return metric.targets != "network"


def record(given: Inputs) -> dict[str, Any]:
    """Run the images of a study in floating point; return the record of it.

    Parameters
    ----------
    given : Inputs
        With a metric that has a reference.

    Returns
    -------
    dict
        JSON values: kind, names and identities of network and data, ``images`` and the scores,
        see :func:`.records.packed`; ``metric_code``, the SHA-256 of the file of a user's own
        metric.

    Raises
    ------
    ValueError
        If the outputs do not fit the targets.
    """
    scores = given.metric.scored(_outputs(given), given.targets)
    return {
        "kind": "reference", "network": given.network_name, "network_id": given.network_id[:16],
        "data": given.data_name, "data_id": given.data_id[:16], "aimc_sim": __version__,
        "images": len(given.images), **packed(scores),
        **({} if given.metric.identity() is None else {"metric": given.metric.described()}),
        **({"metric_code": given.metric.code} if given.metric.code else {}),
    }  # fmt: skip


def row_of(record: dict[str, Any]) -> dict[str, Any]:
    """Return a reference as a row: the columns of :func:`.results.load` that it has.

    Parameters
    ----------
    record : dict
        As :func:`record` makes it.
    """
    metric, scores = metric_of(record), unpacked(record)
    stored: dict[str, Any] = {"scores": np.asarray(scores, "<f4").tobytes()}
    if metric.bits:
        share = record["correct"] / record["images"]
        stored = {"correct_bits": np.packbits(scores).tobytes(), "accuracy": share}
    return {
        "network": record["network"], "network_id": record["network_id"], "data": record["data"],
        "data_id": record["data_id"], "metric": metric.name, "value": value_of(metric, record),
        "images": record["images"], **stored,
        "metric_data": json.dumps(metric.described(), sort_keys=True),
        "aimc_sim": record["aimc_sim"],
    }  # fmt: skip


def load(folders: str | Path | Iterable[str | Path]) -> pd.DataFrame:
    """Return what the networks of one or several folders score in floating point.

    Parameters
    ----------
    folders : path, or several
        ``--out`` of ``aimc-sim sweep``.

    Returns
    -------
    DataFrame
        One row per network, data and metric, and per version of a user's own metric that scores
        otherwise: network, network_id, data, data_id, metric, value,
        images, metric_data, aimc_sim, and ``accuracy`` and ``correct_bits``, or ``scores``, as in
        :func:`.results.load`. Without rows where the folder is of before references were kept.

    Raises
    ------
    FileNotFoundError
        If a folder holds no results.
    """
    several = [folders] if isinstance(folders, (str, Path)) else folders
    found = results_folder.read([Path(f) for f in several], keep_rows=False).references
    rows = [row_of(found[key]) for key in sorted(found)]
    if not rows:
        columns = ["network", "network_id", "data", "data_id", "metric", "value", "images"]
        return pd.DataFrame(columns=columns)
    table = pd.DataFrame(rows)
    return table.drop_duplicates([name for name in table if name != "aimc_sim"], ignore_index=True)


def _outputs(given: Inputs) -> np.ndarray:
    """Return the outputs of the recorded graph for all images, float32."""
    import torch

    from ..frontend.evaluate import run_network
    from ..runtime.variants import broken_condition
    from .inputs import BATCH

    images = torch.from_numpy(given.images)
    known = [given.network, *given.others]
    size = len(images) if given.others else BATCH  # a record may be true of one size only
    made = []
    for part in images.split(size):
        sizes = {known[0].input: tuple(part.shape)}
        network = next((n for n in known if broken_condition(n, sizes) is None), known[0])
        made.append(run_network(network, [part])[network.output].float())
    return torch.cat(made).cpu().numpy()
