"""The device: PCM elements under a statistical law, :mod:`~aimc_sim.device.pcm`."""
