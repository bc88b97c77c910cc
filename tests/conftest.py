"""What holds for every test: what is compiled is shared by all processes of a session, and given back."""

import atexit
import gc
import os
import shutil
import tempfile
from collections.abc import Iterator

import pytest

os.environ["LARE_COMPILATION_CACHE"] = "off"  # nothing goes into the user's cache
if "LARE_KNOWN_PROGRAMS" not in os.environ:
    known = tempfile.mkdtemp(prefix="lare-known-")
    atexit.register(shutil.rmtree, known, ignore_errors=True)
    os.environ["LARE_KNOWN_PROGRAMS"] = known
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:  # workers and the commands that tests start inherit it
    folder = tempfile.mkdtemp(prefix="lare-tests-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ["JAX_COMPILATION_CACHE_DIR"] = folder
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.1"


@pytest.fixture(autouse=True, scope="module")
def forget_compiled_programs() -> Iterator[None]:
    """Every compiled program holds memory mappings, of which Linux grants a process 65,530 by default.

    A worker that keeps the programs of the whole suite reaches that number, and the compiler aborts the process.
    """
    yield
    import jax

    jax.clear_caches()
    gc.collect()


@pytest.fixture(scope="module")
def compile_fast() -> Iterator[None]:
    """Most of the time goes into compiling programs that run for a moment; leave them unoptimised.

    This holds for the commands that a test starts, too.
    """
    import jax

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
        jax.config.update("jax_disable_most_optimizations", True)
        yield
        jax.config.update("jax_disable_most_optimizations", False)
