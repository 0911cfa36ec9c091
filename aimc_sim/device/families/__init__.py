"""The families of devices that come with the simulator, one file each; see :mod:`..family`."""

from ..family import register
from .pcm import Pcm

__all__ = ["Pcm"]

register(Pcm())
