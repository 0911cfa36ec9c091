"""The families of devices that come with the simulator, one file each; see :mod:`..family`."""

from ..family import register
from .pcm import Pcm
from .rram import Rram
from .steps import Steps

__all__ = ["Pcm", "Rram", "Steps"]

register(Pcm())
register(Rram())
register(Steps())
