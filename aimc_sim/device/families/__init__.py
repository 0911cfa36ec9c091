"""The families of devices that come with the simulator, one file each; see :mod:`..family`."""

from ..family import register
from .pcm import Pcm
from .rram import Rram

__all__ = ["Pcm", "Rram"]

register(Pcm())
register(Rram())
