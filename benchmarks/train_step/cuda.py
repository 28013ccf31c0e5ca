"""On a CUDA device: a Llama of 1.2 billion parameters in bf16, documents through flash attention over their edges.

The distance to the machine is told as the share of the peak of its own matrix products: 6 floating-point operations a
parameter and token, and 6 x width x (length of the document) a layer and token for causal attention (Chowdhery et al.
2022, PaLM, appendix B, halved for what the causal mask leaves out).
"""

import statistics
import time

import torch

from benchmarks.harness import Row
from benchmarks.train_step.beside_trl import product_flops
from benchmarks.train_step.rows import LEARNING_RATE
from trainers.attention import attend_by_document
from trainers.data import MicroBatch
from trainers.language_model import LanguageModel
from trainers.optim import MasterOptimizer
from trainers.recipe import OptimizerConfig

VOCABULARY, WIDTH, LAYERS, HEADS, MIDDLE = 49_152, 2048, 24, 32, 5632
DOCUMENT, DOCUMENTS = 512, 32
PRODUCT = 8192


def cuda_rows(steps: int) -> list[Row]:
    """Return the row of full fine-tuning on the first CUDA device; random ids, for only the time is looked at."""
    device = torch.device("cuda")
    model, optimizer = _model(device)
    is_flat, batch = model.is_flat, _batch(device)
    seconds, losses = [], []
    for _ in range(2 + steps):
        torch.cuda.synchronize()
        started = time.perf_counter()
        nats, _ = model(batch)
        loss = nats / len(batch.labels)
        torch.autograd.backward(loss)
        optimizer.collect()
        optimizer.step(LEARNING_RATE)
        losses.append(float(loss))
        seconds.append(time.perf_counter() - started)
    rates = [DOCUMENT * DOCUMENTS / one for one in seconds[2:]]
    parameters = sum(parameter.numel() for parameter in model.causal.parameters())
    per_token = 6 * parameters + 6 * LAYERS * WIDTH * DOCUMENT
    peak = product_flops(PRODUCT, device)
    details: dict[str, float | int | str] = {
        "peak MB": round(torch.cuda.max_memory_allocated(device) / 1e6),
        "of the product's peak": statistics.median(rates) * per_token / peak,
        "loss": f"{losses[0]:.4f} to {losses[-1]:.4f}",
    }
    said = f"attention by document: {is_flat}; a bf16 product of {PRODUCT}: {peak / 1e12:,.0f} TFLOP/s"
    name = f"full fine-tuning, {torch.cuda.get_device_name(device)}, {parameters / 1e9:.1f} billion parameters"
    includes = f"forward, backward, AdamW of {DOCUMENTS} documents of {DOCUMENT} tokens"
    return [Row(name, statistics.median(rates), "tokens/s", includes, said, min(rates), max(rates), details)]


def _model(device: torch.device) -> tuple[LanguageModel, MasterOptimizer]:
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=HEADS // 4,
        intermediate_size=MIDDLE,
        max_position_embeddings=DOCUMENT,
        tie_word_embeddings=True,
        attn_implementation="sdpa",
    )
    torch.manual_seed(1)
    with device:
        causal = LlamaForCausalLM(config).float().train()
    attend_by_document(causal, DOCUMENT)
    model = LanguageModel(causal)
    optimizer = OptimizerConfig(learning_rate=LEARNING_RATE)
    return model, MasterOptimizer(model, model.trained(), optimizer, torch.bfloat16)


def _batch(device: torch.device) -> MicroBatch:
    ids = torch.randint(0, VOCABULARY, (1, DOCUMENT * DOCUMENTS))
    positions = torch.arange(DOCUMENT).repeat(DOCUMENTS)[None]
    labels = torch.nonzero(positions.flatten() > 0).flatten()
    sources = torch.zeros(len(labels), dtype=torch.int64).numpy()
    edges = torch.arange(0, ids.numel() + 1, DOCUMENT).numpy()
    return MicroBatch(ids, positions, labels - 1, ids.flatten()[labels], sources, edges).to(device)
