"""Texts and images as embeddings of a CLIP model: targets of objectives, and labels for units."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lucent.errors import InputError
from lucent.hooks import Activations
from lucent.layers import LABELS, unwrap
from lucent.modelzoo.spec import spec_of
from lucent.optvis.param.pictures import Picture, as_batch
from lucent.util import device_of, dtype_of, frozen_eval, optional

#: A tokenizer of transformers, or a function from texts to their ids, (n, L), as of open_clip.
Tokenizer = Callable[..., Any]

# Modules whose output is the embedding of an image, of transformers and of open_clip.
_IMAGE_LAYERS = ("visual_projection", "vision_model.head", "visual")
#: Entries in the vocabulary of the first CLIP models, which open_clip carries with it.
_CLIP_VOCABULARY = 49408
#: Texts or images that pass through a network at once.
_AT_ONCE = 64


def image_layer(model: nn.Module) -> str:
    """Return the name of the layer that gives the embedding of an image, (B, D).

    Args:
        model: a CLIP model of open_clip or transformers; of any other network it is what the
            network gives, "labels".
    """
    network = unwrap(model)
    modules = dict(network.named_modules())
    layer = next((name for name in _IMAGE_LAYERS if name in modules), LABELS)
    # Some towers give their tokens, too.
    return layer + "[0]" * bool(getattr(modules.get(layer), "output_tokens", False))


def embed_text(
    model: nn.Module, texts: str | Sequence[str] | Tensor, *, tokenizer: Tokenizer | None = None
) -> Tensor:
    """Return the embeddings of texts, of length 1, on the device of the model.

    Args:
        model: a CLIP model with its text tower, of open_clip or transformers.
        texts: a text, texts, or their ids (n, L).
        tokenizer: of the model, such as `open_clip.get_tokenizer(name)` or an `AutoTokenizer`; None
            takes the model's own where that can be told.

    Returns:
        (D,) for one text, (n, D) for several.

    Raises:
        InputError: the model has no text tower, the tokenizer has to be given, or the ids have
            another shape.

    Source: Radford et al. 2021, Learning Transferable Visual Models From Natural Language
    Supervision (https://arxiv.org/abs/2103.00020).
    """
    network = unwrap(model)
    of_transformers = hasattr(network, "get_text_features")
    if not of_transformers and not hasattr(network, "encode_text"):
        raise InputError(
            f"{type(network).__name__} has no text tower (get_text_features or encode_text): give "
            "the whole CLIP model, not its image tower, or make the target elsewhere."
        )
    several: Any = [texts] if isinstance(texts, str) else texts
    if not len(several):
        raise InputError("There are no texts to embed: give at least one.")
    if isinstance(several, Tensor) and several.dim() != 2:
        raise InputError(
            f"The ids of texts have the shape {tuple(several.shape)}, expected is (n, L): those of "
            "one text are ids[None]."
        )
    if not isinstance(several, Tensor):
        tokenizer = tokenizer or _own_tokenizer(network)
    found = []
    with frozen_eval(network), torch.no_grad():
        for part in _parts(several):
            ids = part if isinstance(part, Tensor) else _tokenized(part, tokenizer, network)
            given = ids if isinstance(ids, Mapping) else {"input_ids": torch.as_tensor(ids)}
            given = {name: value.to(device_of(network)) for name, value in given.items()}
            features: Any
            if of_transformers:
                features = network.get_text_features(**given)  # type: ignore[operator]
            else:
                features = network.encode_text(given["input_ids"])  # type: ignore[operator]
            found.append(getattr(features, "pooler_output", features))
    embedded = F.normalize(torch.cat(found), dim=1)
    return embedded[0] if isinstance(texts, str) else embedded


def embed_image(model: nn.Module, images: Picture, *, layer: str | None = None) -> Tensor:
    """Return the embeddings of images, of length 1, on the device of the model.

    Args:
        model: any network.
        images: tensor (C, H, W) or (B, C, H, W), or array (H, W, C) or (B, H, W, C), of values in
            [0, 1]. They are brought to the size and the values that the model's spec says, the
            middle of those of another shape.
        layer: whose activation is the embedding, the mean over its positions; None takes
            `image_layer(model)`.

    Returns:
        (D,) for one image without a batch axis, else (B, D).

    Raises:
        InputError: the images cannot be used.
        LayerError: there is no such layer.
    """
    network, spec = unwrap(model), spec_of(model)
    batch = as_batch(images, "images").to(device_of(network), dtype_of(network))
    if spec.input_size is not None:
        batch = _middle(batch, spec.input_size, spec.interpolation)
    name = image_layer(model) if layer is None else layer
    found = []
    with (
        frozen_eval(network),
        torch.no_grad(),
        Activations(network, [name], aliases=spec.layer_aliases) as T,
    ):
        for part in batch.split(_AT_ONCE):
            T.run(spec.preprocess(part))
            acts = T.channels_first(name)
            found.append(acts.flatten(2).mean(2) if acts.dim() > 2 else acts)
    embedded = F.normalize(torch.cat(found), dim=1)
    return embedded[0] if images.ndim == 3 else embedded


def label_units(
    model: nn.Module,
    pictures: Sequence[Picture],
    vocabulary: Sequence[str],
    *,
    tokenizer: Tokenizer | None = None,
    prompt: str = "{}",
    top: int = 5,
) -> list[list[tuple[str, float]]]:
    """Return the texts of a vocabulary that fit the pictures of each unit best, by a CLIP model.

    Args:
        model: the CLIP model that judges; the units may be of another network.
        pictures: for each unit a picture, or a batch of them, such as renderings or the images of a
            data set that excite it most. A batch counts by its mean embedding.
        vocabulary: the texts.
        tokenizer: as of `embed_text`.
        prompt: what each text is put into, such as "a photo of {}".
        top: number of texts for each unit.

    Returns:
        For each unit pairs of a text and the cosine of both embeddings, the highest first.

    Raises:
        InputError: the prompt has no place for a text, or there are no texts, or but one that is in
            no list.
    """
    if isinstance(vocabulary, str):
        raise InputError(f"vocabulary={vocabulary!r} is one text: give a list, [{vocabulary!r}].")
    if "{}" not in prompt:
        raise InputError(f"prompt={prompt!r} has no place for a text: write 'a photo of {{}}'.")
    texts = embed_text(model, [prompt.replace("{}", t) for t in vocabulary], tokenizer=tokenizer)
    ranked = []
    for picture in pictures:
        own = embed_image(model, picture).reshape(-1, texts.shape[1]).mean(0)
        best = (texts @ F.normalize(own, dim=0)).topk(min(top, len(vocabulary)))
        ranked.append([(vocabulary[n], v) for v, n in zip(*map(Tensor.tolist, best), strict=True)])
    return ranked


def _parts(texts: Sequence[str] | Tensor) -> Iterator[Any]:
    return (texts[start : start + _AT_ONCE] for start in range(0, len(texts), _AT_ONCE))


def _own_tokenizer(network: Any) -> Tokenizer:
    name = str(getattr(network, "name_or_path", ""))
    if hasattr(network, "get_text_features") and name:
        tokenizers = optional("transformers", "hf").AutoTokenizer
        try:
            return tokenizers.from_pretrained(name)  # type: ignore[no-any-return]
        except (OSError, ValueError) as error:
            raise InputError(
                f"The tokenizer of {name!r} cannot be loaded: {error}. Give it by tokenizer=..."
            ) from error
    if getattr(network, "vocab_size", None) == _CLIP_VOCABULARY:
        simple = optional("open_clip", "clip").SimpleTokenizer
        return simple(context_length=network.context_length)  # type: ignore[no-any-return]
    raise InputError(
        f"The tokenizer of this {type(network).__name__} is not known: give tokenizer=, such as "
        "open_clip.get_tokenizer(name) or transformers.AutoTokenizer.from_pretrained(name)."
    )


def _tokenized(texts: Sequence[str], tokenizer: Any, network: Any) -> Any:
    if not hasattr(tokenizer, "model_input_names"):
        return tokenizer(list(texts))
    # Some models were trained on texts of this length only; the others mask what is added.
    longest = network.config.text_config.max_position_embeddings
    return tokenizer(
        list(texts), padding="max_length", max_length=longest, truncation=True, return_tensors="pt"
    )


def _middle(images: Tensor, size: tuple[int, int], interpolation: str | None) -> Tensor:
    """Return the middle of images in a size, as CLIP was shown them in its training."""
    mode = "bicubic" if interpolation == "bicubic" else "bilinear"
    scale = max(wanted / own for wanted, own in zip(size, images.shape[2:], strict=True))
    if scale != 1:
        scaled = [max(round(n * scale), m) for n, m in zip(images.shape[2:], size, strict=True)]
        # The cubic overshoots at edges; a photograph of bytes cannot.
        images = F.interpolate(images, scaled, mode=mode, antialias=True).clamp(0, 1)
    top, left = ((n - m) // 2 for n, m in zip(images.shape[2:], size, strict=True))
    return images[..., top : top + size[0], left : left + size[1]]
