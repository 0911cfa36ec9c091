"""One compute core, along the signal path.

- :mod:`weights`: a block of weights becomes target conductances of four-device cells
- :mod:`converters`: pulse-width input, ADC, integer ranges
- :mod:`tile`: a crossbar: look at it at a time, read it (the reference path)
- :mod:`programming`: write a crossbar; :mod:`gradient`: by the error of its own products
- :mod:`compensation`: drift compensation from such reads
"""
