"""Trains the bundled tiny CLIP: OpenAI's architecture, small enough for two CPU cores and for git.

The contrastive loss alone (Radford et al. 2021) needs far more pictures than two cores can see. A linear head on the
shared embedding space therefore also predicts what a scene holds, during training only; it is thrown away after.
"""

import io
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset
from torchvision.transforms.functional import pil_to_tensor

from clipcap_lib.emoji.language import BACKGROUNDS, Scene, captions, kinds
from clipcap_lib.emoji.scenes import draw, sample_scenes
from clipcap_lib.openai_clip import CLIP, clip, transform

ARCHITECTURE = dict(
    embed_dim=512, image_resolution=96, vision_layers=(1, 1, 1, 1), vision_width=24, vision_patch_size=None,
    context_length=77, vocab_size=49408, transformer_width=64, transformer_heads=1, transformer_layers=4,
)  # fmt: skip
ROLES = (None, "left", "right", "above", "below")
Target = dict[str, Tensor]


def targets(scene: Scene) -> Target:
    """Counts [kinds], role and size [kinds] (−1 where the kind is absent), background []."""
    names, opposite = list(kinds()), {None: None, "left": "right", "right": "left", "above": "below", "below": "above"}
    counts = torch.zeros(len(names), dtype=torch.long)
    roles, sizes = torch.full_like(counts, -1), torch.full_like(counts, -1)
    for group, role in zip(scene.groups, (scene.relation, opposite[scene.relation]), strict=False):
        at = names.index(group.kind)
        counts[at], roles[at], sizes[at] = group.count, ROLES.index(role), int(group.size == "big")
    background = torch.tensor(list(BACKGROUNDS).index(scene.background))
    return {"counts": counts, "roles": roles, "sizes": sizes, "background": background}


class AttributeHead(nn.Module):
    """Reads the `targets` of B scenes linearly off embeddings [B, D]; returns the sum [] of the cross-entropies."""

    def __init__(self, width: int) -> None:
        super().__init__()
        n = len(kinds())
        self.widths = {"counts": (n, 5), "roles": (n, len(ROLES)), "sizes": (n, 2), "background": (len(BACKGROUNDS),)}
        self.heads = nn.ModuleDict(
            {name: nn.Linear(width, torch.Size(shape).numel()) for name, shape in self.widths.items()}
        )

    def forward(self, embedding: Tensor, target: Target, skip: tuple[str, ...] = ()) -> Tensor:
        losses = []
        for name, shape in self.widths.items():
            if name not in skip:
                logits = self.heads[name](embedding).view(len(embedding), *shape).movedim(-1, 1)
                losses.append(F.cross_entropy(logits, target[name], ignore_index=-1, reduction="sum") / len(embedding))
        return sum(losses)


class SceneStream(IterableDataset):
    """Endless (pixels uint8 [3, S, S], tokens [77], target) of fresh scenes within the training compositions."""

    def __init__(self, seed: int, resize: nn.Module, chinese: float) -> None:
        self.seed, self.resize, self.chinese = seed, resize, chinese

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, Target]]:
        rng = random.Random(self.seed)
        for scene in sample_scenes(self.seed):
            image = draw(scene) if rng.random() < 0.5 else as_jpeg(draw(scene))
            language = "zh" if rng.random() < self.chinese else "en"
            text = rng.choice(captions(scene, language))
            yield pil_to_tensor(self.resize(image)), clip.tokenize(text)[0], targets(scene)


def as_jpeg(image: Image.Image) -> Image.Image:
    """The picture as it will be read back from the corpus."""
    buffer = io.BytesIO()
    image.save(buffer, "jpeg", quality=92)
    return Image.open(buffer)


@dataclass
class TrainState:
    """One line of the loss history."""

    step: int
    loss: float
    contrastive: float
    accuracy: float


def encode_text(model: CLIP, tokens: Tensor) -> Tensor:
    """`model.encode_text` on the longest caption of the batch only; tokens [B, 77] → [B, D].

    The causal mask makes what stands after the end-of-text token irrelevant, so cutting it off changes nothing.
    """
    length = int(tokens.argmax(-1).max()) + 1
    tokens = tokens[:, :length]
    x = (model.token_embedding(tokens) + model.positional_embedding[:length]).permute(1, 0, 2)
    mask = torch.full((length, length), float("-inf")).triu(1)
    for block in model.transformer.resblocks:
        block.attn_mask = mask
        x = block(x)
    x = model.ln_final(x.permute(1, 0, 2))
    return x[torch.arange(len(x)), tokens.argmax(-1)] @ model.text_projection


def contrastive_loss(image: Tensor, text: Tensor, scale: Tensor) -> tuple[Tensor, float]:
    """Symmetric InfoNCE (Radford et al. 2021, figure 3) of embeddings [B, D], and the batch's image → text accuracy.

    `scale` [] is the logarithm of what cosines are multiplied by.
    """
    logits = scale.exp() * F.normalize(image, dim=-1) @ F.normalize(text, dim=-1).T
    labels = torch.arange(len(logits))
    loss = (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2
    return loss, (logits.argmax(-1) == labels).float().mean().item()


def train_clip(
    steps: int, batch_size: int, learning_rate: float, chinese: float, seed: int,
    every: int = 50, on_state: Callable[[TrainState, CLIP], None] = lambda state, model: None,
) -> CLIP:  # fmt: skip
    """Train the tiny CLIP for `steps` batches of fresh scenes; `on_state` hears of every `every`-th step."""
    torch.manual_seed(seed)
    model = CLIP(**ARCHITECTURE)
    model.visual.to(memory_format=torch.channels_last)
    head = AttributeHead(ARCHITECTURE["embed_dim"])
    weights = [*model.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(weights, lr=learning_rate, weight_decay=0.02, betas=(0.9, 0.98), fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, total_steps=steps, pct_start=0.05)
    steps_of_preprocessing = transform(ARCHITECTURE["image_resolution"]).transforms
    resize, normalize = steps_of_preprocessing[0], steps_of_preprocessing[-1]
    batches = DataLoader(SceneStream(seed, resize, chinese), batch_size=batch_size, num_workers=1, prefetch_factor=8)
    for step, (pixels, tokens, target) in zip(range(1, steps + 1), batches, strict=False):
        with torch.autocast("cpu", torch.bfloat16):
            pixels = normalize(pixels.float() / 255).contiguous(memory_format=torch.channels_last)
            image = model.visual(pixels)
            text = encode_text(model, tokens)
        image, text = image.float(), text.float()
        contrastive, accuracy = contrastive_loss(image, text, model.logit_scale)
        loss = contrastive + head(image, target) + 0.5 * head(text, target, skip=("sizes",))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        schedule.step()
        model.logit_scale.data.clamp_(max=4.6052)
        if step % every == 0 or step == steps:
            on_state(TrainState(step, loss.item(), contrastive.item(), accuracy), model)
    return model.eval()
