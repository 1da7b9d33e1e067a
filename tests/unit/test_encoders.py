"""Our encoder gives what each model's own library gives, whatever the batch size."""

import pytest
import torch
from PIL import Image
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor, CLIPTokenizer

from clipcap_lib.emoji_scenes import draw
from clipcap_lib.encoders import load_encoder
from clipcap_lib.openai_clip import clip
from clipcap_lib.tiny_clip_quality import fresh_scenes


@pytest.fixture(scope="module")
def pictures() -> list[Image.Image]:
    return [draw(scene) for scene in fresh_scenes(3, seed=5)]


@torch.inference_mode()
def test_bundled_clip_equals_its_own_library(project, pictures):
    path = str(project / "data" / "models" / "tiny-clip.pt")
    model, preprocess = clip.load(path, device="cpu")
    encoder = load_encoder(f"clip:{path}")
    pixels = torch.stack([preprocess(picture) for picture in pictures])
    torch.testing.assert_close(torch.stack([encoder.preprocess(picture) for picture in pictures]), pixels)
    torch.testing.assert_close(encoder.encode_images(pixels), model.encode_image(pixels).float(), atol=1e-4, rtol=1e-4)
    one_by_one = torch.cat([encoder.encode_images(row[None]) for row in pixels])
    torch.testing.assert_close(encoder.encode_images(pixels), one_by_one, atol=1e-4, rtol=1e-4)
    texts = encoder.encode_texts(["a cat on the grass", "草地上有一只猫"])
    torch.testing.assert_close(
        texts, model.encode_text(clip.tokenize(["a cat on the grass", "草地上有一只猫"])).float()
    )
    assert (encoder.width, encoder.input_size) == (512, 96)


@torch.inference_mode()
def test_transformers_clip_equals_its_own_library(tmp_path, pictures):
    torch.manual_seed(0)
    text = dict(
        vocab_size=20, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, eos_token_id=1
    )
    vision = dict(
        hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=32, patch_size=8
    )
    model = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=12)).eval()
    model.save_pretrained(tmp_path)
    words = {
        "<|startoftext|>": 0,
        "<|endoftext|>": 1,
        "a</w>": 2,
        "cat</w>": 3,
        "c": 4,
        "a": 5,
        "t</w>": 6,
        "t": 7,
        "ca": 8,
    }
    tokenizer = CLIPTokenizer(words, [("c", "a"), ("ca", "t</w>")])
    images = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    CLIPProcessor(images, tokenizer).save_pretrained(tmp_path)
    encoder = load_encoder(f"hf:{tmp_path}")
    pixels = images(images=pictures, return_tensors="pt")["pixel_values"]
    own = model.visual_projection(model.vision_model(pixel_values=pixels).pooler_output)
    torch.testing.assert_close(encoder.encode_images(pixels), own)
    torch.testing.assert_close(torch.stack([encoder.preprocess(picture) for picture in pictures]), pixels)
    assert (encoder.width, encoder.input_size) == (12, 32)
    assert encoder.encode_texts(["a cat", "a"]).shape == (2, 12)


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


def test_the_fingerprint_follows_the_weights(project, tmp_path):
    path = project / "data" / "models" / "tiny-clip.pt"
    weights = torch.load(path, weights_only=True)
    weights["logit_scale"] = weights["logit_scale"] + 1
    torch.save(weights, tmp_path / "other.pt")
    assert load_encoder(f"clip:{path}").fingerprint == load_encoder(f"clip:{path}").fingerprint
    assert load_encoder(f"clip:{path}").fingerprint != load_encoder(f"clip:{tmp_path / 'other.pt'}").fingerprint
