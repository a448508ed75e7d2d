"""FBI-LLM in PyTorch: layers, autoregressive distillation, training, evaluation, export."""
