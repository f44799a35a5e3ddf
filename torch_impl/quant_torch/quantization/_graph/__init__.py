"""Graph mode: quantizers placed on the graph that ``torch.export`` captures."""
