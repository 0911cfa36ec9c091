"""One compute core, along the signal path.

===============  ============================================================================
file             content
===============  ============================================================================
``weights``      a block of weights becomes target conductances of four-device cells
``gmax``         the largest g_max whose bit-line currents the ADCs accept
``programming``  write a crossbar; ``gradient``: by the error of its own products
``inputs``       pulse-width and bit-serial inputs, pulse by pulse
``tile``         a crossbar: evaluate it at a time, read it (the reference path)
``wires``        IR drop: exact solve, effective matrix; ``idle``: idle lines that float;
                 ``wired``: both as the tile and the executor use them
``converters``   all kinds of converters and integer ranges; ``symmetric``, ``oscillators``,
                 ``sense``: one kind each
``adc``          oscillator ADCs: circuit, calibration, conversion; ``oscillators``: of one core
``ldpu``         the local digital unit, in half or single precision
``compensation`` drift compensation from reads
``estimate``     weights inferred from products, and the error split
===============  ============================================================================
"""

__all__ = [
    "adc", "compensation", "converters", "currents", "encodings", "estimate", "gmax", "gradient",
    "idle", "inputs", "ldpu", "oscillators", "programming", "quantise", "sense", "symmetric",
    "tile", "weights", "wired", "wires",
]  # fmt: skip
