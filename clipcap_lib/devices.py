"""Where the heavy work is done."""

import platform

import torch


def best_device() -> str:
    """`cuda` where there is a GPU that torch can use, else `cpu`; CUDA_VISIBLE_DEVICES= hides the GPU."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def device_name() -> str:
    """What the GPU calls itself, or else the processor."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else platform.processor() or platform.machine()
