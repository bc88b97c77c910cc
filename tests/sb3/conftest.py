"""PyTorch gets one thread: its small networks gain nothing from more, and threads that wait for each other are slow."""

import pytest


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
