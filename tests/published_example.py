"""The two-image example of the CLIPScore repository, whose scores are published."""

MADE = {
    "image1": "an orange cat and a grey cat are lying together.",
    "image2": "a black dog wearing headphones looks at the camera as an orange cat walks in the background.",
}
GIVEN = {
    "image1": [
        "two cats are sleeping next to each other.",
        "a grey cat is cuddling with an orange cat on a blanket.",
        "the orange cat is happy that the black cat is close to it.",
    ],
    "image2": [
        "a dog is wearing ear muffs as it lies on a carpet.",
        "a black dog and an orange cat are looking at the photographer.",
        "headphones are placed on a dogs ears.",
    ],
}
