"""Two small language models that train on a CPU."""

import paddle
from paddle import nn

from hosts import NAME, LlamaConfig, LlamaForCausalLM

# Odd multipliers, one for each place of an n-gram; any would do.
_MULTIPLIERS = (1, 2_654_435_761, 2_246_822_519, 3_266_489_917)


class TokenLoss(nn.Layer):
    """Mean cross-entropy over an unreduced token-loss layer, as PaddleNLP's criterions have it."""

    def __init__(self):
        super().__init__()
        self.loss_func = nn.CrossEntropyLoss(reduction="none")

    def forward(self, logits, labels):
        """The mean loss, in nats per token, of ``logits`` ``[b, L, V]`` against ``labels`` ``[b, L]``."""
        return self.loss_func(logits, labels.unsqueeze(-1)).mean()


class HashedNgramLM(nn.Layer):
    """Predicts the next token from the last 1 to 4, each n-gram hashed into an embedding table of its order.

    It memorises what it reads within one epoch, in minutes and on a CPU: that is what makes the loss cliff at a
    repeated data epoch visible. How far this carries over to other models: docs/why-the-loss-drops.md.
    """

    def __init__(self, vocab_size: int, width: int = 64, table_size: int = 1 << 14, orders: int = 4):
        super().__init__()
        self.table_size = table_size
        self.tables = nn.LayerList([nn.Embedding(table_size, width) for _ in range(orders)])
        self.head = nn.Linear(width, vocab_size)
        self.criterion = TokenLoss()

    def forward(self, input_ids, labels=None):
        """Logits ``[b, L, V]``, or ``(loss, logits)`` where ``labels`` are given."""
        hidden = 0
        code = paddle.zeros_like(input_ids)
        shifted = input_ids
        for table, multiplier in zip(self.tables, _MULTIPLIERS, strict=False):
            code = code + (shifted + 1) * multiplier
            hidden = hidden + table((code % 2_147_483_647) % self.table_size)
            shifted = nn.functional.pad(shifted[:, :-1], [0, 0, 1, 0], value=0)
        logits = self.head(hidden)
        return logits if labels is None else (self.criterion(logits, labels), logits)


def tiny_llama(vocab_size: int, seq_length: int) -> LlamaForCausalLM:
    """The library's own Llama, small enough for a CPU."""
    config = LlamaConfig(
        vocab_size=vocab_size,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=seq_length,
        seq_length=seq_length,
        use_cache=False,
        use_flash_attention=False,
    )
    if NAME == "paddleformers":
        config.fuse_rms_norm = False  # 1.2.0 has that kernel for GPUs only
    return LlamaForCausalLM.from_config(config)
