"""GPU baselines: dense, low-bit and 1-bit decoders, checked, timed and recorded.

``signacc baseline`` is the front. Nothing here is loaded by the other commands; Triton and CUDA are
touched only when a device is measured.
"""
