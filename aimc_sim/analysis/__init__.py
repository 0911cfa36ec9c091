"""Questions put to chips, and their answers as tables and pictures.

===========  ================================================================================
file         what is in it
===========  ================================================================================
``drift``    accuracy against time: one row per preset, programming, time and compensation
``metrics``  means and shares with their 95 % intervals
``plots``    the pictures of a study and of a chip (the only place that imports matplotlib)
===========  ================================================================================
"""
