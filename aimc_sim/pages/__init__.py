"""The report: one HTML page that says what a folder of results says, and works anywhere.

Read in the order of the flow::

    DIR --material--> tables, studies, machines --headline--> the setting in front
        --accuracy, errors, costs--> statements, tables, charts
        --machine--> placement, pipeline, energy of the setting in front --drawings--> pictures
        --page--> one HTML file; --figures--> PNG and SVG files

===============  =============================================================================
file             what is in it
===============  =============================================================================
``material``     a folder of results, read once
``headline``     names of settings; which setting stands in front
``tables``       tables and charts as data, how numbers are written
``accuracy``     accuracy against time; paired differences
``errors``       errors of layers
``costs``        what effects and layers cost: attribution
``machine``      the network on the chip: places, pipeline, energy
``drawings``     floorplan, pipeline and waterfall as shapes
``parameters``   the numbers of a machine with unit, meaning and source
``reproduce``    the study as a file again; commands; versions
``limits``       what is not modelled
``page``         all of it into ``templates/``: HTML, CSS and two small scripts
``figures``      the same figures as files
===============  =============================================================================

The scripts draw the line charts, show values and sort tables; nothing is loaded from anywhere,
and the page forbids it to itself (Content-Security-Policy).
"""

__all__ = [
    "accuracy", "costs", "drawings", "errors", "figures", "headline", "limits", "machine",
    "material", "page", "parameters", "reproduce", "tables",
]  # fmt: skip
