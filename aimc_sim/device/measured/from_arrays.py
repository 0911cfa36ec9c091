"""Arrays to one value per read: devices and times, maps of devices, columns of equal length."""

from __future__ import annotations

import numpy as np

from . import arrays, cells, headers
from .column_map import CURRENT, ROW, WIDE, parse
from .reads import ReadOptions, Reads, add_name, given_by


def array_reads(found: arrays.Arrays, column_map: str, how: ReadOptions, name: str) -> Reads:
    """Turn arrays into reads: columns of equal length, or a value per device and time."""
    import pandas as pd

    labels = {key: headers.parse(key.split("/")[-1]) for key in found.values}

    def find(source: str) -> str:
        if source in found.values:
            return source
        same = [k for k, h in labels.items() if source in (k.split("/")[-1], h.label)]
        if len(same) == 1:
            return same[0]
        if source.isdigit() and len(found.values) == 1:
            return next(iter(found.values))
        why = f"has several arrays '{source}'" if same else f"has no array '{source}'"
        shapes = ", ".join(f"{k} {v.shape}" for k, v in found.values.items())
        raise ValueError(f"{found.path} {why}; it has {shapes or 'no numeric array'}")

    def unit_of(source: str) -> str:
        if source in (WIDE, ROW):
            return ""
        key = find(source)
        return headers.unit(found.units.get(key, "")) or labels[key].unit

    given = given_by(how) | {"device"}
    sources = {s.name: s for s in parse(column_map, unit_of, given)}
    value = next(n for n in (CURRENT, "conductance_siemens") if n in sources)
    main = sources[value].source
    key = next(iter(found.values)) if main == WIDE and len(found.values) == 1 else find(str(main))
    array = np.asarray(found.values[key], float)
    times = sources.get("time_seconds")
    given_times = times is not None and isinstance(times.source, tuple)
    others = {
        s.name: np.asarray(found.values[find(s.source)], float)
        for s in sources.values()
        if isinstance(s.source, str) and s.source not in (WIDE, ROW) and s.name != value
    }
    used = {key} | {find(s.source) for s in sources.values() if isinstance(s.source, str)
                    and s.source not in (WIDE, ROW)}  # fmt: skip
    array = array.squeeze() if array.ndim > 2 else array
    where = f"{found.path}, array '{key}'"
    if array.ndim > 2:
        raise ValueError(f"{where}: shape {array.shape}; wanted one or two axes (device, time)")
    if array.ndim == 2 and min(array.shape) == 1 and not (times is not None and not given_times):
        array = array.reshape(-1)
    if array.ndim < 2:
        array = np.atleast_1d(array)
        values, index = array, np.arange(array.size)
        fixed = {n: v.reshape(-1) for n, v in others.items()}
        for n, v in fixed.items():
            if len(v) != len(array):
                raise ValueError(
                    f"{where} has {len(array)} values, '{n}' has {len(v)}; wanted equal"
                )
        if "device" not in sources:
            fixed["device"] = index.astype(float)
    elif how.wide == "array":
        row, column = np.indices(array.shape).reshape(2, -1)
        values = array.reshape(-1)
        fixed = {
            "device_row": row.astype(float), "device_column": column.astype(float),
            "device": (row * array.shape[1] + column).astype(float),
        }  # fmt: skip
    else:
        if times is None:
            raise ValueError(
                f"{where}: shape {array.shape}; give the times of one axis (time=NAME[s], or "
                "time=@30 300 3000[s]), or say that it is a map of devices (--wide array)"
            )
        clock = (
            np.array(times.source, float) if given_times else others.pop("time_seconds").reshape(-1)
        )
        fits = [axis for axis in (0, 1) if array.shape[axis] == len(clock)]
        if not fits:
            raise ValueError(
                f"{where}: shape {array.shape}, but there are {len(clock)} times; one axis must be "
                "as long"
            )
        if len(fits) == 2:
            raise ValueError(
                f"{where}: shape {array.shape} and {len(clock)} times: which axis is the time? "
                "Write the array with another shape, or as a long table"
            )
        if fits[0] == 0:
            array = array.T
        device, at = np.indices(array.shape).reshape(2, -1)
        values = array.reshape(-1)
        fixed = {"device": device.astype(float), "time_seconds": clock[at]}
        for n, v in others.items():
            flat = v.reshape(-1)
            if len(flat) != array.shape[0]:
                raise ValueError(
                    f"{where}: '{n}' has {len(flat)} values for {array.shape[0]} devices"
                )
            fixed[n] = flat[device]
    converted = {
        n: (sources[n].convert(v) if n in sources and n != "device" else v)
        for n, v in fixed.items()
    }
    left_out = {f"in the array '{k}', which the map does not use": int(v.size)
                for k, v in found.values.items() if k not in used}  # fmt: skip
    left_out |= {f"entry '{k}', which holds no numbers": 1 for k in found.unused}
    text = pd.Series([repr(float(v)) for v in values], dtype=object)
    kept = {n: s for n, s in sources.items() if n == value or not isinstance(s.source, str | tuple)}
    line, column = np.arange(1, len(values) + 1), np.full(len(values), key, object)
    reads = Reads({value: text}, converted, line, column, where, cells.Style(), kept, [], left_out)
    add_name(reads, how, name, len(values))
    return reads
