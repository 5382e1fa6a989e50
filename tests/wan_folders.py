"""A tiny base in the layout of Wan, with random weights, for tests."""

from ctxmem_env.generator.wan.store import make_base

TRANSFORMER = {
    "num_layers": 2,
    "num_attention_heads": 2,
    "attention_head_dim": 12,
    "ffn_dim": 32,
    "freq_dim": 16,
    "text_dim": 16,
    "in_channels": 4,
    "out_channels": 4,
    "rope_max_seq_len": 64,
}
VAE = {
    "base_dim": 4,
    "z_dim": 4,
    "dim_mult": [1, 1, 1, 1],
    "num_res_blocks": 1,
    "latents_mean": [0.1, -0.1, 0.2, 0.0],
    "latents_std": [0.5, 0.6, 0.7, 0.8],
}
SIZE = {"height": 32, "width": 48, "frames_per_step": 5, "default_num_steps": 2, "guidance_scale": 2.0}


def tiny_base(folder, text=True, seed=0, **transformer):
    """The folder of a base; with `text` it has a text encoder that knows a few words."""
    base = make_base(folder, TRANSFORMER | transformer, VAE, seed)
    if text:
        from tokenizers import Tokenizer, models, pre_tokenizers
        from transformers import PreTrainedTokenizerFast, UMT5Config, UMT5EncoderModel

        words = ["<pad>", "</s>", "<unk>", "snow", "falls", "a", "room"]
        tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
        tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
        PreTrainedTokenizerFast(
            tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
        ).save_pretrained(folder / "tokenizer")
        config = UMT5Config(vocab_size=8, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2)
        UMT5EncoderModel(config).save_pretrained(folder / "text_encoder")
    return base.folder
