"""Our encoder gives what each model's own library gives, whatever the batch size."""

import hashlib
import shutil
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import Tensor, nn
from transformers import (
    AutoProcessor,
    ChineseCLIPConfig,
    ChineseCLIPImageProcessor,
    ChineseCLIPModel,
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    CLIPProcessor,
    CLIPTokenizer,
    PreTrainedTokenizerFast,
    Siglip2Config,
    Siglip2ImageProcessor,
    Siglip2Model,
    Siglip2Processor,
    SiglipConfig,
    SiglipImageProcessor,
    SiglipModel,
    SiglipProcessor,
    SiglipVisionConfig,
    SiglipVisionModel,
    ViTConfig,
    ViTImageProcessor,
    ViTModel,
)

from clipcap_lib.emoji.scenes import draw
from clipcap_lib.encoders import load_encoder
from clipcap_lib.openai_clip import CLIP, DOWNLOADS, can_read, clip
from clipcap_lib.tiny.quality import fresh_scenes

# OpenAI's files are TorchScript archives, which torch would have us give up.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.* is deprecated", "ignore::torch.jit.TracerWarning")
BATCHES = (1, 3, 7)
TOLERANCE = {"cpu": 1e-4, "cuda": 1e-2}  # OpenAI's models compute in half precision on a GPU
LAYERS = dict(hidden_size=16, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2)
VISION = dict(**LAYERS, image_size=32, patch_size=8)
TEXT = dict(**LAYERS, vocab_size=20, max_position_embeddings=6, bos_token_id=0, eos_token_id=1)
SQUARE = {"height": 32, "width": 32}
OPENAI = {  # DESIGN, section 5
    "RN50": "afeb0e10f9e5a86da6080e35cf09123aca3b358a0c3e3b6c78a7b63bc04b6762",
    "RN101": "8fa8567bab74a42d41c5915025a8e4538c3bdbe8804a470a72f30b0d94fab599",
    "RN50x4": "7e526bd135e493cef0776de27d5f42653e6b4c8bf9e0f653bb11773263205fdd",
    "RN50x16": "52378b407f34354e150460fe41077663dd5b39c54cd0bfd2b27167a4a06ec9aa",
    "RN50x64": "be1cfb55d75a9666199fb2206c106743da0f6468c9d327f3e0d0a543a9919d9c",
    "ViT-B/32": "40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af",
    "ViT-B/16": "5806e77cd80f8b59890b7e101eabd078d9fb84e6937f9e85e4ecb61988df416f",
    "ViT-L/14": "b8cca3fd41ae0c99ba7e8951adf17d267cdb84cd88be6f7c2e0eca1737a03836",
}


@pytest.fixture(scope="module")
def pictures() -> list[Image.Image]:
    scenes = [draw(scene) for scene in fresh_scenes(max(BATCHES), seed=5)]
    return [scenes[0].crop((0, 0, 96, 60)), *scenes[1:]]


@pytest.fixture(autouse=True)
def seeded_without_gradients():
    torch.manual_seed(0)
    with torch.inference_mode():
        yield


def agree(ours: Tensor, own: Tensor, tolerance: float) -> None:
    assert own.std(0).max() > 10 * tolerance, "embeddings this alike would agree whatever we do"
    torch.testing.assert_close(ours, own, atol=tolerance, rtol=tolerance)


def in_batches(encode: Callable, items: Tensor | list[str], size: int) -> Tensor:
    return torch.cat([encode(items[start : start + size]) for start in range(0, len(items), size)])


def lively(model: nn.Module, spread: float) -> nn.Module:
    """Fresh weights are so small that every picture has nearly the same embedding."""
    for weight in model.parameters():
        weight.add_(spread * torch.randn_like(weight))
    return model.eval()


# --- transformers


@dataclass
class Published:
    """A model in its published form, and its embeddings by hand: pictures [B, 3, S, S], token ids [1, T]."""

    model: nn.Module
    images: Callable
    texts: dict[str, list[int]]
    width: int
    embed_images: Callable[[Tensor], Tensor]
    embed_text: Callable[[Tensor], Tensor]


def publish_clip(folder: Path) -> Published:
    model = CLIPModel(CLIPConfig(text_config=TEXT, vision_config=VISION, projection_dim=12))
    words = ["<|startoftext|>", "<|endoftext|>", "a</w>", "cat</w>", "c", "a", "t</w>", "t", "ca"]
    tokenizer = CLIPTokenizer({word: i for i, word in enumerate(words)}, [("c", "a"), ("ca", "t</w>")])
    images = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=SQUARE)
    CLIPProcessor(images, tokenizer).save_pretrained(folder)
    return Published(
        model, images, {"a cat": [0, 2, 3, 1], "a": [0, 2, 1], "cat " * 9: [0, 3, 3, 3, 3, 1]}, 12,
        lambda pixels: model.visual_projection(model.vision_model(pixel_values=pixels).pooler_output),
        lambda ids: model.text_projection(model.text_model(input_ids=ids).pooler_output),
    )  # fmt: skip


def publish_chinese_clip(folder: Path) -> Published:
    model = ChineseCLIPModel(ChineseCLIPConfig(text_config=TEXT, vision_config=VISION, projection_dim=12))
    # The oldest form of a BertTokenizer, which has no tokenizer_config.json.
    (folder / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"一只猫"]))
    images = ChineseCLIPImageProcessor(size=SQUARE, do_center_crop=False)
    images.save_pretrained(folder)
    return Published(
        model, images, {"一只猫": [2, 5, 6, 7, 3], "猫": [2, 7, 3], "猫" * 9: [2, 7, 7, 7, 7, 3]}, 12,
        lambda pixels: model.visual_projection(model.vision_model(pixel_values=pixels).pooler_output),
        lambda ids: model.text_projection(model.text_model(input_ids=ids).last_hidden_state[:, 0]),
    )  # fmt: skip


def siglip_tokenizer() -> PreTrainedTokenizerFast:
    """Without a maximum length, as SigLIP 2 is published."""
    pieces = ["<pad>", "</s>", "<unk>", "▁a", "▁cat"]
    tokenizer = Tokenizer(models.Unigram([(piece, -1.0) for piece in pieces], unk_id=2))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    special = dict(pad_token="<pad>", eos_token="</s>", unk_token="<unk>")
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_input_names=["input_ids"], **special)


def publish_siglip(folder: Path) -> Published:
    model = SiglipModel(SiglipConfig(text_config=TEXT | {"projection_size": 16}, vision_config=VISION))
    images = SiglipImageProcessor(size=SQUARE)
    SiglipProcessor(images, siglip_tokenizer()).save_pretrained(folder)
    return Published(
        model, images, {"a cat": [3, 4, 1, 0, 0, 0], "a": [3, 1, 0, 0, 0, 0], "cat " * 9: [4, 4, 4, 4, 4, 1]}, 16,
        lambda pixels: model.vision_model(pixel_values=pixels).pooler_output,
        lambda ids: model.text_model(input_ids=ids).pooler_output,
    )  # fmt: skip


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.float16, 1e-2)])
@pytest.mark.parametrize("publish", [publish_clip, publish_chinese_clip, publish_siglip])
def test_a_published_folder_gives_its_own_embeddings(publish, dtype, tolerance, tmp_path, pictures):
    own = publish(tmp_path)
    lively(own.model, spread=0.2)
    deepcopy(own.model).to(dtype).save_pretrained(tmp_path)
    encoder = load_encoder(f"hf:{tmp_path}")
    pixels = own.images(images=pictures, return_tensors="pt")["pixel_values"]
    torch.testing.assert_close(torch.stack([encoder.preprocess(picture) for picture in pictures]), pixels)
    own_images, own_grid = own.embed_images(pixels), own.model.vision_model(pixel_values=pixels).last_hidden_state
    texts = [*own.texts] * 3
    own_texts = torch.cat([own.embed_text(torch.tensor([own.texts[text]])) for text in texts])
    for size in BATCHES:
        agree(in_batches(encoder.encode_images, pixels, size), own_images, tolerance)
        agree(in_batches(encoder.encode_grid, pixels, size), own_grid, tolerance)
        agree(in_batches(encoder.encode_texts, texts, size), own_texts, tolerance)
    assert (encoder.width, encoder.input_size) == (own.width, 32)
    assert encoder.shape("pooled") == (own.width,)
    assert encoder.shape("grid") == own_grid.shape[1:]
    assert encoder.logit_scale == pytest.approx(own.model.logit_scale.exp().item(), rel=tolerance)


@pytest.fixture
def siglip_folder(tmp_path) -> Path:
    publish_siglip(tmp_path).model.save_pretrained(tmp_path)
    return tmp_path


def test_a_model_that_gives_embeddings_alone_has_no_grid(siglip_folder, monkeypatch):
    whole = SiglipModel.get_image_features
    monkeypatch.setattr(SiglipModel, "get_image_features", lambda *given, **named: whole(*given, **named).pooler_output)
    encoder = load_encoder(f"hf:{siglip_folder}")
    assert (encoder.width, encoder.encode_grid, encoder.grid) == (16, None, (0, 0))
    with pytest.raises(ValueError, match="makes one embedding a picture and no grid"):
        encoder.shape("grid")


def test_the_fingerprint_does_not_follow_the_folder(siglip_folder, tmp_path_factory):
    copy = shutil.copytree(siglip_folder, tmp_path_factory.mktemp("elsewhere") / "copy")
    assert load_encoder(f"hf:{copy}").fingerprint == load_encoder(f"hf:{siglip_folder}").fingerprint


def test_a_folder_with_missing_weights_is_refused(siglip_folder):
    file = siglip_folder / "model.safetensors"
    weights = load_file(file)
    weights.pop("vision_model.head.probe")
    save_file(weights, file, {"format": "pt"})
    with pytest.raises(ValueError, match=r"\['vision_model.head.probe'\] are missing and would be random"):
        load_encoder(f"hf:{siglip_folder}")


@pytest.mark.parametrize(("publish", "file"), [(publish_clip, "tokenizer.json"), (publish_chinese_clip, "vocab.txt")])
def test_a_folder_without_a_vocabulary_is_refused(publish, file, tmp_path):
    publish(tmp_path).model.save_pretrained(tmp_path)
    (tmp_path / file).unlink()
    with pytest.raises(ValueError, match="the vocabulary of its tokenizer is missing"):
        load_encoder(f"hf:{tmp_path}")


def test_a_package_that_is_not_installed_is_named_in_one_line(siglip_folder, monkeypatch):
    def fail(name: str) -> None:
        raise ImportError("\nSiglipTokenizer requires the SentencePiece library but\nit was not found.\n")

    monkeypatch.setattr(AutoProcessor, "from_pretrained", fail)
    with pytest.raises(
        ValueError, match=r"does not load: SiglipTokenizer requires the SentencePiece library but it was not found.$"
    ):
        load_encoder(f"hf:{siglip_folder}")


@pytest.mark.parametrize(
    ("model", "config", "images"),
    [
        (SiglipVisionModel, SiglipVisionConfig, SiglipImageProcessor),
        (ViTModel, ViTConfig, ViTImageProcessor),
    ],
)
def test_a_model_without_a_text_side_is_refused(model, config, images, tmp_path):
    model(config(**VISION)).save_pretrained(tmp_path)
    images(size=SQUARE).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=f"{model.__name__} is no pair of image and text sides"):
        load_encoder(f"hf:{tmp_path}")


def test_a_model_without_a_fixed_input_size_is_refused(tmp_path):
    vision = dict(**LAYERS, patch_size=8, num_patches=16)
    Siglip2Model(Siglip2Config(text_config=TEXT, vision_config=vision)).save_pretrained(tmp_path)
    Siglip2Processor(Siglip2ImageProcessor(patch_size=8), siglip_tokenizer()).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="Siglip2Model has no fixed input size"):
        load_encoder(f"hf:{tmp_path}")


def test_an_unreadable_folder_is_named_in_one_line(tmp_path):
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(ValueError, match=str(folder)) as caught:
            load_encoder(f"hf:{folder}")
        assert "\n" not in str(caught.value)
    assert "is no folder here" in str(caught.value)


# --- OpenAI's


def openai_model(vision_layers: int | tuple[int, ...]) -> CLIP:
    """`build_model` reads the sizes off the weights, and takes a text head to be 64 wide."""
    width, resolution, patch, spread = (64, 32, 8, 0.05) if isinstance(vision_layers, int) else (8, 64, None, 0.15)
    return lively(CLIP(24, resolution, vision_layers, width, patch, 77, 49408, 64, 1, 1), spread)


def save_weights(model: CLIP, file: Path) -> None:
    torch.save(model.state_dict(), file)


def save_half_weights(model: CLIP, file: Path) -> None:
    half = deepcopy(model)
    clip.model.convert_weights(half)
    torch.save(half.state_dict(), file)


def save_archive(model: CLIP, file: Path) -> None:
    published = deepcopy(model)
    published.register_buffer("input_resolution", torch.tensor(model.visual.input_resolution))  # as OpenAI's have
    size = model.visual.input_resolution
    inputs = (torch.zeros(1, 3, size, size), torch.zeros(1, 77, dtype=torch.long))
    torch.jit.trace(published, inputs, check_trace=False).save(file)


@pytest.mark.parametrize("vision_layers", [2, (1, 1, 1, 1)], ids=["vit", "resnet"])
@pytest.mark.parametrize("save", [save_weights, save_half_weights, save_archive])
def test_an_openai_file_gives_its_own_embeddings(save, vision_layers, tmp_path, pictures, device):
    original, file = openai_model(vision_layers), tmp_path / "model.pt"
    save(original, file)
    own, preprocess = clip.load(str(file), device="cpu")
    encoder = load_encoder(f"clip:{file}", device)
    pixels = torch.stack([preprocess(picture) for picture in pictures])
    torch.testing.assert_close(torch.stack([encoder.preprocess(picture) for picture in pictures]), pixels)
    texts = ["a cat on the grass", "草地上有一只猫", "a cat " * 100] * 3
    tokens = clip.tokenize(texts, truncate=True)
    for size in BATCHES:
        images, words = in_batches(encoder.encode_images, pixels, size), in_batches(encoder.encode_texts, texts, size)
        agree(images, own.encode_image(pixels), TOLERANCE[device])
        agree(words, own.encode_text(tokens), TOLERANCE[device])
        # clip.load rounds all weights to float16.
        agree(images, original.encode_image(pixels), 1e-2)
        agree(words, original.encode_text(tokens), 1e-2)
    assert (encoder.width, encoder.input_size) == (24, original.visual.input_resolution)
    assert encoder.logit_scale == pytest.approx(own.logit_scale.exp().item())


def overheard(module: nn.Module, run: Callable[[], object]) -> tuple[Tensor, Tensor]:
    """What a module is given, and what it makes of it, while something runs."""
    heard = []
    with module.register_forward_hook(lambda module, given, made: heard.append((given[0], made))):
        run()
    return heard[0]


def openai_encoder(vision_layers: int | tuple[int, ...], file: Path, device: str):
    """OpenAI's own model on the CPU, and ours of the same file."""
    save_archive(openai_model(vision_layers), file)
    return clip.load(str(file), device="cpu")[0], load_encoder(f"clip:{file}", device)


def test_the_grid_of_openai_s_vit_is_its_last_tokens_with_the_class_first(tmp_path, pictures, device):
    own, encoder = openai_encoder(2, tmp_path / "model.pt", device)
    pixels = torch.stack([encoder.preprocess(picture) for picture in pictures])
    _, last = overheard(own.visual.transformer, lambda: own.encode_image(pixels))
    expected = own.visual.ln_post(last.permute(1, 0, 2))
    for size in BATCHES:
        grid = in_batches(encoder.encode_grid, pixels, size)
        agree(grid, expected, TOLERANCE[device])
        agree(grid[:, 0] @ own.visual.proj, own.encode_image(pixels), TOLERANCE[device])
    assert (grid.dtype, grid.device.type) == (torch.float32, "cpu")
    assert encoder.shape("grid") == encoder.grid == (17, 64) == grid.shape[1:]  # 16 patches and the class token
    assert encoder.shape("pooled") == (24,)


def test_the_grid_of_openai_s_resnet_is_what_its_attention_pools(tmp_path, pictures, device):
    own, encoder = openai_encoder((1, 1, 1, 1), tmp_path / "model.pt", device)
    pixels = torch.stack([encoder.preprocess(picture) for picture in pictures])
    pooled, _ = overheard(own.visual.attnpool, lambda: own.encode_image(pixels))
    for size in BATCHES:
        grid = in_batches(encoder.encode_grid, pixels, size)
        agree(grid.transpose(1, 2).reshape(pooled.shape), pooled, TOLERANCE[device])  # row by row from the upper left
    assert (grid.dtype, grid.device.type) == (torch.float32, "cpu")
    assert encoder.shape("grid") == encoder.grid == (4, 256) == grid.shape[1:]


def test_the_bundled_clip_gives_its_own_embeddings(project, pictures, device):
    path = str(project / "data" / "models" / "tiny-clip.pt")
    model, preprocess = clip.load(path, device="cpu")
    encoder = load_encoder(f"clip:{path}", device)
    pixels = torch.stack([preprocess(picture) for picture in pictures])
    agree(encoder.encode_images(pixels), model.encode_image(pixels), TOLERANCE[device])
    assert (encoder.width, encoder.input_size) == (512, 96)


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """Serve a file in place of a published one, under any sha256, to a computer that has downloaded nothing yet."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))

    def serve(name: str, sha256: str, file: Path) -> None:
        (tmp_path / sha256).mkdir()
        served = shutil.copy(file, tmp_path / sha256 / "model.pt")
        monkeypatch.setitem(DOWNLOADS, name, Path(served).as_uri())

    return serve


@pytest.mark.parametrize("name", OPENAI)
def test_a_download_with_another_sha256_is_refused(name, mirror, tmp_path):
    assert OPENAI[name] == DOWNLOADS[name].split("/")[-2]
    (tmp_path / "other.pt").write_bytes(b"other bytes")
    mirror(name, OPENAI[name], tmp_path / "other.pt")
    with pytest.raises(ValueError, match=r"'clip:.*' does not load \(.*SHA256.*fetch file:.*write clip:"):
        load_encoder(f"clip:{name}")


def test_a_download_with_its_own_sha256_is_loaded(mirror, project):
    file = project / "data" / "models" / "tiny-clip.pt"
    mirror("ViT-B/32", hashlib.sha256(file.read_bytes()).hexdigest(), file)
    assert load_encoder("clip:ViT-B/32").fingerprint == load_encoder(f"clip:{file}").fingerprint


def test_a_file_with_missing_weights_is_refused(tmp_path):
    weights = openai_model(1).state_dict()
    weights.pop("visual.ln_post.bias")
    torch.save(weights, tmp_path / "part.pt")
    with pytest.raises(ValueError, match=r'part.pt. does not load .*Missing key.*"visual.ln_post.bias"'):
        load_encoder(f"clip:{tmp_path / 'part.pt'}")


@pytest.mark.parametrize("weights", [{"visual.proj": torch.zeros(2)}, {"layer": torch.zeros(2)}])
def test_a_file_of_another_model_is_refused(weights, tmp_path):
    torch.save(weights, tmp_path / "other.pt")
    with pytest.raises(ValueError, match=r"other.pt' does not load .*is it OpenAI's CLIP"):
        load_encoder(f"clip:{tmp_path / 'other.pt'}")


# --- names


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("ViT-B/32", ValueError, "clip:<model"),
        ("clip:ViT-B/33", ValueError, "ViT-B/32"),
        ("clip:missing.pt", FileNotFoundError, r"missing\.pt"),
    ],
)
def test_wrong_names_are_explained(name, error, message):
    with pytest.raises(error, match=message):
        load_encoder(name)


def test_openai_s_clip_judges_english_captions_alone(project, tmp_path):
    shutil.copy(project / "data/models/tiny-clip.pt", tmp_path / "ViT-B-32.pt")
    published, bilingual = load_encoder(f"clip:{tmp_path}/ViT-B-32.pt"), load_encoder("clip:data/models/tiny-clip.pt")
    assert published.judging("zh").encode_texts is None
    assert published.judging("en").encode_texts is not None
    assert bilingual.judging("zh").encode_texts is not None
    hub = [
        can_read(f"hf:{name}", "zh")
        for name in ("openai/clip-vit-base-patch32", "OFA-Sys/chinese-clip-vit-base-patch16")
    ]
    assert hub == [False, True]


def test_the_fingerprint_follows_the_weights(project, tmp_path):
    path = project / "data" / "models" / "tiny-clip.pt"
    weights = torch.load(path, weights_only=True)
    weights["logit_scale"] = weights["logit_scale"] + 1
    torch.save(weights, tmp_path / "other.pt")
    assert load_encoder(f"clip:{path}").fingerprint == load_encoder(f"clip:{path}").fingerprint
    assert load_encoder(f"clip:{path}").fingerprint != load_encoder(f"clip:{tmp_path / 'other.pt'}").fingerprint
