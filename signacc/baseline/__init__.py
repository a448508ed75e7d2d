"""GPU baselines: dense, low-bit and 1-bit decoders, checked, timed and recorded.

``signacc baseline`` is the front. Other commands load only ``work``, the bytes and operations of a
step; Triton and CUDA are touched only when a device is measured.
"""
