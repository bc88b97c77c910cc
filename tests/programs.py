"""Programs for tests: exported from functions, and edited as somebody with bad intentions would."""

import dataclasses

import jax
import jax.numpy as jnp
from jax import export
from jax._src.export._export import _module_to_bytecode
from jax.interpreters import mlir
from jaxlib.mlir import ir

from latent_reward.encoder.card import Card, Space
from latent_reward.encoder.screen import PLATFORMS

SIZES = (4, 2, 4)
CARD = Card("mine", "", Space.unbounded(*SIZES[:2]), ("x",), ("",), (), "", "")


def exported(function, dimensions=("b",) * 3, constraints=(), platforms=PLATFORMS, disabled=()):
    """A function of observation, action and next observation as :mod:`jax.export` gives it."""
    scope = export.SymbolicScope(constraints)
    shapes = [
        jax.ShapeDtypeStruct(export.symbolic_shape(f"{name}, {size}", scope=scope), jnp.float32)
        for name, size in zip(dimensions, SIZES, strict=True)
    ]
    return export.export(jax.jit(function), platforms=platforms, disabled_checks=list(disabled))(*shapes)


def program_of(function, **options) -> bytes:
    """The same in bytes."""
    return bytes(exported(function, **options).serialize())


def edited(function, change, **options) -> bytes:
    """A program whose module was changed as text: ``change`` maps the old text to the new one."""
    whole = exported(function, **options)
    with mlir.make_ir_context():
        code = _module_to_bytecode(ir.Module.parse(change(whole.mlir_module())))
    return bytes(dataclasses.replace(whole, mlir_module_serialized=code).serialize())


def with_module_of(function, other, **options) -> bytes:
    """A program that declares the signature of one function and has the module of another."""
    whole = exported(function, **options)
    module = exported(other).mlir_module_serialized
    return bytes(dataclasses.replace(whole, mlir_module_serialized=module).serialize())
