"""A resumable, memory-mapped float16 store of image embeddings."""

import hashlib
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from clipcap_lib.encoders import Encoder
from clipcap_lib.pictures import open_picture

DIGEST_LINE = 33  # 32 hexadecimal digits and a newline


@dataclass(frozen=True)
class Features:
    """Embeddings of images in the order they were asked for: `vectors` is a memory map [rows, D], `rows` [images]."""

    vectors: np.ndarray
    rows: np.ndarray
    seconds: float
    computed: int

    def __len__(self) -> int:
        return len(self.rows)

    def tensor(self, positions: Iterable[int] | slice = slice(None)) -> Tensor:
        """The embeddings at these positions as float32 [n, D]."""
        index = positions if isinstance(positions, slice) else np.fromiter(positions, dtype=np.int64)
        return torch.from_numpy(self.vectors[self.rows[index]].astype(np.float32))


class _Pictures(Dataset):
    def __init__(self, paths: list[Path], encoder: Encoder) -> None:
        self.paths, self.preprocess = paths, encoder.preprocess

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor:
        return self.preprocess(open_picture(self.paths[index]))


def content_digest(path: Path) -> str:
    """32 hexadecimal digits that identify a file's bytes."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:32]


def extract_features(
    encoder: Encoder, paths: list[Path], store: Path, batch_size: int = 128, workers: int = 1
) -> Features:
    """Embed images, computing only those whose bytes this encoder has not seen; returns them in the order of `paths`.

    The store is a folder per encoder fingerprint with `vectors.f16` (raw rows of D numbers) and `digests.txt` (one
    line a row). Both are appended to batch by batch: a killed run loses at most the batch it was in.
    """
    started = time.perf_counter()
    folder = store / encoder.fingerprint
    folder.mkdir(parents=True, exist_ok=True)
    digests = [content_digest(path) for path in paths]
    known = _open_index(folder, encoder.width)
    missing = {digest: path for digest, path in zip(digests, paths, strict=True) if digest not in known}
    _append(folder, encoder, list(missing), list(missing.values()), batch_size, workers)
    index = _open_index(folder, encoder.width)
    vectors = np.memmap(folder / "vectors.f16", np.float16, "r").reshape(-1, encoder.width)
    rows = np.array([index[digest] for digest in digests])
    return Features(vectors, rows, time.perf_counter() - started, len(missing))


def _open_index(folder: Path, width: int) -> dict[str, int]:
    vectors, digests = folder / "vectors.f16", folder / "digests.txt"
    vectors.touch()
    digests.touch()
    # A kill can leave either file ahead of the other: both are cut back to the rows that are whole in both.
    rows = min(vectors.stat().st_size // (2 * width), digests.stat().st_size // DIGEST_LINE)
    _truncate(vectors, rows * 2 * width)
    _truncate(digests, rows * DIGEST_LINE)
    return {digest: row for row, digest in enumerate(digests.read_text().split())}


def _truncate(path: Path, size: int) -> None:
    if path.stat().st_size > size:
        with path.open("r+b") as file:
            file.truncate(size)


@torch.inference_mode()
def _append(
    folder: Path, encoder: Encoder, digests: list[str], paths: list[Path], batch_size: int, workers: int
) -> None:
    batches = DataLoader(
        _Pictures(paths, encoder), batch_size=batch_size, num_workers=workers if len(paths) > batch_size else 0
    )
    with (folder / "vectors.f16").open("ab") as vectors, (folder / "digests.txt").open("a") as lines:
        for number, pixels in enumerate(batches):
            block = encoder.encode_images(pixels).cpu().numpy().astype(np.float16)
            if not np.isfinite(block).all():
                raise ValueError(
                    f"{encoder.name} gave numbers outside float16 for an image among {paths[number * batch_size]} …"
                )
            vectors.write(block.tobytes())
            vectors.flush()
            lines.writelines(
                f"{digest}\n" for digest in digests[number * batch_size : number * batch_size + len(block)]
            )
            lines.flush()
