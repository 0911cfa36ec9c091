"""Networks for words, sound and spikes from libraries: transformers, snntorch."""

from __future__ import annotations

import dataclasses
from functools import partial
from importlib import import_module

import torch
from networks.cases import Case, images, words

COMMON = {
    "vocab_size": 40, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2,
    "intermediate_size": 48, "max_position_embeddings": 32,
}  # fmt: skip


def _transformers(cls, config, arguments):
    module = import_module("transformers")
    torch.manual_seed(3)
    return getattr(module, cls)(getattr(module, config)(**arguments))


def masked(highest=40):
    """Return word numbers and a mask of which are no padding, by name."""

    def inputs(batch, size):
        found = torch.randint(1, highest, (batch, size))
        mask = torch.ones(batch, size, dtype=torch.int64)
        mask[0, size - 2 :] = 0
        return {"input_ids": found, "attention_mask": mask}

    return inputs


def sound(batch, size):
    """Return waves of a length."""
    return {"input_values": torch.randn(batch, size)}


def tf(name, cls, config, inputs=None, sizes=(6, 9), *, run=True, plain=False,
       **changes):  # fmt: skip
    """One of transformers, in a small configuration."""
    arguments = changes if plain else {**COMMON, **changes}
    return Case(
        f"transformers {name}", partial(_transformers, cls, config, arguments),
        inputs or words(40, "input_ids"), sizes, "transformers", run=run,
    )  # fmt: skip


def _pixels(batch, size):
    return {"pixel_values": torch.randn(batch, 3, size, size)}


def _both(batch, size):
    return {
        "input_ids": torch.randint(1, 40, (batch, size)),
        "decoder_input_ids": torch.randint(1, 40, (batch, size - 1)),
        "use_cache": False,
    }


def _clip(batch, size):
    return {
        "input_ids": torch.randint(1, 40, (batch, size)),
        "pixel_values": torch.randn(batch, 3, 32, 32),
    }


SMALL_IMAGES = {"image_size": 32, "patch_size": 8}
NO_CACHE = {"use_cache": False}
T5 = {"vocab_size": 40, "d_model": 24, "d_kv": 12, "d_ff": 48, "num_layers": 2, "num_heads": 2,
      "plain": True}  # fmt: skip
WHISPER = {
    "vocab_size": 40, "num_mel_bins": 16, "d_model": 24, "encoder_layers": 2, "decoder_layers": 2,
    "encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48, "max_source_positions": 20, "max_target_positions": 20,
    "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1,
    "plain": True,
}  # fmt: skip
WAVES = {
    "conv_dim": (16, 16), "conv_stride": (5, 4), "conv_kernel": (10, 8), "hidden_size": 24,
    "num_feat_extract_layers": 2, "num_hidden_layers": 2, "num_attention_heads": 2,
    "intermediate_size": 48, "num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2,
    "vocab_size": 40, "plain": True,
}  # fmt: skip

TRANSFORMERS = [
    tf("bert", "BertModel", "BertConfig", masked()),
    tf("bert, classifier", "BertForSequenceClassification", "BertConfig", num_labels=3),
    tf("bert, masked words", "BertForMaskedLM", "BertConfig"),
    tf("distilbert", "DistilBertModel", "DistilBertConfig", masked(), plain=True, vocab_size=40,
       dim=24, n_layers=2, n_heads=2, hidden_dim=48, max_position_embeddings=32),
    tf("roberta", "RobertaModel", "RobertaConfig"),
    tf("albert", "AlbertModel", "AlbertConfig", embedding_size=12),
    tf("electra", "ElectraModel", "ElectraConfig", embedding_size=12),
    tf("mobilebert", "MobileBertModel", "MobileBertConfig", embedding_size=12,
       intra_bottleneck_size=16, true_hidden_size=16),
    tf("deberta v2", "DebertaV2Model", "DebertaV2Config", relative_attention=True,
       pos_att_type=["p2c", "c2p"], position_buckets=8),
    tf("squeezebert", "SqueezeBertModel", "SqueezeBertConfig", embedding_size=24, q_groups=2,
       k_groups=2, v_groups=2, post_attention_groups=1, intermediate_groups=2, output_groups=2),
    tf("fnet", "FNetModel", "FNetConfig"),
    tf("gpt2", "GPT2LMHeadModel", "GPT2Config", plain=True, vocab_size=40, n_embd=24, n_layer=2,
       n_head=2, n_positions=32, bos_token_id=1, eos_token_id=2, **NO_CACHE),
    tf("gpt neo", "GPTNeoForCausalLM", "GPTNeoConfig", plain=True, vocab_size=40, hidden_size=24,
       num_layers=2, num_heads=2, intermediate_size=48, max_position_embeddings=32,
       attention_types=[[["global", "local"], 1]], window_size=4,
       bos_token_id=1, eos_token_id=2, **NO_CACHE),
    tf("gpt neox", "GPTNeoXForCausalLM", "GPTNeoXConfig", **NO_CACHE),
    tf("opt", "OPTForCausalLM", "OPTConfig", plain=True, vocab_size=40, hidden_size=24,
       num_hidden_layers=2, num_attention_heads=2, ffn_dim=48, max_position_embeddings=32,
       word_embed_proj_dim=24, **NO_CACHE),
    tf("bloom", "BloomForCausalLM", "BloomConfig", plain=True, vocab_size=40, hidden_size=24,
       n_layer=2, n_head=2, **NO_CACHE),
    tf("llama", "LlamaForCausalLM", "LlamaConfig", num_key_value_heads=1, **NO_CACHE),
    tf("mistral", "MistralForCausalLM", "MistralConfig", num_key_value_heads=1, sliding_window=4,
       **NO_CACHE),
    tf("qwen2", "Qwen2ForCausalLM", "Qwen2Config", num_key_value_heads=1, **NO_CACHE),
    tf("gemma", "GemmaForCausalLM", "GemmaConfig", num_key_value_heads=1, head_dim=12,
       **NO_CACHE),
    tf("phi", "PhiForCausalLM", "PhiConfig", **NO_CACHE),
    tf("falcon", "FalconForCausalLM", "FalconConfig", **NO_CACHE),
    tf("mamba", "MambaForCausalLM", "MambaConfig", plain=True, vocab_size=40, hidden_size=24,
       num_hidden_layers=2, state_size=4, **NO_CACHE),
    tf("t5, encoder", "T5EncoderModel", "T5Config", masked(), **T5),
    tf("t5", "T5ForConditionalGeneration", "T5Config", _both, **T5),
    tf("bart", "BartForConditionalGeneration", "BartConfig", _both, plain=True, vocab_size=40,
       d_model=24, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
       decoder_attention_heads=2, encoder_ffn_dim=48, decoder_ffn_dim=48,
       max_position_embeddings=32),
    tf("whisper, encoder", "WhisperModel", "WhisperConfig", sizes=(40,),
       inputs=lambda batch, size: {"input_features": torch.randn(batch, 16, size),
                                   "decoder_input_ids": torch.ones(batch, 3, dtype=torch.int64),
                                   "use_cache": False}, **WHISPER),
    tf("wav2vec2", "Wav2Vec2Model", "Wav2Vec2Config", sound, (400, 560), **WAVES),
    tf("wav2vec2, words", "Wav2Vec2ForCTC", "Wav2Vec2Config", sound, (400, 560),
       **{**WAVES, "do_stable_layer_norm": True, "feat_extract_norm": "layer"}),
    tf("hubert", "HubertModel", "HubertConfig", sound, (400, 560), **WAVES),
    tf("audio spectrogram transformer", "ASTForAudioClassification", "ASTConfig", sizes=(24,),
       inputs=lambda batch, size: {"input_values": torch.randn(batch, size, 16)}, plain=True,
       hidden_size=24, num_hidden_layers=2, num_attention_heads=2, intermediate_size=48,
       patch_size=8, frequency_stride=4, time_stride=4, max_length=24, num_mel_bins=16),
    tf("vit", "ViTForImageClassification", "ViTConfig", _pixels, (32,), **SMALL_IMAGES),
    tf("deit", "DeiTModel", "DeiTConfig", _pixels, (32,), **SMALL_IMAGES),
    tf("dinov2", "Dinov2Model", "Dinov2Config", _pixels, (32,), mlp_ratio=2, **SMALL_IMAGES),
    tf("beit", "BeitModel", "BeitConfig", _pixels, (32,), use_relative_position_bias=True,
       **SMALL_IMAGES),
    tf("swin", "SwinModel", "SwinConfig", _pixels, (32,), plain=True, image_size=32, patch_size=2,
       embed_dim=12, depths=[2, 2], num_heads=[2, 4], window_size=4),
    tf("segformer", "SegformerForSemanticSegmentation", "SegformerConfig", _pixels, (32, 64),
       plain=True, num_encoder_blocks=4, depths=[1, 1, 1, 1], hidden_sizes=[8, 8, 16, 16],
       num_attention_heads=[1, 1, 2, 2], sr_ratios=[4, 2, 1, 1], decoder_hidden_size=16),
    tf("convnext", "ConvNextModel", "ConvNextConfig", _pixels, (32, 64), plain=True,
       hidden_sizes=[8, 12, 16, 24], depths=[1, 1, 1, 1]),
    tf("resnet", "ResNetModel", "ResNetConfig", _pixels, (32, 64), plain=True, embedding_size=8,
       hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic"),
    tf("mobilenet v2", "MobileNetV2Model", "MobileNetV2Config", _pixels, (32, 64), plain=True,
       depth_multiplier=0.25),
    tf("poolformer", "PoolFormerModel", "PoolFormerConfig", _pixels, (32, 64), plain=True,
       hidden_sizes=[8, 12, 16, 24], depths=[1, 1, 1, 1]),
    tf("clip", "CLIPModel", "CLIPConfig", _clip, (6,), plain=True, projection_dim=16,
       text_config={**COMMON, "bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 1},
       vision_config={"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2,
                      "intermediate_size": 48, **SMALL_IMAGES}),
    tf("xlnet", "XLNetModel", "XLNetConfig", plain=True, vocab_size=40, d_model=24, n_layer=2,
       n_head=2, d_inner=48),
]  # fmt: skip


class Spikes(torch.nn.Module):
    """One step of a spiking network: current state in, next state out."""

    def __init__(self, cell):
        super().__init__()
        snn = import_module("snntorch")
        cells = {
            "leaky": lambda: snn.Leaky(beta=0.9),
            "leaky, subtract": lambda: snn.Leaky(beta=0.8, reset_mechanism="zero"),
            "synaptic": lambda: snn.Synaptic(alpha=0.8, beta=0.9),
            "alpha": lambda: snn.Alpha(alpha=0.9, beta=0.8),
            "recurrent": lambda: snn.RLeaky(beta=0.9, linear_features=12),
        }
        self.first, self.cell = torch.nn.Linear(10, 12), cells[cell]()
        self.last = torch.nn.Linear(12, 4)

    def forward(self, x, *state):
        spikes, *state = self.cell(self.first(x), *state)
        return self.last(spikes), state


class SpikingImages(torch.nn.Module):
    """A convolutional spiking network of two steps, state made in forward."""

    def __init__(self):
        super().__init__()
        snn = import_module("snntorch")
        self.conv, self.first = torch.nn.Conv2d(1, 6, 3, padding=1), snn.Leaky(beta=0.9)
        self.pool, self.out = torch.nn.MaxPool2d(2), torch.nn.Linear(6 * 16, 5)
        self.second = snn.Leaky(beta=0.9, output=True)

    def forward(self, x):
        one, two = self.first.init_leaky(), self.second.init_leaky()
        outputs = []
        for _ in range(2):
            spikes, one = self.first(self.conv(x), one)
            spikes, two = self.second(self.out(self.pool(spikes).flatten(1)), two)
            outputs.append(two)
        return torch.stack(outputs)


def sn(cell, states):
    """One step of a neuron of snntorch, fed with its state."""
    return Case(
        f"snntorch {cell}", partial(Spikes, cell),
        lambda batch, _: (torch.randn(batch, 10),
                          *(torch.rand(batch, 12) for _ in range(states))),
        needs="snntorch",
    )  # fmt: skip


SNNTORCH = [
    sn("leaky", 1), sn("leaky, subtract", 1), sn("synaptic", 2), sn("alpha", 3),
    sn("recurrent", 2),
    Case("snntorch images", SpikingImages, images(1), (8,), "snntorch"),
]  # fmt: skip

QUICK = {
    "transformers bert", "transformers distilbert", "transformers gpt2", "transformers llama",
    "transformers t5, encoder", "transformers whisper, encoder", "transformers wav2vec2",
    "transformers vit", "snntorch leaky", "snntorch synaptic",
}  # fmt: skip
"""What runs every time, one of every kind; the rest is marked slow."""
CASES = [
    dataclasses.replace(case, slow=case.name not in QUICK) for case in (*TRANSFORMERS, *SNNTORCH)
]
