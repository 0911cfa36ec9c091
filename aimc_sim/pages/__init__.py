"""The report: one HTML page that says what a folder of results says, and works anywhere.

Read in the order of the flow::

    DIR --material--> tables, studies, machines --headline--> the setting in front
        --facts--> results, its machine placed and simulated --sections--> parts
        --page--> one HTML file; --figures--> PNG and SVG files

===============  =============================================================================
file             content
===============  =============================================================================
``material``     a folder of results, read once
``headline``     names of settings; the choice of the one in front
``facts``        everything that sections speak of
``sections/``    the sections, one file each; one of your own is one file more
``parts``        paragraphs, tables, figures, code: parts of a section, as HTML
``tables``       tables as data; how numbers are written
``loss``         the chip against the network in floating point
``rivals``       the setting in front against others: the choice, and changes that would help
``advice``       pointers from results to changes, and how to test them
``accuracy``     accuracy against time; paired differences
``errors``       errors of layers
``costs``        cost of effects and layers: attribution
``machine``      the network on the chip: places, pipeline, energy
``parameters``   the numbers of a machine with unit, meaning and source
``reproduce``    the study as a file again; commands; versions
``limits``       sentences on the limits of the model
``learning``     the page of a training on arrays
``page``         all sections into ``templates/``: HTML, CSS and a small script
``figures``      the page's figures as files
===============  =============================================================================

The script shows values and sorts tables; nothing is loaded from anywhere, and the page forbids
it to itself (Content-Security-Policy). Figures are those of :mod:`aimc_sim.figures`, as SVG.
"""

__all__ = [
    "accuracy", "advice", "costs", "errors", "facts", "figures", "headline", "learning", "limits",
    "loss", "machine", "material", "page", "parameters", "parts", "reproduce", "rivals", "sections",
    "tables",
]  # fmt: skip
