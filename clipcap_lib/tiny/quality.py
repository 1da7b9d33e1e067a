"""How much of a scene the tiny CLIP's embedding holds: retrieval among held-out scenes, and a probe."""

from itertools import islice

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clipcap_lib.emoji.language import Scene, captions
from clipcap_lib.emoji.scenes import draw, sample_scenes
from clipcap_lib.encoders import Encoder
from clipcap_lib.settings import Language
from clipcap_lib.tiny.clip import as_jpeg, targets


def fresh_scenes(n: int, seed: int) -> list[Scene]:
    """Draw n scenes within the training compositions; another seed than the training's makes them held-out pictures."""
    return list(islice(sample_scenes(seed), n))


@torch.inference_mode()
def embed_scenes(encoder: Encoder, scenes: list[Scene], batch_size: int = 128) -> Tensor:
    """Embeddings [N, D] of drawn scenes."""
    parts = [scenes[i : i + batch_size] for i in range(0, len(scenes), batch_size)]
    pixels = (torch.stack([encoder.preprocess(as_jpeg(draw(scene))) for scene in part]) for part in parts)
    return torch.cat([encoder.encode_images(batch) for batch in pixels]).clone()


@torch.inference_mode()
def retrieval_top1(encoder: Encoder, scenes: list[Scene], images: Tensor, language: Language) -> float:
    """Share of pictures [N, D] whose own caption is the nearest of all N captions."""
    texts = encoder.encode_texts([captions(scene, language)[0] for scene in scenes])
    nearest = (F.normalize(images, dim=-1) @ F.normalize(texts, dim=-1).T).argmax(-1)
    return (nearest == torch.arange(len(scenes))).float().mean().item()


def probe_exact_sets(
    train: Tensor, train_scenes: list[Scene], test: Tensor, test_scenes: list[Scene], seed: int = 0
) -> float:
    """Share of test embeddings [M, D] whose kinds a one-hidden-layer probe, fitted to train [N, D], reads exactly."""
    torch.manual_seed(seed)
    present, truth = (torch.stack([targets(s)["counts"] > 0 for s in part]) for part in (train_scenes, test_scenes))
    mean, deviation = train.mean(0), train.std(0) + 1e-6
    train, test = (train - mean) / deviation, (test - mean) / deviation
    probe = nn.Sequential(nn.Linear(train.shape[1], 512), nn.ReLU(), nn.Linear(512, truth.shape[1]))
    optimizer = torch.optim.AdamW(probe.parameters(), lr=2e-3, weight_decay=1e-2)
    epochs = 30
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=epochs * -(-len(train) // 256))
    for _ in range(epochs):
        for rows in torch.randperm(len(train)).split(256):
            loss = F.binary_cross_entropy_with_logits(probe(train[rows]), present[rows].float(), reduction="sum") / len(
                rows
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    with torch.inference_mode():
        return ((probe(test) > 0) == truth).all(-1).float().mean().item()
