"""Where the heavy work is done."""

import torch


def best_device() -> str:
    """`cuda` where there is a GPU that torch can use, else `cpu`; CUDA_VISIBLE_DEVICES= hides the GPU."""
    return "cuda" if torch.cuda.is_available() else "cpu"
